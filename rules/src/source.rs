//! Folders of sources: what is in them, by content, and copies of them for steps to work in.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;
use relgraph_cache::{Answer, Digest, FileKind, FileStamp, Hasher, Probe, StatCache, stamp};
use relgraph_engine::StepError;

/// What one name in a folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File {
        /// Its content.
        digest: Digest,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink(String),
}

/// A folder as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct Snapshot {
    root: PathBuf,
    entries: BTreeMap<String, Entry>,
    stamps: BTreeMap<String, FileStamp>,
}

/// The first second of 2000: there are programs for which earlier times are none.
const ONE_AGE: u64 = 946_684_800;

/// Names that are never part of a project's sources: what version control, editors and builds leave behind.
pub const LEFT_OUT: [&str; 7] = [".git", ".hg", ".svn", "_build", "node_modules", ".elixir_ls", ".relgraph"];

/// Where cargo builds unless it is told otherwise, and the file in there by which it says so.
const CARGO_TARGET: (&str, &str) = ("target", "CACHEDIR.TAG");

/// Whether a folder holds what cargo built.
pub fn is_cargo_target(folder: &Path) -> bool {
    folder.ends_with(CARGO_TARGET.0) && folder.join(CARGO_TARGET.1).is_file()
}

impl Snapshot {
    /// Looks at `root`, leaving out the names of [`LEFT_OUT`], what cargo built and the paths that `skip` refuses.
    pub fn take(
        root: &Path,
        skip: &(dyn Fn(&str) -> bool + Sync),
        cache: &StatCache,
    ) -> Result<Snapshot, StepError> {
        let mut names = Vec::new();
        walk(root, "", skip, &mut names)?;
        let looked: Result<Vec<_>, StepError> = names
            .into_par_iter()
            .filter_map(|(path, kind)| {
                let real = root.join(&path);
                let found = match kind {
                    FileKind::Directory => Ok(Entry::Directory),
                    FileKind::Symlink => fs::read_link(&real)
                        .map(|target| Entry::Symlink(target.to_string_lossy().into_owned())),
                    _ => cache.digest(&real).map(|(digest, executable)| Entry::File { digest, executable }),
                };
                match (found, stamp(&real)) {
                    (Ok(entry), Ok(Some(stamp))) => Some(Ok((path, entry, stamp))),
                    // Gone between the listing and the look: as if it had not been there.
                    (_, Ok(None)) => None,
                    (Err(error), _) | (_, Err(error)) => Some(Err(StepError::io("read", &real, &error))),
                }
            })
            .collect();
        let mut entries = BTreeMap::new();
        let mut stamps = BTreeMap::new();
        for (path, entry, stamp) in looked? {
            stamps.insert(path.clone(), stamp);
            entries.insert(path, entry);
        }
        Ok(Snapshot { root: root.to_owned(), entries, stamps })
    }

    /// What was seen below one of its folders, less the paths (seen from that folder) that `skip` refuses.
    pub fn part(&self, directory: &str, skip: &dyn Fn(&str) -> bool) -> Snapshot {
        let mut part =
            Snapshot { root: self.root.join(directory), entries: BTreeMap::new(), stamps: BTreeMap::new() };
        for (path, entry) in self.below(directory) {
            let name = relative(directory, path);
            if !skip(name) {
                part.entries.insert(name.to_owned(), entry.clone());
                part.stamps.extend(self.stamps.get(path).map(|stamp| (name.to_owned(), *stamp)));
            }
        }
        part
    }

    /// What was seen of it, less what `keep` refuses.
    pub fn only(&self, keep: &dyn Fn(&str, &Entry) -> bool) -> Snapshot {
        let mut part =
            Snapshot { root: self.root.clone(), entries: BTreeMap::new(), stamps: BTreeMap::new() };
        for (path, entry) in self.entries.iter().filter(|(path, entry)| keep(path, entry)) {
            part.entries.insert(path.clone(), entry.clone());
            part.stamps.extend(self.stamps.get(path).map(|stamp| (path.clone(), *stamp)));
        }
        part
    }

    /// The same names, the files of which `is_hollow` is true having no content.
    pub fn hollow(mut self, is_hollow: &dyn Fn(&str) -> bool) -> Snapshot {
        for (path, entry) in &mut self.entries {
            if let Entry::File { digest, .. } = entry
                && is_hollow(path)
            {
                *digest = Digest::of(b"");
            }
        }
        self
    }

    /// The same, copies of which have files of one age, as they have in a package.
    pub fn of_one_age(mut self) -> Snapshot {
        for stamp in self.stamps.values_mut() {
            stamp.mtime_ns = (ONE_AGE * 1_000_000_000).cast_signed();
        }
        self
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Everything in it, sorted by path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The stamp that a path had.
    pub fn stamp(&self, path: &str) -> Option<&FileStamp> {
        self.stamps.get(path)
    }

    /// What a path is, links along the way followed as long as they stay inside.
    pub fn get(&self, path: &str) -> Option<(&str, &Entry)> {
        let mut path = path.to_owned();
        for _ in 0..16 {
            match self.resolve(&path) {
                Found::Entry(name, Entry::Symlink(target)) => path = join(parent(name), target)?,
                Found::Entry(name, entry) => return Some((name, entry)),
                Found::Moved(to) => path = to,
                Found::Nothing => return None,
            }
        }
        None
    }

    fn resolve(&self, path: &str) -> Found<'_> {
        if let Some((name, entry)) = self.entries.get_key_value(path) {
            return Found::Entry(name, entry);
        }
        // A folder on the way may be a link.
        let mut end = 0;
        while let Some(next) = path[end..].find('/') {
            end += next;
            if let Some(Entry::Symlink(target)) = self.entries.get(&path[..end]) {
                let moved = join(parent(&path[..end]), target).and_then(|to| join(&to, &path[end + 1..]));
                return moved.map_or(Found::Nothing, Found::Moved);
            }
            end += 1;
        }
        Found::Nothing
    }

    /// Answers a probe about a path of this folder (`""`: the folder itself).
    pub fn answer(&self, probe: &Probe, path: &str) -> Answer {
        let entry = if path.is_empty() { Some(("", &Entry::Directory)) } else { self.get(path) };
        let Some((name, entry)) = entry else { return Answer::Absent };
        match (probe, entry) {
            // A file has no names in it: whoever asks learns nothing of its content.
            (Probe::Kind(_) | Probe::Listing(_), Entry::File { .. }) => Answer::Exists(FileKind::File),
            (Probe::Kind(_), _) => Answer::Exists(FileKind::Directory),
            (Probe::Listing(_), Entry::Directory) => Answer::Listing(self.listing(name)),
            (Probe::Tree(_), Entry::Directory) => Answer::Tree(self.digest_below(name)),
            (_, Entry::File { digest, executable }) => {
                Answer::File { digest: *digest, executable: *executable }
            }
            (_, _) => Answer::Directory,
        }
    }

    fn listing(&self, directory: &str) -> Digest {
        let mut hasher = Hasher::new();
        for (path, _) in self.below(directory) {
            let rest = relative(directory, path);
            if !rest.contains('/') {
                hasher.update(rest.as_bytes());
                hasher.update(b"\0");
            }
        }
        hasher.finish()
    }

    /// A digest of everything below a folder: paths, kinds, contents.
    pub fn digest_below(&self, directory: &str) -> Digest {
        let mut hasher = Hasher::new();
        for (path, entry) in self.below(directory) {
            hasher.update(relative(directory, path).as_bytes());
            let text = match entry {
                Entry::File { digest, executable } => format!("\0f{digest} {executable}\0"),
                Entry::Directory => "\0d\0".to_owned(),
                Entry::Symlink(target) => format!("\0l{target}\0"),
            };
            hasher.update(text.as_bytes());
        }
        hasher.finish()
    }

    /// What has exactly that path.
    pub fn named(&self, path: &str) -> Option<(&str, &Entry)> {
        self.entries.get_key_value(path).map(|(path, entry)| (path.as_str(), entry))
    }

    /// Everything below a folder (`""`: everything), by its whole path.
    pub fn inside(&self, folder: &str) -> impl Iterator<Item = (&str, &Entry)> {
        let from = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let prefix = from.clone();
        let found = self.entries.range(from..).take_while(move |(path, _)| path.starts_with(&prefix));
        found.map(|(path, entry)| (path.as_str(), entry))
    }

    fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        let from = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let prefix = from.clone();
        self.entries.range(from..).take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// Copies the folder to `dest`, which must not exist. `false`: a file was not what it was when it was looked at.
    pub fn stage(&self, dest: &Path) -> Result<bool, StepError> {
        self.copy(dest, &|_| true)
    }

    /// Copies what is not yet in `dest`.
    pub fn stage_missing(&self, dest: &Path) -> Result<bool, StepError> {
        self.copy(dest, &|target| fs::symlink_metadata(target).is_err())
    }

    fn copy(&self, dest: &Path, wanted: &(dyn Fn(&Path) -> bool + Sync)) -> Result<bool, StepError> {
        fs::create_dir_all(dest).map_err(|e| StepError::io("create", dest, &e))?;
        for (path, entry) in &self.entries {
            let target = dest.join(path);
            if *entry == Entry::Directory && wanted(&target) {
                fs::create_dir_all(&target).map_err(|e| StepError::io("create", &target, &e))?;
            }
        }
        let same: Result<Vec<bool>, StepError> = self
            .entries
            .par_iter()
            .map(|(path, entry)| {
                let (from, to) = (self.root.join(path), dest.join(path));
                match entry {
                    Entry::Directory => Ok(true),
                    _ if !wanted(&to) => Ok(true),
                    Entry::Symlink(target) => std::os::unix::fs::symlink(target, &to)
                        .map(|()| true)
                        .map_err(|e| StepError::io("create", &to, &e)),
                    Entry::File { digest, executable } => {
                        let bytes = match *digest == Digest::of(b"") {
                            true => Vec::new(),
                            false => fs::read(&from).map_err(|e| StepError::io("read", &from, &e))?,
                        };
                        let mode = if *executable { 0o755 } else { 0o644 };
                        write(&to, &bytes, mode, self.stamps.get(path))
                            .map_err(|e| StepError::io("write", &to, &e))?;
                        Ok(Digest::of(&bytes) == *digest)
                    }
                }
            })
            .collect();
        Ok(same?.into_iter().all(|same| same))
    }

    /// Whether nothing in the folder moved since it was looked at, as far as these paths go.
    pub fn unchanged<'a>(&self, paths: impl Iterator<Item = &'a str>) -> bool {
        paths.filter_map(|path| self.stamps.get_key_value(path)).all(|(path, then)| {
            matches!(self.entries.get(path), Some(Entry::Directory))
                || matches!(stamp(&self.root.join(path)), Ok(Some(now)) if now == *then)
        })
    }
}

/// Writes a file that is as old as the one it is a copy of: make, and compilers of Mix, look at what is older than what.
fn write(to: &Path, bytes: &[u8], mode: u32, stamp: Option<&FileStamp>) -> std::io::Result<()> {
    let mut file = fs::File::create(to)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    match stamp.and_then(|stamp| u64::try_from(stamp.mtime_ns).ok()) {
        Some(age) => file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(age)),
        None => Ok(()),
    }
}

/// Gives all files of a folder one age, as they have in a package: none is older than what was made of it.
pub fn same_age(folder: &Path) -> Result<(), StepError> {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(ONE_AGE);
    for entry in walkdir::WalkDir::new(folder).into_iter().flatten() {
        if entry.file_type().is_file() {
            fs::File::open(entry.path())
                .and_then(|file| file.set_modified(then))
                .map_err(|e| StepError::io("change the time of", entry.path(), &e))?;
        }
    }
    Ok(())
}

enum Found<'a> {
    Entry(&'a str, &'a Entry),
    Moved(String),
    Nothing,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn relative<'a>(directory: &str, path: &'a str) -> &'a str {
    if directory.is_empty() { path } else { &path[directory.len() + 1..] }
}

/// `path` seen from `base`, both inside a folder that nothing may climb out of.
fn join(base: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = base.split('/').filter(|p| !p.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn walk(
    root: &Path,
    below: &str,
    skip: &(dyn Fn(&str) -> bool + Sync),
    out: &mut Vec<(String, FileKind)>,
) -> Result<(), StepError> {
    let here = root.join(below);
    let listing = fs::read_dir(&here).map_err(|e| StepError::io("list", &here, &e))?;
    for item in listing {
        let item = item.map_err(|e| StepError::io("list", &here, &e))?;
        let name = item.file_name();
        let Some(name) = name.to_str() else { continue };
        if LEFT_OUT.contains(&name) {
            continue;
        }
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        if skip(&path) {
            continue;
        }
        let kind = item.file_type().map_err(|e| StepError::io("read", &item.path(), &e))?;
        if kind.is_dir() && is_cargo_target(&item.path()) {
            continue;
        }
        if kind.is_dir() {
            out.push((path.clone(), FileKind::Directory));
            walk(root, &path, skip, out)?;
        } else if kind.is_symlink() {
            out.push((path, FileKind::Symlink));
        } else if kind.is_file() {
            out.push((path, FileKind::File));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_the_folder_and_never_out_of_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        fs::create_dir_all(root.join("a/b")).expect("folders");
        fs::write(root.join("a/b/file"), "x").expect("a file");
        std::os::unix::fs::symlink("a/b", root.join("link")).expect("a link");
        std::os::unix::fs::symlink("../../outside", root.join("out")).expect("a link");
        std::os::unix::fs::symlink("loop", root.join("loop")).expect("a link");
        let snapshot = Snapshot::take(root, &|_| false, &StatCache::load(Path::new("/nonexistent")))
            .expect("a snapshot");
        let content = |path: &str| snapshot.answer(&Probe::Content(path.into()), path);
        assert_eq!(content("link/file"), content("a/b/file"));
        assert_eq!(content("a/b/file"), Answer::File { digest: Digest::of(b"x"), executable: false });
        assert_eq!(content("out"), Answer::Absent);
        assert_eq!(content("loop"), Answer::Absent);
        assert_eq!(content("link"), Answer::Directory);
    }

    #[test]
    fn a_listing_is_its_names_and_a_tree_is_everything() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        fs::create_dir_all(root.join("a")).expect("a folder");
        fs::write(root.join("a/one"), "1").expect("a file");
        let look = || {
            Snapshot::take(root, &|_| false, &StatCache::load(Path::new("/nonexistent"))).expect("a snapshot")
        };
        let (listing, tree) = (Probe::Listing("a".into()), Probe::Tree("a".into()));
        let before = look();
        fs::write(root.join("a/one"), "2").expect("a file");
        let edited = look();
        fs::write(root.join("a/two"), "2").expect("a file");
        let added = look();
        assert_eq!(before.answer(&listing, "a"), edited.answer(&listing, "a"));
        assert_ne!(before.answer(&tree, "a"), edited.answer(&tree, "a"));
        assert_ne!(edited.answer(&listing, "a"), added.answer(&listing, "a"));
    }
}
