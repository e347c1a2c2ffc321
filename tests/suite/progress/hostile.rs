//! Workers that write what would be markup, commands or controls elsewhere: in what is written afterwards it is text.

use super::after::{check_page, check_trace, read};
use super::*;

const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>\n</pre></details></script></style>\n```\n\
    # head [a](javascript:x) @torvalds www.evil.example http://evil.example $x$ |a|b|\n<!-- ]]> {{x}} %%{init}%%\n\
    \u{1b}]52;c;aGk=\u{7}\u{202e}desrever\u{9b}31m\u{0}end";

/// A stream in which all that a worker can write is that.
fn evil(stream: &str) -> String {
    let json = serde_json::to_string(EVIL).expect("a string");
    let rests = [
        r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"claude","pid":1"#.to_owned(),
        format!(r#""type":"system","subtype":"init","session_id":{json},"model":{json}"#),
        format!(
            r#""type":"assistant","message":{{"id":"m","role":"assistant","content":[{{"type":"tool_use","id":{json},"name":{json},"input":{{"command":{json}}}}}]}}"#
        ),
        format!(r#""type":"cl","subtype":"stderr","text":{json}"#),
        format!(r#""type":"cl","subtype":"limit","status":{json},"kind":{json}"#),
        format!(r#""type":"cl","subtype":"stop","because":{json}"#),
        format!(r#""type":"result","subtype":{json},"is_error":true,"result":{json},"session_id":{json}"#),
        format!(r#""type":"cl","subtype":"exit","outcome":"error","because":{json},"text":{json},"warnings":[{json}]"#),
    ];
    let numbered = rests.iter().enumerate();
    numbered.map(|(at, rest)| line(stream, at as u64 + 1, rest)).collect()
}

#[test]
fn it_is_text_in_all_of_them() {
    let folder = scratch();
    reports(folder.path(), evil("a/b").as_bytes()).ok();
    let path = |name: &str| folder.path().join(name);

    let page = read(&path("p.html"));
    check_page(&page);
    let controls = |text: &str| text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}');
    assert!(!controls(&page) && !page.contains("<img") && !page.contains("<!--"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x"));
    // Every tag is one of ours.
    let ours = [
        "!doctype", "html", "head", "meta", "link", "title", "style", "body", "h1", "h2", "p", "form", "input",
        "select", "option", "button", "span", "div", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "svg",
        "rect", "line", "circle", "text", "details", "summary", "pre", "script",
    ];
    let (before, rest) = page.split_once("<script>").expect("a script");
    let after = rest.split_once("</script>").expect("its end").1;
    for tag in before.split('<').skip(1).chain(after.split('<').skip(1)) {
        let name: &str = tag.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
        assert!(ours.contains(&name), "<{tag}");
    }

    let summary = read(&path("s.md"));
    assert!(!controls(&summary), "{summary}");
    let row = summary.lines().find(|line| line.starts_with("| ✗ |")).expect("a row");
    assert_eq!(row.matches('|').count(), 10, "{row}");
    let words = row.replace("<code>", "").replace("</code>", "");
    let means = ['<', '>', '`', '@', '[', ']', '(', ')', ':', '$', '_', '*'];
    assert!(!words.contains(means) && !words.contains("www."), "{row}");
    assert_eq!(
        (summary.matches("</pre>").count(), summary.matches("</details>").count()),
        (1, 1)
    );
    assert_eq!(summary.matches("```mermaid").count(), 1);
    let chart = summary
        .split("```mermaid\n")
        .nth(1)
        .and_then(|rest| rest.split("\n```\n").next())
        .expect("a chart");
    for line in chart.lines().skip(3) {
        let sound = |c: char| c.is_alphanumeric() || " .-_/".contains(c);
        let (label, times) = line.split_once(" :").unwrap_or((line, "1, 2"));
        assert!(label.starts_with("    ") && label.chars().all(sound), "{line}");
        assert!(
            times.chars().all(|c| c.is_ascii_alphanumeric() || ", ".contains(c)),
            "{line}"
        );
    }

    let found = check_trace(&std::fs::read(path("t.json")).expect("reads"));
    assert_eq!(found["tool"].len(), 1, "{found:?}");
}

/// A worker may write lines that bear headers, and thereby make up streams, with times of its own choice.
#[test]
fn made_up_times_stay_within_the_run() {
    let made_up = |stream: &str, ts: &str| {
        let rest = r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"plain","pid":1"#;
        format!("{{\"cl\":{{\"stream\":\"a/{stream}\",\"seq\":1,\"ts\":{ts}}},{rest}}}\n")
    };
    let mut lines = start("a");
    for (at, ts) in ["0.0", "1.5", "99999999999.0", "18446744073709.0"].iter().enumerate() {
        lines.push_str(&made_up(&format!("s{at}"), ts));
    }
    lines.push_str(&exits("a", 2, "success"));
    for option in ["--trace", "--html", "--summary"] {
        let done = feed(
            "cl-progress",
            &["--once", "--progress", "none", option, "/dev/stdout"],
            lines.as_bytes(),
        );
        let done = done.ok();
        if option == "--trace" {
            check_trace(&done.out);
            for event in serde_json::from_slice::<serde_json::Value>(&done.out).expect("JSON")["traceEvents"]
                .as_array()
                .expect("events")
            {
                let end = event["ts"].as_u64().unwrap_or(0) + event["dur"].as_u64().unwrap_or(0);
                assert!(end < 600_000_000, "{event}");
            }
        }
    }
}
