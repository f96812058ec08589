//! What compilers made among the sources of an application (`assets/js/_hooks`): for the user's steps that come after it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use relgraph_cache::{Digest, Store, TreeBuilder, stamp};
use relgraph_engine::StepError;
use walkdir::{DirEntry, WalkDir};

use super::assemble::conflict;
use crate::source::{Entry, LEFT_OUT, Snapshot};

/// The output that holds it, by paths seen from the application's folder.
pub const OUTPUT: &str = "generated";

/// What marks a folder that somebody fills for himself alone, as cargo does.
const CACHE: &str = "CACHEDIR.TAG";

/// Stores the files of `folder` that are not among `sources` as they were, less the paths (seen from it) of `others`.
pub fn generated(
    store: &Store,
    folder: &Path,
    sources: &Snapshot,
    others: &BTreeSet<String>,
) -> Result<Digest, StepError> {
    let name = |entry: &DirEntry| entry.path().strip_prefix(folder).ok()?.to_str().map(str::to_owned);
    let is_wanted = |entry: &DirEntry| {
        let left_out = entry.file_name().to_str().is_none_or(|name| LEFT_OUT.contains(&name));
        let other = name(entry).is_none_or(|name| others.contains(&name));
        entry.depth() == 0 || !(left_out || other || entry.path().join(CACHE).exists())
    };
    let mut tree = TreeBuilder::new();
    let found = WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(is_wanted).flatten();
    for entry in found.filter(|entry| entry.file_type().is_file()) {
        let (path, Some(name)) = (entry.path(), name(&entry)) else { continue };
        let failed = |e: &std::io::Error| StepError::io("read", path, e);
        // A copy of a source has its age.
        let now = stamp(path).map_err(|e| failed(&e))?;
        let known = sources.named(&name).map(|(_, source)| source);
        let same = |then: &relgraph_cache::FileStamp| {
            now.is_some_and(|now| (now.mtime_ns, now.size) == (then.mtime_ns, then.size))
        };
        if known.is_some() && sources.stamp(&name).is_some_and(same) {
            continue;
        }
        let executable = fs::metadata(path).map_err(|e| failed(&e))?.permissions().mode() & 0o111 != 0;
        let digest = store.put_file(path)?;
        if known != Some(&Entry::File { digest, executable }) {
            tree.file(&name, digest, executable).map_err(conflict)?;
        }
    }
    Ok(tree.finish(store)?)
}
