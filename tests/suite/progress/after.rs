//! What is written when the run is over: the summary, the trace, the page.

use super::*;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// Streams from recordings, a command that fails, and what cl-progress makes of them with these arguments, in a folder.
pub fn recorded(folder: &Path, args: &str) -> Done {
    let recordings = root().join("tests/data/recordings");
    let script = format!(
        "set -o pipefail; cd {}; R={}; \
         agent() {{ cl-spawn --agent \"$1\" \"$2\" -- cl-replay \"$R/$1/$3.ndjson\" < /dev/null; }}; \
         cl-merge <(agent claude tools tools-bash-read-write) <(agent claude over api-529-twice) \
         <(agent claude bad api-401) <(agent codex cod plain-text) <(cl-spawn cmd -- sh -c 'echo out; exit 3') \
         | cl-progress {args} > /dev/null",
        folder.display(),
        recordings.display()
    );
    bash(&script)
}

/// A trace as its format demands it: known kinds of events, whole numbers, one process a thread, slices that lie within
/// one another or apart. Gives the names of the slices and moments of each category.
#[track_caller]
pub fn check_trace(bytes: &[u8]) -> HashMap<String, Vec<String>> {
    let trace: Value = serde_json::from_slice(bytes).expect("is JSON");
    assert_eq!(trace["displayTimeUnit"], "ms");
    let mut open: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut process: HashMap<u64, u64> = HashMap::new();
    let (mut named, mut all) = (HashSet::new(), HashMap::<String, Vec<String>>::new());
    for event in trace["traceEvents"].as_array().expect("events") {
        let number = |member: &str| event[member].as_u64().unwrap_or_else(|| panic!("{member}: {event}"));
        let (pid, tid) = (number("pid"), number("tid"));
        assert_eq!(*process.entry(tid).or_insert(pid), pid, "{event}");
        let name = event["name"].as_str().filter(|name| !name.is_empty()).expect("a name");
        assert!(!event.to_string().contains("\\u"), "control characters: {event}");
        match event["ph"].as_str() {
            Some("M") => {
                let known = ["process_name", "process_labels", "process_sort_index", "thread_name"];
                assert!(known.contains(&name) && event["args"].is_object(), "{event}");
                if name == "thread_name" {
                    assert!(named.insert(tid), "{event}");
                }
                continue;
            }
            Some("X") => {
                let (from, to) = (number("ts"), number("ts") + number("dur"));
                let around = open.entry(tid).or_default();
                // By the beginning, the longer ones first.
                while around.last().is_some_and(|end| *end <= from && to > *end) {
                    around.pop();
                }
                assert!(around.last().is_none_or(|end| *end >= to), "{event}");
                around.push(to);
            }
            Some("i") => {
                number("ts");
                assert_eq!(event["s"], "t", "{event}");
            }
            other => panic!("{other:?}: {event}"),
        }
        assert!(named.contains(&tid), "{event}");
        let category = event["cat"].as_str().expect("a category").to_owned();
        all.entry(category).or_default().push(name.to_owned());
    }
    all
}

/// What the policy of a page lets run and look so, and that is what stands in it.
#[track_caller]
pub fn check_page(page: &str) {
    for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(
            (page.matches(&open).count(), page.matches(&close).count()),
            (1, 1),
            "{tag}"
        );
        let body = page.split(&open).nth(1).and_then(|rest| rest.split(&close).next());
        let digest = {
            let mut command = command("bash");
            let script = r"h=$(sha256sum | cut -c -64); printf $(echo $h | sed 's/../\\x&/g') | base64";
            command.args(["-c", script]);
            finish(command, body.expect("there").as_bytes())
                .ok()
                .text()
                .trim()
                .to_owned()
        };
        assert!(
            page.contains(&format!("{directive} 'sha256-{digest}';")),
            "the digest of {tag} is sha256-{digest}"
        );
    }
    assert!(page.contains("content=\"default-src 'none'; "));
    // No tag loads or runs anything. Text holds no angle bracket.
    let tags = page.split('<').skip(1).filter_map(|rest| rest.split('>').next());
    for tag in tags.filter(|tag| !tag.starts_with("meta http-equiv")) {
        for word in ["http:", "https:", " src=", " style=", " on", "stylesheet"] {
            assert!(!tag.contains(word), "{tag}");
        }
    }
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_run_of_recordings() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("s.md"), "# before\n").expect("writes");
    recorded(
        folder.path(),
        "--progress none --summary s.md --trace t.json --html p.html",
    )
    .ok();

    let summary = read(&path("s.md"));
    assert!(summary.starts_with("# before\n\n### 5 streams"), "{summary}");
    for row in [
        "| ✓ | tools | success | <code>claude",
        "| ✗ | bad | auth | <code>claude",
        "| ✓ | cod | success | <code>codex</code> |",
        "| ✗ | cmd | failed | ",
        "<code>exit 3</code> |",
    ] {
        assert!(summary.contains(row), "{row}: {summary}");
    }
    assert!(summary.contains("```mermaid\ngantt\n") && summary.contains("    section tools\n    attempt 1 :"));
    assert!(
        summary.contains("<summary>tools</summary>\n\n<pre>\nAll done, 5 rounds.\n</pre>"),
        "{summary}"
    );

    let found = check_trace(&std::fs::read(path("t.json")).expect("reads"));
    let count = |category: &str| found.get(category).map_or(0, Vec::len);
    assert_eq!((count("attempt"), count("exit")), (5, 5), "{found:?}");
    assert!(count("turn") >= 4 && count("result") >= 3, "{found:?}");
    assert!(found["tool"].contains(&"Bash".to_owned()), "{found:?}");
    assert_eq!(found["retry"].len(), 12, "{found:?}");

    let page = read(&path("p.html"));
    check_page(&page);
    assert_eq!(page.matches("<tr data-stream=").count(), 5);
    assert_eq!(page.matches("<div class=\"track\" data-stream=").count(), 5);
    assert!(page.contains("data-stream=\"bad\" data-state=\"bad\""));
    for name in ["t.json", "p.html"] {
        let mode = path(name).metadata().expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 3);
}

/// A stream that uses tools at once, is tried again, and waits for a limit, at times of its own.
pub fn waiting() -> String {
    let mut seq = 0;
    let mut line = |ts: u32, rest: &str| {
        seq += 1;
        format!(
            "{{\"cl\":{{\"stream\":\"w\",\"seq\":{seq},\"ts\":{}.000000}},{rest}}}\n",
            1_763_600_000 + ts
        )
    };
    let start = r#""type":"cl","subtype":"start","v":1,"agent":"claude","pid":1,"attempt""#;
    let init = r#""type":"system","subtype":"init","session_id":"s","model":"m""#;
    let tool = |id: &str| {
        format!(
            r#""type":"assistant","message":{{"id":"m{id}","role":"assistant","content":[{{"type":"tool_use","id":"{id}","name":"Bash","input":{{"command":"make"}}}}]}}"#
        )
    };
    let done = |id: &str| {
        format!(
            r#""type":"user","message":{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"{id}","content":"x"}}]}}"#
        )
    };
    let retry = r#""type":"cl","subtype":"retry","attempt":2,"of":4,"delay":3,"because":"it crashed""#;
    let limit = r#""type":"cl","subtype":"limit","status":"rejected","resets_at":1763600100"#;
    [
        line(0, &format!("{start}:1")),
        line(1, init),
        line(2, &tool("a")),
        line(3, &tool("b")),
        line(8, &done("a")),
        line(9, &done("b")),
        line(30, retry),
        line(33, &format!("{start}:2")),
        line(34, limit),
        line(35, retry),
        line(100, &format!("{start}:3")),
        line(
            101,
            r#""type":"result","subtype":"success","is_error":false,"result":"so","session_id":"s""#,
        ),
        line(
            102,
            r#""type":"cl","subtype":"exit","outcome":"success","because":"result success""#,
        ),
    ]
    .concat()
}

#[test]
fn waits_and_attempts_are_slices() {
    let done = feed(
        "cl-progress",
        &["--once", "--progress", "none", "--trace", "/dev/stdout"],
        waiting().as_bytes(),
    );
    let found = check_trace(&done.ok().out);
    assert_eq!(found["attempt"], ["attempt 1", "attempt 2", "attempt 3"]);
    assert_eq!(found["tool"], ["Bash", "Bash"]);
    assert_eq!(found["backoff"], ["backoff 2"]);
    assert_eq!(found["limit"], ["usage limit"]);
    assert_eq!(found["result"], ["result success"]);
    assert_eq!(found["exit"], ["exit success"]);
}

#[test]
fn the_summary_has_its_size() {
    let folder = scratch();
    let file = folder.path().join("s.md");
    std::fs::write(&file, vec![b'x'; 700 << 10]).expect("writes");
    let mut lines = String::new();
    for (stream, answer) in [
        ("one", "<".repeat(600_000)),
        ("small", "short".to_owned()),
        ("two", "é".repeat(300_000)),
    ] {
        let exit = format!(r#""type":"cl","subtype":"exit","outcome":"success","because":"x","text":"{answer}""#);
        lines.push_str(&(start(stream) + &line(stream, 2, &exit)));
    }
    let path = file.to_str().expect("UTF-8");
    let args = ["--once", "--progress", "none", "--summary", path];
    feed("cl-progress", &args, lines.as_bytes()).ok();
    let summary = read(&file);
    assert!(
        ((1 << 20) - 1000..1 << 20).contains(&summary.len()),
        "{}",
        summary.len()
    );
    assert!(summary.contains("<pre>\nshort\n</pre>\n\n</details>"));
    let cut: Vec<&str> = summary.lines().filter(|line| line.starts_with("<p>Cut: ")).collect();
    assert_eq!(cut.len(), 2, "{cut:?}");
    assert!(cut[0].ends_with("of 600000 bytes.</p>"), "{cut:?}");
    // Alike, in what they take.
    let (one, two) = (summary.matches("&lt;").count() * 4, summary.matches('é').count() * 2);
    assert!(one.abs_diff(two) < 10, "{one} {two}");
    // There is no room for another one.
    let done = feed("cl-progress", &args, lines.as_bytes()).exits(1);
    assert!(done.err.contains("s.md: full"), "{}", done.err);
    assert_eq!(read(&file).len(), summary.len());
}

#[test]
fn two_hundred_streams() {
    let folder = scratch();
    let mut lines = String::new();
    for i in 0..200 {
        let stream = format!("stream-{i}");
        lines.push_str(&start(&stream));
        lines.push_str(&says(&stream, 2, "answer"));
        lines.push_str(&exits(&stream, 3, if i % 10 == 0 { "failed" } else { "success" }));
    }
    reports(folder.path(), lines.as_bytes()).ok();
    let path = |name: &str| folder.path().join(name);
    let summary = read(&path("s.md"));
    assert_eq!(summary.matches("<summary>").count(), 200);
    let chart = summary
        .split("```mermaid")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    assert!(chart.is_some_and(|chart| chart.len() < 50_000));
    assert_eq!(
        check_trace(&std::fs::read(path("t.json")).expect("reads"))["attempt"].len(),
        200
    );
    assert_eq!(read(&path("p.html")).matches("<tr data-stream=").count(), 200);
}

#[test]
fn a_summary_of_many_long_answers_has_its_size() {
    let folder = scratch();
    let lines = super::browser::hostile();
    assert!(lines.len() > 4 << 20);
    reports(folder.path(), lines.as_bytes()).ok();
    let summary = read(&folder.path().join("s.md"));
    assert!(
        ((1 << 20) - 40_000..1 << 20).contains(&summary.len()),
        "{}",
        summary.len()
    );
    assert_eq!(summary.matches("<summary>").count(), 200);
    assert_eq!(summary.matches("```mermaid").count(), 1);
    for gone in ["<script", "<img", "<style", "\u{202e}", "\u{1b}"] {
        assert!(!summary.contains(gone), "{gone}");
    }
}

#[test]
fn an_old_file_is_there_until_the_new_one_is() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("old.html"), "old").expect("writes");
    std::fs::set_permissions(path("old.html"), std::fs::Permissions::from_mode(0o640)).expect("sets");
    symlink("old.html", path("link.html")).expect("links");
    let before = path("old.html").metadata().expect("is there").ino();
    let link = path("link.html");
    let args = ["--once", "--html", link.to_str().expect("UTF-8")];
    feed("cl-progress", &args, start("a").as_bytes()).ok();
    let about = path("old.html").metadata().expect("is there");
    assert_eq!(about.permissions().mode() & 0o777, 0o640);
    assert!(about.ino() != before && read(&path("old.html")).contains("<!doctype html>"));
    assert!(path("link.html").symlink_metadata().expect("is there").is_symlink());
}

#[test]
fn what_cannot_be_written_is_said_at_once() {
    let folder = scratch();
    let missing = folder.path().join("missing/file");
    let missing = missing.to_str().expect("UTF-8");
    for (option, path) in [
        ("--summary", missing),
        ("--trace", missing),
        ("--html", missing),
        ("--html", "/"),
        ("--summary", "/"),
    ] {
        // Its stdin stays open: it does not wait for the end.
        let child = amid(&["--progress", "none", option, path]);
        let done = collect(child, option).exits(1);
        assert!(done.err.starts_with(&format!("cl-progress: {path}: ")), "{}", done.err);
    }
}

#[test]
fn whatever_ends_it_they_are_written() {
    use nix::sys::signal::{Signal, kill};
    let folder = scratch();
    let page = folder.path().join("p.html");
    let name = page.to_str().expect("UTF-8");
    // In the middle of a pipe: a signal lets the rest through, a second one ends it, nobody reads it any more.
    for end in ["one signal", "two signals", "no reader"] {
        let _ = std::fs::remove_file(&page);
        let mut child = amid(&["--progress", "json", "--html", name]);
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        let (mut stdin, mut stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let line = start("early");
        stdin.write_all(line.as_bytes()).expect("writes");
        let mut back = vec![0; line.len()];
        stdout.read_exact(&mut back).expect("reads");
        // It has been folded when it is told.
        let mut told = [0; 1];
        child
            .stderr
            .as_mut()
            .expect("piped")
            .read_exact(&mut told)
            .expect("reads");
        let code = match end {
            "one signal" => {
                kill(pid, Signal::SIGINT).expect("signals");
                stdin.write_all(start("late").as_bytes()).expect("writes");
                drop(stdin);
                130
            }
            "two signals" => {
                // Two that are taken at once count as one.
                until("the end", || {
                    let _ = kill(pid, Signal::SIGTERM);
                    child.try_wait().expect("waits")
                });
                143
            }
            _ => {
                drop(stdout);
                0
            }
        };
        let status = wait(&mut child, end);
        assert_eq!(status.code(), Some(code), "{end}");
        let page = read(&page);
        assert!(page.contains("data-stream=\"early\" data-state=\""), "{end}");
        assert_eq!(page.contains("data-stream=\"late\""), end == "one signal", "{end}");
    }
}
