//! Which entries of a remote are believed: the signed envelope around their content, docs/formats/entry.md.

use super::EntryName;
use super::keys::{PublicKey, SecretKey, is_key_name};
use crate::Digest;
use crate::codec::{CodecError, Reader, Writer};

const MAGIC: &str = "relgraph entry 1";
const DOMAIN: &str = "relgraph entry signature 1";

/// The most signatures that an entry has.
pub const MAX_SIGNATURES: usize = 16;

/// Whose entries are believed, and what our own are signed with.
///
/// Without any key at all, a remote is trusted as far as its transport and its tokens go: every entry that is not garbled is
/// taken. With one, entries that none of them signed are refused. That includes the own key: what is signed here is made of
/// what was read, so whoever signs must not read what anybody may have written.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Keys whose entries are believed. The signer's own needs not be among them.
    pub trusted: Vec<PublicKey>,
    /// What our own entries are signed with.
    pub signer: Option<SecretKey>,
}

/// The content of an entry that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was sealed.
    pub payload: Vec<u8>,
    /// The name of the known key that signed it; `None` where no key is known.
    pub signed_by: Option<String>,
}

/// Why an entry is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It is not an entry, or was torn.
    #[error("it is garbled")]
    Garbled,
    /// Nobody signed it.
    #[error("it is not signed")]
    Unsigned,
    /// Nobody signed it whose key is known.
    #[error("it is signed by {}, which is not trusted here", names.join(" and "))]
    Foreign {
        /// Whom the signatures claim to be of, as the entry has it. They are names of keys, so they can be shown.
        names: Vec<String>,
    },
}

impl From<CodecError> for Distrust {
    fn from(_: CodecError) -> Distrust {
        Distrust::Garbled
    }
}

impl Trust {
    /// Whether signatures decide; else everything that the remote says is taken.
    pub fn is_asked_for(&self) -> bool {
        !self.trusted.is_empty() || self.signer.is_some()
    }

    /// Puts `payload` into an envelope for the place `name`, with a signature where there is a key to sign with.
    pub fn seal(&self, name: &EntryName, payload: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC);
        writer.bytes(payload);
        match &self.signer {
            None => {
                writer.u64(0);
            }
            Some(key) => {
                writer.u64(1).str(key.name());
                writer.bytes(&key.sign(&statement(name, &Digest::of(payload), key.name())));
            }
        }
        writer.finish_checked()
    }

    /// Takes the content out of an envelope that was found at the place `name`, where it is to be believed.
    pub fn open(&self, name: &EntryName, sealed: &[u8]) -> Result<Opened, Distrust> {
        let (payload, signatures) = read(sealed)?;
        let opened = |signed_by| Opened { payload: payload.to_vec(), signed_by };
        if !self.is_asked_for() {
            return Ok(opened(None));
        }
        if signatures.is_empty() {
            return Err(Distrust::Unsigned);
        }
        let own = self.signer.as_ref().map(SecretKey::public);
        let digest = Digest::of(payload);
        let known = signatures.iter().find(|(signer, signature)| {
            let statement = statement(name, &digest, signer);
            // Two keys may have the same name, while one takes the other's place.
            let mut keys = self.trusted.iter().chain(&own).filter(|key| key.name() == *signer);
            keys.any(|key| key.verifies(&statement, signature))
        });
        match known {
            Some((signer, _)) => Ok(opened(Some((*signer).to_owned()))),
            None => Err(Distrust::Foreign {
                names: signatures.iter().map(|(name, _)| (*name).to_owned()).collect(),
            }),
        }
    }
}

/// What is signed: that this content belongs to this place, says who bears this name.
fn statement(name: &EntryName, payload: &Digest, signer: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    hasher.update(&name.0);
    hasher.update(&payload.hash);
    hasher.update(&payload.size.to_le_bytes());
    hasher.update(signer.as_bytes());
    *hasher.finalize().as_bytes()
}

type Signatures<'a> = Vec<(&'a str, [u8; 64])>;

/// Takes an envelope apart. There is one way to write each.
fn read(sealed: &[u8]) -> Result<(&[u8], Signatures<'_>), Distrust> {
    let mut reader = Reader::new_checked(sealed, MAGIC)?;
    let payload = reader.bytes()?;
    let count = reader.count(8 + 1 + 8 + 64)?;
    if count > MAX_SIGNATURES {
        return Err(Distrust::Garbled);
    }
    let mut signatures: Signatures<'_> = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.str()?;
        let signature = reader.bytes()?.try_into().map_err(|_| Distrust::Garbled)?;
        if !is_key_name(name) || signatures.last().is_some_and(|(last, _)| *last >= name) {
            return Err(Distrust::Garbled);
        }
        signatures.push((name, signature));
    }
    reader.finish()?;
    Ok((payload, signatures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: EntryName = EntryName([7; 32]);

    fn key(name: &str, seed: u8) -> SecretKey {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.encode([seed; 32]);
        SecretKey::parse(&format!("relgraph-secret-1:{name}:{bytes}")).unwrap()
    }

    fn signing(key: &SecretKey) -> Trust {
        Trust { trusted: Vec::new(), signer: Some(key.clone()) }
    }

    fn trusting(keys: &[&SecretKey]) -> Trust {
        Trust { trusted: keys.iter().map(|key| key.public()).collect(), signer: None }
    }

    fn foreign(names: &[&str]) -> Result<Opened, Distrust> {
        Err(Distrust::Foreign { names: names.iter().map(|name| (*name).to_owned()).collect() })
    }

    /// The envelope with another checksum, as whoever changes it on purpose would write it.
    fn mended(mut sealed: Vec<u8>) -> Vec<u8> {
        let body = sealed.len() - 32;
        let sum = blake3::hash(&sealed[..body]);
        sealed[body..].copy_from_slice(sum.as_bytes());
        sealed
    }

    #[test]
    fn without_keys_everything_is_taken_but_what_is_torn() {
        let nobody = Trust::default();
        let plain = nobody.seal(&HERE, b"abc");
        let signed = signing(&key("ci", 1)).seal(&HERE, b"abc");
        for sealed in [&plain, &signed] {
            assert_eq!(nobody.open(&HERE, sealed), Ok(Opened { payload: b"abc".to_vec(), signed_by: None }));
            assert_eq!(nobody.open(&HERE, &sealed[..sealed.len() - 1]), Err(Distrust::Garbled));
        }
        assert_eq!(nobody.open(&HERE, b""), Err(Distrust::Garbled));
    }

    #[test]
    fn with_keys_only_theirs_are_taken() {
        let (ci, alice, stranger) = (key("ci", 1), key("alice", 2), key("stranger", 3));
        let reader = trusting(&[&ci, &alice]);
        for signer in [&ci, &alice] {
            let opened = reader.open(&HERE, &signing(signer).seal(&HERE, b"abc")).unwrap();
            assert_eq!(
                opened,
                Opened { payload: b"abc".to_vec(), signed_by: Some(signer.name().to_owned()) }
            );
        }
        let foreign_one = signing(&stranger).seal(&HERE, b"abc");
        assert_eq!(reader.open(&HERE, &foreign_one), foreign(&["stranger"]));
        let unsigned = Trust::default().seal(&HERE, b"abc");
        assert_eq!(reader.open(&HERE, &unsigned), Err(Distrust::Unsigned));
        // Whoever signs reads what he signed himself, and of others what he trusts.
        assert!(signing(&stranger).open(&HERE, &foreign_one).is_ok());
        assert_eq!(signing(&ci).open(&HERE, &foreign_one), foreign(&["stranger"]));
        assert_eq!(signing(&ci).open(&HERE, &unsigned), Err(Distrust::Unsigned));
    }

    #[test]
    fn a_name_alone_is_not_believed() {
        let (ci, liar) = (key("ci", 1), key("ci", 9));
        let sealed = signing(&liar).seal(&HERE, b"abc");
        assert_eq!(trusting(&[&ci]).open(&HERE, &sealed), foreign(&["ci"]));
        // While a key is replaced, both have the name.
        assert!(trusting(&[&ci, &liar]).open(&HERE, &sealed).is_ok());
        // The same key under another name is another key.
        let renamed = signing(&key("main", 1)).seal(&HERE, b"abc");
        assert_eq!(trusting(&[&ci]).open(&HERE, &renamed), foreign(&["main"]));
    }

    #[test]
    fn an_entry_belongs_to_its_place() {
        let ci = key("ci", 1);
        let sealed = signing(&ci).seal(&HERE, b"abc");
        assert_eq!(trusting(&[&ci]).open(&EntryName([8; 32]), &sealed), foreign(&["ci"]));
    }

    #[test]
    fn one_known_signature_of_several_is_enough() {
        let (ci, alice) = (key("ci", 1), key("alice", 2));
        let sign = |key: &SecretKey| key.sign(&statement(&HERE, &Digest::of(b"abc"), key.name()));
        let write = |signatures: &[(&str, [u8; 64])]| {
            let mut writer = Writer::new(MAGIC);
            writer.bytes(b"abc").u64(signatures.len() as u64);
            for (name, signature) in signatures {
                writer.str(name).bytes(signature);
            }
            writer.finish_checked()
        };
        let both = write(&[("alice", sign(&alice)), ("ci", sign(&ci))]);
        for reader in [trusting(&[&ci]), trusting(&[&alice])] {
            assert!(reader.open(&HERE, &both).is_ok());
        }
        let one_broken = write(&[("alice", [3; 64]), ("ci", sign(&ci))]);
        assert_eq!(trusting(&[&ci]).open(&HERE, &one_broken).unwrap().signed_by.unwrap(), "ci");
        assert_eq!(trusting(&[&alice]).open(&HERE, &one_broken), foreign(&["alice", "ci"]));
        // Other orders, names and numbers are no entries.
        let many: Vec<String> = (10..30).map(|n| n.to_string()).collect();
        let many: Vec<(&str, [u8; 64])> = many.iter().map(|name| (name.as_str(), [0; 64])).collect();
        let swapped = write(&[("ci", sign(&ci)), ("alice", sign(&alice))]);
        let twice = write(&[("ci", sign(&ci)), ("ci", sign(&ci))]);
        for bad in [swapped, twice, write(&[("a\nb", sign(&ci))]), write(&many)] {
            assert_eq!(trusting(&[&ci]).open(&HERE, &bad), Err(Distrust::Garbled));
            assert_eq!(Trust::default().open(&HERE, &bad), Err(Distrust::Garbled));
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(payload in prop::collection::vec(any::<u8>(), 0..500), name: [u8; 32]) {
            let ci = key("ci", 1);
            let sealed = signing(&ci).seal(&EntryName(name), &payload);
            let opened = trusting(&[&ci]).open(&EntryName(name), &sealed).unwrap();
            prop_assert_eq!(opened.payload, payload);
        }

        /// Also when the checksum is made to fit.
        #[test]
        fn no_flipped_bit_is_taken(payload in prop::collection::vec(any::<u8>(), 0..60), at: prop::sample::Index, bit in 0u8..8) {
            let ci = key("ci", 1);
            let mut sealed = signing(&ci).seal(&HERE, &payload);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(Trust::default().open(&HERE, &sealed), Err(Distrust::Garbled));
            prop_assert_eq!(trusting(&[&ci]).open(&HERE, &sealed), Err(Distrust::Garbled));
            if at < sealed.len() - 32 {
                prop_assert!(trusting(&[&ci]).open(&HERE, &mended(sealed)).is_err());
            }
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut body = format!("{MAGIC}\n").into_bytes();
            body.extend(bytes);
            body.extend([0; 32]);
            let _ = trusting(&[&key("ci", 1)]).open(&HERE, &mended(body));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_small_entry_is_refused() {
        let ci = key("ci", 1);
        let sealed = signing(&ci).seal(&HERE, b"abc");
        for at in 0..(sealed.len() - 32) * 8 {
            let mut bad = sealed.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(trusting(&[&ci]).open(&HERE, &mended(bad)).is_err(), "bit {at}");
        }
    }
}
