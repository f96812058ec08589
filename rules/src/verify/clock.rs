//! Moments that a compiler wrote into what it made.

use crate::etf::Term;

/// A stretch of time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first second.
    pub from: i64,
    /// Its last second.
    pub to: i64,
}

impl Window {
    /// Whether a moment lies in it.
    pub fn holds(&self, moment: i64) -> bool {
        (self.from..=self.to).contains(&moment)
    }
}

/// Seconds from the year 0, which `calendar` counts from, to 1970.
const GREGORIAN: i64 = 62_167_219_200;

/// The moments that a term may stand for, each with the unit or form that it would be written in.
pub fn moments(term: &Term) -> Vec<(&'static str, i64)> {
    match term {
        Term::Integer(number) => vec![
            ("seconds", *number),
            ("milliseconds", number / 1000),
            ("microseconds", number / 1_000_000),
            ("nanoseconds", number / 1_000_000_000),
            ("gregorian seconds", number.saturating_sub(GREGORIAN)),
        ],
        Term::Binary(_) | Term::String(_) => term
            .as_text()
            .and_then(|text| written(&text))
            .map(|moment| ("text", moment))
            .into_iter()
            .collect(),
        Term::Tuple(parts) => tuple(parts).map(|moment| ("date and time", moment)).into_iter().collect(),
        Term::Map(_) => structure(term).map(|moment| ("date and time", moment)).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether a term is a date and a time of several parts, which make sense together only.
pub fn is_moment(term: &Term) -> bool {
    match term {
        Term::Tuple(parts) => tuple(parts).is_some(),
        Term::Map(_) => structure(term).is_some(),
        _ => false,
    }
}

/// `{{Year, Month, Day}, {Hour, Minute, Second}}`, or `{Mega, Second, Micro}`.
fn tuple(parts: &[Term]) -> Option<i64> {
    let numbers = |parts: &[Term]| parts.iter().map(Term::as_integer).collect::<Option<Vec<i64>>>();
    match parts {
        [date, time] => match (&numbers(date.as_tuple()?)?[..], &numbers(time.as_tuple()?)?[..]) {
            ([year, month, day], [hour, minute, second]) => {
                civil([*year, *month, *day], [*hour, *minute, *second])
            }
            _ => None,
        },
        [_, _, _] => match numbers(parts)?[..] {
            [mega @ 1000..=9999, second @ 0..=999_999, 0..=999_999] => Some(mega * 1_000_000 + second),
            _ => None,
        },
        _ => None,
    }
}

/// `DateTime`, `NaiveDateTime` and `Date` of Elixir.
fn structure(term: &Term) -> Option<i64> {
    let known = ["Elixir.DateTime", "Elixir.NaiveDateTime", "Elixir.Date"];
    term.get("__struct__").and_then(Term::as_atom).filter(|name| known.contains(name))?;
    let part = |name: &str| term.get(name).and_then(Term::as_integer);
    let time = [part("hour").unwrap_or(0), part("minute").unwrap_or(0), part("second").unwrap_or(0)];
    let offset = part("utc_offset").unwrap_or(0) + part("std_offset").unwrap_or(0);
    Some(civil([part("year")?, part("month")?, part("day")?], time)? - offset)
}

/// The first `2026-03-04T05:06:07` (or with a space) or `{{2026,3,4},{5,6,7}}` in a text.
pub fn written(text: &str) -> Option<i64> {
    if let Some(at) = text.find("{{") {
        let numbers: Vec<i64> = text[at..]
            .split(|char: char| !char.is_ascii_digit())
            .filter(|word| !word.is_empty())
            .take(6)
            .filter_map(|word| word.parse().ok())
            .collect();
        if let [year, month, day, hour, minute, second] = numbers[..] {
            return civil([year, month, day], [hour, minute, second]);
        }
    }
    let bytes = text.as_bytes();
    let shape = |window: &[u8]| {
        window.iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b'-',
            10 => matches!(byte, b'T' | b' '),
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        })
    };
    let found = bytes.windows(19).find(|window| shape(window))?;
    let number = |from: usize, to: usize| std::str::from_utf8(&found[from..to]).ok()?.parse::<i64>().ok();
    civil([number(0, 4)?, number(5, 7)?, number(8, 10)?], [number(11, 13)?, number(14, 16)?, number(17, 19)?])
}

/// Seconds since 1970 of a date and a time in UTC.
fn civil([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> Option<i64> {
    let sound = (1900..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..=23).contains(&hour)
        && (0..=59).contains(&minute)
        && (0..=60).contains(&second);
    if !sound {
        return None;
    }
    // Years that begin in March, so that the day that may be missing is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etf::consult_one;

    #[test]
    fn moments_in_all_forms() {
        let at = 1_772_600_767; // 2026-03-04T05:06:07Z
        let forms = [
            "1772600767.",
            "1772600767123.",
            "1772600767123456789.",
            "63939819967.",
            "<<\"2026-03-04T05:06:07Z\">>.",
            "\"made 2026-03-04 05:06:07.5\".",
            "{{2026,3,4},{5,6,7}}.",
            "{1772,600767,12}.",
            "#{'__struct__' => 'Elixir.NaiveDateTime',year => 2026,month => 3,day => 4,hour => 5,minute => 6,second => 7}.",
        ];
        for form in forms {
            let term = consult_one(form.as_bytes()).expect("a term");
            assert!(moments(&term).iter().any(|(_, moment)| *moment == at), "{form}: {:?}", moments(&term));
        }
        assert_eq!(written("no date"), None);
        assert_eq!(moments(&Term::atom("now")), []);
    }
}
