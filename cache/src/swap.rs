//! Putting a finished folder in the place of another, so that there is always one.

use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::{At, Result, StoreError};
use crate::{fsutil, remove_tree, stamp};

/// Puts `staging`, which is complete, in the place of `dest`, and removes what was there. Both must lie on one file system.
///
/// The two are exchanged in one step where the system can; otherwise the old one is renamed away first, and renamed back
/// when the new one cannot take its place.
pub fn swap_in(staging: &Path, dest: &Path) -> Result<()> {
    if stamp(staging).at(staging, "look at")?.is_none() {
        return Err(StoreError::io(staging, "move", io::ErrorKind::NotFound));
    }
    for _ in 0..8 {
        match rustix::fs::renameat_with(CWD, staging, CWD, dest, RenameFlags::EXCHANGE) {
            Ok(()) => return remove_tree(staging),
            Err(Errno::NOENT) => {
                // Nothing is there yet. NOREPLACE notices when somebody puts something there meanwhile.
                match rustix::fs::renameat_with(CWD, staging, CWD, dest, RenameFlags::NOREPLACE) {
                    Err(Errno::EXIST) => {}
                    Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                        return swap_by_renames(staging, dest);
                    }
                    other => return other.at(dest, "put the new folder in the place of"),
                }
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => return swap_by_renames(staging, dest),
            Err(error) => return Err(error).at(dest, "replace"),
        }
    }
    Err(StoreError::io(dest, "replace", io::ErrorKind::ResourceBusy))
}

/// [`swap_in`] for file systems that cannot exchange.
fn swap_by_renames(staging: &Path, dest: &Path) -> Result<()> {
    if stamp(dest).at(dest, "look at")?.is_none() {
        return std::fs::rename(staging, dest).at(dest, "put the new folder in the place of");
    }
    let folder = fsutil::parent(dest);
    let keeper = tempfile::Builder::new().prefix(".relgraph-old-").tempdir_in(&folder);
    // Kept by path: dropping must not remove the old folder before it is known to be replaced.
    let keeper = keeper.at(&folder, "create a folder in")?.keep();
    let aside = keeper.join("old");
    let moved = std::fs::rename(dest, &aside).at(dest, "move away").and_then(|()| {
        std::fs::rename(staging, dest).or_else(|error| {
            std::fs::rename(&aside, dest).at(&aside, "move back")?;
            Err(error).at(dest, "put the new folder in the place of")
        })
    });
    match moved {
        Ok(()) => remove_tree(&keeper),
        Err(error) => {
            // Fails when the old folder is still in it, as it must.
            let _ = std::fs::remove_dir(&keeper);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn setup(with_dest: bool) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (staging, dest) = (root.path().join("staging"), root.path().join("dest"));
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("file"), "new").unwrap();
        if with_dest {
            fs::create_dir(&dest).unwrap();
            fs::write(dest.join("file"), "old").unwrap();
            fs::write(dest.join("gone"), "old").unwrap();
        }
        (root, staging, dest)
    }

    #[test]
    fn renames_replace_and_leave_nothing_behind() {
        for with_dest in [false, true] {
            let (root, staging, dest) = setup(with_dest);
            swap_by_renames(&staging, &dest).unwrap();
            assert_eq!(fs::read_to_string(dest.join("file")).unwrap(), "new");
            assert!(!dest.join("gone").exists());
            let left: Vec<_> = fs::read_dir(root.path()).unwrap().flatten().map(|e| e.file_name()).collect();
            assert_eq!(left, ["dest"]);
        }
    }

    #[test]
    fn renames_put_the_old_one_back() {
        let (_root, staging, dest) = setup(true);
        fs::remove_dir_all(&staging).unwrap();
        assert!(swap_by_renames(&staging, &dest).is_err());
        assert_eq!(fs::read_to_string(dest.join("gone")).unwrap(), "old");
    }
}
