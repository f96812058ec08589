//! How a value may be spelled in what a program prints or writes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::SHORTEST;

/// A line of a value that is as long, and looks like a key, does not stand anywhere by chance.
const DISTINCT: usize = 24;

/// One spelling.
#[derive(Debug)]
pub(super) struct Form {
    pub bytes: Vec<u8>,
    /// Whether it stands for a line of a value, which alone may mean nothing.
    pub part: bool,
}

/// All spellings of a value, none for one that is too short.
pub(super) fn forms(value: &str) -> Vec<Form> {
    // Whoever writes it down may leave the line end away that a file has.
    let value = value.trim();
    if value.len() < SHORTEST {
        return Vec::new();
    }
    let mut forms = vec![value.as_bytes().to_vec()];
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.push(engine.encode(value).into_bytes());
        forms.extend((0..3).map(|offset| inner_base64(engine, value.as_bytes(), offset)));
    }
    let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
    forms.extend([hex.to_uppercase().into_bytes(), hex.into_bytes()]);
    for lower in [false, true] {
        let percent = percent(value, lower);
        forms.push(percent.replace("%20", "+").into_bytes());
        forms.push(percent.into_bytes());
    }
    // As JSON, Elixir and Erlang write strings, and as they write bytes.
    forms.push(escaped(value).into_bytes());
    forms.push(escaped(value).replace("#{", "\\#{").into_bytes());
    forms.push(escaped(value).replace('/', "\\/").into_bytes());
    for between in [",", ", "] {
        let numbers: Vec<String> = value.bytes().map(|b| b.to_string()).collect();
        forms.push(numbers.join(between).into_bytes());
    }
    // What programs that write base64 break into lines.
    let encoded = STANDARD_NO_PAD.encode(value);
    for width in [64, 76] {
        let lines = encoded.as_bytes().chunks(width).filter(|line| line.len() > DISTINCT);
        forms.extend(lines.filter(|_| encoded.len() > width).map(<[u8]>::to_vec));
    }
    let mut forms: Vec<Form> = forms.into_iter().map(|bytes| Form { bytes, part: false }).collect();
    if value.contains('\n') {
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST);
        let lines = lines.filter(|line| !line.starts_with("-----"));
        forms.extend(lines.map(|line| Form { bytes: line.as_bytes().to_vec(), part: !is_distinct(line) }));
    }
    forms
}

/// Whether a line means something alone, as those of keys do, and those of JSON do not.
fn is_distinct(line: &str) -> bool {
    line.len() > DISTINCT && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-_".contains(&b))
}

/// What base64 makes of a value that stands `offset` bytes behind a group of three: the characters that depend on nothing else.
fn inner_base64(engine: &impl base64::Engine, value: &[u8], offset: usize) -> Vec<u8> {
    let text = engine.encode([&vec![0; offset], value].concat());
    let first = (offset * 8).div_ceil(6);
    let last = (offset + value.len()) * 8 / 6;
    text.as_bytes()[first..last].to_vec()
}

/// All but letters, digits and `-_.~` as `%XX`.
fn percent(value: &str, lower: bool) -> String {
    let one = |b: u8| match b {
        b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => char::from(b).to_string(),
        b if lower => format!("%{b:02x}"),
        b => format!("%{b:02X}"),
    };
    value.bytes().map(one).collect()
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    fn found(value: &str, text: &str) -> bool {
        forms(value)
            .iter()
            .any(|form| text.as_bytes().windows(form.bytes.len()).any(|window| window == form.bytes))
    }

    #[test]
    fn base64_is_found_wherever_it_stands() {
        let value = "s3cr3t-value!";
        for before in ["", "a", "ab", "abc", "user:", "x-access-token:"] {
            for after in ["", "\n", "@host", " and more"] {
                let text = format!("{before}{value}{after}");
                for encoded in
                    [STANDARD.encode(&text), STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]
                {
                    assert!(found(value, &encoded), "{text:?} as {encoded}");
                }
            }
        }
        assert!(!found(value, &STANDARD.encode("another-value, which is longer")));
    }

    #[test]
    fn other_spellings() {
        let value = "p\"a\\s s/#{1}\n";
        for text in [
            "p\"a\\s s/#{1}",
            "p%22a%5Cs%20s%2F%23%7B1%7D",
            "p%22a%5cs+s%2f%23%7b1%7d",
            "p\\\"a\\\\s s/#{1}",
            "p\\\"a\\\\s s/\\#{1}",
            "p\\\"a\\\\s s\\/#{1}",
            "[112, 34, 97, 92, 115, 32, 115, 47, 35, 123, 49, 125]",
        ] {
            assert!(found(value, text), "{text}");
        }
        assert!(forms("short").is_empty());
        let long = "0123456789abcdef-".repeat(9);
        let wrapped = STANDARD.encode(&long);
        let (first, rest) = wrapped.split_at(76);
        for line in [first, rest.split_at(76).0, rest.split_at(76).1.trim_end_matches('=')] {
            assert!(found(&long, line), "{line}");
        }
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n";
        assert!(found(key, "MIIEvQIBADANBgkq"));
        assert!(!found(key, "-----BEGIN KEY-----"));
    }
}
