//! Building a tree by paths: [`TreeBuilder`].
//!
//! What is grafted is not opened until the end, and then only where something else is in the same place: grafting thirty
//! applications into a release reads no directory of theirs.

mod merge;

use std::collections::BTreeMap;

use crate::tree::{check_name, check_target};
use crate::{Digest, Node, Result, Store, TreeError};
use merge::{View, merge};

/// A tree in the making. Later entries replace earlier ones of the same path, folders are merged; a file where a folder is
/// (or the other way round) is a [`TreeError::Conflict`], unless it is put there by [`TreeBuilder::replace`].
#[derive(Debug, Clone, Default)]
pub struct TreeBuilder {
    root: Layers,
}

/// The layers of one directory, later ones on top.
#[derive(Debug, Clone, Default)]
struct Layers {
    layers: Vec<Layer>,
    /// Whether something asked for this directory; otherwise it only says what is removed below, and makes none.
    made: bool,
}

#[derive(Debug, Clone)]
enum Layer {
    /// A directory in the store, not opened.
    Stored(Digest),
    /// Entries given one by one.
    Explicit(BTreeMap<String, Entry>),
}

#[derive(Debug, Clone, Default)]
struct Entry {
    /// Whether what the layers below have under this name is covered.
    opaque: bool,
    content: Option<Content>,
}

#[derive(Debug, Clone)]
enum Content {
    Leaf(Node),
    Directory(Layers),
}

impl TreeBuilder {
    /// An empty tree.
    pub fn new() -> TreeBuilder {
        TreeBuilder::default()
    }

    /// Starts from a tree in the store.
    pub fn from_tree(store: &Store, tree: &Digest) -> Result<TreeBuilder> {
        store.directory(tree)?;
        let mut builder = TreeBuilder::new();
        builder.root.stored(*tree);
        Ok(builder)
    }

    /// Puts a file at a path.
    pub fn file(&mut self, path: &str, digest: Digest, executable: bool) -> Result<(), TreeError> {
        self.leaf(path, Node::File { digest, executable })
    }

    /// Puts a symlink at a path.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        check_target(path, target)?;
        self.leaf(path, Node::Symlink { target: target.to_owned() })
    }

    /// Makes sure that there is a directory at a path; the empty path is the root.
    pub fn directory(&mut self, path: &str) -> Result<(), TreeError> {
        self.layers(path, |_| ())
    }

    /// Puts a whole stored tree at a path, over what is there; the empty path is the root.
    pub fn graft(&mut self, path: &str, tree: Digest) -> Result<(), TreeError> {
        self.layers(path, |layers| layers.stored(tree))
    }

    /// Puts a node at a path in the place of whatever is there, file or folder.
    pub fn replace(&mut self, path: &str, node: Node) -> Result<(), TreeError> {
        self.remove(path)?;
        match node {
            Node::Directory { digest } => self.graft(path, digest),
            Node::Symlink { target } => self.symlink(path, &target),
            Node::File { digest, executable } => self.file(path, digest, executable),
        }
    }

    /// Takes away what is at a path, if anything is.
    pub fn remove(&mut self, path: &str) -> Result<(), TreeError> {
        if path.is_empty() {
            self.root = Layers::default();
            return Ok(());
        }
        let names = split(path)?;
        // A folder that only the removal would make must not appear: a covering entry on the way stays without content.
        self.root.remove(&names);
        Ok(())
    }

    /// Writes the directories into the store; the digest of the root.
    pub fn finish(&self, store: &Store) -> Result<Digest> {
        let mut encoded = Vec::new();
        let layers: Vec<View<'_>> = self.root.views();
        let root = merge(store, &layers, "", &mut encoded)?;
        store.put_encoded(&encoded)?;
        Ok(root)
    }

    fn leaf(&mut self, path: &str, node: Node) -> Result<(), TreeError> {
        let mut names = split(path)?;
        let Some(name) = names.pop() else { return Err(TreeError::Name { name: path.to_owned() }) };
        let folder = self.root.descend(&names, path)?;
        let entry = folder.explicit().entry(name.to_owned()).or_default();
        match &entry.content {
            // Whether what was removed below was a folder at all is only known at the end.
            Some(Content::Directory(below)) if !below.made => {
                folder.layers.push(Layer::Explicit(BTreeMap::from([(
                    name.to_owned(),
                    Entry { opaque: false, content: Some(Content::Leaf(node)) },
                )])));
            }
            Some(Content::Directory(_)) => return Err(TreeError::Conflict { path: path.to_owned() }),
            _ => entry.content = Some(Content::Leaf(node)),
        }
        Ok(())
    }

    fn layers(&mut self, path: &str, work: impl FnOnce(&mut Layers)) -> Result<(), TreeError> {
        let names = if path.is_empty() { Vec::new() } else { split(path)? };
        work(self.root.descend(&names, path)?);
        Ok(())
    }
}

fn split(path: &str) -> Result<Vec<&str>, TreeError> {
    let names: Vec<&str> = path.split('/').collect();
    names
        .iter()
        .try_for_each(|name| check_name(name))
        .map_err(|_| TreeError::Name { name: path.to_owned() })?;
    Ok(names)
}

impl Layers {
    fn stored(&mut self, tree: Digest) {
        if !matches!(self.layers.last(), Some(Layer::Stored(last)) if *last == tree) {
            self.layers.push(Layer::Stored(tree));
        }
    }

    /// The top layer, as one that takes entries.
    fn explicit(&mut self) -> &mut BTreeMap<String, Entry> {
        if !matches!(self.layers.last(), Some(Layer::Explicit(_))) {
            self.layers.push(Layer::Explicit(BTreeMap::new()));
        }
        match self.layers.last_mut() {
            Some(Layer::Explicit(entries)) => entries,
            _ => unreachable!("an explicit layer was just made sure of"),
        }
    }

    fn descend(&mut self, names: &[&str], path: &str) -> Result<&mut Layers, TreeError> {
        let mut at = self;
        at.made = true;
        for name in names {
            let entry = at.explicit().entry((*name).to_owned()).or_default();
            at = match entry.content.get_or_insert_with(|| Content::Directory(Layers::default())) {
                Content::Directory(below) => {
                    below.made = true;
                    below
                }
                Content::Leaf(_) => return Err(TreeError::Conflict { path: path.to_owned() }),
            };
        }
        Ok(at)
    }

    fn remove(&mut self, names: &[&str]) {
        let Some((first, rest)) = names.split_first() else { return };
        if rest.is_empty() {
            self.explicit().insert((*first).to_owned(), Entry { opaque: true, content: None });
            return;
        }
        let entry = self.explicit().entry((*first).to_owned()).or_default();
        match &mut entry.content {
            Some(Content::Directory(layers)) => layers.remove(rest),
            Some(Content::Leaf(_)) => {}
            None if entry.opaque => {}
            None => {
                let mut layers = Layers::default();
                layers.remove(rest);
                entry.content = Some(Content::Directory(layers));
            }
        }
    }

    fn views(&self) -> Vec<View<'_>> {
        self.layers
            .iter()
            .map(|layer| match layer {
                Layer::Stored(digest) => View::Stored(*digest),
                Layer::Explicit(entries) => View::Explicit(entries),
            })
            .collect()
    }
}
