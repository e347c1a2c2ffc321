//! Streams that are added to a run.

use super::*;

/// A stream adds another one while it runs, which builds on what ran before; that one adds one as well.
#[test]
fn a_stream_adds_streams() {
    let home = scratch();
    std::fs::write(
        home.path().join("more.toml"),
        "[stream.b]\nafter = ['a']\nrun = ['sh', '-c', 'echo b of {{streams.a.text}}; cl-run --add $CL_RUN last.json']\n",
    )
    .unwrap();
    std::fs::write(
        home.path().join("last.json"),
        r#"{"stream":{"c":{"after":["b"],"run":["echo","c of {{streams.b.text}}"]}}}"#,
    )
    .unwrap();
    let plan = "name = 'p'\n# as it was\n[stream.a]\nrun = ['sh', '-c', 'echo a; cl-run --add $CL_RUN more.toml']\n";
    let done = played(home.path(), plan, &[]).exits(0);
    assert_eq!(said(&done.out), ["a: a", "b: b of a", "c: c of b of a"]);
    let adds: Vec<serde_json::Value> = json_lines(&std::fs::read(home.path().join("run/journal")).unwrap())
        .into_iter()
        .filter(|line| line["act"] == "add")
        .collect();
    assert_eq!((text(&adds[0], "/by"), text(&adds[1], "/by")), ("a", "b"));
    assert_eq!(adds[1]["streams"], serde_json::json!(["c"]));
    // The plan in the folder has them, so a run that goes on does, too.
    let done = resumed(home.path(), &[]).exits(0);
    assert_eq!(said(&done.out).len(), 3);
    assert_eq!(std::fs::read_dir(home.path().join("run/add")).unwrap().count(), 0);
}

#[test]
fn what_is_wrong_is_refused() {
    let home = scratch();
    let plan = "name = 'p'\n[stream.a]\nrun = ['true']\n";
    played(home.path(), plan, &[]).exits(0);
    let add = |text: &str| {
        std::fs::write(home.path().join("more.toml"), text).unwrap();
        finish(cl_run(home.path(), &["--add", "run", "more.toml"]), b"")
    };
    let done = add("[stream.b]\nafter = ['x']\nrun = ['true']\n[stream.a]\nrun = ['false']\n").exits(2);
    assert!(
        done.err.contains("more.toml:2: stream.b.after: there is no stream 'x'"),
        "{}",
        done.err
    );
    assert!(
        done.err
            .contains("more.toml:4: stream.a: the plan has a stream of that name"),
        "{}",
        done.err
    );
    // What is in order waits for the run to go on.
    add("[stream.b]\nafter = ['a']\nrun = ['true']\n").ok();
    let done = resumed(home.path(), &[]).exits(0);
    assert_eq!(outcomes(&done).len(), 2);
    // A file that is put there by hand is looked at as well.
    let file = home.path().join("run/add/mine.toml");
    std::fs::write(&file, "[stream.c]\nrun = ['tru\n").unwrap();
    let done = resumed(home.path(), &[]).exits(0);
    assert!(done.err.contains("add/mine.toml:2: "), "{}", done.err);
    assert!(home.path().join("run/add/mine.toml.refused").exists());
}

#[test]
fn neither_too_many_nor_too_deep() {
    let home = scratch();
    // Each adds the next one.
    let more = "[stream.s$1]\nrun = ['sh', 'add', '$(($1 + 1))']\n";
    std::fs::write(
        home.path().join("add"),
        format!("cat > more$1.toml <<E\n{more}E\nexec cl-run --add $CL_RUN more$1.toml\n"),
    )
    .unwrap();
    let plan = "name = 'p'\n[stream.s0]\nrun = ['sh', 'add', '1']\n";
    let done = played(home.path(), plan, &["--max-depth", "2"]).exits(0);
    assert_eq!(outcomes(&done).len(), 3, "{}", done.err);
    assert!(
        done.err
            .contains("added by s2, which was added itself: too deep; see --max-depth"),
        "{}",
        done.err
    );
    std::fs::remove_dir_all(home.path().join("run")).unwrap();
    let done = played(home.path(), plan, &["--max-depth", "90", "--max-streams", "5"]).exits(0);
    assert_eq!(outcomes(&done).len(), 5, "{}", done.err);
    assert!(
        done.err.contains("6 streams would be more than 5: see --max-streams"),
        "{}",
        done.err
    );
}
