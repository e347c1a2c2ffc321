//! The lines of `gemini --output-format stream-json`.

use super::soft::{Part, Soft, part, what};
use super::status::http_status;
use super::{Fact, ResultFact};
use crate::line::Usage;
use serde::Deserialize;

/// Reads gemini's lines.
#[derive(Debug, Default)]
pub struct Lines {}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Soft<'a>,
    #[serde(borrow)]
    session_id: Soft<'a>,
    #[serde(borrow)]
    model: Soft<'a>,
    #[serde(borrow)]
    role: Soft<'a>,
    #[serde(borrow)]
    content: Soft<'a>,
    #[serde(borrow)]
    delta: Soft<'a>,
    #[serde(borrow)]
    tool_name: Soft<'a>,
    #[serde(borrow)]
    tool_id: Soft<'a>,
    #[serde(borrow)]
    parameters: Part<'a>,
    #[serde(borrow)]
    status: Soft<'a>,
    #[serde(borrow)]
    message: Soft<'a>,
    #[serde(borrow)]
    error: Part<'a>,
    #[serde(borrow)]
    stats: Part<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Trouble<'a> {
    #[serde(borrow)]
    message: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stats<'a> {
    #[serde(borrow)]
    input_tokens: Soft<'a>,
    #[serde(borrow)]
    output_tokens: Soft<'a>,
    #[serde(borrow)]
    cached: Soft<'a>,
}

impl Lines {
    /// Appends what one line says.
    pub fn read(&mut self, line: &[u8], facts: &mut Vec<Fact>) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            return;
        };
        match line.kind.text() {
            Some("init") => facts.push(Fact::Init {
                session: line.session_id.owned(),
                model: line.model.owned(),
            }),
            Some("message") if line.role.text() == Some("assistant") => {
                let only = line.delta.is_true();
                facts.extend(line.content.into_string().map(|text| match only {
                    true => Fact::Delta { text, only },
                    false => Fact::Text { text, sub: false },
                }));
            }
            Some("tool_use") => facts.push(Fact::ToolStart {
                id: line.tool_id.owned().unwrap_or_default(),
                name: line.tool_name.owned().unwrap_or_default(),
                what: what(line.parameters),
            }),
            Some("tool_result") => facts.push(Fact::ToolEnd {
                id: line.tool_id.owned().unwrap_or_default(),
                error: line.status.text() == Some("error"),
            }),
            Some("error") => facts.extend(line.message.owned().map(Fact::Trouble)),
            Some("result") => {
                let status = line.status.owned().unwrap_or_default();
                let error: Trouble<'_> = part(line.error).unwrap_or_default();
                facts.push(Fact::Result(Box::new(ResultFact {
                    error: status != "success",
                    api_status: error.message.text().and_then(http_status),
                    text: error.message.into_string(),
                    subtype: status,
                    usage: usage(line.stats),
                    ..ResultFact::default()
                })));
            }
            _ => {}
        }
    }
}

fn usage(stats: Part<'_>) -> Option<Usage> {
    let stats: Stats<'_> = part(stats)?;
    let count = |member: Soft<'_>| member.count().unwrap_or(0);
    let cached = count(stats.cached);
    Some(Usage {
        // gemini counts what came from the cache as input, too.
        input: count(stats.input_tokens).saturating_sub(cached),
        output: count(stats.output_tokens),
        cache_read: cached,
        cache_write: 0,
    })
}
