//! Terms as text that `file:consult/1` reads back, on one line.

use std::fmt::{self, Display, Formatter, Write};

use super::Term;
use super::lexer::RESERVED;

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Term::Integer(value) => write!(f, "{value}"),
            Term::BigInteger(value) => {
                f.write_str(if value.is_negative() { "-" } else { "" })?;
                // Decimal takes time with the square of the length.
                if value.magnitude().len() > 256 {
                    write!(f, "16#{}", value.hexadecimal())
                } else {
                    f.write_str(&value.decimal())
                }
            }
            Term::Float(value) => float(value.0, f),
            Term::Atom(name) => atom(name, f),
            Term::ExternalFun { module, function, arity } => {
                f.write_str("fun ")?;
                atom(module, f)?;
                f.write_char(':')?;
                atom(function, f)?;
                write!(f, "/{arity}")
            }
            Term::Opaque(bytes) => {
                f.write_str("#Opaque<")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_char('>')
            }
            Term::Tuple(elements) => {
                f.write_char('{')?;
                comma(elements, f)?;
                f.write_char('}')
            }
            Term::Map(pairs) => {
                f.write_str("#{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key} => {value}", if index == 0 { "" } else { "," })?;
                }
                f.write_char('}')
            }
            Term::List(elements) => match self.as_text().filter(|text| printable(text)) {
                Some(text) => quoted(&text, '"', f),
                None => {
                    f.write_char('[')?;
                    comma(elements, f)?;
                    f.write_char(']')
                }
            },
            Term::String(bytes) => match self.as_text().filter(|text| printable(text)) {
                Some(text) => quoted(&text, '"', f),
                None => {
                    f.write_char('[')?;
                    comma(bytes, f)?;
                    f.write_char(']')
                }
            },
            Term::ImproperList(elements, tail) => {
                f.write_char('[')?;
                comma(elements, f)?;
                write!(f, "|{tail}]")
            }
            Term::Binary(bytes) => binary(bytes, f),
            Term::Bits { bytes, last } => {
                f.write_str("<<")?;
                for (index, byte) in bytes.iter().enumerate() {
                    if index + 1 < bytes.len() {
                        write!(f, "{byte},")?;
                    } else {
                        write!(f, "{}:{last}", byte >> (8 - last))?;
                    }
                }
                f.write_str(">>")
            }
        }
    }
}

fn comma<T: Display>(elements: &[T], f: &mut Formatter<'_>) -> fmt::Result {
    for (index, element) in elements.iter().enumerate() {
        write!(f, "{}{element}", if index == 0 { "" } else { "," })?;
    }
    Ok(())
}

fn float(value: f64, f: &mut Formatter<'_>) -> fmt::Result {
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => write!(f, "{digits}.0e{exponent}"),
        _ => f.write_str(&text),
    }
}

fn atom(name: &str, f: &mut Formatter<'_>) -> fmt::Result {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_' || char == '@')
        && !RESERVED.contains(&name);
    if plain { f.write_str(name) } else { quoted(name, '\'', f) }
}

fn binary(bytes: &[u8], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("<<")?;
    match std::str::from_utf8(bytes).ok().filter(|text| printable(text)) {
        Some(text) => {
            quoted(text, '"', f)?;
            f.write_str(if text.is_ascii() { "" } else { "/utf8" })?;
        }
        None => comma(bytes, f)?,
    }
    f.write_str(">>")
}

/// Whether a text is better shown as text than as numbers.
fn printable(text: &str) -> bool {
    !text.is_empty() && !text.contains(|char: char| char.is_control() && !matches!(char, '\n' | '\t' | '\r'))
}

fn quoted(text: &str, quote: char, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char(quote)?;
    for char in text.chars() {
        match char {
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            '\\' => f.write_str("\\\\")?,
            char if char == quote => write!(f, "\\{char}")?,
            char if char.is_control() => write!(f, "\\x{{{:x}}}", u32::from(char))?,
            char => f.write_char(char)?,
        }
    }
    f.write_char(quote)
}
