//! The shared folder itself: whether it is there, whether it is one of ours, how a file is written to it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustix::fs::OFlags;
use tempfile::Builder;

use crate::remote::{Access, RemoteError, RemoteErrorKind};

const VERSION: &[u8] = b"relgraph remote folder 1\n";

/// After how many seconds a temporary file belongs to nobody.
const ABANDONED: i64 = 24 * 60 * 60;

/// What is known of a folder that is ready to be written to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    /// Its permissions.
    mode: u32,
    /// It is on a file server.
    distant: bool,
}

/// A shared folder that may not have been made yet.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    pub(super) access: Access,
    /// The folder was there and is one of ours.
    seen: AtomicBool,
    ready: OnceLock<Ready>,
    swept: AtomicBool,
}

pub(super) fn trouble(action: &str, path: &Path, error: &io::Error) -> RemoteError {
    use io::ErrorKind::*;
    let kind = match error.kind() {
        PermissionDenied | ReadOnlyFilesystem => RemoteErrorKind::Denied,
        // The last: a limit on the size of files, which is a quota of a kind.
        StorageFull | QuotaExceeded | FileTooLarge => RemoteErrorKind::Full,
        TimedOut => RemoteErrorKind::Timeout,
        NotFound | StaleNetworkFileHandle | NotConnected | HostUnreachable | NetworkUnreachable => {
            RemoteErrorKind::Unreachable
        }
        _ => RemoteErrorKind::Failed,
    };
    RemoteError::new(kind, format!("cannot {action} {}: {error}", path.display()))
}

/// Opens a regular file. Others may write to the folder: what they make of a name must not block or lead elsewhere.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    match OpenOptions::new().read(true).custom_flags(flags as i32).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Place {
    pub(super) fn new(root: PathBuf, access: Access) -> Place {
        Place {
            root,
            access,
            seen: AtomicBool::new(false),
            ready: OnceLock::new(),
            swept: AtomicBool::new(false),
        }
    }

    pub(super) fn path(&self, part: &str, hex: &str) -> PathBuf {
        self.root.join(part).join(&hex[..2]).join(hex)
    }

    /// Whether there is a folder to read from. One that will be made by the first write is as good as empty; one whose
    /// parent is not there either is a mount that is missing.
    pub(super) fn look(&self) -> Result<bool, RemoteError> {
        if self.seen.load(Ordering::Relaxed) {
            return Ok(true);
        }
        match fs::metadata(&self.root) {
            Ok(meta) if meta.is_dir() => {
                self.version()?;
                self.seen.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Ok(_) => Err(RemoteError::new(
                RemoteErrorKind::Config,
                format!("{} is not a folder", self.root.display()),
            )),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && self.access == Access::ReadWrite
                    && self.root.parent().is_some_and(Path::is_dir) =>
            {
                Ok(false)
            }
            Err(error) => Err(trouble("look at", &self.root, &error)),
        }
    }

    /// Whether the folder says that it is one of ours; an error when it says that it is something else.
    fn version(&self) -> Result<bool, RemoteError> {
        let path = self.root.join("VERSION");
        let mut text = Vec::new();
        if let Some(file) = open(&path).map_err(|error| trouble("read", &path, &error))? {
            file.take(256).read_to_end(&mut text).map_err(|error| trouble("read", &path, &error))?;
        }
        // A part of it is what a crash leaves.
        if !VERSION.starts_with(&text) {
            let why = format!("{} was not written by this version of relgraph", path.display());
            return Err(RemoteError::new(RemoteErrorKind::Config, why));
        }
        Ok(text == VERSION)
    }

    /// Makes the folder what it should be.
    pub(super) fn prepare(&self) -> Result<Ready, RemoteError> {
        if let Some(ready) = self.ready.get() {
            return Ok(*ready);
        }
        if !self.look()? {
            match fs::create_dir(&self.root) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(trouble("make", &self.root, &error));
                }
                _ => {}
            }
        }
        let mode = fs::metadata(&self.root).map_err(|error| trouble("look at", &self.root, &error))?.mode();
        let ready = Ready { mode, distant: is_distant(&self.root) };
        let versioned = self.version()?;
        if !versioned {
            self.unused()?;
        }
        self.folder(&self.root.join("tmp"), mode)?;
        if !versioned {
            let path = self.root.join("VERSION");
            self.write("VERSION-", &path, ready, |file| {
                file.write_all(VERSION).map_err(|error| trouble("write", &path, &error))
            })?;
        }
        Ok(*self.ready.get_or_init(|| ready))
    }

    /// Refuses a folder that has other things in it: its address is a mistake.
    fn unused(&self) -> Result<(), RemoteError> {
        let entries = fs::read_dir(&self.root).map_err(|error| trouble("read", &self.root, &error))?;
        for found in entries.flatten() {
            let name = found.file_name();
            let name = name.to_string_lossy();
            let ours = ["VERSION", "cas", "ac", "tmp", "lost+found"].contains(&&*name);
            if !ours && !name.starts_with('.') {
                let why = format!("{} holds other things, such as `{name}`", self.root.display());
                return Err(RemoteError::new(RemoteErrorKind::Config, why));
            }
        }
        Ok(())
    }

    /// Makes a folder with the permissions of the shared one, whatever the umask.
    fn folder(&self, path: &Path, mode: u32) -> Result<(), RemoteError> {
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(trouble("make", path, &error)),
        }
        if let Ok(meta) = fs::metadata(path) {
            let wanted = meta.mode() & 0o7777 | mode & 0o777;
            if wanted != meta.mode() & 0o7777 {
                let _ = fs::set_permissions(path, Permissions::from_mode(wanted));
            }
        }
        Ok(())
    }

    /// Writes a file under a temporary name, and gives it its own.
    fn write(
        &self,
        what: &str,
        path: &Path,
        ready: Ready,
        fill: impl FnOnce(&mut File) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        let failed = |error: io::Error| trouble("write", path, &error);
        let mode = 0o600 | ready.mode & 0o044;
        let mut builder = Builder::new();
        builder.prefix(what).permissions(Permissions::from_mode(mode));
        let mut file = builder.tempfile_in(self.root.join("tmp")).map_err(failed)?;
        fill(file.as_file_mut())?;
        if ready.distant {
            // The server says only now that its disk is full. The file would be sent when it is closed anyway.
            file.as_file().sync_data().map_err(failed)?;
        }
        let meta = file.as_file().metadata().map_err(failed)?;
        if meta.mode() & mode != mode {
            let _ = file.as_file().set_permissions(Permissions::from_mode(mode));
        }
        if !self.swept.swap(true, Ordering::Relaxed) {
            self.sweep(meta.mtime());
        }
        file.into_temp_path().persist(path).map_err(|error| failed(error.error))
    }

    /// Writes a file whose folder may not be there yet.
    pub(super) fn write_below(
        &self,
        what: &str,
        path: &Path,
        fill: impl FnOnce(&mut File) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        let ready = self.prepare()?;
        if let Some(shard) = path.parent()
            && !shard.is_dir()
        {
            if let Some(part) = shard.parent() {
                self.folder(part, ready.mode)?;
            }
            self.folder(shard, ready.mode)?;
        }
        self.write(what, path, ready, fill)
    }

    /// Removes what writers that died have left: files that are a day older than one that was just made, by the clock of
    /// whoever keeps the folder.
    fn sweep(&self, now: i64) {
        let Ok(entries) = fs::read_dir(self.root.join("tmp")) else { return };
        for found in entries.flatten() {
            let old = found.metadata().is_ok_and(|meta| meta.is_file() && meta.mtime() < now - ABANDONED);
            if old {
                let _ = fs::remove_file(found.path());
            }
        }
    }

    pub(super) fn describe(&self) -> Result<Vec<String>, RemoteError> {
        let mut facts = vec!["a shared folder".to_owned(), "BLAKE3".to_owned()];
        if !self.look()? {
            facts.push("not there yet: the first result makes it".to_owned());
            return Ok(facts);
        }
        let looked = |error: io::Error| trouble("look at", &self.root, &error);
        let disk = rustix::fs::statvfs(&self.root).map_err(|error| looked(error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
        facts.push(format!("{free} MiB free"));
        facts.push(
            if is_distant(&self.root) { "on a file server" } else { "on a disk of this machine" }.to_owned(),
        );
        facts.push("of two who write an entry at the same moment, the second wins".to_owned());
        if self.access == Access::ReadWrite {
            self.probe(|_| Ok(()))?;
            facts.push("can be written to".to_owned());
        }
        Ok(facts)
    }

    /// The time of the machine that keeps the files.
    pub(super) fn clock(&self) -> Result<SystemTime, RemoteError> {
        self.probe(|file| file.metadata()?.modified())
    }

    /// Makes a file that is gone afterwards.
    fn probe<T>(&self, look: impl FnOnce(&std::fs::File) -> io::Result<T>) -> Result<T, RemoteError> {
        let tmp = self.root.join("tmp");
        self.prepare()?;
        let looked = Builder::new().prefix("probe-").tempfile_in(&tmp).and_then(|made| {
            let mut file = made.as_file();
            file.write_all(b"relgraph")?;
            look(file)
        });
        looked.map_err(|error| trouble("write to", &tmp, &error))
    }
}

/// Whether files there are kept by a server, or by a program: what goes wrong with a write shows late.
fn is_distant(path: &Path) -> bool {
    // nfs, smb2, cifs, fuse, 9p, ceph, afs.
    const DISTANT: [u64; 7] =
        [0x6969, 0xfe53_4d42, 0xff53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];
    rustix::fs::statfs(path).is_ok_and(|found| DISTANT.contains(&(found.f_type as u64 & 0xffff_ffff)))
}
