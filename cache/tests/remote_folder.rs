//! A shared folder as a remote.

#[path = "support/web/mod.rs"]
mod web;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use relgraph_cache::Digest;
use relgraph_cache::remote::{Access, Condition, RemoteErrorKind, RemoteSpec, Variables, connect};
use rustix::fs::{CWD, Mode, mkfifoat};
use web::conform::{Conditions, conforms};
use web::server::program;
use web::{at, blob, client, fetch, name, noise};

/// Where the part of a test that runs in a process of its own finds the folder.
const FOLDER: &str = "RELGRAPH_TEST_FOLDER";

fn shared(path: &Path) -> RemoteSpec {
    at(&format!("file://{}", path.display()))
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn file_of(root: &Path, part: &str, hex: &str) -> PathBuf {
    root.join(part).join(&hex[..2]).join(hex)
}

/// A folder that other users can reach, and a copy of this program in it.
fn reachable() -> (tempfile::TempDir, PathBuf) {
    let dir = web::server::folder();
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    (dir, program)
}

/// One of the ignored tests below, in a process that is started through other words.
fn part(words: &[&str], program: &Path, test: &str, folder: &Path) -> Command {
    let mut all: Vec<&str> = words.to_vec();
    let program = program.display().to_string();
    all.extend([program.as_str(), "--ignored", "--exact", test]);
    let mut command = Command::new(all[0]);
    command.args(&all[1..]).env(FOLDER, folder).env("TMPDIR", "/tmp");
    command
}

fn succeeds(command: &mut Command) {
    let out = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
}

fn folder_of_the_test() -> PathBuf {
    std::env::var_os(FOLDER).expect("a folder").into()
}

#[test]
fn a_folder_does_what_every_remote_does() {
    let root = tempfile::tempdir().unwrap();
    let spec = at(&format!("file://{}/shared%20folder", root.path().display()));
    conforms(spec, Conditions::Kept);
    assert!(root.path().join("shared folder/VERSION").is_file());
}

#[test]
fn an_address_names_a_folder_of_this_machine() {
    let kind = |url: &str| connect(&at(url), &Variables::new()).map(|_| ()).map_err(|error| error.kind);
    for url in ["file:///srv/cache", "file://localhost/srv/cache"] {
        assert_eq!(kind(url), Ok(()), "{url}");
    }
    for url in ["file://server/srv", "file://srv", "file:///", "file:///srv?x=1", "file:///srv#1"] {
        assert_eq!(kind(url), Err(RemoteErrorKind::Config), "{url}");
    }
}

#[test]
fn a_mount_that_is_missing_is_not_filled_on_this_disk() {
    let root = tempfile::tempdir().unwrap();
    let spec: RemoteSpec = at(&format!("file://{}/mnt/cache", root.path().display()));
    for access in [Access::Read, Access::ReadWrite] {
        let remote = client(&spec, access);
        let error = remote.get(&web::name("any")).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
        let stored = remote.store(vec![web::blob(b"a".to_vec())]).unwrap_err();
        assert!(matches!(stored.kind, RemoteErrorKind::Unreachable | RemoteErrorKind::Denied), "{stored}");
    }
    assert!(!root.path().join("mnt").exists());
}

#[test]
fn the_folder_says_who_may_write_and_not_the_umask() {
    for (shared_mode, folder_mode, file_mode) in
        [(0o2775, 0o775, 0o644), (0o700, 0o700, 0o600), (0o750, 0o750, 0o640)]
    {
        let (dir, program) = reachable();
        let root = dir.path().join("shared");
        fs::create_dir(&root).unwrap();
        mode(&root, shared_mode);
        let tight = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
        succeeds(&mut part(&tight, &program, "part_that_writes_something", &root));
        let of = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let (blob, entry) = (Digest::of(b"a blob").hex(), name("e").hex());
        for (part, hex) in [("cas", &blob), ("ac", &entry)] {
            let file = file_of(&root, part, hex);
            assert_eq!(of(&file) & 0o777, file_mode);
            for folder in [file.parent().unwrap(), &root.join(part), &root.join("tmp")] {
                assert_eq!(of(folder) & 0o777, folder_mode, "{}", folder.display());
                assert_eq!(of(folder) & 0o2000, shared_mode & 0o2000, "{}", folder.display());
            }
        }
    }
}

#[test]
#[ignore = "a part of another test"]
fn part_that_writes_something() {
    let remote = client(&shared(&folder_of_the_test()), Access::ReadWrite);
    remote.store(vec![blob(b"a blob".to_vec())]).unwrap();
    assert!(remote.put(&name("e"), b"entry", &[], &Condition::Absent).unwrap());
}

#[test]
fn a_folder_of_somebody_else_is_read_and_not_written_to() {
    let (dir, program) = reachable();
    let root = dir.path().join("shared");
    let remote = client(&shared(&root), Access::ReadWrite);
    remote.store(vec![blob(b"a blob".to_vec())]).unwrap();
    assert!(remote.put(&name("e"), b"entry", &[], &Condition::Absent).unwrap());
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let words = if rustix::process::geteuid().is_root() {
        &nobody[..]
    } else {
        // Whoever is not root takes the right from themselves.
        for folder in [&root, &root.join("cas"), &root.join("ac"), &root.join("tmp")] {
            mode(folder, 0o555);
        }
        &["env"]
    };
    succeeds(&mut part(words, &program, "part_of_somebody_else", &root));
    assert_eq!(remote.get(&name("e")).unwrap().unwrap().bytes, b"entry");
    for folder in [&root, &root.join("cas"), &root.join("ac"), &root.join("tmp")] {
        mode(folder, 0o755);
    }
}

#[test]
#[ignore = "a part of another test"]
fn part_of_somebody_else() {
    let root = folder_of_the_test();
    let remote = client(&shared(&root), Access::ReadWrite);
    assert_eq!(remote.get(&name("e")).unwrap().unwrap().bytes, b"entry");
    let digest = Digest::of(b"a blob");
    assert_eq!(fetch(&*remote, &[digest]).0[&digest].as_deref(), Some(&b"a blob"[..]));
    // What is there needs no right.
    remote.store(vec![blob(b"a blob".to_vec())]).unwrap();
    for error in [
        remote.store(vec![blob(b"another".to_vec())]).unwrap_err(),
        remote.put(&name("e"), b"mine", &[], &Condition::Always).unwrap_err(),
        remote.describe().unwrap_err(),
    ] {
        assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
    }
    // Beside it nothing can be made either.
    let beside = client(&shared(&root.with_file_name("other")), Access::ReadWrite);
    let parent = fs::metadata(root.parent().unwrap()).unwrap();
    if parent.uid() != rustix::process::geteuid().as_raw() {
        assert_eq!(beside.store(vec![blob(vec![1])]).unwrap_err().kind, RemoteErrorKind::Denied);
    }
}

#[test]
fn a_full_disk_is_full_and_keeps_what_it_has() {
    let (dir, program) = reachable();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-Urm" };
    let small = "mount -t tmpfs -o size=8m small \"$0\" && exec \"$@\"";
    let here = disk.display().to_string();
    let mut probe = Command::new(program_of_util_linux());
    let may_mount = probe.args([flags, "sh", "-c", small, &here, "true"]).output().unwrap().status.success();
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"];
    let mounted = ["unshare", flags, "sh", "-c", small, &here];
    // Where nobody may mount, files that may not grow stand for a disk that is full.
    let words = if may_mount { &mounted[..] } else { &limited };
    succeeds(&mut part(words, &program, "part_with_a_full_disk", &disk.join("shared")));
}

fn program_of_util_linux() -> PathBuf {
    program("unshare", "util-linux")
}

#[test]
#[ignore = "a part of another test"]
fn part_with_a_full_disk() {
    let root = folder_of_the_test();
    let remote = client(&shared(&root), Access::ReadWrite);
    remote.store(vec![blob(b"a blob".to_vec())]).unwrap();
    assert!(remote.put(&name("e"), b"entry", &[], &Condition::Absent).unwrap());
    let many: Vec<_> = (0..20).map(|n| blob(noise(n, 1_000_000))).collect();
    let digests: Vec<Digest> = many.iter().map(|(digest, _)| *digest).collect();
    let error = remote.store(many).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Full, "{error}");
    let error = remote.put(&name("e"), &noise(99, 8_000_000), &[], &Condition::Always).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Full, "{error}");
    assert_eq!(remote.get(&name("e")).unwrap().unwrap().bytes, b"entry");
    // What arrived is whole, and what did not is not there.
    let missing = remote.missing(&digests).unwrap();
    assert!(!missing.is_empty());
    for (digest, bytes) in fetch(&*remote, &digests).0 {
        assert_eq!(bytes.is_none(), missing.contains(&digest));
        assert!(bytes.is_none_or(|bytes| Digest::of(&bytes) == digest));
    }
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_writer_that_is_killed_leaves_nothing_that_is_taken() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("shared");
    let digests: Vec<Digest> = (0..40).map(|n| Digest::of(&noise(n, 3_000_000))).collect();
    let mut left = 0;
    for round in 0..6 {
        let program = std::env::current_exe().unwrap();
        let mut writer = part(&["env"], &program, "part_that_writes_until_it_is_killed", &folder);
        let mut writer = writer.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Until it has begun, and then a little longer each time.
        while !folder.join("cas").is_dir() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(7 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        left += fs::read_dir(folder.join("tmp")).unwrap().count();
        let reader = client(&shared(&folder), Access::Read);
        let missing = reader.missing(&digests).unwrap();
        for (digest, bytes) in fetch(&*reader, &digests).0 {
            assert_eq!(bytes.is_none(), missing.contains(&digest));
            assert!(bytes.is_none_or(|bytes| Digest::of(&bytes) == digest));
        }
        if let Some(entry) = reader.get(&name("e")).unwrap() {
            assert!(entry.bytes == noise(1, 2_000_000) || entry.bytes == noise(2, 2_000_000));
        }
    }
    assert!(left > 0, "it was never killed in the middle");
    // The next one writes as if nothing had been.
    let writer = client(&shared(&folder), Access::ReadWrite);
    writer.store((0..40).map(|n| blob(noise(n, 3_000_000))).collect()).unwrap();
    assert_eq!(writer.missing(&digests).unwrap(), []);
}

#[test]
#[ignore = "a part of another test"]
fn part_that_writes_until_it_is_killed() {
    let remote = client(&shared(&folder_of_the_test()), Access::ReadWrite);
    let root = folder_of_the_test();
    loop {
        remote.store((0..40).map(|n| blob(noise(n, 3_000_000))).collect()).unwrap();
        for n in [1, 2] {
            assert!(remote.put(&name("e"), &noise(n, 2_000_000), &[], &Condition::Always).unwrap());
        }
        fs::remove_dir_all(root.join("cas")).unwrap();
    }
}

#[test]
fn what_dead_writers_left_is_removed_after_a_day() {
    let root = tempfile::tempdir().unwrap();
    let writer = client(&shared(root.path()), Access::ReadWrite);
    writer.store(vec![blob(b"a blob".to_vec())]).unwrap();
    let (old, new) = (root.path().join("tmp/cas-old"), root.path().join("tmp/cas-new"));
    for (path, hours) in [(&old, 25), (&new, 23)] {
        let file = fs::File::create(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
    }
    let other = client(&shared(root.path()), Access::ReadWrite);
    other.store(vec![blob(b"another".to_vec())]).unwrap();
    assert!(!old.exists() && new.exists());
}

type Change = fn(&Path);

#[test]
fn what_is_torn_or_strange_is_as_good_as_absent() {
    let root = tempfile::tempdir().unwrap();
    let writer = client(&shared(root.path()), Access::ReadWrite);
    let large = noise(1, 9_000_000);
    let digests = [Digest::of(b"a blob"), Digest::of(&large)];
    let all = || vec![blob(b"a blob".to_vec()), blob(large.clone())];
    let entry = file_of(root.path(), "ac", &name("e").hex());
    let blobs = digests.map(|digest| file_of(root.path(), "cas", &digest.hex()));
    let strange: [(&str, Change); 5] = [
        ("empty", |path| fs::write(path, "").unwrap()),
        ("cut", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("a pipe", |path| {
            fs::remove_file(path).unwrap();
            mkfifoat(CWD, path, Mode::from_raw_mode(0o644)).unwrap();
        }),
        ("a symlink", |path| {
            let aside = path.with_extension("aside");
            fs::rename(path, &aside).unwrap();
            symlink(&aside, path).unwrap();
        }),
        ("longer", |path| fs::File::options().append(true).open(path).unwrap().write_all(b"x").unwrap()),
    ];
    for (what, change) in strange {
        writer.store(all()).unwrap();
        assert!(writer.put(&name("e"), b"entry", &digests, &Condition::Always).unwrap());
        for file in blobs.iter().chain([&entry]) {
            change(file);
        }
        let reader = client(&shared(root.path()), Access::Read);
        assert_eq!(reader.get(&name("e")).unwrap(), None, "{what}");
        assert_eq!(reader.missing(&digests).unwrap(), digests, "{what}");
        assert!(fetch(&*reader, &digests).0.values().all(Option::is_none), "{what}");
        writer.store(all()).unwrap();
        assert_eq!(writer.missing(&digests).unwrap(), [], "{what}");
        assert!(writer.put(&name("e"), b"entry", &digests, &Condition::Absent).unwrap(), "{what}");
        assert_eq!(reader.get(&name("e")).unwrap().unwrap().bytes, b"entry", "{what}");
    }
    // Of the right length, with other bytes: whoever may write puts it away.
    for (file, digest) in blobs.iter().zip(&digests) {
        fs::write(file, vec![0; digest.size as usize]).unwrap();
    }
    let reader = client(&shared(root.path()), Access::Read);
    assert!(fetch(&*reader, &digests).0.values().all(Option::is_none));
    assert_eq!(reader.missing(&digests).unwrap(), []);
    assert!(fetch(&*writer, &digests).0.values().all(Option::is_none));
    assert_eq!(writer.missing(&digests).unwrap(), digests);
    writer.store(all()).unwrap();
    assert!(fetch(&*reader, &digests).0.values().all(Option::is_some));
}

#[test]
fn a_folder_with_other_things_in_it_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("letters.txt"), "dear").unwrap();
    let remote = client(&shared(root.path()), Access::ReadWrite);
    let error = remote.store(vec![blob(b"a".to_vec())]).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Config, "{error}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

    let later = tempfile::tempdir().unwrap();
    fs::write(later.path().join("VERSION"), "relgraph remote folder 2\n").unwrap();
    let remote = client(&shared(later.path()), Access::ReadWrite);
    for error in [remote.get(&name("e")).unwrap_err(), remote.store(vec![blob(b"a".to_vec())]).unwrap_err()] {
        assert_eq!(error.kind, RemoteErrorKind::Config, "{error}");
    }
    // One that a crash tore is written again.
    fs::write(later.path().join("VERSION"), "relgraph rem").unwrap();
    let remote = client(&shared(later.path()), Access::ReadWrite);
    remote.store(vec![blob(b"a".to_vec())]).unwrap();
    assert_eq!(fs::read_to_string(later.path().join("VERSION")).unwrap(), "relgraph remote folder 1\n");
    let file = later.path().join("file");
    fs::write(&file, "").unwrap();
    let remote = client(&shared(&file), Access::ReadWrite);
    assert_eq!(remote.get(&name("e")).unwrap_err().kind, RemoteErrorKind::Config);
}

#[test]
fn many_writers_of_the_same_make_one() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("shared");
    let blobs: Vec<_> = (0..50).map(|n| blob(noise(n, 10_000))).collect();
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (folder, blobs) = (&folder, &blobs);
            scope.spawn(move || {
                let remote = client(&shared(folder), Access::ReadWrite);
                remote.store(blobs.clone()).unwrap();
                remote.put(&name("e"), &noise(n, 1000), &[], &Condition::Always).unwrap();
            });
        }
    });
    let reader = client(&shared(&folder), Access::Read);
    assert_eq!(reader.missing(&digests).unwrap(), []);
    let entry = reader.get(&name("e")).unwrap().unwrap();
    assert!((0..8).any(|n| entry.bytes == noise(n, 1000)));
    assert_eq!(fs::read_dir(folder.join("tmp")).unwrap().count(), 0);
}
