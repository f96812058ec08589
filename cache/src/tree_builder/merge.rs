//! Laying the layers of a builder over each other, from the bottom up.

use std::collections::BTreeMap;

use super::{Content, Entry};
use crate::{Digest, Directory, Node, Result, Store, TreeError};

/// A layer as merging sees it.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    Stored(Digest),
    Explicit(&'a BTreeMap<String, Entry>),
}

/// What the layers so far say about one name.
enum Merged<'a> {
    Leaf(Node),
    Directory(Vec<View<'a>>),
}

pub(super) fn merge(
    store: &Store,
    layers: &[View<'_>],
    prefix: &str,
    encoded: &mut Vec<(Digest, Vec<u8>)>,
) -> Result<Digest> {
    if let [View::Stored(digest)] = layers {
        return Ok(*digest);
    }
    let mut names: BTreeMap<String, Merged<'_>> = BTreeMap::new();
    for layer in layers {
        match layer {
            View::Stored(digest) => {
                for (name, node) in &store.directory(digest)?.entries {
                    add(&mut names, name, stored_views(node), prefix)?;
                }
            }
            View::Explicit(entries) => {
                for (name, entry) in *entries {
                    if entry.opaque {
                        names.remove(name);
                    }
                    match &entry.content {
                        None => {}
                        Some(Content::Leaf(node)) => {
                            add(&mut names, name, Merged::Leaf(node.clone()), prefix)?
                        }
                        Some(Content::Directory(below)) => {
                            // Removing below a folder that is not there makes no folder, and below a file does nothing.
                            let here = matches!(names.get(name), Some(Merged::Directory(_)));
                            if here || below.made {
                                add(&mut names, name, Merged::Directory(below.views()), prefix)?;
                            }
                        }
                    }
                }
            }
        }
    }
    let mut directory = Directory::default();
    for (name, merged) in names {
        let node = match merged {
            Merged::Leaf(node) => node,
            Merged::Directory(layers) => {
                let digest = merge(store, &layers, &join(prefix, &name), encoded)?;
                Node::Directory { digest }
            }
        };
        directory.entries.insert(name, node);
    }
    let bytes = directory.encode();
    let digest = Digest::of(&bytes);
    encoded.push((digest, bytes));
    Ok(digest)
}

fn stored_views<'a>(node: &Node) -> Merged<'a> {
    match node {
        Node::Directory { digest } => Merged::Directory(vec![View::Stored(*digest)]),
        leaf => Merged::Leaf(leaf.clone()),
    }
}

fn add<'a>(
    names: &mut BTreeMap<String, Merged<'a>>,
    name: &str,
    next: Merged<'a>,
    prefix: &str,
) -> Result<(), TreeError> {
    match (names.get_mut(name), next) {
        (None, next) => {
            names.insert(name.to_owned(), next);
        }
        (Some(Merged::Leaf(held)), Merged::Leaf(node)) => *held = node,
        (Some(Merged::Directory(held)), Merged::Directory(layers)) => {
            for layer in layers {
                let again = matches!((held.last(), layer),
                    (Some(View::Stored(a)), View::Stored(b)) if *a == b);
                if !again {
                    held.push(layer);
                }
            }
        }
        _ => return Err(TreeError::Conflict { path: join(prefix, name) }),
    }
    Ok(())
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}
