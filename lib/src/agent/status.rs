//! The HTTP status that an agent names in the text of an error, where no member of its own tells it.

/// The status in an error's text: a number from 400 to 599 behind `status`, `code`, `error` or `HTTP`. Only for texts
/// that are known to be errors: an answer may speak of any number.
pub(super) fn http_status(error: &str) -> Option<u64> {
    let plain = |word: &str| {
        word.trim_matches(|c: char| !c.is_ascii_alphanumeric())
            .to_ascii_lowercase()
    };
    let words: Vec<String> = error
        .split([' ', '=', ':', '(', ')'])
        .map(plain)
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(2).find_map(|pair| {
        let status = pair[1].parse().ok().filter(|status| (400..600).contains(status))?;
        matches!(pair[0].as_str(), "status" | "code" | "error" | "http").then_some(status)
    })
}

#[cfg(test)]
mod tests {
    use super::http_status;

    #[test]
    fn only_behind_its_word() {
        for (text, status) in [
            ("[API Error: 500 scripted 500]", Some(500)),
            ("unexpected status 401 Unauthorized: bad key", Some(401)),
            ("exceeded retry limit, last status: 429 Too Many Requests", Some(429)),
            ("request failed (status=503)", Some(503)),
            ("We waited 500 ms", None),
            ("error 7", None),
            ("", None),
        ] {
            assert_eq!(http_status(text), status, "{text}");
        }
    }
}
