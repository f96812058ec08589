//! The vector in docs/formats/patch.md is what is written and read, and nothing else is read.

use std::collections::BTreeMap;

use proptest::prelude::*;
use relgraph_cache::Digest;
use relgraph_rules::patch::{Entry, Patch, Source, Version, decode_header};

fn vector() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/patch.md");
    let text = std::fs::read_to_string(path).unwrap();
    let block = text.split("```golden header\nbytes = ").nth(1).expect("a vector");
    block.lines().next().unwrap().to_owned()
}

fn patch() -> Patch {
    let version = |version: &str| Version { name: "a".into(), version: version.into(), erts: String::new() };
    let abc = Digest::of(b"abc");
    let file = |executable, from, before| Entry::File { digest: abc, executable, from, before };
    let copy = Source::Copy { path: "lib/a-1/x".into() };
    let entries = [
        ("bin", Entry::Folder),
        ("bin/a", file(true, Source::Whole { length: 3 }, Some(Digest::of(b"old")))),
        ("lib", Entry::Folder),
        ("lib/a-2", Entry::Folder),
        ("lib/a-2/x", file(false, copy, None)),
        ("releases", Entry::Folder),
        ("releases/2", Entry::Folder),
    ];
    Patch {
        old: version("1"),
        new: version("2"),
        conflicts: Vec::new(),
        entries: BTreeMap::from(entries.map(|(path, entry)| (path.to_owned(), entry))),
        payload: abc,
    }
}

#[test]
fn headers() {
    let bytes = patch().header();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, vector());
    assert_eq!(decode_header(&bytes), Ok(patch()));
}

proptest! {
    #[test]
    fn no_header_with_another_byte_is_read(at in 0usize..500, bit in 0u8..8) {
        let mut bytes = patch().header();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(decode_header(&bytes).is_err());
    }

    #[test]
    fn garbage_is_refused_in_peace(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut file = b"relgraph patch header 1\n".to_vec();
        file.extend(&bytes);
        file.extend(blake3::hash(&file.clone()).as_bytes());
        let _ = decode_header(&file);
    }
}
