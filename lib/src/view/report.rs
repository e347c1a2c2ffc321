//! What the pictures afterwards have in common: the streams with their facts in words, their timelines cut to the run.

use super::clean::{clean, clean_lines, line};
use super::live::Look;
use super::{row::Style, words};
use crate::line::Ts;
use crate::state::{State, Stream};
use crate::timeline::{Entry, What};
use crate::units::brief;
use std::borrow::Cow;
use std::time::Duration;

/// The longest text in a cell, in columns.
const CELL: usize = 300;

/// The phases or levels of a plan are told one by one in so many columns.
const WIDE: usize = 160;

/// A run as it is told afterwards.
pub(super) struct Report<'a> {
    /// `3 streams: 2 success, 1 failed`.
    pub title: String,
    /// What it has taken, in a few words each.
    pub totals: Vec<String>,
    /// When its first stream began, and when the last one ended, or now.
    pub span: (Ts, Ts),
    /// Its streams.
    pub streams: Vec<Told<'a>>,
}

/// One stream as it is told afterwards. The texts hold no control characters, and are escaped for nothing.
pub(super) struct Told<'a> {
    /// Its place in the run.
    pub place: usize,
    /// All that is known of it.
    pub stream: &'a Stream,
    /// Its state as one mark, and how good that is.
    pub mark: (Style, &'static str),
    /// Its state as one word.
    pub state: &'static str,
    /// What wrote it, and with which model.
    pub agent: String,
    /// How long it took.
    pub time: String,
    /// How many turns, where that is known.
    pub turns: String,
    /// How many tokens.
    pub tokens: String,
    /// What it cost.
    pub cost: String,
    /// Why it ended so, with its last word on stderr where it failed, or what it does.
    pub because: String,
}

impl<'a> Report<'a> {
    pub fn new(state: &'a State, now: Ts, look: &'a Look) -> Self {
        let shown: Vec<&Stream> = look.streams(state).map(|(_, stream)| stream).collect();
        let span = span(state, &shown, now);
        let mut totals = words::totals(state, &shown, span.1);
        let alone = shown.iter().map(|stream| words::elapsed(stream, span.1));
        let alone = alone.fold(Duration::ZERO, Duration::saturating_add);
        if shown.len() > 1 && alone >= span.1.since(span.0) + Duration::from_secs(1) {
            totals.push(format!("{} one after the other", brief(alone)));
        }
        totals.push(words::groups(state, WIDE));
        totals.retain(|part| !part.is_empty());
        Self {
            title: if shown.is_empty() {
                "no stream".to_owned()
            } else {
                let count = words::counted(shown.len() as u64, "stream");
                format!("{count}: {}", words::counts(&shown))
            },
            totals: totals.iter().map(|part| clean(part).into_owned()).collect(),
            span,
            streams: look
                .streams(state)
                .map(|(place, stream)| Told::new(place, stream, span.1, look))
                .collect(),
        }
    }
}

/// From the first stream's start to the last one's end, or to now. A stream within another may have been made up by its
/// worker, with times of its own choice.
fn span(state: &State, streams: &[&Stream], now: Ts) -> (Ts, Ts) {
    let begun = || streams.iter().filter(|stream| stream.has_begun());
    let outer = begun().filter(|stream| state.parent(&stream.name).is_none());
    let from = outer.map(|stream| stream.started).min().unwrap_or(now).min(now);
    let ends = begun().map(|stream| stream.ended.unwrap_or(now));
    (from, ends.max().unwrap_or(now).clamp(from, now))
}

impl<'a> Told<'a> {
    pub fn new(place: usize, stream: &'a Stream, now: Ts, look: &Look) -> Self {
        let told = stream.end.as_deref().map(|end| &end.exit);
        let turns = told.and_then(|exit| exit.turns);
        let turns = turns.or_else(|| (stream.turns > 0).then_some(stream.turns));
        let tokens = words::tokens(stream.usage());
        let mut agent = stream.agent().map_or("", |kind| kind.as_str()).to_owned();
        match &stream.model {
            Some(model) if model.starts_with(&agent) => agent.clone_from(model),
            Some(model) => agent = format!("{agent} {model}"),
            None => {}
        }
        let mark = words::mark(stream);
        let mut because = match told {
            Some(exit) => {
                let parts = std::iter::once(&exit.because).chain(&exit.warnings);
                let parts: Vec<&str> = parts.map(String::as_str).filter(|part| !part.is_empty()).collect();
                parts.join(", ")
            }
            None if stream.outcome().is_some() => "no word of its end".to_owned(),
            None if stream.is_over() => stream.why().to_owned(),
            None => words::doing(stream, now, &look.zone).1,
        };
        // Most programs say last what was wrong, and a code says little.
        let stderr = told.filter(|_| mark.0 == Style::Bad).map_or("", |exit| &exit.stderr);
        if let Some(last) = stderr.lines().rev().find(|line| !clean(line).trim().is_empty()) {
            because.push_str(&format!(" (stderr: {})", last.trim()));
        }
        let lost = match stream.lost {
            0 => String::new(),
            lost => format!("{} lost, ", words::counted(lost, "line")),
        };
        Self {
            place,
            stream,
            mark,
            state: words::state(stream),
            agent: line(&agent, 80),
            time: words::time(stream, now),
            turns: turns.map_or_else(String::new, words::count),
            tokens: if tokens > 0 {
                words::count(tokens)
            } else {
                String::new()
            },
            cost: stream.cost().map_or_else(String::new, words::dollars),
            because: line(&format!("{lost}{because}"), CELL),
        }
    }

    /// What happened in it, within the run.
    pub fn entries(&self, (from, to): (Ts, Ts)) -> Vec<Entry> {
        let track = self.stream.track.as_deref();
        let mut all = track.map_or_else(Vec::new, |track| track.entries(to));
        for entry in &mut all {
            entry.from = entry.from.clamp(from, to);
            entry.to = entry.to.clamp(entry.from, to);
        }
        all
    }

    /// How much there was no room for.
    pub fn left_out(&self) -> u64 {
        self.stream.track.as_deref().map_or(0, |track| track.left_out())
    }

    /// The answer, without control characters; `None` where there is none.
    pub fn answer(&self) -> Option<String> {
        let answer = self.stream.answer()?;
        let answer = clean_lines(&answer);
        let answer = answer.trim_matches('\n');
        (!answer.trim().is_empty()).then(|| answer.to_owned())
    }
}

/// What an entry is called, in a few clean words.
pub(super) fn name(entry: &Entry) -> String {
    let name = clean(&entry.name);
    let name = match (entry.what, name.as_ref()) {
        (What::Tool, "") => "tool".to_owned(),
        (What::Tool, name) => name.to_owned(),
        (what, "") => what.as_str().to_owned(),
        (What::Limit, _) => "usage limit".to_owned(),
        (what, name) => format!("{} {name}", what.as_str()),
    };
    line(&name, 60)
}

/// Clean text for HTML, in element content and in quoted attributes.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    escape_within(text, usize::MAX, &mut out);
    Cow::Owned(out)
}

/// As [`escape`], appending at most so many bytes; gives how many bytes of the text that was.
pub(super) fn escape_within(text: &str, room: usize, out: &mut String) -> usize {
    let most = out.len().saturating_add(room);
    for (at, c) in text.char_indices() {
        let mut own = [0; 4];
        let piece = entity(c).unwrap_or_else(|| c.encode_utf8(&mut own));
        if out.len() + piece.len() > most {
            return at;
        }
        out.push_str(piece);
    }
    text.len()
}

/// How many bytes [`escape`] gives.
pub(super) fn escaped_length(text: &str) -> usize {
    text.chars()
        .map(|c| entity(c).map_or(c.len_utf8(), str::len))
        .fold(0, usize::saturating_add)
}

fn entity(c: char) -> Option<&'static str> {
    Some(match c {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\'' => "&#39;",
        _ => return None,
    })
}

/// Shares room out: whoever needs little gets it whole, and the others get the same each.
pub(super) fn shares(needs: &[usize], room: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|at| needs[*at]);
    let (mut left, mut shares) = (room, vec![0; needs.len()]);
    for (done, at) in order.iter().enumerate() {
        shares[*at] = needs[*at].min(left / (needs.len() - done));
        left -= shares[*at];
    }
    shares
}

/// Answers as `<details>`, escaped, in so much room; where that is not enough, each is cut alike, and says so.
pub(super) fn answers(streams: &[Told<'_>], mut room: usize, out: &mut String) {
    // Twice over the answers, so that never more than one of them is held beside what is made of it.
    let needs: Vec<(usize, usize)> = streams
        .iter()
        .enumerate()
        .filter_map(|(at, told)| Some((at, escaped_length(&told.answer()?))))
        .collect();
    let fixed = |at: usize| 2 * streams[at].stream.name.len() + WRAPPING;
    let mut fits = 0;
    room = room.saturating_sub(WRAPPING);
    while fits < needs.len() && room >= fixed(needs[fits].0) {
        room -= fixed(needs[fits].0);
        fits += 1;
    }
    let lengths: Vec<usize> = needs[..fits].iter().map(|(_, length)| *length).collect();
    for ((at, _), share) in needs.iter().zip(shares(&lengths, room)) {
        let told = &streams[*at];
        let Some(answer) = told.answer() else { continue };
        let name = &told.stream.name;
        out.push_str(&format!(
            "<details data-stream=\"{name}\"><summary>{name}</summary>\n\n<pre>\n"
        ));
        let taken = escape_within(&answer, share, out);
        out.push_str("\n</pre>\n");
        if taken < answer.len() {
            out.push_str(&format!("\n<p>Cut: {taken} of {} bytes.</p>\n", answer.len()));
        }
        out.push_str("\n</details>\n\n");
    }
    if fits < needs.len() {
        let missing = needs.len() - fits;
        out.push_str(&format!(
            "<p>{missing} more answers, for which there is no room.</p>\n\n"
        ));
    }
}

/// What surrounds an answer takes less, its stream's name apart.
const WRAPPING: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_needs_little_gets_it() {
        assert_eq!(shares(&[5, 100, 1, 100], 46), [5, 20, 1, 20]);
        assert_eq!(shares(&[5, 1], 46), [5, 1]);
        assert_eq!(shares(&[], 46), [0; 0]);
        assert_eq!(shares(&[9, 9], 1), [0, 1]);
    }

    #[test]
    fn nothing_is_markup() {
        assert_eq!(
            escape("<a href='x'>&\"</a>"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_fits(text in "[<&a\u{e9}日'\"]{0,30}", room in 0usize..60) {
            prop_assert_eq!(escaped_length(&text), escape(&text).len());
            let mut out = String::new();
            let taken = escape_within(&text, room, &mut out);
            prop_assert!(out.len() <= room && out == escape(&text[..taken]));
            prop_assert_eq!(taken == text.len(), escape(&text).len() <= room);
        }

        #[test]
        fn no_more_than_there_is(needs in prop::collection::vec(0usize..1000, 0..20), room in 0usize..5000) {
            let given = shares(&needs, room);
            prop_assert!(given.iter().sum::<usize>() <= room);
            prop_assert!(given.iter().zip(&needs).all(|(given, need)| given <= need));
            if needs.iter().sum::<usize>() <= room { prop_assert_eq!(given, needs); }
        }
    }
}
