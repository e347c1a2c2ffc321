//! The lines of `opencode run --format json`: there is no result, the last step's reason tells the end.

use super::soft::{Part, Soft, brief, part, what};
use super::status::http_status;
use super::{Fact, ResultFact};
use crate::line::Usage;
use serde::Deserialize;

/// Reads opencode's lines.
#[derive(Debug, Default)]
pub struct Lines {
    in_turn: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Soft<'a>,
    #[serde(borrow, rename = "sessionID")]
    session_id: Soft<'a>,
    #[serde(borrow)]
    part: Part<'a>,
    #[serde(borrow)]
    error: Part<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Piece<'a> {
    #[serde(borrow)]
    text: Soft<'a>,
    #[serde(borrow, rename = "callID")]
    call_id: Soft<'a>,
    #[serde(borrow)]
    tool: Soft<'a>,
    #[serde(borrow)]
    state: Part<'a>,
    #[serde(borrow)]
    reason: Soft<'a>,
    #[serde(borrow)]
    tokens: Part<'a>,
    #[serde(borrow)]
    cost: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State<'a> {
    #[serde(borrow)]
    status: Soft<'a>,
    #[serde(borrow)]
    input: Part<'a>,
    #[serde(borrow)]
    title: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Trouble<'a> {
    #[serde(borrow)]
    name: Soft<'a>,
    #[serde(borrow)]
    message: Soft<'a>,
    #[serde(borrow)]
    data: Part<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens<'a> {
    #[serde(borrow)]
    input: Soft<'a>,
    #[serde(borrow)]
    output: Soft<'a>,
    #[serde(borrow)]
    reasoning: Soft<'a>,
    #[serde(borrow)]
    cache: Part<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cache<'a> {
    #[serde(borrow)]
    read: Soft<'a>,
    #[serde(borrow)]
    write: Soft<'a>,
}

impl Lines {
    /// Appends what one line says.
    pub fn read(&mut self, line: &[u8], facts: &mut Vec<Fact>) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            return;
        };
        match line.kind.text() {
            Some("step_start") if !self.in_turn => {
                self.in_turn = true;
                let session = line.session_id.owned();
                facts.push(Fact::Init { session, model: None });
            }
            Some("text") => {
                let piece: Piece<'_> = part(line.part).unwrap_or_default();
                facts.extend(piece.text.into_string().map(|text| Fact::Text { text, sub: false }));
            }
            Some("reasoning") => facts.push(Fact::Thinking),
            Some("tool_use") => tool(part(line.part).unwrap_or_default(), facts),
            Some("step_finish") => {
                let piece: Piece<'_> = part(line.part).unwrap_or_default();
                self.finish(line.session_id.owned(), piece, facts);
            }
            Some("error") => {
                self.in_turn = false;
                let error: Trouble<'_> = part(line.error).unwrap_or_default();
                let data: Trouble<'_> = part(error.data).unwrap_or_default();
                let text = data.message.owned().or(error.message.owned()).or(error.name.owned());
                facts.push(Fact::Result(Box::new(ResultFact {
                    error: true,
                    subtype: error.name.owned().unwrap_or_else(|| "error".to_owned()),
                    api_status: text.as_deref().and_then(http_status),
                    text,
                    session: line.session_id.owned(),
                    ..ResultFact::default()
                })));
            }
            _ => {}
        }
    }

    fn finish(&mut self, session: Option<String>, piece: Piece<'_>, facts: &mut Vec<Fact>) {
        if let Some(tokens) = part::<Tokens<'_>>(piece.tokens) {
            let cache: Cache<'_> = part(tokens.cache).unwrap_or_default();
            let count = |member: Soft<'_>| member.count().unwrap_or(0);
            let usage = Usage {
                input: count(tokens.input),
                output: count(tokens.output).saturating_add(count(tokens.reasoning)),
                cache_read: count(cache.read),
                cache_write: count(cache.write),
            };
            let message = String::new();
            facts.push(Fact::Usage { message, usage });
        }
        facts.extend(piece.cost.number().map(Fact::Cost));
        let reason = piece.reason.owned().unwrap_or_default();
        // After these, opencode goes on with another step.
        if !matches!(reason.as_str(), "tool-calls" | "unknown" | "") {
            self.in_turn = false;
            facts.push(Fact::Result(Box::new(ResultFact {
                error: reason != "stop",
                subtype: reason,
                session,
                ..ResultFact::default()
            })));
        }
    }
}

/// A tool is told once, when it has ended.
fn tool(piece: Piece<'_>, facts: &mut Vec<Fact>) {
    let state: State<'_> = part(piece.state).unwrap_or_default();
    let id = piece.call_id.owned().unwrap_or_default();
    let mut what = what(state.input);
    if what.is_empty() {
        what = brief(state.title.text().unwrap_or_default());
    }
    facts.push(Fact::ToolStart {
        id: id.clone(),
        name: piece.tool.owned().unwrap_or_default(),
        what,
    });
    let error = state.status.text() == Some("error");
    facts.push(Fact::ToolEnd { id, error });
}
