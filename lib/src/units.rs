//! Durations and sizes as people write them on a command line.

use std::time::Duration;

/// Reads a duration: plain seconds (`90`, `0.5`), or `1.5s`, `2m`, `1h30m`, `250ms`.
///
/// # Errors
/// Says what a duration looks like when the text is none, is negative or does not fit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no duration: write seconds, or 500ms, 1.5s, 2m, 1h30m");
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let seconds: f64 = text.parse().map_err(|_| wrong())?;
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

/// Reads a size in bytes: `65536`, or with a binary suffix `64K`, `10M`, `1G`.
///
/// # Errors
/// Says what a size looks like when the text is none, or is zero or does not fit.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size: write bytes, or 64K, 10M, 1G");
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes == 0 { Err(wrong()) } else { Ok(bytes) }
}

/// A duration the short way: `0.4s`, `12s`, `3m05s`, `2h07m`.
pub fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("90", 90_000),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("0", 0),
            ("0.3", 300),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "x",
            "-3",
            "-3s",
            "1e9999",
            "..",
            "5 parsecs",
            "99999999999999999999999",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("1", 1),
            ("64K", 65536),
            ("10M", 10 << 20),
            ("1G", 1 << 30),
            ("2k", 2048),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "K", "1T", "99999999999G", "1.5M"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn brief_is_brief() {
        for (millis, text) in [(400, "0.4s"), (12_345, "12s"), (185_000, "3m05s"), (7_620_000, "2h07m")] {
            assert_eq!(brief(Duration::from_millis(millis)), text);
        }
    }
}
