//! A run of eight recordings at its start, middle and end, and that of a plan, as tmux shows it in panes of three sizes.
//!
//! The frames lie in `tests/data/frames`; `CL_RENEW=1 cargo test --test suite progress::frames` writes them anew.

use super::tmux::Pane;
use super::*;
use std::path::PathBuf;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/frames")
}

/// Compares what stands in a pane with the frame of that name.
fn check(pane: &Pane, name: &str) {
    let path = data().join(format!("{name}.txt"));
    if std::env::var_os("CL_RENEW").is_some() {
        // All of it has come once it stays the same.
        let mut before = String::new();
        let screen = until("a frame that stands", || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let screen = pane.screen();
            let stands = screen == before && !screen.is_empty();
            before = screen;
            stands.then(|| before.clone())
        });
        std::fs::write(&path, screen + "\n").expect("writes");
        return;
    }
    let expected = std::fs::read_to_string(&path).expect("a frame");
    let mut last = String::new();
    let begin = std::time::Instant::now();
    while begin.elapsed() < DEADLINE / 4 {
        last = pane.screen() + "\n";
        if last == expected {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    panic!("{name}: CL_RENEW=1 renews it\n{last}\ninstead of\n{expected}");
}

fn pane(columns: u32, rows: u32, seconds: u32) -> Option<Pane> {
    let run = data().join("run.ndjson");
    let script = format!("cl-progress --at {seconds}s {}; exec cat", run.display());
    Pane::open(columns, rows, &script)
}

#[test]
fn start_middle_and_end_in_three_sizes() {
    for (columns, rows) in [(80, 24), (40, 6), (200, 50)] {
        for (name, seconds) in [("start", 1), ("middle", 4), ("end", 60)] {
            let Some(pane) = pane(columns, rows, seconds) else {
                return;
            };
            check(&pane, &format!("{name}-{columns}x{rows}"));
        }
    }
}

#[test]
fn a_text_that_is_opened() {
    for (columns, rows) in [(80, 24), (40, 6), (200, 50)] {
        let Some(pane) = pane(columns, rows, 4) else {
            return;
        };
        pane.shows("8 streams: ");
        pane.tmux(&["send-keys", "Down", "Down"]);
        pane.shows("●▸main");
        pane.tmux(&["send-keys", "Enter"]);
        pane.shows("esc back");
        check(&pane, &format!("text-{columns}x{rows}"));
    }
}

/// A plan's run by its phases where all of it has room; else what wants most to be looked at first.
#[test]
fn a_plan_in_three_sizes() {
    for (columns, rows) in [(80, 24), (80, 12), (40, 6)] {
        let script = format!("cl-progress --at 2500ms {}; exec cat", data().join("plan").display());
        let Some(pane) = Pane::open(columns, rows, &script) else {
            return;
        };
        pane.shows("7 streams: ");
        check(&pane, &format!("plan-{columns}x{rows}"));
    }
}

/// The picture in the README is made of frames of this run: `.ci/picture` makes it anew.
#[test]
fn the_picture_is_fresh() {
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cl-progress.svg");
    let done = finish(command(bin_dir().join("examples/picture")), b"").ok();
    if std::env::var_os("CL_RENEW").is_some() {
        std::fs::write(&picture, &done.out).expect("writes");
    }
    assert!(
        std::fs::read(&picture).expect("the picture") == done.out,
        "{} is stale: .ci/picture makes it anew",
        picture.display()
    );
    let text = done.text();
    assert!(!text.contains("<script") && !text.contains("http://127") && !text.contains('\u{1b}'));
}
