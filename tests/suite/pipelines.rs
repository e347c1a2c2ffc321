//! Whole pipelines, told to stop as a terminal or a runner tells them: all of their processes at once.

use crate::harness::*;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// A worker that says something, and something else a moment after it was told to stop.
const WORKER: &str = r#"trap 'echo bye; exit 3' INT TERM; echo hi; sleep 600 & wait"#;

#[test]
fn told_to_stop_a_pipeline_keeps_its_ends() {
    let pipelines = [
        "cl-spawn main -- sh -c \"$W\" | cl-merge > f",
        "cl-merge <(cl-spawn main -- sh -c \"$W\") | cl-tee f > /dev/null",
        "cl-spawn main -- sh -c \"$W\" | cl-tee f | cl-wait",
        "cl-spawn main -- sh -c \"$W\" | cl-merge | cl-tee f | cl-progress --progress plain | cl-wait -o none",
    ];
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        for pipeline in pipelines {
            let folder = scratch();
            let file = folder.path().join("f");
            let mut bash = command("bash");
            bash.args(["-c", pipeline])
                .env("W", WORKER)
                .current_dir(folder.path())
                .process_group(0);
            bash.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut bash = bash.spawn().expect("starts");
            let group = Pid::from_raw(bash.id() as i32);
            let written = || std::fs::read_to_string(&file).unwrap_or_default();
            until("the worker's word", || written().contains("\"hi\"").then_some(()));
            killpg(group, signal).expect("is there");
            wait(&mut bash, pipeline);
            until("the pipeline's end", || killpg(group, None).err());
            let last = json_lines(written().as_bytes()).pop().expect("a line");
            assert_eq!(text(&last, "/outcome"), "cancelled", "{signal} {pipeline}: {last}");
        }
    }
}
