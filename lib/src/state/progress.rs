//! How far a worker is, from what it prints for people: only forms that hardly mean anything else.

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// 0 to 100.
    Percent(f64),
    /// Steps done, of how many.
    Steps {
        /// Done.
        done: u64,
        /// In all.
        total: u64,
    },
}

impl Progress {
    /// The part that is done, 0 to 1.
    pub fn fraction(self) -> f64 {
        match self {
            Self::Percent(percent) => (percent / 100.0).clamp(0.0, 1.0),
            Self::Steps { total: 0, .. } => 0.0,
            Self::Steps { done, total } => (done as f64 / total as f64).clamp(0.0, 1.0),
        }
    }

    /// Reads a line that a person would look at: `42%`, `[12/40]`, `3/10 tests`, `step 3/10`, `progress: 3 of 10`.
    pub fn read(line: &str) -> Option<Self> {
        // A progress line is rewritten in place: what stands last counts.
        let line = line.trim_end().rsplit('\r').next().unwrap_or_default();
        let bytes = line.as_bytes();
        let marked =
            || memchr::memchr2(b'%', b'/', bytes).is_some() || memchr::memmem::find(bytes, b"rogress").is_some();
        if line.len() > 400 || !marked() {
            return None;
        }
        let plain = without_escapes(line);
        let words: Vec<&str> = plain.split_whitespace().collect();
        told(&words).or_else(|| steps(&words)).or_else(|| percent(&words))
    }
}

/// `progress: 42%`, `progress 3/10`, `progress: 3 of 10`.
fn told(words: &[&str]) -> Option<Progress> {
    let at = words
        .iter()
        .position(|word| word.trim_end_matches([':', '=']).eq_ignore_ascii_case("progress"))?;
    let rest = &words[at + 1..];
    let first = trim(rest.first()?);
    let of = || match rest {
        [done, "of", total, ..] => pair(done, trim(total)),
        _ => None,
    };
    fraction(first).or_else(|| hundredths(first)).or_else(of)
}

/// `[12/40]` and `(12/40)` anywhere, `12/40` where the line begins with it or the word before asks for it.
fn steps(words: &[&str]) -> Option<Progress> {
    const ASKS: [&str; 16] = [
        "step",
        "steps",
        "test",
        "tests",
        "task",
        "tasks",
        "file",
        "files",
        "page",
        "part",
        "chunk",
        "batch",
        "stage",
        "epoch",
        "building",
        "compiling",
    ];
    words.iter().enumerate().find_map(|(at, word)| {
        let progress = fraction(trim(word))?;
        let framed = word.starts_with(['[', '(']) && word.trim_end_matches(':').ends_with([']', ')']);
        let asked = || {
            let before = words[at - 1];
            let asks = |name: &&str| before.trim_end_matches(':').eq_ignore_ascii_case(name);
            before.ends_with(']') || ASKS.iter().any(asks)
        };
        (framed || at == 0 || asked()).then_some(progress)
    })
}

/// One percentage in the line, and no word that says it is a share of something else.
fn percent(words: &[&str]) -> Option<Progress> {
    const ELSE: [&str; 14] = [
        "cpu", "mem", "memory", "ram", "disk", "coverage", "covered", "used", "usage", "idle", "hit", "faster",
        "slower", "than",
    ];
    let mut found = words.iter().filter_map(|word| hundredths(trim(word)));
    let first = found.next()?;
    let says = |word: &&str| ELSE.iter().any(|other| trim(word).eq_ignore_ascii_case(other));
    (found.next().is_none() && !words.iter().any(says)).then_some(first)
}

fn trim(word: &str) -> &str {
    word.trim_matches(['[', ']', '(', ')', '{', '}', ':', ',', ';', '|', '.', '…'])
}

fn fraction(word: &str) -> Option<Progress> {
    let (done, total) = word.split_once('/')?;
    pair(done, total)
}

fn pair(done: &str, total: &str) -> Option<Progress> {
    // Ten digits count anything, and neither a path nor a date has this form with the parts in this order.
    let number = |text: &str| match text.len() {
        1..=10 if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u64>().ok(),
        _ => None,
    };
    let (done, total) = (number(done)?, number(total)?);
    (done <= total && total > 1).then_some(Progress::Steps { done, total })
}

fn hundredths(word: &str) -> Option<Progress> {
    let number = word.strip_suffix('%')?;
    let plain = (1..=8).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 = plain.then(|| number.parse().ok())??;
    (0.0..=100.0).contains(&percent).then_some(Progress::Percent(percent))
}

/// The text without CSI sequences: colours and cursor movements stand in the middle of progress lines.
fn without_escapes(line: &str) -> std::borrow::Cow<'_, str> {
    if !line.contains('\u{1b}') {
        return line.into();
    }
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            plain.push(c);
        } else if chars.next_if_eq(&'[').is_some() {
            let _ = chars.by_ref().find(|c| ('\u{40}'..='\u{7e}').contains(c));
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_of_progress() {
        let steps = |done, total| Some(Progress::Steps { done, total });
        for (line, expected) in [
            ("42%", Some(Progress::Percent(42.0))),
            ("Downloading… 42.5% done", Some(Progress::Percent(42.5))),
            ("\u{1b}[32m 7%\u{1b}[0m\r\u{1b}[K 8%", Some(Progress::Percent(8.0))),
            ("Receiving objects:  42% (420/1000)", steps(420, 1000)),
            ("[12/40] cc -c x.c", steps(12, 40)),
            ("    Building [====>      ] 12/40: serde", steps(12, 40)),
            ("3/10 tests", steps(3, 10)),
            ("Step 3/10 : RUN make", steps(3, 10)),
            ("progress: 3 of 10", steps(3, 10)),
            ("progress: 30%", Some(Progress::Percent(30.0))),
            ("Progress: 3/10", steps(3, 10)),
        ] {
            assert_eq!(Progress::read(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_progress() {
        for line in [
            "",
            "hi",
            "CPU 42%",
            "coverage: 85%",
            "10% of 50%",
            "20% faster",
            "see src/main.rs",
            "on 3/10 we met",
            "[10/3]",
            "[1/1]",
            "and/or",
            "http://127.0.0.1:80/",
            "101%",
            "x42%",
            "%",
            "progress: none",
            "progress:",
        ] {
            assert_eq!(Progress::read(line), None, "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_part_is_a_part(line in "(progress:|step|[0-9]{1,12}|[%/\\[\\] \r\u{1b}]|\\PC){0,12}") {
            if let Some(progress) = Progress::read(&line) {
                prop_assert!((0.0..=1.0).contains(&progress.fraction()));
            }
        }
    }
}
