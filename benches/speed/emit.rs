//! `speed emit COUNT MICROSECONDS [stamped]`: lines that bear the time, at a steady pace.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

pub fn emit(args: &[String]) -> io::Result<()> {
    let number = |at: usize| args.get(at).and_then(|arg| arg.parse::<u64>().ok()).unwrap_or(1);
    let (count, gap) = (number(0), Duration::from_micros(number(1)));
    let stamped = args.get(2).is_some();
    // Not std's stdout, which collects.
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let begin = Instant::now();
    for n in 1..=count {
        let now = nanos();
        let head = if stamped {
            let (seconds, micros) = (now / 1_000_000_000, now / 1000 % 1_000_000);
            format!("{{\"cl\":{{\"stream\":\"main\",\"seq\":{n},\"ts\":{seconds}.{micros:06}}},")
        } else {
            "{".to_owned()
        };
        let line = format!(
            "{head}\"type\":\"stream_event\",\"event\":{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"piece {n} \"}}}},\"session_id\":\"0\",\"t\":{now}}}\n"
        );
        out.write_all(line.as_bytes())?;
        let due = begin + gap * n as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// The time now, the same for all processes.
pub fn nanos() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
