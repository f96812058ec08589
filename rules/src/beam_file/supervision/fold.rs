//! What functions of Erlang give of values that are known, and which calls have no value at all.

use crate::etf::Term;

use super::value::Value;

/// Whether a function never returns.
pub(super) fn raises(module: &str, function: &str) -> bool {
    module == "erlang" && matches!(function, "error" | "exit" | "throw" | "raise" | "nif_error" | "halt")
}

/// Whether a call may be made once more, in another process, to have the value that it had: not where it starts something,
/// or asks for the process that it runs in.
pub(super) fn repeatable(module: &str, function: &str) -> bool {
    let starts = ["start_link", "start", "start_monitor", "start_child", "open", "listen", "connect"];
    match (module, function) {
        ("erlang", "self" | "make_ref" | "get" | "put" | "erase" | "group_leader" | "send" | "!") => false,
        ("erlang", function) => !function.starts_with("spawn") && !function.starts_with("open_port"),
        ("Elixir.Process", _)
        | ("ets", "new")
        | ("atomics" | "counters" | "persistent_term", "new" | "put") => false,
        ("Elixir.Kernel", "self" | "make_ref" | "spawn" | "spawn_link" | "send") => false,
        (_, function) => !starts.contains(&function),
    }
}

/// What a function of Erlang gives, when that follows from what is known of its arguments.
pub(super) fn fold(module: &str, function: &str, arguments: &[Value]) -> Option<Value> {
    match (module, function, arguments) {
        ("erlang", "++", [one, two]) => match one {
            Value::Cons(elements, tail) if two.elements().is_some_and(|two| two.is_empty()) => {
                Some(Value::Cons(elements.clone(), tail.clone()))
            }
            one => Some(Value::with_tail(one.elements()?, two.clone())),
        },
        ("erlang", "--", [one, two]) => {
            let mut left = one.term()?.elements()?;
            for gone in two.term()?.elements()? {
                if let Some(at) = left.iter().position(|term| *term == gone) {
                    left.remove(at);
                }
            }
            Some(Value::Term(Term::list(left)))
        }
        ("erlang", "hd", [list]) => head(list),
        ("erlang", "tl", [list]) => tail(list),
        ("erlang", "element", [position, tuple]) => element(position, tuple),
        ("erlang", "setelement", [position, tuple, value]) => {
            let mut elements = tuple.as_tuple()?;
            *elements.get_mut(position_of(position)?)? = value.clone();
            Some(Value::tuple(elements))
        }
        ("erlang", "tuple_size", [tuple]) => Some(Value::integer(tuple.as_tuple()?.len() as i64)),
        ("erlang", "length", [list]) => Some(Value::integer(list.elements()?.len() as i64)),
        ("erlang", "map_size", [map]) => Some(Value::integer(map.as_map()?.len() as i64)),
        ("erlang", "list_to_tuple", [list]) => Some(Value::tuple(list.elements()?)),
        ("erlang", "tuple_to_list", [tuple]) => Some(Value::list(tuple.as_tuple()?)),
        ("erlang", "map_get", [key, map]) | ("maps", "get", [key, map]) => entry(key, map)?,
        ("maps", "get", [key, map, default]) => Some(entry(key, map)?.unwrap_or_else(|| default.clone())),
        ("maps", "find", [key, map]) => Some(match entry(key, map)? {
            Some(value) => Value::tuple(vec![Value::atom("ok"), value]),
            None => Value::atom("error"),
        }),
        ("erlang", "is_map_key", [key, map]) | ("maps", "is_key", [key, map]) => {
            Some(boolean(entry(key, map)?.is_some()))
        }
        ("maps", "put", [key, value, map]) => put(map, &[(key.clone(), value.clone())]),
        ("maps", "merge", [one, two]) => put(one, &two.as_map()?),
        ("maps", "remove", [key, map]) => {
            let mut pairs = map.as_map()?;
            key.term()?;
            pairs.retain(|(name, _)| name != key);
            Value::map(pairs)
        }
        ("maps", "from_list", [list]) => {
            let pair = |element: Value| <[Value; 2]>::try_from(element.as_tuple()?).ok();
            let pairs = list.elements()?.into_iter().map(pair).collect::<Option<Vec<_>>>()?;
            Value::map(pairs.into_iter().map(|[key, value]| (key, value)).collect())
        }
        ("lists", "reverse", [list]) => reverse(list, Vec::new()),
        ("lists", "reverse", [list, tail]) => reverse(list, tail.elements()?),
        ("lists", "append", [one, two]) => fold("erlang", "++", &[one.clone(), two.clone()]),
        ("lists", "member", [value, list]) => Some(boolean(list.term()?.elements()?.contains(value.term()?))),
        ("lists", "keyfind", [key, position, list]) => keyfind(key, position, list),
        ("lists", "keymember", [key, position, list]) => {
            Some(boolean(keyfind(key, position, list)? != boolean(false)))
        }
        (
            "erlang",
            "make_fun",
            [Value::Term(Term::Atom(module)), Value::Term(Term::Atom(function)), arity],
        ) => {
            let arity = u8::try_from(arity.term()?.as_integer()?).ok()?;
            Some(Value::Term(Term::ExternalFun { module: module.clone(), function: function.clone(), arity }))
        }
        ("erlang", "not", [value]) => Some(boolean(value.as_atom()? == "false")),
        ("erlang", "+" | "-" | "*", [one, two]) => {
            let (one, two) = (one.term()?.as_integer()?, two.term()?.as_integer()?);
            let result = match function {
                "+" => one.checked_add(two),
                "-" => one.checked_sub(two),
                _ => one.checked_mul(two),
            };
            result.map(Value::integer)
        }
        ("erlang", "atom_to_binary", [Value::Term(Term::Atom(name)), ..]) => {
            Some(Value::Term(Term::Binary(name.clone().into_bytes())))
        }
        ("Elixir.String.Chars", "to_string", [Value::Term(term)]) => {
            Some(Value::Term(Term::Binary(match term {
                Term::Atom(name) if name == "nil" => Vec::new(),
                Term::Atom(name) => name.clone().into_bytes(),
                Term::Integer(number) => number.to_string().into_bytes(),
                Term::Binary(bytes) => bytes.clone(),
                _ => return None,
            })))
        }
        ("Elixir.Module", "concat", [list]) => concat(&list.elements()?),
        ("Elixir.Module", "concat", parts) => concat(parts),
        ("erlang", "=:=" | "=/=", [Value::Term(one), Value::Term(two)]) => {
            Some(boolean((one == two) == (function == "=:=")))
        }
        _ => None,
    }
}

/// The first element of a list.
pub(super) fn head(list: &Value) -> Option<Value> {
    match list {
        Value::Cons(elements, _) => elements.first().cloned(),
        Value::Term(Term::ImproperList(elements, _)) => elements.first().cloned().map(Value::Term),
        list => list.elements()?.into_iter().next(),
    }
}

/// What is behind the first element of a list.
pub(super) fn tail(list: &Value) -> Option<Value> {
    match list {
        Value::Cons(elements, tail) => Some(Value::with_tail(elements.get(1..)?.to_vec(), (**tail).clone())),
        Value::Term(Term::ImproperList(elements, tail)) => {
            Some(Value::Term(Term::list_with_tail(elements.get(1..)?.to_vec(), (**tail).clone())))
        }
        list => Some(Value::list(list.elements()?.get(1..)?.to_vec())),
    }
}

/// An element of a tuple, by its position from 1.
pub(super) fn element(position: &Value, tuple: &Value) -> Option<Value> {
    tuple.as_tuple()?.get(position_of(position)?).cloned()
}

fn position_of(position: &Value) -> Option<usize> {
    usize::try_from(position.term()?.as_integer()?).ok()?.checked_sub(1)
}

/// What a map has for a key: `None` inside when it has nothing, outside when that is not known.
pub(super) fn entry(key: &Value, map: &Value) -> Option<Option<Value>> {
    let pairs = map.as_map()?;
    key.term()?;
    Some(pairs.into_iter().find(|(name, _)| name == key).map(|(_, value)| value))
}

/// The map with more pairs in it.
pub(super) fn put(map: &Value, more: &[(Value, Value)]) -> Option<Value> {
    let mut pairs = map.as_map()?;
    pairs.extend(more.iter().cloned());
    Value::map(pairs)
}

fn reverse(list: &Value, tail: Vec<Value>) -> Option<Value> {
    let mut elements = list.elements()?;
    elements.reverse();
    elements.extend(tail);
    Some(Value::list(elements))
}

fn keyfind(key: &Value, position: &Value, list: &Value) -> Option<Value> {
    let (position, wanted) = (position_of(position)?, key.term()?);
    for element in list.elements()? {
        let Some(elements) = element.as_tuple() else {
            // Anything that may still turn out to be a tuple may be the one.
            element.term()?;
            continue;
        };
        match elements.get(position).map(Value::term) {
            Some(Some(term)) if term == wanted => return Some(element),
            // 1 and 1.0 are one key here.
            Some(Some(Term::Float(_))) | Some(None) => return None,
            _ => {}
        }
    }
    Some(boolean(false))
}

/// The name of a module from its parts, as Elixir puts them together.
fn concat(parts: &[Value]) -> Option<Value> {
    let mut name = "Elixir".to_owned();
    for part in parts {
        let part = match part.term()? {
            Term::Atom(part) if part == "nil" => continue,
            Term::Atom(part) => part.clone(),
            Term::Binary(bytes) => String::from_utf8(bytes.clone()).ok()?,
            _ => return None,
        };
        let part = part.strip_prefix("Elixir.").unwrap_or(&part);
        name.push('.');
        name.push_str(part.strip_prefix('.').unwrap_or(part));
    }
    Some(Value::Term(Term::Atom(name)))
}

fn boolean(value: bool) -> Value {
    Value::atom(if value { "true" } else { "false" })
}
