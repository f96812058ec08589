//! Packages, opened with the tools that users have.

#[allow(dead_code)]
mod erlang;

use std::fs;
use std::path::Path;
use std::process::Command;

use relgraph_cache::{Digest, Store, TreeBuilder};
use relgraph_rules::package::{PackageError, tar_gz};

fn pseudo_random(size: usize) -> Vec<u8> {
    let mut state = 88172645463325252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(|at| if at % 3 == 0 { b'a' } else { next() }).collect()
}

fn store() -> (tempfile::TempDir, Store, Digest) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let mut builder = TreeBuilder::new();
    let mut file = |path: &str, bytes: &[u8], executable| {
        builder.file(path, store.put_bytes(bytes).unwrap(), executable).unwrap();
    };
    file("bin/sequence", b"#!/bin/sh\n", true);
    file("lib/sequence-0.1.0/ebin/big", &pseudo_random(17 << 20), false);
    file("lib/sequence-0.1.0/ebin/block", &pseudo_random((1 << 20) - 512), false);
    file("lib/empty", b"", false);
    file(&format!("priv/{}/{}", "long".repeat(30), "name".repeat(40)), b"long", true);
    file(&format!("priv/{}", "x".repeat(95)), b"exactly 100", false);
    file("priv/žluťoučký kůň", b"unicode", false);
    builder.symlink("priv/link", "../bin/sequence").unwrap();
    builder.symlink("priv/near", "link").unwrap();
    builder.symlink("priv/longlink", &"../".repeat(50)).unwrap();
    builder.directory("log/empty").unwrap();
    let tree = builder.finish(&store).unwrap();
    (folder, store, tree)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn assert_same_tree(store: &Store, tree: &Digest, folder: &Path) {
    assert_eq!(store.ingest(folder, &|_| true).unwrap(), *tree);
}

#[test]
fn gnu_tar_gzip_and_erl_tar_read_a_package() {
    let (folder, store, tree) = store();
    let out = folder.path().join("package.tar.gz");
    let digest = tar_gz(&store, &tree, None, &out).unwrap();
    assert_eq!(Digest::of_file(&out).unwrap(), digest);

    run(Command::new("gzip").arg("-t").arg(&out));
    let listing =
        run(Command::new("tar").env("TZ", "UTC").args(["--full-time", "--numeric-owner", "-tvzf"]).arg(&out));
    let lines: Vec<&str> = listing.lines().collect();
    assert!(
        lines.iter().all(|line| line.contains(" 0/0 ") && line.contains("1970-01-01 00:00:01")),
        "{listing}"
    );
    assert!(lines[0].starts_with("drwxr-xr-x") && lines[0].ends_with(" bin/"), "{listing}");
    assert!(lines[1].starts_with("-rwxr-xr-x") && lines[1].ends_with(" bin/sequence"), "{listing}");
    assert!(listing.contains("priv/link -> ../bin/sequence"), "{listing}");

    let extracted = folder.path().join("extracted");
    fs::create_dir(&extracted).unwrap();
    run(Command::new("tar").arg("-xzf").arg(&out).arg("-C").arg(&extracted));
    assert_same_tree(&store, &tree, &extracted);

    // erl_tar refuses links that go up, even those that stay inside, so for it there are none.
    let mut safe = TreeBuilder::from_tree(&store, &tree).unwrap();
    safe.remove("priv/longlink").unwrap();
    safe.remove("priv/link").unwrap();
    safe.file("priv/link", store.put_bytes(b"").unwrap(), false).unwrap();
    let tree = safe.finish(&store).unwrap();
    let out = folder.path().join("safe.tar.gz");
    tar_gz(&store, &tree, None, &out).unwrap();
    let extracted = folder.path().join("by_erlang");
    let program = r#"[File, To] = Args, ok = erl_tar:extract(File, [compressed, {cwd, To}])"#;
    fs::create_dir(&extracted).unwrap();
    erlang::run(program, &[&out, &extracted]);
    assert_same_tree(&store, &tree, &extracted);
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let (folder, store, tree) = store();
    let mut digests = Vec::new();
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let out = folder.path().join(format!("{threads}.tar.gz"));
        digests.push(pool.install(|| tar_gz(&store, &tree, None, &out)).unwrap());
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);
}

#[test]
fn a_prefix_is_the_folder_of_all_entries() {
    let (folder, store, tree) = store();
    let out = folder.path().join("package.tar.gz");
    tar_gz(&store, &tree, Some("sequence/1"), &out).unwrap();
    let listing = run(Command::new("tar").arg("-tzf").arg(&out));
    assert_eq!(listing.lines().next(), Some("sequence/1/"));
    assert!(listing.lines().all(|line| line.starts_with("sequence/1/")), "{listing}");
    for prefix in ["", "/x", "../x", "a//b"] {
        let result = tar_gz(&store, &tree, Some(prefix), &out);
        assert!(matches!(result, Err(PackageError::Prefix { .. })), "{prefix}");
    }
}

#[test]
fn a_damaged_blob_leaves_the_old_package_in_place() {
    let (folder, store, tree) = store();
    let out = folder.path().join("package.tar.gz");
    fs::write(&out, "old").unwrap();
    let blob = store.blob_path(&Digest::of(b"unicode"), false);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "UNICODE").unwrap();
    assert!(matches!(tar_gz(&store, &tree, None, &out), Err(PackageError::Store(_))));
    assert_eq!(fs::read(&out).unwrap(), b"old");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
