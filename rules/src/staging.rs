//! A folder beside a release, for what is not complete yet.
//!
//! It is locked as long as its build lives, so that the next build knows what a killed one left and removes it. A process
//! id would mean nothing where containers share a checkout.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".staging";

/// A folder of this process alone, removed with everything in it when dropped.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    _lock: File,
}

impl Staging {
    /// Makes one in `parent`, and removes those that nobody holds any more.
    pub fn new(parent: &Path) -> io::Result<Staging> {
        fs::create_dir_all(parent)?;
        sweep(parent);
        let path = parent.join(format!(".{}{SUFFIX}", std::process::id()));
        loop {
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            match hold(&path) {
                // Somebody swept it before it was locked.
                Ok(None) => {}
                Ok(Some(lock)) => return Ok(Staging { path, _lock: lock }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where something in it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The next build removes what cannot be removed now.
        let _ = relgraph_cache::remove_tree(&self.path);
    }
}

/// Locks a folder, if it still is the one at that path afterwards.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let folder = File::open(path)?;
    match folder.lock() {
        // A file system without locks has no builds of two machines in it either.
        Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
        _ => {}
    }
    let there = fs::symlink_metadata(path)?;
    let held = folder.metadata()?;
    Ok(((there.dev(), there.ino()) == (held.dev(), held.ino())).then_some(folder))
}

fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(SUFFIX)) else {
            continue;
        };
        if id.parse::<u32>().is_ok()
            && let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            let _ = relgraph_cache::remove_tree(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_build_left_is_removed_and_what_is_held_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let left = dir.path().join(".1.staging");
        fs::create_dir(&left).expect("a folder");
        fs::write(left.join("half"), "half").expect("a file");
        let held = dir.path().join(".2.staging");
        fs::create_dir(&held).expect("a folder");
        let lock = hold(&held).expect("a lock").expect("the same folder");
        let own = dir.path().join("release.staging");
        fs::create_dir(&own).expect("a folder");
        let staging = Staging::new(dir.path()).expect("a folder");
        assert!(!left.exists() && held.exists() && own.exists());
        fs::write(staging.path("file"), "x").expect("a file");
        drop(staging);
        drop(lock);
        drop(Staging::new(dir.path()).expect("a folder"));
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["release.staging"]);
    }
}
