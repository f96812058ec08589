//! Releases to a file.

use std::collections::HashSet;
use std::io::{self, Write};

use relgraph_cache::remote::Trust;
use relgraph_cache::{Digest, Node, Store, StoreError};
use tar::{Builder, EntryType, Header};

use super::{BLOBS, ExportError, Exported, INDEX, Index, SCHEMA, VERSION, place};
use crate::record::ReleaseRecord;

/// Of zstd: a file is written once, and carried about.
const LEVEL: i32 = 9;

/// Writes releases of a store; the same ones, signed by the same key, are the same bytes. What remotes promised is brought.
pub fn export(
    store: &Store,
    releases: Vec<ReleaseRecord>,
    trust: &Trust,
    out: &mut dyn Write,
) -> Result<Exported, ExportError> {
    let mut releases = releases;
    let id = |it: &ReleaseRecord| (it.name.clone(), it.version.clone(), it.environment.clone());
    releases.sort_by_key(id);
    releases.dedup_by_key(|it| id(it));
    let mut blobs = Blobs::default();
    for release in &releases {
        store.bring_tree(&release.tree)?;
        blobs.walk(store, &release.tree)?;
    }
    let index = Index { schema: SCHEMA.to_owned(), releases };
    let payload = serde_json::to_vec(&index).map_err(|error| ExportError::Write(error.into()))?;
    let mut encoder = zstd::Encoder::new(out, LEVEL).map_err(ExportError::Write)?;
    encoder.include_checksum(true).map_err(ExportError::Write)?;
    let mut archive = Builder::new(encoder);
    add(&mut archive, &format!("{INDEX}{VERSION}"), &trust.seal(&place(), &payload))?;
    let mut bytes = 0;
    for digest in blobs.directories.iter().chain(&blobs.files) {
        add(&mut archive, &format!("{BLOBS}{}", digest.hex()), &store.read(digest)?)?;
        bytes += digest.size;
    }
    archive.into_inner().and_then(|encoder| encoder.finish()).map_err(ExportError::Write)?;
    Ok(Exported {
        releases: index.releases,
        blobs: blobs.directories.len() + blobs.files.len(),
        bytes,
        signed_by: trust.signer.as_ref().map(|key| key.name().to_owned()),
    })
}

/// Each directory and each file once, in the order in which a walk meets them.
#[derive(Default)]
struct Blobs {
    directories: Vec<Digest>,
    files: Vec<Digest>,
    seen: HashSet<Digest>,
}

impl Blobs {
    fn walk(&mut self, store: &Store, tree: &Digest) -> Result<(), StoreError> {
        let mut open = vec![*tree];
        while let Some(tree) = open.pop() {
            if !self.seen.insert(tree) {
                continue;
            }
            self.directories.push(tree);
            let directory = store.directory(&tree)?;
            let mut below = Vec::new();
            for node in directory.entries.values() {
                match node {
                    Node::Directory { digest } => below.push(*digest),
                    Node::File { digest, .. } if self.seen.insert(*digest) => self.files.push(*digest),
                    _ => {}
                }
            }
            open.extend(below.into_iter().rev());
        }
        Ok(())
    }
}

fn add<W: Write>(archive: &mut Builder<W>, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header
        .set_path(name)
        .and_then(|()| {
            header.set_cksum();
            archive.append(&header, bytes)
        })
        .map_err(|error: io::Error| ExportError::Write(error))
}
