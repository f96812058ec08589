//! Keys that results are signed with, ed25519 (RFC 8032), as short lines of text: docs/formats/key-line.md.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

const PUBLIC: &str = "relgraph-key-1";
const SECRET: &str = "relgraph-secret-1";

/// The longest name of a key, in bytes.
pub const MAX_KEY_NAME: usize = 64;

/// Why a line is not a key. No message repeats what stood in the line: it may have been a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `TAG:NAME:BASE64`.
    #[error("it is not a line `{expected}:NAME:BASE64`")]
    Form {
        /// The first word that was expected.
        expected: &'static str,
    },
    /// A secret key in the place of a public one.
    #[error("it is a secret key, where the public one belongs")]
    Secret,
    /// A public key in the place of a secret one.
    #[error("it is a public key, and nothing can be signed with that")]
    Public,
    /// The name has other characters, or too many or none of them.
    #[error("a name of a key is 1 to 64 letters, digits, `.`, `_` and `-`")]
    Name,
    /// What stands behind the name is no key.
    #[error("what stands behind the name is no ed25519 key: a character may be missing")]
    Key,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Whether a key may be called that: 1 to 64 letters, digits, `.`, `_` and `-`, all ASCII.
pub fn is_key_name(name: &str) -> bool {
    (1..=MAX_KEY_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The name and the bytes of a line that begins with `tag`.
fn parse(line: &str, tag: &'static str, other: (&str, KeyError)) -> Result<(String, [u8; 32]), KeyError> {
    let form = KeyError::Form { expected: tag };
    let mut parts = line.trim().splitn(3, ':');
    let (Some(first), Some(name), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(form);
    };
    if first == other.0 {
        return Err(other.1);
    }
    if first != tag {
        return Err(form);
    }
    if !is_key_name(name) {
        return Err(KeyError::Name);
    }
    let bytes = STANDARD_NO_PAD.decode(key).map_err(|_| KeyError::Key)?;
    let bytes = bytes.try_into().map_err(|_| KeyError::Key)?;
    Ok((name.to_owned(), bytes))
}

/// What signatures of one key are checked with. Its text, from [`fmt::Display`], is one line.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Reads a line; space around it does not matter.
    pub fn parse(line: &str) -> Result<PublicKey, KeyError> {
        let (name, bytes) = parse(line, PUBLIC, (SECRET, KeyError::Secret))?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Key)?;
        // Of these few points anybody can make a signature.
        if key.is_weak() {
            return Err(KeyError::Key);
        }
        Ok(PublicKey { name, key })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a signature of these bytes was made with its secret key. Strict: of several spellings of a signature, one is taken.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}:{}:{}", self.name, STANDARD_NO_PAD.encode(self.key.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<PublicKey, KeyError> {
        PublicKey::parse(line)
    }
}

/// What results are signed with. It is shown nowhere, and forgotten when it is dropped.
#[derive(Clone)]
pub struct SecretKey {
    name: String,
    key: SigningKey,
}

impl SecretKey {
    /// A new one, of the system's random numbers.
    pub fn generate(name: &str) -> Result<SecretKey, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| KeyError::Random)?;
        Ok(SecretKey { name: name.to_owned(), key: SigningKey::from_bytes(&bytes) })
    }

    /// Reads a line; space around it does not matter.
    pub fn parse(line: &str) -> Result<SecretKey, KeyError> {
        let (name, bytes) = parse(line, SECRET, (PUBLIC, KeyError::Public))?;
        Ok(SecretKey { name, key: SigningKey::from_bytes(&bytes) })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that its signatures are checked with.
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// Its line: for the file that keeps it, and nothing else.
    pub fn expose(&self) -> String {
        format!("{SECRET}:{}:{}", self.name, STANDARD_NO_PAD.encode(self.key.as_bytes()))
    }

    /// A signature of these bytes.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SECRET}:{}:***", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_written_down() {
        let secret = SecretKey::generate("ci-main_2.x").unwrap();
        let again = SecretKey::parse(&format!("  {}\n", secret.expose())).unwrap();
        assert_eq!(again.public(), secret.public());
        let line = secret.public().to_string();
        assert!(line.starts_with("relgraph-key-1:ci-main_2.x:"), "{line}");
        assert_eq!(PublicKey::parse(&line), Ok(secret.public()));
        assert_ne!(SecretKey::generate("a").unwrap().public(), SecretKey::generate("a").unwrap().public());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = SecretKey::generate("ci").unwrap();
        assert_eq!(format!("{secret:?}"), "relgraph-secret-1:ci:***");
        let line = secret.expose();
        let key = line.rsplit(':').next().unwrap();
        let refused =
            [PublicKey::parse(&line).unwrap_err(), SecretKey::parse(&format!("x{line}")).unwrap_err()];
        for error in refused {
            assert!(!format!("{error} {error:?}").contains(key), "{error}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        let secret = SecretKey::generate("ci").unwrap();
        let line = secret.public().to_string();
        assert_eq!(PublicKey::parse(&secret.expose()), Err(KeyError::Secret));
        assert_eq!(SecretKey::parse(&line).unwrap_err(), KeyError::Public);
        let key = line.rsplit(':').next().unwrap();
        let of = |name: &str, key: &str| PublicKey::parse(&format!("relgraph-key-1:{name}:{key}"));
        for name in ["", "a b", "a:b", "ü", "a/b", &"a".repeat(65)] {
            assert!(of(name, key).is_err(), "{name} was taken");
        }
        for key in ["", &key[1..], &format!("{key}="), &format!("{key}A"), "é"] {
            assert_eq!(of("ci", key), Err(KeyError::Key), "{key} was taken");
        }
        for line in ["", "relgraph-key-1", "relgraph-key-1:ci", &format!("relgraph-key-2:ci:{key}")] {
            assert!(matches!(PublicKey::parse(line), Err(KeyError::Form { .. })), "{line} was taken");
        }
    }

    #[test]
    fn a_key_that_anybody_can_sign_for_is_refused() {
        // The neutral element: (0, 1).
        let mut bytes = [0; 32];
        bytes[0] = 1;
        let line = format!("relgraph-key-1:ci:{}", STANDARD_NO_PAD.encode(bytes));
        assert_eq!(PublicKey::parse(&line), Err(KeyError::Key));
    }
}
