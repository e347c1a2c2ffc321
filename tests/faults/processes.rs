//! The processes of a case: found by a mark in their environment, and by descent.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;

/// The variable that marks whatever a case has started.
pub const MARK: &str = "CL_FAULT";

/// All living processes that bear a mark which begins so.
pub fn marked(mark: &str) -> Vec<i32> {
    let sought = format!("{MARK}={mark}");
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let bears = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|&byte| byte == 0);
        variables.any(|variable| variable.starts_with(sought.as_bytes()))
    };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(bears)
        .collect()
}

/// Its children.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks
        .flatten()
        .flat_map(|task| {
            of(task)
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

/// Its name, as lists of processes show it.
pub fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

/// What it is and does: for a report.
pub fn picture(pid: i32) -> String {
    let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let status = read("status");
    let state = status
        .lines()
        .find(|line| line.starts_with("State"))
        .unwrap_or_default();
    format!("{pid} {} {state} in {}", name(pid), read("wchan"))
}

/// The warden of a cl-spawn.
pub fn warden(spawn: i32) -> Option<i32> {
    children(spawn).into_iter().find(|&pid| name(pid) == "cl-warden")
}

/// The worker of a cl-spawn.
pub fn worker(spawn: i32) -> Option<i32> {
    let all = children(warden(spawn)?);
    all.into_iter().find(|&pid| name(pid) != "cl-warden")
}

/// Whether it has made its arrangements for this signal: a program that just begins has not.
pub fn heeds(pid: i32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let sets = status.lines().filter_map(|line| {
        let (name, set) = line.split_once(":\t")?;
        (name == "SigCgt" || name == "SigBlk").then(|| u64::from_str_radix(set, 16).unwrap_or(0))
    });
    sets.fold(0, |all, set| all | set) >> (signal as i32 - 1) & 1 == 1
}

/// Sends a signal; whether there was somebody to get it.
pub fn send(pid: i32, signal: Signal) -> bool {
    kill(Pid::from_raw(pid), signal).is_ok()
}
