//! What a stream is to do, once those before it have ended: the command of its cl-spawn, and what stands on its stdin.

use harmony::cli::reason;
use harmony::plan::{Fate, Graph, Place, Plan, Stream, fill};
use harmony::role::Roles;
use harmony::run::exit_of;
use harmony::sink::Folder;
use harmony::state::State;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a stream is to do.
#[derive(Debug)]
pub struct Work {
    /// The arguments of its cl-spawn.
    pub args: Vec<String>,
    /// What stands on its stdin.
    pub stdin: Option<String>,
    /// What it is asked and how, and what it builds on, in short.
    pub key: String,
}

/// What all streams of a run share.
pub struct Works<'a> {
    /// The run's folder.
    pub run: &'a Path,
    /// The same, open.
    pub folder: &'a Folder,
    /// The roles in force.
    pub roles: &'a Roles,
}

impl Works<'_> {
    /// What a stream is to do. `tree` is its worktree, `keys` are those of the streams that have ended.
    ///
    /// # Errors
    /// In a few words, what keeps a template from being filled.
    pub fn of(
        &self,
        plan: &Plan,
        graph: &Graph,
        at: usize,
        fates: &[Fate],
        keys: &[Option<String>],
        tree: Option<&Path>,
    ) -> Result<Work, String> {
        let stream = &plan.streams[at];
        let filled = |template: &str| self.filled(template, plan, graph, fates, tree);
        let asks = match &stream.prompt {
            Some(template) => Some(filled(template)?),
            // The plan's own prompt is no template.
            None => plan.asks(stream).map(str::to_owned),
        };
        let agent = stream.run.is_empty();
        let mut args = vec![stream.name.clone()];
        args.extend(plan.settings(stream).options());
        if let Some(tree) = tree {
            args.push(format!("--cwd={}", tree.display()));
        }
        if !agent && asks.is_some() {
            args.push("--stdin=inherit".to_owned());
        }
        let command = stream
            .run
            .iter()
            .map(|template| filled(template))
            .collect::<Result<Vec<_>, _>>()?;
        if !agent {
            args.push("--".to_owned());
            args.extend(command);
        }
        let mut key = Key::default();
        args.iter().for_each(|arg| key.add(arg));
        key.add(asks.as_deref().unwrap_or("\u{0}"));
        if let Some(role) = plan.role(stream, self.roles) {
            key.add(&format!("{role:?}"));
        }
        for &other in graph.after(at) {
            let speaker = graph.speaker(other, fates);
            key.add(keys[speaker].as_deref().unwrap_or_default());
        }
        if agent {
            // Where a role's frame finds the answers that it builds on.
            args.insert(1, format!("--run={}", self.run.display()));
        }
        Ok(Work {
            args,
            stdin: asks.or_else(|| agent.then(String::new)),
            key: key.told(),
        })
    }

    /// What takes back what a stream did.
    ///
    /// # Errors
    /// As [`Works::of`].
    pub fn undo(&self, plan: &Plan, graph: &Graph, at: usize, tree: Option<&Path>) -> Result<Vec<String>, String> {
        // Whose answers are asked for has ended; who stood in for whom is of no account any more.
        let fates = vec![Fate::Well; plan.streams.len()];
        let undo = plan.streams[at].undo.iter();
        undo.map(|template| self.filled(template, plan, graph, &fates, tree))
            .collect()
    }

    fn filled(
        &self,
        template: &str,
        plan: &Plan,
        graph: &Graph,
        fates: &[Fate],
        tree: Option<&Path>,
    ) -> Result<String, String> {
        fill(template, str::to_owned, |place| match place {
            Place::Prompt => Ok(plan.prompt.clone().unwrap_or_default()),
            Place::Worktree => Ok(tree.map(|tree| tree.display().to_string()).unwrap_or_default()),
            Place::File(path) => read_text(Path::new(path)).map_err(|error| format!("{path}: {}", reason(&error))),
            Place::Text(name) => self.answer(plan, graph, fates, name),
        })
        .map_err(|error| error.to_string())
    }

    /// A stream's answer, or that of the one in its place; empty where there is none.
    fn answer(&self, plan: &Plan, graph: &Graph, fates: &[Fate], name: &str) -> Result<String, String> {
        let Some(at) = plan.streams.iter().position(|stream| stream.name == name) else {
            return Ok(String::new());
        };
        let Stream { name, .. } = &plan.streams[graph.speaker(at, fates)];
        let text = match self.folder.read(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("the answer of {name}: {}", reason(&error))),
            Ok(file) => answer_of(&file, name).map_err(|error| format!("the answer of {name}: {}", reason(&error)))?,
        };
        // As in a shell's $( ), what ends the last line is no part of it.
        Ok(text.unwrap_or_default().trim_end_matches('\n').to_owned())
    }
}

/// A file as text, without line feeds at its end.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// The answer that a stream's file holds.
fn answer_of(file: &File, name: &str) -> io::Result<Option<String>> {
    // Mostly its end tells it.
    if let Some(text) = exit_of(file, name)?.and_then(|exit| exit.text) {
        return Ok(Some(text));
    }
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    let mut state = State::default();
    for line in bytes.split(|&byte| byte == b'\n') {
        state.line(line);
    }
    Ok(state.get(name).and_then(harmony::state::Stream::answer))
}

/// A key: FNV-1a of 128 bits, which is the same for ever.
struct Key(u128);

impl Default for Key {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Key {
    /// Adds a text, and that it ends.
    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }

    fn told(&self) -> String {
        format!("{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_standard() {
        let mut key = Key::default();
        key.0 = (key.0 ^ u128::from(b'a')).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        assert_eq!(key.told(), "d228cb696f1a8caf78912b704e4a8964");
        let of = |texts: &[&str]| {
            let mut key = Key::default();
            texts.iter().for_each(|text| key.add(text));
            key.0
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    }
}
