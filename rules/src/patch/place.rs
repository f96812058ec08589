//! Making the files of a new version in a folder beside the others, and putting them into their places.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use relgraph_cache::{Digest, Hasher};

use super::base::Base;
use super::{Entry, Misfit, Patch, PatchError, Source, Unfit, failed, frame, records};
use crate::staging::Staging;

/// What has to be made.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Everything, by its path.
    pub(super) paths: BTreeSet<String>,
    /// Folders that the new version has for itself, in the order in which they are put into their places.
    pub(super) folders: Vec<String>,
    /// What all versions share, and is another in the new one.
    pub(super) shared: Vec<String>,
}

/// Makes what is wanted below `dest`, and returns how many files and bytes that was.
pub(super) fn stage(
    patch: &Patch,
    file: &Path,
    payload: u64,
    base: &Base,
    dest: &Path,
    wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Result<(usize, u64), PatchError> {
    let mut at = payload;
    let mut files = Vec::new();
    make_folder(dest)?;
    for (path, entry) in &patch.entries {
        let begin = at;
        at += Patch::length(entry);
        if !wanted(path) {
            continue;
        }
        let real = dest.join(path);
        let above = real.parent().unwrap_or(dest);
        fs::create_dir_all(above).map_err(failed("create", above))?;
        match entry {
            Entry::Folder => make_folder(&real)?,
            Entry::Symlink { target } => {
                std::os::unix::fs::symlink(target, &real).map_err(failed("make the symlink", &real))?;
            }
            Entry::File { digest, .. } => files.push((path, entry, begin, real, digest.size)),
        }
    }
    files.par_iter().try_for_each(|(path, entry, begin, real, _)| {
        make_file(&Held { file, begin: *begin }, base, path, entry, real)
    })?;
    flush(dest)?;
    Ok((files.len(), files.iter().map(|(.., size)| size).sum()))
}

fn make_folder(path: &Path) -> Result<(), PatchError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made.map_err(failed("create", path))?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed("set the mode of", path))
}

/// Everything reaches the disk before anything is renamed: one call for all files, where one each would take long.
fn flush(folder: &Path) -> Result<(), PatchError> {
    let folder_file = File::open(folder).map_err(failed("open", folder))?;
    rustix::fs::syncfs(&folder_file).map_err(|error| failed("write", folder)(error.into()))
}

/// Where a frame is.
struct Held<'a> {
    file: &'a Path,
    begin: u64,
}

impl Held<'_> {
    fn read(&self, length: u64) -> Result<impl Read + use<>, PatchError> {
        let mut file = File::open(self.file).map_err(failed("read", self.file))?;
        file.seek(SeekFrom::Start(self.begin)).map_err(failed("read", self.file))?;
        Ok(file.take(length))
    }
}

fn make_file(held: &Held<'_>, base: &Base, path: &str, entry: &Entry, real: &Path) -> Result<(), PatchError> {
    let Entry::File { digest, executable, from, .. } = entry else { return Ok(()) };
    let unfit = |path: &str, why| PatchError::Base {
        path: base.root.clone(),
        unfit: vec![Unfit { path: path.to_owned(), why }],
    };
    let mode = if *executable { 0o755 } else { 0o644 };
    let mut options = fs::OpenOptions::new();
    let mut out =
        options.write(true).create_new(true).mode(mode).open(real).map_err(failed("write", real))?;
    let mut made = Hasher::new();
    let mut failure = None;
    let mut write = |piece: &[u8]| {
        made.update(piece);
        out.write_all(piece).inspect_err(|error| failure = Some(io::Error::from(error.kind())))
    };
    let expanded = match from {
        Source::Kept => copy(base, path, digest, &mut write)?.map_err(|why| unfit(path, why))?,
        Source::Copy { path } => copy(base, path, digest, &mut write)?.map_err(|why| unfit(path, why))?,
        Source::Whole { length } => frame::expand(held.read(*length)?, &[], digest.size, &mut write),
        Source::Difference { path, digest: old, length } => {
            let old = base.read(path, old)?.map_err(|why| unfit(path, why))?;
            frame::expand(held.read(*length)?, &old, digest.size, &mut write)
        }
    };
    if let Some(error) = failure {
        return Err(failed("write", real)(error));
    }
    let refused = |reason: String| PatchError::Refused { path: held.file.to_owned(), reason };
    expanded.map_err(|error| refused(format!("what it holds of {path:?} is damaged: {error}")))?;
    if made.finish() != *digest {
        return Err(refused(format!("{path:?} does not become what it announces")));
    }
    // Whatever the umask.
    out.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed("set the mode of", real))
}

type Copied = Result<io::Result<()>, Misfit>;

fn copy(
    base: &Base,
    path: &str,
    digest: &Digest,
    write: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Copied, PatchError> {
    let file = match base.open(path)? {
        Ok(file) => file,
        Err(misfit) => return Ok(Err(misfit)),
    };
    let mut file = file.take(digest.size.saturating_add(1));
    let mut piece = vec![0; 1 << 16];
    let mut read = Hasher::new();
    loop {
        match file.read(&mut piece).map_err(failed("read", &base.root.join(path)))? {
            0 => break,
            count => {
                read.update(&piece[..count]);
                if let Err(error) = write(&piece[..count]) {
                    return Ok(Ok(Err(error)));
                }
            }
        }
    }
    Ok(if read.finish() == *digest { Ok(Ok(())) } else { Err(Misfit::Differs) })
}

/// Puts complete folders into their places. When one cannot be put there, those before it are taken back.
pub(super) fn commit(base: &Base, new: &Path, work: &Work) -> Result<(), PatchError> {
    let mut done: Vec<(PathBuf, PathBuf)> = Vec::new();
    for folder in &work.folders {
        let (from, to) = (new.join(folder), base.root.join(folder));
        let above = to.parent().unwrap_or(&base.root);
        let moved = match above.symlink_metadata() {
            Ok(above) if above.is_dir() => fs::rename(&from, &to),
            Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(above).and_then(|()| fs::rename(&from, &to))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = moved {
            for (from, to) in done.iter().rev() {
                // What cannot be taken back is a folder that no version uses.
                let _ = fs::rename(to, from);
            }
            return Err(failed("put the new version into", &to)(error));
        }
        done.push((from, to));
    }
    Ok(())
}

/// Says which versions there are, and with `activate` which one is started; returns whether that was another before.
#[expect(clippy::too_many_arguments)]
pub(super) fn settle(
    patch: &Patch,
    file: &Path,
    payload: u64,
    base: &Base,
    staging: &Staging,
    new: &Path,
    work: &Work,
    activate: bool,
) -> Result<bool, PatchError> {
    for path in &work.shared {
        let (from, to) = (new.join(path), base.root.join(path));
        match patch.entries.get(path) {
            Some(Entry::Folder) => make_folder(&to)?,
            _ => fs::rename(&from, &to).map_err(failed("replace", &to))?,
        }
    }
    let record = staging.path("record");
    let records = "releases/RELEASES";
    if let Some(there) = content(base, records)?
        && patch.entries.contains_key(records)
    {
        stage(patch, file, payload, base, &record, &|path| path == records)?;
        let made = record.join(records);
        let theirs = fs::read(&made).map_err(failed("read", &made))?;
        if let Some(merged) = records::merged(&there, &theirs, &patch.new.version, activate) {
            replace(base, records, &made, &merged)?;
        }
    }
    let start = "releases/start_erl.data";
    let there = content(base, start)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&there).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    if !activate || words == [&patch.new.erts, &patch.new.version] {
        return Ok(false);
    }
    let erts =
        if patch.new.erts.is_empty() { words.first().copied().unwrap_or_default() } else { &patch.new.erts };
    replace(base, start, &staging.path("start"), format!("{erts} {}", patch.new.version).as_bytes())?;
    flush(&base.root)?;
    Ok(true)
}

fn content(base: &Base, path: &str) -> Result<Option<Vec<u8>>, PatchError> {
    let Ok(file) = base.open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(64 << 20).read_to_end(&mut bytes).map_err(failed("read", &base.root.join(path)))?;
    Ok(Some(bytes))
}

fn replace(base: &Base, path: &str, made: &Path, bytes: &[u8]) -> Result<(), PatchError> {
    fs::write(made, bytes).map_err(failed("write", made))?;
    fs::set_permissions(made, fs::Permissions::from_mode(0o644)).map_err(failed("write", made))?;
    let to = base.root.join(path);
    fs::rename(made, &to).map_err(failed("replace", &to))
}
