//! claude's stream-json, which qwen writes too.

use super::{Fact, ResultFact};
use crate::line::Usage;
use serde_json::Value;

/// Reads claude's lines.
#[derive(Debug, Default)]
pub struct Lines {}

impl Lines {
    /// Appends what one line says.
    pub fn read(&mut self, line: &[u8], facts: &mut Vec<Fact>) {
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            return;
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match (value["type"].as_str(), value["subtype"].as_str()) {
            (Some("system"), Some("init")) => {
                facts.push(Fact::Init {
                    session: text(&value["session_id"]),
                    model: text(&value["model"]),
                });
            }
            (Some("assistant"), _) => {
                let sub = value["parent_tool_use_id"].is_string();
                for block in value["message"]["content"].as_array().into_iter().flatten() {
                    if let Some(text) = block["text"].as_str() {
                        facts.push(Fact::Text {
                            text: text.to_owned(),
                            sub,
                        });
                    }
                }
            }
            (Some("result"), subtype) => facts.push(Fact::Result(Box::new(ResultFact {
                error: value["is_error"].as_bool().unwrap_or(false),
                subtype: subtype.unwrap_or_default().to_owned(),
                text: text(&value["result"]),
                terminal_reason: text(&value["terminal_reason"]),
                api_status: value["api_error_status"].as_u64(),
                turns: value["num_turns"].as_u64(),
                cost: value["total_cost_usd"].as_f64(),
                usage: value["usage"].is_object().then(|| usage(&value["usage"])),
                session: text(&value["session_id"]),
                denials: Vec::new(),
            }))),
            _ => {}
        }
    }
}

fn usage(value: &Value) -> Usage {
    let count = |name: &str| value[name].as_u64().unwrap_or(0);
    Usage {
        input: count("input_tokens"),
        output: count("output_tokens"),
        cache_read: count("cache_read_input_tokens"),
        cache_write: count("cache_creation_input_tokens"),
    }
}
