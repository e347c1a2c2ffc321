//! The processes that descend from one: who they are, what they use.

use super::process::small_file;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid};
use std::fs;

/// What a set of processes uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Resident bytes.
    pub rss: u64,
    /// CPU seconds, those of ended and reaped children included.
    pub cpu: f64,
}

/// Every living process below `root`, which is left out itself. Zombies are not living.
pub fn descendants(root: i32) -> Vec<i32> {
    descendants_but(root, &[])
}

/// The same without these children of `root` and all that is below them.
pub fn descendants_but(root: i32, strangers: &[i32]) -> Vec<i32> {
    let threads = stat(root).map(|stat| stat.threads);
    let living = family(root, threads, strangers)
        .into_iter()
        .filter(|(_, stat)| stat.lives());
    living.map(|(pid, _)| pid).collect()
}

/// The same with those that have ended, unless they are reaped; `threads` are the root's, where that is known.
fn family(root: i32, threads: Option<u32>, strangers: &[i32]) -> Vec<(i32, Stat)> {
    let mut found = children(root, threads);
    found.retain(|pid| !strangers.contains(pid));
    let mut all = Vec::with_capacity(found.len());
    while let Some(pid) = found.pop() {
        if let Some(stat) = stat(pid) {
            found.extend(children(pid, Some(stat.threads)));
            all.push((pid, stat));
        }
    }
    all
}

/// Sends SIGKILL to everything below us but `spared` and all that is below those, and waits for nobody. How many there
/// were that may be told so.
pub fn kill_all(spared: &[i32]) -> usize {
    let left = descendants_but(getpid().as_raw(), spared);
    let ours = |&pid: &i32| kill(Pid::from_raw(pid), Signal::SIGKILL) != Err(Errno::EPERM);
    left.iter().filter(|pid| ours(pid)).count()
}

/// Ends everything below us but `strangers`, and waits until it is gone. Returns how many it met first.
pub fn end_all(strangers: &[i32]) -> u32 {
    let us = getpid().as_raw();
    let mut first = None;
    loop {
        let met = family(us, stat(us).map(|stat| stat.threads), strangers);
        first.get_or_insert(met.iter().filter(|(_, stat)| stat.lives()).count() as u32);
        // One that runs as another user is not ours to end. One that ended while we looked may have had children that we
        // did not see, for they have fallen to us only now: as long as we meet one, we look again.
        let ends = |(pid, stat): &(i32, Stat)| match stat.lives() {
            true => kill(Pid::from_raw(*pid), Signal::SIGKILL) != Err(Errno::EPERM),
            false => stat.parent == us,
        };
        let dying: Vec<(i32, Stat)> = met.into_iter().filter(ends).collect();
        if dying.is_empty() {
            return first.unwrap_or(0);
        }
        // Our own children's end can be waited for; theirs then fall to us and are met in the next round.
        for (pid, _) in dying {
            let _ = waitpid(Pid::from_raw(pid), None);
        }
    }
}

/// A process's niceness, while it is there.
pub fn niceness(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.nice)
}

/// The load of everything below `root`.
pub fn load(root: i32) -> Load {
    let mut sum = Load::default();
    let top = stat(root);
    sum.cpu += top.as_ref().map_or(0.0, |top| top.reaped);
    let threads = top.map(|top| top.threads);
    for (_, stat) in family(root, threads, &[]).iter().filter(|(_, stat)| stat.lives()) {
        sum.rss += stat.rss;
        sum.cpu += stat.own + stat.reaped;
    }
    sum
}

/// The children of a process that has so many threads, where that is known.
fn children(pid: i32, threads: Option<u32>) -> Vec<i32> {
    let listed = |list: Vec<u8>| -> Vec<i32> {
        let list = String::from_utf8_lossy(&list);
        list.split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    };
    // Most have one thread, which is named like the process: no need to list them.
    if threads == Some(1)
        && let Ok(list) = small_file(&format!("/proc/{pid}/task/{pid}/children"))
    {
        return listed(list);
    }
    let mut found = Vec::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return found;
    };
    for task in tasks.flatten() {
        match fs::read(task.path().join("children")) {
            Ok(list) => found.extend(listed(list)),
            // A kernel without that file, unless the task has just ended.
            Err(_) if task.path().exists() => return children_by_scan(pid),
            Err(_) => {}
        }
    }
    found
}

fn children_by_scan(parent: i32) -> Vec<i32> {
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| stat(pid).is_some_and(|stat| stat.parent == parent))
        .collect()
}

struct Stat {
    state: u8,
    parent: i32,
    own: f64,
    reaped: f64,
    rss: u64,
    nice: i32,
    threads: u32,
}

impl Stat {
    /// A process whose first thread has ended looks like a zombie while the others run on.
    fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X') || self.threads > 1
    }
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&small_file(&format!("/proc/{pid}/stat")).ok()?)
}

/// A line of `/proc/PID/stat`; the second field may hold any character, so counting begins behind its last bracket.
fn parse(line: &[u8]) -> Option<Stat> {
    const TICKS: f64 = 100.0;
    const PAGE: u64 = 4096;
    let behind = memchr::memrchr(b')', line)?;
    let fields: Vec<&str> = std::str::from_utf8(line.get(behind + 2..)?)
        .ok()?
        .split_ascii_whitespace()
        .collect();
    let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        own: (number(11)? + number(12)?) / TICKS,
        reaped: (number(13)? + number(14)?) / TICKS,
        rss: fields.get(21)?.parse::<u64>().ok()?.saturating_mul(PAGE),
        nice: fields.get(16)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_with_an_odd_name() {
        let line =
            b"7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 150 50 20 10 20 0 1 0 9 1000 5 18446744073709551615 1 1 0\n";
        let stat = parse(line).unwrap();
        assert_eq!(
            (stat.state, stat.parent, stat.own, stat.reaped, stat.rss),
            (b'S', 3, 2.0, 0.3, 5 * 4096)
        );
        assert_eq!((stat.nice, stat.threads), (0, 1));
        assert!(parse(b"7 (x").is_none());
    }

    #[test]
    fn finds_a_grandchild() {
        use std::io::Read;
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = Vec::new();
        let mut out = shell.stdout.take().unwrap();
        while !pid.ends_with(b"\n") {
            let mut byte = [0];
            out.read_exact(&mut byte).unwrap();
            pid.push(byte[0]);
        }
        let pid: i32 = std::str::from_utf8(&pid).unwrap().trim().parse().unwrap();
        assert_eq!(descendants(shell.id() as i32), [pid]);
        assert!(descendants(nix::unistd::getpid().as_raw()).contains(&pid));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        shell.wait().unwrap();
    }
}
