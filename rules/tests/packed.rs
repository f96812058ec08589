//! Two packages entry by entry: each is held against the release that it is of, and against the other one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use relgraph_cache::Store;
use relgraph_rules::verify::packed::{Package, compare};
use relgraph_rules::verify::{Listing, Names, Report};
use tar::{Builder, EntryType, Header};

/// A release with a folder, a file, a program and a link.
fn release(at: &Path) -> PathBuf {
    fs::create_dir_all(at.join("bin")).unwrap();
    fs::create_dir_all(at.join("releases/1")).unwrap();
    for (path, mode) in [("bin/app", 0o755), ("releases/1/vm.args", 0o644)] {
        fs::write(at.join(path), path).unwrap();
        fs::set_permissions(at.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    for path in ["bin", "releases", "releases/1"] {
        fs::set_permissions(at.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink("app", at.join("bin/link")).unwrap();
    at.to_owned()
}

/// One entry: path, kind, mode, and what is in it or where it leads.
type Entry<'a> = (&'a str, EntryType, u32, &'a str);

const FOLDER: EntryType = EntryType::Directory;
const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;

const OURS: [Entry<'_>; 6] = [
    ("bin", FOLDER, 0o755, ""),
    ("bin/app", FILE, 0o755, "bin/app"),
    ("bin/link", LINK, 0o777, "app"),
    ("releases", FOLDER, 0o755, ""),
    ("releases/1", FOLDER, 0o755, ""),
    ("releases/1/vm.args", FILE, 0o644, "releases/1/vm.args"),
];

fn package(at: &Path, entries: &[Entry<'_>], time: u64, owner: u64) -> Package {
    let file = flate2::write::GzEncoder::new(fs::File::create(at).unwrap(), flate2::Compression::fast());
    let mut tar = Builder::new(file);
    for (path, kind, mode, text) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_mtime(time);
        header.set_uid(owner);
        header.set_gid(owner);
        match *kind {
            LINK => {
                header.set_size(0);
                tar.append_link(&mut header, path, text).unwrap();
            }
            _ => {
                header.set_size(text.len() as u64);
                tar.append_data(&mut header, path, text.as_bytes()).unwrap();
            }
        }
    }
    tar.into_inner().unwrap().finish().unwrap();
    Package::read(at).unwrap()
}

/// `path: place (why)` of what is found, and how many paths are the same, explained, unexplained.
fn found(theirs: &[Entry<'_>], time: u64, owner: u64) -> (Vec<String>, [usize; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let at = release(&folder.path().join("release"));
    let listing = Listing::folder(&store, &at).unwrap();
    let ours = package(&folder.path().join("ours"), &OURS, 1, 0);
    let theirs = package(&folder.path().join("theirs"), theirs, time, owner);
    let mut report = Report::default();
    compare(&mut report, "app.tar.gz", (&ours, &listing), (&theirs, &listing), &Names::same("app", "1"))
        .unwrap();
    let line = |finding: &relgraph_rules::verify::Finding| {
        let why = finding.explained.as_ref().map(|why| format!(" ({})", why.detail)).unwrap_or_default();
        format!("{}: {}{why}", finding.path, finding.place)
    };
    let counts = report.counts;
    let lines = report.findings.iter().map(line).collect();
    (lines, [counts.same, counts.explained, counts.unexplained])
}

#[test]
fn the_same_package() {
    assert_eq!(found(&OURS, 1, 0), (vec![], [7, 0, 0]));
}

#[test]
fn order_times_owners_folders_and_links_are_explained() {
    let theirs = [
        ("releases/1/vm.args", FILE, 0o644, "releases/1/vm.args"),
        ("bin", FOLDER, 0o755, ""),
        ("bin/app", FILE, 0o755, "bin/app"),
        ("bin/link", FILE, 0o755, "bin/app"),
        ("bin/app", FILE, 0o755, "bin/app"),
    ];
    let (lines, counts) = found(&theirs, 1_700_000_000, 1000);
    assert_eq!(
        lines,
        [
            "app.tar.gz: order (the same entries; ours are sorted)",
            "app.tar.gz: times (ours says the same second of every entry, whenever it is made)",
            "app.tar.gz: owners (ours belongs to nobody, whoever makes it)",
            "app.tar.gz/bin/app: theirs has several entries for it (they are alike)",
            "app.tar.gz/bin/link: theirs has what a link leads to (it is what lies there in the release)",
            "app.tar.gz/releases: theirs has no entry for it (what lies in the folder makes it)",
            "app.tar.gz/releases/1: theirs has no entry for it (what lies in the folder makes it)",
        ]
    );
    assert_eq!(counts, [2, 5, 0]);
}

#[test]
fn what_is_not_as_in_the_release_is_not_explained() {
    let mut theirs = OURS.to_vec();
    theirs[1] = ("bin/app", FILE, 0o644, "bin/app");
    theirs[2] = ("bin/link", LINK, 0o777, "other");
    theirs[5] = ("releases/1/vm.args", FILE, 0o644, "other");
    theirs.push(("more", FILE, 0o644, ""));
    theirs.push(("releases", FOLDER, 0o700, ""));
    let (lines, counts) = found(&theirs, 1, 0);
    assert_eq!(
        lines,
        [
            "app.tar.gz/bin/app: theirs has the mode 0644, and the release 0755",
            "app.tar.gz/bin/link: theirs links to other, and the release to app",
            "app.tar.gz/more: theirs has an entry for it, which the release does not have",
            "app.tar.gz/releases: theirs has several entries for it, which are not alike",
            "app.tar.gz/releases/1/vm.args: theirs has other bytes than the release",
        ]
    );
    assert_eq!(counts, [3, 0, 5]);
    let (lines, _) = found(&OURS[..5], 1, 0);
    assert_eq!(lines, ["app.tar.gz/releases/1/vm.args: theirs has no entry for it"]);
    // A link that leads to something else than what was put in for it.
    let mut theirs = OURS.to_vec();
    theirs[2] = ("bin/link", FILE, 0o755, "another");
    assert_eq!(found(&theirs, 1, 0).0, ["app.tar.gz/bin/link: theirs has other bytes than the release"]);
}
