//! Whether the condition of a branch holds, as far as what is known tells.

use crate::etf::Term;

use super::facts::{Fact, Facts};
use super::value::Value;

/// The instructions that go on at their first operand, a label, where a condition does not hold.
pub(super) const TESTS: [&str; 29] = [
    "is_lt",
    "is_ge",
    "is_eq",
    "is_ne",
    "is_eq_exact",
    "is_ne_exact",
    "is_integer",
    "is_float",
    "is_number",
    "is_atom",
    "is_pid",
    "is_reference",
    "is_port",
    "is_nil",
    "is_binary",
    "is_constant",
    "is_list",
    "is_nonempty_list",
    "is_tuple",
    "test_arity",
    "is_function",
    "is_boolean",
    "is_function2",
    "is_bitstr",
    "is_map",
    "has_map_fields",
    "is_tagged_tuple",
    "bs_test_unit",
    "bs_test_tail2",
];

/// Whether the condition `name` holds of its operands.
pub(super) fn holds(name: &str, operands: &[Value], facts: &Facts) -> Option<bool> {
    match (name, operands) {
        ("is_eq_exact", [one, two]) => same(one, two, facts),
        ("is_ne_exact", [one, two]) => same(one, two, facts).map(|same| !same),
        ("is_eq", [one, two]) => alike(one, two, facts),
        ("is_ne", [one, two]) => alike(one, two, facts).map(|same| !same),
        ("is_lt", [one, two]) => Some(integer(one)? < integer(two)?),
        ("is_ge", [one, two]) => Some(integer(one)? >= integer(two)?),
        ("is_nil", [value]) => same(value, &Value::list(Vec::new()), facts),
        ("is_nonempty_list", [Value::List(list)]) => Some(!list.is_empty()),
        ("is_nonempty_list", [Value::Cons(..)]) => Some(true),
        ("is_list", [Value::Cons(..)]) => Some(true),
        ("test_arity", [value, count]) => Some(value.as_tuple()?.len() as i64 == integer(count)?),
        ("is_tagged_tuple", [value, count, tag]) => {
            if let Some(elements) = value.as_tuple() {
                if elements.len() as i64 != integer(count)? {
                    return Some(false);
                }
                return same(elements.first()?, tag, facts);
            }
            match is_a("is_tuple", value) {
                Some(false) => Some(false),
                _ => None,
            }
        }
        ("is_function2", [Value::Fun(fun), arity]) => Some(i64::from(fun.arity) == integer(arity)?),
        ("is_function2", [Value::Term(Term::ExternalFun { arity, .. }), count]) => {
            Some(i64::from(*arity) == integer(count)?)
        }
        ("is_function2", [value, _]) if is_a("is_function", value) == Some(false) => Some(false),
        ("has_map_fields", [value, keys @ ..]) => {
            let pairs = value.as_map()?;
            let has = |key: &Value| pairs.iter().any(|(name, _)| name == key);
            if keys.iter().all(has) {
                return Some(true);
            }
            keys.iter().all(|key| key.term().is_some()).then_some(false)
        }
        (test, [value]) => is_a(test, value),
        _ => None,
    }
}

/// What the outcome of a test says, for the places behind it: of which value, where it holds and where it does not.
pub(super) fn tells(name: &str, operands: &[Value]) -> Option<(Value, Fact, Fact)> {
    let facts = |value: &Value, term: &Term| {
        Some((value.clone(), Fact::Is(vec![term.clone()]), Fact::IsNot(vec![term.clone()])))
    };
    match (name, operands) {
        ("is_eq_exact", [value, Value::Term(term)] | [Value::Term(term), value]) => facts(value, term),
        ("is_ne_exact", [value, Value::Term(term)] | [Value::Term(term), value]) => {
            facts(value, term).map(|(value, is, not)| (value, not, is))
        }
        ("is_nil", [value]) => facts(value, &Term::List(Vec::new())),
        ("is_tagged_tuple", [value, _, Value::Term(tag)]) => {
            facts(&Value::call("erlang", "element", vec![Value::integer(1), value.clone()]), tag)
        }
        _ => None,
    }
}

/// Whether two values are the same term.
fn same(one: &Value, two: &Value, facts: &Facts) -> Option<bool> {
    match (one, two) {
        (Value::Term(one), Value::Term(two)) => Some(one == two),
        (one, two) if one == two && !one.has_unknown() => Some(true),
        (Value::Term(term), value) | (value, Value::Term(term)) => match facts.equals(value, term) {
            Some(known) => Some(known),
            None => match kind(value)? {
                known if known != kind(&Value::Term(term.clone()))? => Some(false),
                "list" => match (value, term) {
                    // One element at the least in the one, and none in the other.
                    (Value::List(_) | Value::Cons(..), Term::List(elements)) if elements.is_empty() => {
                        Some(false)
                    }
                    _ => None,
                },
                _ => None,
            },
        },
        _ => None,
    }
}

/// The same for `==`, to which 1 and 1.0 are equal.
fn alike(one: &Value, two: &Value, facts: &Facts) -> Option<bool> {
    match same(one, two, facts)? {
        true => Some(true),
        false => {
            let plain =
                |value: &Value| !matches!(kind(value), Some("float" | "tuple" | "list" | "map") | None);
            (plain(one) || plain(two)).then_some(false)
        }
    }
}

fn integer(value: &Value) -> Option<i64> {
    value.term()?.as_integer()
}

fn is_a(test: &str, value: &Value) -> Option<bool> {
    let kind = kind(value)?;
    let boolean = || matches!(value.as_atom(), Some("true" | "false"));
    let empty = || matches!(value, Value::Term(Term::List(elements)) if elements.is_empty());
    Some(match test {
        "is_boolean" => boolean(),
        "is_number" => matches!(kind, "integer" | "float"),
        "is_bitstr" => matches!(kind, "binary" | "bitstr"),
        "is_nonempty_list" => kind == "list" && !empty(),
        "is_list" => kind == "list" || kind == "improper",
        "is_integer" | "is_float" | "is_atom" | "is_binary" | "is_tuple" | "is_function" | "is_map" => {
            kind == &test[3..]
        }
        "is_pid" | "is_reference" | "is_port" if kind != "opaque" => false,
        _ => return None,
    })
}

/// Of which type it is.
fn kind(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Term(term) => match term {
            Term::Integer(_) | Term::BigInteger(_) => "integer",
            Term::Float(_) => "float",
            Term::Atom(_) => "atom",
            Term::ExternalFun { .. } => "function",
            Term::Opaque(_) => "opaque",
            Term::Tuple(_) => "tuple",
            Term::Map(_) => "map",
            Term::List(_) | Term::String(_) => "list",
            Term::ImproperList(..) => "improper",
            Term::Binary(_) => "binary",
            Term::Bits { .. } => "bitstr",
        },
        Value::Tuple(_) => "tuple",
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Fun(_) => "function",
        Value::Call { module, function, .. } => match (module.as_str(), function.as_str()) {
            ("Elixir.Supervisor", "child_spec") | ("maps", "put" | "update" | "merge") => "map",
            ("Elixir.Supervisor.Spec", "worker" | "supervisor") => "tuple",
            ("erlang", "iolist_to_binary" | "atom_to_binary" | "integer_to_binary") => "binary",
            ("Elixir.Kernel", "inspect") | ("Elixir.String.Chars", "to_string") => "binary",
            ("erlang", "binary_to_integer" | "list_to_integer" | "length") => "integer",
            ("erlang", "binary_to_atom" | "list_to_atom" | "node") => "atom",
            ("erlang", "self") => "opaque",
            _ => return None,
        },
        Value::Cons(..) | Value::Argument(_) | Value::Unknown => return None,
    })
}
