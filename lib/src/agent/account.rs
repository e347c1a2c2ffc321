//! What an agent's facts add up to at its end.

use super::{Fact, ResultFact};
use crate::line::Usage;
use std::collections::HashMap;

/// The sum of one attempt's facts: evidence for its outcome, and the content of its `exit`.
#[derive(Debug, Default)]
pub struct Account {
    /// The session's id, once known.
    pub session: Option<String>,
    /// The last result.
    pub result: Option<ResultFact>,
    /// How many results came.
    pub results: u32,
    /// Background work that is unfinished.
    pub pending: Vec<String>,
    /// Tools that were denied.
    pub denials: Vec<String>,
    /// The last usage limit that was told.
    pub limit: Option<(String, Option<f64>)>,
    /// The last error that was mentioned outside a result.
    pub trouble: Option<String>,
    /// Whether anything of an agent's own kind was read at all.
    pub spoke: bool,
    /// Whether a turn has begun that has no result yet.
    pub in_turn: bool,
    texts: Vec<String>,
    deltas: String,
    messages: HashMap<String, Usage>,
    loose_usage: Usage,
    cost: Option<f64>,
}

impl Account {
    /// Takes one fact.
    pub fn add(&mut self, fact: &Fact) {
        self.spoke = true;
        match fact {
            Fact::Init { session, .. } => {
                self.session = session.clone().or_else(|| self.session.take());
                self.in_turn = true;
                self.texts.clear();
                self.deltas.clear();
            }
            Fact::Text { text, sub: false } => self.texts.push(text.clone()),
            Fact::Delta { text, only: true } => self.deltas.push_str(text),
            Fact::Denied { tool } => self.denials.push(tool.clone()),
            Fact::Usage { message, usage } if message.is_empty() => self.loose_usage += *usage,
            Fact::Usage { message, usage } => {
                // The same message is told again for each of its blocks, with counts that only grow.
                self.messages.insert(message.clone(), *usage);
            }
            Fact::Cost(step) => *self.cost.get_or_insert(0.0) += step,
            Fact::Limit { status, resets_at, .. } => self.limit = Some((status.clone(), *resets_at)),
            Fact::Background(open) => self.pending.clone_from(open),
            Fact::Trouble(text) => self.trouble = Some(text.clone()),
            Fact::Result(result) => {
                self.in_turn = false;
                self.results += 1;
                self.session = result.session.clone().or_else(|| self.session.take());
                for tool in &result.denials {
                    if !self.denials.contains(tool) {
                        self.denials.push(tool.clone());
                    }
                }
                self.result = Some((**result).clone());
            }
            Fact::Text { .. }
            | Fact::Delta { .. }
            | Fact::Thinking
            | Fact::ToolStart { .. }
            | Fact::ToolEnd { .. }
            | Fact::Retry { .. }
            | Fact::Tasks(_) => {}
        }
    }

    /// The answer: the last result's text, else what the last turn wrote.
    pub fn answer(&self) -> Option<String> {
        let told = self
            .result
            .as_ref()
            .and_then(|result| result.text.clone())
            .filter(|text| !text.is_empty());
        told.or_else(|| (!self.texts.is_empty()).then(|| self.texts.join("\n\n")))
            .or_else(|| (!self.deltas.is_empty()).then(|| self.deltas.clone()))
    }

    /// Tokens, counted once per message; a result's own figure wins.
    pub fn usage(&self) -> Option<Usage> {
        if let Some(usage) = self.result.as_ref().and_then(|result| result.usage) {
            return Some(usage);
        }
        let mut sum = self.loose_usage;
        self.messages.values().for_each(|usage| sum += *usage);
        (sum != Usage::default()).then_some(sum)
    }

    /// Cost in US dollars, where the agent says it.
    pub fn cost(&self) -> Option<f64> {
        self.result.as_ref().and_then(|result| result.cost).or(self.cost)
    }
}
