//! One limit, all wait: what one stream learns of an account's usage limit or refused key, the others that are
//! started on their own by the same user heed before their next start.
//!
//! A small file for each account in a folder of the user's own; no daemon. A file that is stale harms nobody: a limit
//! ends with its time; a refused key with a new login, another environment, a start that succeeds, or when a person
//! says so, and once a minute one start may try whether it still holds.

use crate::agent::Kind;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::DefaultHasher;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A limit that ends later than this from now, in seconds, is somebody's mistake, or a clock's.
pub(crate) const LONGEST: f64 = 8.0 * 86400.0;

/// After a key was refused, so long nobody tries it again.
const TRY_AGAIN: f64 = 60.0;

/// Whose limit it is: an agent, as one program, in an environment that says which account it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    agent: Kind,
    key: u64,
    /// Where a login puts its key.
    login: Option<PathBuf>,
}

impl Account {
    /// The account that an agent finds in an environment.
    pub fn new<'a>(
        agent: Kind,
        program: &[PathBuf],
        variables: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    ) -> Self {
        let decides = |name: &OsStr| {
            let name = name.to_string_lossy();
            name == "HOME" || beginnings(agent).iter().any(|beginning| name.starts_with(beginning))
        };
        let mut relevant: Vec<_> = variables.into_iter().filter(|(name, _)| decides(name)).collect();
        relevant.sort_unstable();
        let mut hasher = DefaultHasher::new();
        (agent.as_str(), program, &relevant).hash(&mut hasher);
        let value = |wanted: &str| {
            let found = relevant.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| PathBuf::from(value))
        };
        Self {
            agent,
            key: hasher.finish(),
            login: login(agent, value),
        }
    }

    /// The account in our own environment with changes (`None` removes), for a command that PATH finds.
    pub fn of_launch(agent: Kind, argv: &[OsString], changes: &[(OsString, Option<OsString>)]) -> Self {
        let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        for (name, value) in changes {
            variables.retain(|(known, _)| known != name);
            variables.extend(value.clone().map(|value| (name.clone(), value)));
        }
        let path = variables.iter().find(|(name, _)| name == "PATH");
        let folders = path
            .map(|(_, path)| std::env::split_paths(path).collect())
            .unwrap_or_default();
        Self::new(
            agent,
            &program(agent, argv, folders),
            variables
                .iter()
                .map(|(name, value)| (name.as_os_str(), value.as_os_str())),
        )
    }
}

impl Account {
    fn logged_in_after(&self, since: f64) -> bool {
        let changed = self.login.as_ref().and_then(|file| fs::metadata(file).ok());
        changed.is_some_and(|file| file.mtime() as f64 > since)
    }
}

/// What makes a command the agent that it is: the program; and where that is not the agent's own, but one that may play
/// any, the files and scripts that it is given.
fn program(agent: Kind, argv: &[OsString], folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let name = PathBuf::from(argv.first().cloned().unwrap_or_default());
    let in_folders = folders.iter().map(|folder| folder.join(&name));
    let found = std::iter::once(name.clone())
        .filter(|name| name.components().count() > 1)
        .chain(in_folders)
        .find_map(|path| fs::canonicalize(path).ok());
    let own = Kind::of_command(&name) == Some(agent);
    let script = |arg: &&OsString| !own && (arg.to_string_lossy().contains(' ') || Path::new(arg).is_file());
    let scripts = argv.iter().skip(1).filter(script).map(PathBuf::from);
    std::iter::once(found.unwrap_or(name)).chain(scripts).collect()
}

/// The file that a login writes, by the values of variables.
fn login(agent: Kind, value: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let home = |path: &str| value("HOME").map(|home| home.join(path));
    let of = |variable: &str, file: &str, otherwise: &str| {
        let folder = value(variable).map(|folder| folder.join(file));
        folder.or_else(|| home(otherwise))
    };
    match agent {
        Kind::Claude => of("CLAUDE_CONFIG_DIR", ".credentials.json", ".claude/.credentials.json"),
        Kind::Codex => of("CODEX_HOME", "auth.json", ".codex/auth.json"),
        Kind::Gemini => home(".gemini/oauth_creds.json"),
        Kind::Qwen => home(".qwen/oauth_creds.json"),
        Kind::Opencode => of("XDG_DATA_HOME", "opencode/auth.json", ".local/share/opencode/auth.json"),
        Kind::Plain => None,
    }
}

/// What the names of the variables begin with that decide on an agent's account.
fn beginnings(agent: Kind) -> &'static [&'static str] {
    match agent {
        Kind::Claude => &[
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "ANTHROPIC_BASE_URL",
            "CLAUDE_CONFIG_DIR",
            "CLAUDE_CODE_OAUTH",
            "CLAUDE_CODE_USE_",
        ],
        Kind::Codex => &["CODEX_", "OPENAI_API_KEY", "OPENAI_BASE_URL"],
        Kind::Gemini => &["GEMINI_", "GOOGLE_"],
        Kind::Qwen => &["QWEN_", "OPENAI_API_KEY", "OPENAI_BASE_URL", "DASHSCOPE_"],
        Kind::Opencode => &[
            "OPENCODE_",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "ANTHROPIC_API_KEY",
            "OPENAI_API_KEY",
        ],
        Kind::Plain => &[],
    }
}

/// Why starts of an account wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "lowercase")]
pub enum Hold {
    /// A usage limit holds until then (Unix seconds).
    Limit {
        /// Until when.
        resets_at: f64,
        /// Which stream met it.
        stream: String,
    },
    /// The key was not accepted.
    Auth {
        /// Since when (Unix seconds).
        since: f64,
        /// Which stream met it.
        stream: String,
    },
}

/// The folder where holds are told.
#[derive(Debug, Clone)]
pub struct Holds {
    folder: PathBuf,
}

impl Holds {
    /// The user's own folder: `$XDG_RUNTIME_DIR/cl`, else one of ours in the folder for temporary files.
    ///
    /// # Errors
    /// When there is none that is ours alone; then nothing is told and nothing heeded.
    pub fn open() -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let uid = nix::unistd::getuid().as_raw();
        let folder = match runtime {
            Some(runtime) if runtime.is_dir() => runtime.join("cl"),
            _ => std::env::temp_dir().join(format!("cl-{uid}")),
        };
        Self::at(folder)
    }

    /// A certain folder, made if it is missing.
    ///
    /// # Errors
    /// When it cannot be made, or others may write in it.
    pub fn at(folder: PathBuf) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let meta = fs::symlink_metadata(&folder)?;
        if !meta.is_dir() || meta.uid() != nix::unistd::getuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the folder is not ours alone",
            ));
        }
        Ok(Self { folder })
    }

    /// The folder, to be watched for changes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is told of an account at a time, if it still holds.
    pub fn read(&self, account: &Account, now: f64) -> Option<Hold> {
        let hold = serde_json::from_slice(&fs::read(self.file(account)).ok()?).ok()?;
        match hold {
            Hold::Limit { resets_at, .. } => (resets_at > now && resets_at < now + LONGEST).then_some(hold),
            Hold::Auth { since, .. } => (since <= now && !account.logged_in_after(since)).then_some(hold),
        }
    }

    /// What holds an account's next start at a time. Of those who ask when it was long enough that a key was refused,
    /// one is let through to try it.
    pub fn check(&self, account: &Account, now: f64) -> Option<Hold> {
        let hold = self.read(account, now)?;
        let tried = |hold: &Hold| matches!(hold, Hold::Auth { since, .. } if since + TRY_AGAIN <= now);
        if !tried(&hold) {
            return Some(hold);
        }
        // Who cannot have the lock leaves the trying to who has it.
        let Ok(lock) = self.lock(account) else {
            return Some(hold);
        };
        match self.read(account, now)? {
            Hold::Auth { since, stream } if since + TRY_AGAIN <= now => {
                let renewed = Hold::Auth { since: now, stream };
                // Whether or not it can be told: this one tries.
                let _ = self.write(account, &renewed);
                drop(lock);
                None
            }
            hold => Some(hold),
        }
    }

    /// Tells a hold, in place of what was told before; only a limit that ends later stays.
    ///
    /// # Errors
    /// What keeps the file from being written.
    pub fn tell(&self, account: &Account, hold: &Hold, now: f64) -> io::Result<()> {
        let _lock = self.lock(account);
        if let (Some(Hold::Limit { resets_at: known, .. }), Hold::Limit { resets_at, .. }) =
            (self.read(account, now), hold)
            && known >= *resets_at
        {
            return Ok(());
        }
        self.write(account, hold)
    }

    fn write(&self, account: &Account, hold: &Hold) -> io::Result<()> {
        let target = self.file(account);
        let fresh = target.with_extension(format!("{}.new", std::process::id()));
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&serde_json::to_vec(hold)?)?;
        fs::rename(fresh, target)
    }

    /// The file that tells an account's hold: to remove it ends the hold.
    pub fn file(&self, account: &Account) -> PathBuf {
        self.folder
            .join(format!("{}-{:016x}.json", account.agent.as_str(), account.key))
    }

    /// Ends whatever holds an account.
    ///
    /// # Errors
    /// What keeps the file from being removed; that there is none is no error.
    pub fn release(&self, account: &Account) -> io::Result<()> {
        let _lock = self.lock(account);
        match fs::remove_file(self.file(account)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn lock(&self, account: &Account) -> io::Result<Flock<File>> {
        let path = self.file(account).with_extension("lock");
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        // It is held for an instant; a holder that is stopped in it shall not stop us, too.
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(home: &str, key: &str) -> Account {
        let variables = [("HOME", home), ("ANTHROPIC_API_KEY", key), ("EDITOR", "vi")];
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (OsStr::new(name), OsStr::new(value)))
            .collect();
        Account::new(Kind::Claude, &["/bin/claude".into()], variables)
    }

    fn limit(resets_at: f64) -> Hold {
        Hold::Limit {
            resets_at,
            stream: "main".to_owned(),
        }
    }

    #[test]
    fn told_heeded_and_over() {
        let folder = tempfile::tempdir().unwrap();
        let holds = Holds::at(folder.path().join("cl")).unwrap();
        let (mine, other) = (account("/h", "k"), account("/h", "k2"));
        assert_eq!(holds.read(&mine, 100.0), None);
        holds.tell(&mine, &limit(120.0), 100.0).unwrap();
        holds.tell(&mine, &limit(110.0), 100.0).unwrap();
        assert_eq!(holds.read(&mine, 100.0), Some(limit(120.0)));
        assert_eq!(holds.read(&mine, 120.0), None);
        assert_eq!(holds.read(&other, 100.0), None);
        let auth = Hold::Auth {
            since: 130.0,
            stream: "b".to_owned(),
        };
        holds.tell(&mine, &auth, 130.0).unwrap();
        assert_eq!(holds.check(&mine, 150.0), Some(auth));
        assert_eq!(holds.check(&mine, 200.0), None, "one tries");
        assert!(holds.check(&mine, 201.0).is_some(), "the others wait for it");
        holds.release(&mine).unwrap();
        holds.release(&mine).unwrap();
        assert_eq!(holds.read(&mine, 130.0), None);
    }

    #[test]
    fn a_login_ends_the_hold_of_a_refused_key() {
        let folder = tempfile::tempdir().unwrap();
        let holds = Holds::at(folder.path().join("cl")).unwrap();
        let mine = account(folder.path().to_str().unwrap(), "k");
        let auth = Hold::Auth {
            since: 130.0,
            stream: "b".to_owned(),
        };
        holds.tell(&mine, &auth, 130.0).unwrap();
        assert!(holds.read(&mine, 131.0).is_some());
        fs::create_dir(folder.path().join(".claude")).unwrap();
        fs::write(folder.path().join(".claude/.credentials.json"), "{}").unwrap();
        assert_eq!(holds.read(&mine, 131.0), None);
    }

    #[test]
    fn nonsense_harms_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let holds = Holds::at(folder.path().join("cl")).unwrap();
        let mine = account("/h", "k");
        for nonsense in [
            "",
            "{",
            r#"{"hold":"other"}"#,
            r#"{"hold":"limit","resets_at":9e99,"stream":"x"}"#,
        ] {
            fs::write(holds.file(&mine), nonsense).unwrap();
            assert_eq!(holds.read(&mine, 100.0), None, "{nonsense}");
        }
    }

    #[test]
    fn only_a_folder_of_our_own() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Holds::at(open.clone()).is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(Holds::at(link).is_err());
    }
}
