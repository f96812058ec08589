//! What one metadata call says about a file: [`FileStamp`], and the fastest way to ask.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The metadata that moves when a file is edited, replaced or moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileStamp {
    /// The device it lies on.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When its inode last changed, in nanoseconds since 1970. No program can set it.
    pub ctime_ns: i64,
    /// Its type and permissions, as in `st_mode`.
    pub mode: u32,
}

impl FileStamp {
    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    /// Whether this is a folder.
    pub fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Whether this is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }

    /// Whether its owner may execute it.
    pub fn is_executable(&self) -> bool {
        self.mode & 0o100 != 0
    }
}

/// The stamp of a path; symlinks are not followed. `None`: nothing is there.
pub fn stamp(path: &Path) -> io::Result<Option<FileStamp>> {
    stamp_at(CWD, path)
}

/// As [`stamp`], with `path` relative to an open folder: shorter paths are walked faster.
pub fn stamp_at(folder: impl AsFd, path: impl rustix::path::Arg) -> io::Result<Option<FileStamp>> {
    absent(imp::stat(folder.as_fd(), path, AtFlags::SYMLINK_NOFOLLOW))
}

/// The stamp of what a path leads to.
pub(crate) fn stamp_followed(path: &Path) -> io::Result<Option<FileStamp>> {
    absent(imp::stat(CWD, path, AtFlags::empty()))
}

/// The stamp of an open file.
pub(crate) fn stamp_of(file: impl AsFd) -> io::Result<FileStamp> {
    Ok(imp::stat(file.as_fd(), c"", AtFlags::EMPTY_PATH)?)
}

fn absent(result: Result<FileStamp, Errno>) -> io::Result<Option<FileStamp>> {
    match result {
        Ok(stamp) => Ok(Some(stamp)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use super::{AtFlags, Errno, FileStamp};
    use rustix::fd::BorrowedFd;
    use rustix::fs::{StatxFlags, StatxTimestamp, statx};

    /// `statx` with only the fields of a stamp is the cheapest call there is.
    pub(super) fn stat(
        folder: BorrowedFd<'_>,
        path: impl rustix::path::Arg,
        flags: AtFlags,
    ) -> Result<FileStamp, Errno> {
        let wanted = StatxFlags::TYPE
            | StatxFlags::MODE
            | StatxFlags::INO
            | StatxFlags::SIZE
            | StatxFlags::MTIME
            | StatxFlags::CTIME;
        let stat = statx(folder, path, flags, wanted)?;
        Ok(FileStamp {
            dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            ino: stat.stx_ino,
            size: stat.stx_size,
            mtime_ns: nanoseconds(&stat.stx_mtime),
            ctime_ns: nanoseconds(&stat.stx_ctime),
            mode: u32::from(stat.stx_mode),
        })
    }

    fn nanoseconds(time: &StatxTimestamp) -> i64 {
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::{AtFlags, Errno, FileStamp};
    use rustix::fd::BorrowedFd;

    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)] // the fields differ between systems
    pub(super) fn stat(
        folder: BorrowedFd<'_>,
        path: impl rustix::path::Arg,
        flags: AtFlags,
    ) -> Result<FileStamp, Errno> {
        let stat = if flags.contains(AtFlags::EMPTY_PATH) {
            rustix::fs::fstat(folder)?
        } else {
            rustix::fs::statat(folder, path, flags)?
        };
        let ns = |sec: i64, nsec: i64| sec.saturating_mul(1_000_000_000).saturating_add(nsec);
        Ok(FileStamp {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime_ns: ns(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: ns(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            mode: stat.st_mode as u32,
        })
    }
}
