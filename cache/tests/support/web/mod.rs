//! What the tests of remotes share: folders, clients, and what every remote must pass.
#![allow(dead_code)]

pub mod apache;
pub mod conform;
pub mod nginx;
pub mod rgw;
pub mod s3;
pub mod server;
pub mod stub;
pub mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relgraph_cache::Digest;
use relgraph_cache::remote::{
    Access, Body, EntryName, Limits, Remote, RemoteError, RemoteSpec, Variables, connect,
};

/// A remote and what is known of it: what a client is made from.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub spec: RemoteSpec,
    pub variables: Variables,
}

impl From<RemoteSpec> for Place {
    fn from(spec: RemoteSpec) -> Place {
        Place { spec, ..Place::default() }
    }
}

impl Place {
    /// A client that starts with knowing nothing.
    pub fn client(&self, access: Access) -> Arc<dyn Remote> {
        connect(&RemoteSpec { access, ..self.spec.clone() }, &self.variables).expect("a remote")
    }
}

/// A client that starts with knowing nothing.
pub fn client(spec: &RemoteSpec, access: Access) -> Arc<dyn Remote> {
    Place::from(spec.clone()).client(access)
}

/// A remote at an address, with nothing to show.
pub fn at(url: &str) -> RemoteSpec {
    RemoteSpec { url: url.to_owned(), ..RemoteSpec::default() }
}

/// Limits that a test can wait for.
pub fn impatient() -> Limits {
    let short = Duration::from_millis(400);
    Limits { connect: short, call: short, idle: short, parallel: 4 }
}

/// The name of an entry.
pub fn name(what: &str) -> EntryName {
    EntryName(Digest::of(what.as_bytes()).hash)
}

/// Bytes that look like nothing, always the same for a seed.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What a fetch brought: for each digest that was handed over, its bytes, or `None`.
pub type Brought = BTreeMap<Digest, Option<Vec<u8>>>;

/// Fetches blobs into memory. Panics when one is handed over twice, or is not what it should be.
pub fn fetch(remote: &dyn Remote, blobs: &[Digest]) -> (Brought, Result<(), RemoteError>) {
    let scratch = tempfile::tempdir().expect("a folder");
    let brought = Mutex::new(Brought::new());
    let result = remote.fetch(blobs, scratch.path(), &|digest, body| {
        let bytes = body.map(|body| bytes_of(&body));
        let before = brought.lock().expect("the lock").insert(*digest, bytes);
        assert!(before.is_none(), "{digest} arrived twice");
    });
    (brought.into_inner().expect("the lock"), result)
}

fn bytes_of(body: &Body) -> Vec<u8> {
    match body {
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::File(path) => std::fs::read(path).expect("the file of a blob"),
    }
}

/// A blob in memory.
pub fn blob(bytes: Vec<u8>) -> (Digest, Body) {
    (Digest::of(&bytes), Body::Bytes(bytes.into()))
}

/// A blob in a file.
pub fn file_blob(folder: &Path, bytes: &[u8]) -> (Digest, Body) {
    let digest = Digest::of(bytes);
    let path: PathBuf = folder.join(digest.hex());
    std::fs::write(&path, bytes).expect("a file");
    (digest, Body::File(path))
}
