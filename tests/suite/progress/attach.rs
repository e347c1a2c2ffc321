//! Viewers of a run folder: several at once, before it begins, after its end, and by its name.

use super::tmux::Pane;
use super::*;

fn viewer(run: &Path, home: &Path, args: &[&str]) -> Child {
    let mut tool = command(tool("cl-progress"));
    tool.env("XDG_STATE_HOME", home)
        .args(["--progress", "plain"])
        .args(args)
        .arg(run);
    tool.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = tool.spawn().expect("starts");
    drop(tool);
    child
}

/// The subjects and words of a log's lines, without the times.
fn words(log: &str) -> Vec<&str> {
    let lines = log.lines().skip(1);
    lines.filter_map(|line| Some(line.split_once(' ')?.1)).collect()
}

/// A finished run of one stream in a folder.
fn ended(folder: &Path, stream: &str) {
    std::fs::create_dir_all(folder).expect("makes a folder");
    append(
        &folder.join(format!("{stream}.ndjson")),
        &(start(stream) + &exits(stream, 2, "success")),
    );
}

#[test]
fn as_many_as_like_see_it_to_its_end() {
    let folder = scratch();
    let run = folder.path().join("run");
    std::fs::create_dir(&run).expect("makes a folder");
    // One is there before the run begins.
    let mut early: Vec<Child> = (0..2).map(|_| viewer(&run, folder.path(), &[])).collect();
    append(&run.join("a.ndjson"), &start("a"));
    for viewer in &mut early {
        let mut told = [0; 64];
        viewer
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut told[..1])
            .expect("reads");
    }
    let late = viewer(&run, folder.path(), &[]);
    append(&run.join("b.ndjson"), &(start("b") + &exits("b", 2, "failed")));
    append(&run.join("a.ndjson"), &exits("a", 2, "success"));
    let total = "2 streams: 1 success, 1 failed (0s, 0 lines, 5.0s one after the other)";
    for child in early.into_iter().chain([late]) {
        let done = collect(child, "a viewer").ok();
        assert_eq!(words(done.text()).last(), Some(&total), "{}", done.text());
    }
    // One that comes when all is over, and one that looks once.
    for args in [&[][..], &["--once"]] {
        let done = collect(viewer(&run, folder.path(), args), "a late viewer").ok();
        let said = words(done.text());
        assert_eq!(said.last(), Some(&total));
        assert!(said.contains(&"b: failed: so it is (2.5s, 0 lines)"), "{said:?}");
    }
}

#[test]
fn a_run_by_its_name_or_as_the_newest() {
    let folder = scratch();
    let runs = folder.path().join("cl/runs");
    for (i, name) in [
        "2026-01-31T235959.123-auth",
        "2026-02-01T000000.000-auth",
        "2026-02-02T000000.000-other",
    ]
    .iter()
    .enumerate()
    {
        ended(&runs.join(name), &format!("s{i}"));
        let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + i as u64);
        File::open(runs.join(name))
            .and_then(|run| run.set_modified(then))
            .expect("sets");
    }
    let shows = |run: &str, stream: &str, place: &str| {
        let done = collect(viewer(Path::new(run), folder.path(), &[]), run).exits(0);
        assert!(done.text().contains(&format!(" {stream}: success")), "{}", done.text());
        let said = if place.is_empty() {
            String::new()
        } else {
            format!("cl-progress: this is {}\n", runs.join(place).display())
        };
        assert_eq!(done.err, said);
    };
    let path = |name: &str| runs.join(name).to_str().expect("UTF-8").to_owned();
    shows("auth", "s1", "2026-02-01T000000.000-auth");
    shows("2026-01-31T235959.123-auth", "s0", "2026-01-31T235959.123-auth");
    shows(runs.to_str().expect("UTF-8"), "s2", "2026-02-02T000000.000-other");
    shows(&path("2026-01-31T235959.123-auth"), "s0", "");
    let done = collect(viewer(Path::new("nobody"), folder.path(), &[]), "no such run").exits(1);
    assert!(
        done.err.starts_with("cl-progress: nobody: No such file or directory; "),
        "{}",
        done.err
    );

    // At a terminal, the newest.
    let script = |home: &Path| format!("XDG_STATE_HOME={} cl-progress; echo code $?; exec cat", home.display());
    let Some(pane) = Pane::open(120, 20, &script(folder.path())) else {
        return;
    };
    let screen = pane.shows("code 0");
    assert!(screen.contains("✓ s2 ") && screen.contains("-other\n"), "{screen}");
    let empty = scratch();
    let pane = Pane::open(120, 20, &script(empty.path())).expect("there is a tmux");
    let screen = pane.shows("code 2");
    assert!(screen.contains("pipe a stream in, or name a run (in /"), "{screen}");
}
