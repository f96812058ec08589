//! Unpacking a `.tar.gz` of a release into the store, without ever writing anywhere else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use relgraph_cache::{Digest, Node, Store, TreeBuilder};
use tar::{Archive, EntryType};

use super::CompareError;

/// An archive of more entries or bytes than this is not one of a release.
const MOST_ENTRIES: usize = 1_000_000;
const MOST_BYTES: u64 = 64 << 30;
/// Larger files go through a temporary file, smaller ones through memory.
const IN_MEMORY: u64 = 8 << 20;

/// Unpacks the archive into the store and returns its tree.
///
/// Refused: paths that are absolute or have `..` in them, links that lead out, devices, and archives without end.
pub fn unpack(store: &Store, path: &Path) -> Result<Digest, CompareError> {
    let failed = |source: io::Error| CompareError::Io { path: path.to_owned(), source };
    let refused = |reason: String| CompareError::Archive { path: path.to_owned(), reason };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let mut archive = Archive::new(MultiGzDecoder::new(file).take(2 * MOST_BYTES));
    let mut builder = TreeBuilder::new();
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for (count, entry) in archive.entries().map_err(failed)?.enumerate() {
        let mut entry = entry.map_err(|error| refused(error.to_string()))?;
        let raw = entry.path_bytes().into_owned();
        let name =
            String::from_utf8(raw).map_err(|_| refused("the name of an entry is not UTF-8".to_owned()))?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        bytes += entry.size();
        if count >= MOST_ENTRIES || bytes > MOST_BYTES {
            return Err(refused("it is larger than any release".to_owned()));
        }
        let place = inside(&name).ok_or_else(|| refused(format!("{name:?} lies outside of it")))?;
        if place.is_empty() {
            continue;
        }
        let link = || -> Result<String, CompareError> {
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
                let executable = entry.header().mode().map_err(failed)? & 0o100 != 0;
                let size = entry.size();
                let digest = put(store, &mut entry, size, path)?;
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
    Ok(builder.finish(store)?)
}

fn put(store: &Store, entry: &mut impl Read, size: u64, path: &Path) -> Result<Digest, CompareError> {
    let failed = |source: io::Error| CompareError::Io { path: path.to_owned(), source };
    let whole =
        |read: u64| if read == size { Ok(()) } else { Err(failed(io::ErrorKind::UnexpectedEof.into())) };
    if size <= IN_MEMORY {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(failed)?;
        whole(bytes.len() as u64)?;
        return Ok(store.put_bytes(&bytes)?);
    }
    let scratch = store.scratch()?;
    let place = scratch.path().join("file");
    let mut file = File::create(&place).map_err(failed)?;
    whole(io::copy(entry, &mut file).map_err(failed)?)?;
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
fn stays_inside(place: &str, target: &str) -> bool {
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
