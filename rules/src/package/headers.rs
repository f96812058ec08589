//! The headers of a tar archive in which nothing but names, kinds, sizes and the executable bit can differ.

use tar::{EntryType, Header};

/// The second that every entry is of. Not 0, which tools take for "unknown" or "implausibly old"; not the time of a
/// commit, which would give one tree two packages.
const TIME: u64 = 1;

/// How much of a name one header holds.
const NAME: usize = 100;

pub(super) fn directory(path: &str, out: &mut Vec<u8>) {
    entry(EntryType::Directory, &format!("{path}/"), "", 0, 0o755, out);
}

pub(super) fn symlink(path: &str, target: &str, out: &mut Vec<u8>) {
    entry(EntryType::Symlink, path, target, 0, 0o777, out);
}

pub(super) fn file(path: &str, size: u64, executable: bool, out: &mut Vec<u8>) {
    entry(EntryType::Regular, path, "", size, if executable { 0o755 } else { 0o644 }, out);
}

/// Fills up to whole records behind a content of `size` bytes.
pub(super) fn pad(out: &mut Vec<u8>, size: u64) {
    out.resize(out.len() + (size.next_multiple_of(512) - size) as usize, 0);
}

fn entry(kind: EntryType, path: &str, target: &str, size: u64, mode: u32, out: &mut Vec<u8>) {
    // Long names go in front as contents of their own, the way of GNU, which all readers know (erl_tar among them).
    if path.len() > NAME {
        long(b'L', path, out);
    }
    if target.len() > NAME {
        long(b'K', target, out);
    }
    header(kind, cut(path).as_bytes(), cut(target).as_bytes(), size, mode, out);
}

fn long(kind: u8, name: &str, out: &mut Vec<u8>) {
    let size = name.len() as u64 + 1;
    header(EntryType::new(kind), b"././@LongLink", b"", size, 0o644, out);
    out.extend(name.as_bytes());
    out.push(0);
    pad(out, size);
}

/// As much of a name as a header holds.
fn cut(name: &str) -> &str {
    let mut end = NAME.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

fn header(kind: EntryType, path: &[u8], target: &[u8], size: u64, mode: u32, out: &mut Vec<u8>) {
    let mut header = Header::new_gnu();
    let fields = header.as_old_mut();
    fields.name[..path.len()].copy_from_slice(path);
    fields.linkname[..target.len()].copy_from_slice(target);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(TIME);
    header.set_cksum();
    out.extend(header.as_bytes());
}
