use super::*;
use crate::line::object;

fn show(lines: &[(&str, &str)]) -> String {
    let mut text = Text::new(false);
    let mut out = Vec::new();
    for (stream, rest) in lines {
        let line = format!(r#"{{"cl":{{"stream":"{stream}","seq":1,"ts":1.000000}},{rest}}}"#);
        assert!(object(line.as_bytes()).is_some(), "{line}");
        text.line(line.as_bytes(), &mut out);
    }
    text.finish(&mut out);
    String::from_utf8(out).unwrap()
}

const CLAUDE: &str = r#""type":"cl","subtype":"start","agent":"claude""#;

fn delta(text: &str) -> String {
    let event =
        serde_json::json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    format!(r#""type":"stream_event","event":{event},"session_id":"s""#)
}

fn block(text: &str) -> String {
    let message = serde_json::json!({"id": "m", "content": [{"type": "text", "text": text}]});
    format!(r#""type":"assistant","message":{message},"session_id":"s""#)
}

#[test]
fn each_turn_of_a_kept_worker_once() {
    let init = r#""type":"system","subtype":"init","session_id":"s""#;
    let says = r#""type":"assistant","session_id":"s","message":{"id":"m","content":[{"type":"text","text":"One."}]}"#;
    let result = r#""type":"result","subtype":"success","session_id":"s","is_error":false,"result":"One.""#;
    let turn = r#""type":"cl","subtype":"turn","outcome":"success","duration":2.0,"text":"One.""#;
    let exit = r#""type":"cl","subtype":"exit","outcome":"success","duration":9.0,"text":"One.""#;
    let lines = [CLAUDE, init, says, result, turn, init, result, turn, exit];
    assert_eq!(
        show(&lines.map(|rest| ("main", rest))),
        "main │ One.\nmain │ ✓ turn 1: success, 2.0s\nmain │ One.\nmain │ ✓ turn 2: success, 2.0s\n\
         main │ ✓ success, 9.0s\n"
    );
}

#[test]
fn lines_behind_their_names() {
    let shown = show(&[
        ("a", r#""type":"cl","subtype":"text","text":"one""#),
        ("long", r#""type":"cl","subtype":"stderr","text":"two\nthree""#),
        ("a", r#""x":1"#),
        ("a", r#""type":"cl","subtype":"heartbeat","idle":5.0"#),
        (
            "a",
            r#""type":"cl","subtype":"exit","outcome":"failed","because":"exit 7","duration":61.0"#,
        ),
    ]);
    assert_eq!(
        shown,
        "a │ one\nlong │ ! two\nlong │ ! three\na    │ {\"x\":1}\na    │ ✗ failed (exit 7), 1m01s\n"
    );
}

#[test]
fn an_answer_word_by_word_is_told_once() {
    let (hel, lo, whole) = (delta("Hel"), delta("lo\nwor"), block("Hello\nworld"));
    let shown = show(&[("a", CLAUDE), ("b", CLAUDE), ("a", &hel), ("a", &lo), ("a", &whole)]);
    assert_eq!(shown, "a │ Hello\na │ world\n");
    let other = block("other");
    let shown = show(&[
        ("a", CLAUDE),
        ("b", CLAUDE),
        ("a", &hel),
        ("b", &other),
        ("a", &lo),
        ("a", &whole),
    ]);
    assert_eq!(shown, "a │ Hel\nb │ other\na │ lo\na │ world\n");
}

#[test]
fn a_result_repeats_nothing() {
    let result = r#""type":"result","subtype":"success","is_error":false,"result":"Hi","session_id":"s""#;
    let text = block("Hi");
    assert_eq!(show(&[("a", CLAUDE), ("a", &text), ("a", result)]), "a │ Hi\n");
    assert_eq!(show(&[("a", CLAUDE), ("a", result)]), "a │ Hi\n");
    let error = result.replace("false", "true");
    assert_eq!(
        show(&[("a", CLAUDE), ("a", &text), ("a", &error)]),
        "a │ Hi\na │ ! Hi\n"
    );
}

#[test]
fn nothing_speaks_to_the_terminal() {
    let shown = show(&[
        (
            "a",
            r#""type":"cl","subtype":"text","text":"\u001b[31mred\u001b[0m \u0007\u001b]0;title\u0007""#,
        ),
        (
            "a",
            r#""type":"cl","subtype":"exit","outcome":"failed","because":"\u001b[2Jx\ny""#,
        ),
        ("a", r#""\u001b[2J":"\u009b2J""#),
    ]);
    assert!(!shown.bytes().any(|b| b != b'\n' && b < 0x20), "{shown:?}");
}

#[test]
fn colours_are_stable() {
    assert_eq!(color_of("main"), color_of("main"));
    let mut out = Vec::new();
    let line = br#"{"cl":{"stream":"main","seq":1,"ts":1.0},"type":"cl","subtype":"text","text":"x"}"#;
    Text::new(true).line(line, &mut out);
    let expected = format!("\x1b[{}mmain\x1b[0m │ x\n", color_of("main"));
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
