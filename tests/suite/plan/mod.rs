//! cl-plan: plans that are made, checked, shown, imported and run as scripts.

mod errors;
mod script;

use crate::harness::*;
use std::path::Path;

/// cl-plan in a folder that is its home as well.
fn plan(home: &Path, args: &[&str], stdin: &str) -> Done {
    let mut command = command(tool("cl-plan"));
    command.args(args).current_dir(home).env("HOME", home);
    finish(command, stdin.as_bytes())
}

/// The folder of the recordings that the examples play.
fn recordings() -> String {
    root().join("examples/recordings").display().to_string()
}

#[test]
fn sets_of_roles() {
    let home = scratch();
    for (set, streams) in [
        ("orchestra", "main context suggestions validation"),
        ("specialists", "code-analysis execution documentation validation"),
        ("ensemble", "soloist analyst advisor critic"),
        ("progressive", "quick enhanced complete"),
    ] {
        let made = plan(home.path(), &[set, "Why {{so}}?"], "").ok();
        let text = made.text();
        let found: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("[stream.")?.strip_suffix(']'))
            .collect();
        assert_eq!(found.join(" "), streams);
        assert!(text.contains("prompt = \"Why {{so}}?\""), "a question is no template");
        assert_eq!(
            text.contains("need = "),
            matches!(set, "orchestra" | "ensemble"),
            "{text}"
        );
        plan(home.path(), &["check", "-"], text).ok();
        // The same in JSON, with the question from stdin.
        let json = plan(
            home.path(),
            &[set, "--json", "--name", "x", "-m", "haiku"],
            "Why {{so}}?\n",
        )
        .ok();
        plan(home.path(), &["check", "-"], json.text()).ok();
        assert_eq!(json.json_value()["defaults"]["model"], "haiku");
        assert_eq!(json.json_value()["prompt"], "Why {{so}}?");
    }
    let validation = plan(home.path(), &["specialists", "q"], "").ok();
    assert!(validation.text().contains("role = \"specialists.validation\""));
    // Roles of the user's own join their set.
    std::fs::write(
        home.path().join("cl.toml"),
        "[role.extra]\nset = 'orchestra'\npriority = 3\n",
    )
    .unwrap();
    assert!(
        plan(home.path(), &["orchestra", "q"], "")
            .ok()
            .text()
            .contains("[stream.extra]")
    );
    plan(home.path(), &["orchestra", " "], "").exits(2);
    let refused = plan(home.path(), &["orchestra", "q", "--agent", "claud"], "").exits(1);
    assert!(
        refused.err.starts_with("cl-plan: defaults.agent: 'claud' is no agent"),
        "{}",
        refused.err
    );
}

impl Done {
    /// stdout as one JSON document.
    fn json_value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).expect("JSON")
    }
}

#[test]
fn lines_become_plans() {
    let home = scratch();
    let made = |args: &[&str]| {
        plan(home.path(), &[args, &["--json"]].concat(), "one\n\ntwo\nthree\n")
            .ok()
            .json_value()
    };
    let chain = made(&["chain"]);
    assert_eq!(chain["stream"]["step2"]["after"], serde_json::json!(["step1"]));
    assert_eq!(
        chain["stream"]["step2"]["prompt"],
        "two\n\nThe step before gave this:\n\n{{streams.step1.text}}"
    );
    let batch = made(&["batch", "2"]);
    assert_eq!(batch["jobs"], 2);
    assert!(batch["stream"]["job2"].get("after").is_none());
    assert_eq!(batch["stream"]["job3"]["after"], serde_json::json!(["job1", "job2"]));
    assert!(text(&batch, "/stream/job3/prompt").contains("job2:\n\n{{streams.job2.text}}"));
    assert_eq!(made(&["first"])["stream"]["try3"]["instead"], "try2");
    let empty = plan(home.path(), &["chain"], "\n").exits(2);
    assert_eq!(empty.err, "cl-plan: stdin is empty: give prompts, one a line\n");
}

#[test]
fn an_orchestration_is_imported() {
    let home = scratch();
    let config = root().join("tests/data/plans/orchestration-config.json");
    let config = config.display().to_string();
    let imported = plan(home.path(), &["import", &config, "--json"], "").ok().json_value();
    assert_eq!(
        (text(&imported, "/name"), &imported["jobs"]),
        ("orchestration-config", &5.into())
    );
    let stream = |name: &str| &imported["stream"][name];
    // What is done is not done again.
    assert_eq!(stream("stream-1")["run"], serde_json::json!(["true"]));
    assert_eq!(stream("stream-2")["after"], serde_json::json!(["stream-1"]));
    assert_eq!(stream("stream-2")["worktree"], "/srv/shop/trees/two");
    assert!(text(&imported, "/stream/stream-2/prompt").contains("Login. 2 of its 6 tasks are done"));
    assert_eq!(
        (stream("stream-3")["phase"].as_str(), stream("stream-3")["cwd"].as_str()),
        (Some("parallel"), Some("/srv/shop"))
    );
    assert_eq!(
        (
            stream("stream-4")["phase"].as_str(),
            stream("stream-4")["worktree"].as_str()
        ),
        (Some("integration"), Some("/srv/trees/four"))
    );
    let toml = plan(home.path(), &["import", &config], "").ok();
    let todo = home.path().join("plan.toml");
    std::fs::write(&todo, &toml.out).unwrap();
    let todo = plan(home.path(), &["todo", "plan.toml"], "").ok();
    assert_eq!(
        todo.text(),
        "# orchestration-config\n\n## foundation\n\n- [x] stream-1: Session table\n\n## parallel\n\n\
         - [ ] stream-2: Login\n- [ ] stream-3: Logout {{now}}\n\n## integration\n\n- [ ] stream-4: All of it\n"
    );
    let todos = plan(home.path(), &["todo", "--json", "plan.toml"], "")
        .ok()
        .json_value();
    assert_eq!(todos["todos"][0]["status"], "completed");
    let status = plan(home.path(), &["status", "."], "").ok();
    assert!(status.text().contains("stream-2"), "{}", status.text());
    assert!(status.text().contains("2/6  waits for stream-1"), "{}", status.text());
    assert!(
        status.text().ends_with("next: stream-1 can start\n"),
        "{}",
        status.text()
    );

    let nothing = plan(home.path(), &["import", "-"], "{}").exits(1);
    assert_eq!(
        nothing.err,
        "cl-plan: stdin: it has no streams: is it an orchestration-config.json?\n"
    );
    let unknown = "{\"streams\":[{\"streamId\":\"a\",\"dependencies\":[\"b\"]}]}";
    let unknown = plan(home.path(), &["import", "-"], unknown).exits(1);
    assert!(
        unknown.err.contains("stream.a.after: there is no stream 'b'"),
        "{}",
        unknown.err
    );
    let torn = plan(home.path(), &["import", "-"], "{\"streams\":[").exits(1);
    assert!(
        torn.err.starts_with("cl-plan: stdin: EOF while parsing"),
        "{}",
        torn.err
    );
}

const DIAMOND: &str = "name = 'd'\njobs = 2\n\
    [stream.a]\nphase = 'foundation'\nrun = ['true']\n[stream.b]\nphase = 'parallel'\nrun = ['true']\n\
    [stream.c]\nafter = ['a']\nrun = ['true']\noptional = true\n[stream.d]\nafter = ['b', 'c']\nrun = ['true']\n\
    [stream.e]\ninstead = 'd'\nrun = ['true']\n[stream.f]\nafter = ['d']\nwhen = 'always'\nrun = ['true']\n";

#[test]
fn the_graph_is_drawn() {
    let home = scratch();
    std::fs::write(home.path().join("d.toml"), DIAMOND).unwrap();
    let dot = plan(home.path(), &["show", "--dot", "d.toml"], "").ok();
    // Every line is one of a few forms, and braces pair.
    let mut depth = 0;
    let mut edges = Vec::new();
    for line in dot.text().lines().map(str::trim) {
        depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
        assert!(depth >= 0 && (line.ends_with([';', '{']) || line == "}"), "{line}");
        assert_eq!(line.matches('"').count() % 2, 0, "{line}");
        if let Some((from, rest)) = line.split_once(" -> ") {
            let to = rest.split([' ', ';']).next().unwrap();
            edges.push(format!("{from}{to}").replace('"', ""));
        }
    }
    assert_eq!(depth, 0);
    edges.sort();
    assert_eq!(edges, ["ab", "ac", "bd", "cd", "de", "df", "ef"]);
    assert!(
        dot.text().contains("\"d\" -> \"e\" [style=dashed label=\"fails\"];"),
        "{}",
        dot.text()
    );
    if bash("command -v dot").code() == 0 {
        let mut draw = command("dot");
        draw.arg("-Tcanon");
        finish(draw, &dot.out).ok();
    }
    let mermaid = plan(home.path(), &["show", "--mermaid", "d.toml"], "").ok();
    for line in [
        "flowchart LR",
        "  subgraph foundation",
        "  s0 --> s1",
        "  s3 -.->|fails| s4",
        "  s3 -->|ends| s5",
    ] {
        assert!(
            mermaid.text().lines().any(|found| found == line),
            "{line}\n{}",
            mermaid.text()
        );
    }
}

#[test]
fn earlier_runs_tell_the_time() {
    let home = scratch();
    std::fs::write(home.path().join("d.toml"), DIAMOND).unwrap();
    let shown = plan(home.path(), &["show", "d.toml"], "").ok();
    let first = "d: 6 streams on 5 levels, at most 2 at once\n\nlevel  stream  who   after  what\n1      a       true  -      foundation\n";
    assert!(shown.text().starts_with(first), "{}", shown.text());
    assert!(
        shown
            .text()
            .ends_with("critical path: a -> b -> d -> e -> f\ntime: no earlier run tells it\n"),
        "{}",
        shown.text()
    );
    let run = home.path().join(".local/state/cl/runs/2026-01-31T235959.123-d");
    std::fs::create_dir_all(&run).unwrap();
    for (stream, seconds) in [("a", 1.0), ("b", 2.0), ("c", 30.0), ("d", 4.0)] {
        let exit = format!(
            "{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":1,\"ts\":1.0}},\"type\":\"cl\",\"subtype\":\"exit\",\"outcome\":\"success\",\"duration\":{seconds}}}\n"
        );
        std::fs::write(run.join(format!("{stream}.ndjson")), exit).unwrap();
    }
    // Another plan's run that is called alike.
    std::fs::create_dir_all(home.path().join(".local/state/cl/runs/2026-01-31T235959.123-x-d")).unwrap();
    for args in [
        &["show", "d.toml"][..],
        &["show", "d.toml", "--run", run.to_str().unwrap()],
    ] {
        let shown = plan(home.path(), args, "").ok();
        assert!(
            shown.text().contains("critical path: a -> c -> d -> e -> f, 53s\n"),
            "{}",
            shown.text()
        );
        assert!(
            shown.text().contains("2 of 6 streams have no earlier run"),
            "{}",
            shown.text()
        );
    }
}
