//! Which agent a line comes from.

use super::Kind;
use super::soft::{Part, Soft};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Soft<'a>,
    #[serde(borrow)]
    subtype: Soft<'a>,
    #[serde(borrow)]
    session_id: Soft<'a>,
    #[serde(borrow)]
    model: Soft<'a>,
    #[serde(borrow)]
    qwen_code_version: Soft<'a>,
    #[serde(borrow)]
    timestamp: Soft<'a>,
    #[serde(borrow)]
    thread_id: Soft<'a>,
    #[serde(borrow, rename = "sessionID")]
    opencode_session: Soft<'a>,
    #[serde(borrow)]
    part: Part<'a>,
    #[serde(borrow)]
    error: Part<'a>,
}

/// The agent whose line this is.
pub(super) fn kind(line: &[u8]) -> Option<Kind> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let has = |member: &Soft<'_>| member.text().is_some();
    match line.kind.text()? {
        "thread.started" if has(&line.thread_id) => Some(Kind::Codex),
        "init" if has(&line.session_id) && has(&line.model) && has(&line.timestamp) => Some(Kind::Gemini),
        "step_start" | "text" | "tool_use" | "step_finish" | "error"
            if has(&line.opencode_session) && (line.part.is_some() || line.error.is_some()) =>
        {
            Some(Kind::Opencode)
        }
        // Both write `system` first; only its `init` tells them apart.
        "system" if has(&line.qwen_code_version) => Some(Kind::Qwen),
        "system" | "result" if has(&line.session_id) && has(&line.subtype) => Some(Kind::Claude),
        "assistant" | "user" | "stream_event" | "rate_limit_event" if has(&line.session_id) => Some(Kind::Claude),
        _ => None,
    }
}
