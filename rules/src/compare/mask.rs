//! Hiding what should not be seen of configurations and texts.

use crate::etf::Term;

/// What stands in the place of a secret.
pub const MASK: &str = "[masked]";
/// No value is shown with more characters.
const LONGEST: usize = 2000;

/// A term as text; `place` is the path of keys that leads to it, with dots.
pub fn term(place: &str, value: &Term) -> String {
    let keys: Vec<String> = place.split('.').map(str::to_owned).collect();
    show(&keys, value, &mut false)
}

/// A line of text in which values of keys that hold secrets, and what has the looks of one, are hidden.
pub fn line(text: &str) -> String {
    let mut hide = false;
    let words: Vec<String> = text
        .split(' ')
        .map(|word| {
            let hidden = std::mem::take(&mut hide) && !word.is_empty();
            let key = word.split_once(['=', ':']).map_or(word, |(key, _)| key);
            if hidden || secret_looks(word.trim_matches(['"', '\''])) {
                return MASK.to_owned();
            }
            match word.split_once('=') {
                Some((key, value)) if secret_name(key) && !value.is_empty() => format!("{key}={MASK}"),
                _ => {
                    hide = secret_name(key);
                    word.to_owned()
                }
            }
        })
        .collect();
    words.join(" ")
}

/// A value of the configuration as text, at the path of its keys.
pub(super) fn show(path: &[String], value: &Term, masked: &mut bool) -> String {
    let text = if path.iter().any(|key| secret_name(key)) && !harmless(value) {
        *masked = true;
        MASK.to_owned()
    } else {
        mask(value, masked).to_string()
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Names of keys that hold secrets, wherever in the name these stand.
fn secret_name(key: &str) -> bool {
    const NAMES: [&str; 17] = [
        "secret",
        "passw",
        "passphrase",
        "passcode",
        "token",
        "private_key",
        "api_key",
        "apikey",
        "access_key",
        "credential",
        "salt",
        "cookie",
        "signing",
        "encryption",
        "auth_key",
        "license_key",
        "dsn",
    ];
    let key = key.to_lowercase();
    NAMES.iter().any(|name| key.contains(name))
}

/// What gives nothing away.
fn harmless(value: &Term) -> bool {
    matches!(value, Term::Atom(name) if matches!(name.as_str(), "true" | "false" | "nil" | "undefined"))
        || matches!(value, Term::List(elements) if elements.is_empty())
}

/// The value with everything in it masked that has the name or the looks of a secret.
fn mask(value: &Term, masked: &mut bool) -> Term {
    let key = |key: &Term| key.as_atom().map(str::to_owned).or_else(|| key.as_text());
    let mut keyed = |name: &Term, value: &Term| {
        if key(name).is_some_and(|name| secret_name(&name)) && !harmless(value) {
            *masked = true;
            Term::atom(MASK)
        } else {
            mask(value, masked)
        }
    };
    match value {
        Term::Tuple(elements) => match &elements[..] {
            [name, value] => {
                let value = keyed(name, value);
                Term::Tuple(vec![mask(name, masked), value])
            }
            elements => Term::Tuple(elements.iter().map(|element| mask(element, masked)).collect()),
        },
        Term::Map(pairs) => {
            Term::map(pairs.iter().map(|(name, value)| (name.clone(), keyed(name, value))).collect()).0
        }
        Term::ImproperList(elements, tail) => {
            let elements = elements.iter().map(|element| mask(element, masked)).collect();
            Term::ImproperList(elements, Box::new(mask(tail, masked)))
        }
        value => match value.as_text() {
            Some(text) if secret_looks(&text) => {
                *masked = true;
                Term::atom(MASK)
            }
            Some(_) => value.clone(),
            None => match value {
                Term::List(elements) => {
                    Term::list(elements.iter().map(|element| mask(element, masked)).collect())
                }
                value => value.clone(),
            },
        },
    }
}

/// An address with a password in it, a private key, or a long run of random letters and digits.
fn secret_looks(text: &str) -> bool {
    let address =
        text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next()?.rsplit_once('@'));
    if address.is_some_and(|(user, _)| user.contains(':')) || text.contains("PRIVATE KEY-----") {
        return true;
    }
    let has = |kind: fn(&char) -> bool| text.chars().any(|char| kind(&char));
    let digits = has(char::is_ascii_digit);
    let hexadecimal = text.len() >= 32 && text.chars().all(|char| char.is_ascii_hexdigit()) && digits;
    let base64 = text.len() >= 24
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "+/=_-".contains(char))
        && digits
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_lowercase);
    hexadecimal || base64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_secrets() {
        assert_eq!(line("-setcookie abc +K true"), "-setcookie [masked] +K true");
        assert_eq!(line("export RELEASE_COOKIE=abc"), "export RELEASE_COOKIE=[masked]");
        assert_eq!(line("password: x"), "password: [masked]");
        assert_eq!(line("postgres://me:word@host/db"), "[masked]");
        assert_eq!(line("+Q 65536"), "+Q 65536");
    }
}
