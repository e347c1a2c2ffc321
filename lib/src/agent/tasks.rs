//! The task list that an agent keeps by its tools: `TodoWrite` replaces it, `TaskCreate` and `TaskUpdate` change it.
//!
//! A change counts only once its tool has answered: a tool that does not exist, or is refused, changes nothing.

use super::TaskState;
use super::soft::{Part, Soft, brief, list, part, short};
use serde::Deserialize;

/// More tasks, or more open questions, than any list that a person could read.
const MANY: usize = 1000;

/// The list, and the changes that are asked for.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    list: Vec<Task>,
    created: u64,
    asked: Vec<(String, Change)>,
}

#[derive(Debug)]
struct Task {
    id: String,
    what: String,
    state: TaskState,
}

#[derive(Debug)]
enum Change {
    Replace(Vec<Task>),
    Create(String),
    Update {
        id: String,
        what: Option<String>,
        state: Option<TaskState>,
        gone: bool,
    },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Input<'a> {
    #[serde(borrow)]
    todos: Part<'a>,
    #[serde(borrow)]
    subject: Soft<'a>,
    #[serde(borrow, rename = "taskId")]
    task_id: Soft<'a>,
    #[serde(borrow)]
    status: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Todo<'a> {
    #[serde(borrow)]
    id: Soft<'a>,
    #[serde(borrow)]
    content: Soft<'a>,
    #[serde(borrow)]
    status: Soft<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    #[serde(borrow)]
    task: Part<'a>,
}

impl Tasks {
    /// A tool is called; remembers the change it asks for.
    pub(super) fn asked(&mut self, call: &str, tool: &str, input: Part<'_>) {
        let input: Input<'_> = match tool {
            "TodoWrite" | "todo_write" | "TaskCreate" | "TaskUpdate" => part(input).unwrap_or_default(),
            _ => return,
        };
        let change = match tool {
            "TaskCreate" => Change::Create(brief(input.subject.text().unwrap_or_default())),
            "TaskUpdate" => Change::Update {
                id: id(&input.task_id),
                what: input.subject.owned().map(|what| brief(&what)),
                state: input.status.text().and_then(state),
                gone: input.status.text() == Some("deleted"),
            },
            _ => Change::Replace(list::<Todo<'_>>(input.todos).into_iter().take(MANY).map(task).collect()),
        };
        if self.asked.len() < MANY {
            self.asked.push((short(call).to_owned(), change));
        }
    }

    /// A tool has answered; the list, where that changed it.
    pub(super) fn answered(&mut self, call: &str, error: bool, answer: Part<'_>) -> Option<Vec<(String, TaskState)>> {
        let at = self.asked.iter().position(|(asked, _)| asked == short(call))?;
        let (_, change) = self.asked.swap_remove(at);
        if error {
            return None;
        }
        match change {
            Change::Replace(list) => self.list = list,
            Change::Create(what) => {
                self.created += 1;
                // The answer names the new task; where it does not, tasks are numbered from 1.
                let answer: Answer<'_> = part(answer).unwrap_or_default();
                let told: Todo<'_> = part(answer.task).unwrap_or_default();
                let told = id(&told.id);
                let id = if told.is_empty() {
                    self.created.to_string()
                } else {
                    told
                };
                if self.list.len() < MANY {
                    let state = TaskState::Pending;
                    self.list.push(Task { id, what, state });
                }
            }
            Change::Update { id, gone: true, .. } => self.list.retain(|task| task.id != id),
            Change::Update { id, what, state, .. } => {
                let task = self.list.iter_mut().find(|task| task.id == id)?;
                task.state = state.unwrap_or(task.state);
                task.what = what.unwrap_or_else(|| std::mem::take(&mut task.what));
            }
        }
        Some(self.list.iter().map(|task| (task.what.clone(), task.state)).collect())
    }
}

fn task(todo: Todo<'_>) -> Task {
    Task {
        id: id(&todo.id),
        state: todo.status.text().and_then(state).unwrap_or(TaskState::Pending),
        what: brief(todo.content.text().unwrap_or_default()),
    }
}

/// An id, which is a text in one version and a number in another.
fn id(member: &Soft<'_>) -> String {
    match member.count() {
        Some(number) => number.to_string(),
        None => short(member.text().unwrap_or_default()).to_owned(),
    }
}

fn state(word: &str) -> Option<TaskState> {
    match word {
        "pending" => Some(TaskState::Pending),
        "in_progress" => Some(TaskState::Active),
        "completed" => Some(TaskState::Done),
        _ => None,
    }
}
