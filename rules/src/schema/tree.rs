//! The YAML document as a tree whose every node knows its place.
//!
//! Built from parser events with a stack of our own, so that no depth of nesting can exhaust the
//! thread's. Aliases share the node they name; what they would unfold to is counted, and bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::error::Problem;
use crate::diagnostic::shown_up_to;

/// Index of a node in its tree.
pub(super) type NodeId = usize;

/// Markers of the parser: lines from 1, columns from 0, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
}

impl Place {
    fn new(start: Marker, end: Marker) -> Self {
        Place { line: start.line(), column: start.col(), end_line: end.line(), end_column: end.col() }
    }

    pub(super) fn point(marker: Marker) -> Self {
        Place::new(marker, marker)
    }
}

#[derive(Debug)]
pub(super) enum Node {
    /// The text, and whether it was written bare (only then can it be a number, a boolean or null).
    Scalar {
        text: String,
        bare: bool,
    },
    List(Vec<(NodeId, Place)>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub key: NodeId,
    pub key_at: Place,
    pub value: NodeId,
    pub value_at: Place,
}

/// A problem found while building, and where.
pub(super) type TreeError = (Problem, Option<Place>);

#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    pub root: NodeId,
    pub root_at: Place,
}

/// Bytes of text that the aliases may unfold to, each value counting for one more. A file within the
/// limit of its size stays below without aliases; a chain of them passes it within ten lines.
const MOST_UNFOLDED: u64 = 64 << 20;

impl Tree {
    /// Reads the one document of `text`; `Ok(None)` when there is none.
    pub fn read(text: &str) -> Result<Option<Tree>, TreeError> {
        let mut builder = Builder::default();
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|e| {
                (Problem::Syntax(shown_up_to(e.info(), 300)), Some(Place::point(*e.marker())))
            })?;
            let at = Place::new(span.start, span.end);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let text = "only one document is allowed, and here begins a second";
                        return Err((Problem::Invalid(text.into()), Some(at)));
                    }
                }
                Event::Scalar(value, style, anchor, tag) => {
                    let string = is_string_tag(tag.as_deref(), at, "str")?;
                    let bare = style == ScalarStyle::Plain && !string;
                    builder.leaf(Node::Scalar { text: value.into_owned(), bare }, anchor, at)?;
                }
                Event::Alias(anchor) => builder.alias(anchor, at)?,
                Event::SequenceStart(anchor, tag) => {
                    is_string_tag(tag.as_deref(), at, "seq")?;
                    builder.open(Node::List(Vec::new()), anchor, at);
                }
                Event::MappingStart(anchor, tag) => {
                    is_string_tag(tag.as_deref(), at, "map")?;
                    builder.open(Node::Map(Vec::new()), anchor, at);
                }
                Event::SequenceEnd | Event::MappingEnd => builder.close(at)?,
                Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
            }
        }
        Ok(builder.root.map(|(root, root_at)| Tree { nodes: builder.nodes, root, root_at }))
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }
}

/// Refuses tags other than the core one that says what the node is anyway; true if there was one.
fn is_string_tag(tag: Option<&Tag>, at: Place, own: &str) -> Result<bool, TreeError> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == own => Ok(true),
        Some(_) => Err((Problem::Invalid("tags have no meaning in this file".into()), Some(at))),
    }
}

struct Open {
    node: Node,
    anchor: usize,
    at: Place,
    weight: u64,
    key: Option<(NodeId, Place)>,
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    /// What each node unfolds to, aliases followed.
    weights: Vec<u64>,
    anchors: HashMap<usize, NodeId>,
    open: Vec<Open>,
    root: Option<(NodeId, Place)>,
}

impl Builder {
    fn leaf(&mut self, node: Node, anchor: usize, at: Place) -> Result<(), TreeError> {
        let weight = match &node {
            Node::Scalar { text, .. } => 1 + text.len() as u64,
            Node::List(_) | Node::Map(_) => 1,
        };
        let id = self.push(node, weight, anchor);
        self.attach(id, at)
    }

    fn alias(&mut self, anchor: usize, at: Place) -> Result<(), TreeError> {
        match self.anchors.get(&anchor) {
            Some(&id) => self.attach(id, at),
            None => Err((Problem::Invalid("an alias inside of what it names".into()), Some(at))),
        }
    }

    fn open(&mut self, node: Node, anchor: usize, at: Place) {
        self.open.push(Open { node, anchor, at, weight: 1, key: None });
    }

    fn close(&mut self, end: Place) -> Result<(), TreeError> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        let mut at = open.at;
        (at.end_line, at.end_column) = (end.end_line, end.end_column);
        if let Node::Map(entries) = &mut open.node {
            self.merge(entries);
        }
        let id = self.push(open.node, open.weight, open.anchor);
        self.attach(id, at)
    }

    fn push(&mut self, node: Node, weight: u64, anchor: usize) -> NodeId {
        self.nodes.push(node);
        self.weights.push(weight);
        let id = self.nodes.len() - 1;
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        id
    }

    fn attach(&mut self, id: NodeId, at: Place) -> Result<(), TreeError> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some((id, at));
            return Ok(());
        };
        parent.weight = parent.weight.saturating_add(self.weights[id]);
        if parent.weight > MOST_UNFOLDED {
            return Err((Problem::Invalid("the aliases unfold to too much".into()), Some(at)));
        }
        match &mut parent.node {
            Node::List(items) => items.push((id, at)),
            Node::Map(entries) => match parent.key.take() {
                None => parent.key = Some((id, at)),
                Some((key, key_at)) => entries.push(Entry { key, key_at, value: id, value_at: at }),
            },
            Node::Scalar { .. } => {}
        }
        Ok(())
    }

    /// `<<: *other` puts the entries of another map here, those written out winning.
    fn merge(&self, entries: &mut Vec<Entry>) {
        let name = |id: NodeId| match &self.nodes[id] {
            Node::Scalar { text, bare } => Some((text.as_str(), *bare)),
            _ => None,
        };
        let Some(position) = entries.iter().position(|e| name(e.key) == Some(("<<", true))) else { return };
        let sources: Vec<NodeId> = match &self.nodes[entries[position].value] {
            Node::Map(_) => vec![entries[position].value],
            Node::List(items) => items.iter().map(|(id, _)| *id).collect(),
            Node::Scalar { .. } => return,
        };
        // Left in place, it is refused as an unknown key.
        if !sources.iter().all(|&id| matches!(self.nodes[id], Node::Map(_))) {
            return;
        }
        entries.remove(position);
        let mut there: std::collections::HashSet<&str> =
            entries.iter().filter_map(|e| name(e.key)).map(|(text, _)| text).collect();
        for source in sources {
            let Node::Map(others) = &self.nodes[source] else { continue };
            for entry in others {
                if name(entry.key).is_some_and(|(text, _)| there.insert(text)) {
                    entries.push(*entry);
                }
            }
        }
    }
}
