//! Unpacking tar archives into the store, without ever writing anywhere else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use relgraph_cache::{Digest, Node, Store, StoreError, TreeBuilder};
use tar::{Archive, EntryType};

/// Larger files go through a temporary file, smaller ones through memory.
const IN_MEMORY: u64 = 8 << 20;

/// What an archive may be like.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Entries.
    pub entries: usize,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be what it says it is, or is not meant well.
    #[error("{0}")]
    Refused(String),
    /// It could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The store could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn refused(reason: impl Into<String>) -> ArchiveError {
    ArchiveError::Refused(reason.into())
}

/// Unpacks a tar archive into the store; what is built may still be added to.
///
/// Refused: paths that are absolute or have `..` in them, links that lead out, devices, and archives without end.
pub fn unpack(store: &Store, tar: impl Read, most: Most) -> Result<TreeBuilder, ArchiveError> {
    let mut archive = Archive::new(tar);
    let mut builder = TreeBuilder::new();
    let mut files = BTreeMap::new();
    let mut bytes: u64 = 0;
    for (count, entry) in archive.entries()?.enumerate() {
        let mut entry = entry.map_err(|error| refused(error.to_string()))?;
        let raw = entry.path_bytes().into_owned();
        let name = String::from_utf8(raw).map_err(|_| refused("the name of an entry is not UTF-8"))?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        bytes = bytes.saturating_add(entry.size());
        if count >= most.entries || bytes > most.bytes {
            let size = format!("{} entries or {} bytes", most.entries, most.bytes);
            return Err(refused(format!("it has more than {size}, which is larger than any should be")));
        }
        let place = inside(&name).ok_or_else(|| refused(format!("{name:?} lies outside of it")))?;
        if place.is_empty() {
            continue;
        }
        let link = || -> Result<String, ArchiveError> {
            let target =
                entry.link_name_bytes().ok_or_else(|| refused(format!("{name:?} links to nothing")))?;
            String::from_utf8(target.into_owned()).map_err(|_| refused(format!("{name:?} links to no text")))
        };
        let node = match kind {
            EntryType::Directory => {
                builder.directory(&place).map_err(|error| refused(error.to_string()))?;
                continue;
            }
            EntryType::Regular | EntryType::Continuous => {
                let executable = entry.header().mode()? & 0o100 != 0;
                let size = entry.size();
                let digest = put(store, &mut entry, size)?;
                files.insert(place.clone(), (digest, executable));
                Node::File { digest, executable }
            }
            EntryType::Symlink => {
                let target = link()?;
                if !stays_inside(&place, &target) {
                    return Err(refused(format!("the symlink {name:?} leads out of it, to {target:?}")));
                }
                Node::Symlink { target }
            }
            EntryType::Link => {
                let target = link()?;
                let file = inside(&target).and_then(|target| files.get(&target).copied());
                let (digest, executable) =
                    file.ok_or_else(|| refused(format!("{name:?} links to no earlier file")))?;
                files.insert(place.clone(), (digest, executable));
                Node::File { digest, executable }
            }
            _ => return Err(refused(format!("{name:?} is neither a file, a folder nor a link"))),
        };
        builder.replace(&place, node).map_err(|error| refused(error.to_string()))?;
    }
    Ok(builder)
}

fn put(store: &Store, entry: &mut impl Read, size: u64) -> Result<Digest, ArchiveError> {
    let whole =
        |read: u64| if read == size { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) };
    if size <= IN_MEMORY {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        whole(bytes.len() as u64)?;
        return Ok(store.put_bytes(&bytes)?);
    }
    let scratch = store.scratch()?;
    let place = scratch.path().join("file");
    let mut file = File::create(&place)?;
    whole(io::copy(entry, &mut file)?)?;
    Ok(store.put_file(&place)?)
}

/// The path without `.` and slashes at its ends; none when it leads anywhere else than down.
fn inside(name: &str) -> Option<String> {
    if name.starts_with('/') || name.contains('\0') {
        return None;
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

/// Whether a symlink cannot lead out, whatever other links there are: it goes up first, along the real folders that
/// it lies in, and then only down.
pub(crate) fn stays_inside(place: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return false;
    }
    let parts: Vec<&str> = target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let up = parts.iter().take_while(|part| **part == "..").count();
    up <= place.matches('/').count() && !parts[up..].contains(&"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_only_lead_down() {
        assert_eq!(inside("./a//b/."), Some("a/b".to_owned()));
        assert_eq!(inside("./"), Some(String::new()));
        for outside in ["/a", "../a", "a/../../b", "a/..", "a\0b"] {
            assert_eq!(inside(outside), None, "{outside}");
        }
    }

    #[test]
    fn symlinks_go_up_only_along_the_folders_they_lie_in() {
        for (place, target) in [("a/l", "../b"), ("l", "a/b"), ("a/b/l", "../../c"), ("l", "./a")] {
            assert!(stays_inside(place, target), "{place} -> {target}");
        }
        for (place, target) in
            [("l", "../b"), ("a/l", "../../b"), ("a/l", "/etc"), ("l", "a/link/.."), ("a/l", "b/../../c")]
        {
            assert!(!stays_inside(place, target), "{place} -> {target}");
        }
    }
}
