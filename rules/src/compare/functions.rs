//! Which functions of a module differ, whatever the order of its tables and wherever in the source they stand.

use std::collections::{BTreeMap, BTreeSet};

use crate::beam_file::{Function, Functions, Instruction};

/// Functions that came, went, and do something else.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) added: Vec<Function>,
    pub(super) removed: Vec<Function>,
    pub(super) changed: Vec<Function>,
}

/// A function and the anonymous functions that it makes, by the names of these.
type Bodies<'a> = BTreeMap<Function, BTreeMap<&'a (String, u32), Vec<&'a Instruction>>>;

/// Compares the functions of two modules.
pub(super) fn compare(old: &Functions, new: &Functions) -> Changed {
    let (old, new) = (bodies(old), bodies(new));
    let mut found = Changed::default();
    let names: BTreeSet<&Function> = old.keys().chain(new.keys()).collect();
    for name in names {
        match (old.get(name), new.get(name)) {
            (None, _) => found.added.push(name.clone()),
            (_, None) => found.removed.push(name.clone()),
            (one, other) if one != other => found.changed.push(name.clone()),
            _ => {}
        }
    }
    found
}

fn bodies(functions: &Functions) -> Bodies<'_> {
    let mut bodies = Bodies::new();
    for (id, code) in functions {
        let owner = owner(id, functions).unwrap_or_else(|| id.clone());
        if is_of_the_compiler(&owner) {
            continue;
        }
        let code = code.iter().filter(|instruction| !is_line(instruction)).collect();
        bodies.entry(Function { name: owner.0, arity: owner.1 }).or_default().insert(id, code);
    }
    bodies
}

fn is_line(instruction: &Instruction) -> bool {
    instruction.is_line()
}

fn is_of_the_compiler((name, arity): &(String, u32)) -> bool {
    matches!((name.as_str(), arity), ("module_info", 0 | 1) | ("__info__", 1))
}

/// The function that an anonymous one was written in: `-name/arity-fun-0-`, `-name/arity-lc$^0/1-0-`, `-fun.name/arity-`,
/// `-inlined-name/arity-`.
fn owner((name, _): &(String, u32), functions: &Functions) -> Option<(String, u32)> {
    let inner = name.strip_prefix('-')?;
    for (at, _) in inner.match_indices('/') {
        let digits: String = inner[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        if digits.is_empty() || inner.as_bytes().get(at + 1 + digits.len()) != Some(&b'-') {
            continue;
        }
        let arity: u32 = digits.parse().ok()?;
        for prefix in ["", "fun.", "inlined-"] {
            if let Some(name) = inner[..at].strip_prefix(prefix) {
                let owner = (name.to_owned(), arity);
                if functions.contains_key(&owner) {
                    return Some(owner);
                }
            }
        }
    }
    None
}

/// Macros are functions with a name of their own and the place of the call as first argument.
pub(super) fn macro_of(function: &Function) -> Option<Function> {
    let name = function.name.strip_prefix("MACRO-")?;
    Some(Function { name: name.to_owned(), arity: function.arity.checked_sub(1)? })
}

/// Takes the macros out of a list of functions.
pub(super) fn split_macros(functions: Vec<Function>) -> (Vec<Function>, Vec<Function>) {
    let (macros, functions): (Vec<_>, Vec<_>) =
        functions.into_iter().partition(|function| macro_of(function).is_some());
    (functions, macros.iter().filter_map(macro_of).collect())
}
