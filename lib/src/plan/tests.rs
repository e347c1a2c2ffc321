use super::*;
use proptest::prelude::*;

fn plan(text: &str) -> Plan {
    let text = format!("name = 'p'\nprompt = 'q'\n{text}");
    Plan::read(&text, Format::Toml, &Roles::builtin()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn names<'a>(plan: &'a Plan, all: &[usize]) -> Vec<&'a str> {
    all.iter().map(|&at| plan.streams[at].name.as_str()).collect()
}

#[test]
fn levels_and_the_critical_path() {
    let plan = plan("[stream.d]\nafter = ['b', 'c']\n[stream.b]\nafter = ['a']\n[stream.c]\n[stream.a]\n[stream.e]\n");
    let graph = Graph::new(&plan).unwrap();
    let levels = graph.levels();
    let levels: Vec<_> = levels.iter().map(|level| names(&plan, level)).collect();
    assert_eq!(levels, [vec!["c", "a", "e"], vec!["b"], vec!["d"]]);
    assert_eq!(names(&plan, graph.order()), ["c", "a", "b", "d", "e"]);
    let takes = [1.0, 2.0, 9.0, 3.0, 4.0];
    assert_eq!(names(&plan, &graph.critical(&takes)), ["c", "d"]);
    assert_eq!(graph.rest(&takes), [1.0, 3.0, 10.0, 6.0, 4.0]);
    assert_eq!(
        names(&plan, &graph.ranks(&[1, 1, 1, 1, 1], &takes)),
        ["c", "a", "e", "b", "d"]
    );
    assert_eq!(names(&plan, &graph.ranks(&[2, 2, 2, 2, 1], &takes))[0], "e");
    assert_eq!(graph.whole(&[1; 5], &takes, 0), 10.0);
    assert_eq!(graph.whole(&[1; 5], &takes, 1), 19.0);
    assert_eq!(graph.whole(&[1; 5], &takes, 2), 10.0);
}

#[test]
fn phases_come_one_after_the_other() {
    let plan = plan(
        "[stream.i]\nphase = 'integration'\n[stream.p]\nphase = 'parallel'\n[stream.f]\nphase = 'foundation'\n[stream.x]\n",
    );
    let graph = Graph::new(&plan).unwrap();
    assert_eq!(names(&plan, graph.before(0)), ["p", "f"]);
    assert_eq!(names(&plan, graph.before(1)), ["f"]);
    assert!(graph.before(3).is_empty());
}

#[test]
fn circles_are_named_all() {
    let text = "[stream.a]\nafter=['c']\n[stream.b]\nafter=['a']\n[stream.c]\nafter=['b']\n\
                [stream.d]\nafter=['e']\n[stream.e]\nafter=['d', 'a']\n[stream.f]\nafter=['e']\n";
    let problems = Plan::read(
        &format!("name='p'\nprompt='q'\n{text}"),
        Format::Toml,
        &Roles::builtin(),
    )
    .unwrap_err();
    let told: Vec<String> = problems.iter().map(|problem| problem.told("f")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("f:6: stream.b.after: a circle, in which nobody can begin: a -> b -> c -> a;"),
        "{told:?}"
    );
    assert!(told[1].contains("d -> e -> d"), "{told:?}");
    let text = "[stream.a]\nphase='foundation'\nafter=['b']\n[stream.b]\nphase='parallel'\n";
    let problems = Plan::read(
        &format!("name='p'\nprompt='q'\n{text}"),
        Format::Toml,
        &Roles::builtin(),
    )
    .unwrap_err();
    assert!(problems[0].what.contains("a -> b (by its phase) -> a"), "{problems:?}");
}

/// What each stream's fate means for the next one.
#[test]
fn who_may_start() {
    use Fate::{Failed, Skipped, Unneeded, Waiting, Well};
    let plan = plan(
        "[stream.a]\n[stream.o]\noptional = true\n[stream.s]\nafter = ['a', 'o']\n\
         [stream.f]\nafter = ['a', 'o']\nwhen = 'failure'\n[stream.w]\nafter = ['a', 'o']\nwhen = 'always'\n[stream.g]\nafter = ['f']\n",
    );
    let graph = Graph::new(&plan).unwrap();
    let decide = |at: usize, a: Fate, o: Fate, f: Fate| {
        let decision = graph.decide(&plan, at, &[a, o, Waiting, f, Waiting, Waiting]);
        match decision {
            Decision::Skip(_) => "skip",
            Decision::Start => "start",
            Decision::Wait => "wait",
            Decision::Unneeded => "unneeded",
        }
    };
    for (a, o, expected) in [
        (Well, Well, ["start", "unneeded", "start"]),
        (Well, Failed, ["start", "start", "start"]),
        (Failed, Well, ["skip", "start", "start"]),
        (Skipped, Well, ["skip", "start", "start"]),
        (Unneeded, Well, ["unneeded", "unneeded", "start"]),
        (Well, Waiting, ["wait", "wait", "wait"]),
        (Fate::Running, Failed, ["wait", "wait", "wait"]),
    ] {
        assert_eq!([2, 3, 4].map(|at| decide(at, a, o, Waiting)), expected, "{a:?} {o:?}");
    }
    assert_eq!(decide(5, Well, Well, Unneeded), "unneeded");
    assert_eq!(
        graph.decide(&plan, 2, &[Failed, Well, Waiting, Waiting, Waiting, Waiting]),
        Decision::Skip("a did not end well".to_owned())
    );
    assert_eq!(
        names(&plan, &graph.unwell(&[Well, Failed, Skipped, Unneeded, Well, Unneeded])),
        ["s"]
    );
}

#[test]
fn one_stands_in_for_another() {
    use Fate::{Failed, Unneeded, Waiting, Well};
    let plan = plan("[stream.a]\n[stream.b]\ninstead = 'a'\n[stream.c]\ninstead = 'b'\n[stream.d]\nafter = ['a']\n");
    let graph = Graph::new(&plan).unwrap();
    assert_eq!(names(&plan, graph.before(3)), ["a", "b", "c"]);
    let fates = |a, b, c| [a, b, c, Waiting];
    assert_eq!(
        graph.decide(&plan, 1, &fates(Well, Waiting, Waiting)),
        Decision::Unneeded
    );
    assert_eq!(
        graph.decide(&plan, 1, &fates(Failed, Waiting, Waiting)),
        Decision::Start
    );
    assert_eq!(
        graph.decide(&plan, 2, &fates(Well, Unneeded, Waiting)),
        Decision::Unneeded
    );
    assert_eq!(graph.decide(&plan, 3, &fates(Failed, Failed, Waiting)), Decision::Wait);
    assert_eq!(graph.decide(&plan, 3, &fates(Failed, Failed, Well)), Decision::Start);
    assert_eq!(graph.speaker(0, &fates(Failed, Failed, Well)), 2);
    assert!(graph.unwell(&[Failed, Failed, Well, Well]).is_empty());
    assert_eq!(
        names(&plan, &graph.unwell(&[Failed, Failed, Failed, Fate::Skipped])),
        ["a", "d"]
    );
}

#[test]
fn settings_lie_over_defaults() {
    let plan = plan(
        "[defaults]\nagent = 'codex'\ntimeout = 90\nenv = { A = '1', B = '1' }\nworktree = true\nretries = 2\n\
         [stream.a]\nenv = { B = '2' }\ncwd = 'x'\n[stream.b]\nrun = ['true']\nworktree = false\n[stream.context]\n",
    );
    let a = plan.settings(&plan.streams[0]);
    assert_eq!(
        (a.agent.as_deref(), a.timeout.as_deref(), a.worktree),
        (Some("codex"), Some("90"), None)
    );
    assert_eq!(
        a.env.into_iter().collect::<Vec<_>>(),
        [("A".into(), "1".into()), ("B".into(), "2".into())]
    );
    let b = plan.settings(&plan.streams[1]);
    assert_eq!((b.agent, b.retries, b.worktree), (None, Some(2), Some(Worktree::No)));
    // As cl-spawn does, an agent whose name is a role plays it.
    assert_eq!(plan.priorities(&Roles::builtin()), [1, 1, 2]);
    assert_eq!(plan.asks(&plan.streams[0]), Some("q"));
    assert_eq!(plan.asks(&plan.streams[1]), None);
}

#[test]
fn a_journal_is_read_up_to_its_torn_end() {
    let plan = plan("[stream.a]\n[stream.b]\n[stream.c]\n");
    let entry = |act: Act| serde_json::to_string(&Entry { ts: 1.5, act }).unwrap();
    let text = [
        entry(Act::Begin {
            v: 1,
            plan: "p".into(),
            pid: 7,
            jobs: 0,
            cwd: String::new(),
        }),
        entry(Act::Start {
            stream: "a".into(),
            key: "k".into(),
        }),
        entry(Act::End {
            stream: "a".into(),
            outcome: crate::line::Outcome::Success,
        }),
        entry(Act::Start {
            stream: "b".into(),
            key: "k".into(),
        }),
        entry(Act::Undo { stream: "a".into() }),
        entry(Act::Undone {
            stream: "a".into(),
            code: 3,
        }),
        "{\"ts\":2,\"act\":\"sta".to_owned(),
    ]
    .join("\n");
    assert!(
        text.starts_with("{\"ts\":1.5,\"act\":\"begin\",\"v\":1,\"plan\":\"p\",\"pid\":7}"),
        "{text}"
    );
    let journal = Journal::read(text.as_bytes());
    assert_eq!((journal.entries.len(), journal.unread), (6, 1));
    let fates: Vec<Fate> = journal.told(&plan).iter().map(|told| told.fate).collect();
    assert_eq!(fates, [Fate::Well, Fate::Running, Fate::Waiting]);
    assert_eq!(journal.undone(), [("a", Some(3))]);
}

/// No program takes it, and no folder is called so.
#[test]
fn no_text_holds_a_zero_byte() {
    for (key, value) in [
        ("cwd", r#""a\u0000""#),
        ("worktree", r#""a\u0000""#),
        ("args", r#"["\u0000"]"#),
        ("env", r#"{"A": "\u0000"}"#),
        ("env", r#"{"\u0000": "a"}"#),
    ] {
        let text = format!(r#"{{"name": "p", "stream": {{"a": {{"run": ["x"], "{key}": {value}}}}}}}"#);
        let problems = Plan::read(&text, Format::Json, &Roles::builtin()).unwrap_err();
        assert!(
            problems[0].place.starts_with(&format!("stream.a.{key}")),
            "{problems:?}"
        );
    }
}

fn texts() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("(\\PC|[\\n\\r\\t\"'\\\\\u{1}\u{7f}]){1,12}")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written is read again, in both forms.
    #[test]
    fn written_and_read(
        about in texts(), prompt in texts(), system in texts(), args in proptest::collection::vec(texts(), 0..3),
        value in texts(), number in 0u32..9, flag in any::<bool>(), env in "[A-Z .\"é]{1,4}",
    ) {
        let mut settings = Settings {
            system, partial: Some(flag), retries: Some(number), worktree: flag.then_some(Worktree::Own),
            timeout: Some("1h30m".into()), args: Some(args.into_iter().flatten().collect()), ..Settings::default()
        };
        settings.env.extend(value.map(|value| (env, value)));
        let first = Stream {
            name: "a.b/c".into(), about, optional: flag, tasks: Some(number + 1), done: Some(number),
            prompt: prompt.clone().map(|prompt| format!("p{}", prompt.replace("{{", ""))), phase: Some(Phase::Parallel),
            settings: settings.clone(), ..Stream::default()
        };
        let second = Stream { name: "b".into(), after: vec!["a.b/c".into()], when: When::Always, ..Stream::default() };
        let plan = Plan {
            name: "x".into(), prompt: Some(prompt.unwrap_or_default() + "?"), jobs: number, defaults: settings,
            streams: vec![first, second],
            wait: flag.then(|| Wait { need: vec!["b".into()], any: Some(1), grace: Some("3".into()), ..Wait::default() }),
        };
        for format in [Format::Toml, Format::Json] {
            let text = plan.write(format);
            let read = Plan::read(&text, format, &Roles::builtin());
            prop_assert_eq!(read.as_ref(), Ok(&plan), "{}", text);
        }
    }

    /// Nothing that comes from outside makes it panic.
    #[test]
    fn anything_is_read(text in "(\\PC|[\\n\"'\\[\\]{}=.,]|name|stream|after|run|prompt){0,60}") {
        let _ = Plan::read(&text, Format::Toml, &Roles::builtin());
        let _ = Plan::read(&text, Format::Json, &Roles::builtin());
    }
}
