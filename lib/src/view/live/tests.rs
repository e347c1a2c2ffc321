//! The picture and what keys do to it, on frames.

use super::*;
use crate::view::tests::{at, exit, look, put, run, start, text};
use crate::view::{Key, width};
use board::{Act, Board, Frame};
use proptest::prelude::*;

const SIZE: Size = Size { columns: 60, rows: 14 };

fn rows(frame: &Frame) -> (&[Row], bool) {
    match frame {
        Frame::Streams(rows) => (rows, false),
        Frame::Text(rows) => (rows, true),
    }
}

fn shown(board: &Board, state: &State, seconds: f64, size: Size) -> String {
    let frame = board.frame(state, at(seconds), size, &look(), true);
    let lines = rows(&frame)
        .0
        .iter()
        .map(|row| format!("{}\n", row.as_str().trim_end()));
    lines.collect()
}

fn press(board: &mut Board, state: &State, keys: &[Key]) -> Act {
    let acts = keys.iter().map(|key| board.press(*key, state, at(3.0), SIZE, &look()));
    acts.last().expect("a key")
}

/// One stream with that many lines.
fn long(lines: u64) -> State {
    let mut state = State::default();
    state.remember();
    start(&mut state, "log", "plain");
    for number in 1..=lines {
        text(&mut state, "log", number + 1, 1.0, &format!("line {number}"));
    }
    state
}

#[test]
fn by_need() {
    let mut state = State::default();
    for stream in ["quiet", "good", "gone", "busy", "again", "bad"] {
        start(&mut state, stream, "plain");
        text(&mut state, stream, 2, 1.0, "x");
    }
    text(&mut state, "busy", 3, 70.0, "y");
    exit(&mut state, "good", 3, 2.0, "success", "");
    exit(&mut state, "gone", 3, 2.0, "cancelled", "");
    exit(&mut state, "bad", 3, 2.0, "failed", "exit 1");
    let retry = r#""type":"cl","subtype":"retry","attempt":2,"of":3,"delay":200.0,"because":"unavailable""#;
    put(&mut state, "again", 3, 2.0, retry);
    let firsts = |sort: Sort| {
        let mut streams: Vec<(usize, &Stream)> = state.streams().iter().enumerate().collect();
        sort.sort(&mut streams, at(71.0));
        streams
            .iter()
            .map(|(_, stream)| stream.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(firsts(Sort::Need), ["bad", "quiet", "again", "busy", "good", "gone"]);
    assert_eq!(firsts(Sort::Name), ["again", "bad", "busy", "gone", "good", "quiet"]);
    assert_eq!(firsts(Sort::Time), ["quiet", "busy", "again", "good", "gone", "bad"]);
    assert_eq!(firsts(Sort::Cost), ["good", "gone", "bad", "quiet", "busy", "again"]);
    let frame = shown(&Board::default(), &state, 71.0, SIZE);
    assert!(frame.contains("again   retry 2 of 3 in 2m11s: una…"), "{frame}");
    assert!(frame.contains("quiet   writing, silent for 1m10s"), "{frame}");
    assert!(
        frame.contains("6 streams: 1 failed, 2 running, 1 retrying, 1 success"),
        "{frame}"
    );
}

#[test]
fn a_done_stream_is_folded_to_how_its_answer_begins() {
    let mut state = State::default();
    start(&mut state, "a", "plain");
    text(&mut state, "a", 2, 1.0, "something");
    let exit = r##""type":"cl","subtype":"exit","outcome":"success","duration":2.0,"text":"# Title\n\n- **The** first \u001b[31mwords*\n""##;
    put(&mut state, "a", 3, 2.0, exit);
    let frame = shown(&Board::default(), &state, 3.0, SIZE);
    assert!(frame.contains("success  The first words "), "{frame}");
    assert!(!frame.contains("something"));
}

#[test]
fn keys_choose_and_open() {
    let state = run();
    let mut board = Board::default();
    assert!(shown(&board, &state, 3.0, SIZE).contains("↑↓ choose   enter read   s sort: need   q close"));
    assert!(!board.is_used());
    assert_eq!(press(&mut board, &state, &[Key::Down, Key::Down, Key::Up]), Act::Draw);
    assert!(shown(&board, &state, 3.0, SIZE).contains("✗▸bad "));
    assert_eq!(press(&mut board, &state, &[Key::End, Key::Enter]), Act::Draw);
    assert!(board.is_open());
    assert_eq!(
        shown(&board, &state, 3.0, Size { columns: 60, rows: 7 }),
        "✓ done  success                       2.0s  1.2k tok  $0.012\nall\nis\nwell\n\n\nend   esc back   ↑↓ scroll   ←→ other stream\n"
    );
    // There is none beyond the last.
    assert_eq!(press(&mut board, &state, &[Key::Right]), Act::Nothing);
    press(&mut board, &state, &[Key::Left]);
    let text = shown(&board, &state, 3.0, SIZE);
    assert!(text.starts_with("● main  Bash: cargo test"), "{text}");
    assert!(
        text.contains("1 tool call") && text.contains("→ Bash cargo test"),
        "{text}"
    );
    assert_eq!(press(&mut board, &state, &[Key::Escape]), Act::Draw);
    assert!(!board.is_open() && shown(&board, &state, 3.0, SIZE).contains("●▸main"));
    assert_eq!(press(&mut board, &state, &[Key::Escape]), Act::Draw);
    assert_eq!(press(&mut board, &state, &[Key::Escape]), Act::Nothing);
    assert_eq!(press(&mut board, &state, &[Key::Char('s')]), Act::Draw);
    assert!(shown(&board, &state, 3.0, SIZE).contains("sort: time"));
    assert_eq!(press(&mut board, &state, &[Key::Char('x')]), Act::Nothing);
    assert_eq!(press(&mut board, &state, &[Key::Char('q')]), Act::Close);
    assert_eq!(press(&mut board, &State::default(), &[Key::Enter]), Act::Nothing);
}

#[test]
fn the_chosen_one_is_always_shown() {
    let mut state = State::default();
    for stream in 0..200 {
        start(&mut state, &format!("s{stream}"), "plain");
    }
    let mut board = Board::default();
    let small = Size { columns: 40, rows: 6 };
    let frame = shown(&board, &state, 3.0, small);
    let lines: Vec<&str> = frame.lines().collect();
    assert_eq!(lines.len(), 5, "{frame}");
    assert_eq!(
        lines[3..],
        ["  … 197 more: 197 running", "200 streams: 200 running · 3s"]
    );
    press(&mut board, &state, &[Key::End]);
    assert!(shown(&board, &state, 3.0, small).contains("●▸s199 "));
    press(&mut board, &state, &[Key::PageUp]);
    assert!(shown(&board, &state, 3.0, small).contains("●▸s189 "));
}

#[test]
fn a_text_scrolls_and_stands_still() {
    let mut state = long(50);
    let mut board = Board::default();
    press(&mut board, &state, &[Key::Enter]);
    let ends = |board: &Board, state: &State| {
        let text = shown(board, state, 3.0, SIZE);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), SIZE.rows);
        // Above: the stream's line, its facts, a rule.
        (
            lines[3].clone(),
            lines[12].clone(),
            lines[13].split("   ").next().unwrap_or_default().to_owned(),
        )
    };
    let triple = |one: &str, other: &str, place: &str| (one.to_owned(), other.to_owned(), place.to_owned());
    assert_eq!(ends(&board, &state), triple("line 41", "line 50", "end"));
    press(&mut board, &state, &[Key::Up]);
    assert_eq!(ends(&board, &state), triple("line 40", "line 49", "message 49 of 50"));
    // What comes does not move it.
    text(&mut state, "log", 52, 2.0, "line 51");
    assert_eq!(ends(&board, &state), triple("line 40", "line 49", "message 49 of 51"));
    press(&mut board, &state, &[Key::Home]);
    assert_eq!(ends(&board, &state), triple("line 1", "line 10", "message 10 of 51"));
    press(&mut board, &state, &[Key::Up, Key::PageDown]);
    assert_eq!(ends(&board, &state), triple("line 11", "line 20", "message 20 of 51"));
    press(&mut board, &state, &[Key::PageDown; 9]);
    assert_eq!(ends(&board, &state), triple("line 42", "line 51", "end"));
    text(&mut state, "log", 53, 2.0, "line 52");
    assert_eq!(ends(&board, &state), triple("line 43", "line 52", "end"));
    // Older than what is kept.
    press(&mut board, &state, &[Key::Home]);
    for number in 53..=1000 {
        text(&mut state, "log", number + 1, 2.0, &format!("line {number}"));
    }
    assert_eq!(
        ends(&board, &state),
        triple("line 601", "line 610", "message 610 of 1000")
    );
}

#[test]
fn what_was_saved() {
    let state = run();
    let streams: Vec<&Stream> = state.streams().iter().collect();
    // Four at once: 3 s, 3 s, 2 s and 0.25 s in 3 s.
    assert_eq!(words::saved(&streams, at(3.0)), "5s saved");
    assert_eq!(words::saved(&streams[..1], at(3.0)), "");
    assert_eq!(words::saved(&[], at(3.0)), "");
}

fn key() -> impl Strategy<Value = Key> {
    use Key::*;
    let keys = [
        Up,
        Down,
        Left,
        Right,
        PageUp,
        PageDown,
        Home,
        End,
        Enter,
        Escape,
        Char('s'),
        Char('x'),
    ];
    prop::sample::select(keys.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_keys_in_any_room(
        columns in 1usize..130,
        rows_there in 1usize..40,
        streams in 0usize..12,
        said in prop::collection::vec("\\PC{0,200}|[\u{0}-\u{9f}]{0,20}|(\u{1b}\\[[0-9]{1,2}m|\u{202e}|日|\n){0,9}", 0..12),
        keys in prop::collection::vec(key(), 0..12),
    ) {
        let size = Size { columns, rows: rows_there };
        let mut state = State::default();
        let mut board = Board::default();
        for stream in 0..streams {
            let name = format!("stream-{}", "x".repeat(stream * 3));
            start(&mut state, &name, ["plain", "claude"][stream % 2]);
            for (seq, line) in said.iter().enumerate() {
                text(&mut state, &name, seq as u64 + 2, seq as f64, line);
            }
            if stream % 3 == 0 {
                exit(&mut state, &name, 100, 30.0, ["success", "failed"][stream % 2], "exit 1");
            }
        }
        for key in keys {
            board.press(key, &state, at(40.0), size, &look());
            let frame = board.frame(&state, at(40.0), size, &look(), true);
            let (rows, whole) = rows(&frame);
            // Below all streams there is a row for the cursor.
            let most = if whole { rows_there } else { rows_there.saturating_sub(1).max(1) };
            prop_assert!(rows.len() <= most, "{} rows", rows.len());
            for row in rows {
                prop_assert!(width(row.as_str()) <= columns);
                let acts = row.as_str().chars().any(|c| c.is_control() || c == '\u{202e}');
                prop_assert!(!acts, "{:?}", row);
            }
        }
    }
}
