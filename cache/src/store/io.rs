//! The few system calls that move bytes between files, retried where a signal interrupts them.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Digest, Hasher};

/// Files up to this size are read whole; larger ones pass through in pieces.
pub(super) const WHOLE: u64 = 8 << 20;
pub(super) const PIECE: usize = 1 << 20;

pub(super) fn create_at(folder: BorrowedFd<'_>, name: &str, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(folder, name, flags, mode)
}

/// Reads at most `size` bytes into `buffer` and cuts it to them. Returns how many there were, or more than `size` when
/// the file goes on: one call for a file of the expected size.
pub(super) fn read_whole(
    file: BorrowedFd<'_>,
    size: usize,
    buffer: &mut Vec<u8>,
) -> rustix::io::Result<usize> {
    if buffer.capacity() > WHOLE as usize * 2 && size < WHOLE as usize {
        *buffer = Vec::new();
    }
    buffer.resize(size + 1, 0);
    let mut at = 0;
    loop {
        match rustix::io::read(file, &mut buffer[at..]) {
            Ok(0) => break,
            Ok(count) => {
                at += count;
                // A short read at the expected end is the end of a regular file.
                if at >= size {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(at.min(size));
    Ok(at)
}

pub(super) fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn copy_hashing(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<Digest, io::Error> {
    let mut piece = vec![0; PIECE];
    let mut hasher = Hasher::new();
    loop {
        match rustix::io::read(from, &mut piece[..]) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => {
                hasher.update(&piece[..count]);
                write_all(to, &piece[..count])?;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
