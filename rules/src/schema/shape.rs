//! The vocabulary in which the table of keys is written: what a value may look like.

use super::text::Text;

/// One key of a record.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    /// What holds when the key is left out, in words.
    pub default: &'static str,
    /// What it does, in a few sentences.
    pub meaning: &'static str,
    /// Lines of a release.yaml.
    pub example: &'static str,
    /// What other tools call it.
    pub also: &'static [&'static str],
}

/// One word that a value may be.
#[derive(Debug)]
pub(super) struct Word {
    pub name: &'static str,
    pub meaning: &'static str,
}

/// What a value may look like.
#[derive(Debug)]
pub(super) enum Shape {
    /// A string that follows a rule.
    Text(Text),
    /// Text as it is written, so that `4000` and `true` need no quotes.
    Written,
    Bool,
    Seconds,
    OneOf(&'static [Word]),
    /// `single`: an entry alone stands for a list of one.
    List {
        of: &'static Shape,
        single: bool,
    },
    Map {
        key: Text,
        value: &'static Shape,
        what: &'static str,
    },
    Record {
        keys: &'static [Key],
        what: &'static str,
    },
    /// The first that fits the kind of the value; at most one of each kind.
    Either(&'static [Shape]),
}

impl Shape {
    /// Says what is expected: "a list of globs".
    pub fn describe(&self) -> String {
        match self {
            Shape::Text(text) => text.one().to_string(),
            Shape::Written => "a string".to_string(),
            Shape::Bool => "true or false".to_string(),
            Shape::Seconds => "a number of seconds".to_string(),
            Shape::OneOf(words) => either(words.iter().map(|w| format!("`{}`", w.name)).collect()),
            Shape::List { of, single: false } => format!("a list of {}", of.plural()),
            Shape::List { of, single: true } => format!("{} or a list of {}", of.describe(), of.plural()),
            Shape::Map { what, .. } | Shape::Record { what, .. } => (*what).to_string(),
            Shape::Either(shapes) => {
                let mut parts = Vec::new();
                for shape in *shapes {
                    match shape {
                        Shape::Bool => parts.extend(["true".to_string(), "false".to_string()]),
                        other => parts.push(other.describe()),
                    }
                }
                either(parts)
            }
        }
    }

    fn plural(&self) -> String {
        match self {
            Shape::Text(text) => text.many().to_string(),
            Shape::OneOf(words) => {
                words.iter().map(|w| format!("`{}`", w.name)).collect::<Vec<_>>().join(" and ")
            }
            Shape::Either(shapes) => either(shapes.iter().map(Shape::plural).collect()),
            other => other.describe().replacen("a map", "maps", 1),
        }
    }
}

/// "a, b or c".
pub(super) fn either(mut parts: Vec<String>) -> String {
    match parts.pop() {
        None => String::new(),
        Some(last) if parts.is_empty() => last,
        Some(last) => format!("{} or {last}", parts.join(", ")),
    }
}
