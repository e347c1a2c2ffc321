//! Roles: named sets of cl-spawn's options with a prompt frame.
//!
//! A role is made of layers: the built-in ones, the user's files, the command line. A later layer wins, key by key.

mod auto;
mod template;

pub use auto::{Choice, choose};
pub(crate) use template::{Piece, pieces, slot};
pub use template::{Slot, TemplateError, fill, slots};

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a role says; what is absent it leaves open.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Role {
    /// The set it belongs to.
    pub set: Option<String>,
    /// What it does, in a few words.
    pub about: Option<String>,
    /// The frame around the prompt.
    pub prompt: Option<String>,
    /// Who plays it, as `--agent` takes it.
    pub agent: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The tools it may use; an empty list is none.
    pub tools: Option<Vec<String>>,
    /// What is added to the system prompt.
    pub system: Option<String>,
    /// 1 first; gives the niceness.
    pub priority: Option<u32>,
    /// Limits, as the options of the same name take them.
    pub timeout: Option<String>,
    /// Without a sign of life.
    pub idle: Option<String>,
    /// After the last result.
    pub linger: Option<String>,
    /// Whether to ask for the answer token by token.
    pub partial: Option<bool>,
    /// Further attempts.
    pub retries: Option<u32>,
    /// How long to wait before the first of them.
    pub backoff: Option<String>,
    /// Who is asked once they are used up, as `--fallback` takes it.
    pub fallback: Option<Vec<String>>,
}

/// Why roles cannot be read: the file, the place, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RoleError(String);

/// A role in force, and the layers it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What it says.
    pub role: Role,
    /// Where that comes from, the earliest layer first; `built-in` for our own.
    pub from: Vec<String>,
}

/// All roles in force.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    known: BTreeMap<String, Known>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    role: BTreeMap<String, Role>,
}

impl Role {
    /// Lays `over` on top: what it says wins, what it leaves open stays.
    pub fn layer(&mut self, over: Self) {
        macro_rules! later_wins {
            ($($key:ident)*) => { $( if over.$key.is_some() { self.$key = over.$key; } )* };
        }
        later_wins!(set about prompt agent model tools system priority timeout idle linger partial retries backoff fallback);
    }

    /// The niceness that goes with the priority: 0, 5, 10, 15.
    pub fn nice(&self) -> Option<i32> {
        self.priority.map(|priority| (priority.clamp(1, 4) as i32 - 1) * 5)
    }

    /// What is wrong with it, if anything.
    fn check(&self, name: &str) -> Result<(), String> {
        let limits = [
            ("timeout", &self.timeout),
            ("idle", &self.idle),
            ("linger", &self.linger),
            ("backoff", &self.backoff),
        ];
        for (key, limit) in limits {
            if let Some(limit) = limit {
                crate::units::duration(limit).map_err(|error| format!("role.{name}.{key}: {error}"))?;
            }
        }
        if self.priority.is_some_and(|priority| !(1..=4).contains(&priority)) {
            return Err(format!("role.{name}.priority: choose 1 (first) to 4"));
        }
        if let Some(prompt) = &self.prompt {
            slots(prompt).map_err(|error| format!("role.{name}.prompt: {error}"))?;
        }
        Ok(())
    }
}

impl Roles {
    /// The roles that every installation has.
    ///
    /// # Panics
    /// Never: a test reads them.
    pub fn builtin() -> Self {
        let mut roles = Self::default();
        roles
            .add(include_str!("builtin.toml"), "built-in")
            .expect("the built-in roles are read by a test");
        roles
    }

    /// All layers: built-in, the user's, the folder's, and a named file.
    ///
    /// # Errors
    /// When a file that is there cannot be read as roles, or the named one is not there.
    pub fn load(named: Option<&Path>) -> Result<Self, RoleError> {
        let mut roles = Self::builtin();
        for path in config_files() {
            match read(&path) {
                Ok((_, true)) if path.is_relative() => {
                    if named.is_none() {
                        let path = path.display();
                        return Err(RoleError(format!(
                            "{path}: other users may write it, and roles say what an agent may do; \
                             use it by --config {path}, if you trust it"
                        )));
                    }
                }
                Ok((text, _)) => roles.add(&text, &path.display().to_string())?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(RoleError(format!("{}: {}", path.display(), crate::cli::reason(&error)))),
            }
        }
        if let Some(path) = named {
            let text = std::fs::read_to_string(path)
                .map_err(|error| RoleError(format!("{}: {}", path.display(), crate::cli::reason(&error))))?;
            roles.add(&text, &path.display().to_string())?;
        }
        Ok(roles)
    }

    /// Lays a file's roles over what is there.
    ///
    /// # Errors
    /// Names the file, the place in it, and what is wrong.
    pub fn add(&mut self, text: &str, from: &str) -> Result<(), RoleError> {
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            RoleError(format!("{from}:{line}: {}", error.message().replace('\n', " ")))
        })?;
        for (name, role) in document.role {
            role.check(&name)
                .map_err(|error| RoleError(format!("{from}: {error}")))?;
            let known = self.known.entry(name).or_insert_with(|| Known {
                role: Role::default(),
                from: Vec::new(),
            });
            known.role.layer(role);
            known.from.push(from.to_owned());
        }
        Ok(())
    }

    /// A role by its name, or by its set and name as `specialists.validation`.
    pub fn get(&self, name: &str) -> Option<&Known> {
        self.known.get(name).or_else(|| {
            let (set, role) = name.split_once('.')?;
            self.known
                .get(role)
                .filter(|known| known.role.set.as_deref() == Some(set))
        })
    }

    /// All roles, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.known.iter().map(|(name, known)| (name.as_str(), known))
    }
}

/// A file's text, and whether somebody else wrote it, or may.
fn read(path: &Path) -> std::io::Result<(String, bool)> {
    let mut file = std::fs::File::open(path)?;
    let meta = file.metadata()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let us = nix::unistd::geteuid().as_raw();
    Ok((text, is_foreign(meta.uid(), meta.mode(), us)))
}

/// Whether a file may hold another user's words; root's are everybody's.
fn is_foreign(owner: u32, mode: u32, us: u32) -> bool {
    (owner != us && owner != 0) || mode & 0o002 != 0
}

/// Where users keep roles: their own, and this folder's.
fn config_files() -> Vec<PathBuf> {
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    home.map(|home| home.join("cl/roles.toml"))
        .into_iter()
        .chain([PathBuf::from("cl.toml")])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ones_are_all_there() {
        let roles = Roles::builtin();
        let sets: BTreeMap<&str, Vec<&str>> = roles.iter().fold(BTreeMap::new(), |mut sets, (name, known)| {
            sets.entry(known.role.set.as_deref().unwrap())
                .or_insert_with(Vec::new)
                .push(name);
            sets
        });
        assert_eq!(sets["orchestra"], ["context", "main", "suggestions", "validation"]);
        assert_eq!(sets["ensemble"], ["advisor", "analyst", "critic", "soloist"]);
        assert_eq!(
            sets["specialists"],
            ["code-analysis", "documentation", "execution", "specialists.validation"]
        );
        assert_eq!(
            sets["crew"],
            ["bugfix", "codegen", "docs", "meta", "perf", "refactor", "test"]
        );
        assert_eq!(sets["progressive"], ["complete", "enhanced", "quick"]);
        assert!(
            roles
                .iter()
                .all(|(_, known)| known.role.about.is_some() && known.role.prompt.is_some())
        );
        assert_eq!(roles.get("orchestra.context").unwrap().role.nice(), Some(5));
        assert_eq!(
            roles
                .get("specialists.validation")
                .unwrap()
                .role
                .tools
                .as_deref()
                .unwrap(),
            ["Bash", "Read"]
        );
        assert!(roles.get("crew.main").is_none());
    }

    #[test]
    fn whose_words() {
        assert!(!is_foreign(1000, 0o664, 1000) && !is_foreign(0, 0o644, 1000) && !is_foreign(0, 0o600, 0));
        assert!(is_foreign(1001, 0o644, 1000) && is_foreign(1000, 0o666, 1000) && is_foreign(1000, 0o644, 0));
    }

    #[test]
    fn later_layers_win_key_by_key() {
        let mut roles = Roles::builtin();
        roles
            .add("[role.main]\ntimeout = '20s'\n[role.mine]\nagent = 'codex'\n", "a.toml")
            .unwrap();
        let main = roles.get("main").unwrap();
        assert_eq!(main.role.timeout.as_deref(), Some("20s"));
        assert_eq!(main.role.prompt.as_deref(), Some("{{prompt}}"));
        assert_eq!(main.from, ["built-in", "a.toml"]);
        assert_eq!(roles.get("mine").unwrap().from, ["a.toml"]);
    }

    #[test]
    fn errors_name_the_place() {
        let error = |text: &str| Roles::default().add(text, "f.toml").unwrap_err().to_string();
        assert!(
            error("[role.x]\n\nprmopt = 'y'").starts_with("f.toml:3: unknown field `prmopt`"),
            "{}",
            error("[role.x]\n\nprmopt = 'y'")
        );
        assert!(error("[role.x").starts_with("f.toml:1: "));
        assert_eq!(
            error("[role.x]\ntimeout = 'soon'"),
            "f.toml: role.x.timeout: 'soon' is no duration: write seconds, or 500ms, 1.5s, 2m, 1h30m"
        );
        assert!(error("[role.x]\npriority = 9").contains("choose 1 (first) to 4"));
        assert!(error("[role.x]\nprompt = '{{nope}}'").contains("role.x.prompt"));
    }
}
