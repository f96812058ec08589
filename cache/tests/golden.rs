//! The vectors in docs/formats are what this crate writes and reads.

use std::collections::BTreeMap;
use std::path::Path;

use relgraph_cache::remote::{EntryName, PublicKey, SecretKey, Trust};
use relgraph_cache::{
    Alternative, Answer, Digest, Directory, Manifest, Node, Probe, RecordKind, Store, TreeBuilder,
};

/// The `golden NAME` block of a document: its `key = value` lines.
fn golden(document: &str, name: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats").join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let fence = format!("```golden {name}\n");
    let start = text.find(&fence).unwrap_or_else(|| panic!("{document} has no vector {name}")) + fence.len();
    let block = &text[start..start + text[start..].find("```").unwrap()];
    let pairs = block.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn digests() {
    for name in ["empty", "abc"] {
        let vector = golden("digest.md", name);
        let digest = Digest::of(vector["text"].as_bytes());
        assert_eq!(digest.to_string(), vector["digest"]);
        assert_eq!(vector["digest"].parse(), Ok(digest));
    }
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(Digest::of(&bytes).to_string(), golden("digest.md", "pattern")["digest"]);
    let mut hasher = relgraph_cache::Hasher::new();
    bytes.chunks(977).for_each(|piece| {
        hasher.update(piece);
    });
    assert_eq!(hasher.finish(), Digest::of(&bytes));
}

#[test]
fn other_spellings_of_a_digest_are_refused() {
    let good = Digest::of(b"abc").to_string();
    let hex = &good[..64];
    let bad = [
        hex.to_owned(),
        format!("{hex}/"),
        format!("{hex}/03"),
        format!("{hex}/+3"),
        format!("{hex}/-3"),
        format!("{hex}/3 "),
        format!("{}/3", hex.to_uppercase()),
        format!("{}/3", &hex[1..]),
        format!("{hex}0/3"),
        format!("{hex}/99999999999999999999"),
        format!("é{}/3", &hex[2..]),
        String::new(),
    ];
    for text in bad {
        assert!(text.parse::<Digest>().is_err(), "{text} was taken");
    }
}

fn small() -> Directory {
    let abc = Digest::of(b"abc");
    let mut directory = Directory::default();
    let mut put = |name: &str, node| directory.entries.insert(name.to_owned(), node);
    put("log", Node::Directory { digest: Directory::default().digest() });
    put("b", Node::File { digest: abc, executable: false });
    put("a", Node::File { digest: abc, executable: true });
    put("current", Node::Symlink { target: "releases/1".to_owned() });
    directory
}

#[test]
fn trees() {
    for (name, directory) in [("empty", Directory::default()), ("small", small())] {
        let vector = golden("tree.md", name);
        assert_eq!(hex(&directory.encode()), vector["bytes"]);
        assert_eq!(directory.digest().to_string(), vector["tree"]);
        assert_eq!(Directory::decode(&directory.encode()), Ok(directory));
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    store.put_directory(&Directory::default()).unwrap();
    let mut builder = TreeBuilder::new();
    builder.graft("lib/app-1/ebin", store.put_directory(&small()).unwrap()).unwrap();
    assert_eq!(builder.finish(&store).unwrap().to_string(), golden("tree.md", "nested")["tree"]);
}

#[test]
fn manifests() {
    let file = Answer::File { digest: Digest::of(b"abc"), executable: false };
    let mut manifest = Manifest::default();
    let probes = vec![
        (Probe::Env("MIX_ENV".to_owned()), Answer::Value(Digest::of(b"prod"))),
        (Probe::Content("lib/a.ex".to_owned()), file),
        (Probe::Content("config/prod.exs".to_owned()), Answer::Absent),
    ];
    assert!(manifest.record(Alternative { probes, result: "00ff".to_owned() }));
    assert_eq!(hex(&manifest.encode()), golden("manifest.md", "one")["bytes"]);
    assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
}

#[test]
fn records_and_paths() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    store.put_record(RecordKind::Result, "00ff", b"abc").unwrap();
    let file = std::fs::read(root.path().join("ac/result/00/00ff")).unwrap();
    assert_eq!(hex(&file), golden("store.md", "record")["bytes"]);

    let digest = store.put_bytes(b"abc").unwrap();
    store.ensure_executable(&digest).unwrap();
    let vector = golden("store.md", "path");
    for (key, executable) in [("plain", false), ("executable", true)] {
        assert_eq!(store.blob_path(&digest, executable), root.path().join(&vector[key]));
        assert_eq!(std::fs::read(root.path().join(&vector[key])).unwrap(), b"abc");
    }
    assert_eq!(std::fs::read_to_string(root.path().join("VERSION")).unwrap(), "relgraph store 1\n");
}

#[test]
fn key_lines() {
    let vector = golden("key-line.md", "rfc8032");
    let secret = SecretKey::parse(&vector["secret"]).unwrap();
    assert_eq!(secret.expose(), vector["secret"]);
    assert_eq!(secret.public().to_string(), vector["public"]);
    assert_eq!(PublicKey::parse(&vector["public"]), Ok(secret.public()));
}

#[test]
fn entries() {
    let name = EntryName([7; 32]);
    let key = SecretKey::parse(&golden("key-line.md", "rfc8032")["secret"]).unwrap();
    let signer = Trust { signer: Some(key.clone()), ..Trust::default() };
    let reader = Trust { trusted: vec![key.public()], signer: None };
    let sealed = signer.seal(&name, b"abc");
    assert_eq!(hex(&Trust::default().seal(&name, b"abc")), golden("entry.md", "unsigned")["bytes"]);
    assert_eq!(hex(&sealed), golden("entry.md", "signed")["bytes"]);
    let opened = reader.open(&name, &sealed).unwrap();
    assert_eq!((opened.payload.as_slice(), opened.signed_by.as_deref()), (&b"abc"[..], Some("ci")));
}
