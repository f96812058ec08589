//! The registers of the machine at one place of a function.

use super::super::operand::Operand;
use super::facts::{Facts, join, join_where};
use super::value::Value;

/// No function has more registers of a kind.
const REGISTERS: u64 = 1024;

/// The registers at one place, and how it was come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub x: Vec<Value>,
    pub y: Vec<Value>,
    pub facts: Facts,
    /// Where exceptions go on, the innermost last: the register that marks the protected part, and the label.
    pub handlers: Vec<(u64, u64)>,
}

impl State {
    pub fn get(&self, operand: &Operand) -> Value {
        let from = |registers: &[Value], number: &u64| {
            let index = usize::try_from(*number).ok();
            index.and_then(|index| registers.get(index)).cloned().unwrap_or(Value::Unknown)
        };
        match operand {
            Operand::Register('x', number) => from(&self.x, number),
            Operand::Register('y', number) => from(&self.y, number),
            Operand::Term(term) => Value::Term(term.clone()),
            _ => Value::Unknown,
        }
    }

    pub fn set(&mut self, operand: &Operand, value: Value) {
        let (registers, number) = match operand {
            Operand::Register('x', number) => (&mut self.x, *number),
            Operand::Register('y', number) => (&mut self.y, *number),
            _ => return,
        };
        if number >= REGISTERS {
            return;
        }
        let index = number as usize;
        if registers.len() <= index {
            registers.resize(index + 1, Value::Unknown);
        }
        registers[index] = value;
    }

    /// The first `count` registers, which a function is called with.
    pub fn arguments(&self, count: u32) -> Vec<Value> {
        (0..u64::from(count).min(REGISTERS)).map(|number| self.get(&Operand::Register('x', number))).collect()
    }

    /// After a call: what it gave is in the first register, and nothing in the others.
    pub fn returned(&mut self, value: Value) {
        self.x.clear();
        self.x.push(value);
    }

    /// Room for `count` registers that outlive calls.
    pub fn allocate(&mut self, count: u64) {
        self.y = vec![Value::Unknown; count.min(REGISTERS) as usize];
    }

    /// Takes the `count` first of them away.
    pub fn trim(&mut self, count: u64) {
        self.handlers.iter_mut().for_each(|(register, _)| *register = register.saturating_sub(count));
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.y.len());
        self.y.drain(..count);
    }

    /// What holds whichever of the two ways was gone. `strict`: without looking at what led here.
    pub fn join(&self, other: &State, strict: bool) -> State {
        let values =
            |one: &[Value], two: &[Value]| {
                let pairs = one.iter().zip(two);
                pairs
                    .map(|(one, two)| {
                        if strict { join(one, two) } else { join_where(one, &self.facts, two, &other.facts) }
                    })
                    .collect()
            };
        State {
            x: values(&self.x, &other.x),
            y: values(&self.y, &other.y),
            facts: self.facts.both(&other.facts),
            // Where a protected part ends, an exception comes in with its handler and everything else without.
            handlers: if self.handlers.len() <= other.handlers.len() {
                self.handlers.clone()
            } else {
                other.handlers.clone()
            },
        }
    }

    /// Leaves the protected part that a register marks, if this is the innermost one.
    pub fn leave(&mut self, operand: Option<&Operand>) {
        if let (Some(Operand::Register('y', register)), Some((innermost, _))) =
            (operand, self.handlers.last())
            && register == innermost
        {
            self.handlers.pop();
        }
    }

    /// What is known where an exception goes on, and the label of that place.
    pub fn thrown(&self) -> Option<(u64, State)> {
        let (_, label) = self.handlers.last()?;
        let mut state = State { x: Vec::new(), ..self.clone() };
        state.handlers.pop();
        Some((*label, state))
    }

    /// How many parts its values have.
    pub fn weight(&self) -> usize {
        self.x.iter().chain(&self.y).map(|value| value.weight().unwrap_or(1)).sum()
    }
}
