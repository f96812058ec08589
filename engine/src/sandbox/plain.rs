//! No confinement: what would be mounted below the prefix is linked or copied into the work folder for as long as the
//! program runs.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::spec::{Mount, SandboxError, SandboxSpec};

/// What was put into the work folder; taken out again when dropped.
pub(super) struct Placed {
    links: Vec<PathBuf>,
    copies: Vec<PathBuf>,
}

impl Placed {
    /// Puts the mounts of `spec` in place. One that lies elsewhere than below the work folder, and is not there anyway,
    /// cannot be had.
    pub fn new(spec: &SandboxSpec) -> Result<Placed, SandboxError> {
        let mut placed = Placed { links: Vec::new(), copies: Vec::new() };
        for (index, mount) in spec.mounts.iter().enumerate() {
            let at = Path::new(&mount.at);
            if at == mount.from {
                continue;
            }
            if !at.starts_with(&spec.work) || at == spec.work {
                return Err(SandboxError::Spec(format!(
                    "without a sandbox, {} cannot be had at {}",
                    mount.from.display(),
                    mount.at
                )));
            }
            let holds_others = spec.mounts[index + 1..].iter().any(|m| Path::new(&m.at).starts_with(at));
            placed.place(mount, at, holds_others)?;
        }
        Ok(placed)
    }

    fn place(&mut self, mount: &Mount, at: &Path, holds_others: bool) -> Result<(), SandboxError> {
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        // A mount would cover an empty folder, so a link may take its place.
        match fs::remove_dir(at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("put something in the place of", at)(error));
            }
            _ => {}
        }
        if !holds_others {
            symlink(&mount.from, at).map_err(io_error("link", at))?;
            self.links.push(at.to_owned());
            return Ok(());
        }
        // A link here would let the inner mount be made in the folder that it leads to.
        if mount.writable {
            return Err(SandboxError::Spec(format!(
                "without a sandbox, nothing can be mounted inside the writable {}",
                mount.at
            )));
        }
        self.copies.push(at.to_owned());
        copy(&mount.from, at).map_err(io_error("copy to", at))
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // The work folder is thrown away anyhow: what cannot be removed is in nobody's way.
        for link in self.links.iter().rev() {
            let _ = fs::remove_file(link);
        }
        for copy in self.copies.iter().rev() {
            let _ = fs::remove_dir_all(copy);
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::metadata(from)?.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, target)?;
        } else {
            copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::Io { action, path, source }
}
