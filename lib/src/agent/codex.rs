//! The lines of `codex exec --json`.

use super::soft::{Part, Soft, brief, list, part, short};
use super::status::http_status;
use super::{Fact, ResultFact, TaskState};
use crate::line::Usage;
use serde::Deserialize;

/// More tools than are at work at once.
const MANY: usize = 1000;

/// Reads codex's lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// The tools that have begun and not ended, by item id.
    open: Vec<String>,
    in_turn: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Soft<'a>,
    #[serde(borrow)]
    thread_id: Soft<'a>,
    #[serde(borrow)]
    item: Part<'a>,
    #[serde(borrow)]
    message: Soft<'a>,
    #[serde(borrow)]
    error: Part<'a>,
    #[serde(borrow)]
    usage: Part<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item<'a> {
    #[serde(borrow)]
    id: Soft<'a>,
    #[serde(borrow, rename = "type")]
    kind: Soft<'a>,
    #[serde(borrow)]
    text: Soft<'a>,
    #[serde(borrow)]
    message: Soft<'a>,
    #[serde(borrow)]
    command: Soft<'a>,
    #[serde(borrow)]
    changes: Part<'a>,
    #[serde(borrow)]
    query: Soft<'a>,
    #[serde(borrow)]
    server: Soft<'a>,
    #[serde(borrow)]
    tool: Soft<'a>,
    #[serde(borrow)]
    status: Soft<'a>,
    #[serde(borrow)]
    items: Part<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Change<'a> {
    #[serde(borrow)]
    path: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Todo<'a> {
    #[serde(borrow)]
    text: Soft<'a>,
    #[serde(borrow)]
    completed: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    message: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens<'a> {
    #[serde(borrow)]
    input_tokens: Soft<'a>,
    #[serde(borrow)]
    cached_input_tokens: Soft<'a>,
    #[serde(borrow)]
    cache_write_input_tokens: Soft<'a>,
    #[serde(borrow)]
    output_tokens: Soft<'a>,
}

impl Lines {
    /// Appends what one line says.
    pub fn read(&mut self, line: &[u8], facts: &mut Vec<Fact>) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            return;
        };
        match line.kind.text() {
            Some("thread.started") => self.init(line.thread_id.owned(), facts),
            Some("turn.started") if !self.in_turn => self.init(None, facts),
            Some("item.started" | "item.updated") => self.item(line.item, false, facts),
            Some("item.completed") => self.item(line.item, true, facts),
            Some("error") => {
                let text = line.message.text().unwrap_or_default();
                facts.push(retry(text).unwrap_or_else(|| Fact::Trouble(text.to_owned())));
            }
            Some("turn.completed") => {
                self.in_turn = false;
                facts.push(Fact::Result(Box::new(ResultFact {
                    subtype: "turn.completed".to_owned(),
                    usage: usage(line.usage),
                    ..ResultFact::default()
                })));
            }
            Some("turn.failed") => {
                self.in_turn = false;
                let error: Message<'_> = part(line.error).unwrap_or_default();
                facts.push(Fact::Result(Box::new(ResultFact {
                    error: true,
                    subtype: "turn.failed".to_owned(),
                    api_status: error.message.text().and_then(http_status),
                    text: error.message.into_string(),
                    ..ResultFact::default()
                })));
            }
            _ => {}
        }
    }

    fn init(&mut self, session: Option<String>, facts: &mut Vec<Fact>) {
        self.in_turn = true;
        facts.push(Fact::Init { session, model: None });
    }

    fn item(&mut self, item: Part<'_>, ended: bool, facts: &mut Vec<Fact>) {
        let item: Item<'_> = part(item).unwrap_or_default();
        let (name, what) = match item.kind.text() {
            Some("agent_message") => {
                if ended {
                    facts.extend(item.text.into_string().map(|text| Fact::Text { text, sub: false }));
                }
                return;
            }
            Some("reasoning") => return facts.push(Fact::Thinking),
            Some("error") => return facts.extend(item.message.owned().map(Fact::Trouble)),
            Some("todo_list") => {
                let state = |done| if done { TaskState::Done } else { TaskState::Pending };
                let tasks = list::<Todo<'_>>(item.items).into_iter();
                let tasks = tasks.map(|todo| {
                    let state = state(todo.completed.is_true());
                    (todo.text.into_string().unwrap_or_default(), state)
                });
                return facts.push(Fact::Tasks(tasks.collect()));
            }
            Some("command_execution") => ("command".to_owned(), brief(item.command.text().unwrap_or_default())),
            Some("file_change") => {
                let paths: Vec<String> = list::<Change<'_>>(item.changes)
                    .into_iter()
                    .filter_map(|change| change.path.into_string())
                    .collect();
                ("file_change".to_owned(), brief(&paths.join(", ")))
            }
            Some("web_search") => ("web_search".to_owned(), brief(item.query.text().unwrap_or_default())),
            Some("mcp_tool_call") => (
                item.tool.owned().unwrap_or_default(),
                brief(item.server.text().unwrap_or_default()),
            ),
            _ => return,
        };
        let id = short(item.id.text().unwrap_or_default()).to_owned();
        let begun = self.open.iter().position(|open| *open == id);
        // Some tools are told only once they have ended.
        if begun.is_none() {
            let id = id.clone();
            let name = name.clone();
            facts.push(Fact::ToolStart { id, name, what });
        }
        match (ended, begun) {
            (true, at) => {
                at.map(|at| self.open.swap_remove(at));
                match item.status.text() {
                    Some("declined") => facts.push(Fact::Denied { tool: name }),
                    status => {
                        let error = status == Some("failed");
                        facts.push(Fact::ToolEnd { id, error });
                    }
                }
            }
            (false, None) if self.open.len() < MANY => self.open.push(id),
            (false, _) => {}
        }
    }
}

/// `Reconnecting... 2/5 (why)`.
fn retry(text: &str) -> Option<Fact> {
    let rest = text.strip_prefix("Reconnecting")?.trim_start_matches(['.', '…', ' ']);
    let (count, because) = rest.split_once(' ').unwrap_or((rest, ""));
    let (attempt, max) = count.split_once('/')?;
    Some(Fact::Retry {
        attempt: attempt.parse().ok()?,
        max: max.parse().ok(),
        delay: 0.0,
        because: because.trim_start_matches('(').trim_end_matches(')').to_owned(),
    })
}

fn usage(tokens: Part<'_>) -> Option<Usage> {
    let tokens: Tokens<'_> = part(tokens)?;
    let count = |member: Soft<'_>| member.count().unwrap_or(0);
    let cached = count(tokens.cached_input_tokens);
    Some(Usage {
        // codex counts what came from the cache as input, too.
        input: count(tokens.input_tokens).saturating_sub(cached),
        output: count(tokens.output_tokens),
        cache_read: cached,
        cache_write: count(tokens.cache_write_input_tokens),
    })
}
