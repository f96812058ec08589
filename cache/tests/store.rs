//! Blobs and records: what is put is there, and what was damaged is not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use relgraph_cache::{Digest, Directory, RecordKind, Store, StoreError, verify};

fn store() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(&root.path().join("store")).unwrap();
    (root, store)
}

/// Changes a file as a stray program of root would, and sets its time as a blob's.
fn damage(path: &Path, bytes: &[u8], keep_stamp: bool) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    if keep_stamp {
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

#[test]
fn what_is_put_is_there_once_and_read_only() {
    let (root, store) = store();
    let big = vec![7; 9 << 20];
    for bytes in [&b""[..], b"abc", &big] {
        let file = root.path().join("file");
        fs::write(&file, bytes).unwrap();
        let digest = store.put_file(&file).unwrap();
        assert_eq!(digest, Digest::of(bytes));
        assert!(store.contains(&digest));
        let path = store.blob_path(&digest, false);
        let before = fs::metadata(&path).unwrap();
        assert_eq!((before.mode() & 0o7777, before.mtime(), before.mtime_nsec()), (0o444, 1, 0));
        store.put_bytes(bytes).unwrap();
        store.put_file(&file).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), before.ino(), "it was written again");
        assert_eq!(store.read(&digest).unwrap(), bytes);
        let executable = store.ensure_executable(&digest).unwrap();
        assert_eq!(fs::metadata(&executable).unwrap().mode() & 0o7777, 0o555);
        assert_eq!(fs::read(executable).unwrap(), bytes);
    }
    assert!(matches!(store.read(&Digest::of(b"no")), Err(StoreError::Missing { .. })));
    assert!(matches!(store.put_file(root.path()), Err(StoreError::Unsupported { .. })));
    let session =
        fs::read_dir(store.root().join("tmp")).unwrap().flatten().find(|e| e.path().is_dir()).unwrap();
    assert_eq!(fs::read_dir(session.path()).unwrap().count(), 0, "temporary files were left");
}

#[test]
fn a_touched_blob_is_hashed_again() {
    let (_root, store) = store();
    let digest = store.put_bytes(b"abc").unwrap();
    let path = store.blob_path(&digest, false);
    fs::File::open(&path).unwrap().set_modified(SystemTime::now()).unwrap();
    assert!(store.contains(&digest));
    assert_eq!(fs::metadata(&path).unwrap().mtime(), 1, "it was not marked as untouched");
    damage(&path, b"abd", false);
    assert!(!store.contains(&digest));
    assert!(!path.exists());
}

#[test]
fn damage_is_found_on_use_and_mended_by_putting_again() {
    let damages: [(&str, &[u8], bool); 4] = [
        ("torn", b"ab", true),
        ("empty", b"", true),
        ("flipped, stamp kept", b"abd", true),
        ("longer", b"abcd", true),
    ];
    for (name, bytes, keep_stamp) in damages {
        let (_root, store) = store();
        let digest = store.put_bytes(b"abc").unwrap();
        let path = store.blob_path(&digest, false);
        damage(&path, bytes, keep_stamp);
        assert!(matches!(store.read(&digest), Err(StoreError::Corrupt { .. })), "{name}");
        assert!(!path.exists(), "{name}");
        assert!(!store.contains(&digest), "{name}");
        store.put_bytes(b"abc").unwrap();
        assert_eq!(store.read(&digest).unwrap(), b"abc", "{name}");
    }
    // A folder in the place of a blob.
    let (_root, store) = store();
    let digest = Digest::of(b"abc");
    fs::create_dir_all(store.blob_path(&digest, false).join("x")).unwrap();
    assert!(!store.contains(&digest));
    store.put_bytes(b"abc").unwrap();
    assert_eq!(store.read(&digest).unwrap(), b"abc");
}

#[test]
fn a_digest_with_another_size_is_another_blob() {
    let (_root, store) = store();
    let digest = store.put_bytes(b"abc").unwrap();
    assert!(store.read(&Digest { size: u64::MAX, ..digest }).is_err());
}

#[test]
fn after_an_unclean_shutdown_blobs_are_hashed_once() {
    let (root, store) = store();
    let (good, torn) = (store.put_bytes(b"good").unwrap(), store.put_bytes(b"torn").unwrap());
    drop(store);
    let store_root = root.path().join("store");
    let marker = fs::read_to_string(store_root.join("dirty")).unwrap();
    fs::write(store_root.join("dirty"), marker.replace(marker.split(' ').next().unwrap(), "another-boot"))
        .unwrap();
    let store = Store::open(&store_root).unwrap();
    // The right length and the old stamp: only hashing shows it.
    damage(&store.blob_path(&torn, false), b"\0\0\0\0", true);
    assert!(store.contains(&good));
    assert!(!store.contains(&torn));
    assert_eq!(fs::metadata(store.blob_path(&good, false)).unwrap().mtime(), 2);
    let new = store.put_bytes(b"new").unwrap();
    assert_eq!(fs::metadata(store.blob_path(&new, false)).unwrap().mtime(), 2);
    drop(store);
    assert!(fs::read_to_string(store_root.join("dirty")).unwrap().ends_with(" 2\n"));
    fs::write(store_root.join("dirty"), "").unwrap();
    assert!(Store::open(&store_root).unwrap().contains(&good));
    assert!(
        fs::metadata(store_root.join(format!("cas/{}/{}", &good.hex()[..2], good.hex()))).unwrap().mtime()
            > 2
    );
}

#[test]
fn a_store_of_another_version_is_not_touched() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("VERSION"), "relgraph store 999\n").unwrap();
    assert!(matches!(Store::open(root.path()), Err(StoreError::Version { .. })));
    fs::write(root.path().join("VERSION"), "").unwrap();
    Store::open(root.path()).unwrap();
}

#[test]
fn scratch_and_sessions_are_swept() {
    let (root, store) = store();
    let scratch = store.scratch().unwrap();
    let kept = scratch.path().to_path_buf();
    fs::create_dir(kept.join("closed")).unwrap();
    fs::set_permissions(kept.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    let dead = root.path().join("store/tmp/s-dead");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("t1"), "left behind").unwrap();
    let second = Store::open(store.root()).unwrap();
    assert!(!dead.exists(), "what a dead process left is still there");
    assert!(kept.exists(), "what a living one uses was swept");
    drop(scratch);
    assert!(!kept.exists());
    drop((store, second));
    let left = fs::read_dir(root.path().join("store/tmp")).unwrap().flatten().filter(|e| e.path().is_dir());
    assert_eq!(left.count(), 0);
}

fn record_file(store: &Store, key: &str) -> PathBuf {
    store.root().join("ac/result").join(&key[..2]).join(key)
}

#[test]
fn records_survive_only_whole() {
    let (_root, store) = store();
    store.put_record(RecordKind::Result, "00aa", b"one").unwrap();
    store.put_record(RecordKind::Result, "00aa", b"two").unwrap();
    assert_eq!(store.get_record(RecordKind::Result, "00aa").unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(store.get_record(RecordKind::Parts, "00aa").unwrap(), None);
    let whole = fs::read(record_file(&store, "00aa")).unwrap();
    for cut in 0..whole.len() {
        fs::write(record_file(&store, "00aa"), &whole[..cut]).unwrap();
        assert_eq!(store.get_record(RecordKind::Result, "00aa").unwrap(), None, "cut at {cut}");
        assert!(!record_file(&store, "00aa").exists());
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(record_file(&store, "00aa"), flipped).unwrap();
        assert_eq!(store.get_record(RecordKind::Result, "00aa").unwrap(), None, "flipped at {at}");
    }
    // The record of another key is not this one's.
    fs::write(record_file(&store, "00ab"), &whole).unwrap();
    assert_eq!(store.get_record(RecordKind::Result, "00ab").unwrap(), None);
    for key in ["", "ab", "../../etc", "00AA", "00ag", &"0".repeat(129)] {
        assert!(
            matches!(store.put_record(RecordKind::Result, key, b""), Err(StoreError::Key { .. })),
            "{key}"
        );
    }
}

#[test]
fn verify_finds_what_stamps_hide() {
    let (_root, store) = store();
    let (good, bad) = (store.put_bytes(b"good").unwrap(), store.put_bytes(b"bad").unwrap());
    store.ensure_executable(&good).unwrap();
    store.put_record(RecordKind::Result, "00aa", b"one").unwrap();
    store.put_record(RecordKind::Result, "00bb", b"two").unwrap();
    assert!(verify(&store, false).unwrap().is_sound());
    damage(&store.blob_path(&bad, false), b"bac", true);
    fs::write(record_file(&store, "00bb"), "torn").unwrap();
    fs::write(store.root().join("cas/foreign"), "").unwrap();
    for _ in 0..2 {
        let report = verify(&store, false).unwrap();
        assert_eq!((report.blobs, report.records), (3, 2));
        assert_eq!(report.corrupt, [store.blob_path(&bad, false)]);
        assert_eq!(report.bad_records, [record_file(&store, "00bb")]);
        assert_eq!(report.foreign, [store.root().join("cas/foreign")]);
    }
    verify(&store, true).unwrap();
    assert!(verify(&store, false).unwrap().is_sound());
    assert!(!store.contains(&bad) && store.contains(&good));
    let status = relgraph_cache::status(&store).unwrap();
    assert_eq!((status.blobs.count, status.blobs.bytes, status.executables.count), (1, 4, 1));
    assert_eq!(status.records["result"].count, 1);
}

#[test]
fn a_blob_that_is_no_directory_is_a_miss() {
    let (_root, store) = store();
    let digest = store.put_bytes(b"abc").unwrap();
    assert!(store.directory(&digest).unwrap_err().is_missing());
    assert!(!store.complete(&digest).unwrap());
    let empty = store.put_directory(&Directory::default()).unwrap();
    assert!(store.complete(&empty).unwrap());
}

#[test]
fn errors_name_the_path() {
    let (root, store) = store();
    let gone = root.path().join("gone");
    let message = store.put_file(&gone).unwrap_err().to_string();
    assert!(message.contains(gone.to_str().unwrap()), "{message}");
}
