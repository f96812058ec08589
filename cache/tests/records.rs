//! Manifests, the stat cache and the index.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use relgraph_cache::{
    Alternative, Answer, Digest, MAX_ALTERNATIVES, MAX_PROBES, Manifest, Probe, RecordKind, ReleaseRow,
    RunRow, StatCache, Store,
};

fn probe(n: u8) -> Probe {
    Probe::Content(format!("file {n}"))
}

fn answer(n: u8) -> Answer {
    if n == 0 { Answer::Absent } else { Answer::Value(Digest::of(&[n])) }
}

fn alternatives() -> impl Strategy<Value = Vec<Vec<(u8, u8)>>> {
    let one = proptest::collection::btree_map(0u8..5, 0u8..3, 0..5);
    proptest::collection::vec(one.prop_map(|probes| probes.into_iter().collect()), 0..8)
}

proptest! {
    #[test]
    fn find_returns_the_newest_alternative_that_holds(recorded in alternatives(), world in any::<[u8; 5]>()) {
        let world = world.map(|n| n % 3);
        let mut manifest = Manifest::default();
        for (n, probes) in recorded.iter().enumerate() {
            let probes = probes.iter().rev().map(|(p, a)| (probe(*p), answer(*a))).collect();
            let kept = manifest.record(Alternative { probes, result: format!("{n:04x}") });
            prop_assert!(kept);
        }
        let mut asked = Vec::new();
        let found = manifest.find(|asked_for| {
            prop_assert_asked(&mut asked, asked_for);
            let n = (0..5).find(|n| probe(*n) == *asked_for).unwrap();
            answer(world[usize::from(n)])
        });
        let holds = |probes: &Vec<(u8, u8)>| probes.iter().all(|(p, a)| world[usize::from(*p)] == *a);
        let expected = recorded.iter().rposition(holds).map(|n| format!("{n:04x}"));
        prop_assert_eq!(found.map(|alternative| alternative.result.clone()), expected);
        let answers = |asked_for: &Probe| answer(world[(0..5).position(|n| probe(n) == *asked_for).unwrap()]);
        if let Some((moved, was, is)) = manifest.first_mismatch(answers) {
            prop_assert!(was != is && answers(&moved) == is);
        } else if let Some(newest) = recorded.last() {
            prop_assert!(holds(newest));
        }
        prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn a_damaged_manifest_is_refused_or_is_another(
        recorded in alternatives(), at in any::<prop::sample::Index>(), change in 1u8..,
    ) {
        let mut manifest = Manifest::default();
        for probes in &recorded {
            let probes = probes.iter().map(|(p, a)| (probe(*p), answer(*a))).collect();
            manifest.record(Alternative { probes, result: "00ff".to_owned() });
        }
        let mut bytes = manifest.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        if let Ok(other) = Manifest::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}

fn prop_assert_asked(asked: &mut Vec<Probe>, probe: &Probe) {
    assert!(!asked.contains(probe), "a probe was asked twice");
    asked.push(probe.clone());
}

#[test]
fn a_manifest_stays_small() {
    let mut manifest = Manifest::default();
    for n in 0..100 {
        let probes = vec![(probe(n), Answer::Absent)];
        assert!(manifest.record(Alternative { probes, result: format!("{n:04}") }));
    }
    assert_eq!(manifest.alternatives.len(), MAX_ALTERNATIVES);
    assert_eq!(manifest.alternatives[0].result, "0099");
    let many = (0..=MAX_PROBES).map(|n| (Probe::Env(n.to_string()), Answer::Absent)).collect();
    assert!(!manifest.record(Alternative { probes: many, result: String::new() }));
    let twice = vec![(probe(1), Answer::Absent), (probe(1), Answer::Directory)];
    assert!(!manifest.record(Alternative { probes: twice, result: String::new() }));
    assert_eq!(manifest.alternatives.len(), MAX_ALTERNATIVES);
}

fn age() {
    std::thread::sleep(Duration::from_millis(40));
}

#[test]
fn the_stat_cache_trusts_only_files_that_had_aged() {
    let root = tempfile::tempdir().unwrap();
    let (file, saved) = (root.path().join("file"), root.path().join("stats"));
    let stats = StatCache::load(&saved);
    fs::write(&file, "abc").unwrap();
    assert_eq!(stats.digest(&file).unwrap(), (Digest::of(b"abc"), false));
    assert_eq!(stats.len(), 0, "a file that was just written is held");
    age();
    stats.digest(&file).unwrap();
    assert_eq!(stats.len(), 1);
    stats.save().unwrap();
    assert_eq!(StatCache::load(&saved).len(), 1);

    // The same size and modification time, another content: the change time shows it.
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "abd").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    let loaded = StatCache::load(&saved);
    assert_eq!(loaded.digest(&file).unwrap().0, Digest::of(b"abd"));
    // A time in the future never ages.
    fs::File::open(&file).unwrap().set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
    age();
    loaded.digest(&file).unwrap();
    assert_eq!(loaded.len(), 0);
    assert!(loaded.digest(&root.path().join("gone")).is_err());
    assert!(loaded.digest(root.path()).is_err());
}

#[test]
fn a_held_digest_is_used_without_reading() {
    let root = tempfile::tempdir().unwrap();
    let (file, saved) = (root.path().join("file"), root.path().join("stats"));
    fs::write(&file, "abc").unwrap();
    age();
    let stats = StatCache::load(&saved);
    stats.digest(&file).unwrap();
    stats.save().unwrap();
    let whole = fs::read(&saved).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&saved, damaged).unwrap();
        assert_eq!(StatCache::load(&saved).len(), 0, "damage at {at} was not noticed");
        fs::write(&saved, &whole[..at]).unwrap();
        assert_eq!(StatCache::load(&saved).len(), 0, "a cut at {at} was not noticed");
    }
}

fn run(n: i64) -> RunRow {
    RunRow { id: format!("{n}abc"), started: n, name: "build".to_owned(), json: "{}".to_owned() }
}

fn release(name: &str, version: &str, created: i64) -> ReleaseRow {
    let key = Digest::of(format!("{name} {version}").as_bytes()).hex();
    let tree = Digest::of(version.as_bytes());
    ReleaseRow { key, name: name.to_owned(), version: version.to_owned(), tree, created }
}

fn fill(root: &Path) {
    let store = Store::open(root).unwrap();
    store.put_record(RecordKind::Result, "00aa", b"one").unwrap();
    (1..=3).for_each(|n| store.index().add_run(&run(n)).unwrap());
    store.index().add_release(&release("shop", "1", 10)).unwrap();
    store.index().add_release(&release("shop", "2", 20)).unwrap();
    store.index().add_release(&release("other", "1", 30)).unwrap();
}

fn check(root: &Path) {
    let store = Store::open(root).unwrap();
    let index = store.index();
    assert_eq!(index.runs(2), [run(3), run(2)]);
    assert_eq!(index.runs_by_prefix("2a"), [run(2)]);
    assert_eq!(index.runs_by_prefix("%"), []);
    assert_eq!(index.releases(Some("shop")), [release("shop", "2", 20), release("shop", "1", 10)]);
    assert_eq!(index.releases(None).len(), 3);
    assert_eq!(index.release("shop", "1"), Some(release("shop", "1", 10)));
    assert_eq!(index.uses(RecordKind::Result).keys().collect::<Vec<_>>(), ["00aa"]);
}

type Damage<'a> = &'a dyn Fn(&Path);

#[test]
fn the_index_is_made_anew_from_the_files_on_any_doubt() {
    let damages: [(&str, Damage<'_>); 6] = [
        ("none", &|_| ()),
        ("gone", &|path| fs::remove_file(path).unwrap()),
        ("garbage", &|path| fs::write(path, vec![b'x'; 5000]).unwrap()),
        ("cut", &|path| fs::File::options().write(true).open(path).unwrap().set_len(4096).unwrap()),
        ("empty", &|path| fs::write(path, "").unwrap()),
        ("zeroed inside", &|path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[4096..].fill(0);
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let root = tempfile::tempdir().unwrap();
        fill(root.path());
        damage(&root.path().join("index.sqlite"));
        check(root.path());
        check(root.path());
        let aside = root.path().join("index.bad-1").exists();
        assert_eq!(aside, !["none", "gone"].contains(&name), "{name}");
    }
}

#[test]
fn an_index_that_cannot_be_written_fails_nothing() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("index.new/in the way")).unwrap();
    fill(root.path());
    check(root.path());
}

#[test]
fn uses_are_written_at_once() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for n in 0..50 {
        store.put_record(RecordKind::Result, &format!("{n:04x}"), b"").unwrap();
    }
    assert!(!root.path().join("index.sqlite").exists(), "the database was opened to note a use");
    store.index().flush();
    drop(store);
    assert_eq!(Store::open(root.path()).unwrap().index().uses(RecordKind::Result).len(), 50);
}
