//! The header of a patch, as docs/formats/patch.md describes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use relgraph_cache::Digest;
use relgraph_cache::codec::{CodecError, Reader, Writer};

use super::paths::{Part, is_sound, part};
use super::{Entry, Patch, PatchError, Source, Version, failed, frame};
use crate::archive::stays_inside;

/// The first line of a patch.
pub const MAGIC: &str = "relgraph patch 1";
const HEADER: &str = "relgraph patch header 1";
/// A header with a million entries is shorter.
const LONGEST: u64 = 1 << 30;
/// More than any release has.
const MOST: u64 = 64 << 30;

const FOLDER: u8 = 1;
const SYMLINK: u8 = 2;
const FILE: u8 = 3;
const EXECUTABLE: u8 = 4;

const KEPT: u8 = 0;
const COPY: u8 = 1;
const WHOLE: u8 = 2;
const DIFFERENCE: u8 = 3;

impl Patch {
    /// What stands before the payload: the first line, how long the header is, the header in fewer bytes.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let header = self.header();
        let mut file = Writer::new(MAGIC);
        file.u64(header.len() as u64).bytes(&frame::compress(&[], &header)?);
        Ok(file.finish())
    }

    /// The header.
    pub fn header(&self) -> Vec<u8> {
        let mut out = Writer::new(HEADER);
        for version in [&self.old, &self.new] {
            out.str(&version.name).str(&version.version).str(&version.erts);
        }
        out.u64(self.conflicts.len() as u64);
        for folder in &self.conflicts {
            out.str(folder);
        }
        out.u64(self.entries.len() as u64);
        for (path, entry) in &self.entries {
            match entry {
                Entry::Folder => {
                    out.u8(FOLDER).str(path);
                }
                Entry::Symlink { target } => {
                    out.u8(SYMLINK).str(path).str(target);
                }
                Entry::File { digest, executable, from, before } => {
                    out.u8(if *executable { EXECUTABLE } else { FILE }).str(path).digest(digest);
                    out.bool(before.is_some());
                    if let Some(before) = before {
                        out.digest(before);
                    }
                    match from {
                        Source::Kept => out.u8(KEPT),
                        Source::Copy { path } => out.u8(COPY).str(path),
                        Source::Whole { length } => out.u8(WHOLE).u64(*length),
                        Source::Difference { path, digest, length } => {
                            out.u8(DIFFERENCE).str(path).digest(digest).u64(*length)
                        }
                    };
                }
            }
        }
        out.digest(&self.payload);
        out.finish_checked()
    }

    /// How many bytes of the payload an entry has.
    pub(super) fn length(entry: &Entry) -> u64 {
        match entry {
            Entry::File { from: Source::Whole { length } | Source::Difference { length, .. }, .. } => *length,
            _ => 0,
        }
    }
}

/// Reads a header, and refuses what no writer makes and what is not meant well.
pub fn decode_header(bytes: &[u8]) -> Result<Patch, String> {
    let mut reader = Reader::new_checked(bytes, HEADER).map_err(|error| error.to_string())?;
    let patch = parse(&mut reader).map_err(|error| error.to_string())?;
    reader.finish().map_err(|error| error.to_string())?;
    check(&patch)?;
    Ok(patch)
}

fn parse(reader: &mut Reader<'_>) -> Result<Patch, CodecError> {
    let mut version = || -> Result<Version, CodecError> {
        let mut text = || Ok::<_, CodecError>(reader.str()?.to_owned());
        Ok(Version { name: text()?, version: text()?, erts: text()? })
    };
    let (old, new) = (version()?, version()?);
    let mut conflicts: Vec<String> = Vec::new();
    for _ in 0..reader.count(8)? {
        conflicts.push(reader.str()?.to_owned());
    }
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for _ in 0..reader.count(9)? {
        let kind = reader.u8()?;
        let path = reader.str()?.to_owned();
        if entries.last_key_value().is_some_and(|(last, _)| *last >= path) {
            return Err(reader.invalid("the order of the entries"));
        }
        let entry = match kind {
            FOLDER => Entry::Folder,
            SYMLINK => Entry::Symlink { target: reader.str()?.to_owned() },
            FILE | EXECUTABLE => {
                let digest = reader.digest()?;
                let before = if reader.bool()? { Some(reader.digest()?) } else { None };
                let from = match reader.u8()? {
                    KEPT => Source::Kept,
                    COPY => Source::Copy { path: reader.str()?.to_owned() },
                    WHOLE => Source::Whole { length: reader.u64()? },
                    DIFFERENCE => Source::Difference {
                        path: reader.str()?.to_owned(),
                        digest: reader.digest()?,
                        length: reader.u64()?,
                    },
                    _ => return Err(reader.invalid("the source of a file")),
                };
                Entry::File { digest, executable: kind == EXECUTABLE, from, before }
            }
            _ => return Err(reader.invalid("the kind of an entry")),
        };
        entries.insert(path, entry);
    }
    Ok(Patch { old, new, conflicts, entries, payload: reader.digest()? })
}

/// Whether nothing in it leads out of a release.
pub(super) fn check(patch: &Patch) -> Result<(), String> {
    for version in [&patch.old, &patch.new] {
        let sound = |text: &str| is_sound(text) && !text.contains('/');
        if !sound(&version.name) || !sound(&version.version) {
            return Err(format!(
                "{:?} {:?} is no name and version of a release",
                version.name, version.version
            ));
        }
    }
    let outside = |path: &String| format!("{path:?} lies outside of the release");
    let (mut bytes, mut payload) = (0u64, 0u64);
    for (path, entry) in &patch.entries {
        if !is_sound(path) {
            return Err(outside(path));
        }
        if part(path) == Part::Local {
            return Err(format!("{path:?} is made where a release runs, and in no patch"));
        }
        if let Some((above, _)) = path.rsplit_once('/')
            && patch.entries.get(above) != Some(&Entry::Folder)
        {
            return Err(format!("{path:?} lies in no folder"));
        }
        match entry {
            Entry::Folder => {}
            Entry::Symlink { target } => {
                if target.is_empty() || target.contains('\0') || !stays_inside(path, target) {
                    return Err(format!("the symlink {path:?} leads out of the release, to {target:?}"));
                }
            }
            Entry::File { digest, from, .. } => {
                bytes = bytes.saturating_add(digest.size);
                payload = payload.saturating_add(Patch::length(entry));
                match from {
                    Source::Copy { path } | Source::Difference { path, .. } if !is_sound(path) => {
                        return Err(outside(path));
                    }
                    Source::Difference { digest: old, .. } if !frame::comparable(old.size, digest.size) => {
                        return Err(format!("{path:?} is too large for a difference"));
                    }
                    _ => {}
                }
            }
        }
    }
    let own = format!("releases/{}", patch.new.version);
    if patch.entries.get(&own) != Some(&Entry::Folder) {
        return Err(format!("it makes no folder {own}"));
    }
    if bytes > MOST {
        return Err(format!("it makes more than {MOST} bytes, which is larger than any release should be"));
    }
    if payload != patch.payload.size {
        return Err("the lengths of its frames are not that of what it holds".to_owned());
    }
    Ok(())
}

/// Reads the header of a patch and verifies all that it holds. Returns where what it holds begins, too.
pub fn read_header(path: &Path) -> Result<(Patch, u64), PatchError> {
    let refused = |reason: String| PatchError::Refused { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(failed("read", path))?;
    let mut start = Vec::new();
    let begin = MAGIC.len() as u64 + 17;
    file.by_ref().take(begin).read_to_end(&mut start).map_err(failed("read", path))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Err(refused(
            "it is compressed: a patch of plain files is applied by `bin/NAME apply`".into(),
        ));
    }
    let mut reader = Reader::new(&start, MAGIC).map_err(|error| refused(error.to_string()))?;
    let mut number = || reader.u64().map_err(|error| refused(error.to_string()));
    let (whole, length) = (number()?, number()?);
    if whole > LONGEST || length > LONGEST {
        return Err(refused("its header is longer than any should be".into()));
    }
    let mut packed = Vec::new();
    file.by_ref().take(length).read_to_end(&mut packed).map_err(failed("read", path))?;
    if packed.len() as u64 != length {
        return Err(refused("it ends early".into()));
    }
    let mut header = Vec::new();
    let unpacked = frame::expand(&packed[..], &[], whole, |piece| {
        header.extend_from_slice(piece);
        Ok(())
    });
    unpacked.map_err(|error| refused(format!("its header is damaged: {error}")))?;
    let patch = decode_header(&header).map_err(refused)?;
    let held = Digest::of_reader(&mut file.by_ref().take(patch.payload.size.saturating_add(1)))
        .map_err(failed("read", path))?;
    match held {
        held if held == patch.payload => Ok((patch, begin + length)),
        held if held.size < patch.payload.size => Err(refused("it ends early".into())),
        _ => Err(refused("it is damaged: it does not hold what it announces".into())),
    }
}
