//! Following the code of a function with values that are known in part.
//!
//! Where a condition is not known both branches are followed; where they meet again, what they do not agree on is not
//! known. Local functions are followed where they are called, down to a depth, and so are the functions of a few modules
//! that only compute. All of it takes a number of steps at the most, and gives up on a function that takes more.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::disassembly::Instruction;
use super::super::operand::Operand;
use super::facts::join;
use super::program::{Code, Program};
use super::state::State;
use super::value::Value;

/// How deep calls are followed.
const DEPTH: usize = 80;
/// How much work reading one function may be: steps, and parts of values that are looked at.
const WORK: usize = 1_500_000;
/// So often a place is come to anew before how it was come to is forgotten.
const PATIENCE: usize = 6;

/// It took too long.
#[derive(Debug)]
pub(super) struct Exhausted;

/// What comes after an instruction.
pub(super) enum Flow {
    Next,
    Jump(u64),
    Dead,
    Return(Value),
}

/// A call of one of [`STARTS`](super::program::STARTS): in which module, and with what.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub module: String,
    pub arguments: Vec<Value>,
}

/// Where a call stands: the function and the instruction.
pub(super) type Site = (usize, usize);

pub(super) struct Machine<'a> {
    modules: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    programs: BTreeMap<String, Option<Rc<Program>>>,
    /// How much work may still be done.
    pub left: usize,
    /// The calls that are being followed.
    pub stack: Vec<(String, usize, Vec<Value>)>,
    /// The module whose calls are wanted.
    pub watched: String,
    /// Those calls, as far as they were come to.
    pub starts: BTreeMap<Site, Start>,
    /// Whether part of the code that has such calls could not be followed.
    pub incomplete: bool,
}

/// One call of a function that is being followed.
pub(super) struct Frame {
    pub program: Rc<Program>,
    pub function: usize,
    /// What is known at the labels, and how often that changed.
    places: BTreeMap<usize, (State, usize)>,
    queue: BTreeSet<usize>,
    returns: BTreeMap<usize, Value>,
}

impl Frame {
    fn code(&self) -> &Code {
        &self.program.functions[self.function]
    }
}

impl<'a> Machine<'a> {
    pub fn new(program: Rc<Program>, modules: &'a dyn Fn(&str) -> Option<Vec<u8>>) -> Machine<'a> {
        let watched = program.name.clone();
        Machine {
            modules,
            programs: BTreeMap::from([(watched.clone(), Some(program))]),
            left: WORK,
            stack: Vec::new(),
            watched,
            starts: BTreeMap::new(),
            incomplete: false,
        }
    }

    /// What a function gives, each `return` by itself; nothing when it never returns or takes too long.
    pub fn read(&mut self, program: &Rc<Program>, function: usize, arguments: Vec<Value>) -> Vec<Value> {
        self.left = WORK;
        let depth = self.stack.len();
        self.follow(program, function, arguments).unwrap_or_else(|Exhausted| {
            self.stack.truncate(depth);
            self.incomplete = true;
            Vec::new()
        })
    }

    /// What an exported function of any module gives, when that can be read and all of it is known.
    pub fn ask(&mut self, module: &str, function: &str, arguments: Vec<Value>) -> Option<Value> {
        let program = self.program(module)?;
        let function = program.exported(function, u32::try_from(arguments.len()).ok()?)?;
        joined(self.read(&program, function, arguments))
    }

    pub(super) fn program(&mut self, module: &str) -> Option<Rc<Program>> {
        if let Some(known) = self.programs.get(module) {
            return known.clone();
        }
        let program = (self.modules)(module).and_then(|bytes| Program::read(&bytes).ok()).map(Rc::new);
        self.programs.insert(module.to_owned(), program.clone());
        program
    }

    pub(super) fn spend(&mut self, work: usize) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(work).ok_or(Exhausted)?;
        Ok(())
    }

    /// A value that was just made, unless it is too large to matter.
    pub fn kept(&mut self, value: Value) -> Result<Value, Exhausted> {
        let weight = value.weight();
        self.spend(weight.unwrap_or(1_000))?;
        Ok(if weight.is_some() { value } else { Value::Unknown })
    }

    /// What an operand stands for.
    pub fn get(&mut self, state: &State, operand: &Operand) -> Result<Value, Exhausted> {
        let value = state.get(operand);
        self.kept(value)
    }

    pub(super) fn follow(
        &mut self,
        program: &Rc<Program>,
        function: usize,
        arguments: Vec<Value>,
    ) -> Result<Vec<Value>, Exhausted> {
        let code = &program.functions[function];
        let again = |(module, index, known): &(String, usize, Vec<Value>)| {
            *index == function && *module == program.name && *known == arguments
        };
        if self.stack.len() >= DEPTH || self.stack.iter().any(again) {
            self.incomplete |= code.starts;
            return Ok(vec![Value::Unknown]);
        }
        let state = State { x: arguments.clone(), ..State::default() };
        self.stack.push((program.name.clone(), function, arguments));
        let mut frame = Frame {
            program: program.clone(),
            function,
            places: BTreeMap::new(),
            queue: BTreeSet::new(),
            returns: BTreeMap::new(),
        };
        self.go(&mut frame, state, code.entry)?;
        while let Some(at) = frame.queue.pop_first() {
            if let Some((state, _)) = frame.places.get(&at) {
                let state = state.clone();
                self.go(&mut frame, state, at + 1)?;
            }
        }
        self.stack.pop();
        Ok(frame.returns.into_values().collect())
    }

    /// Follows the code from one place to where it ends or meets a label.
    fn go(&mut self, frame: &mut Frame, mut state: State, mut at: usize) -> Result<(), Exhausted> {
        let program = frame.program.clone();
        let code = &program.functions[frame.function];
        while let Some(instruction) = code.instructions.get(at) {
            self.spend(1)?;
            if instruction.name() == "label" {
                return self.arrive(frame, at, state);
            }
            let flow = self.step(frame, &mut state, instruction, at)?;
            if let Some((label, state)) = state.thrown() {
                self.branch(frame, label, state)?;
            }
            match flow {
                Flow::Next => at += 1,
                Flow::Jump(label) => return self.branch(frame, label, state),
                Flow::Dead => break,
                Flow::Return(value) => {
                    frame.returns.insert(at, value);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Goes on at a label as well.
    pub fn branch(&mut self, frame: &mut Frame, label: u64, state: State) -> Result<(), Exhausted> {
        match frame.code().labels.get(&label).copied() {
            Some(at) => self.arrive(frame, at, state),
            // Not a place in this function; 0 stands for none.
            None => Ok(()),
        }
    }

    fn arrive(&mut self, frame: &mut Frame, at: usize, state: State) -> Result<(), Exhausted> {
        self.spend(1 + state.weight())?;
        match frame.places.get_mut(&at) {
            None => {
                frame.places.insert(at, (state, 0));
                frame.queue.insert(at);
            }
            Some((known, changes)) => {
                let joined = known.join(&state, *changes >= PATIENCE);
                if joined != *known {
                    *known = joined;
                    *changes += 1;
                    frame.queue.insert(at);
                }
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        frame: &mut Frame,
        state: &mut State,
        instruction: &Instruction,
        at: usize,
    ) -> Result<Flow, Exhausted> {
        super::step::step(self, frame, state, instruction, at)
    }
}

/// What all of the values have in common; `None` when there is none.
pub(super) fn joined(values: Vec<Value>) -> Option<Value> {
    values.into_iter().reduce(|one, two| join(&one, &two))
}
