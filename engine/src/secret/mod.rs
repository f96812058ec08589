//! Secrets that steps are given: known by name, part of keys by a keyed hash, cut out of what is printed, and looked for in
//! what is made.

mod forms;
mod redact;
mod scan;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use relgraph_cache::{Answer, Digest};

use forms::Form;
pub(crate) use redact::Redaction;
pub(crate) use scan::search;

/// A secret with fewer bytes cannot be told from other text.
pub const SHORTEST: usize = 8;

/// What the hash of a salt is for.
const SALT_DOMAIN: &str = "relgraph secret salt 1";

/// What makes the hashes of secrets say nothing to whoever does not know it. Whoever shares it shares results.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// Of a text or of random bytes.
    pub fn of(bytes: &[u8]) -> Salt {
        Salt(blake3::derive_key(SALT_DOMAIN, bytes))
    }

    /// What stands for a value in keys: a BLAKE3 hash with this salt as the key, in hexadecimal. The same value of two names
    /// gives two marks.
    pub fn mark(&self, name: &str, value: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(value.as_bytes());
        hasher.finalize().to_hex().to_string()
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(***)")
    }
}

/// One secret of a build.
#[derive(Clone)]
pub struct Secret {
    /// The variable that steps find it in.
    pub name: String,
    /// Its value; `None`: this machine does not know it.
    pub value: Option<String>,
    /// Whether a step that reads it among other variables has it in its key.
    pub keyed: bool,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

/// All secrets of a build.
pub struct Secrets {
    known: BTreeMap<String, Secret>,
    salt: Salt,
    /// Every spelling of every value; none where there are no values.
    spellings: Option<Spellings>,
}

/// What is looked for, in one pass.
struct Spellings {
    finder: AhoCorasick,
    /// By the number of the pattern: whose spelling it is, and whether it is but a part of a value.
    of: Vec<(String, bool)>,
    patterns: Vec<Vec<u8>>,
    longest: usize,
}

impl Default for Secrets {
    fn default() -> Secrets {
        Secrets { known: BTreeMap::new(), salt: Salt([0; 32]), spellings: None }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

impl Secrets {
    /// Those of a build. Values that are shorter than [`SHORTEST`] are not looked for: whoever takes them in refuses them.
    pub fn new(salt: Salt, secrets: impl IntoIterator<Item = Secret>) -> Secrets {
        let known: BTreeMap<String, Secret> =
            secrets.into_iter().map(|secret| (secret.name.clone(), secret)).collect();
        let spellings = Spellings::of(known.values());
        Secrets { known, salt, spellings }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// Whether a variable is one.
    pub fn contains(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// The value: for a program that is to have it, and nothing else.
    pub fn expose(&self, name: &str) -> Option<&str> {
        self.known.get(name)?.value.as_deref()
    }

    /// What stands for a value in keys; `None`: it is not known here.
    pub fn mark(&self, name: &str) -> Option<String> {
        Some(self.salt.mark(name, self.expose(name)?))
    }

    /// Names of those that have no value here.
    pub fn missing<'a>(&'a self, names: &'a BTreeSet<String>) -> impl Iterator<Item = &'a str> {
        names.iter().map(String::as_str).filter(|name| self.expose(name).is_none())
    }

    /// What stands for a secret in the answer to a step that asks for a variable: nothing where it is not given the secret,
    /// its mark, or always the same where it is in no key. `None`: the variable is no secret.
    pub(crate) fn answer(&self, name: &str, given: &BTreeSet<String>) -> Option<Answer> {
        let secret = self.known.get(name)?;
        if !given.contains(name) {
            return Some(Answer::Absent);
        }
        if !secret.keyed {
            return Some(Answer::Value(Digest::of(b"in no key")));
        }
        Some(self.mark(name).map_or(Answer::Absent, |mark| Answer::Value(Digest::of(mark.as_bytes()))))
    }

    /// Bytes with every value in them replaced by `[secret NAME]`.
    pub fn redact<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(spellings) = self.spellings.as_ref().filter(|s| s.finder.is_match(bytes)) else {
            return Cow::Borrowed(bytes);
        };
        let mut out = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for found in spellings.finder.find_iter(bytes) {
            out.extend_from_slice(&bytes[from..found.start()]);
            out.extend_from_slice(spellings.cover(found.pattern().as_usize()).as_bytes());
            from = found.end();
        }
        out.extend_from_slice(&bytes[from..]);
        Cow::Owned(out)
    }

    /// The same for text.
    pub fn redact_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redact(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

impl Spellings {
    fn of<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Option<Spellings> {
        let mut patterns = Vec::new();
        let mut of = Vec::new();
        let mut seen = BTreeSet::new();
        for secret in secrets {
            for Form { bytes, part } in secret.value.iter().flat_map(|value| forms::forms(value)) {
                if seen.insert(bytes.clone()) {
                    patterns.push(bytes);
                    of.push((secret.name.clone(), part));
                }
            }
        }
        let longest = patterns.iter().map(Vec::len).max()?;
        let finder =
            AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostLongest).build(&patterns).ok()?;
        Some(Spellings { finder, of, patterns, longest })
    }

    /// What is shown in the place of a pattern.
    fn cover(&self, pattern: usize) -> String {
        format!("[secret {}]", self.of.get(pattern).map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn secrets(pairs: &[(&str, &str)]) -> Secrets {
        let secret = |(name, value): &(&str, &str)| Secret {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            keyed: true,
        };
        Secrets::new(Salt::of(b"salt"), pairs.iter().map(secret))
    }

    #[test]
    fn a_mark_depends_on_the_salt_the_name_and_the_value() {
        let salt = Salt::of(b"one");
        let mark = salt.mark("TOKEN", "s3cr3t-value");
        assert_eq!(mark, Salt::of(b"one").mark("TOKEN", "s3cr3t-value"));
        for other in [
            Salt::of(b"two").mark("TOKEN", "s3cr3t-value"),
            salt.mark("TOKEN", "s3cr3t-valuf"),
            salt.mark("TOKE", "Ns3cr3t-value"),
        ] {
            assert_ne!(mark, other);
        }
        assert_ne!(mark, Digest::of(b"s3cr3t-value").hex(), "it is no plain hash");
    }

    #[test]
    fn values_are_covered_in_every_spelling() {
        let secrets = secrets(&[("TOKEN", "s3cr3t/value+1"), ("OTHER", "another value")]);
        let redact = |text: &str| secrets.redact_text(text).into_owned();
        assert_eq!(redact("a s3cr3t/value+1 b"), "a [secret TOKEN] b");
        assert_eq!(redact("s3cr3t%2Fvalue%2B1 another+value"), "[secret TOKEN] [secret OTHER]");
        assert_eq!(redact("7333637233742f76616c75652b31"), "[secret TOKEN]");
        assert_eq!(redact("nothing"), "nothing");
        assert!(matches!(secrets.redact(b"nothing"), Cow::Borrowed(_)));
    }

    #[test]
    fn nothing_shows_a_value() {
        let secrets = secrets(&[("TOKEN", "s3cr3t-value")]);
        let shown = format!("{secrets:?} {:?} {:?}", secrets.known, secrets.salt);
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }

    #[test]
    fn what_is_in_no_key_always_answers_alike() {
        let of = |value: Option<&str>, keyed| {
            let secret = Secret { name: "T".into(), value: value.map(str::to_owned), keyed };
            Secrets::new(Salt::of(b"salt"), [secret]).answer("T", &BTreeSet::from(["T".to_owned()]))
        };
        assert_eq!(of(Some("a value 1"), false), of(Some("a value 2"), false));
        assert_eq!(of(Some("a value 1"), false), of(None, false));
        assert_ne!(of(Some("a value 1"), true), of(Some("a value 2"), true));
        assert_eq!(of(None, true), Some(Answer::Absent));
        assert_eq!(Secrets::default().answer("T", &BTreeSet::new()), None);
        let hidden = secrets(&[("T", "a value 1")]);
        assert_eq!(hidden.answer("T", &BTreeSet::new()), Some(Answer::Absent));
    }
}
