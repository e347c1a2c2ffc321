//! What would be started, in order.

use crate::launch::told;
use harmony::plan::{Graph, Plan, Worktree};
use std::fmt::Write as _;

/// A line for each stream: what it is after, then its command, with the places of its templates as they are.
pub fn lines(plan: &Plan, graph: &Graph, ranks: &[usize]) -> String {
    let mut text = String::new();
    let mut written = vec![false; ranks.len()];
    // The first of those that wait for nobody who has not been written.
    while let Some(&at) = ranks
        .iter()
        .find(|&&at| !written[at] && graph.before(at).iter().all(|&before| written[before]))
    {
        written[at] = true;
        let stream = &plan.streams[at];
        let settings = plan.settings(stream);
        let mut args = vec![stream.name.clone()];
        args.extend(settings.options());
        match &settings.worktree {
            Some(Worktree::Own) => args.push("--cwd={{worktree}}".to_owned()),
            Some(Worktree::At(path)) => args.push(format!("--cwd={path}")),
            Some(Worktree::No) | None => {}
        }
        if stream.run.is_empty() {
            args.extend(plan.asks(stream).map(str::to_owned));
        } else {
            args.push("--".to_owned());
            args.extend(stream.run.iter().cloned());
        }
        let _ = writeln!(text, "{}", told(&args));
    }
    text
}
