//! Collection: what is reachable stays, what goes is the least recently used, and nobody is collected under their feet.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use relgraph_cache::gc::{self, Budget};
use relgraph_cache::{Digest, RecordKind, ReleaseRow, Store, StoreError, TreeBuilder, verify};

/// A record of these tests is the text of the digest of its tree.
fn roots(_: RecordKind, bytes: &[u8]) -> Vec<Digest> {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).into_iter().collect()
}

fn budget(bytes: u64) -> Budget {
    Budget { bytes, grace: Duration::ZERO, ..Budget::default() }
}

fn open() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    (root, store)
}

/// A tree with one file of a kilobyte for each number, in folders that several trees share.
fn tree(store: &Store, files: &BTreeSet<u8>) -> Digest {
    let mut builder = TreeBuilder::new();
    for n in files {
        let digest = store.put_bytes(&vec![*n; 1000]).unwrap();
        builder.file(&format!("lib/{}/{n}", n % 3), digest, n % 2 == 0).unwrap();
    }
    builder.directory("log").unwrap();
    store.put_directory(&relgraph_cache::Directory::default()).unwrap();
    builder.finish(store).unwrap()
}

fn release(store: &Store, name: &str, n: u8, tree: Digest) -> String {
    let key = format!("{n:04x}{}", Digest::of(name.as_bytes()).hex());
    store.put_record(RecordKind::Release, &key, tree.to_string().as_bytes()).unwrap();
    let row = ReleaseRow {
        key: key.clone(),
        name: name.to_owned(),
        version: n.to_string(),
        tree,
        created: i64::from(n),
    };
    store.index().add_release(&row).unwrap();
    key
}

/// Waits until everything is older than this second, so that no grace of zero seconds keeps it.
fn age() {
    std::thread::sleep(Duration::from_millis(1100));
}

proptest! {
    // Each case waits for a second to pass.
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]
    #[test]
    fn what_is_reachable_stays(
        results in proptest::collection::vec(proptest::collection::btree_set(0u8..12, 0..5), 1..6),
        released in proptest::collection::btree_set(0u8..12, 0..4),
        garbage in proptest::collection::btree_set(100u8..110, 0..4),
        bytes in 0u64..9000,
    ) {
        let (_root, store) = open();
        let kept = tree(&store, &released);
        release(&store, "shop", 1, kept);
        let trees: Vec<Digest> = results.iter().map(|files| tree(&store, files)).collect();
        for (n, tree) in trees.iter().enumerate() {
            store.put_record(RecordKind::Result, &format!("{n:04x}"), tree.to_string().as_bytes()).unwrap();
        }
        let garbage: Vec<Digest> = garbage.iter().map(|n| store.put_bytes(&[*n; 10]).unwrap()).collect();
        store.checkout(&trees[0]).unwrap();
        age();
        let plan = gc::plan(&store, &budget(bytes), &roots).unwrap();
        let dropped: Vec<&String> = plan.records.iter().map(|(_, key)| key).collect();
        let before = relgraph_cache::status(&store).unwrap();
        prop_assert_eq!(before.blobs.bytes + before.executables.bytes, plan.kept_bytes + plan.freed_bytes);
        gc::execute(&plan).unwrap();
        prop_assert!(store.complete(&kept).unwrap(), "a release lost a blob");
        for (n, tree) in trees.iter().enumerate() {
            let key = format!("{n:04x}");
            let record = store.get_record(RecordKind::Result, &key).unwrap();
            prop_assert_eq!(record.is_none(), dropped.contains(&&key));
            prop_assert!(record.is_none() || store.complete(tree).unwrap(), "a result lost a blob");
        }
        prop_assert!(garbage.iter().all(|digest| !store.contains(digest)), "garbage stayed");
        drop(plan);
        prop_assert!(verify(&store, false).unwrap().is_sound());
        let again = gc::plan(&store, &budget(bytes), &roots).unwrap();
        prop_assert!(again.blobs.is_empty() && again.records.is_empty() && again.checkouts.is_empty());
    }
}

#[test]
fn old_releases_and_results_go_and_the_newest_stay() {
    let (_root, store) = open();
    let keys: Vec<String> = (1..=12).map(|n| release(&store, "shop", n, tree(&store, &[n].into()))).collect();
    let other = release(&store, "other", 1, tree(&store, &[50].into()));
    store.put_record(RecordKind::Result, "00aa", tree(&store, &[60].into()).to_string().as_bytes()).unwrap();
    store.put_record(RecordKind::Parts, "00bb", b"").unwrap();
    age();
    let plan = gc::plan(&store, &budget(0), &roots).unwrap();
    let done = gc::execute(&plan).unwrap();
    drop(plan);
    assert_eq!(done.records, 4);
    let held = |key: &String| store.peek_record(RecordKind::Release, key).unwrap().is_some();
    assert_eq!(keys.iter().map(held).collect::<Vec<_>>(), [vec![false; 2], vec![true; 10]].concat());
    assert!(held(&other));
    assert_eq!(store.index().releases(None).len(), 11);
    assert!(!store.contains(&Digest::of(&[60; 1000])) && !store.contains(&Digest::of(&[1; 1000])));
    assert!(store.contains(&Digest::of(&[3; 1000])));
}

#[test]
fn what_is_new_stays_whatever_the_budget() {
    let (_root, store) = open();
    let blob = store.put_bytes(b"nothing refers to this yet").unwrap();
    store.put_record(RecordKind::Result, "00aa", b"").unwrap();
    let plan = gc::plan(&store, &Budget { bytes: 0, ..Budget::default() }, &roots).unwrap();
    assert!(plan.blobs.is_empty() && plan.records.is_empty());
    gc::execute(&plan).unwrap();
    assert!(store.contains(&blob));
}

#[test]
fn a_store_in_use_is_planned_and_not_collected() {
    let (root, store) = open();
    let other = Store::open(root.path()).unwrap();
    let plan = gc::plan(&store, &Budget::default(), &roots).unwrap();
    assert!(matches!(gc::execute(&plan), Err(StoreError::Busy { .. })));
    drop((plan, other));
    gc::execute(&gc::plan(&store, &Budget::default(), &roots).unwrap()).unwrap();
    // The plan is gone, so the store is free for others again.
    Store::open(root.path()).unwrap();
}
