//! What lies under `/ac`: how the blobs of an entry are called on the server, and the entry
//! (docs/formats/remotes.md).
//!
//! ```text
//! relgraph http entry 1\n
//! 4 bytes    how many blobs
//! 8 bytes    the length of the entry
//! 72 bytes   for each blob: BLAKE3, size, SHA-256
//!            the entry
//! ```
//!
//! Numbers are little-endian. A value of another form is no entry of ours.

use super::names::Sha256;
use crate::Digest;
use crate::remote::MAX_ENTRY;

const MAGIC: &[u8] = b"relgraph http entry 1\n";
const HEADER: usize = MAGIC.len() + 4 + 8;
const ROW: usize = 32 + 8 + 32;

/// The most blobs that an entry may speak of.
pub(super) const MAX_BLOBS: usize = 1 << 17;

/// The largest value that is read or written.
pub(super) const MAX_VALUE: usize = HEADER + MAX_BLOBS * ROW + MAX_ENTRY;

/// The value for an entry.
pub(super) fn wrap(names: &[(Digest, Sha256)], entry: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + names.len() * ROW + entry.len());
    value.extend_from_slice(MAGIC);
    value.extend_from_slice(&(names.len() as u32).to_le_bytes());
    value.extend_from_slice(&(entry.len() as u64).to_le_bytes());
    for (digest, sha256) in names {
        value.extend_from_slice(&digest.hash);
        value.extend_from_slice(&digest.size.to_le_bytes());
        value.extend_from_slice(sha256);
    }
    value.extend_from_slice(entry);
    value
}

/// What blobs are called.
pub(super) type Called = Vec<(Digest, Sha256)>;

/// The names in a value, and the entry; `None` when it is not of our form.
pub(super) fn unwrap(value: &[u8]) -> Option<(Called, &[u8])> {
    let rest = value.strip_prefix(MAGIC)?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    if count > MAX_BLOBS || length > MAX_ENTRY || rest.len() != count * ROW + length {
        return None;
    }
    let (rows, entry) = rest.split_at(count * ROW);
    let names = rows.chunks_exact(ROW).map(|row| {
        let (hash, row) = row.split_first_chunk::<32>()?;
        let (size, row) = row.split_first_chunk::<8>()?;
        Some((Digest { hash: *hash, size: u64::from_le_bytes(*size) }, row.try_into().ok()?))
    });
    Some((names.collect::<Option<Called>>()?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_anything_else_is_none() {
        let names = vec![(Digest::of(b"a"), [7; 32]), (Digest::of(b""), [9; 32])];
        for (names, entry) in [(&names[..], &b"an entry"[..]), (&[], b""), (&names, b"")] {
            let value = wrap(names, entry);
            assert_eq!(unwrap(&value), Some((names.to_vec(), entry)));
            for end in 0..value.len() {
                assert_eq!(unwrap(&value[..end]), None);
            }
            assert_eq!(unwrap(&[&value[..], b"x"].concat()), None);
        }
        let mut greedy = wrap(&names, b"an entry");
        greedy[MAGIC.len()..MAGIC.len() + 12].fill(0xff);
        assert_eq!(unwrap(&greedy), None);
        assert_eq!(unwrap(b"<html>log in</html>"), None);
    }

    #[test]
    fn the_vector_is_what_is_written() {
        use sha2::Digest as _;
        let page = include_str!("../../../../docs/formats/remotes.md");
        let section = page.split("```golden http\nbytes = ").nth(1).unwrap();
        let said = section.lines().next().unwrap();
        let names = [(Digest::of(b"hello\n"), sha2::Sha256::digest(b"hello\n").into())];
        let made: String = wrap(&names, b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(made, said);
    }
}
