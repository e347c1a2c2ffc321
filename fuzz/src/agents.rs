//! Each agent's lines.

use super::lines;
use harmony::agent::{Account, Fact, Kind, Reader};

/// claude's.
pub fn claude(data: &[u8]) {
    agent(Kind::Claude, data);
}

/// codex's.
pub fn codex(data: &[u8]) {
    agent(Kind::Codex, data);
}

/// gemini's.
pub fn gemini(data: &[u8]) {
    agent(Kind::Gemini, data);
}

/// qwen's.
pub fn qwen(data: &[u8]) {
    agent(Kind::Qwen, data);
}

/// opencode's.
pub fn opencode(data: &[u8]) {
    agent(Kind::Opencode, data);
}

/// Whatever comes, it is read, and what is kept of it does not grow with how often it comes.
fn agent(kind: Kind, data: &[u8]) {
    let mut reader = Reader::new(kind);
    let mut account = Account::default();
    let mut facts: Vec<Fact> = Vec::new();
    let mut told = 0;
    for round in 0..3 {
        for (line, _) in lines(data) {
            let _ = Kind::of_line(line);
            reader.read(line, &mut facts);
            for fact in facts.drain(..) {
                account.add(&fact);
                told += text_of(&fact);
            }
        }
        if round == 1 {
            let _ = account.turn();
        }
    }
    let exit = account.exit();
    let answer = exit.text.as_ref().map_or(0, String::len);
    assert!(answer <= told, "nothing is answered that was not said");
    assert!(exit.denials.len() <= 1000);
    assert!(serde_json::to_vec(&exit).is_ok());
    let mut next = Account::default();
    next.resume(&account);
}

/// How much an answer may hold of a fact, with what stands between two.
fn text_of(fact: &Fact) -> usize {
    match fact {
        Fact::Text { text, .. } | Fact::Delta { text, .. } => text.len() + 2,
        Fact::Result(result) => result.text.as_ref().map_or(0, String::len) + 2,
        _ => 2,
    }
}
