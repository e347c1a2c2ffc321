//! What a stream said, in rows.

use crate::state::{Activity, Message, Stream, Voice};
use crate::view::clean::{clean_lines, width};
use crate::view::row::Style;

/// More of one message is not looked at for its last rows.
const LOOKED_AT: usize = 2000;

/// The last rows of what the stream said, oldest first, at most `most`.
pub(super) fn last_rows(stream: &Stream, most: usize, columns: usize) -> Vec<(Style, String)> {
    let mut rows = Vec::new();
    let mut messages = stream.messages.iter().rev().peekable();
    // The tool that is at work stands in the stream's own line.
    if matches!(stream.activity, Activity::Tool { .. }) && stream.outcome().is_none() {
        messages.next_if(|message| message.voice == Voice::Tool);
    }
    let mut before: Option<&Message> = None;
    for message in messages {
        if rows.len() >= most {
            break;
        }
        // What is said again and again is said once.
        let again = |before: &Message| (before.voice, &before.text) == (message.voice, &message.text);
        if before.replace(message).is_some_and(again) {
            continue;
        }
        let text = tail(&message.text);
        let prose = stream.kind.is_agent() && matches!(message.voice, Voice::Worker | Voice::Open | Voice::Sub);
        let said = if prose {
            wrapped(message, text, columns)
        } else {
            lines(message, text)
        };
        let said = said.into_iter().rev().filter(|(_, row)| !row.trim().is_empty());
        rows.extend(said.take(most - rows.len()));
    }
    rows.reverse();
    rows
}

/// All of a message in rows of that many columns; one at least.
pub(super) fn all_rows(message: &Message, columns: usize) -> Vec<(Style, String)> {
    wrapped(message, message.text.trim_end(), columns)
}

fn wrapped(message: &Message, text: &str, columns: usize) -> Vec<(Style, String)> {
    let (style, sign) = look(message.voice);
    let columns = columns.saturating_sub(width(sign)).max(1);
    let mut rows = Vec::new();
    for line in clean_lines(text).split('\n') {
        for part in wrap(line, columns) {
            rows.push((style, format!("{sign}{part}")));
        }
    }
    rows
}

fn lines(message: &Message, text: &str) -> Vec<(Style, String)> {
    let (style, sign) = look(message.voice);
    let text = clean_lines(text);
    let lines = text
        .split('\n')
        .map(|line| (style, format!("{sign}{}", line.trim_end())));
    lines.filter(|(_, line)| line.len() > sign.len()).collect()
}

fn look(voice: Voice) -> (Style, &'static str) {
    match voice {
        Voice::Worker | Voice::Open => (Style::Plain, ""),
        Voice::Sub => (Style::Dim, "↳ "),
        Voice::Tool => (Style::Dim, "→ "),
        Voice::Stderr => (Style::Dim, "! "),
        Voice::Trouble => (Style::Warn, "! "),
    }
}

fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(LOOKED_AT);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].trim_end()
}

/// A clean line in parts of at most so many columns, broken between words where there are any; one part at least.
pub(super) fn wrap(line: &str, columns: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut used) = (0, 0);
    // Where the last word began, and how much stands before it.
    let mut word: Option<(usize, usize)> = None;
    for (at, c) in line.char_indices() {
        let wide = width(c.encode_utf8(&mut [0; 4]));
        if c == ' ' {
            word = Some((at + 1, used + 1));
        }
        // A blank at the end may hang over: it shows nothing. What is wide may need a part of its own even so.
        while used + wide > columns && c != ' ' && at > from {
            let (next, before) = word.take().unwrap_or((at, used));
            // Blanks alone are no part.
            parts.extend(Some(line[from..next].trim_end()).filter(|part| !part.is_empty()));
            (from, used) = (next, used - before);
        }
        used += wide;
    }
    if from < line.len() || parts.is_empty() {
        parts.push(line[from..].trim_end());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::clean::clean;
    use proptest::prelude::*;

    #[test]
    fn between_words() {
        for (line, columns, parts) in [
            ("", 5, &[""][..]),
            ("one two", 7, &["one two"]),
            ("one two", 6, &["one", "two"]),
            ("one two three", 5, &["one", "two", "three"]),
            ("one  two", 4, &["one", "two"]),
            ("abcdefgh", 3, &["abc", "def", "gh"]),
            ("a bcdefgh", 3, &["a", "bcd", "efg", "h"]),
            ("  - item that goes on", 10, &["  - item", "that goes", "on"]),
            ("日本語日本", 5, &["日本", "語日", "本"]),
            ("日本", 1, &["日", "本"]),
            (" abc日", 4, &["abc", "日"]),
            ("e\u{301}e\u{301}e", 2, &["e\u{301}e\u{301}", "e"]),
        ] {
            assert_eq!(wrap(line, columns), parts, "{line} {columns}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_of_it_and_nothing_wider(text in "([a-z日 \u{301}]|\\PC){0,60}", columns in 1usize..20) {
            let text = clean(&text);
            let parts = wrap(&text, columns);
            // Or there is only one to be seen, which is wider than all there is.
            let seen = |part: &str| part.trim_start().chars().filter(|c| width(&c.to_string()) > 0).count();
            let narrow = |part: &&str| width(part) <= columns || seen(part) == 1;
            prop_assert!(parts.iter().all(narrow), "{parts:?}");
            let dense = |text: &str| text.replace(char::is_whitespace, "");
            prop_assert_eq!(dense(&parts.concat()), dense(&text));
        }
    }
}
