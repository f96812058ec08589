//! Records and their trees in remotes: what one store writes another reads, and nothing that is not right.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relgraph_cache::codec::Writer;
use relgraph_cache::remote::{
    Access, Arrived, Body, Condition, Entry, EntryName, Event, Over, PublicKey, Put, Remote, RemoteError,
    RemoteSpec, SecretKey, Shared, Tier, Tiers, Trust, connect,
};
use relgraph_cache::{Digest, Directory, Link, Node, RecordKind, Store};

const LONG: Duration = Duration::from_secs(600);

/// A remote folder and the stores before it.
struct Space {
    folder: tempfile::TempDir,
    remote: String,
}

/// One store with the remote behind it.
struct Side {
    store: Store,
    shared: Arc<Shared>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Space {
    fn new() -> Space {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("remote")).unwrap();
        Space { folder, remote: "remote".into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn side(&self, name: &str, access: Access) -> Side {
        self.trusting(name, access, None, Trust::default())
    }

    fn trusting(&self, name: &str, access: Access, namespace: Option<&str>, trust: Trust) -> Side {
        let url = format!("file://{}", self.path(&self.remote).display());
        let spec = RemoteSpec { url, access, ..RemoteSpec::default() };
        let remote = connect(&spec, &BTreeMap::new()).unwrap();
        let tier = Tier { remote, access, namespace: namespace.map(str::to_owned) };
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&events);
        let hear = move |event: &Event| heard.lock().unwrap().push(format!("{event:?}"));
        let store = Store::open(&self.path(name)).unwrap();
        let tiers = Arc::new(Tiers::new(vec![tier], trust, Arc::new(hear)));
        let shared = Shared::new(tiers, &store);
        Side { store, shared, events }
    }

    /// A folder of every kind of entry: many small files, a large one, programs, links, empty ones.
    fn sources(&self, edited: bool) -> PathBuf {
        let root = self.path(if edited { "edited" } else { "sources" });
        for folder in 0..12 {
            let folder_name = format!("app-{folder}");
            let folder = root.join(format!("lib/{folder_name}/ebin"));
            fs::create_dir_all(&folder).unwrap();
            for file in 0..40 {
                // Nothing that compresses well: small packs stand in the entry.
                let name = format!("{folder_name} {file}");
                let mut bytes = vec![0; 700];
                blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
                bytes.extend_from_slice(name.as_bytes());
                fs::write(folder.join(format!("m{file}.beam")), bytes).unwrap();
            }
        }
        let noise: Vec<u8> =
            (0..3_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(root.join("large"), &noise).unwrap();
        fs::write(root.join("empty"), b"").unwrap();
        fs::create_dir(root.join("nothing")).unwrap();
        fs::write(root.join("run"), b"#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("lib/app-1", root.join("link")).unwrap();
        if edited {
            fs::write(root.join("lib/app-7/ebin/m3.beam"), b"edited").unwrap();
        }
        root
    }

    fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        let mut todo = vec![self.path(&self.remote).join(below)];
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { todo.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

impl Side {
    fn put(&self, key: &str, tree: Digest) {
        self.write(key, tree, Over::Keep);
        let left = self.shared.drain(LONG, &|| false, &mut |_| {});
        assert_eq!(left.records, 0, "{:?}", self.heard());
    }

    fn write(&self, key: &str, tree: Digest, over: Over) {
        self.shared.put(&Put {
            kind: RecordKind::Release,
            key: key.into(),
            record: key.as_bytes().to_vec(),
            trees: vec![tree],
            blobs: Vec::new(),
            manifest: None,
            over,
            took: None,
        });
    }

    fn finds(&self, key: &str) -> bool {
        self.shared.get(RecordKind::Release, key).is_some_and(|found| found.record == key.as_bytes())
    }

    fn heard(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }
}

fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let what = if meta.is_dir() {
                todo.push(path);
                "folder".to_owned()
            } else if meta.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                let mode = meta.permissions().mode() & 0o100;
                format!("{mode:o} {}", Digest::of_file(&path).unwrap())
            };
            found.insert(name, what);
        }
    }
    found
}

#[test]
fn what_one_store_writes_another_reads_when_it_needs_it() {
    let space = Space::new();
    let sources = space.sources(false);
    let writer = space.side("a", Access::ReadWrite);
    let tree = writer.store.ingest(&sources, &|_| true).unwrap();
    writer.put("shop@1", tree);
    let blobs = space.files("cas").len();
    assert!((5..40).contains(&blobs), "the 500 files travel in packs, and not in {blobs} blobs");

    let reader = space.side("b", Access::Read);
    assert!(!reader.store.complete(&tree).unwrap());
    assert!(reader.finds("shop@1"));
    assert!(reader.store.complete(&tree).unwrap(), "it is promised");
    assert!(!reader.store.whole(&tree).unwrap(), "and not here");
    assert!(!reader.store.contains(&tree));
    reader.store.materialize(&tree, &space.path("made"), Link::Copy).unwrap();
    assert_eq!(listing(&space.path("made")), listing(&sources));
    assert!(reader.store.whole(&tree).unwrap());
    assert_eq!(reader.heard(), Vec::<String>::new());

    let counters = reader.shared.tiers().counters();
    let received = counters.received.load(std::sync::atomic::Ordering::Relaxed);
    assert!(
        received > 0 && received <= space.files("cas").iter().map(|f| fs::metadata(f).unwrap().len()).sum()
    );
}

#[test]
fn only_what_is_read_is_brought() {
    let space = Space::new();
    let writer = space.side("a", Access::ReadWrite);
    let tree = writer.store.ingest(&space.sources(false), &|_| true).unwrap();
    writer.put("shop@1", tree);
    let reader = space.side("b", Access::Read);
    assert!(reader.finds("shop@1"));
    let Some(Node::File { digest, .. }) = reader.store.lookup(&tree, "lib/app-3/ebin/m9.beam").unwrap()
    else {
        panic!("it is not there");
    };
    let bytes = reader.store.read(&digest).unwrap();
    assert!(bytes.ends_with(b"app-3 9"));
    let large = Digest::of_file(&space.path("sources/large")).unwrap();
    assert!(!reader.store.contains(&large) && reader.store.available(&large));
    assert!(!reader.store.whole(&tree).unwrap());

    // Another process, to which most directories are known already.
    let again = space.side("b", Access::Read);
    assert!(!again.store.complete(&tree).unwrap());
    assert!(again.shared.recall(RecordKind::Release, "shop@1"), "it was noted where it is");
    assert!(again.store.complete(&tree).unwrap());
    again.store.materialize(&tree, &space.path("made"), Link::Hard).unwrap();
    assert_eq!(listing(&space.path("made")), listing(&space.path("sources")));
}

#[test]
fn one_edited_file_sends_one_pack_and_the_directories() {
    let space = Space::new();
    let writer = space.side("a", Access::ReadWrite);
    let tree = writer.store.ingest(&space.sources(false), &|_| true).unwrap();
    writer.put("shop@1", tree);
    let before = space.files("cas");
    let next = space.side("a", Access::ReadWrite);
    let edited = next.store.ingest(&space.sources(true), &|_| true).unwrap();
    next.put("shop@2", edited);
    let added = space.files("cas").into_iter().filter(|file| !before.contains(file)).count();
    // A pack that ends elsewhere may move the one behind it.
    assert!((1..=4).contains(&added), "{added} blobs are new");
}

#[test]
fn bytes_that_are_gone_or_others_are_not_used_and_the_entry_is_mended() {
    for damage in ["gone", "other", "short"] {
        let space = Space::new();
        let writer = space.side("a", Access::ReadWrite);
        let tree = writer.store.ingest(&space.sources(false), &|_| true).unwrap();
        writer.put("shop@1", tree);
        let blobs = space.files("cas");
        let blob = blobs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let bytes = fs::read(blob).unwrap();
        match damage {
            "gone" => fs::remove_file(blob).unwrap(),
            "other" => fs::write(blob, vec![7; bytes.len()]).unwrap(),
            _ => fs::write(blob, &bytes[..bytes.len() / 2]).unwrap(),
        }
        let reader = space.side("b", Access::ReadWrite);
        assert!(reader.finds("shop@1"), "{damage}");
        let error = reader.store.materialize(&tree, &space.path("made"), Link::Copy).unwrap_err();
        assert!(error.is_missing(), "{damage}: {error}");
        assert!(!space.path("made").exists());
        assert!(!reader.store.complete(&tree).unwrap(), "{damage}: it is promised no longer");
        assert!(!reader.finds("shop@1"), "{damage}: nor found again");
        let heard = reader.heard();
        assert!(heard.len() == 1 && heard[0].starts_with("Lost"), "{damage}: {heard:?}");

        // Whoever makes it anew writes all of it anew.
        let found = reader.store.ingest(&space.path("sources"), &|_| true).unwrap();
        assert_eq!(found, tree);
        reader.write("shop@1", tree, Over::Mend);
        assert_eq!(reader.shared.drain(LONG, &|| false, &mut |_| {}).records, 0);
        if damage == "other" {
            // A folder believes that a blob of the right size is right: nobody but its owner could have written it.
            continue;
        }
        let third = space.side("c", Access::Read);
        assert!(third.finds("shop@1"));
        third.store.materialize(&tree, &space.path("third"), Link::Copy).unwrap();
        assert_eq!(listing(&space.path("third")), listing(&space.path("sources")));
    }
}

#[test]
fn what_strangers_signed_is_not_there_and_namespaces_do_not_mix() {
    let space = Space::new();
    let key = |name: &str| SecretKey::generate(name).unwrap();
    let (ours, theirs) = (key("ci"), key("eve"));
    let trusted: Vec<PublicKey> = vec![ours.public()];
    let writes = |signer: Option<SecretKey>| Trust { trusted: Vec::new(), signer };
    let reads = Trust { trusted, signer: None };
    let tree = |side: &Side, text: &str| {
        let mut directory = Directory::default();
        let digest = side.store.put_bytes(text.as_bytes()).unwrap();
        directory.entries.insert("f".into(), Node::File { digest, executable: false });
        side.store.put_directory(&directory).unwrap()
    };
    let us = space.trusting("a", Access::ReadWrite, None, writes(Some(ours)));
    us.put("shop@1", tree(&us, "ours"));
    let eve = space.trusting("e", Access::ReadWrite, None, writes(Some(theirs)));
    eve.put("shop@2", tree(&eve, "theirs"));
    let nobody = space.trusting("n", Access::ReadWrite, Some("pr/7"), writes(None));
    nobody.put("shop@3", tree(&nobody, "unsigned"));

    let reader = space.trusting("b", Access::Read, None, reads.clone());
    assert!(reader.finds("shop@1"));
    assert!(!reader.finds("shop@2"));
    assert!(!reader.finds("shop@3"), "it is in another namespace");
    assert_eq!(reader.heard(), [""; 0], "how many is known in the end");
    reader.shared.tiers().finish();
    let heard = reader.heard();
    assert!(heard.len() == 1 && heard[0].contains("eve"), "{heard:?}");
    let pull = space.trusting("p", Access::Read, Some("pr/7"), reads);
    assert!(!pull.finds("shop@3"), "nobody signed it");
    assert!(!pull.finds("shop@1"), "it is in another namespace");
    let trusting = space.trusting("t", Access::Read, Some("pr/7"), Trust::default());
    assert!(trusting.finds("shop@3"));
}

#[test]
fn what_could_not_be_written_is_written_by_the_next() {
    let space = Space::new();
    // A mount that is not there.
    fs::create_dir_all(space.path("mount/team")).unwrap();
    let space = Space { remote: "mount/team".into(), ..space };
    fs::rename(space.path("mount"), space.path("parked")).unwrap();
    let writer = space.side("a", Access::ReadWrite);
    let tree = writer.store.ingest(&space.sources(false), &|_| true).unwrap();
    writer.write("shop@1", tree, Over::Keep);
    writer.write("shop@2", tree, Over::Keep);
    let left = writer.shared.drain(LONG, &|| false, &mut |_| {});
    assert!(left.records > 0);
    assert_eq!(writer.heard().len(), 1, "{:?}", writer.heard());
    drop(writer);
    fs::rename(space.path("parked"), space.path("mount")).unwrap();
    let next = space.side("a", Access::ReadWrite);
    next.shared.resume();
    assert_eq!(next.shared.drain(LONG, &|| false, &mut |_| {}).records, 0);
    let reader = space.side("b", Access::Read);
    assert!(reader.finds("shop@1") && reader.finds("shop@2"));
    assert_eq!(next.store.list_records(RecordKind::Pending).unwrap(), []);
}

#[test]
fn many_threads_want_the_same() {
    let space = Space::new();
    let writer = space.side("a", Access::ReadWrite);
    let tree = writer.store.ingest(&space.sources(false), &|_| true).unwrap();
    writer.put("shop@1", tree);
    for round in 0..3 {
        let reader = space.side(&format!("b{round}"), Access::Read);
        assert!(reader.finds("shop@1"));
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let (reader, made) = (&reader, space.path(&format!("made-{round}-{thread}")));
                scope.spawn(move || reader.store.materialize(&tree, &made, Link::Copy).unwrap());
            }
        });
        let sent: u64 = space.files("cas").iter().map(|f| fs::metadata(f).unwrap().len()).sum();
        let received = reader.shared.tiers().counters().received.load(std::sync::atomic::Ordering::Relaxed);
        assert!(received <= sent, "{received} bytes came where there are {sent}");
        assert_eq!(reader.heard(), Vec::<String>::new());
    }
}

/// The bytes of packs, and how many files each is said to hold.
type Packs = Vec<(Vec<u8>, u32)>;

/// An entry as `docs/formats/parcel.md` has it, with whatever in it.
struct Forged {
    trees: Vec<Digest>,
    spine: Vec<u8>,
    packs: Packs,
}

impl Forged {
    fn place(&self, space: &Space, key: &str) {
        let frame = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
        let mut out = Writer::new("relgraph parcel 1");
        out.str("release").str(key).bytes(key.as_bytes()).u64(self.trees.len() as u64);
        self.trees.iter().for_each(|tree| {
            out.digest(tree);
        });
        out.u64(0).u8(1).bytes(&frame(&self.spine)).u64(self.spine.len() as u64).u64(self.packs.len() as u64);
        for (bytes, count) in &self.packs {
            out.u8(1).bytes(&frame(bytes)).u32(*count);
        }
        out.u64(0);
        let mut name = Writer::default();
        name.str("").str("release").str(key);
        let name = EntryName(blake3::derive_key("relgraph entry name v1", &name.finish()));
        let sealed = Trust::default().seal(&name, &frame(&out.finish()));
        let side = space.side("forger", Access::ReadWrite);
        let tier = format!("file://{}", space.path(&space.remote).display());
        let spec = RemoteSpec { url: tier, access: Access::ReadWrite, ..RemoteSpec::default() };
        let remote = connect(&spec, &BTreeMap::new()).unwrap();
        remote.put(&name, &sealed, &[], &Condition::Always).unwrap();
        drop(side);
    }
}

/// A directory with one entry of whatever name and kind.
fn directory(kind: u8, name: &str, digest: Option<Digest>, target: &str) -> Vec<u8> {
    let mut out = Writer::new("relgraph tree 1");
    out.u64(1).u8(kind).str(name);
    match digest {
        Some(digest) => out.digest(&digest),
        None => out.str(target),
    };
    out.finish()
}

#[test]
fn a_hostile_tree_leads_nowhere() {
    let space = Space::new();
    let evil = Digest::of(b"evil");
    let huge = Digest { hash: [3; 32], size: 10 << 30 };
    let file = |name: &str, digest| directory(1, name, Some(digest), "");
    let cases: [(&str, Vec<u8>, Packs); 11] = [
        ("up", file("../escaped", evil), vec![(b"evil".to_vec(), 1)]),
        ("dots", file("..", evil), vec![(b"evil".to_vec(), 1)]),
        ("absolute", file("/tmp/escaped", evil), vec![(b"evil".to_vec(), 1)]),
        ("nested", file("a/b", evil), vec![(b"evil".to_vec(), 1)]),
        ("nul", file("a\0b", evil), vec![(b"evil".to_vec(), 1)]),
        ("huge", file("zeros", huge), vec![(vec![0; 1 << 20], 1)]),
        ("other bytes", file("f", evil), vec![(b"EVIL".to_vec(), 1)]),
        ("too few packs", file("f", evil), Vec::new()),
        ("too many packs", file("f", evil), vec![(b"evil".to_vec(), 1), (b"evil".to_vec(), 1)]),
        ("a count that lies", file("f", evil), vec![(b"evil".to_vec(), 9)]),
        ("no directory", b"relgraph tree 1\n".to_vec(), Vec::new()),
    ];
    for (case, spine, packs) in cases {
        let tree = Digest::of(&spine);
        Forged { trees: vec![tree], spine, packs }.place(&space, case);
        let reader = space.side(&format!("b {case}"), Access::Read);
        let names = || fs::read_dir(space.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let outside: Vec<_> = names().collect();
        assert!(reader.finds(case), "{case}: the entry itself is one");
        let inside = space.path("inside");
        assert!(reader.store.materialize(&tree, &inside, Link::Copy).is_err(), "{case}");
        assert!(!inside.exists() && !Path::new("/tmp/escaped").exists(), "{case}");
        assert!(!space.path("escaped").exists(), "{case}");
        let heard = reader.heard();
        assert!(heard.len() == 1 && heard[0].starts_with("Lost"), "{case}: {heard:?}");
        assert_eq!(names().collect::<Vec<_>>(), outside, "{case}");
    }
    // A symlink may say what it likes: nothing is written through it.
    let link = directory(4, "link", None, "/tmp");
    let mut both = Writer::new("relgraph tree 1");
    both.u64(2).u8(3).str("a").digest(&Digest::of(&link)).u8(4).str("b").str("../../outside");
    let both = both.finish();
    let tree = Digest::of(&both);
    Forged { trees: vec![tree], spine: [both, link].concat(), packs: Vec::new() }.place(&space, "links");
    let reader = space.side("links", Access::Read);
    assert!(reader.finds("links"));
    reader.store.materialize(&tree, &space.path("inside"), Link::Copy).unwrap();
    assert_eq!(fs::read_link(space.path("inside/b")).unwrap(), Path::new("../../outside"));
    assert!(!space.path("outside").exists());
}

#[test]
fn who_finds_one_directory_finds_the_next_while_they_are_being_written() {
    let space = Space::new();
    let root = space.path("deep");
    for name in 0..60 {
        fs::create_dir_all(root.join(format!("a/{name}/b/c"))).unwrap();
        fs::write(root.join(format!("a/{name}/b/c/f")), name.to_string()).unwrap();
    }
    let writer = space.side("a", Access::ReadWrite);
    let tree = writer.store.ingest(&root, &|_| true).unwrap();
    writer.put("shop@1", tree);
    for round in 0..30 {
        let reader = space.side(&format!("b{round}"), Access::Read);
        assert!(reader.finds("shop@1"));
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let reader = &reader;
                scope.spawn(move || {
                    for step in 0..60 {
                        let path = format!("a/{}/b/c/f", (step * 7 + thread * 13) % 60);
                        let node =
                            reader.store.lookup(&tree, &path).unwrap_or_else(|e| panic!("{path}: {e}"));
                        assert!(node.is_some(), "{path}");
                    }
                });
            }
        });
    }
}

/// A remote that counts what it is asked for.
#[derive(Debug)]
struct Counting(Arc<dyn Remote>, Mutex<Vec<EntryName>>);

impl Remote for Counting {
    fn url(&self) -> &str {
        self.0.url()
    }

    fn get(&self, name: &EntryName) -> Result<Option<Entry>, RemoteError> {
        self.1.lock().unwrap().push(*name);
        self.0.get(name)
    }

    fn put(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        on: &Condition,
    ) -> Result<bool, RemoteError> {
        self.0.put(name, bytes, blobs, on)
    }

    fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        self.0.missing(blobs)
    }

    fn fetch(&self, blobs: &[Digest], scratch: &Path, arrived: Arrived<'_>) -> Result<(), RemoteError> {
        self.0.fetch(blobs, scratch, arrived)
    }

    fn store(&self, blobs: Vec<(Digest, Body)>) -> Result<(), RemoteError> {
        self.0.store(blobs)
    }

    fn describe(&self) -> Result<Vec<String>, RemoteError> {
        self.0.describe()
    }
}

#[test]
fn what_is_known_to_be_missing_is_not_asked_for_again() {
    let space = Space::new();
    let spec =
        RemoteSpec { url: format!("file://{}", space.path("remote").display()), ..RemoteSpec::default() };
    let remote = Arc::new(Counting(connect(&spec, &BTreeMap::new()).unwrap(), Mutex::default()));
    let store = Store::open(&space.path("a")).unwrap();
    let tier = Tier { remote: remote.clone(), access: Access::Read, namespace: None };
    let tiers = Arc::new(Tiers::new(vec![tier], Trust::default(), Arc::new(|_| {})));
    // A build that starts over has new promises and the same remotes.
    for _ in 0..3 {
        let shared = Shared::new(Arc::clone(&tiers), &store);
        for key in ["shop@1", "shop@2", "shop@1"] {
            assert!(shared.get(RecordKind::Release, key).is_none());
        }
    }
    assert_eq!(remote.1.lock().unwrap().len(), 2);
    assert_eq!(tiers.counters().misses.load(std::sync::atomic::Ordering::Relaxed), 2);
}
