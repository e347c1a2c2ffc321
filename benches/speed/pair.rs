//! Two commands in turn, on a machine whose speed changes all the time.

use harmony::sys::process::children_usage;
use std::io;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// Seconds.
    pub wall: f64,
    /// CPU seconds of all its processes.
    pub cpu: f64,
}

/// Runs a command to its end.
pub fn timed(mut command: Command) -> io::Result<Took> {
    let before = children_usage().0;
    let begin = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let wall = begin.elapsed().as_secs_f64();
    if !status.success() {
        return Err(io::Error::other(format!(
            "{} ended with {status}",
            command.get_args().last().unwrap_or_default().display()
        )));
    }
    Ok(Took {
        wall,
        cpu: children_usage().0 - before,
    })
}

/// What runs in pairs took.
pub struct Pairs {
    pairs: Vec<(Took, Took)>,
}

impl Pairs {
    /// Runs both in turn, one pair to warm up and then `count` that are counted, which of the two is first changing.
    pub fn run(
        count: usize,
        mut ours: impl FnMut() -> io::Result<Took>,
        mut theirs: impl FnMut() -> io::Result<Took>,
    ) -> io::Result<Self> {
        ours()?;
        theirs()?;
        let mut pairs = Vec::new();
        for turn in 0..count {
            pairs.push(if turn % 2 == 0 {
                let ours = ours()?;
                (ours, theirs()?)
            } else {
                let theirs = theirs()?;
                (ours()?, theirs)
            });
        }
        Ok(Self { pairs })
    }

    /// Our time as a multiple of theirs: the median over pairs.
    pub fn time(&self) -> f64 {
        let each = self.pairs.iter();
        median(each.map(|(ours, theirs)| ours.wall / theirs.wall))
    }

    /// Our throughput as a multiple of theirs: the median over pairs.
    pub fn speed(&self) -> f64 {
        1.0 / self.time()
    }

    /// The medians of what ours took, and of theirs.
    pub fn show(&self) -> String {
        let side = |of: fn(&(Took, Took)) -> Took| {
            let wall = median(self.pairs.iter().map(|pair| of(pair).wall));
            let cpu = median(self.pairs.iter().map(|pair| of(pair).cpu));
            format!("{} (CPU {})", short(wall), short(cpu))
        };
        format!("{} against {}", side(|pair| pair.0), side(|pair| pair.1))
    }
}

/// Seconds in about three digits.
pub fn short(seconds: f64) -> String {
    match seconds {
        s if s < 0.01 => format!("{:.2} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// The middle one.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    percentile(values, 0.5)
}

/// The one below which that share lies.
pub fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values
        .get(at.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}
