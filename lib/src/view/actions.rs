//! The log in GitHub Actions' notation: what a stream ended with in a group that folds, and an annotation where it failed.
//!
//! The runner takes commands from the output: `::name …::…` at the beginning of a line, white space aside, and the older
//! `##[name …]…` anywhere in one. So every line of ours begins with something else, and no `##` is left.

use super::clean::clean;
use super::report::Told;
use super::row::Style;
use std::borrow::Cow;

/// So many lines of an answer are shown, each of so many columns.
const LINES: usize = 200;
const COLUMNS: usize = 1000;

/// What belongs to a stream's end: its answer in a group, and an annotation where it failed.
pub(super) fn logged(told: &Told<'_>) -> String {
    let (mut text, name) = (String::new(), &told.stream.name);
    if let Some(answer) = told.answer() {
        text.push_str(&format!("\n::group::{}: its answer", data(name)));
        let mut lines = answer.lines();
        for line in lines.by_ref().take(LINES) {
            text.push_str("\n| ");
            text.push_str(&command_free(&super::clean::line(line, COLUMNS)));
        }
        let more = lines.count();
        if more > 0 {
            text.push_str(&format!("\n({more} more lines)"));
        }
        text.push_str("\n::endgroup::");
    }
    if told.mark.0 == Style::Bad {
        let title = property(&format!("{name}: {}", told.state));
        text.push_str(&format!("\n::error title={title}::{}", data(&told.because)));
    }
    text
}

/// One line in which no command is left, wherever it stands but at the beginning.
pub fn command_free(line: &str) -> Cow<'_, str> {
    if line.contains("##") {
        Cow::Owned(line.replace('#', "# ").trim_end().to_owned())
    } else {
        Cow::Borrowed(line)
    }
}

/// A command's text.
fn data(text: &str) -> String {
    let text = clean(text);
    command_free(&text)
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
