//! What an entry says: [`Parcel`], a record with the trees it needs and where their bytes are (docs/formats/parcel.md).

use std::io::Read;

use super::EntryName;
use super::pack::Packing;
use crate::codec::{CodecError, Reader, Writer};
use crate::{Digest, RecordKind};

const MAGIC: &str = "relgraph parcel 1";
const NAME_DOMAIN: &str = "relgraph entry name v1";
/// The most that a parcel may have once it is decompressed.
const MAX_PARCEL: u64 = 64 << 20;
const LEVEL: i32 = 3;

/// A record on its way between stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    pub kind: RecordKind,
    pub key: String,
    pub record: Vec<u8>,
    /// The trees that the record needs.
    pub trees: Vec<Digest>,
    /// The blobs that it needs.
    pub blobs: Vec<Digest>,
    pub packing: Packing,
}

/// The name of the entry of a record in a namespace.
pub(super) fn entry_name(namespace: Option<&str>, kind: RecordKind, key: &str) -> EntryName {
    let mut out = Writer::default();
    out.str(namespace.unwrap_or_default()).str(kind.name()).str(key);
    EntryName(blake3::derive_key(NAME_DOMAIN, &out.finish()))
}

impl Parcel {
    /// The bytes that are signed: compressed.
    pub fn encode(&self) -> std::io::Result<Vec<u8>> {
        zstd::bulk::compress(&self.plain(), LEVEL)
    }

    fn plain(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.str(self.kind.name()).str(&self.key).bytes(&self.record);
        for digests in [&self.trees, &self.blobs] {
            out.u64(digests.len() as u64);
            for digest in digests {
                out.digest(digest);
            }
        }
        self.packing.write(&mut out);
        out.finish()
    }

    /// Reads what `encode` wrote, if it is the parcel of this record.
    pub fn decode(payload: &[u8], kind: RecordKind, key: &str) -> Result<Parcel, CodecError> {
        let short = CodecError::Short { at: 0 };
        let decoder = zstd::stream::read::Decoder::new(payload).map_err(|_| short.clone())?;
        let mut bytes = Vec::new();
        decoder.take(MAX_PARCEL).read_to_end(&mut bytes).map_err(|_| short)?;
        let mut reader = Reader::new(&bytes, MAGIC)?;
        if reader.str()? != kind.name() {
            return Err(reader.invalid("the kind of a record"));
        }
        if reader.str()? != key {
            return Err(reader.invalid("the key of a record"));
        }
        let record = reader.bytes()?.to_vec();
        let trees = read_digests(&mut reader)?;
        let blobs = read_digests(&mut reader)?;
        let packing = Packing::read(&mut reader)?;
        reader.finish()?;
        Ok(Parcel { kind, key: key.to_owned(), record, trees, blobs, packing })
    }
}

fn read_digests(reader: &mut Reader<'_>) -> Result<Vec<Digest>, CodecError> {
    let count = reader.count(40)?;
    (0..count).map(|_| reader.digest()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::pack::Unit;
    use crate::{Directory, Node};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A value of a block of the page about the format.
    fn golden(block: &str, name: &str) -> String {
        let page = include_str!("../../../docs/formats/parcel.md");
        let (_, rest) = page.split_once(&format!("```golden {block}\n")).unwrap();
        let (_, rest) = rest.split_once(&format!("{name} = ")).unwrap();
        rest.lines().next().unwrap().to_owned()
    }

    fn parcel() -> Parcel {
        let file = Digest::of(b"hello\n");
        let mut directory = Directory::default();
        directory.entries.insert("f".into(), Node::File { digest: file, executable: false });
        Parcel {
            kind: RecordKind::Release,
            key: "a@1".into(),
            record: b"abc".to_vec(),
            trees: vec![directory.digest()],
            blobs: Vec::new(),
            packing: Packing {
                spine: (Unit::Inline(vec![0]), directory.encode().len() as u64),
                packs: vec![(Unit::Inline(vec![1]), 1)],
                large: Vec::new(),
            },
        }
    }

    #[test]
    fn names_and_bytes_are_those_of_the_page() {
        let name = entry_name(None, RecordKind::Release, "a@1");
        assert_eq!(name.hex(), golden("name", "name"));
        assert_eq!(hex(&parcel().plain()), golden("parcel", "bytes"));
        assert_ne!(entry_name(Some("pr/1"), RecordKind::Release, "a@1"), name);
        assert_ne!(entry_name(None, RecordKind::Result, "a@1"), name);
    }

    #[test]
    fn a_parcel_is_read_as_what_was_asked_for_and_as_nothing_else() {
        let parcel = parcel();
        let payload = parcel.encode().unwrap();
        assert_eq!(Parcel::decode(&payload, RecordKind::Release, "a@1").unwrap(), parcel);
        assert!(Parcel::decode(&payload, RecordKind::Release, "a@2").is_err());
        assert!(Parcel::decode(&payload, RecordKind::Result, "a@1").is_err());
        assert!(Parcel::decode(b"abc", RecordKind::Release, "a@1").is_err());
        let plain = parcel.plain();
        for end in 0..plain.len() {
            let cut = zstd::bulk::compress(&plain[..end], 1).unwrap();
            assert!(Parcel::decode(&cut, RecordKind::Release, "a@1").is_err(), "cut at {end}");
        }
    }
}
