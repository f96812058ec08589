//! Many threads and processes at once, a full disk, a folder that cannot be written.

use std::fs;
use std::path::Path;
use std::process::Command;

use relgraph_cache::{Link, RecordKind, Store, StoreError, TreeBuilder, verify};

const PLACE: &str = "RELGRAPH_TEST_STORE";

fn blob(n: usize) -> Vec<u8> {
    (0..2000 + n * 13).map(|at| (at * n) as u8).collect()
}

/// Puts the same blobs, tree and records as everybody else, and checks that they are there.
fn work(root: &Path) {
    let store = Store::open(root).unwrap();
    let mut builder = TreeBuilder::new();
    for n in 0..200 {
        let digest = store.put_bytes(&blob(n)).unwrap();
        assert!(store.contains(&digest));
        builder.file(&format!("{}/{n}", n % 7), digest, n % 5 == 0).unwrap();
        store.put_record(RecordKind::Result, &format!("{n:04x}"), b"the same").unwrap();
    }
    let tree = builder.finish(&store).unwrap();
    let checkout = store.checkout(&tree).unwrap();
    assert_eq!(fs::read_dir(checkout).unwrap().count(), 7);
    let scratch = store.scratch().unwrap();
    store.materialize(&tree, &scratch.path().join("copy"), Link::Copy).unwrap();
    assert!(store.complete(&tree).unwrap());
    store.index().flush();
}

#[test]
#[ignore = "the part of a child process"]
fn child() {
    if let Some(root) = std::env::var_os(PLACE) {
        work(Path::new(&root));
    }
}

#[test]
fn threads_and_processes_share_a_store() {
    let root = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let start = || {
        let mut command = Command::new(&program);
        command.args(["--exact", "child", "--ignored", "-q"]).env(PLACE, root.path()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(|_| start()).collect();
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| work(root.path())))));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = Store::open(root.path()).unwrap();
    let report = verify(&store, false).unwrap();
    assert!(report.is_sound(), "{report:?}");
    // 200 blobs, 8 directories, 40 executable variants.
    assert_eq!((report.blobs, report.records), (248, 200));
}

/// Linux refuses to link a file that somebody replaces between the look-up of its name and the link.
#[test]
fn a_blob_that_somebody_else_writes_anew_can_be_linked() {
    let threads = 8;
    for _ in 0..25 {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let mut builder = TreeBuilder::new();
        for n in 0..60 {
            builder.file(&format!("{n}"), store.put_bytes(&blob(n)).unwrap(), true).unwrap();
        }
        let tree = builder.finish(&store).unwrap();
        let together = std::sync::Barrier::new(threads);
        std::thread::scope(|scope| {
            for n in 0..threads {
                let (store, tree, together) = (Store::open(root.path()).unwrap(), &tree, &together);
                let dest = root.path().join(format!("dest{n}"));
                scope.spawn(move || {
                    together.wait();
                    store.materialize(tree, &dest, Link::Hard).unwrap();
                });
            }
        });
    }
}

#[test]
fn work_from_inside_another_pool_neither_hangs_nor_steals() {
    use rayon::prelude::*;
    let root = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| (0..4).into_par_iter().for_each(|_| work(root.path())));
    (0..4).into_par_iter().for_each(|_| work(root.path()));
}

#[test]
fn a_tight_umask_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (program, place) = (std::env::current_exe().unwrap(), root.path().join("store"));
    let script = format!("umask 077; exec '{}' --exact child --ignored -q", program.display());
    assert!(Command::new("sh").args(["-c", &script]).env(PLACE, &place).status().unwrap().success());
    use std::os::unix::fs::MetadataExt;
    for shard in fs::read_dir(place.join("cas")).unwrap().flatten() {
        for file in fs::read_dir(shard.path()).unwrap().flatten() {
            let expected = if file.file_name().to_string_lossy().ends_with('x') { 0o555 } else { 0o444 };
            assert_eq!(file.metadata().unwrap().mode() & 0o7777, expected);
        }
    }
}

/// A file system of one megabyte, where the tests may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Small> {
        let root = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=1m", "tmpfs"];
        let done = Command::new("mount").args(mount).arg(root.path()).output();
        done.is_ok_and(|done| done.status.success()).then_some(Small(root))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_is_an_error_with_a_path_and_leaves_nothing_half_done() {
    let Some(small) = Small::mount() else { return };
    let root = small.0.path();
    let store = Store::open(&root.join("store")).unwrap();
    let kept = store.put_bytes(&vec![1; 400_000]).unwrap();
    let error = store.put_bytes(&vec![2; 900_000]).unwrap_err();
    let StoreError::Io { path, source, .. } = &error else { panic!("{error}") };
    assert!(path.starts_with(root) && source.kind() == std::io::ErrorKind::StorageFull, "{error}");
    let mut builder = TreeBuilder::new();
    builder.file("folder/one", kept, false).unwrap();
    builder.file("folder/two", kept, false).unwrap();
    let tree = builder.finish(&store).unwrap();
    let dest = root.join("dest");
    let error = store.materialize(&tree, &dest, Link::Copy).unwrap_err().to_string();
    assert!(error.contains("dest/folder"), "{error}");
    assert!(!dest.exists());
    // What did not fit left no room taken.
    assert!(store.put_bytes(&vec![3; 400_000]).is_ok());
    assert!(verify(&store, false).unwrap().is_sound());
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_with_a_path() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let error = Store::open(&root.path().join("file/store")).unwrap_err().to_string();
    assert!(error.contains("file/store"), "{error}");
    let store = Store::open(&root.path().join("store")).unwrap();
    // A file where the folder of the blob's first digits should be.
    let digest = relgraph_cache::Digest::of(b"abc");
    fs::write(root.path().join("store/cas").join(&digest.hex()[..2]), "").unwrap();
    let error = store.put_bytes(b"abc").unwrap_err().to_string();
    assert!(error.contains(&digest.hex()), "{error}");
    assert!(!store.contains(&digest));
}
