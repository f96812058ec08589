//! In what the supervisors of two versions of a module differ.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::etf::Term;

use super::text::Style;
use super::value::Value;
use super::{Child, Flags, Source, Supervision};

/// In what a supervisor differs between two versions. Identifiers and specifications are as people write them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SupervisionChange {
    /// Its registered name.
    pub name: Option<String>,
    /// Where it is started: the function, or `init/1`.
    pub function: String,
    /// Whether the whole supervisor is new.
    pub new: bool,
    /// Whether the whole supervisor is gone.
    pub gone: bool,
    /// Children that only the new one has.
    pub added: Vec<ChildChange>,
    /// Children that only the old one has.
    pub removed: Vec<ChildChange>,
    /// Children whose specification differs.
    pub changed: Vec<ChildChange>,
    /// Children of which it cannot be said whether they differ.
    pub uncertain: Vec<ChildChange>,
    /// Whether those that both have come in another order.
    pub reordered: bool,
    /// The flags that differ: `strategy`, `intensity`, `period`, or `name`, with the old and the new value.
    pub flags: Vec<(String, String, String)>,
    /// Whether one of the lists of children cannot be read.
    pub unreadable: bool,
}

/// A child that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChildChange {
    /// Its identifier; `None` when it does not follow from the code.
    pub id: Option<String>,
    /// What the old version says of it.
    pub old: Option<String>,
    /// What the new version says of it.
    pub new: Option<String>,
}

impl SupervisionChange {
    /// Whether nothing differs, as far as that is known.
    pub fn is_empty(&self) -> bool {
        let SupervisionChange { name: _, function: _, new, gone, .. } = self;
        let lists = [&self.added, &self.removed, &self.changed, &self.uncertain];
        !new && !gone
            && !self.reordered
            && !self.unreadable
            && self.flags.is_empty()
            && lists.iter().all(|list| list.is_empty())
    }
}

/// In what the supervisors of two versions of the module `module` differ; those that do not are left out.
pub fn compare(module: &str, old: &[Supervision], new: &[Supervision]) -> Vec<SupervisionChange> {
    let style = Style::of(module);
    let mut left: Vec<&Supervision> = old.iter().collect();
    let mut changes = Vec::new();
    let mut alone = Vec::new();
    for supervision in new {
        match left.iter().position(|other| matches(other, supervision)) {
            Some(at) => changes.push(compare_two(left.remove(at), supervision, style)),
            None => alone.push(supervision),
        }
    }
    // One that has moved or has another name, if there is one of the kind on each side.
    while let (Some(new), Some(at)) =
        (alone.first(), alone.first().and_then(|new| left.iter().position(|old| alike(old, new))))
    {
        changes.push(compare_two(left.remove(at), new, style));
        alone.remove(0);
    }
    changes.extend(alone.into_iter().map(|one| whole(one, true, style)));
    changes.extend(left.into_iter().map(|one| whole(one, false, style)));
    changes.retain(|change| !change.is_empty());
    changes
}

fn matches(one: &Supervision, two: &Supervision) -> bool {
    alike(one, two) && one.source == two.source && one.name == two.name
}

fn alike(one: &Supervision, two: &Supervision) -> bool {
    matches!(one.source, Source::Init { .. }) == matches!(two.source, Source::Init { .. })
}

fn described(supervision: &Supervision, style: Style) -> SupervisionChange {
    SupervisionChange {
        name: supervision.name.as_ref().map(|name| name.text(style)),
        function: match &supervision.source {
            Source::Init { .. } => "init/1".to_owned(),
            Source::Inline { function } => function.clone(),
        },
        ..SupervisionChange::default()
    }
}

fn whole(supervision: &Supervision, new: bool, style: Style) -> SupervisionChange {
    let mut change = described(supervision, style);
    let children = supervision.children.iter().flatten();
    if new {
        change.added = children.map(|child| child_change(None, Some(child), style)).collect();
    } else {
        change.removed = children.map(|child| child_change(Some(child), None, style)).collect();
    }
    SupervisionChange { new, gone: !new, unreadable: supervision.children.is_none(), ..change }
}

fn compare_two(old: &Supervision, new: &Supervision, style: Style) -> SupervisionChange {
    let mut change = described(new, style);
    change.flags = flags(old, new, style);
    let (Some(before), Some(after)) = (&old.children, &new.children) else {
        change.unreadable = true;
        return change;
    };
    let mut kept = Vec::new();
    let mut left: BTreeSet<usize> = (0..before.len()).collect();
    for child in after {
        // A child whose identifier does not follow from the code is known by what is said of it.
        let same = |at: &&usize| match (&before[**at].id, &child.id) {
            (Some(one), Some(two)) => one == two,
            (None, None) => equal(&before[**at].spec, &child.spec) == Some(true),
            _ => false,
        };
        let Some(at) = left.iter().find(same).copied() else {
            change.added.push(child_change(None, Some(child), style));
            continue;
        };
        left.remove(&at);
        kept.push(at);
        let both = || child_change(Some(&before[at]), Some(child), style);
        match equal_children(&before[at], child) {
            Some(true) => {}
            Some(false) => change.changed.push(both()),
            None => change.uncertain.push(both()),
        }
    }
    change.removed = left.iter().map(|at| child_change(Some(&before[*at]), None, style)).collect();
    change.reordered = !kept.is_sorted();
    change
}

fn child_change(old: Option<&Child>, new: Option<&Child>, style: Style) -> ChildChange {
    let id = new.or(old).and_then(|child| child.id.as_ref());
    let text = |child: &Child| child.spec.text(style);
    ChildChange {
        id: id.map(|id: &Term| Value::Term(id.clone()).text(style)),
        old: old.map(text),
        new: new.map(text),
    }
}

fn flags(old: &Supervision, new: &Supervision, style: Style) -> Vec<(String, String, String)> {
    let parts = |supervision: &Supervision| {
        let Flags { strategy, intensity, period } = supervision.flags.clone();
        [
            ("strategy", strategy),
            ("intensity", intensity),
            ("period", period),
            ("name", supervision.name.clone()),
        ]
    };
    let text = |value: &Option<Value>| value.clone().unwrap_or(Value::Unknown).text(style);
    let both = parts(old).into_iter().zip(parts(new));
    let different = both.filter(|((_, one), (_, two))| one != two);
    different.map(|((name, one), (_, two))| (name.to_owned(), text(&one), text(&two))).collect()
}

fn equal_children(old: &Child, new: &Child) -> Option<bool> {
    let specs = equal(&old.spec, &new.spec);
    match (&old.resolved, &new.resolved) {
        // Two ways of saying one thing; and the same words, of a module that says something else now.
        (Some(one), Some(two)) if !one.has_unknown() && !two.has_unknown() => equal(one, two),
        _ => specs,
    }
}

/// Whether two values are the same at run time; `None` where that is not known.
fn equal(one: &Value, two: &Value) -> Option<bool> {
    let all = |one: &[Value], two: &[Value]| {
        if one.len() != two.len() {
            return Some(false);
        }
        let parts: Vec<Option<bool>> = one.iter().zip(two).map(|(one, two)| equal(one, two)).collect();
        if parts.contains(&Some(false)) {
            return Some(false);
        }
        if parts.contains(&None) { None } else { Some(true) }
    };
    match (one, two) {
        (Value::Unknown, _) | (_, Value::Unknown) => None,
        (
            Value::Call { module, function, arguments },
            Value::Call { module: other, function: name, arguments: others },
        ) if (module, function) == (other, name) => all(arguments, others),
        (Value::Fun(one), Value::Fun(two)) => {
            if (one.arity, one.code) == (two.arity, two.code) {
                all(&one.captured, &two.captured)
            } else {
                Some(false)
            }
        }
        (Value::Cons(one, tail), Value::Cons(two, other)) => {
            let parts = |elements: &[Value], tail: &Value| [elements, std::slice::from_ref(tail)].concat();
            all(&parts(one, tail), &parts(two, other))
        }
        (one, two) => {
            if let (Some(one), Some(two)) = (one.as_tuple(), two.as_tuple()) {
                return all(&one, &two);
            }
            if let (Some(one), Some(two)) = (one.elements(), two.elements()) {
                return all(&one, &two);
            }
            if let (Some(one), Some(two)) = (one.as_map(), two.as_map()) {
                let parts = |pairs: Vec<(Value, Value)>| -> Vec<Value> {
                    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
                };
                return all(&parts(one), &parts(two));
            }
            Some(one == two)
        }
    }
}
