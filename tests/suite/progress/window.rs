//! `examples/tmux.sh` in a real tmux.

use super::tmux::Pane;
use super::*;

/// The processes that were started with something of this folder in their environment.
fn descendants(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().expect("UTF-8").as_bytes();
    let processes = std::fs::read_dir("/proc").expect("lists").flatten();
    let ours = processes.filter_map(|process| {
        let environ = std::fs::read(process.path().join("environ")).ok()?;
        let found = environ.windows(folder.len()).any(|part| part == folder);
        let name = || std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        found.then(name)
    });
    ours.collect()
}

#[test]
fn a_window_with_a_pane_for_each_stream() {
    let folder = scratch();
    let example = root().join("examples/tmux.sh");
    let script = format!(
        "PATH={0}/marked:$PATH TMPDIR={0} {1}; exec cat",
        folder.path().display(),
        example.display()
    );
    let Some(pane) = Pane::open(160, 50, &script) else {
        return;
    };
    for closes in ["Enter", "kill-window", "kill-server"] {
        let panes = until("five panes", || {
            let panes = pane.tmux(&[
                "list-panes",
                "-s",
                "-F",
                "#{window_name} #{pane_id} #{pane_start_command}",
            ]);
            let panes: Vec<String> = panes
                .lines()
                .filter(|line| line.starts_with("agents "))
                .map(str::to_owned)
                .collect();
            (panes.len() == 5).then_some(panes)
        });
        let id = |command: &str| {
            let found = panes.iter().find(|line| line.contains(command)).expect(command);
            found.split(' ').nth(1).expect("an id").to_owned()
        };
        let shows = |command: &str, text: &str| {
            until(&format!("{text} in {command}"), || {
                let screen = pane.tmux(&["capture-pane", "-p", "-S", "-", "-t", &id(command)]);
                screen.contains(text).then_some(())
            });
        };
        // While it runs: each stream in its own pane.
        shows("--display", "main ");
        for (stream, text) in [
            ("main", "Count failed logins"),
            ("context", "context"),
            ("suggestions", "suggestions"),
            ("validation", "validation"),
        ] {
            shows(&format!("--only {stream} "), text);
        }
        shows("--display", "4 streams: ");
        assert!(descendants(folder.path()).len() > 5);
        match closes {
            "Enter" => {
                shows("--display", "Enter closes the window");
                pane.tmux(&["send-keys", "-t", &id("--display"), "Enter"]);
            }
            // Amid the run.
            "kill-window" => drop(pane.tmux(&["kill-window", "-t", "agents"])),
            _ => break,
        }
        until("all of it to end", || {
            descendants(folder.path()).is_empty().then_some(())
        });
        pane.tmux(&["new-window", "bash", "--norc", "-c", &script]);
    }
    drop(pane);
    until("all of it to end", || {
        descendants(folder.path()).is_empty().then_some(())
    });
    let runs = std::fs::read_dir(folder.path()).expect("lists").flatten();
    let answers: Vec<_> = runs
        .filter_map(|run| std::fs::read_to_string(run.path().join("answers.md")).ok())
        .collect();
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().any(|answer| answer.contains("Count failed logins")));
}
