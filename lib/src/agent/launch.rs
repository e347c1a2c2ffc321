//! How each agent is started: its argv for what was asked, in its own words.
//!
//! The prompt is never in an argv, where others could read it and 128 KB is the end: each of these commands reads it
//! from stdin, to its end. (An open pipe without end makes most of them hang; a file does not.)

use super::Kind;
use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};
use std::ffi::OsString;

/// The conversation that a start belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Session {
    /// A new one, under whatever id the agent chooses.
    #[default]
    Unnamed,
    /// A new one under this id.
    New(String),
    /// An earlier one goes on.
    Resumed(String),
    /// A copy of an earlier one goes on.
    Forked {
        /// The earlier one.
        of: String,
        /// The copy's id, where the agent takes one.
        id: Option<String>,
    },
}

impl Session {
    /// The id under which it will run, where that is known before the start.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Unnamed => None,
            Self::New(id) | Self::Resumed(id) => Some(id),
            Self::Forked { id, .. } => id.as_deref(),
        }
    }
}

/// What is asked of an agent, whichever it is.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which agent.
    pub agent: Kind,
    /// The model, by the agent's own name for it.
    pub model: Option<String>,
    /// The tools it may use, without being asked, as a comma list in its own names; an empty list is none at all.
    pub tools: Option<String>,
    /// What to put behind the agent's own system prompt.
    pub system: Option<String>,
    /// Whether to write the answer token by token.
    pub partial: bool,
    /// The conversation.
    pub session: Session,
    /// Whether it stays, and takes one message after another on its stdin (see [`message`]).
    pub keep: bool,
    /// Further arguments, as they are.
    pub args: Vec<OsString>,
}

impl Ask {
    /// Asks that agent for nothing but its ordinary answer.
    pub fn new(agent: Kind) -> Self {
        Self {
            agent,
            model: None,
            tools: None,
            system: None,
            partial: false,
            session: Session::Unnamed,
            keep: false,
            args: Vec::new(),
        }
    }

    /// Leaves out tools, system prompt and pieces where the agent has no word for them, and tells why each time: for
    /// what was not asked of this agent by its name.
    #[must_use]
    pub fn as_far_as_known(self, mut tell: impl FnMut(&str)) -> Self {
        let agent = self.agent;
        let mut knows = |part: Self| match command(&part) {
            Ok(_) => true,
            Err(why) => {
                tell(&why);
                false
            }
        };
        Self {
            tools: self.tools.filter(|tools| {
                knows(Self {
                    tools: Some(tools.clone()),
                    ..Self::new(agent)
                })
            }),
            system: self.system.filter(|system| {
                knows(Self {
                    system: Some(system.clone()),
                    ..Self::new(agent)
                })
            }),
            partial: self.partial
                && knows(Self {
                    partial: true,
                    ..Self::new(agent)
                }),
            ..self
        }
    }
}

/// How an agent is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program, to be found on PATH, and its arguments. It reads the prompt from stdin.
    pub argv: Vec<OsString>,
}

/// The command line for what is asked.
///
/// # Errors
/// Names the option that this agent has no word for, so that none is ignored in silence.
pub fn command(ask: &Ask) -> Result<Launch, String> {
    let agent = ask.agent.as_str();
    let no_word = |option: &str, instead: &str| Err(format!("{option}: {agent} has no word for it{instead}"));
    let mut argv: Vec<OsString> = match ask.agent {
        Kind::Claude => words(&["claude", "-p", "--output-format", "stream-json", "--verbose"]),
        Kind::Codex => words(&["codex", "exec", "--json", "--color", "never"]),
        // Without `-p` and a terminal they are headless all the same; with `-p` there must be a text in argv.
        Kind::Gemini => words(&["gemini", "--output-format", "stream-json"]),
        Kind::Qwen => words(&["qwen", "--output-format", "stream-json"]),
        Kind::Opencode => words(&["opencode", "run", "--format", "json"]),
        Kind::Plain => return Err("plain: no agent to start; give a COMMAND behind --".to_owned()),
    };
    // One word each, with `=`: what a value begins with never makes it an option.
    let mut push = |option: &str, value: &str| argv.push(format!("--{option}={value}").into());
    if let Some(model) = &ask.model {
        push("model", model);
    }
    if let Some(tools) = &ask.tools {
        match ask.agent {
            Kind::Claude => {
                // What there is goes by name; what needs no permission may be narrowed, as `Bash(git *)`.
                push("tools", &names(tools));
                push("allowedTools", tools);
            }
            // A few that only help with other tools stay whatever is listed, so there is no way to say "none".
            Kind::Qwen if !tools.trim().is_empty() => {
                push("core-tools", tools);
                push("allowed-tools", tools);
            }
            Kind::Qwen => return no_word("--tools ''", ""),
            Kind::Gemini => return no_word("--tools", "; write a policy file and give --arg=--policy=FILE"),
            Kind::Codex => return no_word("--tools", "; --arg=--sandbox=read-only limits what its commands may do"),
            Kind::Opencode | Kind::Plain => return no_word("--tools", "; define an agent and give --arg=--agent=NAME"),
        }
    }
    if let Some(system) = &ask.system {
        match ask.agent {
            Kind::Claude | Kind::Qwen => push("append-system-prompt", system),
            // A JSON string is a TOML string.
            Kind::Codex => push("config", &format!("developer_instructions={}", json!(system))),
            _ => return no_word("--system", "; put it into the prompt"),
        }
    }
    if ask.partial {
        match ask.agent {
            Kind::Claude | Kind::Qwen => argv.push("--include-partial-messages".into()),
            // Writes its messages in pieces whether asked or not.
            Kind::Gemini => {}
            _ => return no_word("--partial", ""),
        }
    }
    if ask.keep {
        if !ask.agent.takes_messages() {
            return no_word("--keep", "");
        }
        argv.push("--input-format=stream-json".into());
    }
    argv.extend(session(ask)?);
    argv.extend(ask.args.iter().cloned());
    if ask.agent == Kind::Codex {
        match &ask.session {
            Session::Resumed(id) => argv.extend(words(&["resume", id])),
            Session::Forked { of, .. } => argv.extend(words(&["fork", of])),
            Session::Unnamed | Session::New(_) => {}
        }
        argv.push("-".into());
    }
    Ok(Launch { argv })
}

/// The options that name the conversation.
fn session(ask: &Ask) -> Result<Vec<OsString>, String> {
    let agent = ask.agent.as_str();
    let no_word = |option: &str, instead: &str| Err(format!("{option}: {agent} has no word for it{instead}"));
    let id = match &ask.session {
        Session::Unnamed => return Ok(Vec::new()),
        Session::New(id) | Session::Resumed(id) | Session::Forked { of: id, .. } => id,
    };
    // It may stand as a word of its own, which must not be taken for an option.
    if id.is_empty() || id.starts_with('-') {
        return Err(format!("session '{id}': that is no session's id"));
    }
    let options = match (&ask.session, ask.agent) {
        (Session::Unnamed, _) | (_, Kind::Plain) => Vec::new(),
        (Session::New(id), agent) if agent.takes_session_id() => vec![format!("--session-id={id}")],
        (Session::New(_), _) => return no_word("--session", "; it chooses its own, and exit tells it"),
        (Session::Resumed(id), Kind::Claude | Kind::Gemini | Kind::Qwen) => vec![format!("--resume={id}")],
        (Session::Resumed(id), Kind::Opencode) => vec![format!("--session={id}")],
        (Session::Forked { of, id }, Kind::Claude) => {
            let id = id.iter().map(|id| format!("--session-id={id}"));
            [format!("--resume={of}"), "--fork-session".to_owned()]
                .into_iter()
                .chain(id)
                .collect()
        }
        (Session::Forked { of, .. }, Kind::Opencode) => vec![format!("--session={of}"), "--fork".to_owned()],
        (Session::Forked { .. }, Kind::Gemini | Kind::Qwen) => return no_word("--fork", ""),
        // A subcommand of its own.
        (Session::Resumed(_) | Session::Forked { .. }, Kind::Codex) => Vec::new(),
    };
    Ok(options.into_iter().map(OsString::from).collect())
}

/// One prompt as the line that a kept agent takes: its own message as it is, any other line as a message's text.
pub fn message(prompt: &str) -> String {
    let own = serde_json::from_str::<Map<String, Value>>(prompt)
        .is_ok_and(|message| message.get("type").is_some_and(|kind| kind == "user") && message.contains_key("message"));
    if own {
        return prompt.to_owned();
    }
    json!({"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": prompt}]}}).to_string()
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A list of tools by their bare names: `Bash(git *),Read` as `Bash,Read`. A comma inside parentheses parts nothing.
fn names(tools: &str) -> String {
    let mut depth = 0u32;
    let keep = tools.chars().filter(|&c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    });
    keep.collect()
}

impl Kind {
    /// The signal that the stop ladder begins with: the gentlest one after which this worker ends tidily.
    pub fn first_signal(self) -> Signal {
        match self {
            // claude writes its result, codex closes its session.
            Self::Claude | Self::Codex => Signal::SIGINT,
            Self::Gemini | Self::Qwen | Self::Opencode | Self::Plain => Signal::SIGTERM,
        }
    }

    /// Whether it can be told under which id to begin a conversation.
    pub fn takes_session_id(self) -> bool {
        matches!(self, Self::Claude | Self::Gemini | Self::Qwen)
    }

    /// Whether it can stay for one message after another.
    pub fn takes_messages(self) -> bool {
        matches!(self, Self::Claude | Self::Qwen)
    }

    /// Whether arguments of the user's own say already which conversation it is.
    pub fn names_session(self, args: &[OsString]) -> bool {
        let named = |arg: &OsString| {
            let arg = arg.to_string_lossy();
            let word = arg.split('=').next().unwrap_or_default();
            [
                "-r",
                "-c",
                "--resume",
                "--continue",
                "--session-id",
                "--session-file",
                "--no-session-persistence",
                "--chat-recording",
            ]
            .contains(&word)
        };
        self.takes_session_id() && args.iter().any(named)
    }

    /// The stop ladder below SIGKILL, as signal numbers, the gentlest first.
    pub fn ladder(self) -> Vec<i32> {
        let mut ladder = vec![self.first_signal() as i32, Signal::SIGTERM as i32];
        ladder.dedup();
        ladder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(ask: &Ask) -> String {
        let argv = command(ask).unwrap().argv;
        let words: Vec<_> = argv.iter().map(|word| word.to_str().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn claude_in_full() {
        let ask = Ask {
            model: Some("opus".into()),
            tools: Some("Read,Bash(git log, x)".into()),
            system: Some("--be brief".into()),
            partial: true,
            args: vec!["--max-turns=3".into()],
            ..Ask::new(Kind::Claude)
        };
        assert_eq!(
            argv(&ask),
            "claude -p --output-format stream-json --verbose --model=opus --tools=Read,Bash \
             --allowedTools=Read,Bash(git log, x) --append-system-prompt=--be brief --include-partial-messages --max-turns=3"
        );
        let none = Ask {
            tools: Some(String::new()),
            ..Ask::new(Kind::Claude)
        };
        assert!(argv(&none).ends_with("--tools= --allowedTools="));
    }

    #[test]
    fn the_prompt_is_never_in_it() {
        for (agent, expected) in [
            (Kind::Codex, "codex exec --json --color never --model=m -s ro -"),
            (Kind::Gemini, "gemini --output-format stream-json --model=m -s ro"),
            (Kind::Qwen, "qwen --output-format stream-json --model=m -s ro"),
            (Kind::Opencode, "opencode run --format json --model=m -s ro"),
        ] {
            let ask = Ask {
                model: Some("m".into()),
                args: vec!["-s".into(), "ro".into()],
                ..Ask::new(agent)
            };
            assert_eq!(argv(&ask), expected);
        }
    }

    #[test]
    fn each_names_a_conversation_in_its_own_words() {
        let of = |agent, session| {
            argv(&Ask {
                session,
                ..Ask::new(agent)
            })
        };
        let (new, resumed) = (Session::New("u".into()), Session::Resumed("u".into()));
        let forked = |id: Option<&str>| Session::Forked {
            of: "u".into(),
            id: id.map(str::to_owned),
        };
        for agent in [Kind::Claude, Kind::Gemini, Kind::Qwen] {
            assert!(of(agent, new.clone()).ends_with(" --session-id=u"));
            assert!(of(agent, resumed.clone()).ends_with(" --resume=u"));
        }
        assert!(of(Kind::Claude, forked(Some("v"))).ends_with(" --resume=u --fork-session --session-id=v"));
        assert!(of(Kind::Codex, resumed.clone()).ends_with(" resume u -"));
        assert!(of(Kind::Codex, forked(None)).ends_with(" fork u -"));
        assert!(of(Kind::Opencode, resumed).ends_with(" --session=u"));
        assert!(of(Kind::Opencode, forked(None)).ends_with(" --session=u --fork"));
        for (agent, session) in [
            (Kind::Codex, new.clone()),
            (Kind::Opencode, new),
            (Kind::Gemini, forked(None)),
            (Kind::Codex, Session::Resumed("--last".into())),
        ] {
            assert!(
                command(&Ask {
                    session,
                    ..Ask::new(agent)
                })
                .is_err()
            );
        }
        assert!(Kind::Claude.names_session(&["--resume=x".into()]));
        assert!(!Kind::Claude.names_session(&["--restricted".into()]));
    }

    #[test]
    fn a_prompt_becomes_a_message() {
        let own = r#"{"type":"user","message":{"role":"user","content":"x"}}"#;
        assert_eq!(message(own), own);
        let made = message("say \"hi\"");
        assert!(made.contains(r#""text":"say \"hi\"""#), "{made}");
        let told: Value = serde_json::from_str(&message(r#"{"a":1}"#)).unwrap();
        assert_eq!(told["message"]["content"][0]["text"], r#"{"a":1}"#);
    }

    #[test]
    fn a_system_prompt_for_codex_is_a_toml_string() {
        let ask = Ask {
            system: Some("say \"hi\"\n".into()),
            ..Ask::new(Kind::Codex)
        };
        assert_eq!(
            argv(&ask),
            r#"codex exec --json --color never --config=developer_instructions="say \"hi\"\n" -"#
        );
    }

    #[test]
    fn no_option_is_ignored_in_silence() {
        let tools = |agent| Ask {
            tools: Some("Read".into()),
            ..Ask::new(agent)
        };
        let system = |agent| Ask {
            system: Some("x".into()),
            ..Ask::new(agent)
        };
        let partial = |agent| Ask {
            partial: true,
            ..Ask::new(agent)
        };
        for ask in [
            tools(Kind::Codex),
            tools(Kind::Gemini),
            tools(Kind::Opencode),
            system(Kind::Gemini),
            system(Kind::Opencode),
            partial(Kind::Codex),
            partial(Kind::Opencode),
            Ask::new(Kind::Plain),
        ] {
            assert!(command(&ask).is_err(), "{ask:?}");
        }
        assert_eq!(
            command(&system(Kind::Gemini)).unwrap_err(),
            "--system: gemini has no word for it; put it into the prompt"
        );
    }
}
