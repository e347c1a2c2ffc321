//! The small languages: templates, durations, sizes, names, patterns, sources, a task's words.

use harmony::line::{Glob, Name};
use harmony::role::{Slot, choose, fill, slots};
use harmony::{source, units};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Any text as each of them.
pub fn words(data: &[u8]) {
    let _ = source::parse(OsStr::from_bytes(data));
    let text = &*String::from_utf8_lossy(data);
    template(text);
    if let Ok(duration) = units::duration(text) {
        let _ = units::brief(duration);
        // What a clock is added to.
        let _ = Duration::ZERO.saturating_add(duration);
    }
    if let Ok(size) = units::size(text) {
        assert!(size > 0);
    }
    match Name::new(text) {
        Ok(name) => assert!(name.as_str() == text && !text.contains("..//") && !text.starts_with('/')),
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
    let near = Name::near(text);
    assert!(Name::new(near.as_str()).is_ok());
    if let Ok(glob) = text.parse::<Glob>() {
        let _ = (glob.matches(text), glob.matches("a/b"));
    }
    assert!(!choose(text).role.is_empty());
}

fn template(text: &str) {
    let found = slots(text);
    let filled = fill(text, |slot| {
        Ok(match slot {
            Slot::Prompt => "{{prompt}}".to_owned(),
            Slot::Text(stream) => {
                assert!(Name::new(stream).is_ok());
                stream.to_owned()
            }
            Slot::File(path) => path.to_owned(),
        })
    });
    assert_eq!(found.is_ok(), filled.is_ok());
    match (found, filled) {
        (Ok(slots), Ok(filled)) if slots.is_empty() => assert_eq!(filled, text),
        (Err(error), _) => assert!(!error.to_string().contains(char::is_control)),
        _ => {}
    }
}
