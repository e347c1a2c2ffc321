//! What templates name, and the frames of the roles that are played.

use super::{Check, replays};
use crate::plan::{Graph, Place, Plan, Worktree, places};
use crate::role::{Slot, slots};

impl Check<'_> {
    /// Looks at all templates. Without a graph, which a plan with a circle has not, who comes before whom is left out.
    pub(super) fn templates(&mut self, graph: Option<&Graph>) {
        for at in 0..self.plan.streams.len() {
            self.templates_of(graph, at);
        }
    }

    /// Each template, with the role's frame, and the streams they name.
    fn templates_of(&mut self, graph: Option<&Graph>, at: usize) {
        let plan = self.plan;
        let stream = &plan.streams[at];
        let prompt = stream.prompt.as_deref().map(|prompt| ("prompt", prompt));
        let run = stream.run.iter().map(|arg| ("run", arg.as_str()));
        let undo = stream.undo.iter().map(|arg| ("undo", arg.as_str()));
        for (key, template) in prompt.into_iter().chain(run).chain(undo) {
            match places(template) {
                Err(error) => self.key(stream, key, error.to_string()),
                Ok(places) => places.into_iter().for_each(|place| self.slot(graph, at, key, place)),
            }
        }
        let Some(frame) = plan.role(stream, self.roles).and_then(|role| role.prompt.as_deref()) else {
            return;
        };
        if !stream.run.is_empty() || replays(&plan.settings(stream)) {
            return;
        }
        for slot in slots(frame).unwrap_or_default() {
            if let Slot::Text(name) = slot
                && !plan.get(name).is_some_and(|_| leads(plan, graph, name, at))
            {
                let what = format!("it builds on the answer of '{name}': let the stream be after one of that name");
                self.key(stream, "role", what);
            }
        }
    }

    fn slot(&mut self, graph: Option<&Graph>, at: usize, key: &str, place: Place<'_>) {
        let plan = self.plan;
        let stream = &plan.streams[at];
        let what = match place {
            Place::Prompt if plan.prompt.is_none() => {
                "{{prompt}}: the plan has none; give it prompt = \"...\"".to_owned()
            }
            Place::Worktree if !matches!(plan.settings(stream).worktree, Some(Worktree::Own | Worktree::At(_))) => {
                "{{worktree}}: the stream has none; give it worktree = true".to_owned()
            }
            Place::Text(name) if name == stream.name && key == "undo" => return,
            Place::Text(name) if plan.get(name).is_none() => {
                format!("{{{{streams.{name}.text}}}}: {}", self.no_stream(name))
            }
            Place::Text(name) if !leads(plan, graph, name, at) => {
                format!(
                    "{{{{streams.{name}.text}}}}: {} is not after {name}; add \"{name}\" to its after",
                    stream.name
                )
            }
            Place::File("") => "{{file:PATH}}: which file?".to_owned(),
            _ => return,
        };
        self.key(stream, key, what);
    }
}

/// Whether a stream of that name comes before another one. In a circle everybody does.
fn leads(plan: &Plan, graph: Option<&Graph>, name: &str, to: usize) -> bool {
    let from = plan.streams.iter().position(|stream| stream.name == name);
    from.is_some_and(|from| graph.is_none_or(|graph| graph.leads(from, to)))
}
