//! From a seed to a case: which pipeline, and how it is broken. Pure.

use crate::prose::Dice;
use std::time::Duration;

/// One pipeline and what is done to it.
#[derive(Debug)]
pub struct Case {
    pub join: Join,
    pub spawns: Vec<Spawn>,
    /// Whether cl-merge also has a source that nobody ever opens.
    pub unopened: bool,
    /// In the order of the pipe; the first is cl-merge.
    pub filters: Vec<Filter>,
    /// Who reads the end of the pipe.
    pub reader: Reader,
    pub faults: Vec<Fault>,
}

/// How the streams come to cl-merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// All write into one pipe.
    Pipe,
    /// A FIFO each.
    Fifos,
}

/// One cl-spawn and its worker.
#[derive(Debug)]
pub struct Spawn {
    pub capture: &'static str,
    pub max_line: &'static str,
    pub heartbeat: &'static str,
    pub retries: u64,
    pub work: Work,
}

/// What runs in it.
#[derive(Debug)]
pub enum Work {
    /// `fixture seeded`.
    Seeded(Seeded),
    /// A kept agent that gets so many prompts.
    Kept { prompts: u64 },
}

/// A writer whose bytes can be worked out again.
#[derive(Debug)]
pub struct Seeded {
    pub seed: u64,
    pub count: u64,
    pub size: u64,
    pub group: u64,
    pub delay: Duration,
    pub fails: u64,
    pub exit: u64,
    pub hang: bool,
    pub deaf: bool,
    pub leaves: bool,
}

/// A program in the pipe.
#[derive(Debug)]
pub enum Filter {
    Merge { by_time: bool, verbose: bool },
    Tee(Tee),
    Progress { how: &'static str },
    Wait { policy: Policy, pass: bool },
}

/// A cl-tee with its sinks.
#[derive(Debug, Default)]
pub struct Tee {
    /// `-p`: it goes on when its stdout's reader goes away.
    pub pipes: bool,
    /// Into a file.
    pub file: bool,
    /// Into a run folder.
    pub split: bool,
    /// Into a FIFO with this reader.
    pub fifo: Option<Reader>,
    pub on_full: &'static str,
    pub sync: bool,
    /// What is short of room.
    pub disk: Option<Disk>,
}

/// A disk that is full soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// Where the file and the run folder lie.
    Files,
    /// Where what a slow reader has still to get waits.
    Spill,
    /// No file may be longer than so many bytes.
    Limit(u64),
}

/// When cl-wait has enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    All,
    Expected,
    First,
    Any,
    Need,
}

/// How something is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Greedy,
    /// So many bytes at once, with a rest before each.
    Slow(usize, Duration),
    /// Reads nothing for a while once it has had so many bytes.
    Stops(usize, Duration),
    /// Goes away then.
    Dies(usize),
    /// Never comes.
    Never,
}

/// Something that is done to one process.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// After the start of all.
    pub at: Duration,
    pub on: Target,
    pub what: What,
}

/// A process of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Spawn(usize),
    Warden(usize),
    Worker(usize),
    Filter(usize),
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Kill,
    Term,
    Cont,
    /// And CONT after so long.
    Stop(Duration),
}

/// The case of that number.
pub fn case(seed: u64, number: u64) -> Case {
    let mut dice = Dice::new(seed.wrapping_mul(0xa076_1d64_78bd_642f) ^ number);
    let join = if dice.below(3) == 0 { Join::Pipe } else { Join::Fifos };
    let count = [1, 1, 2, 2, 3, 4][dice.below(6) as usize];
    let spawns: Vec<Spawn> = (0..count).map(|_| spawn(&mut dice)).collect();
    let filters = filters(&mut dice);
    let waits = matches!(filters.last(), Some(Filter::Wait { .. }));
    // Without cl-wait, cl-merge has to be told to end, and then waits for it in vain.
    let unopened = join == Join::Fifos && dice.below(if waits { 8 } else { 40 }) == 0;
    let passes = !matches!(filters.last(), Some(Filter::Wait { pass: false, .. }));
    let reader = if passes { reader(&mut dice) } else { Reader::Greedy };
    let faults = faults(&mut dice, count, filters.len());
    Case {
        join,
        spawns,
        unopened,
        filters,
        reader,
        faults,
    }
}

fn one_in(dice: &mut Dice, chances: u64) -> bool {
    dice.below(chances) == 0
}

/// Rather early than late: most pipelines are short.
fn soon(dice: &mut Dice) -> Duration {
    let limit = 1 << (3 + dice.below(7));
    millis(dice, limit)
}

fn millis(dice: &mut Dice, limit: u64) -> Duration {
    Duration::from_millis(dice.below(limit))
}

fn spawn(dice: &mut Dice) -> Spawn {
    let kept = one_in(dice, 8);
    Spawn {
        capture: ["pipe", "pipe", "file", "file", "pty"][dice.below(if kept { 4 } else { 5 }) as usize],
        max_line: ["64M", "64M", "8K"][dice.below(3) as usize],
        heartbeat: ["5s", "0.02"][dice.below(2) as usize],
        retries: if one_in(dice, 3) { 1 + dice.below(2) } else { 0 },
        work: if kept {
            Work::Kept {
                prompts: 1 + dice.below(4),
            }
        } else {
            Work::Seeded(seeded(dice))
        },
    }
}

fn seeded(dice: &mut Dice) -> Seeded {
    let size = [60, 300, 2000, 6000][dice.below(4) as usize];
    Seeded {
        seed: dice.roll(),
        count: 1 + dice.below(if size > 1000 { 100 } else { 400 }),
        size,
        group: 1 + dice.below(8),
        delay: millis(dice, 6),
        fails: if one_in(dice, 5) { 1 } else { 0 },
        exit: if one_in(dice, 6) { 7 } else { 0 },
        hang: one_in(dice, 8),
        deaf: one_in(dice, 8),
        leaves: one_in(dice, 8),
    }
}

fn filters(dice: &mut Dice) -> Vec<Filter> {
    let mut filters = vec![Filter::Merge {
        by_time: one_in(dice, 5),
        verbose: one_in(dice, 4),
    }];
    if !one_in(dice, 3) {
        filters.push(Filter::Tee(tee(dice)));
    }
    if one_in(dice, 3) {
        let how = ["plain", "json", "none"][dice.below(3) as usize];
        filters.push(Filter::Progress { how });
    }
    if one_in(dice, 2) {
        let policies = [Policy::All, Policy::Expected, Policy::First, Policy::Any, Policy::Need];
        filters.push(Filter::Wait {
            policy: policies[dice.below(5) as usize],
            pass: one_in(dice, 3),
        });
    }
    filters
}

fn tee(dice: &mut Dice) -> Tee {
    let fifo = one_in(dice, 2);
    let tee = Tee {
        pipes: one_in(dice, 3),
        file: one_in(dice, 2),
        split: one_in(dice, 2),
        fifo: fifo.then(|| if one_in(dice, 12) { Reader::Never } else { reader(dice) }),
        on_full: ["spill", "spill", "block", "drop", "close"][dice.below(5) as usize],
        sync: one_in(dice, 4),
        disk: one_in(dice, 4).then(|| match dice.below(4) {
            0 | 1 => Disk::Files,
            2 => Disk::Spill,
            _ => Disk::Limit((1 + dice.below(40)) << 10),
        }),
    };
    match tee {
        // Who waits for a reader that never comes waits for ever.
        Tee {
            fifo: Some(Reader::Never),
            on_full: "block",
            ..
        } => Tee {
            on_full: "spill",
            ..tee
        },
        tee => tee,
    }
}

fn reader(dice: &mut Dice) -> Reader {
    let limit = 1 << (8 + dice.below(11));
    let after = dice.below(limit) as usize;
    match dice.below(8) {
        0 | 1 => Reader::Slow(4096 << dice.below(3), Duration::from_millis(1 + dice.below(4))),
        2 => Reader::Stops(after, millis(dice, 400)),
        3 => Reader::Dies(after),
        _ => Reader::Greedy,
    }
}

fn faults(dice: &mut Dice, spawns: usize, filters: usize) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for _ in 0..dice.below(4) {
        let spawn = dice.below(spawns as u64) as usize;
        let fault = Fault {
            at: soon(dice),
            on: match dice.below(8) {
                0 | 1 => Target::Spawn(spawn),
                2 => Target::Warden(spawn),
                3 | 4 => Target::Worker(spawn),
                _ => Target::Filter(dice.below(filters as u64) as usize),
            },
            what: match dice.below(8) {
                0..=2 => What::Kill,
                3 | 4 => What::Term,
                5 => What::Cont,
                _ => What::Stop(millis(dice, 400)),
            },
        };
        // Whoever ends a cl-spawn and its warden by force leaves what they watched over: nothing is promised then.
        let kills = |on| faults.iter().any(|other| other.on == on && other.what == What::Kill);
        let both = match fault.on {
            Target::Spawn(at) => kills(Target::Warden(at)),
            Target::Warden(at) => kills(Target::Spawn(at)),
            Target::Worker(_) | Target::Filter(_) => false,
        };
        if !(both && fault.what == What::Kill) {
            faults.push(fault);
        }
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}
