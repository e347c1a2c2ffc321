//! Conversations that an agent keeps on disk.

use super::Kind;
use std::ffi::OsString;
use std::path::PathBuf;

/// Whether an agent has kept a conversation that it could resume; `None` when we cannot tell. `value` gives a variable
/// of the agent's environment.
pub fn is_kept(agent: Kind, session: &str, value: impl Fn(&str) -> Option<OsString>) -> Option<bool> {
    if agent != Kind::Claude || session.contains('/') {
        return None;
    }
    let folder = value("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(value("HOME")?).join(".claude")))?;
    // A folder for each folder it was ever started in.
    let projects = folder.join("projects").read_dir().ok()?;
    let file = format!("{session}.jsonl");
    Some(projects.flatten().any(|project| project.path().join(&file).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claude_keeps_a_file_for_each() {
        let home = tempfile::tempdir().unwrap();
        let known = |session: &str| {
            let home = home.path().as_os_str().to_owned();
            is_kept(Kind::Claude, session, move |name| {
                (name == "HOME").then(|| home.clone())
            })
        };
        assert_eq!(known("u"), None);
        let project = home.path().join(".claude/projects/-srv-demo");
        std::fs::create_dir_all(&project).unwrap();
        assert_eq!(known("u"), Some(false));
        std::fs::write(project.join("u.jsonl"), "").unwrap();
        assert_eq!(known("u"), Some(true));
        assert_eq!(is_kept(Kind::Codex, "u", |_| None), None);
    }
}
