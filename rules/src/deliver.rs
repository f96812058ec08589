//! Putting what was built where the user finds it: the release, its cookie, its packages.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, Link, Node, Store, StoreError, swap_in};

use crate::staging::Staging;

pub use crate::record::{RECORD_SCHEMA, RecordedApplication, ReleaseRecord, record};

/// Why something could not be put in its place.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The store or a file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// What it is about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DeliverError + use<> {
    let path = path.to_owned();
    move |source| DeliverError::Io { action, path, source }
}

/// Where a cookie lies in a release.
const COOKIE: &str = "releases/COOKIE";

/// Puts a release into `dest`: it is complete beside it first, then takes its place at once. A cookie that is there
/// stays, unless `cookie` gives another; so does what a running node wrote below `tmp`.
pub fn release(store: &Store, tree: &Digest, dest: &Path, cookie: Option<&str>) -> Result<(), DeliverError> {
    let parent = dest.parent().unwrap_or(Path::new("."));
    let staging = Staging::new(parent).map_err(failed("create a folder in", parent))?;
    let complete = staging.path("release");
    store.materialize(tree, &complete, Link::Copy)?;
    // The release may bring a cookie of its own, from an overlay.
    if store.lookup(tree, COOKIE)?.is_none() {
        let kept = fs::read_to_string(dest.join(COOKIE)).ok();
        if let Some(cookie) = cookie.map(str::to_owned).or(kept) {
            write_secret(&complete.join(COOKIE), &cookie)?;
        }
    }
    // A node that runs from here has its pipes and logs there.
    let (old, new) = (dest.join("tmp"), complete.join("tmp"));
    let moved = old.is_dir() && !new.exists();
    if moved {
        fs::rename(&old, &new).map_err(failed("move", &old))?;
    }
    let swapped = swap_in(&complete, dest);
    if swapped.is_err() && moved {
        fs::rename(&new, &old).map_err(failed("move back", &old))?;
    }
    Ok(swapped?)
}

/// Writes the cookie of a release that is in place, readable by its owner only.
pub fn cookie(dest: &Path, cookie: &str) -> Result<(), DeliverError> {
    write_secret(&dest.join(COOKIE), cookie)
}

/// What the script of a release in its place is told to start it in the foreground: relx's own calls that by another name.
pub fn start_command(dest: &Path) -> &'static str {
    let data = fs::read_to_string(dest.join("releases/start_erl.data")).unwrap_or_default();
    let version = data.split_whitespace().nth(1).unwrap_or_default();
    let manifest = fs::read(dest.join(format!("releases/{version}/relgraph.json"))).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
    if manifest["layout"] == "relx" { "foreground" } else { "start" }
}

fn write_secret(path: &Path, secret: &str) -> Result<(), DeliverError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
    }
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("write", path))?;
    file.write_all(secret.as_bytes()).map_err(failed("write", path))
}

/// Puts a package into `dest`. Nothing is written when it is there with the same bytes.
pub fn package(store: &Store, digest: &Digest, dest: &Path) -> Result<(), DeliverError> {
    if fs::metadata(dest).is_ok_and(|meta| meta.len() == digest.size)
        && Digest::of_file(dest).is_ok_and(|there| there == *digest)
    {
        return Ok(());
    }
    let parent = dest.parent().unwrap_or(Path::new("."));
    let staging = Staging::new(parent).map_err(failed("create a folder in", parent))?;
    let complete = staging.path("package");
    fs::copy(store.located(digest)?, &complete).map_err(failed("write", &complete))?;
    if Digest::of_file(&complete).map_err(failed("read", &complete))? != *digest {
        // Finds what is wrong with the blob, removes it, and says so.
        store.read(digest)?;
    }
    fs::set_permissions(&complete, fs::Permissions::from_mode(0o644)).map_err(failed("write", &complete))?;
    fs::rename(&complete, dest).map_err(failed("write", dest))
}

/// The file of a package in the output of its step.
pub fn package_file(store: &Store, tree: &Digest) -> Result<Option<Digest>, StoreError> {
    Ok(match store.lookup(tree, crate::steps::package::FILE)? {
        Some(Node::File { digest, .. }) => Some(digest),
        _ => None,
    })
}
