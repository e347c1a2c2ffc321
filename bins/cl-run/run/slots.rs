//! How many run at once. Who waits for the end of a usage limit gives way to streams of other agents: those of its own
//! would only wait beside it. When it goes on there may be more than `jobs` for a while, by those who were let in.

use super::Run;
use harmony::agent::Kind;

impl Run<'_> {
    /// Whether that stream may start now, as far as the others leave room for it.
    pub(super) fn has_room(&self, at: usize) -> bool {
        if self.running.len() < self.jobs {
            return true;
        }
        let parked = || {
            self.running
                .iter()
                .map(|running| running.at)
                .filter(|at| self.parked.contains(at))
        };
        self.running.len() - parked().count() < self.jobs && parked().all(|other| self.asks(other) != self.asks(at))
    }

    /// Whether there is room for any stream at all.
    pub(super) fn may_have_room(&self) -> bool {
        self.running.len() < self.jobs || self.running.iter().any(|running| self.parked.contains(&running.at))
    }

    /// Whom a stream asks, as far as the plan tells: its agent, else the program that it runs.
    fn asks(&self, at: usize) -> String {
        let stream = &self.plan.streams[at];
        let role = || self.plan.role(stream, self.set.roles)?.agent.clone();
        let agent = self.plan.settings(stream).agent.or_else(role);
        let agent = agent.filter(|agent| agent != "auto");
        agent.unwrap_or_else(|| {
            let program = stream.run.first().and_then(|program| program.rsplit('/').next());
            program.unwrap_or(Kind::Claude.as_str()).to_owned()
        })
    }
}
