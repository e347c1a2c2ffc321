//! What is used while nothing happens, and how little memory.

use crate::data::Data;
use crate::table::{Bar, Table};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

pub fn rows(data: &Data, table: &mut Table) -> io::Result<()> {
    let name = "idle, 8 silent workers and a merge";
    if table.wants(name) {
        let seconds = if data.quick { 12 } else { 60 };
        let [beating, silent] = ["", " --heartbeat 0"].map(|option| {
            let workers: String = (1..=8)
                .map(|i| format!(" <(cl-spawn w{i}{option} -- sleep 1000)"))
                .collect();
            Pipeline::start(data, &format!("cl-merge{workers} > /dev/null"))
        });
        let (beating, silent) = (beating?, silent?);
        // Until they have begun.
        std::thread::sleep(Duration::from_secs(2));
        let before = (beating.used(), silent.used());
        std::thread::sleep(Duration::from_secs(seconds));
        let after = (beating.used(), silent.used());
        drop((beating, silent));
        let told = format!("in {seconds} s, with heartbeats every 5 s");
        let most = 20.0 * seconds as f64 / 60.0;
        table.row(&format!("{name}: CPU, ms"), Bar::AtMost(most), || {
            Ok(((after.0.0 - before.0.0) * 1e3, told))
        });
        table.row(
            &format!("{name}: wake-ups, without heartbeats"),
            Bar::AtMost(0.0),
            || Ok(((after.1.1 - before.1.1) as f64, format!("in {seconds} s"))),
        );
    }
    table.row("memory of cl-spawn and its warden, MiB PSS", Bar::AtMost(4.0), || {
        let spawn = Pipeline::start(data, "exec cl-spawn x -- sleep 1000 > /dev/null")?;
        std::thread::sleep(Duration::from_secs(1));
        let pss = spawn
            .all()
            .iter()
            .map(|pid| memory(*pid, "smaps_rollup", "Pss:"))
            .sum::<f64>();
        Ok((pss, String::new()))
    });
    let size = if data.quick { 256 } else { 1024 };
    table.row("memory of cl-tee with a line of 1 GB, MiB", Bar::AtMost(16.0), || {
        let mut tee = data
            .command(&["cl-tee", "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut line = tee.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        for _ in 0..size {
            line.write_all(&[b'x'; 1 << 20])?;
        }
        let most = memory(tee.id(), "status", "VmHWM:");
        drop(line);
        tee.wait()?;
        Ok((most, format!("a line of {size} MiB, the largest resident size")))
    });
    Ok(())
}

/// MiB of a process, from a line of a file in /proc.
pub fn memory(pid: u32, file: &str, line: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|text| text.strip_prefix(line));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kibibytes.unwrap_or(f64::NAN) / 1024.0
}

/// A pipeline that runs until it is dropped.
struct Pipeline(Child);

impl Pipeline {
    fn start(data: &Data, text: &str) -> io::Result<Self> {
        data.script(text)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }

    /// The tools in it.
    fn all(&self) -> Vec<u32> {
        let mut family = vec![self.0.id()];
        let mut at = 0;
        while let Some(parent) = family.get(at) {
            let tasks = std::fs::read_dir(format!("/proc/{parent}/task"))
                .into_iter()
                .flatten()
                .flatten();
            let children = tasks.flat_map(|task| {
                std::fs::read_to_string(task.path().join("children"))
                    .unwrap_or_default()
                    .split_whitespace()
                    .filter_map(|pid| pid.parse().ok())
                    .collect::<Vec<u32>>()
            });
            family.extend(children.collect::<Vec<_>>());
            at += 1;
        }
        family.retain(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("cl-"))
        });
        family
    }

    /// CPU seconds and context switches of the tools in it until now.
    fn used(&self) -> (f64, u64) {
        let each = self.all().into_iter().map(used);
        each.fold((0.0, 0), |sum, used| (sum.0 + used.0, sum.1 + used.1))
    }
}

/// CPU seconds and context switches of a process until now, those of its ended threads left out.
pub fn used(pid: u32) -> (f64, u64) {
    let mut sum = (0.0, 0);
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanos = read("schedstat");
        let nanos = nanos
            .split_whitespace()
            .next()
            .and_then(|text| text.parse::<f64>().ok());
        sum.0 += nanos.unwrap_or(0.0) / 1e9;
        let switches = read("status");
        let switches = switches
            .lines()
            .filter(|line| line.starts_with("voluntary_ctxt_switches"));
        sum.1 += switches
            .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
            .sum::<u64>();
    }
    sum
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Killed in whatever way, cl-spawn ends its worker.
        for pid in self.all() {
            if Path::new(&format!("/proc/{pid}/comm")).exists() {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid as i32),
                    nix::sys::signal::Signal::SIGTERM,
                );
            }
        }
        let _ = self.0.wait();
    }
}
