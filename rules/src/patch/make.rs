//! Making a patch: what each file of the new version can be made of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::Path;

use rayon::prelude::*;
use relgraph_cache::{Digest, Hasher, Node, Store};

use super::paths::{Part, part};
use super::tree::Tree;
use super::{Entry, Patch, PatchError, Source, failed, format, frame};
use crate::compare::Side;

/// A patch that was written.
#[derive(Debug, Clone)]
pub struct Made {
    /// What it says.
    pub patch: Patch,
    /// Its size and content.
    pub digest: Digest,
}

/// How much of the new version comes from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files that the old version has.
    pub kept: usize,
    /// Files that it has elsewhere.
    pub copied: usize,
    /// Files that the patch holds.
    pub whole: usize,
    /// Files whose difference it holds.
    pub differences: usize,
    /// The bytes of all of them.
    pub bytes: u64,
}

impl Patch {
    /// How much of the new version comes from where.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.entries.values() {
            let Entry::File { digest, from, .. } = entry else { continue };
            counts.bytes += digest.size;
            match from {
                Source::Kept => counts.kept += 1,
                Source::Copy { .. } => counts.copied += 1,
                Source::Whole { .. } => counts.whole += 1,
                Source::Difference { .. } => counts.differences += 1,
            }
        }
        counts
    }
}

/// Writes the patch from one release to another to `out`, which is replaced when all of it is there.
pub fn make(store: &Store, old: &Side<'_>, new: &Side<'_>, out: &Path) -> Result<Made, PatchError> {
    let (old, new) = (Tree::open(store, old)?, Tree::open(store, new)?);
    let mut patch = plan(&old, &new)?;
    let frame = |(path, entry): (&String, &mut Entry)| -> Result<Vec<u8>, PatchError> {
        let Entry::File { digest, from, .. } = entry else { return Ok(Vec::new()) };
        let candidate = match from {
            Source::Kept | Source::Copy { .. } => return Ok(Vec::new()),
            Source::Whole { .. } => None,
            Source::Difference { path, digest, .. } => Some((path.clone(), *digest)),
        };
        let compressed =
            |old: &[u8], new: &[u8]| frame::compress(old, new).map_err(failed("compress", Path::new(path)));
        let bytes = new.read(digest)?;
        let whole = compressed(&[], &bytes)?;
        if let Some((path, old_digest)) = candidate {
            let difference = compressed(&old.read(&old_digest)?, &bytes)?;
            if difference.len() < whole.len() {
                let length = difference.len() as u64;
                *from = Source::Difference { path, digest: old_digest, length };
                return Ok(difference);
            }
        }
        *from = Source::Whole { length: whole.len() as u64 };
        Ok(whole)
    };
    let entries: Vec<(&String, &mut Entry)> = patch.entries.iter_mut().collect();
    let frames: Vec<Vec<u8>> = entries.into_par_iter().map(frame).collect::<Result<_, _>>()?;
    let mut held = Hasher::new();
    for frame in &frames {
        held.update(frame);
    }
    patch.payload = held.finish();
    format::check(&patch).map_err(PatchError::Pair)?;
    let head = patch.encode().map_err(failed("compress", out))?;
    let digest = write(out, std::iter::once(head).chain(frames))?;
    Ok(Made { patch, digest })
}

/// Writes pieces to a file that takes its place when it is whole, and may be read by everybody.
pub(super) fn write(out: &Path, pieces: impl Iterator<Item = Vec<u8>>) -> Result<Digest, PatchError> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().prefix(".patch-").tempfile_in(folder).map_err(failed("write", out))?;
    let mut written = Hasher::new();
    for piece in pieces {
        written.update(&piece);
        file.write_all(&piece).map_err(failed("write", out))?;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(failed("write", out))?;
    file.persist(out).map_err(|error| failed("write", out)(error.error))?;
    Ok(written.finish())
}

/// What the new version can be made of. A difference is a candidate only; lengths are not known yet.
pub(super) fn plan(old: &Tree<'_>, new: &Tree<'_>) -> Result<Patch, PatchError> {
    if old.version.name != new.version.name {
        let message = format!("`{}` and `{}` are different releases", old.version.name, new.version.name);
        return Err(PatchError::Pair(message));
    }
    if old.entries == new.entries {
        return Err(PatchError::Pair("they are the same".to_owned()));
    }
    let mut by_digest: HashMap<Digest, &String> = HashMap::new();
    let mut counterparts: HashMap<String, (&String, Digest)> = HashMap::new();
    for (path, node) in &old.entries {
        if let Node::File { digest, .. } = node
            && part(path) != Part::Record
        {
            // What all versions share may have moved on where the patch is applied.
            if let Part::Versioned(_) = part(path) {
                by_digest.entry(*digest).or_insert(path);
            }
            counterparts.entry(old.unversioned(path)).or_insert((path, *digest));
        }
    }
    let mut entries = BTreeMap::new();
    for (path, node) in &new.entries {
        let entry = match node {
            Node::Directory { .. } => Entry::Folder,
            Node::Symlink { target } => Entry::Symlink { target: target.clone() },
            Node::File { digest, executable } => {
                let there = match old.entries.get(path) {
                    Some(Node::File { digest, .. }) if part(path) != Part::Record => Some(*digest),
                    _ => None,
                };
                let counterpart = counterparts.get(&new.unversioned(path));
                let copied = match counterpart {
                    Some((path, same)) if same == digest => Some(*path),
                    _ => by_digest.get(digest).copied(),
                };
                let from = if old.entries.get(path) == Some(node) && part(path) != Part::Record {
                    Source::Kept
                } else if part(path) == Part::Record {
                    // It says other things where more versions lie.
                    Source::Whole { length: 0 }
                } else if let Some(path) = copied {
                    Source::Copy { path: path.clone() }
                } else {
                    match counterpart {
                        Some((path, old)) if frame::comparable(old.size, digest.size) => {
                            Source::Difference { path: (*path).clone(), digest: *old, length: 0 }
                        }
                        _ => Source::Whole { length: 0 },
                    }
                };
                let before = there.filter(|there| there != digest);
                Entry::File { digest: *digest, executable: *executable, from, before }
            }
        };
        entries.insert(path.clone(), entry);
    }
    Ok(Patch {
        old: old.version.clone(),
        new: new.version.clone(),
        conflicts: conflicts(old, new),
        entries,
        payload: Digest::of(b""),
    })
}

/// What both versions have under one name, and what only one of them can have there.
fn conflicts(old: &Tree<'_>, new: &Tree<'_>) -> Vec<String> {
    let mut conflicts = BTreeSet::new();
    for (path, node) in &new.entries {
        let Some(there) = old.entries.get(path).filter(|there| *there != node) else { continue };
        match part(path) {
            Part::Versioned(folder) => {
                conflicts.insert(folder.to_owned());
            }
            Part::Shared => match (there, node) {
                (Node::File { .. }, Node::File { .. }) | (Node::Symlink { .. }, Node::Symlink { .. }) => {}
                // A folder of one version is one entry, and so is told by its digest.
                (Node::Directory { .. }, Node::Directory { .. }) => {
                    if let Part::Versioned(folder) = part(&format!("{path}/")) {
                        conflicts.insert(folder.to_owned());
                    }
                }
                _ => {
                    conflicts.insert(path.clone());
                }
            },
            Part::Record | Part::Local => {}
        }
    }
    conflicts.into_iter().collect()
}
