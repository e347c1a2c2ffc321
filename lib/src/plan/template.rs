//! A plan's templates: a role's places, and `{{worktree}}`.

use crate::role::{Piece, Slot, TemplateError, pieces, slot};

/// A place in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// The plan's prompt.
    Prompt,
    /// Another stream's answer.
    Text(&'a str),
    /// A file's content.
    File(&'a str),
    /// The folder of the stream's worktree.
    Worktree,
}

/// The places of a template, in their order.
///
/// # Errors
/// Names a place that is none, or one that is not closed.
pub fn places(template: &str) -> Result<Vec<Place<'_>>, TemplateError> {
    let mut all = Vec::new();
    pieces(template, |piece| {
        if let Piece::Name(name) = piece {
            all.push(place(name)?);
        }
        Ok(())
    })?;
    Ok(all)
}

/// Fills a template; `plain` says what becomes of the text in between, `content` what goes into a place. What was
/// filled in is never looked at again.
///
/// # Errors
/// As [`places`], and what `content` says of a place that cannot be filled.
pub fn fill(
    template: &str,
    plain: impl Fn(&str) -> String,
    mut content: impl FnMut(Place<'_>) -> Result<String, String>,
) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(template.len());
    pieces(template, |piece| {
        filled += &match piece {
            Piece::Plain(text) => plain(text),
            Piece::Name(name) => content(place(name)?).map_err(TemplateError::said)?,
        };
        Ok(())
    })?;
    Ok(filled)
}

fn place(name: &str) -> Result<Place<'_>, TemplateError> {
    match slot(name) {
        Some(Slot::Prompt) => Ok(Place::Prompt),
        Some(Slot::Text(stream)) => Ok(Place::Text(stream)),
        Some(Slot::File(path)) => Ok(Place::File(path)),
        None if name == "worktree" => Ok(Place::Worktree),
        None => Err(TemplateError::no_place(name, ", {{file:PATH}} or {{worktree}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worktree_is_a_place() {
        let filled = fill("rm {{worktree}} {{prompt}}", str::to_uppercase, |place| match place {
            Place::Worktree => Ok("{{prompt}}".to_owned()),
            _ => Ok("p".to_owned()),
        });
        assert_eq!(filled.unwrap(), "RM {{prompt}} p");
        assert_eq!(
            places("{{worktre}}").unwrap_err().to_string(),
            "{{worktre}}: write {{prompt}}, {{streams.NAME.text}}, {{file:PATH}} or {{worktree}}"
        );
    }
}
