//! Sizes and spans of time as people write them.

use std::time::Duration;

const UNITS: [(&str, u64); 13] = [
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("kb", 1000),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
];

/// A number of bytes: `500MB`, `1.5 GiB`, `0`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let unit = unit.to_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let bytes = factor.zip(number).map(|(factor, number)| number * factor as f64);
    match bytes {
        Some(bytes) if bytes < u64::MAX as f64 => Ok(bytes as u64),
        _ => Err("a size is a number with a unit, such as 500MB, 20GB or 4GiB".to_owned()),
    }
}

/// A span of time: `30m`, `12h`, `7d`, `0`.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let factor = match (unit, number) {
        ("s", _) => Some(1.0),
        ("m" | "min", _) => Some(60.0),
        ("h", _) => Some(3600.0),
        ("d", _) => Some(86_400.0),
        ("w", _) => Some(604_800.0),
        ("", Some(0.0)) => Some(1.0),
        _ => None,
    };
    let seconds = factor.zip(number).map(|(factor, number)| factor * number);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a span of time is a number with a unit, such as 30m, 12h or 7d".to_owned())
}

/// A number that is not negative, and what stands behind it.
fn split(text: &str) -> (Option<f64>, &str) {
    let text = text.trim();
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    (text[..end].parse().ok(), text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("12", 12),
            ("500MB", 500_000_000),
            ("1.5 GiB", 3 << 29),
            ("2k", 2000),
            ("1tib", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1", "1.2.3GB", "5 parsecs", "1e9", "99999999999TB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_of_time() {
        for (text, seconds) in [("0", 0), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("7 d", 604_800)] {
            assert_eq!(parse_age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "h", "-1h", "1y", "99999999999999999999w"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }
}
