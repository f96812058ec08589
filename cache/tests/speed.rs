//! How long the store takes for a release of 3,000 files, beside `cp -r`. Run by hand:
//! `cargo test --release -p relgraph-cache --test speed -- --ignored --nocapture`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use relgraph_cache::{Link, StatCache, Store, stamp};

const FILES: usize = 3000;

/// Files of 1 to 40 KiB in 60 folders, and a few large ones: about what a release holds.
fn make(folder: &Path) {
    for n in 0..FILES {
        let inside = folder.join(format!("lib/app_{}/ebin", n % 60));
        fs::create_dir_all(&inside).unwrap();
        let size = if n % 500 == 0 { 4 << 20 } else { 1024 + (n * 7919) % 40_000 };
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 + n * 17 + at / 251) as u8).collect();
        fs::write(inside.join(format!("Elixir.Module{n}.beam")), bytes).unwrap();
    }
}

/// The best of a few runs; `prepare` is not counted.
fn best(name: &str, mut prepare: impl FnMut(), mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        prepare();
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    println!("{name:<42} {:>8.2} ms", best.as_secs_f64() * 1000.0);
    best
}

#[test]
#[ignore = "measures; run by hand"]
fn a_release_of_3000_files() {
    let root = tempfile::tempdir().unwrap();
    let (source, dest) = (root.path().join("source"), root.path().join("dest"));
    make(&source);
    let all = |_: &str| true;
    let open = || Store::open(&root.path().join("store")).unwrap();
    let clean = || drop(fs::remove_dir_all(&dest));

    best("cp -r", clean, || {
        assert!(Command::new("cp").arg("-r").args([&source, &dest]).status().unwrap().success());
    });
    best(
        "ingest, nothing stored yet",
        || drop(fs::remove_dir_all(root.path().join("store"))),
        || assert!(open().ingest(&source, &all).is_ok()),
    );
    let store = open();
    let mut tree = store.ingest(&source, &all).unwrap();
    best("ingest, all stored", || (), || tree = store.ingest(&source, &all).unwrap());
    std::thread::sleep(Duration::from_millis(30));
    let stats = StatCache::load(&root.path().join("stats"));
    store.ingest_cached(&source, &all, &stats).unwrap();
    best("ingest, stat cache", || (), || assert!(store.ingest_cached(&source, &all, &stats).is_ok()));
    stats.save().unwrap();
    best("stat cache, load", || (), || assert_eq!(StatCache::load(&root.path().join("stats")).len(), FILES));
    best("open", || (), || drop(open()));
    best("open and complete", || (), || assert!(open().complete(&tree).unwrap()));
    best("materialize, copy", clean, || store.materialize(&tree, &dest, Link::Copy).unwrap());
    best("open, complete and materialize, copy", clean, || {
        let store = open();
        assert!(store.complete(&tree).unwrap());
        store.materialize(&tree, &dest, Link::Copy).unwrap();
    });
    best("materialize, hard", clean, || store.materialize(&tree, &dest, Link::Hard).unwrap());
    store.checkout(&tree).unwrap();
    best("checkout, again", || (), || drop(store.checkout(&tree).unwrap()));
    let paths: Vec<_> = store.walk(&tree).unwrap().into_iter().map(|(path, _)| source.join(path)).collect();
    best("stamp, each path", || (), || paths.iter().for_each(|path| assert!(stamp(path).unwrap().is_some())));
    // Turn by turn, because a disk that is busy writing back what came before slows both.
    let ratios = (0..5).map(|_| {
        let ours = once(clean, || store.materialize(&tree, &dest, Link::Copy).unwrap());
        let theirs = once(clean, || {
            assert!(Command::new("cp").arg("-r").args([&source, &dest]).status().unwrap().success());
        });
        println!("copy {:.0} ms, cp -r {:.0} ms", ours * 1000.0, theirs * 1000.0);
        ours / theirs
    });
    println!("copy / cp -r = {:.2} at best", ratios.fold(f64::MAX, f64::min));
}

fn once(prepare: impl Fn(), work: impl FnOnce()) -> f64 {
    prepare();
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
