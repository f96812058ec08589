//! What single instructions do to the registers.

use crate::etf::Term;

use super::super::disassembly::Instruction;
use super::super::operand::Operand;
use super::conditions::{self, TESTS};
use super::facts::Fact;
use super::fold;
use super::machine::{Exhausted, Flow, Frame, Machine};
use super::state::State;
use super::value::Value;

/// Instructions that only say something to the machine.
const SILENT: [&str; 10] = [
    "test_heap",
    "line",
    "executable_line",
    "debug_line",
    "nif_start",
    "remove_message",
    "timeout",
    "on_load",
    "recv_marker_clear",
    "recv_marker_use",
];

pub(super) fn step(
    machine: &mut Machine<'_>,
    frame: &mut Frame,
    state: &mut State,
    instruction: &Instruction,
    at: usize,
) -> Result<Flow, Exhausted> {
    let operands = &instruction.operands[..];
    let name = instruction.name();
    match (name, operands) {
        (name, _) if SILENT.contains(&name) => {}
        ("return", _) => return Ok(Flow::Return(state.get(&Operand::Register('x', 0)))),
        (
            "badmatch" | "case_end" | "if_end" | "try_case_end" | "badrecord" | "raise" | "raw_raise"
            | "func_info" | "int_code_end",
            _,
        ) => return Ok(Flow::Dead),
        ("jump" | "wait" | "loop_rec_end", [to]) => {
            return Ok(match to {
                Operand::Label(label) => Flow::Jump(*label),
                _ => Flow::Dead,
            });
        }
        ("allocate" | "allocate_zero" | "allocate_heap" | "allocate_heap_zero", [count, ..]) => {
            state.allocate(number(count));
        }
        ("deallocate", _) => state.y.clear(),
        ("trim", [count, _]) => state.trim(number(count)),
        ("init", [register]) => state.set(register, Value::Unknown),
        ("init_yregs", [Operand::List(registers)]) => {
            registers.iter().for_each(|register| state.set(register, Value::Unknown));
        }
        ("move", [from, to]) => {
            let value = machine.get(state, from)?;
            state.set(to, value);
        }
        ("swap", [one, two]) => {
            let (first, second) = (machine.get(state, one)?, machine.get(state, two)?);
            state.set(one, second);
            state.set(two, first);
        }
        (name, [Operand::Label(fail), rest @ ..]) if TESTS.contains(&name) => {
            return test(machine, frame, state, name, *fail, rest);
        }
        ("select_val" | "select_tuple_arity", [value, fail, Operand::List(choices)]) => {
            return select(machine, frame, state, name, value, fail, choices);
        }
        ("call", [_, function]) | ("call_last", [_, function, _]) | ("call_only", [_, function]) => {
            let program = frame.program.clone();
            let Some(index) = program.local(Some(function)) else { return Ok(Flow::Dead) };
            let arguments = arguments(machine, state, program.functions[index].arity)?;
            let value = machine.local(&program, index, arguments)?;
            return Ok(after(state, value, name != "call"));
        }
        ("call_ext", [_, function])
        | ("call_ext_last", [_, function, _])
        | ("call_ext_only", [_, function]) => {
            let program = frame.program.clone();
            let Some((module, function, arity)) = program.import(Some(function)) else {
                return Ok(Flow::Dead);
            };
            let arguments = arguments(machine, state, *arity)?;
            let value = machine.external(frame, at, (module, function), arguments)?;
            return Ok(after(state, value, name != "call_ext"));
        }
        ("apply", [arity]) | ("apply_last", [arity, _]) => {
            let count = u32::try_from(number(arity)).unwrap_or(u32::MAX);
            let mut all = arguments(machine, state, count.saturating_add(2))?;
            let (function, module) = (all.pop(), all.pop());
            let value = match (&module, &function) {
                (Some(Value::Term(Term::Atom(module))), Some(Value::Term(Term::Atom(function)))) => {
                    machine.external(frame, at, (module, function), all)?
                }
                _ => Some(Value::Unknown),
            };
            return Ok(after(state, value, name == "apply_last"));
        }
        ("call_fun", [arity]) => {
            let count = u32::try_from(number(arity)).unwrap_or(u32::MAX);
            let mut all = arguments(machine, state, count.saturating_add(1))?;
            let called = all.pop().unwrap_or(Value::Unknown);
            let value = machine.apply(frame, at, &called, all)?;
            return Ok(after(state, value, false));
        }
        ("call_fun2", [_, arity, called]) => {
            let all = arguments(machine, state, u32::try_from(number(arity)).unwrap_or(u32::MAX))?;
            let called = machine.get(state, called)?;
            let value = machine.apply(frame, at, &called, all)?;
            return Ok(after(state, value, false));
        }
        ("make_fun3", [function, to, Operand::List(captured)]) => {
            let captured = all(machine, state, captured)?;
            let program = frame.program.clone();
            let value = machine.fun(&program, function, captured)?;
            state.set(to, value);
        }
        ("make_fun2", [function]) => {
            let program = frame.program.clone();
            let free = program.fun(Some(function)).map_or(0, |(_, free)| free);
            let captured = arguments(machine, state, free)?;
            let value = machine.fun(&program, function, captured)?;
            state.returned(value);
        }
        ("bif0", [function, to]) => bif(machine, frame, state, function, &[], to)?,
        ("bif1", [_, function, one, to]) | ("gc_bif1", [_, _, function, one, to]) => {
            fails(machine, frame, state, operands)?;
            bif(machine, frame, state, function, &[one], to)?;
        }
        ("bif2", [_, function, one, two, to]) | ("gc_bif2", [_, _, function, one, two, to]) => {
            fails(machine, frame, state, operands)?;
            bif(machine, frame, state, function, &[one, two], to)?;
        }
        ("gc_bif3", [_, _, function, one, two, three, to]) => {
            fails(machine, frame, state, operands)?;
            bif(machine, frame, state, function, &[one, two, three], to)?;
        }
        ("try" | "catch", [Operand::Register('y', register), Operand::Label(label)]) => {
            state.handlers.push((*register, *label));
        }
        ("try_end" | "catch_end", _) => state.leave(operands.first()),
        ("try_case" | "send", _) => state.x.clear(),
        _ => return super::build::step(machine, frame, state, name, operands),
    }
    Ok(Flow::Next)
}

pub(super) fn number(operand: &Operand) -> u64 {
    match operand {
        Operand::Number(number) => *number,
        Operand::Term(Term::Integer(number)) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    }
}

/// What the operands stand for.
pub(super) fn all(
    machine: &mut Machine<'_>,
    state: &State,
    operands: &[Operand],
) -> Result<Vec<Value>, Exhausted> {
    operands.iter().map(|operand| machine.get(state, operand)).collect()
}

fn arguments(machine: &mut Machine<'_>, state: &State, count: u32) -> Result<Vec<Value>, Exhausted> {
    state.arguments(count).into_iter().map(|value| machine.kept(value)).collect()
}

/// After a call that gave `value`; `last`: the function ends with it.
fn after(state: &mut State, value: Option<Value>, last: bool) -> Flow {
    match value {
        None => Flow::Dead,
        Some(value) if last => Flow::Return(value),
        Some(value) => {
            state.returned(value);
            Flow::Next
        }
    }
}

/// The place at which an instruction goes on that could not be done: its first operand.
pub(super) fn fails(
    machine: &mut Machine<'_>,
    frame: &mut Frame,
    state: &State,
    operands: &[Operand],
) -> Result<(), Exhausted> {
    match operands.first() {
        Some(Operand::Label(label)) if *label != 0 => machine.branch(frame, *label, state.clone()),
        _ => Ok(()),
    }
}

fn bif(
    machine: &mut Machine<'_>,
    frame: &Frame,
    state: &mut State,
    function: &Operand,
    operands: &[&Operand],
    to: &Operand,
) -> Result<(), Exhausted> {
    let mut arguments = Vec::new();
    for operand in operands {
        arguments.push(machine.get(state, operand)?);
    }
    let value = match frame.program.import(Some(function)) {
        Some((module, function, _)) => fold::fold(module, function, &arguments)
            .unwrap_or_else(|| Value::call(module, function, arguments)),
        None => Value::Unknown,
    };
    let value = machine.kept(value)?;
    state.set(to, value);
    Ok(())
}

/// A condition, which goes on at `fail` where it does not hold.
fn test(
    machine: &mut Machine<'_>,
    frame: &mut Frame,
    state: &mut State,
    name: &str,
    fail: u64,
    operands: &[Operand],
) -> Result<Flow, Exhausted> {
    // The arity of a tuple is a plain number, and the keys of a map are in a list.
    let mut values = Vec::new();
    for operand in operands {
        match operand {
            Operand::Number(number) => values.push(Value::integer(i64::try_from(*number).unwrap_or(-1))),
            Operand::List(keys) => values.extend(all(machine, state, keys)?),
            operand => values.push(machine.get(state, operand)?),
        }
    }
    match conditions::holds(name, &values, &state.facts) {
        Some(true) => return Ok(Flow::Next),
        Some(false) => return Ok(Flow::Jump(fail)),
        None => {}
    }
    let mut other = state.clone();
    if let Some((value, here, there)) = conditions::tells(name, &values) {
        state.facts.add(&value, here);
        other.facts.add(&value, there);
    }
    machine.branch(frame, fail, other)?;
    Ok(Flow::Next)
}

fn select(
    machine: &mut Machine<'_>,
    frame: &mut Frame,
    state: &mut State,
    name: &str,
    value: &Operand,
    fail: &Operand,
    choices: &[Operand],
) -> Result<Flow, Exhausted> {
    let value = machine.get(state, value)?;
    let test = if name == "select_val" { "is_eq_exact" } else { "test_arity" };
    let mut excluded = Vec::new();
    for choice in choices.chunks(2) {
        let [wanted, Operand::Label(label)] = choice else { continue };
        let wanted = match wanted {
            Operand::Number(number) => Value::integer(i64::try_from(*number).unwrap_or(-1)),
            operand => machine.get(state, operand)?,
        };
        let operands = [value.clone(), wanted];
        match conditions::holds(test, &operands, &state.facts) {
            Some(true) => return Ok(Flow::Jump(*label)),
            Some(false) => continue,
            None => {}
        }
        let mut other = state.clone();
        if let (true, [_, Value::Term(term)]) = (test == "is_eq_exact", &operands) {
            other.facts.add(&value, Fact::Is(vec![term.clone()]));
            excluded.push(term.clone());
        }
        machine.branch(frame, *label, other)?;
    }
    if !excluded.is_empty() {
        state.facts.add(&value, Fact::IsNot(excluded));
    }
    Ok(match fail {
        Operand::Label(label) if *label != 0 => Flow::Jump(*label),
        _ => Flow::Dead,
    })
}
