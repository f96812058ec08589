//! A store in which bits flipped, or parts are gone: the release is right all the same.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::TestSpace;
use support::edited::{Edited, edited, expected};
use support::files::{all_files, assert_same, snapshot};

/// Flips one bit in the middle of a file, which keeps its time or not.
fn flip(path: &Path, keep_time: bool) {
    let meta = fs::metadata(path).expect("metadata");
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x10;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("a mode");
    fs::write(path, bytes).expect("written");
    if keep_time {
        let time = meta.modified().expect("a time");
        fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("a time");
    }
    fs::set_permissions(path, meta.permissions()).expect("a mode");
}

fn blob(store: &Path, digest: &str) -> PathBuf {
    store.join("cas").join(&digest[..2]).join(digest.split('/').next().expect("a hash"))
}

#[test]
fn a_flipped_bit_in_what_a_release_is_made_of_is_found() {
    let space = TestSpace::with_sequence();
    let project = space.example("sequence", "checkout");
    let built = project.build();
    let tree = snapshot(&built.release());
    let package = fs::read(built.package()).expect("the package");
    let file = |path: &str| {
        relgraph_cache::Digest::of_file(&built.release().join(path)).expect("a file").to_string()
    };
    let damaged = [
        ("a module", file("lib/sequence-0.1.0/ebin/Elixir.Sequence.beam")),
        ("a boot script", file("releases/0.1.0/start.boot")),
        ("the tree", built.digest().to_owned()),
        ("the package", built.json["packages"][0]["digest"].as_str().expect("a digest").to_owned()),
    ];
    for keep_time in [false, true] {
        for (what, digest) in &damaged {
            flip(&blob(space.store(), digest), keep_time);
            fs::remove_dir_all(project.dir.join("_build")).expect("removed");
            let said = project.ask(&["build"]);
            assert_eq!(said.status, Some(0), "{}", said.err);
            // A tree is read before its step is believed.
            let noticed =
                said.err.contains("it is made again") || said.err.contains("no longer in the store");
            assert!(noticed || !keep_time, "{what}: {}", said.err);
            let again = project.build();
            assert_eq!(again.digest(), built.digest(), "{what}, time kept: {keep_time}");
            assert_same(&tree, &snapshot(&again.release()), what);
            assert!(
                fs::read(again.package()).expect("the package") == package,
                "{what}, time kept: {keep_time}"
            );
        }
    }
}

#[test]
fn a_store_full_of_flipped_bits_is_as_good_as_none() {
    let expected = expected();
    for keep_time in [false, true] {
        let space = TestSpace::with_sequence();
        let Edited { project, .. } = edited(&space, "checkout");
        for file in all_files(space.store()).iter().filter(|file| !file.ends_with("VERSION")) {
            flip(file, keep_time);
        }
        expected.assert_made(&project.build());
    }
}

#[test]
fn a_flipped_bit_in_a_dependency_does_not_reach_its_dependents() {
    let space = TestSpace::cold();
    let project = space.cold_shop("checkout");
    project.build();
    project.append("vendor/money/lib/money.ex", "defmodule Money.Unseen do\n  def unseen, do: :unseen\nend");
    project.append("lib/shop/till.ex", "defmodule Shop.Unseen do\n  def unseen, do: %Money{cents: 1}\nend");
    let reference = project.build();
    let tree = snapshot(&reference.release());
    project.edit("lib/shop/till.ex", "cents: 1}", "cents: 2}");
    let beams: Vec<PathBuf> = all_files(&space.store().join("cas"))
        .into_iter()
        .filter(|file| {
            let bytes = fs::read(file).expect("a blob");
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            bytes.starts_with(b"FOR1")
                && holds(b"Elixir.Money")
                && !holds(b"Elixir.Shop")
                && !holds(b"Elixir.Pricing")
        })
        .collect();
    assert!(beams.len() > 1, "{beams:?}");
    for beam in &beams {
        flip(beam, true);
    }
    let said = project.ask(&["build"]);
    assert!(!said.err.contains("panicked"), "{}", said.err);
    project.edit("lib/shop/till.ex", "cents: 2}", "cents: 1}");
    let back = project.build();
    assert_eq!(back.digest(), reference.digest());
    assert_same(&tree, &snapshot(&back.release()), "the release");
}

#[test]
fn lost_and_garbled_parts_of_the_store_are_made_again() {
    let expected = expected();
    let space = TestSpace::with_sequence();
    let Edited { project, .. } = edited(&space, "checkout");
    project.build();
    for lost in ["ac", "trees", "cas", "tmp", "index.sqlite", "VERSION"] {
        relgraph_cache::remove_tree(&space.store().join(lost)).expect("removed");
        fs::remove_dir_all(project.dir.join("_build")).expect("removed");
        expected.assert_made(&project.build());
    }
    fs::write(space.store().join("index.sqlite"), "this is no database, however long one looks at it")
        .expect("written");
    fs::remove_dir_all(project.dir.join("_build")).expect("removed");
    let again = project.build();
    assert_eq!(again.executed(), 0, "the index mirrors what the files say");
    expected.assert_made(&again);
    for kept in all_files(&project.dir.join("_build/relgraph/.state")) {
        flip(&kept, false);
        expected.assert_made(&project.build());
    }
}
