//! Applying a patch: all is verified first, then made beside the release, then put into its place.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use relgraph_cache::Digest;

use super::base::{self, Base, Found};
use super::paths::{Part, part};
use super::place::{Work, commit, settle, stage};
use super::{Entry, Misfit, Patch, PatchError, Source, Unfit, failed, read_header};
use crate::staging::Staging;

/// What applying a patch came to.
#[derive(Debug, Clone)]
pub struct Applied {
    /// What the patch says.
    pub patch: Patch,
    /// The folder of the release.
    pub release: PathBuf,
    /// Files that were made; none where the version was there already.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the version is the one that is started from now on, and was not before.
    pub activated: bool,
}

/// Makes the new version beside the old one, in the folder of the release. With `activate`, it is the one that is started
/// next, and what all versions share is that of the new one.
pub fn beside(file: &Path, release: &Path, activate: bool) -> Result<Applied, PatchError> {
    let (patch, payload) = read_header(file)?;
    let base = base::release(release)?;
    let _lock = lock(&base.root)?;
    if !patch.conflicts.is_empty() {
        return Err(PatchError::Conflict(patch.conflicts));
    }
    let work = missing(file, &patch, &base, activate)?;
    let mut applied = Applied { release: base.root.clone(), files: 0, bytes: 0, activated: false, patch };
    let staging = Staging::new(&base.root).map_err(failed("create a folder in", &base.root))?;
    let new = staging.path("new");
    (applied.files, applied.bytes) =
        stage(&applied.patch, file, payload, &base, &new, &|path| work.paths.contains(path))?;
    commit(&base, &new, &work)?;
    applied.activated = settle(&applied.patch, file, payload, &base, &staging, &new, &work, activate)?;
    Ok(applied)
}

/// Makes the new version a release of its own, in a folder that does not exist yet.
pub fn into(file: &Path, release: &Path, dest: &Path) -> Result<Applied, PatchError> {
    let (patch, payload) = read_header(file)?;
    let base = base::release(release)?;
    let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if fs::symlink_metadata(dest).is_ok() {
        return Err(PatchError::Occupied { path: dest.to_owned() });
    }
    let needs = patch.entries.iter().flat_map(|(path, entry)| needed(path, entry)).collect();
    let unfit = misfits(&base, needs)?;
    if !unfit.is_empty() {
        return Err(PatchError::Base { path: base.root, unfit });
    }
    let staging = Staging::new(parent).map_err(failed("create a folder in", parent))?;
    let new = staging.path("new");
    let (files, bytes) = stage(&patch, file, payload, &base, &new, &|_| true)?;
    if let Ok(cookie) = base.open("releases/COOKIE")? {
        keep_cookie(cookie, &new.join("releases/COOKIE"))?;
    }
    fs::rename(&new, dest).map_err(failed("put the new release into", dest))?;
    Ok(Applied { patch, release: dest.to_owned(), files, bytes, activated: true })
}

fn keep_cookie(mut cookie: File, to: &Path) -> Result<(), PatchError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(to).map_err(failed("write", to))?;
    std::io::copy(&mut cookie, &mut file).map(drop).map_err(failed("write", to))
}

/// One patch at a time.
fn lock(root: &Path) -> Result<File, PatchError> {
    let folder = File::open(root).map_err(failed("open", root))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(fs::TryLockError::WouldBlock) => Err(PatchError::Busy { path: root.to_owned() }),
        // A file system without locks is one of a single machine.
        Err(fs::TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => Ok(folder),
        Err(fs::TryLockError::Error(error)) => Err(failed("lock", root)(error)),
    }
}

/// The old file that an entry is made of, and what is in it.
fn needed(path: &str, entry: &Entry) -> Option<(String, Digest)> {
    let Entry::File { digest, from, .. } = entry else { return None };
    match from {
        Source::Kept => Some((path.to_owned(), *digest)),
        Source::Copy { path } => Some((path.clone(), *digest)),
        Source::Difference { path, digest, .. } => Some((path.clone(), *digest)),
        Source::Whole { .. } => None,
    }
}

/// What has to be made. Everything that is used of the old version is verified here; nothing is written.
fn missing(file: &Path, patch: &Patch, base: &Base, activate: bool) -> Result<Work, PatchError> {
    let mut work = Work::default();
    let kept: BTreeSet<&str> = patch
        .entries
        .iter()
        .filter(|(_, entry)| matches!(entry, Entry::File { from: Source::Kept, .. }))
        .filter_map(|(path, entry)| folder(path, entry))
        .collect();
    let folders: BTreeSet<&str> =
        patch.entries.iter().filter_map(|(path, entry)| folder(path, entry)).collect();
    let mut unfit = Vec::new();
    let mut needs: BTreeSet<(String, Digest)> = BTreeSet::new();
    for folder in folders {
        let inside = patch.entries.iter().filter(|(path, entry)| self::folder(path, entry) == Some(folder));
        if kept.contains(folder) {
            for (path, entry) in inside {
                match entry {
                    Entry::File { digest, from: Source::Kept, .. } => {
                        needs.insert((path.clone(), *digest));
                    }
                    Entry::File { .. } => {
                        let reason = format!("it changes {path:?}, which the old version has");
                        return Err(PatchError::Refused { path: file.to_owned(), reason });
                    }
                    _ if base.has(path, entry)? => {}
                    _ => unfit.push(Unfit { path: path.clone(), why: Misfit::Missing }),
                }
            }
        } else if base.look(folder)? == Found::Nothing {
            for (path, entry) in inside {
                work.paths.insert(path.clone());
                needs.extend(needed(path, entry));
            }
            work.folders.push(folder.to_owned());
        } else {
            let inside: Vec<_> = inside.collect();
            let there = inside.par_iter().map(|(path, entry)| base.has(path, entry));
            if !there.collect::<Result<Vec<bool>, _>>()?.into_iter().all(|there| there) {
                return Err(PatchError::Occupied { path: base.root.join(folder) });
            }
        }
    }
    if activate {
        for (path, entry) in &patch.entries {
            if part(path) != Part::Shared || folder(path, entry).is_some() || base.has(path, entry)? {
                continue;
            }
            match (entry, base.look(path)?) {
                (_, Found::Nothing) | (Entry::Symlink { .. }, Found::Symlink(_)) => {}
                (Entry::File { before: Some(before), .. }, Found::File(there)) if there == *before => {}
                (_, Found::File(_)) => unfit.push(Unfit { path: path.clone(), why: Misfit::Differs }),
                _ => unfit.push(Unfit { path: path.clone(), why: Misfit::NotAFile }),
            }
            work.paths.insert(path.clone());
            work.shared.push(path.clone());
            needs.extend(needed(path, entry));
        }
    }
    // The version itself comes last: when it is there, all that it needs is.
    let own = format!("releases/{}", patch.new.version);
    work.folders.sort_by_key(|folder| (*folder == own, folder.clone()));
    unfit.extend(misfits(base, needs.into_iter().collect())?);
    if unfit.is_empty() { Ok(work) } else { Err(PatchError::Base { path: base.root.clone(), unfit }) }
}

/// The folder of one version that something is in, or is.
fn folder<'a>(path: &'a str, entry: &Entry) -> Option<&'a str> {
    match part(path) {
        Part::Versioned(folder) => Some(folder),
        Part::Shared if *entry == Entry::Folder => {
            matches!(part(&format!("{path}/")), Part::Versioned(_)).then_some(path)
        }
        Part::Shared | Part::Record | Part::Local => None,
    }
}

/// The old files that are not those that the patch was made from.
fn misfits(base: &Base, needs: Vec<(String, Digest)>) -> Result<Vec<Unfit>, PatchError> {
    let look = |(path, digest): &(String, Digest)| -> Result<Option<Unfit>, PatchError> {
        let why = match base.digest(path)? {
            Ok(there) if there == *digest => return Ok(None),
            Ok(_) => Misfit::Differs,
            Err(misfit) => misfit,
        };
        Ok(Some(Unfit { path: path.clone(), why }))
    };
    Ok(needs.par_iter().map(look).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
