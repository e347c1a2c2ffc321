//! Templates: `{{prompt}}`, `{{streams.NAME.text}}`, `{{file:PATH}}`.
//!
//! What is filled in is never looked at again, so an answer that holds braces stays as it is.

/// A place in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot<'a> {
    /// The prompt.
    Prompt,
    /// Another stream's answer.
    Text(&'a str),
    /// A file's content.
    File(&'a str),
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

/// The places of a template, in their order.
///
/// # Errors
/// Names a place that is none, or one that is not closed.
pub fn slots(template: &str) -> Result<Vec<Slot<'_>>, TemplateError> {
    let mut all = Vec::new();
    parts(template, |part| {
        if let Part::Slot(slot) = part {
            all.push(slot);
        }
        Ok(())
    })?;
    Ok(all)
}

/// Fills a template.
///
/// # Errors
/// As [`slots`], and what `content` says of a place that cannot be filled.
pub fn fill(
    template: &str,
    mut content: impl FnMut(Slot<'_>) -> Result<String, String>,
) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(template.len());
    parts(template, |part| {
        match part {
            Part::Plain(text) => filled.push_str(text),
            Part::Slot(slot) => filled.push_str(&content(slot).map_err(TemplateError)?),
        }
        Ok(())
    })?;
    Ok(filled)
}

enum Part<'a> {
    Plain(&'a str),
    Slot(Slot<'a>),
}

fn parts<'a>(
    template: &'a str,
    mut each: impl FnMut(Part<'a>) -> Result<(), TemplateError>,
) -> Result<(), TemplateError> {
    pieces(template, |piece| match piece {
        Piece::Plain(text) => each(Part::Plain(text)),
        Piece::Name(name) => match slot(name) {
            Some(slot) => each(Part::Slot(slot)),
            None => Err(TemplateError::no_place(name, " or {{file:PATH}}")),
        },
    })
}

/// A part of a template, whoever knows its places.
pub(crate) enum Piece<'a> {
    /// As it is.
    Plain(&'a str),
    /// What stands between the braces.
    Name(&'a str),
}

/// Cuts a template into its parts.
pub(crate) fn pieces<'a>(
    template: &'a str,
    mut each: impl FnMut(Piece<'a>) -> Result<(), TemplateError>,
) -> Result<(), TemplateError> {
    let mut rest = template;
    while let Some(open) = rest.find("{{") {
        each(Piece::Plain(&rest[..open]))?;
        let inside = &rest[open + 2..];
        let close = inside
            .find("}}")
            .ok_or_else(|| TemplateError("'{{' without '}}'".to_owned()))?;
        each(Piece::Name(inside[..close].trim()))?;
        rest = &inside[close + 2..];
    }
    each(Piece::Plain(rest))
}

impl TemplateError {
    /// A place that is none; the last of those that are.
    pub(crate) fn no_place(name: &str, last: &str) -> Self {
        let name = name.escape_default();
        Self(format!(
            "{{{{{name}}}}}: write {{{{prompt}}}}, {{{{streams.NAME.text}}}}{last}"
        ))
    }

    /// What somebody who fills a template says.
    pub(crate) fn said(text: String) -> Self {
        Self(text)
    }
}

/// The place of that name, where it is one.
pub(crate) fn slot(name: &str) -> Option<Slot<'_>> {
    let stream = || name.strip_prefix("streams.")?.strip_suffix(".text");
    if name == "prompt" {
        Some(Slot::Prompt)
    } else if let Some(path) = name.strip_prefix("file:") {
        Some(Slot::File(path.trim()))
    } else {
        stream()
            .filter(|stream| crate::line::Name::new(stream).is_ok())
            .map(Slot::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_once() {
        let filled = fill("a {{prompt}} b {{ streams.x/y.text }}{{file:p q}}.", |slot| {
            Ok(match slot {
                Slot::Prompt => "{{file:/etc/passwd}}".to_owned(),
                Slot::Text(name) => format!("<{name}>"),
                Slot::File(path) => format!("[{path}]"),
            })
        });
        assert_eq!(filled.unwrap(), "a {{file:/etc/passwd}} b <x/y>[p q].");
    }

    #[test]
    fn what_is_no_place_is_named() {
        assert_eq!(
            slots("{{promt}}").unwrap_err().to_string(),
            "{{promt}}: write {{prompt}}, {{streams.NAME.text}} or {{file:PATH}}"
        );
        assert!(slots("x {{prompt").is_err());
        assert!(slots("{{streams.../.text}}").is_err());
        assert_eq!(
            fill("{{prompt}}", |_| Err("none".to_owned())).unwrap_err().to_string(),
            "none"
        );
        assert_eq!(slots("{ } }} {").unwrap(), []);
    }
}
