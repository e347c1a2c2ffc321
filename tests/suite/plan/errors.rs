//! Everything that is wrong with a plan is found at once, with its place and what to do.

use super::plan;
use crate::harness::scratch;

/// The complaints about a plan, without the tool and the file before and the count behind.
fn complaints(name: &str, text: &str) -> Vec<String> {
    let home = scratch();
    std::fs::write(home.path().join(name), text).unwrap();
    let done = plan(home.path(), &["check", name], "").exits(1);
    assert!(done.out.is_empty());
    let mut lines: Vec<String> = done.err.lines().map(str::to_owned).collect();
    let count = lines.pop().unwrap();
    assert!(
        count.starts_with(&format!("cl-plan: {name}: {} error", lines.len())),
        "{}",
        done.err
    );
    let prefix = format!("cl-plan: {name}:");
    lines
        .iter()
        .map(|line| line.strip_prefix(&prefix).expect(line).to_owned())
        .collect()
}

/// A plan with one thing wrong, and the beginning of what is said of it.
#[test]
fn each_is_told_with_its_place() {
    for (text, told) in [
        ("", "3: stream: there is none"),
        (
            "[stream.a]\nprompt = 'x'\nafter = ['b']",
            "5: stream.a.after: there is no stream 'b'",
        ),
        (
            "[stream.ab]\n[stream.b]\nafter = ['ba']",
            "5: stream.b.after: there is no stream 'ba'; is it 'ab'?",
        ),
        (
            "[stream.a]\nafter = ['a']",
            "4: stream.a.after: a stream cannot be after itself",
        ),
        (
            "[stream.a]\nafter = 'b'",
            "4: stream.a.after: write a list of texts, as [\"a\", \"b\"], not a text",
        ),
        (
            "[stream.a]\n[stream.b]\nafter = ['a', 'a']",
            "5: stream.b.after: 'a' stands there twice",
        ),
        (
            "[stream.a]\nafter = ['b']\n[stream.b]\nafter = ['a']",
            "6: stream.b.after: a circle, in which nobody can begin: a -> b -> a;",
        ),
        (
            "[stream.a]\nphase = 'foundation'\nafter = ['b']\n[stream.b]\nphase = 'parallel'",
            "5: stream.a.after: a circle, in which nobody can begin: a -> b (by its phase) -> a",
        ),
        (
            "[stream.a]\nprmopt = 'x'",
            "4: stream.a.prmopt: no such key; is it 'prompt'?",
        ),
        ("[stream.a]\n[stream.a]", "4: duplicate key"),
        ("[stream.'a b']", "3: stream.a b: 'a b' is no stream name"),
        ("[stream.-a]", "3: stream.-a: it would be taken for an option"),
        (
            "[stream.a]\nprompt = '{{streams.b.text}}'\n[stream.b]",
            "4: stream.a.prompt: {{streams.b.text}}: a is not after b; add \"b\" to its after",
        ),
        (
            "[stream.a]\nprompt = '{{streams.c.text}}'",
            "4: stream.a.prompt: {{streams.c.text}}: there is no stream 'c'",
        ),
        (
            "[stream.a]\nprompt = '{{promt}}'",
            "4: stream.a.prompt: {{promt}}: write {{prompt}}, {{streams.NAME.text}}, {{file:PATH}} or {{worktree}}",
        ),
        (
            "[stream.a]\nrun = ['x', '{{worktree}}']",
            "4: stream.a.run: {{worktree}}: the stream has none",
        ),
        (
            "[stream.a]\nundo = ['x', '{{prompt']",
            "4: stream.a.undo: '{{' without '}}'",
        ),
        (
            "[stream.a]\ntimeout = 'soon'",
            "4: stream.a.timeout: 'soon' is no duration",
        ),
        (
            "[defaults]\nidle = true\n[stream.a]",
            "4: defaults.idle: write a duration, as \"90s\" or \"1h30m\", not true or false",
        ),
        (
            "[stream.a]\npriority = 5",
            "4: stream.a.priority: choose 1 (first) to 4",
        ),
        (
            "[stream.a]\nretries = -1",
            "4: stream.a.retries: write a number from 0 to 1000000",
        ),
        ("[stream.a]\nagent = 'claud'", "4: stream.a.agent: 'claud' is no agent"),
        (
            "[stream.a]\nfallback = ['codex:', 'claude:haiku']",
            "4: stream.a.fallback: 'codex:' is no agent",
        ),
        (
            "[stream.a]\nrun = ['true']\nfallback = ['codex']",
            "5: stream.a.fallback: another agent has to be asked something",
        ),
        ("[stream.a]\nrun = []", "4: stream.a.run: name a program"),
        ("[stream.a]\nprompt = ' '", "4: stream.a.prompt: it is empty"),
        (
            "[stream.a]\nrole = 'tset'",
            "4: stream.a.role: there is no role 'tset'; is it 'test'?",
        ),
        (
            "[stream.enhanced]",
            "3: stream.enhanced.role: it builds on the answer of 'quick'",
        ),
        (
            "[stream.a]\nlocks = ['db', 'db']",
            "4: stream.a.locks: 'db' stands there twice, and nobody can take it twice",
        ),
        (
            "[stream.a]\nlocks = ['a b']",
            "4: stream.a.locks: 'a b' is no name of a lock",
        ),
        (
            "[stream.a]\nlocks = ['db']\nrun = ['cl-run', 'x.toml']",
            "4: stream.a.locks: held while another plan runs",
        ),
        (
            "[stream.a]\nworktree = 'w'\n[stream.b]\nworktree = 'w/'",
            "6: stream.b.worktree: a may run in w at the same time",
        ),
        (
            "[stream.a]\nworktree = true\ncwd = 'x'",
            "5: stream.a.cwd: a stream runs in its worktree",
        ),
        ("[stream.a]\nbranch = 'x'", "4: stream.a.branch: of which worktree?"),
        (
            "[stream.a]\nworktree = true\nbranch = 'a..b'",
            "5: stream.a.branch: 'a..b' is no name of a branch",
        ),
        (
            "[stream.a]\nphase = 'last'",
            "4: stream.a.phase: 'last' is none of foundation, parallel, integration",
        ),
        (
            "[stream.a]\nwhen = 'never'",
            "4: stream.a.when: 'never' is none of success, failure, always",
        ),
        (
            "[stream.a]\n[stream.b]\ninstead = 'a'\nwhen = 'always'",
            "6: stream.b.when: a stream with instead",
        ),
        (
            "[stream.a]\n[stream.b]\ninstead = 'a'\n[stream.c]\ninstead = 'a'",
            "7: stream.c.instead: b stands in for 'a' already: write instead = \"b\"",
        ),
        (
            "[stream.a]\ntasks = 2\ndone = 3",
            "5: stream.a.done: more than there are tasks",
        ),
        (
            "[stream.a]\n[wait]\nneed = ['b']",
            "5: wait.need: there is no stream 'b'",
        ),
        (
            "[stream.a]\n[wait]\nany = 2",
            "5: wait.any: of those that are not needed by name there are only 1",
        ),
        (
            "[stream.a]\n[wait]\nfirst = true\nneed = ['a']",
            "5: wait.first: the first alone is enough",
        ),
        (
            "[stream.a]\n[wait]\ngrace = '1s'\nneed = ['a']",
            "5: wait.grace: it is for `any`",
        ),
        (
            "[stream.a]\nenv = { 'A=B' = 'x' }",
            "4: stream.a.env.A=B: is no name of a variable",
        ),
        ("[stream.a", "3: "),
    ] {
        // A plan without streams has no line for them.
        let text = format!("name = 'p'\nprompt = 'q'\n{text}\n");
        let found = complaints("p.toml", &text);
        let told = if told.contains("stream: there is none") {
            " stream: there is none"
        } else {
            told
        };
        assert!(
            found.len() == 1 && found[0].starts_with(told),
            "{text}\nsays {found:#?}\nnot {told}"
        );
    }
}

#[test]
fn all_are_told_at_once() {
    let toml = "name = 'a b'\njbos = 3\n[defaults]\ntimeout = 'soon'\n[stream.a]\nprompt = '{{x}}'\nafter = ['b', 'z']\n\
                [stream.b]\nafter = ['a']\nprompt = 'q'\nlocks = ['l', 'l']\n[wait]\nneed = ['y']\n";
    let lines: Vec<String> = complaints("p.toml", toml)
        .iter()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "1 name",
            "2 jbos",
            "4 defaults.timeout",
            "6 stream.a.prompt",
            "7 stream.a.after",
            "9 stream.b.after",
            "11 stream.b.locks",
            "13 wait.need"
        ]
    );
    let json = "{\"name\": \"p\",\n \"stream\": {\"a\": {\"run\": [\"x\"]},\n \"a\": {\"run\": [\"y\"]},\n \"b\": {\"run\": [\"x\"],\n \"after\": [\"z\"], \"tools\": null}}}";
    assert_eq!(
        complaints("p.json", json),
        [
            "3: stream.a: it stands in line 2 already: give one of them another name",
            "5: stream.b.after: there is no stream 'z': add [stream.z], or take it out",
            "5: stream.b.tools: write a list of texts, as [\"a\", \"b\"], not null",
        ]
    );
    // The first of a name that is a table counts, for whoever names it.
    let json = "{\"name\": \"p\", \"stream\": {\"a\": 1,\n \"a\": {\"run\": [\"y\"]},\n \"b\": {\"run\": [\"x\"], \"after\": [\"a\"]}}}";
    assert_eq!(
        complaints("p.json", json),
        [
            "1: stream.a: write a table, not a number",
            "2: stream.a: it stands in line 1 already: give one of them another name",
        ]
    );
    let home = scratch();
    let gone = plan(home.path(), &["check", "gone.toml"], "").exits(1);
    assert_eq!(gone.err, "cl-plan: gone.toml: No such file or directory\n");
    let bytes = home.path().join("bytes.toml");
    std::fs::write(&bytes, b"\xff").unwrap();
    let done = plan(home.path(), &["check", "bytes.toml"], "").exits(1);
    assert_eq!(done.err, "cl-plan: bytes.toml: it is no UTF-8 text\n");
    let none = plan(home.path(), &["status", "."], "").exits(1);
    assert_eq!(
        none.err,
        "cl-plan: .: there is no plan.toml in it: is it the folder of a run?\n"
    );
}
