//! What is told when something is missing.

use super::*;

#[test]
fn a_stream_that_stops_is_lost() {
    let input = line("a", 1, 1.0, START) + &line("a", 2, 2.0, r#""n":1"#) + &whole("b", 1);
    let lines = feed("cl-merge", &["-"], input.as_bytes()).ok().json();
    let a = of(&lines, "a");
    assert_eq!(subtypes(&a), ["start", "", "lost"]);
    assert_eq!((seqs(&a), text(a[2], "/source")), (vec![1, 2, 3], "stdin"));
    assert_eq!(of(&lines, "b").len(), 3);
    // A second reader has nothing to add.
    let once = feed("cl-merge", &["-"], input.as_bytes()).ok().out;
    assert_eq!(feed("cl-merge", &["-"], &once).ok().out, once);
}

#[test]
fn a_stream_in_two_files_is_not_lost_with_the_first() {
    let dir = scratch();
    let all = whole("a", 4);
    let cut = all.match_indices('\n').nth(2).expect("lines").0 + 1;
    fs::write(dir.path().join("1.ndjson"), &all[..cut]).expect("writes");
    fs::write(dir.path().join("2.ndjson"), &all[cut..]).expect("writes");
    assert_eq!(run("cl-merge", &[dir.path()]).ok().text(), all);
}

#[test]
fn holes_are_told_once() {
    let input: String = [1, 2, 6, 7]
        .map(|seq| line("a", seq, 1.0, if seq == 1 { START } else { r#""n":1"# }))
        .concat()
        + &line("a", 9, 1.0, EXIT);
    let once = feed("cl-merge", &["-"], input.as_bytes()).ok();
    let lines = once.json();
    assert_eq!(seqs(&lines.iter().collect::<Vec<_>>()), [1, 2, 5, 6, 7, 8, 9]);
    let gap = &lines[2];
    assert_eq!(text(gap, "/subtype"), "gap");
    assert_eq!(
        (&gap["from"], &gap["to"], &gap["lost"]),
        (&3.into(), &5.into(), &3.into())
    );
    assert_eq!(feed("cl-merge", &["-"], &once.out).ok().out, once.out);
    // The greatest number there is does no harm.
    let last = line("a", u64::MAX, 1.0, r#""n":1"#);
    assert_eq!(feed("cl-merge", &["-"], last.as_bytes()).ok().json().len(), 2);
}

#[test]
fn half_a_line_is_told_and_what_is_glued_to_it_passes() {
    let half = r#"{"cl":{"stream":"dead","seq":1,"ts":1.000000},"text":"ha"#;
    for (glued, name) in [
        (half.to_owned(), "dead"),
        (format!("{half}{half}"), "dead"),
        ("noise".to_owned(), "stdin"),
        (r#"{"cl":{"str"#.to_owned(), "stdin"),
        (r#"{"x":["#.to_owned(), "stdin"),
    ] {
        let input = format!("{glued}{}", whole("a", 2));
        let done = feed("cl-merge", &["-"], input.as_bytes()).ok();
        let passed: Vec<&str> = done
            .text()
            .split_inclusive('\n')
            .filter(|line| line.contains(r#""stream":"a""#))
            .collect();
        assert_eq!(passed.concat(), whole("a", 2), "{glued}");
        let lines = done.json();
        let torn: Vec<&Value> = lines.iter().filter(|line| text(line, "/subtype") == "torn").collect();
        assert_eq!(torn.iter().map(|line| text(line, "/text")).collect::<String>(), glued);
        assert!(torn.iter().all(|line| text(line, "/cl/stream") == name), "{torn:?}");
    }
    // A line that is valid is never cut, whatever it holds.
    let holds = line(
        "a",
        1,
        1.0,
        r#""x":{"cl":{"stream":"b","seq":1,"ts":1.0},"y":1},"type":"x""#,
    );
    let done = feed("cl-merge", &["-"], holds.as_bytes()).ok();
    assert!(done.text().starts_with(&holds) && !done.text().contains("torn"));
    // Half a line before a line feed, and at the end.
    for end in ["\n", ""] {
        let done = feed("cl-merge", &["-"], format!("{half}{end}").as_bytes()).ok();
        assert_eq!(subtypes(&done.json().iter().collect::<Vec<_>>()), ["torn", "lost"]);
    }
    // A whole line of which only the line feed is missing is whole.
    let input = whole("a", 1);
    assert_eq!(feed("cl-merge", &["-"], input.trim_end().as_bytes()).ok().text(), input);
}

#[test]
fn every_line_out_is_valid_whatever_comes_in() {
    let inputs: [&[u8]; 8] = [
        b"{\"cl\":{\"stream\":\"../x\",\"seq\":1,\"ts\":1.0},\"a\":1}\n",
        b"{\"cl\":{\"stream\":\"a\",\"seq\":1,\"ts\":1.0},\"a\":\"\xff\"}\n",
        b"{\"cl\":{\"stream\":\"a\",\"seq\":1,\"ts\":1.0}}\n",
        b"{\"cl\":{\"stream\":\"a\",\"seq\":1,\"ts\":1.0},\"a\":\"\t\"}\n",
        b"{\"type\":\"cl\",\"subtype\":\"exit\"}\n",
        b"\xff\xfe\n\n{}\n[]\nnull\n{\"a\"\n",
        b"\r\n\0\n{\"cl\":1}\n{\"cl\":{\"stream\":\"a\",\"seq\":0,\"ts\":1.0},\"x\":1}",
        b"{\"cl\":{\"stream\":\"a\",\"seq\":1,\"ts\":1.0},\"type\":\"cl\",\"subtype\":\"gap\",\"from\":9,\"to\":3}\n",
    ];
    for input in inputs {
        let done = feed("cl-merge", &["-"], input).ok();
        for value in done.json() {
            assert!(value["cl"]["seq"].is_u64() || value["cl"]["seq"] == 0, "{value}");
        }
    }
    let raw = feed("cl-merge", &["-o", "raw"], inputs[5]).ok();
    assert_eq!(raw.out, inputs[5]);
}
