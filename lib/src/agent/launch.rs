//! How each agent is started: its argv for what was asked, in its own words.
//!
//! The prompt is never in an argv, where others could read it and 128 KB is the end: each of these commands reads it
//! from stdin, to its end. (An open pipe without end makes most of them hang; a file does not.)

use super::Kind;
use nix::sys::signal::Signal;
use std::ffi::OsString;

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
            args: Vec::new(),
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
            Kind::Codex => push(
                "config",
                &format!("developer_instructions={}", serde_json::json!(system)),
            ),
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
    argv.extend(ask.args.iter().cloned());
    if ask.agent == Kind::Codex {
        argv.push("-".into());
    }
    Ok(Launch { argv })
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
