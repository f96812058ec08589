//! What tests of remotes put into them.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use relgraph_cache::Digest;
use relgraph_cache::remote::{Access, Body, EntryName, Remote, RemoteError, RemoteSpec, Variables, connect};

/// A remote that may be written to, with nothing to show.
pub fn at(url: impl Into<String>) -> RemoteSpec {
    RemoteSpec { url: url.into(), access: Access::ReadWrite, ..RemoteSpec::default() }
}

/// A client that knows nothing yet.
pub fn client(spec: &RemoteSpec) -> Arc<dyn Remote> {
    connect(spec, &Variables::new()).expect("a remote")
}

/// The name of an entry.
pub fn name(what: &str) -> EntryName {
    EntryName(Digest::of(what.as_bytes()).hash)
}

/// Bytes that cannot be compressed, always the same for a seed.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A blob in memory.
pub fn blob(bytes: Vec<u8>) -> (Digest, Body) {
    (Digest::of(&bytes), Body::Bytes(bytes.into()))
}

/// A blob in a file.
pub fn file_blob(folder: &Path, bytes: &[u8]) -> (Digest, Body) {
    let digest = Digest::of(bytes);
    let path = folder.join(digest.hex());
    std::fs::write(&path, bytes).expect("a file");
    (digest, Body::File(path))
}

/// The digests of blobs.
pub fn digests(blobs: &[(Digest, Body)]) -> Vec<Digest> {
    blobs.iter().map(|(digest, _)| *digest).collect()
}

/// What a fetch brought: for each digest that was handed over, its bytes, or `None`.
pub type Brought = BTreeMap<Digest, Option<Vec<u8>>>;

/// Fetches blobs. Panics when one is handed over twice, or when files stay that nobody was given.
pub fn fetch(remote: &dyn Remote, blobs: &[Digest]) -> (Brought, Result<(), RemoteError>) {
    let scratch = tempfile::tempdir().expect("a folder");
    let brought = Mutex::new(Brought::new());
    let result = remote.fetch(blobs, scratch.path(), &|digest, body| {
        let bytes = body.map(|body| match body {
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::File(path) => {
                let bytes = std::fs::read(&path).expect("the file of a blob");
                std::fs::remove_file(&path).expect("the file of a blob");
                bytes
            }
        });
        let before = brought.lock().expect("the lock").insert(*digest, bytes);
        assert!(before.is_none(), "{digest} arrived twice");
    });
    assert_eq!(std::fs::read_dir(scratch.path()).expect("the folder").count(), 0, "files stay");
    (brought.into_inner().expect("the lock"), result)
}

/// Fetches blobs that must all be there, and be right.
pub fn fetch_all(remote: &dyn Remote, blobs: &[Digest]) {
    let (brought, result) = fetch(remote, blobs);
    result.expect("a fetch");
    for blob in blobs {
        let bytes = brought[blob].as_ref().unwrap_or_else(|| panic!("{blob} is not there"));
        assert_eq!(Digest::of(bytes), *blob);
    }
}
