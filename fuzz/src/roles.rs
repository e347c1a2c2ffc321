//! Role files.

use harmony::role::{Roles, fill};

/// Any text as a role file: it is read or refused in one line, and what is read can be used.
pub fn roles(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut roles = Roles::builtin();
    if let Err(error) = roles.add(text, "f") {
        let error = error.to_string();
        assert!(!error.contains('\n') && error.starts_with("f:"), "{error:?}");
    }
    for (name, known) in roles.iter() {
        let _ = (roles.get(name), known.role.nice());
        if let Some(prompt) = &known.role.prompt {
            assert!(fill(prompt, |_| Ok(String::new())).is_ok(), "its frame was looked at");
        }
    }
}
