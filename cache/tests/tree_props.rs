//! Directories: one encoding each, and nothing else is taken for one; builders agree with a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use relgraph_cache::codec::Writer;
use relgraph_cache::{Digest, Directory, Node, Store, StoreError, TreeBuilder, TreeError};

fn digests() -> impl Strategy<Value = Digest> {
    (any::<[u8; 32]>(), any::<u64>()).prop_map(|(hash, size)| Digest { hash, size })
}

fn names() -> impl Strategy<Value = String> {
    "[^/\0]{1,12}".prop_filter("dots are no names", |name| name != "." && name != "..")
}

fn nodes() -> impl Strategy<Value = Node> {
    prop_oneof![
        (digests(), any::<bool>()).prop_map(|(digest, executable)| Node::File { digest, executable }),
        digests().prop_map(|digest| Node::Directory { digest }),
        "[^\0]{1,20}".prop_map(|target| Node::Symlink { target }),
    ]
}

fn directories() -> impl Strategy<Value = Directory> {
    proptest::collection::btree_map(names(), nodes(), 0..8).prop_map(|entries| Directory { entries })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(directory in directories()) {
        prop_assert_eq!(Directory::decode(&directory.encode()), Ok(directory));
    }

    #[test]
    fn a_changed_encoding_is_refused_or_is_another_directory(
        directory in directories(), at in any::<prop::sample::Index>(), change in 1u8..,
    ) {
        let mut bytes = directory.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        if let Ok(other) = Directory::decode(&bytes) {
            prop_assert_ne!(&other, &directory);
            prop_assert_eq!(other.encode(), bytes);
        }
    }

    #[test]
    fn a_cut_or_longer_encoding_is_refused(
        directory in directories(), at in any::<prop::sample::Index>(), more in proptest::collection::vec(any::<u8>(), 1..9),
    ) {
        let mut bytes = directory.encode();
        prop_assert!(Directory::decode(&bytes[..at.index(bytes.len())]).is_err());
        bytes.extend(more);
        prop_assert!(Directory::decode(&bytes).is_err());
    }

    #[test]
    fn no_bytes_make_decoding_fail_otherwise(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut with_magic = b"relgraph tree 1\n".to_vec();
        with_magic.extend(&bytes);
        if let Ok(directory) = Directory::decode(&with_magic) {
            prop_assert_eq!(directory.encode(), with_magic);
        }
        prop_assert!(Directory::decode(&bytes).is_err());
    }
}

fn entry(out: &mut Writer, kind: u8, name: &str) {
    out.u8(kind).str(name).digest(&Digest::of(b""));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["", ".", "..", "a/b", "/", "a\0b"] {
        let mut out = Writer::new("relgraph tree 1");
        out.u64(1);
        entry(&mut out, 1, name);
        let refused = Directory::decode(&out.finish());
        assert_eq!(refused, Err(TreeError::Name { name: name.to_owned() }));
    }
}

#[test]
fn unsorted_and_repeated_names_are_refused() {
    for names in [["b", "a"], ["a", "a"], ["a-", "a"]] {
        let mut out = Writer::new("relgraph tree 1");
        out.u64(2);
        names.iter().for_each(|name| entry(&mut out, 1, name));
        assert_eq!(Directory::decode(&out.finish()), Err(TreeError::Order { name: names[1].to_owned() }));
    }
}

/// Some steps of building, as a builder and as a plain map of leaves see them.
#[derive(Debug, Clone)]
enum Op {
    File(String, u8),
    Directory(String),
    Remove(String),
    Graft(String, Vec<(String, u8)>),
}

fn paths() -> impl Strategy<Value = String> {
    proptest::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"))
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let files = proptest::collection::vec((paths(), any::<u8>()), 0..5);
    let op = prop_oneof![
        3 => (paths(), any::<u8>()).prop_map(|(path, content)| Op::File(path, content)),
        1 => paths().prop_map(Op::Directory),
        1 => paths().prop_map(Op::Remove),
        3 => (prop_oneof![Just(String::new()), paths()], files).prop_map(|(path, files)| Op::Graft(path, files)),
    ];
    proptest::collection::vec(op, 0..10)
}

/// The plain model: every path with its content, `None` for a directory.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model(BTreeMap<String, Option<u8>>);

impl Model {
    /// False: a conflict.
    fn put(&mut self, path: &str, content: Option<u8>) -> bool {
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        for end in ends {
            if self.0.entry(path[..end].to_owned()).or_insert(None).is_some() {
                return false;
            }
        }
        if path.is_empty() {
            return content.is_none();
        }
        match self.0.get(path) {
            Some(held) if held.is_some() != content.is_some() => false,
            _ => {
                self.0.insert(path.to_owned(), content);
                true
            }
        }
    }

    fn apply(&mut self, op: &Op) -> bool {
        match op {
            Op::File(path, content) => self.put(path, Some(*content)),
            Op::Directory(path) => self.put(path, None),
            Op::Remove(path) => {
                let below = format!("{path}/");
                self.0.retain(|held, _| held != path && !held.starts_with(&below));
                true
            }
            Op::Graft(at, files) => {
                let Some(tree) = Model::of(files) else { return true };
                let place = |path: &str| if at.is_empty() { path.to_owned() } else { format!("{at}/{path}") };
                self.put(at, None) && tree.0.iter().all(|(path, content)| self.put(&place(path), *content))
            }
        }
    }

    /// The tree of some files, if they make one.
    fn of(files: &[(String, u8)]) -> Option<Model> {
        let mut model = Model::default();
        files.iter().all(|(path, content)| model.put(path, Some(*content))).then_some(model)
    }
}

fn content(byte: u8) -> Digest {
    Digest::of(&[byte])
}

fn build(store: &Store, ops: &[Op]) -> Result<Digest, StoreError> {
    let mut builder = TreeBuilder::new();
    for op in ops {
        match op {
            Op::File(path, byte) => builder.file(path, content(*byte), false)?,
            Op::Directory(path) => builder.directory(path)?,
            Op::Remove(path) => builder.remove(path)?,
            Op::Graft(path, files) => {
                let Some(tree) = Model::of(files) else { continue };
                let mut inner = TreeBuilder::new();
                for (path, byte) in tree.0 {
                    match byte {
                        Some(byte) => inner.file(&path, content(byte), false)?,
                        None => inner.directory(&path)?,
                    }
                }
                builder.graft(path, inner.finish(store)?)?;
            }
        }
    }
    builder.finish(store)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_builder_agrees_with_a_map(ops in ops()) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let mut model = Model::default();
        let fits = ops.iter().all(|op| model.apply(op));
        match build(&store, &ops) {
            // What grafts hold is seen at the end, so a conflict that was removed again is none.
            Ok(_) if !fits => {
                prop_assert!(ops.iter().any(|op| matches!(op, Op::Remove(_))), "a conflict was not noticed");
            }
            Ok(tree) => {
                let walked = store.walk(&tree).unwrap().into_iter().map(|(path, node)| match node {
                    Node::File { digest, .. } => (path, Some(digest)),
                    _ => (path, None),
                });
                let expected = model.0.into_iter().map(|(path, byte)| (path, byte.map(content)));
                prop_assert_eq!(walked.collect::<BTreeMap<_, _>>(), expected.collect::<BTreeMap<_, _>>());
            }
            Err(StoreError::Tree(TreeError::Conflict { .. })) => prop_assert!(!fits, "a conflict was made up"),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

#[test]
fn grafting_opens_only_what_overlaps() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    // A tree that is not in the store can be grafted as long as nothing else is in its place.
    let absent = Digest::of(b"never stored");
    let mut builder = TreeBuilder::new();
    builder.graft("lib/app", absent).unwrap();
    builder.file("lib/other", content(1), true).unwrap();
    let tree = builder.finish(&store).unwrap();
    assert_eq!(store.lookup(&tree, "lib/app").unwrap(), Some(Node::Directory { digest: absent }));
    builder.file("lib/app/file", content(1), true).unwrap();
    assert!(matches!(builder.finish(&store), Err(StoreError::Missing { digest }) if digest == absent));
}

#[test]
fn replace_takes_the_place_of_anything() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let file = Node::File { digest: content(1), executable: false };
    let mut builder = TreeBuilder::new();
    builder.file("a/b", content(0), false).unwrap();
    builder.replace("a", file.clone()).unwrap();
    let one = builder.finish(&store).unwrap();
    assert_eq!(store.walk(&one).unwrap(), [("a".to_owned(), file)]);
    let mut builder = TreeBuilder::from_tree(&store, &one).unwrap();
    assert!(builder.directory("a").is_ok() && builder.finish(&store).is_err());
    let mut builder = TreeBuilder::from_tree(&store, &one).unwrap();
    builder.replace("a", Node::Directory { digest: one }).unwrap();
    let two = builder.finish(&store).unwrap();
    assert!(store.lookup(&two, "a/a").unwrap().is_some());
}

#[test]
fn paths_are_checked() {
    let mut builder = TreeBuilder::new();
    for path in ["", "/", "/a", "a/", "a//b", "../a", "a/.", "a\0"] {
        assert!(builder.file(path, content(0), false).is_err(), "{path:?} was taken");
        assert!(builder.symlink(path, "x").is_err(), "{path:?} was taken");
        if !path.is_empty() {
            assert!(builder.directory(path).is_err(), "{path:?} was taken");
        }
    }
    assert!(builder.symlink("a", "").is_err());
}
