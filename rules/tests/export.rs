//! Releases in a file: written, read back, and files that were damaged or made to do harm (docs/formats/export.md).

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use relgraph_cache::remote::{EntryName, SecretKey, Trust};
use relgraph_cache::{Digest, Directory, Node, RecordKind, Store};
use relgraph_rules::export::{ExportError, export, import};
use relgraph_rules::record::{self, ReleaseRecord};
use tempfile::TempDir;

/// What stands in a file: names and content.
type Members = Vec<(String, Vec<u8>)>;

struct Place {
    folder: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        Place { folder, store }
    }

    /// A release of a few files.
    fn release(&self, version: &str) -> ReleaseRecord {
        let folder = self.folder.path().join(format!("release-{version}"));
        fs::create_dir_all(folder.join("lib/a/ebin")).expect("a folder");
        fs::create_dir_all(folder.join("empty")).expect("a folder");
        fs::write(folder.join("lib/a/ebin/a.beam"), vec![7; 3000]).expect("a file");
        fs::write(folder.join("lib/a/ebin/b.beam"), b"").expect("a file");
        fs::write(folder.join("VERSION"), version).expect("a file");
        std::os::unix::fs::symlink("VERSION", folder.join("link")).expect("a link");
        let tree = self.store.ingest(&folder, &|_| true).expect("ingested");
        let record = of("shop", version, &tree);
        record::record(&self.store, &record).expect("recorded");
        record
    }

    fn import(&self, bytes: &[u8], trust: &Trust) -> Result<(), ExportError> {
        import(&self.store, &mut &*bytes, trust, false).map(drop)
    }

    /// Every file that is kept.
    fn files(&self) -> BTreeSet<String> {
        fn walk(folder: &Path, found: &mut BTreeSet<String>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    walk(&entry.path(), found);
                } else {
                    found.insert(entry.path().display().to_string());
                }
            }
        }
        let mut found = BTreeSet::new();
        for part in ["cas", "ac", "trees"] {
            walk(&self.store.root().join(part), &mut found);
        }
        found
    }

    /// Asserts that a file is refused and leaves no trace.
    #[track_caller]
    fn refuses(&self, bytes: &[u8], trust: &Trust) -> String {
        let before = self.files();
        let error = self.import(bytes, trust).expect_err("refused").to_string();
        assert_eq!(before, self.files(), "{error}");
        error
    }
}

fn of(name: &str, version: &str, tree: &Digest) -> ReleaseRecord {
    let text = format!(
        r#"{{"schema":"relgraph.release/1","name":"{name}","version":"{version}","environment":"prod","tree":"{tree}",
        "erts":null,"elixir":null,"otp":null,"sandbox":null,"built_by":"0.1.0","built_at":7}}"#
    );
    serde_json::from_str(&text).expect("a record")
}

fn written(place: &Place, releases: &[ReleaseRecord], trust: &Trust) -> Vec<u8> {
    let mut bytes = Vec::new();
    export(&place.store, releases.to_vec(), trust, &mut bytes).expect("written");
    bytes
}

/// What stands in a file.
fn members(bytes: &[u8]) -> Members {
    let mut archive = tar::Archive::new(zstd::Decoder::new(bytes).expect("zstd"));
    let entries = archive.entries().expect("tar");
    entries
        .map(|entry| {
            let mut entry = entry.expect("a member");
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).expect("read");
            (String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8"), content)
        })
        .collect()
}

fn packed(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in members {
        member(&mut archive, name, tar::EntryType::Regular, content.len() as u64, content);
    }
    compressed(&archive.into_inner().expect("tar"))
}

fn member(archive: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, size: u64, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    archive.append(&header, content).expect("a member");
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("zstd");
    encoder.include_checksum(true).expect("zstd");
    encoder.write_all(bytes).expect("zstd");
    encoder.finish().expect("zstd")
}

/// The first member, for any trees, as one who has a relgraph at hand writes it.
fn index(records: &[ReleaseRecord], trust: &Trust) -> (String, Vec<u8>) {
    let place = EntryName(blake3::derive_key("relgraph export v1", b""));
    let payload = serde_json::json!({ "schema": "relgraph.export/1", "releases": records }).to_string();
    ("relgraph-export-1".to_owned(), trust.seal(&place, payload.as_bytes()))
}

fn blob(bytes: &[u8]) -> (String, Vec<u8>) {
    (format!("blobs/{}", Digest::of(bytes).hex()), bytes.to_vec())
}

#[test]
fn releases_go_from_one_store_to_another() {
    let (here, there) = (Place::new(), Place::new());
    let (one, two) = (here.release("1.0.0"), here.release("2.0.0"));
    let nobody = Trust::default();
    let bytes = written(&here, &[two.clone(), one.clone(), two.clone()], &nobody);
    assert_eq!(bytes, written(&here, &[one.clone(), two.clone()], &nobody), "the order does not matter");
    let exported = import(&there.store, &mut &*bytes, &nobody, false).expect("imported");
    assert_eq!(exported.releases, [one.clone(), two.clone()]);
    for record in [&one, &two] {
        assert!(there.store.complete(&record.tree).expect("looked"));
        let known = record::known(&there.store, "shop", &record.version, "prod").expect("looked");
        assert_eq!(known.as_ref(), Some(record));
    }
    assert_eq!(there.store.index().releases(Some("shop")).len(), 2);
    // Again, nothing changes; and what was taken can be given on.
    let before = there.files();
    there.import(&bytes, &nobody).expect("imported");
    assert_eq!(before, there.files());
    assert_eq!(bytes, written(&there, &[one, two], &nobody));
}

#[test]
fn the_file_is_what_its_page_says() {
    let here = Place::new();
    let record = here.release("1.0.0");
    let trust = Trust::default();
    let bytes = written(&here, std::slice::from_ref(&record), &trust);
    let members = members(&bytes);
    assert_eq!(members[0], index(std::slice::from_ref(&record), &trust));
    assert_eq!(members[1].0, format!("blobs/{}", record.tree.hex()));
    let digests: Vec<String> = members[1..].iter().map(|(name, _)| name.clone()).collect();
    assert!(members[1..].iter().all(|(name, content)| *name == blob(content).0));
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
    // Directories first: the root, `empty`, `lib`, `lib/a`, `lib/a/ebin`.
    let directories =
        members[1..].iter().take_while(|(_, content)| Directory::decode(content).is_ok()).count();
    assert_eq!((directories, members.len()), (5, 1 + 5 + 3));
}

#[test]
fn who_signs_is_looked_at_where_keys_are_known() {
    let (here, there) = (Place::new(), Place::new());
    let record = here.release("1.0.0");
    let key = |name: &str| SecretKey::generate(name).expect("a key");
    let (ci, stranger) = (key("ci"), key("stranger"));
    let signing = |key: &SecretKey| Trust { signer: Some(key.clone()), ..Trust::default() };
    let trusting = Trust { trusted: vec![ci.public()], signer: None };
    let by = |trust: &Trust| written(&here, std::slice::from_ref(&record), trust);
    assert_eq!(by(&signing(&ci)), by(&signing(&ci)));
    let told = there.refuses(&by(&Trust::default()), &trusting);
    assert!(told.contains("it is not signed"), "{told}");
    let told = there.refuses(&by(&signing(&stranger)), &trusting);
    assert!(told.contains("stranger, which is not trusted here"), "{told}");
    // A signature for an entry of a remote is none for a file.
    let mut moved = members(&by(&signing(&ci)));
    let payload = trusting.open(&EntryName(blake3::derive_key("relgraph export v1", b"")), &moved[0].1);
    moved[0].1 = signing(&ci).seal(&EntryName([0; 32]), &payload.expect("opened").payload);
    there.refuses(&packed(&moved), &trusting);
    let taken = import(&there.store, &mut &*by(&signing(&ci)), &trusting, false).expect("imported");
    assert_eq!(taken.signed_by.as_deref(), Some("ci"));
}

#[test]
fn another_release_of_that_version_is_not_replaced_unasked() {
    let (here, there) = (Place::new(), Place::new());
    let record = here.release("1.0.0");
    let bytes = written(&here, std::slice::from_ref(&record), &Trust::default());
    let other = there.store.put_directory(&Directory::default()).expect("a tree");
    record::record(&there.store, &of("shop", "1.0.0", &other)).expect("recorded");
    let told = there.refuses(&bytes, &Trust::default());
    assert!(told.contains("shop 1.0.0 (prod) is here already"), "{told}");
    import(&there.store, &mut &*bytes, &Trust::default(), true).expect("imported");
    let known = record::known(&there.store, "shop", "1.0.0", "prod").expect("looked");
    assert_eq!(known, Some(record));
}

#[test]
fn a_file_that_was_cut_or_changed_is_refused() {
    let (here, there) = (Place::new(), Place::new());
    let record = here.release("1.0.0");
    let bytes = written(&here, std::slice::from_ref(&record), &Trust::default());
    let nobody = Trust::default();
    for length in 0..bytes.len() {
        there.refuses(&bytes[..length], &nobody);
    }
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        // A few bits of zstd's frame mean nothing.
        if there.import(&bytes, &nobody).is_ok() {
            assert!(at < 16, "byte {at}");
            assert!(there.store.complete(&record.tree).expect("looked"));
            there
                .store
                .remove_record(RecordKind::Release, &there.store.index().releases(None)[0].key)
                .expect("gone");
        }
    }
    let plain: Vec<u8> = zstd::decode_all(&*bytes).expect("zstd");
    for bytes in [&b""[..], b"relgraph", &plain, &[0; 4096], &compressed(b""), &compressed(&[0; 4096])] {
        let told = there.refuses(bytes, &nobody);
        assert!(told.contains("not a file that `relgraph cache export` wrote"), "{told}");
    }
}

#[test]
fn a_file_that_is_made_to_do_harm_is_refused() {
    let (here, there) = (Place::new(), Place::new());
    let record = here.release("1.0.0");
    let nobody = Trust::default();
    let good = members(&written(&here, std::slice::from_ref(&record), &nobody));
    let refuses = |change: &dyn Fn(&mut Members), told: &str| {
        let mut members = good.clone();
        change(&mut members);
        let error = there.refuses(&packed(&members), &nobody);
        assert!(error.contains(told), "{told:?} is not in {error:?}");
    };
    refuses(&|m| m.push(blob(b"more")), "nobody asks for");
    refuses(&|m| m.push(m[3].clone()), "nobody asks for");
    refuses(&|m| m.truncate(8), "1 of its blobs are not there");
    refuses(&|m| drop(m.remove(1)), "nobody asks for");
    refuses(&|m| m[6].1[0] ^= 1, "has other bytes");
    refuses(&|m| m[6].1.push(0), "nobody asks for");
    refuses(&|m| m[2].0 = "../../x".into(), "something that is no blob");
    refuses(&|m| m[2].0 = "/etc/passwd".into(), "something that is no blob");
    refuses(&|m| m[2].0 = m[2].0.to_uppercase(), "something that is no blob");
    refuses(&|m| m[0].0 = "relgraph-export-2".into(), "newer relgraph");
    refuses(&|m| drop(m.remove(0)), "not a file that");
    refuses(&|m| m[0] = index(&[], &nobody), "cannot be");
    for name in ["", "a/b", "../x", "a\\u001b[31m"] {
        let record = of(name, "1", &record.tree);
        refuses(&|m| m[0] = index(std::slice::from_ref(&record), &nobody), "cannot be");
    }
    // Directories that lead out, or are none.
    let node = Node::File { digest: Digest::of(b"x"), executable: false };
    for name in ["..", "a/../../b", "/etc/passwd"] {
        let directory = Directory { entries: [(name.to_owned(), node.clone())].into() }.encode();
        let root = of("shop", "9", &Digest::of(&directory));
        let told = there.refuses(&packed(&[index(&[root], &nobody), blob(&directory), blob(b"x")]), &nobody);
        assert!(told.contains("a directory cannot be"), "{told}");
    }
    let root = of("shop", "9", &Digest::of(b"no directory"));
    there.refuses(&packed(&[index(&[root], &nobody), blob(b"no directory")]), &nobody);
}

#[test]
fn what_is_announced_and_not_there_costs_nothing() {
    let there = Place::new();
    let nobody = Trust::default();
    // Ten gigabytes of zeros, honestly named.
    let huge = Digest { hash: [1; 32], size: 10 << 30 };
    let node = Node::File { digest: huge, executable: false };
    let directory = Directory { entries: [("zeros".to_owned(), node)].into() }.encode();
    let root = of("shop", "9", &Digest::of(&directory));
    let told = there.refuses(&packed(&[index(&[root], &nobody), blob(&directory)]), &nobody);
    assert!(told.contains("larger than any release"), "{told}");
    // Members that claim to be long, or that change how the next one is read.
    let record = of("shop", "9", &Digest::of(b"x"));
    for (name, kind, size) in [
        ("relgraph-export-1", tar::EntryType::Regular, 10 << 30),
        ("././@LongLink", tar::EntryType::GNULongName, 10 << 30),
        ("x", tar::EntryType::XHeader, 10 << 30),
        ("relgraph-export-1", tar::EntryType::Symlink, 0),
    ] {
        let mut archive = tar::Builder::new(Vec::new());
        member(&mut archive, name, kind, size, &[0; 512]);
        there.refuses(&compressed(&archive.into_inner().expect("tar")), &nobody);
        let mut archive = tar::Builder::new(Vec::new());
        let (first, sealed) = index(std::slice::from_ref(&record), &nobody);
        member(&mut archive, &first, tar::EntryType::Regular, sealed.len() as u64, &sealed);
        member(&mut archive, name, kind, size, &[0; 512]);
        there.refuses(&compressed(&archive.into_inner().expect("tar")), &nobody);
    }
    // Directories in each other, deeper than anybody goes.
    let mut chain = vec![Directory::default().encode()];
    for _ in 0..300 {
        let digest = Digest::of(chain.last().expect("one"));
        let entries = [("d".to_owned(), Node::Directory { digest })].into();
        chain.push(Directory { entries }.encode());
    }
    let root = of("shop", "9", &Digest::of(chain.last().expect("one")));
    let all: Vec<_> =
        std::iter::once(index(&[root], &nobody)).chain(chain.iter().rev().map(|it| blob(it))).collect();
    let told = there.refuses(&packed(&all), &nobody);
    assert!(told.contains("nested too deeply"), "{told}");
    // What follows the end.
    let here = Place::new();
    let record = here.release("1.0.0");
    let good = zstd::decode_all(&*written(&here, std::slice::from_ref(&record), &nobody)).expect("zstd");
    let told = there.refuses(&compressed(&[&good[..], &vec![0; 2 << 20]].concat()), &nobody);
    assert!(told.contains("follows its end"), "{told}");
}
