//! The pictures afterwards in the programs they are for: the page in a browser, the trace in Perfetto's trace processor,
//! the chart in Mermaid.

use super::after::{read, recorded, waiting};
use super::*;
use crate::browser::{Browser, laid_down, serve};
use serde_json::{Value, json};

/// The text of all elements that are shown, of those that a selector finds.
fn shown(browser: &mut Browser, selector: &str) -> Vec<String> {
    let found = browser.eval(&format!(
        "[...document.querySelectorAll({selector:?})].filter((e) => e.offsetParent !== null).map((e) => e.innerText)"
    ));
    let texts = found.as_array().expect("a list").iter();
    texts.map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_page_in_a_browser() {
    let Some(mut browser) = Browser::open() else { return };
    let folder = scratch();
    recorded(folder.path(), "--progress none --html p.html").ok();
    let url = format!("file://{}/p.html", folder.path().display());
    for (columns, rows) in [(1280, 900), (390, 844)] {
        for scheme in ["light", "dark"] {
            browser.screen(columns, rows, scheme);
            browser.go(&url);
            let wide = browser.eval("document.documentElement.scrollWidth > innerWidth");
            assert_eq!(wide, false, "it scrolls sideways");
            browser.shot(&format!("{columns}-{scheme}"));
            browser.click("#open");
            browser.eval("document.querySelector('details').scrollIntoView()");
            browser.shot(&format!("{columns}-{scheme}-answers"));
        }
    }
    browser.screen(1280, 900, "light");
    browser.go(&url);
    let names = |browser: &mut Browser| shown(browser, "tbody td.name");
    let all = names(&mut browser);
    assert_eq!(all.len(), 5, "{all:?}");
    browser.click("#words");
    browser.types("CMD tools");
    let mut some = names(&mut browser);
    some.sort();
    assert_eq!(some, ["cmd", "tools"]);
    assert_eq!(shown(&mut browser, ".track span.name"), names(&mut browser));
    assert_eq!(shown(&mut browser, "#count"), ["2 of 5 streams"]);
    browser.shot("filtered");
    browser.click("#open");
    assert_eq!(shown(&mut browser, "details[open] pre").len(), 2);
    assert!(shown(&mut browser, "details[open] pre").contains(&"All done, 5 rounds.\n".to_owned()));
    browser.click("#close");
    assert_eq!(shown(&mut browser, "details[open] pre").len(), 0);
    browser.eval("words.value = ''; words.dispatchEvent(new Event('input'))");
    browser.eval("state.value = 'bad'; state.dispatchEvent(new Event('change'))");
    let mut bad = names(&mut browser);
    bad.sort();
    assert_eq!(bad, ["bad", "cmd"]);
    assert_eq!(browser.complaints, [""; 0]);
    assert!(
        browser.requests.iter().all(|asked| *asked == url),
        "{:?}",
        browser.requests
    );
}

/// Two hundred streams that would like to be more than text, with long answers.
pub fn hostile() -> String {
    let evil = "</pre></details><script>window.owned=1</script><img src=https://example.org/x onerror=window.owned=1>\
                </style><style>*{display:none}</style>\u{202e}\u{1b}[2J\n```\n\n# <b>x</b>\nclick x href \"javascript:1\"\n";
    let quoted = |text: &str| serde_json::to_string(text).expect("a string");
    let mut lines = String::new();
    for i in 0..200 {
        let stream = format!("s{i}");
        lines.push_str(&start(&stream));
        let tool = format!(
            r#""type":"assistant","message":{{"id":"m","role":"assistant","content":[{{"type":"tool_use","id":"t","name":{},"input":{{"command":{}}}}}]}}"#,
            quoted(&format!("x:y;#{evil}")),
            quoted(evil)
        );
        lines.push_str(&line(&stream, 2, &tool));
        let (because, text) = (quoted(evil), quoted(&evil.repeat(100)));
        let outcome = if i % 3 == 0 { "failed" } else { "success" };
        let exit = format!(
            r#""type":"cl","subtype":"exit","outcome":"{outcome}","because":{because},"text":{text},"duration":9"#
        );
        lines.push_str(&line(&stream, 3, &exit));
    }
    lines
}

#[test]
fn a_script_of_a_worker_is_text() {
    let Some(mut browser) = Browser::open() else { return };
    let folder = scratch();
    reports(folder.path(), hostile().as_bytes()).ok();
    let url = format!("file://{}/p.html", folder.path().display());
    browser.screen(1280, 900, "light");
    browser.go(&url);
    browser.shot("hostile");
    browser.click("#open");
    let seen = shown(&mut browser, "details[open] pre");
    assert!(
        seen.len() == 200 && seen[0].contains("<script>window.owned=1</script>"),
        "{seen:?}"
    );
    assert_eq!(browser.eval("typeof window.owned"), "undefined");
    assert_eq!(
        browser.eval("document.querySelectorAll('script, style, img, iframe, a, b').length"),
        2
    );
    assert_eq!(browser.complaints, [""; 0]);
    assert!(
        browser.requests.iter().all(|asked| *asked == url),
        "{:?}",
        browser.requests
    );
    // Should there be a hole in the escaping, the policy holds.
    browser.eval(
        "document.body.insertAdjacentHTML('beforeend', '<img src=https://example.org/x onerror=window.owned=1>\
         <iframe srcdoc=\"<script>parent.owned=1</script>\"></iframe>');
         const s = document.createElement('script'); s.textContent = 'window.owned=1'; document.body.append(s);
         new Promise((done) => fetch('https://example.org/y').catch(done))",
    );
    assert_eq!(browser.eval("typeof window.owned"), "undefined");
    assert!(
        browser
            .complaints
            .iter()
            .any(|said| said.contains("Content Security Policy")),
        "{:?}",
        browser.complaints
    );
    assert!(
        browser.requests.iter().all(|asked| *asked == url),
        "{:?}",
        browser.requests
    );
}

#[test]
fn mermaid_draws_the_chart() {
    let Some(library) = laid_down("mermaid.min.js") else {
        return;
    };
    let Some(mut browser) = Browser::open() else { return };
    let folder = scratch();
    recorded(folder.path(), "--progress none --summary s.md").ok();
    std::fs::create_dir(folder.path().join("200")).expect("makes a folder");
    reports(&folder.path().join("200"), hostile().as_bytes()).ok();
    std::fs::write(
        folder.path().join("m.html"),
        "<!doctype html><script src=mermaid.min.js></script><div id=d></div>",
    )
    .expect("writes");
    let address = serve(vec![
        folder.path().to_owned(),
        library.parent().expect("a folder").to_owned(),
    ]);
    browser.go(&format!("{address}/m.html"));
    for (file, streams) in [("s.md", 5), ("200/s.md", 200)] {
        let summary = read(&folder.path().join(file));
        assert!(summary.len() < 1 << 20, "{}", summary.len());
        let chart = summary
            .split("```mermaid\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let chart = serde_json::to_string(chart.expect("a chart")).expect("a string");
        let drawn = browser.eval(&format!(
            "mermaid.initialize({{startOnLoad: false}}); mermaid.parse({chart})
             .then(() => mermaid.render('c', {chart}))
             .then((done) => {{ d.innerHTML = done.svg; return d.querySelectorAll('.sectionTitle').length; }})"
        ));
        assert_eq!(drawn, streams, "{file}");
        browser.shot(&format!("mermaid-{streams}"));
    }
}

#[test]
fn perfetto_opens_the_trace() {
    let Some(perfetto) = laid_down("perfetto") else { return };
    let Some(mut browser) = Browser::open() else { return };
    let folder = scratch();
    recorded(folder.path(), "--progress none --trace t.json").ok();
    for (name, stream) in [("200", hostile()), ("waits", waiting())] {
        let inner = folder.path().join(name);
        std::fs::create_dir(&inner).expect("makes a folder");
        reports(&inner, stream.as_bytes()).ok();
    }
    let address = serve(vec![folder.path().to_owned(), perfetto]);
    browser.screen(1280, 900, "light");
    for (file, streams) in [("t.json", 5), ("200/t.json", 200), ("waits/t.json", 1)] {
        browser.go("about:blank");
        browser.go(&format!("{address}/?testing=1#!/?url={address}/{file}"));
        until("the trace to be read", || {
            (browser.eval("!!(window.app && app.trace)") == true).then_some(())
        });
        browser.eval("waitForPerfettoIdle()");
        browser.shot(&format!("perfetto-{streams}"));
        let mut ask = |sql: &str| -> Value {
            let sql = serde_json::to_string(sql).expect("a string");
            browser.eval(&format!(
                "app.trace.engine.query({sql}).then((r) => {{ const rows = []; const columns = r.columns();
                 for (const it = r.iter({{}}); it.valid(); it.next()) rows.push(columns.map((c) => String(it.get(c)))); return rows; }})"
            ))
        };
        let wrong = ask("select name, value from stats where severity in ('error', 'data_loss') and value > 0");
        assert_eq!(wrong, json!([]), "{file}");
        if streams == 1 {
            let slices = ask(
                "select category, dur / 1000000000 from slice where category in ('attempt', 'backoff', 'limit') order by ts",
            );
            let expected = [
                ("attempt", "30"),
                ("backoff", "3"),
                ("attempt", "2"),
                ("limit", "65"),
                ("attempt", "2"),
            ];
            assert_eq!(slices, json!(expected.map(|(what, seconds)| [what, seconds])));
            continue;
        }
        let attempts = ask("select count(*), min(dur) >= 0 from slice where category = 'attempt'");
        assert_eq!(attempts, json!([[streams.to_string(), "1"]]));
        let names = ask("select count(distinct process.name) from process where name is not null");
        assert_eq!(names, json!([[streams.to_string()]]));
        if streams == 5 {
            let tools = ask(
                "select distinct s.name from slice s join thread_track t on s.track_id = t.id join thread using (utid) \
                 join process using (upid) where s.category = 'tool' and process.name = 'tools' order by 1",
            );
            assert!(
                tools.as_array().is_some_and(|tools| tools.contains(&json!(["Bash"]))),
                "{tools}"
            );
            let retries = ask("select count(*) from slice where category = 'retry' and dur >= 0");
            assert_eq!(retries, json!([["12"]]));
        }
    }
}
