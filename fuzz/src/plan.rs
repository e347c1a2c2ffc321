//! Plans: their documents, what follows from them, and what is added to them.

use harmony::line::Outcome;
use harmony::plan::{Fate, Format, Graph, Plan, Problem, Schedule, Standing, Worktree};
use harmony::role::Roles;
use std::sync::LazyLock;

/// The roles in force, which are read once.
static ROLES: LazyLock<Roles> = LazyLock::new(Roles::builtin);

/// Any text as a plan, in both forms: it is read or refused with its places, what was read is written so that it reads
/// the same, and a run of it comes to its end.
pub fn plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let roles = &*ROLES;
    for format in [Format::Toml, Format::Json] {
        match Plan::read(text, format, roles) {
            Err(problems) => refused(text, &problems),
            Ok(plan) => {
                right(&plan, roles);
                come_to_an_end(&[plan], data);
            }
        }
    }
}

/// A plan, and behind a line `+++` one after the other what is added to it.
pub fn grown(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let roles = &*ROLES;
    let mut parts = text.split("\n+++\n");
    let Some(Ok(plan)) = parts.next().map(|text| Plan::read(text, Format::Toml, roles)) else {
        return;
    };
    let mut plans = vec![plan];
    for part in parts {
        let format = match part.trim_start().starts_with('{') {
            true => Format::Json,
            false => Format::Toml,
        };
        let plan = &plans[plans.len() - 1];
        match plan.grown(part, format, roles) {
            Err(problems) => refused(part, &problems),
            Ok(grown) => {
                right(&grown, roles);
                assert_eq!(
                    grown.streams[..plan.streams.len()],
                    plan.streams,
                    "who was there stays as it was"
                );
                assert_eq!(
                    (&grown.name, &grown.wait, &grown.defaults),
                    (&plan.name, &plan.wait, &plan.defaults)
                );
                let (old, new) = (Graph::new(plan).expect("a graph"), Graph::new(&grown).expect("a graph"));
                for at in 0..plan.streams.len() {
                    assert_eq!(
                        old.before(at),
                        new.before(at),
                        "nobody who was there waits for who is added"
                    );
                }
                assert_eq!(grown.grown(part, format, roles).as_ref(), Ok(&grown), "once is enough");
                plans.push(grown);
            }
        }
    }
    come_to_an_end(&plans, data);
}

/// Why a text was refused: something, and where.
fn refused(text: &str, problems: &[Problem]) {
    assert!(!problems.is_empty());
    let lines = text.matches('\n').count() + 1;
    for problem in problems {
        assert!(!problem.what.is_empty() && problem.line <= lines, "{problem:?}");
        assert!(!problem.told("f").is_empty());
    }
}

/// What holds for every plan that was read.
fn right(plan: &Plan, roles: &Roles) {
    assert_eq!(plan.check(roles), [], "{plan:?}");
    for format in [Format::Toml, Format::Json] {
        let text = plan.write(format);
        let again = Plan::read(&text, format, roles);
        assert_eq!(again.as_ref(), Ok(plan), "{text}");
    }
    let graph = Graph::new(plan).expect("no circle");
    let count = plan.streams.len();
    assert_eq!(graph.levels().iter().map(Vec::len).sum::<usize>(), count);
    let mut place = vec![count; count];
    for (at, &stream) in graph.order().iter().enumerate() {
        place[stream] = at;
    }
    for at in 0..count {
        assert!(place[at] < count && graph.before(at).iter().all(|&before| place[before] < place[at]));
    }
    let takes: Vec<f64> = (0..count).map(|at| 1.0 + at as f64).collect();
    let priorities = plan.priorities(roles);
    let path: f64 = graph.critical(&takes).iter().map(|&at| takes[at]).sum();
    let (wide, narrow) = (graph.whole(&priorities, &takes, 0), graph.whole(&priorities, &takes, 1));
    assert!(
        wide >= path && narrow >= wide && narrow == takes.iter().sum::<f64>(),
        "{path} {wide} {narrow}"
    );
    for stream in &plan.streams {
        let options = plan.settings(stream).options();
        let words = options.iter().chain(&stream.run).chain(&stream.undo);
        assert!(
            words.chain(&stream.prompt).all(|word| !word.contains('\0')),
            "a program takes it"
        );
        if let Some(Worktree::At(path)) = plan.settings(stream).worktree {
            assert!(!path.contains('\0'), "it is a folder's");
        }
        let _ = (
            plan.asks(stream),
            plan.branch(stream),
            plan.role(stream, roles),
            plan.has_worktree(stream),
        );
    }
    if let Some(wait) = &plan.wait {
        let _ = (wait.grace(), wait.timeout());
    }
}

/// Runs a plan that grows while it runs, with and without `keep_going`.
fn come_to_an_end(plans: &[Plan], data: &[u8]) {
    // What happens is anything, and the same for the same text.
    let seed = data
        .iter()
        .fold(1u64, |sum, &byte| sum.rotate_left(7) ^ u64::from(byte));
    for keep_going in [true, false] {
        comes_to_its_end(plans, seed.max(1), keep_going);
    }
}

/// However streams end, and in whatever order: each begins once at most, after those before it, and then all is told.
fn comes_to_its_end(plans: &[Plan], mut random: u64, keep_going: bool) {
    let order = |plan: &Plan| {
        let graph = Graph::new(plan).expect("no circle");
        let ranks = graph.ranks(&plan.priorities(&ROLES), &vec![1.0; plan.streams.len()]);
        (graph, ranks)
    };
    let mut later = plans.iter();
    let mut plan = later.next().expect("a plan");
    let (graph, ranks) = order(plan);
    let mut schedule = Schedule::new(graph, &ranks, keep_going);
    let mut running = Vec::new();
    let mut began = vec![false; plan.streams.len()];
    loop {
        schedule.advance(plan);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let next = schedule.ready().next();
        if let Some(at) = next.filter(|_| running.is_empty() || random & 1 == 0) {
            assert!(!std::mem::replace(&mut began[at], true), "it begins once");
            let over = |&before: &usize| !matches!(schedule.fates()[before], Fate::Waiting | Fate::Running);
            assert!(schedule.graph().before(at).iter().all(over), "those before it are over");
            schedule.began(at);
            running.push(at);
        } else if !running.is_empty() && random & 4 == 0 {
            let at = running.swap_remove(random as usize / 8 % running.len());
            let outcome = match random >> 40 & 3 {
                0 => Outcome::Failed,
                _ => Outcome::Success,
            };
            schedule.ended(plan, at, outcome);
        } else if let Some(grown) = later.next() {
            let (graph, ranks) = order(grown);
            schedule = schedule.grown(graph, &ranks);
            began.resize(grown.streams.len(), false);
            plan = grown;
        } else if running.is_empty() {
            break;
        }
    }
    let over = |fate: &Fate| !matches!(fate, Fate::Waiting | Fate::Running);
    assert!(schedule.fates().iter().all(over), "{:?} {plan:?}", schedule.fates());
    let standing = schedule.standing(plan);
    assert!(matches!(standing, Standing::Met | Standing::Unmet(_)), "{standing:?}");
}
