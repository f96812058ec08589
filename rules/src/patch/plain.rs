//! A patch of plain files: a `.tar.gz` that `bin/NAME apply` can use with nothing but what every system has.
//!
//! What is new is whole; what the old version has is named. What has to be known is in lists of one thing a line
//! (docs/formats/patch.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use relgraph_cache::{Digest, Node, Store};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::make::{plan, write};
use super::paths::{Part, part};
use super::tree::Tree;
use super::{Entry, Made, PatchError, Source, failed, format, records};
use crate::compare::Side;

/// The first line of `patch/info`.
const FORMAT: &str = "format relgraph plain patch 1";

/// Lists, by the name of their file.
type Lists = BTreeMap<&'static str, String>;

/// Writes the patch of plain files from one release to another to `out`, which is replaced when all of it is there.
pub fn plain(store: &Store, old: &Side<'_>, new: &Side<'_>, out: &Path) -> Result<Made, PatchError> {
    let (old, new) = (Tree::open(store, old)?, Tree::open(store, new)?);
    let mut patch = plan(&old, &new)?;
    if !patch.conflicts.is_empty() {
        return Err(PatchError::Conflict(patch.conflicts));
    }
    for entry in patch.entries.values_mut() {
        if let Entry::File { from: from @ Source::Difference { .. }, .. } = entry {
            *from = Source::Whole { length: 0 };
        }
    }
    format::check(&patch).map_err(PatchError::Pair)?;
    let (lists, held) = lists(&old, &new, &patch)?;
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    let packed = |error: io::Error| failed("write", out)(error);
    // `info` first: whoever reads it knows what the rest is.
    for name in std::iter::once("info").chain(lists.keys().copied().filter(|name| *name != "info")) {
        add(&mut tar, &format!("patch/{name}"), lists[name].as_bytes()).map_err(packed)?;
    }
    for (path, digest) in &held {
        add(&mut tar, &format!("new/{path}"), &new.read(digest)?).map_err(packed)?;
    }
    let bytes = tar.into_inner().and_then(GzEncoder::finish).map_err(packed)?;
    let digest = write(out, std::iter::once(bytes))?;
    Ok(Made { patch, digest })
}

/// The same bytes from the same content.
fn add(tar: &mut Builder<impl Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, path, bytes)
}

/// What the lists say, and the files that the patch holds.
fn lists(
    old: &Tree<'_>,
    new: &Tree<'_>,
    patch: &super::Patch,
) -> Result<(Lists, BTreeMap<String, Digest>), PatchError> {
    let mut lists = Lists::new();
    for name in [
        "copies",
        "executables",
        "folders",
        "links",
        "new.sha256",
        "old.sha256",
        "shared-old.sha256",
        "shared.sha256",
    ] {
        lists.insert(name, String::new());
    }
    let mut put = |name: &'static str, line: String| {
        let _ = writeln!(lists.entry(name).or_default(), "{line}");
    };
    let mut held = BTreeMap::new();
    let mut folders = BTreeSet::new();
    let mut needed: BTreeMap<String, Digest> = BTreeMap::new();
    // What a folder that both versions have consists of is in the old one.
    let kept = |path: &str| match part(path) {
        Part::Versioned(folder) => old.entries.contains_key(folder),
        _ => false,
    };
    for (path, entry) in &patch.entries {
        let shared = match part(path) {
            Part::Versioned(folder) => {
                if !kept(path) {
                    folders.insert(folder.to_owned());
                }
                false
            }
            Part::Shared => true,
            Part::Record | Part::Local => continue,
        };
        match entry {
            _ if kept(path) => {
                if let Entry::File { digest, .. } = entry {
                    needed.insert(path.clone(), *digest);
                }
            }
            Entry::Folder => {
                if shared && matches!(part(&format!("{path}/")), Part::Versioned(_)) {
                    if !old.entries.contains_key(path) {
                        folders.insert(path.clone());
                        put("directories", path.clone());
                    }
                } else if !shared {
                    put("directories", path.clone());
                }
            }
            Entry::Symlink { target } if shared => {
                if old.entries.get(path) != Some(&Node::Symlink { target: target.clone() }) {
                    let message = format!("a patch of plain files cannot change the symlink {path:?}");
                    return Err(PatchError::Pair(message));
                }
            }
            Entry::Symlink { target } => put("links", format!("{path}\t{target}")),
            Entry::File { digest, executable, from, before } => {
                let list = if shared { "shared.sha256" } else { "new.sha256" };
                if shared && *from == Source::Kept {
                    continue;
                }
                put(list, format!("{}  {path}", sha256(&new.read(digest)?)));
                if *executable {
                    put("executables", path.clone());
                }
                if let Some(before) = before.filter(|_| shared) {
                    put("shared-old.sha256", format!("{}  {path}", sha256(&old.read(&before)?)));
                }
                match from {
                    Source::Copy { path: from } if !shared => {
                        needed.insert(from.clone(), *digest);
                        put("copies", format!("{from}\t{path}"));
                    }
                    _ => {
                        held.insert(path.clone(), *digest);
                    }
                }
            }
        }
    }
    for (path, digest) in &needed {
        put("old.sha256", format!("{}  {path}", sha256(&old.read(digest)?)));
    }
    // The version itself comes last: when it is there, all that it needs is.
    let own = format!("releases/{}", new.version.version);
    let (last, first): (Vec<String>, Vec<String>) = folders.into_iter().partition(|folder| *folder == own);
    first.into_iter().chain(last).for_each(|folder| put("folders", folder));
    if let Some(Node::File { digest, .. }) = new.entries.get("releases/RELEASES")
        && let Some(entry) = records::entry(&new.read(digest)?, &new.version.version)
    {
        put("RELEASES", entry);
    }
    let bytes: u64 = held.values().map(|digest| digest.size).sum();
    let (from, to) = (&old.version, &new.version);
    let info = format!(
        "{FORMAT}\nname {}\nold {}\nnew {}\nerts {}\nbytes {bytes}\n",
        to.name, from.version, to.version, to.erts
    );
    lists.insert("info", info);
    for (name, text) in &lists {
        let targets = ["links", "copies"].contains(name);
        if let Some(line) = text.lines().find(|line| !is_plain(line, targets)) {
            return Err(PatchError::Pair(format!("a patch of plain files cannot name {line:?}")));
        }
    }
    Ok((lists, held))
}

/// Whether a script can read it: no control characters, nothing that `tar` or `sha256sum` write in another way.
fn is_plain(line: &str, two: bool) -> bool {
    let tabs = if two { 1 } else { 0 };
    let strange = |char: char| (char.is_control() && char != '\t') || char == '\\';
    line.matches('\t').count() == tabs
        && !line.contains(strange)
        && !line.contains(" -> ")
        && !line.contains(" link to ")
        && line.split(['\t', '/']).all(|name| name.trim() == name)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
