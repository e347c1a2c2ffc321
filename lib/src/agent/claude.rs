//! claude's stream-json, which qwen writes too.

use super::soft::{Members, Object, Part, brief, each, members, object, pairs, short, slowly, what};
use super::status::http_status;
use super::tasks::Tasks;
use super::{Due, Fact, ResultFact};
use crate::line::{Usage, Walk};
use std::borrow::Cow;
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

members! {
    struct Assistant {
        parent_tool_use_id: "parent_tool_use_id",
        message: "message",
        error: "error",
        aborted: "aborted",
    }
}

members! {
    struct User {
        message: "message",
        tool_use_result: "tool_use_result",
    }
}

members! {
    struct System {
        subtype: "subtype",
        session_id: "session_id",
        model: "model",
        tasks: "tasks",
        task_id: "task_id",
        description: "description",
        is_backgrounded: "is_backgrounded",
        patch: "patch",
        status: "status",
        tool_name: "tool_name",
        error: "error",
        attempt: "attempt",
        max_retries: "max_retries",
        retry_delay_ms: "retry_delay_ms",
        error_status: "error_status",
    }
}

members! {
    struct StreamEvent {
        parent_tool_use_id: "parent_tool_use_id",
        event: "event",
        api_message_id: "api_message_id",
    }
}

members! {
    struct RateLimitEvent {
        rate_limit_info: "rate_limit_info",
    }
}

members! {
    struct Outcome {
        subtype: "subtype",
        session_id: "session_id",
        is_error: "is_error",
        result: "result",
        errors: "errors",
        terminal_reason: "terminal_reason",
        api_error_status: "api_error_status",
        num_turns: "num_turns",
        queued_turn_count: "queued_turn_count",
        total_cost_usd: "total_cost_usd",
        model_usage_since_last_result: "model_usage_since_last_result",
        usage: "usage",
        permission_denials: "permission_denials",
    }
}

members! {
    struct Message {
        id: "id",
        content: "content",
        usage: "usage",
    }
}

members! {
    struct Block {
        kind: "type",
        text: "text",
        id: "id",
        name: "name",
        input: "input",
        tool_use_id: "tool_use_id",
        is_error: "is_error",
    }
}

members! {
    struct Event {
        kind: "type",
        delta: "delta",
        usage: "usage",
        message: "message",
    }
}

members! {
    struct Delta {
        kind: "type",
        text: "text",
    }
}

members! {
    struct Background {
        task_id: "task_id",
        description: "description",
        status: "status",
    }
}

members! {
    struct RateLimit {
        status: "status",
        resets_at: "resetsAt",
        rate_limit_type: "rateLimitType",
    }
}

members! {
    struct Denial {
        tool_name: "tool_name",
    }
}

members! {
    struct Tokens {
        input_tokens: "input_tokens",
        output_tokens: "output_tokens",
        cache_read_input_tokens: "cache_read_input_tokens",
        cache_creation_input_tokens: "cache_creation_input_tokens",
    }
}

members! {
    struct ModelUsage {
        cost: "costUSD",
    }
}

/// When a line has to be read: what the answer consists of, tools that come and go, attempts to reach the API and a
/// turn's beginning can wait.
#[inline]
pub(super) fn due(members: Option<Walk<'_>>) -> Due {
    let Some(members) = members else {
        return Due::Now;
    };
    let [kind, subtype] = members.values([b"type", b"subtype"]);
    match (kind, subtype) {
        (b"\"assistant\"" | b"\"user\"" | b"\"stream_event\"", _) => Due::Later,
        (b"\"system\"", b"\"init\"") => Due::Begins,
        (b"\"system\"", b"\"api_retry\"") => Due::Later,
        _ => Due::Now,
    }
}

impl Lines {
    /// A reader of qwen's lines: claude's shape, with words of its own for an error.
    pub fn qwen() -> Self {
        Self {
            qwen: true,
            ..Self::default()
        }
    }

    /// Appends what a line with these members says.
    pub fn read(&mut self, members: Walk<'_>, facts: &mut Vec<Fact>) {
        self.line(&Object::Quick(members), facts);
    }

    /// Appends what any line says.
    pub fn read_slowly(&mut self, line: &[u8], facts: &mut Vec<Fact>) {
        if let Some(members) = slowly(line) {
            self.line(&Object::Slow(members), facts);
        }
    }

    fn line(&mut self, line: &Object<'_>, facts: &mut Vec<Fact>) {
        match line.one(b"type").word().as_ref() {
            b"assistant" => self.assistant(&line.read(), facts),
            b"user" => self.user(&line.read(), facts),
            b"stream_event" => stream_event(&line.read(), facts),
            b"system" => self.system(&line.read(), facts),
            b"rate_limit_event" => {
                let line: RateLimitEvent<'_> = line.read();
                let limit: RateLimit<'_> = object(line.rate_limit_info).unwrap_or_default();
                facts.push(Fact::Limit {
                    status: limit.status.owned().unwrap_or_default(),
                    resets_at: limit.resets_at.number(),
                    kind: limit.rate_limit_type.owned(),
                });
            }
            b"result" => facts.push(Fact::Result(Box::new(self.result(&line.read())))),
            _ => {}
        }
    }

    fn assistant(&mut self, line: &Assistant<'_>, facts: &mut Vec<Fact>) {
        let sub = line.parent_tool_use_id.text().is_some();
        let message: Message<'_> = object(line.message).unwrap_or_default();
        // A message that claude made up to tell an error is no part of the answer.
        let error = line.error.text();
        each(message.content, |block| {
            let Some(block) = object::<Block<'_>>(block) else {
                return;
            };
            match block.kind.word().as_ref() {
                b"text" => {
                    let Some(text) = block.text.into_string() else { return };
                    facts.push(match &error {
                        Some(error) => Fact::Trouble(format!("{error}: {text}")),
                        None => Fact::Text { text, sub },
                    });
                }
                b"thinking" | b"redacted_thinking" => facts.push(Fact::Thinking),
                b"tool_use" => {
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
        });
        if line.aborted.is_true() {
            facts.push(Fact::Trouble("interrupted".to_owned()));
        }
        if let (Some(id), Some(usage)) = (message.id.owned(), usage(message.usage)) {
            facts.push(Fact::Usage { message: id, usage });
        }
    }

    fn user(&mut self, line: &User<'_>, facts: &mut Vec<Fact>) {
        let message: Message<'_> = object(line.message).unwrap_or_default();
        each(message.content, |block| {
            let Some(block) = object::<Block<'_>>(block) else {
                return;
            };
            if block.kind.word() == &b"tool_result"[..] {
                let id = block.tool_use_id.owned().unwrap_or_default();
                let error = block.is_error.is_true();
                let tasks = self.tasks.answered(&id, error, line.tool_use_result);
                facts.push(Fact::ToolEnd { id, error });
                facts.extend(tasks.map(Fact::Tasks));
            }
        });
    }

    fn system(&mut self, line: &System<'_>, facts: &mut Vec<Fact>) {
        match line.subtype.word().as_ref() {
            b"init" => facts.push(Fact::Init {
                session: line.session_id.owned(),
                model: line.model.owned(),
            }),
            b"api_retry" => {
                let error = line.error.text().unwrap_or(Cow::Borrowed("error"));
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
            b"permission_denied" => facts.push(Fact::Denied {
                tool: line.tool_name.owned().unwrap_or_default(),
            }),
            // The set is told as a whole; versions that tell only the single steps have the same end.
            b"background_tasks_changed" => {
                self.background.clear();
                each(line.tasks, |task| {
                    if self.background.len() < MANY {
                        let task: Background<'_> = object(task).unwrap_or_default();
                        self.background.extend(entry(task.task_id, task.description));
                    }
                });
                facts.push(self.open());
            }
            b"task_started" if line.is_backgrounded.is_true() && self.background.len() < MANY => {
                self.background.extend(entry(line.task_id, line.description));
                facts.push(self.open());
            }
            b"task_updated" | b"task_notification" => {
                let patch: Background<'_> = object(line.patch).unwrap_or_default();
                let status = patch.status.text().or(line.status.text());
                let ended = !matches!(status.as_deref(), None | Some("running" | "pending" | "in_progress"));
                if ended
                    && let Some(id) = line.task_id.text()
                    && self.background.remove(short(&id)).is_some()
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

    fn result(&self, line: &Outcome<'_>) -> ResultFact {
        let mut errors: Vec<String> = Vec::new();
        each(line.errors, |error| errors.extend(error.into_string()));
        let text = line.result.into_string();
        // qwen calls an API error a success.
        let told = self.qwen && text.as_ref().is_some_and(|text| text.starts_with("[API Error:"));
        let named = || text.as_deref().filter(|_| told).and_then(http_status);
        let api_status = line.api_error_status.count().or_else(named);
        let mut denials = Vec::new();
        each(line.permission_denials, |denial| {
            denials.extend(object::<Denial<'_>>(denial).and_then(|denial| denial.tool_name.into_string()));
        });
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
            denials,
            queued: line.queued_turn_count.count().unwrap_or(0),
        }
    }
}

fn stream_event(line: &StreamEvent<'_>, facts: &mut Vec<Fact>) {
    // A sub-agent's pieces are nobody's answer; its finished blocks tell that it is at work.
    if line.parent_tool_use_id.text().is_some() {
        return;
    }
    let event: Event<'_> = object(line.event).unwrap_or_default();
    match event.kind.word().as_ref() {
        b"content_block_delta" => {
            let delta: Delta<'_> = object(event.delta).unwrap_or_default();
            match delta.kind.word().as_ref() {
                b"text_delta" => facts.extend(delta.text.into_string().map(|text| Fact::Delta { text, only: false })),
                b"thinking_delta" => facts.push(Fact::Thinking),
                _ => {}
            }
        }
        b"message_start" => {
            let message: Message<'_> = object(event.message).unwrap_or_default();
            if let (Some(message), Some(usage)) = (message.id.owned(), usage(message.usage)) {
                facts.push(Fact::Usage { message, usage });
            }
        }
        b"message_delta" => {
            if let (Some(message), Some(usage)) = (line.api_message_id.owned(), usage(event.usage)) {
                facts.push(Fact::Usage { message, usage });
            }
        }
        _ => {}
    }
}

fn entry(id: Part<'_>, description: Part<'_>) -> Option<(String, String)> {
    let id = id.owned()?;
    let description = description.text().filter(|text| !text.is_empty());
    Some((short(&id).to_owned(), brief(description.as_deref().unwrap_or(&id))))
}

/// What all models together have cost since the result before.
fn step(models: Part<'_>) -> Option<f64> {
    let mut costs = BTreeMap::new();
    let mut sound = true;
    sound &= pairs(models, |model, usage| {
        let usage = object::<ModelUsage<'_>>(usage);
        sound &= usage.is_some();
        costs.insert(model, usage.and_then(|usage| usage.cost.number()));
    });
    sound.then(|| costs.into_values().flatten().sum())
}

fn usage(tokens: Part<'_>) -> Option<Usage> {
    let tokens: Tokens<'_> = object(tokens)?;
    let count = |member: Part<'_>| member.count().unwrap_or(0);
    Some(Usage {
        input: count(tokens.input_tokens),
        output: count(tokens.output_tokens),
        cache_read: count(tokens.cache_read_input_tokens),
        cache_write: count(tokens.cache_creation_input_tokens),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_counts_once_however_its_name_is_written() {
        let step = |text: &str| step(Part::of(text.as_bytes()));
        assert_eq!(
            step(r#"{"a/b":{"costUSD":1},"c":{"costUSD":2},"a\/b":{"costUSD":4}}"#),
            Some(6.0)
        );
        assert_eq!(step(r#"{"a":{"costUSD":1},"b":5}"#), None);
        assert_eq!(step("{}"), Some(0.0));
    }
}
