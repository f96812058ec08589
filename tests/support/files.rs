//! Owns what tests do with folders: copies, snapshots, what is inside of a package.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use relgraph_cache::Digest;

use super::said;

/// Copies a project's folder, without what was built in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())).flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == "_build" {
            continue;
        }
        if source.is_dir() && !source.is_symlink() {
            copy(&source, &target);
        } else {
            said(Command::new("cp").arg("-Pp").arg(&source).arg(&target));
        }
    }
}

/// Everything in a folder: modes, contents, targets of links. Two folders are the same when their snapshots are.
pub fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    look(dir, "", &mut all);
    assert!(!all.is_empty(), "{} is empty", dir.display());
    all
}

fn look(dir: &Path, below: &str, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir.join(below)).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let real = entry.path();
        let meta = fs::symlink_metadata(&real).expect("metadata");
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_dir() {
            all.insert(path.clone(), format!("{mode:o} folder"));
            look(dir, &path, all);
        } else if meta.is_symlink() {
            all.insert(path, format!("link to {}", fs::read_link(&real).expect("a link").display()));
        } else {
            all.insert(path, format!("{mode:o} {}", Digest::of_file(&real).expect("a file")));
        }
    }
}

/// The names of one more file than the other, or of files that differ.
pub fn differences(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

/// Asserts that two folders, seen before and after, are the same.
#[track_caller]
pub fn assert_same(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>, what: &str) {
    assert_eq!(differences(one, other), Vec::<String>::new(), "{what}");
}

/// Every regular file below a folder.
pub fn all_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let meta = fs::symlink_metadata(entry.path()).expect("metadata");
        if meta.is_dir() {
            files.extend(all_files(&entry.path()));
        } else if meta.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}
