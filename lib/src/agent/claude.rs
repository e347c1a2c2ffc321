//! claude's stream-json, which qwen writes too.

use super::soft::{Part, Soft, brief, list, part, short, what};
use super::status::http_status;
use super::tasks::Tasks;
use super::{Fact, ResultFact};
use crate::line::Usage;
use serde::Deserialize;
use std::collections::BTreeMap;

/// More work in the background than an agent has.
const MANY: usize = 1000;

/// Reads claude's lines, or qwen's.
#[derive(Debug, Default)]
pub struct Lines {
    qwen: bool,
    background: BTreeMap<String, String>,
    tasks: Tasks,
}

/// What may matter of a line; each part is read only where the line's type asks for it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Soft<'a>,
    #[serde(borrow)]
    subtype: Soft<'a>,
    #[serde(borrow)]
    session_id: Soft<'a>,
    #[serde(borrow)]
    parent_tool_use_id: Soft<'a>,
    #[serde(borrow)]
    message: Part<'a>,
    #[serde(borrow)]
    event: Part<'a>,
    #[serde(borrow)]
    error: Soft<'a>,
    #[serde(borrow)]
    aborted: Soft<'a>,
    #[serde(borrow)]
    api_message_id: Soft<'a>,
    // system
    #[serde(borrow)]
    model: Soft<'a>,
    #[serde(borrow)]
    tasks: Part<'a>,
    #[serde(borrow)]
    task_id: Soft<'a>,
    #[serde(borrow)]
    description: Soft<'a>,
    #[serde(borrow)]
    is_backgrounded: Soft<'a>,
    #[serde(borrow)]
    patch: Part<'a>,
    #[serde(borrow)]
    status: Soft<'a>,
    #[serde(borrow)]
    tool_name: Soft<'a>,
    #[serde(borrow)]
    attempt: Soft<'a>,
    #[serde(borrow)]
    max_retries: Soft<'a>,
    #[serde(borrow)]
    retry_delay_ms: Soft<'a>,
    #[serde(borrow)]
    error_status: Soft<'a>,
    // rate_limit_event
    #[serde(borrow)]
    rate_limit_info: Part<'a>,
    // user
    #[serde(borrow)]
    tool_use_result: Part<'a>,
    // result
    #[serde(borrow)]
    is_error: Soft<'a>,
    #[serde(borrow)]
    result: Soft<'a>,
    #[serde(borrow)]
    errors: Part<'a>,
    #[serde(borrow)]
    terminal_reason: Soft<'a>,
    #[serde(borrow)]
    api_error_status: Soft<'a>,
    #[serde(borrow)]
    num_turns: Soft<'a>,
    #[serde(borrow)]
    queued_turn_count: Soft<'a>,
    #[serde(borrow)]
    total_cost_usd: Soft<'a>,
    #[serde(borrow)]
    model_usage_since_last_result: Part<'a>,
    #[serde(borrow)]
    usage: Part<'a>,
    #[serde(borrow)]
    permission_denials: Part<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    id: Soft<'a>,
    #[serde(borrow)]
    content: Part<'a>,
    #[serde(borrow)]
    usage: Part<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Soft<'a>,
    #[serde(borrow)]
    text: Soft<'a>,
    #[serde(borrow)]
    id: Soft<'a>,
    #[serde(borrow)]
    name: Soft<'a>,
    #[serde(borrow)]
    input: Part<'a>,
    #[serde(borrow)]
    tool_use_id: Soft<'a>,
    #[serde(borrow)]
    is_error: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stream<'a> {
    #[serde(borrow, rename = "type")]
    kind: Soft<'a>,
    #[serde(borrow)]
    delta: Part<'a>,
    #[serde(borrow)]
    usage: Part<'a>,
    #[serde(borrow)]
    message: Part<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    kind: Soft<'a>,
    #[serde(borrow)]
    text: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Background<'a> {
    #[serde(borrow)]
    task_id: Soft<'a>,
    #[serde(borrow)]
    description: Soft<'a>,
    #[serde(borrow)]
    status: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RateLimit<'a> {
    #[serde(borrow)]
    status: Soft<'a>,
    #[serde(borrow)]
    resets_at: Soft<'a>,
    #[serde(borrow)]
    rate_limit_type: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ModelUsage<'a> {
    #[serde(borrow, rename = "costUSD")]
    cost: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Denial<'a> {
    #[serde(borrow)]
    tool_name: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens<'a> {
    #[serde(borrow)]
    input_tokens: Soft<'a>,
    #[serde(borrow)]
    output_tokens: Soft<'a>,
    #[serde(borrow)]
    cache_read_input_tokens: Soft<'a>,
    #[serde(borrow)]
    cache_creation_input_tokens: Soft<'a>,
}

impl Lines {
    /// A reader of qwen's lines: claude's shape, with words of its own for an error.
    pub fn qwen() -> Self {
        Self {
            qwen: true,
            ..Self::default()
        }
    }

    /// Appends what one line says.
    pub fn read(&mut self, line: &[u8], facts: &mut Vec<Fact>) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            return;
        };
        match line.kind.text() {
            Some("assistant") => self.assistant(&line, facts),
            Some("user") => self.user(&line, facts),
            Some("stream_event") => stream_event(&line, facts),
            Some("system") => self.system(&line, facts),
            Some("rate_limit_event") => {
                let limit: RateLimit<'_> = part(line.rate_limit_info).unwrap_or_default();
                facts.push(Fact::Limit {
                    status: limit.status.owned().unwrap_or_default(),
                    resets_at: limit.resets_at.number(),
                    kind: limit.rate_limit_type.owned(),
                });
            }
            Some("result") => facts.push(Fact::Result(Box::new(self.result(line)))),
            _ => {}
        }
    }

    fn assistant(&mut self, line: &Line<'_>, facts: &mut Vec<Fact>) {
        let sub = line.parent_tool_use_id.text().is_some();
        let message: Message<'_> = part(line.message).unwrap_or_default();
        // A message that claude made up to tell an error is no part of the answer.
        let error = line.error.text();
        for block in list::<Block<'_>>(message.content) {
            match block.kind.text() {
                Some("text") => {
                    let Some(text) = block.text.into_string() else { continue };
                    facts.push(match error {
                        Some(error) => Fact::Trouble(format!("{error}: {text}")),
                        None => Fact::Text { text, sub },
                    });
                }
                Some("thinking" | "redacted_thinking") => facts.push(Fact::Thinking),
                Some("tool_use") => {
                    let id = block.id.owned().unwrap_or_default();
                    let name = block.name.owned().unwrap_or_default();
                    if !sub {
                        self.tasks.asked(&id, &name, block.input);
                    }
                    let what = what(block.input);
                    facts.push(Fact::ToolStart { id, name, what });
                }
                _ => {}
            }
        }
        if line.aborted.is_true() {
            facts.push(Fact::Trouble("interrupted".to_owned()));
        }
        if let (Some(id), Some(usage)) = (message.id.owned(), usage(message.usage)) {
            facts.push(Fact::Usage { message: id, usage });
        }
    }

    fn user(&mut self, line: &Line<'_>, facts: &mut Vec<Fact>) {
        let message: Message<'_> = part(line.message).unwrap_or_default();
        for block in list::<Block<'_>>(message.content) {
            if block.kind.text() == Some("tool_result") {
                let id = block.tool_use_id.owned().unwrap_or_default();
                let error = block.is_error.is_true();
                let tasks = self.tasks.answered(&id, error, line.tool_use_result);
                facts.push(Fact::ToolEnd { id, error });
                facts.extend(tasks.map(Fact::Tasks));
            }
        }
    }

    fn system(&mut self, line: &Line<'_>, facts: &mut Vec<Fact>) {
        match line.subtype.text() {
            Some("init") => facts.push(Fact::Init {
                session: line.session_id.owned(),
                model: line.model.owned(),
            }),
            Some("api_retry") => {
                let error = line.error.text().unwrap_or("error");
                facts.push(Fact::Retry {
                    attempt: line.attempt.count().unwrap_or_default(),
                    max: line.max_retries.count(),
                    delay: line.retry_delay_ms.number().unwrap_or_default() / 1000.0,
                    because: match line.error_status.count() {
                        Some(status) => format!("{status} {error}"),
                        None => format!("no connection, {error}"),
                    },
                });
            }
            Some("permission_denied") => facts.push(Fact::Denied {
                tool: line.tool_name.owned().unwrap_or_default(),
            }),
            // The set is told as a whole; versions that tell only the single steps have the same end.
            Some("background_tasks_changed") => {
                let tasks = list::<Background<'_>>(line.tasks).into_iter();
                self.background = tasks
                    .take(MANY)
                    .filter_map(|task| entry(&task.task_id, &task.description))
                    .collect();
                facts.push(self.open());
            }
            Some("task_started") if line.is_backgrounded.is_true() && self.background.len() < MANY => {
                self.background.extend(entry(&line.task_id, &line.description));
                facts.push(self.open());
            }
            Some("task_updated" | "task_notification") => {
                let patch: Background<'_> = part(line.patch).unwrap_or_default();
                let status = patch.status.text().or(line.status.text());
                let ended = !matches!(status, None | Some("running" | "pending" | "in_progress"));
                if ended
                    && let Some(id) = line.task_id.text()
                    && self.background.remove(short(id)).is_some()
                {
                    facts.push(self.open());
                }
            }
            _ => {}
        }
    }

    fn open(&self) -> Fact {
        Fact::Background(self.background.values().cloned().collect())
    }

    fn result(&self, line: Line<'_>) -> ResultFact {
        let errors: Vec<String> = list::<Soft<'_>>(line.errors)
            .into_iter()
            .filter_map(Soft::into_string)
            .collect();
        let text = line.result.into_string();
        // qwen calls an API error a success.
        let told = self.qwen && text.as_ref().is_some_and(|text| text.starts_with("[API Error:"));
        let named = || text.as_deref().filter(|_| told).and_then(http_status);
        let api_status = line.api_error_status.count().or_else(named);
        let denials = list::<Denial<'_>>(line.permission_denials).into_iter();
        ResultFact {
            error: line.is_error.is_true() || told,
            subtype: line.subtype.owned().unwrap_or_default(),
            text: text.or_else(|| (!errors.is_empty()).then(|| errors.join("\n"))),
            terminal_reason: line.terminal_reason.owned(),
            api_status,
            turns: line.num_turns.count(),
            cost: line.total_cost_usd.number(),
            step: step(line.model_usage_since_last_result),
            usage: usage(line.usage),
            session: line.session_id.owned(),
            denials: denials.filter_map(|denial| denial.tool_name.into_string()).collect(),
            queued: line.queued_turn_count.count().unwrap_or(0),
        }
    }
}

fn stream_event(line: &Line<'_>, facts: &mut Vec<Fact>) {
    // A sub-agent's pieces are nobody's answer; its finished blocks tell that it is at work.
    if line.parent_tool_use_id.text().is_some() {
        return;
    }
    let event: Stream<'_> = part(line.event).unwrap_or_default();
    match event.kind.text() {
        Some("content_block_delta") => {
            let delta: Delta<'_> = part(event.delta).unwrap_or_default();
            match delta.kind.text() {
                Some("text_delta") => {
                    facts.extend(delta.text.into_string().map(|text| Fact::Delta { text, only: false }))
                }
                Some("thinking_delta") => facts.push(Fact::Thinking),
                _ => {}
            }
        }
        Some("message_start") => {
            let message: Message<'_> = part(event.message).unwrap_or_default();
            if let (Some(message), Some(usage)) = (message.id.owned(), usage(message.usage)) {
                facts.push(Fact::Usage { message, usage });
            }
        }
        Some("message_delta") => {
            if let (Some(message), Some(usage)) = (line.api_message_id.owned(), usage(event.usage)) {
                facts.push(Fact::Usage { message, usage });
            }
        }
        _ => {}
    }
}

fn entry(id: &Soft<'_>, description: &Soft<'_>) -> Option<(String, String)> {
    let id = id.owned()?;
    let description = description.text().filter(|text| !text.is_empty()).unwrap_or(&id);
    Some((short(&id).to_owned(), brief(description)))
}

/// What all models together have cost since the result before.
fn step(models: Part<'_>) -> Option<f64> {
    let models: BTreeMap<String, ModelUsage<'_>> = part(models)?;
    Some(models.values().filter_map(|model| model.cost.number()).sum())
}

fn usage(tokens: Part<'_>) -> Option<Usage> {
    let tokens: Tokens<'_> = part(tokens)?;
    let count = |member: Soft<'_>| member.count().unwrap_or(0);
    Some(Usage {
        input: count(tokens.input_tokens),
        output: count(tokens.output_tokens),
        cache_read: count(tokens.cache_read_input_tokens),
        cache_write: count(tokens.cache_creation_input_tokens),
    })
}
