//! How an entry lies in a file (docs/formats/remotes.md): `relgraph entry 1`, a line feed, the length of the value (8 bytes, little-endian), its
//! BLAKE3 hash (32 bytes), the value.

use std::io::{self, Read};

use crate::Digest;
use crate::remote::{Entry, MAX_ENTRY};

const MAGIC: &[u8] = b"relgraph entry 1\n";
const HEADER: usize = MAGIC.len() + 8 + 32;

/// The bytes of the file for a value.
pub(super) fn wrap(value: &[u8]) -> Vec<u8> {
    let digest = Digest::of(value);
    let mut bytes = Vec::with_capacity(HEADER + value.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&digest.size.to_le_bytes());
    bytes.extend_from_slice(&digest.hash);
    bytes.extend_from_slice(value);
    bytes
}

/// The entry in a file; `None` where the file is torn, damaged or of another kind. Its version is the hash.
pub(super) fn read(file: impl Read) -> io::Result<Option<Entry>> {
    let mut bytes = Vec::new();
    file.take((HEADER + MAX_ENTRY + 1) as u64).read_to_end(&mut bytes)?;
    if bytes.len() < HEADER || bytes.len() > HEADER + MAX_ENTRY || !bytes.starts_with(MAGIC) {
        return Ok(None);
    }
    let value = bytes.split_off(HEADER);
    let digest = Digest::of(&value);
    let said = &bytes[MAGIC.len()..];
    if said[..8] != digest.size.to_le_bytes() || said[8..] != digest.hash {
        return Ok(None);
    }
    Ok(Some(Entry { bytes: value, version: Some(digest.hex()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_torn_or_changed_is_no_entry() {
        let whole = wrap(b"a value");
        let entry = read(&whole[..]).unwrap().unwrap();
        assert_eq!(entry.bytes, b"a value");
        assert_eq!(entry.version, Some(Digest::of(b"a value").hex()));
        assert_eq!(read(&wrap(b"")[..]).unwrap().unwrap().bytes, b"");
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]).unwrap(), None);
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert_eq!(read(&other[..]).unwrap(), None);
        }
        assert_eq!(read(&[&whole[..], b"x"].concat()[..]).unwrap(), None);
        assert_eq!(read(&vec![0; whole.len()][..]).unwrap(), None);
    }

    #[test]
    fn the_vector_is_what_is_written() {
        let page = include_str!("../../../../docs/formats/remotes.md");
        let section = page.split("```golden folder\nbytes = ").nth(1).unwrap();
        let said = section.lines().next().unwrap();
        let made: String = wrap(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(made, said);
    }
}
