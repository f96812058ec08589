//! What a short function returns, found by following its instructions with names in the place of its arguments.
//!
//! Enough for a `code_change` that gives the state back and for a `__struct__/0`. A function that calls anything, or does what is
//! not known here, is given up.

use std::collections::{BTreeMap, BTreeSet};

use crate::beam_file::{Instruction, Operand};
use crate::etf::Term;

/// A function that takes more steps than this, all ways together, is given up.
const STEPS: usize = 2000;

/// What is known of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    /// The argument of this number, unchanged.
    Argument(u64),
    /// A constant.
    Term(Term),
    /// A tuple that is made.
    Tuple(Vec<Value>),
    /// Something else.
    Unknown,
}

type Registers = BTreeMap<(char, u64), Value>;

/// All that a function may return; `None` where that cannot be told.
pub(super) fn returns(code: &[Instruction], arity: u32) -> Option<BTreeSet<Value>> {
    let mut labels = BTreeMap::new();
    for (at, instruction) in code.iter().enumerate() {
        if let ("label", [Operand::Label(label)]) = (instruction.name(), &instruction.operands[..]) {
            labels.insert(*label, at);
        }
    }
    let start = code.iter().position(|instruction| instruction.name() == "func_info")? + 1;
    let registers: Registers =
        (0..u64::from(arity)).map(|number| (('x', number), Value::Argument(number))).collect();
    let mut found = BTreeSet::new();
    let mut open = vec![(start, registers)];
    let mut steps = 0;
    while let Some((mut at, mut registers)) = open.pop() {
        loop {
            steps += 1;
            if steps > STEPS {
                return None;
            }
            let instruction = code.get(at)?;
            let goes = step(instruction, &mut registers)?;
            for label in goes.also {
                open.push((*labels.get(&label)?, registers.clone()));
            }
            match goes.next {
                Next::Following => at += 1,
                Next::Label(label) => at = *labels.get(&label)?,
                Next::Nowhere => break,
                Next::Return => {
                    found.insert(get(&registers, 'x', 0));
                    break;
                }
            }
        }
    }
    Some(found)
}

enum Next {
    Following,
    Label(u64),
    Return,
    /// It raises.
    Nowhere,
}

struct Goes {
    next: Next,
    /// Where else it may go.
    also: Vec<u64>,
}

fn get(registers: &Registers, kind: char, number: u64) -> Value {
    registers.get(&(kind, number)).cloned().unwrap_or(Value::Unknown)
}

fn value(registers: &Registers, operand: &Operand) -> Value {
    match operand {
        Operand::Term(term) => Value::Term(term.clone()),
        Operand::Register(kind, number) => get(registers, *kind, *number),
        _ => Value::Unknown,
    }
}

fn set(registers: &mut Registers, operand: &Operand, value: Value) -> Option<()> {
    let Operand::Register(kind, number) = operand else { return None };
    registers.insert((*kind, *number), value);
    Some(())
}

fn step(instruction: &Instruction, registers: &mut Registers) -> Option<Goes> {
    let mut also = Vec::new();
    let mut next = Next::Following;
    let operands = &instruction.operands[..];
    match (instruction.name(), operands) {
        (
            "label" | "line" | "executable_line" | "debug_line" | "test_heap" | "allocate" | "allocate_heap"
            | "allocate_zero" | "allocate_heap_zero" | "deallocate" | "init" | "init_yregs",
            _,
        ) => {}
        ("trim", [Operand::Number(count), ..]) => {
            let moved: Vec<(u64, Value)> = registers
                .iter()
                .filter(|((kind, number), _)| *kind == 'y' && number >= count)
                .map(|((_, number), value)| (number - count, value.clone()))
                .collect();
            registers.retain(|(kind, _), _| *kind != 'y');
            registers.extend(moved.into_iter().map(|(number, value)| (('y', number), value)));
        }
        ("func_info" | "badmatch" | "case_end" | "if_end" | "badrecord" | "try_case_end", _) => {
            next = Next::Nowhere;
        }
        ("return", _) => next = Next::Return,
        ("jump", [Operand::Label(label)]) => next = Next::Label(*label),
        ("move", [from, to]) => {
            let value = value(registers, from);
            set(registers, to, value)?;
        }
        ("swap", [one, other]) => {
            let (first, second) = (value(registers, one), value(registers, other));
            set(registers, one, second)?;
            set(registers, other, first)?;
        }
        ("put_tuple2", [to, Operand::List(elements)]) => {
            let made = elements.iter().map(|element| value(registers, element)).collect();
            set(registers, to, Value::Tuple(made))?;
        }
        ("get_tuple_element", [from, Operand::Number(at), to]) => {
            let element = match value(registers, from) {
                Value::Tuple(elements) => usize::try_from(*at)
                    .ok()
                    .and_then(|at| elements.get(at).cloned())
                    .unwrap_or(Value::Unknown),
                _ => Value::Unknown,
            };
            set(registers, to, element)?;
        }
        ("get_hd" | "get_tl", [_, to]) | ("put_list", [_, _, to]) => set(registers, to, Value::Unknown)?,
        ("get_list", [_, head, tail]) => {
            set(registers, head, Value::Unknown)?;
            set(registers, tail, Value::Unknown)?;
        }
        ("get_map_elements", [Operand::Label(fail), _, Operand::List(pairs)]) => {
            also.push(*fail);
            for to in pairs.iter().skip(1).step_by(2) {
                set(registers, to, Value::Unknown)?;
            }
        }
        ("select_val" | "select_tuple_arity", [_, Operand::Label(fail), Operand::List(cases)]) => {
            next = Next::Label(*fail);
            also.extend(cases.iter().filter_map(|case| match case {
                Operand::Label(label) => Some(*label),
                _ => None,
            }));
        }
        (name, [Operand::Label(fail), ..])
            if name.starts_with("is_") || matches!(name, "test_arity" | "has_map_fields") =>
        {
            also.push(*fail);
        }
        _ => return None,
    }
    Some(Goes { next, also })
}
