//! What instructions make of values and take from them.

use crate::etf::Term;

use super::super::operand::Operand;
use super::fold;
use super::machine::{Exhausted, Flow, Frame, Machine};
use super::state::State;
use super::step::{all, fails, number};
use super::value::Value;

pub(super) fn step(
    machine: &mut Machine<'_>,
    frame: &mut Frame,
    state: &mut State,
    name: &str,
    operands: &[Operand],
) -> Result<Flow, Exhausted> {
    let made = match (name, operands) {
        ("put_list", [head, tail, to]) => {
            let (head, tail) = (machine.get(state, head)?, machine.get(state, tail)?);
            (to, Value::with_tail(vec![head], tail))
        }
        ("put_tuple2", [to, Operand::List(elements)]) => (to, Value::tuple(all(machine, state, elements)?)),
        ("get_list", [list, head, tail]) => {
            let list = machine.get(state, list)?;
            let (first, rest) = (of(&list, "hd"), of(&list, "tl"));
            let first = machine.kept(first)?;
            state.set(head, first);
            (tail, rest)
        }
        ("get_hd", [list, to]) => (to, of(&machine.get(state, list)?, "hd")),
        ("get_tl", [list, to]) => (to, of(&machine.get(state, list)?, "tl")),
        ("get_tuple_element", [tuple, index, to]) => {
            let position = i64::try_from(number(index)).unwrap_or(i64::MAX - 1) + 1;
            let arguments = [Value::integer(position), machine.get(state, tuple)?];
            (to, folded("element", &arguments))
        }
        ("put_map_assoc", [_, map, to, _, Operand::List(pairs)])
        | ("put_map_exact", [_, map, to, _, Operand::List(pairs)]) => {
            fails(machine, frame, state, operands)?;
            let (map, pairs) = (machine.get(state, map)?, all(machine, state, pairs)?);
            (to, put(map, &pairs, name == "put_map_exact"))
        }
        ("get_map_elements", [Operand::Label(fail), map, Operand::List(list)]) => {
            return get(machine, frame, state, *fail, map, list);
        }
        ("update_record", [_, _, record, to, Operand::List(updates)]) => {
            let record = machine.get(state, record)?;
            let updates = all(machine, state, updates)?;
            (to, update(record, &updates))
        }
        ("bs_create_bin", [fail, _, _, _, to, Operand::List(segments)]) => {
            fails(machine, frame, state, std::slice::from_ref(fail))?;
            let segments = segments.chunks(6).map(|segment| part(machine, state, segment));
            let parts: Option<Vec<Value>> = segments.collect::<Result<_, _>>()?;
            (to, parts.map_or(Value::Unknown, binary))
        }
        _ => {
            // Whatever else writes into a register names it, and so it is with the places where code goes on.
            for label in labels(operands) {
                machine.branch(frame, label, state.clone())?;
            }
            forget(state, operands);
            return Ok(Flow::Next);
        }
    };
    let (to, value) = made;
    let value = machine.kept(value)?;
    state.set(to, value);
    Ok(Flow::Next)
}

fn folded(function: &str, arguments: &[Value]) -> Value {
    match arguments.last() {
        Some(Value::Unknown) => Value::Unknown,
        _ => fold::fold("erlang", function, arguments)
            .unwrap_or_else(|| Value::call("erlang", function, arguments.to_vec())),
    }
}

/// The first element of a list, or the rest.
fn of(list: &Value, function: &str) -> Value {
    folded(function, std::slice::from_ref(list))
}

fn put(map: Value, pairs: &[Value], exact: bool) -> Value {
    let mut result = map;
    for pair in pairs.chunks(2) {
        let [key, value] = pair else { return Value::Unknown };
        let arguments = vec![key.clone(), value.clone(), result];
        result = match (fold::fold("maps", "put", &arguments), &arguments[2]) {
            (Some(map), _) => map,
            (None, Value::Unknown) => return Value::Unknown,
            (None, _) => Value::call("maps", if exact { "update" } else { "put" }, arguments),
        };
    }
    result
}

fn get(
    machine: &mut Machine<'_>,
    frame: &mut Frame,
    state: &mut State,
    fail: u64,
    map: &Operand,
    list: &[Operand],
) -> Result<Flow, Exhausted> {
    let map = machine.get(state, map)?;
    let mut found = Vec::new();
    let mut sure = true;
    for pair in list.chunks(2) {
        let [key, to] = pair else { continue };
        let key = machine.get(state, key)?;
        match fold::entry(&key, &map) {
            Some(Some(value)) => found.push((to, value)),
            Some(None) => return Ok(Flow::Jump(fail)),
            None => {
                sure = false;
                found.push((to, folded("map_get", &[key, map.clone()])));
            }
        }
    }
    if !sure {
        machine.branch(frame, fail, state.clone())?;
    }
    for (to, value) in found {
        let value = machine.kept(value)?;
        state.set(to, value);
    }
    Ok(Flow::Next)
}

fn update(record: Value, updates: &[Value]) -> Value {
    let mut result = record;
    for update in updates.chunks(2) {
        let [position, value] = update else { return Value::Unknown };
        let arguments = [position.clone(), result, value.clone()];
        result = match fold::fold("erlang", "setelement", &arguments) {
            Some(record) => record,
            None if arguments[1] == Value::Unknown => return Value::Unknown,
            None => Value::call("erlang", "setelement", arguments.to_vec()),
        };
    }
    result
}

/// A segment of a binary that is all of another binary; a string is one.
fn part(machine: &mut Machine<'_>, state: &State, segment: &[Operand]) -> Result<Option<Value>, Exhausted> {
    let atom = |operand: &Operand| match operand {
        Operand::Term(term) => term.as_atom().map(str::to_owned),
        _ => None,
    };
    let [kind, _, unit, _, value, size] = segment else { return Ok(None) };
    match (atom(kind).as_deref(), number(unit), atom(size).as_deref()) {
        (Some("string"), ..) => machine.get(state, value).map(Some),
        (Some("binary"), 8, Some("all")) => machine.get(state, value).map(Some),
        _ => Ok(None),
    }
}

fn binary(parts: Vec<Value>) -> Value {
    let bytes = |value: &Value| match value {
        Value::Term(Term::Binary(bytes)) => Some(bytes.clone()),
        _ => None,
    };
    match parts.iter().map(bytes).collect::<Option<Vec<_>>>() {
        Some(bytes) => Value::Term(Term::Binary(bytes.concat())),
        None => Value::call("erlang", "iolist_to_binary", vec![Value::list(parts)]),
    }
}

fn labels(operands: &[Operand]) -> Vec<u64> {
    let mut labels = Vec::new();
    for operand in operands {
        match operand {
            Operand::Label(label) if *label != 0 => labels.push(*label),
            Operand::List(operands) => labels.extend(self::labels(operands)),
            _ => {}
        }
    }
    labels
}

fn forget(state: &mut State, operands: &[Operand]) {
    for operand in operands {
        match operand {
            Operand::List(operands) => forget(state, operands),
            operand => state.set(operand, Value::Unknown),
        }
    }
}
