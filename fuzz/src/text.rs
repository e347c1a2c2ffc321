//! What people see.

use super::lines;
use harmony::line::Ts;
use harmony::state::State;
use harmony::sys::terminal::Size;
use harmony::view::{self, Look, Text};

/// The first byte is the terminal's width. Whatever the workers wrote, nothing of it that a terminal acts on is shown,
/// and nothing is wider than the terminal.
pub fn text(data: &[u8]) {
    let Some((&columns, data)) = data.split_first() else {
        return;
    };
    let size = Size {
        columns: usize::from(columns).max(1),
        rows: usize::from(columns / 4).max(1),
    };
    let (mut text, mut out, mut state) = (Text::new(false), Vec::new(), State::default());
    for (line, _) in lines(data) {
        text.line(line, &mut out);
        state.line(line);
        let shown = String::from_utf8_lossy(line);
        harmless(&view::clean(&shown), false);
        assert!(view::width(&view::line(&shown, size.columns)) <= size.columns);
        harmless(&view::clean_json(&shown), true);
    }
    text.finish(&mut out);
    harmless(std::str::from_utf8(&out).expect("text"), true);
    picture(&state, size);
    let mut skimmed = State::default();
    for (line, _) in lines(data) {
        skimmed.skim(line);
    }
    assert!(skimmed.streams().len() <= state.streams().len());
    state.finish();
    picture(&state, size);
}

fn picture(state: &State, size: Size) {
    let look = Look {
        color: false,
        messages: 3,
        only: Vec::new(),
        zone: view::TimeZone::UTC,
    };
    for now in [Ts(0), Ts(u64::MAX)] {
        let rows = view::picture(state, now, size, &look);
        assert!(rows.len() <= size.rows);
        for row in rows {
            harmless(row.as_str(), false);
            assert!(row.used() <= size.columns);
        }
    }
    for stream in state.streams() {
        harmless(&view::change(stream, Ts(7), &look.zone), false);
        let _ = (view::object(stream, Ts(7)), stream.answer());
    }
    let _ = state.totals();
}

/// Nothing that a terminal acts on, nor that changes how other text is shown.
fn harmless(shown: &str, lines: bool) {
    let acts = |c: char| {
        c.is_control() && !(lines && c == '\n')
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    assert!(!shown.contains(acts), "{shown:?}");
}
