//! The walk over a document that holds it against the table, and goes on after what it finds.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::cache::REMOTE_KEYS;
use super::error::{Problem, SchemaError};
use super::places::Source;
use super::scalar::Kind;
use super::shape::{Key, Shape, either};
use super::table::{KEYS, STEP_KEYS};
use super::text::Text;
use super::tree::{Node, NodeId, Place, Tree};
use crate::diagnostic::{nearest, shown};

/// No one reads further, and the line of each is kept.
const MOST_ERRORS: usize = 100;

pub(super) struct Checker<'a> {
    tree: &'a Tree,
    source: &'a Source,
    pub errors: Vec<SchemaError>,
    pub places: BTreeMap<String, (Option<Place>, Place)>,
}

/// A value under its path.
#[derive(Clone, Copy)]
struct Spot<'p> {
    /// The path of what holds the value.
    within: &'p str,
    path: &'p str,
    id: NodeId,
    at: Place,
}

impl<'a> Checker<'a> {
    pub fn new(tree: &'a Tree, source: &'a Source) -> Self {
        Checker { tree, source, errors: Vec::new(), places: BTreeMap::new() }
    }

    /// The document in a form that the types can be read from; `None` when it holds no keys at all.
    pub fn file(&mut self, shape: &Shape) -> Option<Value> {
        self.value(shape, Spot { within: "", path: "", id: self.tree.root, at: self.tree.root_at })
    }

    fn value(&mut self, shape: &Shape, spot: Spot<'_>) -> Option<Value> {
        let kind = Kind::of(self.tree.node(spot.id));
        match (shape, self.tree.node(spot.id)) {
            (Shape::Either(shapes), _) => match shapes.iter().find(|shape| fits(shape, kind)) {
                Some(shape) => self.value(shape, spot),
                None => self.wrong_for(shape, kind, spot),
            },
            (Shape::List { of, .. }, Node::List(items)) => self.list(of, items, spot),
            (Shape::List { of, single: true }, Node::Scalar { .. }) if fits(of, kind) => {
                self.value(of, spot).map(|one| Value::Sequence(vec![one]))
            }
            (Shape::Map { key, value, .. }, Node::Map(_)) => self.map(*key, value, spot),
            (Shape::Record { keys, .. }, Node::Map(_)) => self.record(keys, spot),
            (Shape::Written, Node::Scalar { text, .. }) if kind != Kind::Null => Some(text.as_str().into()),
            (Shape::Text(rule), Node::Scalar { text, .. }) if kind == Kind::Text => {
                self.text(*rule, text, spot)
            }
            (Shape::OneOf(words), Node::Scalar { text, .. }) if kind == Kind::Text => {
                let names: Vec<&str> = words.iter().map(|word| word.name).collect();
                if names.contains(&text.as_str()) {
                    return Some(text.as_str().into());
                }
                let value = shown(text);
                let hints = hint_nearest(nearest(text, names.iter().copied()));
                self.fail(Problem::UnknownValue { value, allowed: shape.describe() }, spot, hints)
            }
            (Shape::Bool, _) if matches!(kind, Kind::Bool(_)) => Some(Value::Bool(kind == Kind::Bool(true))),
            (Shape::Seconds, Node::Scalar { text, .. }) if kind == Kind::Number => {
                match text.parse::<u64>() {
                    Ok(seconds @ 1..) => Some(seconds.into()),
                    _ => {
                        let message = format!("`{}` is not a whole number of seconds above 0", shown(text));
                        self.fail(Problem::Invalid(message), spot, vec![])
                    }
                }
            }
            _ => self.wrong_for(shape, kind, spot),
        }
    }

    fn text(&mut self, rule: Text, text: &str, spot: Spot<'_>) -> Option<Value> {
        match rule.check(text) {
            Ok(text) => Some(text.into()),
            Err(refusal) => {
                self.fail(Problem::Invalid(refusal.message), spot, refusal.hint.into_iter().collect());
                // What may be a secret is not shown.
                if let (true, Some(span)) =
                    (rule.is_secret(), self.errors.last_mut().and_then(|e| e.span.as_mut()))
                {
                    let hidden = span.bytes();
                    let stars = "*".repeat(span.text[hidden.clone()].chars().count());
                    span.text.replace_range(hidden, &stars);
                }
                None
            }
        }
    }

    fn list(&mut self, of: &Shape, items: &[(NodeId, Place)], spot: Spot<'_>) -> Option<Value> {
        let mut values = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for (index, (id, at)) in items.iter().enumerate() {
            let path = format!("{}[{index}]", spot.path);
            self.places.insert(path.clone(), (None, *at));
            let inner = Spot { within: spot.path, path: &path, id: *id, at: *at };
            let Some(value) = self.value(of, inner) else { continue };
            let repeats = !matches!(of, Shape::Text(Text::Script));
            if let (true, Some(text)) = (repeats, value.as_str())
                && !seen.insert(text.to_string())
            {
                self.fail(Problem::ListedTwice(shown(text)), inner, vec![]);
            }
            values.push(value);
        }
        Some(Value::Sequence(values))
    }

    fn map(&mut self, rule: Text, shape: &Shape, spot: Spot<'_>) -> Option<Value> {
        let mut values = Mapping::new();
        for (name, at, entry) in self.entries(spot) {
            let path = join(spot.path, &shown(&name));
            let key = Spot { within: spot.path, path: &path, id: entry.id, at };
            let checked = self.text(rule, &name, key);
            self.places.insert(path.clone(), (Some(at), entry.at));
            let value = self.value(shape, Spot { within: spot.path, path: &path, ..entry });
            if let (Some(key), Some(value)) = (checked, value) {
                values.insert(key, value);
            }
        }
        Some(Value::Mapping(values))
    }

    fn record(&mut self, keys: &[Key], spot: Spot<'_>) -> Option<Value> {
        let mut values = Mapping::new();
        let mut there = Vec::new();
        for (name, at, entry) in self.entries(spot) {
            let path = join(spot.path, &shown(&name));
            self.places.insert(path.clone(), (Some(at), entry.at));
            let entry = Spot { within: spot.path, path: &path, ..entry };
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                let hints = vec![unknown_key_hint(&name, keys)];
                self.fail(Problem::UnknownKey(shown(&name)), Spot { at, ..entry }, hints);
                continue;
            };
            there.push(key.name);
            let null = Kind::of(self.tree.node(entry.id)) == Kind::Null;
            // What is left of a list when all its entries are commented out.
            if null && matches!(key.shape, Shape::List { single: false, .. } | Shape::Map { .. }) {
                continue;
            }
            let Some(value) = self.value(&key.shape, entry) else { continue };
            if key.required && value.as_sequence().is_some_and(Vec::is_empty) {
                self.fail(Problem::Invalid(format!("`{}` is empty", key.name)), entry, vec![]);
            }
            values.insert(key.name.into(), value);
        }
        for key in keys.iter().filter(|key| key.required && !there.contains(&key.name)) {
            self.missing(key.name, spot);
        }
        Some(Value::Mapping(values))
    }

    /// The entries of a map by name, first ones only; complains of keys that are no names or come again.
    fn entries(&mut self, spot: Spot<'_>) -> Vec<(String, Place, Spot<'static>)> {
        let tree = self.tree;
        let Node::Map(entries) = tree.node(spot.id) else { return Vec::new() };
        let mut named: Vec<(String, Place, Spot<'static>)> = Vec::new();
        let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in entries {
            let here = Spot { within: spot.path, path: spot.path, id: entry.key, at: entry.key_at };
            let key = tree.node(entry.key);
            let Node::Scalar { text, .. } = key else {
                self.wrong("a key", Kind::of(key), here);
                continue;
            };
            if let Some(line) = lines.get(text.as_str()) {
                let hint = format!("the first one is on line {line}");
                self.fail(Problem::DuplicateKey(shown(text)), here, vec![hint]);
                continue;
            }
            lines.insert(text, entry.key_at.line);
            let value = Spot { within: "", path: "", id: entry.value, at: entry.value_at };
            named.push((text.clone(), entry.key_at, value));
        }
        named
    }

    fn missing(&mut self, name: &str, spot: Spot<'_>) {
        let hints = vec![match name {
            "release" => "every release has a name: add a line `release: NAME`".to_string(),
            _ => format!("add a line `{name}: …`"),
        }];
        let key = self.places.get(spot.path).and_then(|(key, _)| *key);
        let at = Some(key.unwrap_or(spot.at));
        let label = (!spot.path.is_empty()).then(|| format!("in `{}`", spot.path));
        let problem = Problem::Missing(name.to_string());
        self.report(problem, at, label, hints);
    }

    fn wrong_for(&mut self, shape: &Shape, kind: Kind, spot: Spot<'_>) -> Option<Value> {
        let text = match self.tree.node(spot.id) {
            Node::Scalar { text, .. } => shown(text),
            _ => String::new(),
        };
        let hint = match (shape, kind) {
            (_, Kind::Null) => Some("give it a value, or take the line out".to_string()),
            (Shape::List { .. }, Kind::Text) => Some(format!("write a list: `[{text}]`")),
            (Shape::Text(_) | Shape::List { single: true, .. }, Kind::Number | Kind::Bool(_)) => {
                Some(format!("put it in quotes: `\"{text}\"`"))
            }
            (Shape::Bool, Kind::Text) => match text.to_lowercase().as_str() {
                "yes" | "on" | "y" | "true" => Some("write `true`".to_string()),
                "no" | "off" | "n" | "false" => Some("write `false`".to_string()),
                _ => None,
            },
            (Shape::Seconds, Kind::Text) => Some("write the number alone: `600`".to_string()),
            _ => None,
        };
        let found = kind.describe().to_string();
        // Nothing has no place worth marking, but its key has.
        let key = self.places.get(spot.path).and_then(|(key, _)| *key).filter(|_| kind == Kind::Null);
        let spot = Spot { at: key.unwrap_or(spot.at), ..spot };
        self.fail(Problem::WrongType { expected: shape.describe(), found }, spot, hint.into_iter().collect())
    }

    fn wrong(&mut self, expected: &str, kind: Kind, spot: Spot<'_>) -> Option<Value> {
        let problem = Problem::WrongType { expected: expected.into(), found: kind.describe().into() };
        self.fail(problem, spot, vec![])
    }

    fn fail(&mut self, problem: Problem, spot: Spot<'_>, hints: Vec<String>) -> Option<Value> {
        let label = (!spot.within.is_empty()).then(|| format!("in `{}`", spot.within));
        self.report(problem, Some(spot.at), label, hints);
        None
    }

    fn report(&mut self, problem: Problem, at: Option<Place>, label: Option<String>, hints: Vec<String>) {
        if self.errors.len() < MOST_ERRORS {
            let span = at.map(|at| self.source.span(at));
            let file = self.source.file().to_path_buf();
            self.errors.push(SchemaError { problem, file, span, label, hints });
        }
    }
}

/// Whether a value of this kind is what the shape is about, well-formed or not.
fn fits(shape: &Shape, kind: Kind) -> bool {
    match shape {
        Shape::Text(_) | Shape::OneOf(_) => kind == Kind::Text,
        Shape::Written => kind != Kind::Null && kind != Kind::List && kind != Kind::Map,
        Shape::Bool => matches!(kind, Kind::Bool(_)),
        Shape::Seconds => kind == Kind::Number,
        Shape::List { of, single } => kind == Kind::List || (*single && fits(of, kind)),
        Shape::Map { .. } | Shape::Record { .. } => kind == Kind::Map,
        Shape::Either(shapes) => shapes.iter().any(|shape| fits(shape, kind)),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

fn hint_nearest(name: Option<&str>) -> Vec<String> {
    name.map(|name| format!("did you mean `{name}`?")).into_iter().collect()
}

/// Keys that are written in the user's own file as well, where nothing else is.
fn of_cache(keys: &[Key]) -> bool {
    keys.iter().any(|key| matches!(key.name, "cache" | "remotes" | "url"))
        && !keys.iter().any(|key| key.name == "release")
}

fn unknown_key_hint(name: &str, keys: &[Key]) -> String {
    let other_name = keys.iter().find(|key| key.also.contains(&name)).map(|key| key.name);
    let is = |keys: &[Key]| keys.iter().any(|key| key.name == name);
    if let Some(known) = other_name {
        format!("did you mean `{known}`?")
    } else if is(REMOTE_KEYS) && keys.iter().any(|key| key.name == "remotes") {
        format!("`{name}` belongs to a remote: put it below `remotes:`, beside its `url`")
    } else if is(STEP_KEYS) && !of_cache(keys) {
        format!("`{name}` belongs to a step: put it below `steps:` and the name of the step")
    } else if is(KEYS) && !of_cache(keys) {
        format!("`{name}` belongs to the file: put it at the left margin")
    } else if let Some(known) = nearest(name, keys.iter().map(|key| key.name)) {
        format!("did you mean `{known}`?")
    } else {
        format!("the key here can be {}", either(keys.iter().map(|key| format!("`{}`", key.name)).collect()))
    }
}
