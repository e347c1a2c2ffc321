//! Making a worker's text harmless and measurable.
//!
//! Whatever an agent or one of its tools wrote may reach a terminal only through here: escape sequences could set the
//! clipboard, answer as if typed, or draw over what we said; bidirectional overrides could make a line read as another.

use std::borrow::Cow;
use unicode_width::UnicodeWidthChar;

/// The text in one line, with nothing in it that a terminal acts on.
///
/// Escape sequences go with all they hold; other control, bidirectional and invisible characters go; line breaks and
/// tabs become one space each run.
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(Clean::new(text, false).collect())
}

/// As [`clean`], but line feeds stay (CR LF becomes LF, and a form feed or a Unicode separator LF).
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    if text.split('\n').all(is_clean) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(Clean::new(text, true).collect())
}

/// As [`clean`] and then [`clip`], without looking at more of a long text than fits.
pub fn line(text: &str, columns: usize) -> String {
    clipped(Clean::new(text, false), columns)
}

/// A line of JSON, the same in meaning, with nothing in it that a terminal acts on: such characters stand as `\uXXXX`.
pub fn clean_json(line: &str) -> Cow<'_, str> {
    let acts = |c: char| (c.is_control() && c != '\n') || is_invisible(c);
    if !line.contains(acts) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if acts(c) {
            let escaped = c
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect::<String>();
            out.push_str(&escaped);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Cuts clean text to that many columns; what was cut shows as `…`.
pub fn clip(text: &str, columns: usize) -> Cow<'_, str> {
    if text.len() <= columns || fits(text, columns) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(clipped(text.chars(), columns))
}

/// How many columns clean text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Each character for itself: no terminal agrees with another on what a sequence of them takes, and this is the most
/// that any takes.
fn columns_of(c: char) -> usize {
    c.width().unwrap_or(0)
}

fn fits(text: &str, columns: usize) -> bool {
    let mut room = columns;
    text.chars().all(|c| match room.checked_sub(columns_of(c)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    })
}

fn clipped(text: impl Iterator<Item = char>, columns: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    // Where to cut, should the text turn out to be too long.
    let mut cut = 0;
    for c in text {
        let next = used + columns_of(c);
        if next > columns {
            out.truncate(cut);
            if columns > 0 {
                out.push('…');
            }
            return out;
        }
        out.push(c);
        used = next;
        if used < columns {
            cut = out.len();
        }
    }
    out
}

/// Whether nothing needs to be done: printable ASCII, the usual case.
fn is_clean(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// More marks than this on one character are there to deface other lines.
const MARKS: usize = 4;

/// Clean characters of a text, one by one.
struct Clean<'a> {
    rest: std::str::Chars<'a>,
    lines: bool,
    /// The last character given out, as far as it matters to the next.
    last: Last,
    marks: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing yet, or a line's end: a mark has nothing to stand on.
    Nothing,
    Space,
    Other,
}

impl<'a> Clean<'a> {
    fn new(text: &'a str, lines: bool) -> Self {
        Self {
            rest: text.chars(),
            lines,
            last: Last::Nothing,
            marks: 0,
        }
    }

    /// Skips what follows ESC.
    fn escape(&mut self) {
        match self.peek() {
            Some('[') => {
                self.rest.next();
                self.control_sequence();
            }
            Some(']' | 'P' | 'X' | '^' | '_') => {
                self.rest.next();
                self.string();
            }
            // SS2 and SS3: one more character belongs to them.
            Some('N' | 'O') => {
                self.rest.next();
                self.skip_if(' '..='~');
            }
            _ => {
                while self.skip_if(' '..='/') {}
                self.skip_if('0'..='~');
            }
        }
    }

    /// Skips parameters, intermediates and the final character of a control sequence.
    fn control_sequence(&mut self) {
        while self.skip_if('0'..='?') {}
        while self.skip_if(' '..='/') {}
        self.skip_if('@'..='~');
    }

    /// Skips a control string up to its terminator, or to the line's end when it has none.
    fn string(&mut self) {
        loop {
            match self.peek() {
                None | Some('\n') => return,
                Some('\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}') => {
                    self.rest.next();
                    return;
                }
                // ESC ends it: with a backslash as its terminator, else as the beginning of another sequence.
                Some('\u{1b}') => {
                    let mut ahead = self.rest.clone();
                    ahead.next();
                    if ahead.next() == Some('\\') {
                        self.rest.next();
                        self.rest.next();
                    }
                    return;
                }
                Some(_) => {
                    self.rest.next();
                }
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn skip_if(&mut self, range: std::ops::RangeInclusive<char>) -> bool {
        let skip = self.peek().is_some_and(|c| range.contains(&c));
        if skip {
            self.rest.next();
        }
        skip
    }
}

impl Iterator for Clean<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            let c = self.rest.next()?;
            match c {
                '\u{1b}' => self.escape(),
                '\u{9b}' => self.control_sequence(),
                '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => self.string(),
                '\u{8e}' | '\u{8f}' => {
                    self.skip_if(' '..='~');
                }
                '\r' if self.peek() == Some('\n') => {}
                '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' if self.lines => {
                    (self.last, self.marks) = (Last::Nothing, 0);
                    return Some('\n');
                }
                '\n' | '\t' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                    if self.last == Last::Other {
                        (self.last, self.marks) = (Last::Space, 0);
                        return Some(' ');
                    }
                }
                ' ' => {
                    (self.last, self.marks) = (Last::Space, 0);
                    return Some(' ');
                }
                c if c.is_control() || is_invisible(c) => {}
                c if columns_of(c) == 0 => {
                    self.marks += 1;
                    if self.last != Last::Nothing && self.marks <= MARKS {
                        return Some(c);
                    }
                }
                c => {
                    (self.last, self.marks) = (Last::Other, 0);
                    return Some(c);
                }
            }
        }
    }
}

/// Characters that show nothing, or change how others show: bidirectional controls, joiners, selectors, fillers, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_stays_the_same_json() {
        let text = "é日 \u{7f}\u{9b}31m\u{202e}\u{e0041}\u{1b}\n";
        let json = serde_json::to_string(text).unwrap();
        let shown = clean_json(&json);
        assert_eq!(shown, r#""é日 \u007f\u009b31m\u202e\udb40\udc41\u001b\n""#);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        assert!(matches!(clean_json("{}\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn sequences_go_with_all_they_hold() {
        for (text, out) in [
            ("plain", "plain"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("a\u{1b}]52;c;aGk=\u{7}b", "ab"),
            ("a\u{1b}]0;title\u{1b}\\b", "ab"),
            ("a\u{1b}Pq#0;2\u{1b}\\b", "ab"),
            ("a\u{1b}_Gi=1\u{9c}b", "ab"),
            ("a\u{9b}31mb\u{9d}52;c;x\u{9c}c", "abc"),
            ("a\u{1b}OPb\u{8f}Qc", "abc"),
            ("a\u{1b}(Bb\u{1b}cc\u{1b}#8d", "abcd"),
            ("a\u{1b}]never ended", "a"),
            ("a\u{1b}]never ended\nb", "a b"),
            ("a\u{1b}]x\u{1b}[31mb", "ab"),
            ("a\u{1b}[31", "a"),
            ("a\u{1b}[\u{e9}", "a\u{e9}"),
            ("a\u{1b}", "a"),
            ("\u{7}\u{8}bell\u{7f}", "bell"),
            ("\u{202e}desrever\u{202c}\u{2066}x\u{2069}\u{200f}", "desreverx"),
            ("a\u{200b}b\u{feff}c\u{e0041}d", "abcd"),
            ("one\r\ntwo\tthree\n\n\nfour\n", "one two three four "),
            ("\n\u{301}x", "x"),
        ] {
            assert_eq!(clean(text), out, "{text:?}");
        }
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(clean_lines("a\r\nb\u{1b}[1mc\n\n\td\u{2028}e"), "a\nbc\n\nd\ne");
        assert_eq!(clean_lines("a\nb"), "a\nb");
    }

    #[test]
    fn marks_do_not_pile_up() {
        let zalgo = format!("a{}b", "\u{301}".repeat(100));
        assert_eq!(clean(&zalgo).chars().count(), 2 + MARKS);
    }

    #[test]
    fn cut_by_columns() {
        for (text, columns, out) in [
            ("hello", 5, "hello"),
            ("hello", 4, "hel…"),
            ("hello", 1, "…"),
            ("hello", 0, ""),
            ("", 0, ""),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("日本語", 2, "…"),
            ("日", 1, "…"),
            ("e\u{301}e\u{301}", 2, "e\u{301}e\u{301}"),
            ("e\u{301}e\u{301}x", 2, "e\u{301}…"),
        ] {
            assert_eq!(clip(text, columns), out, "{text} {columns}");
            assert_eq!(line(text, columns), out, "{text} {columns}");
        }
        assert_eq!(width("日本 e\u{301}"), 6);
    }

    /// Text with more of what hurts than chance would bring.
    fn nasty() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            any::<char>().prop_map(String::from),
            "[ -~]{0,8}",
            prop::sample::select(vec![
                "\u{1b}",
                "\u{1b}[",
                "\u{1b}]52;c;",
                "\u{7}",
                "\u{1b}\\",
                "\u{9b}",
                "\u{9d}",
                "\u{202e}",
                "\u{301}",
                "\u{200d}",
                "👩\u{200d}👧",
                "日",
                "\r",
                "\n",
                "\t",
                "31m",
                "\u{fe0f}",
                "🇩🇪"
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_left_that_acts(text in nasty()) {
            let out = clean(&text);
            prop_assert!(!out.chars().any(|c| c.is_control() || is_invisible(c)), "{out:?}");
            prop_assert_eq!(clean(&out), out.clone());
            let lines = clean_lines(&text);
            prop_assert!(!lines.chars().any(|c| c != '\n' && (c.is_control() || is_invisible(c))), "{lines:?}");
        }

        #[test]
        fn nothing_is_wider_than_allowed(text in nasty(), columns in 0usize..30) {
            let out = clean(&text);
            let cut = clip(&out, columns);
            prop_assert!(width(&cut) <= columns);
            prop_assert!(unicode_width::UnicodeWidthStr::width(&*cut) <= columns);
            prop_assert_eq!(&line(&text, columns), &*cut);
            if width(&out) <= columns { prop_assert_eq!(&cut, &out); }
        }
    }
}
