//! Together with cl-spawn.

use super::*;

#[test]
fn eight_writers_of_long_lines_share_a_pipe() {
    // 400 lines each, of 20 to 200 KB.
    let done = bash(
        r#"write() { awk -v n="$1" 'BEGIN { s = "0123456789abcdef"; while (length(s) < 200000) s = s s
            for (i = 1; i <= 400; i++) print "{\"n\":" i ",\"text\":\"" substr(s, 1, 20000 + (i * 7919 + n * 104729) % 180000) "\"}" }'; }
        export -f write
        { for w in 1 2 3 4 5 6 7 8; do cl-spawn "w$w" -- bash -c "write $w" & done; wait; } | cl-merge |
        awk '{ if (!/^\{"cl":\{"stream":"w[1-8]","seq":[0-9]+,"ts":[0-9.]+\},.*\}$/) bad++
               if (/"text":"[0-9a-f]*"\}$/) good++
               if (/"subtype":"(gap|torn|lost)"/) lost++
               if (/"subtype":"exit","outcome":"success"/) ends++ }
             END { print good + 0, bad + 0, lost + 0, ends + 0 }'"#,
    )
    .ok();
    assert_eq!(done.text(), "3200 0 0 8\n");
}

#[test]
fn every_byte_comes_back() {
    let dir = scratch();
    let mut noise = vec![0; 3_000_000];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut noise))
        .expect("reads");
    let mut long = vec![b'x'; 40_000_000];
    long.push(b'\n');
    for (name, bytes) in [
        ("noise", &noise),
        ("long", &long),
        ("unended", &b"a\n{\"b\":1}\nc".to_vec()),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("writes");
        let straight = run("cl-merge", &["-o".as_ref(), "raw".as_ref(), path.as_os_str()]).ok();
        assert!(straight.out == *bytes, "{name}");
        for capture in ["file", "pipe", "pty"] {
            let mut pipeline = command("bash");
            pipeline
                .arg("-c")
                .arg(r#"cl-spawn --capture "$0" "x" -- cat "$1" | cl-merge -o raw --only x"#)
                .arg(capture)
                .arg(&path);
            assert!(finish(pipeline, b"").ok().out == *bytes, "{name} by {capture}");
        }
    }
}

#[test]
fn process_substitution_with_and_without_headers() {
    let done: Done =
        bash(r#"cl-merge <(cl-spawn one -- echo 1) two=<(echo 2) <(cl-spawn three -- sh -c 'echo 3; exit 3')"#).ok();
    let lines = done.json();
    let outcome = |name| text(of(&lines, name).last().expect("lines"), "/outcome").to_owned();
    assert_eq!(["one", "two", "three"].map(outcome), ["success", "unknown", "failed"]);
}

#[test]
fn a_killed_spawn_is_lost_and_the_others_are_whole() {
    let done = bash(
        r#"cd "$(mktemp -d)" && mkfifo p
        cl-merge p > out & merge=$!
        exec 3> p
        cl-spawn good -- seq 3 >&3
        cl-spawn bad -- sh -c 'echo first; exec sleep 300' >&3 & bad=$!
        until grep -q first out; do :; done
        kill -9 $bad; wait $bad 2> /dev/null
        exec 3>&-
        wait $merge; code=$?; cat out; rm -r "$PWD"; exit $code"#,
    )
    .exits(0);
    let lines = done.json();
    assert_eq!(text(of(&lines, "good").last().expect("lines"), "/outcome"), "success");
    assert_eq!(text(of(&lines, "bad").last().expect("lines"), "/subtype"), "lost");
}
