//! Owns entries of an HTTP cache that were made by somebody who means harm: honest ones, with other trees in them.

use relgraph_cache::codec::{Reader, Writer};
use relgraph_cache::{Digest, Directory};

const HTTP: &[u8] = b"relgraph http entry 1\n";

/// An entry as a web server holds it whose first tree has another root, with everything around it that has to fit: hashes,
/// sizes, checksums. `None` where the entry has no tree, or its directories lie elsewhere.
pub fn with_root(value: &[u8], change: &dyn Fn(&mut Directory)) -> Option<Vec<u8>> {
    let head = value.strip_prefix(HTTP)?;
    let blobs = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let (rows, entry) = head[12..].split_at(blobs * 72);
    let entry = sealed(&parcel(&content(entry)?, change)?);
    let mut out = HTTP.to_vec();
    out.extend(&head[..4]);
    out.extend((entry.len() as u64).to_le_bytes());
    out.extend(rows);
    out.extend(entry);
    Some(out)
}

/// What is in the envelope (docs/formats/entry.md), and nobody signed.
fn content(entry: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(entry, "relgraph entry 1").ok()?;
    Some(reader.bytes().ok()?.to_vec())
}

fn sealed(content: &[u8]) -> Vec<u8> {
    let mut out = Writer::new("relgraph entry 1");
    out.bytes(content).u64(0);
    out.finish_checked()
}

/// A parcel (docs/formats/parcel.md) with another root.
fn parcel(payload: &[u8], change: &dyn Fn(&mut Directory)) -> Option<Vec<u8>> {
    let raw = zstd::decode_all(payload).ok()?;
    let mut reader = Reader::new(&raw, "relgraph parcel 1").ok()?;
    let (kind, key) = (reader.str().ok()?, reader.str().ok()?);
    let record = reader.bytes().ok()?;
    let mut digests = || -> Option<Vec<Digest>> {
        let count = reader.u64().ok()?;
        (0..count).map(|_| reader.digest().ok()).collect()
    };
    let (mut trees, blobs) = (digests()?, digests()?);
    let old = *trees.first()?;
    if reader.u8().ok()? != 1 {
        return None;
    }
    let frame = reader.bytes().ok()?;
    let spine = zstd::decode_all(frame).ok()?;
    // Behind the spine and its size.
    let packs = &raw[frame.as_ptr_range().end as usize - raw.as_ptr() as usize + 8..];

    let (root, below) = spine.split_at(usize::try_from(old.size).ok()?);
    let mut root = Directory::decode(root).ok()?;
    change(&mut root);
    let root = root.encode();
    let new = Digest::of(&root);
    trees.iter_mut().filter(|tree| **tree == old).for_each(|tree| *tree = new);
    let spine = [&root[..], below].concat();

    let mut out = Writer::new("relgraph parcel 1");
    out.str(kind).str(key).bytes(&replaced(record, &binary(&old), &binary(&new)));
    for digests in [&trees, &blobs] {
        out.u64(digests.len() as u64);
        for digest in digests {
            out.digest(digest);
        }
    }
    out.u8(1).bytes(&zstd::encode_all(&spine[..], 3).ok()?).u64(spine.len() as u64);
    let mut out = out.finish();
    out.extend(packs);
    zstd::encode_all(&out[..], 3).ok()
}

fn binary(digest: &Digest) -> Vec<u8> {
    let mut out = Writer::default();
    out.digest(digest);
    out.finish()
}

/// A text with each of one piece replaced by another, as long.
fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for at in 0..text.len().saturating_sub(from.len() - 1) {
        if text[at..].starts_with(from) {
            text[at..at + to.len()].copy_from_slice(to);
        }
    }
    text
}
