//! A module made ready to be followed instruction by instruction.

use std::collections::{BTreeMap, BTreeSet};

use relgraph_cache::{Digest, Hasher};

use super::super::disassembly::{self, Instruction};
use super::super::operand::Operand;
use super::super::{BeamError, BeamFile, tables};

/// Calls whose arguments are wanted, wherever they stand.
pub(super) const STARTS: [(&str, &str, u32); 4] = [
    ("Elixir.Supervisor", "start_link", 2),
    ("Elixir.Supervisor", "start_link", 3),
    ("supervisor", "start_link", 2),
    ("supervisor", "start_link", 3),
];

/// One function.
#[derive(Debug)]
pub(super) struct Code {
    pub name: String,
    pub arity: u32,
    pub instructions: Vec<Instruction>,
    /// Where its labels stand.
    pub labels: BTreeMap<u64, usize>,
    /// Where it begins when it is called.
    pub entry: usize,
    /// Whether a call of [`STARTS`] is in it, or in what it calls or makes a function of.
    pub starts: bool,
}

/// A module.
#[derive(Debug)]
pub(super) struct Program {
    pub name: String,
    pub functions: Vec<Code>,
    pub exports: BTreeSet<(String, u32)>,
    pub behaviours: BTreeSet<String>,
    index: BTreeMap<(String, u32), usize>,
    imports: BTreeMap<String, (String, String, u32)>,
}

impl Program {
    pub fn read(bytes: &[u8]) -> Result<Program, BeamError> {
        let file = BeamFile::parse(bytes)?;
        let atoms = tables::atoms(&file)?;
        let imports = tables::imports(&file, &atoms)?.into_iter();
        let mut program = Program {
            name: atoms[0].clone(),
            functions: Vec::new(),
            exports: tables::exports(&file, &atoms)?.into_iter().collect(),
            behaviours: super::super::info(bytes).map(|info| info.behaviours).unwrap_or_default(),
            index: BTreeMap::new(),
            imports: imports.map(|one| (format!("{}:{}/{}", one.0, one.1, one.2), one)).collect(),
        };
        for ((name, arity), instructions) in disassembly::functions(&file)? {
            program.index.insert((name.clone(), arity), program.functions.len());
            program.functions.push(Code::new(name, arity, instructions));
        }
        program.mark();
        Ok(program)
    }

    pub fn find(&self, name: &str, arity: u32) -> Option<usize> {
        self.index.get(&(name.to_owned(), arity)).copied()
    }

    pub fn exported(&self, name: &str, arity: u32) -> Option<usize> {
        self.exports.contains(&(name.to_owned(), arity)).then(|| self.find(name, arity))?
    }

    /// The function of another module that an operand names.
    pub fn import(&self, operand: Option<&Operand>) -> Option<&(String, String, u32)> {
        match operand {
            Some(Operand::Named(text)) => self.imports.get(text),
            _ => None,
        }
    }

    /// The function of this module that an operand names: `name/arity`.
    pub fn local(&self, operand: Option<&Operand>) -> Option<usize> {
        let Some(Operand::Named(text)) = operand else { return None };
        let (name, arity) = text.rsplit_once('/')?;
        self.find(name, arity.parse().ok()?)
    }

    /// The anonymous function that an operand names (`name/arity with free`), and how much it takes along.
    pub fn fun(&self, operand: Option<&Operand>) -> Option<(usize, u32)> {
        let Some(Operand::Named(text)) = operand else { return None };
        let (function, free) = text.rsplit_once(" with ")?;
        let (name, arity) = function.rsplit_once('/')?;
        let (index, free) = (self.find(name, arity.parse().ok()?)?, free.parse().ok()?);
        (free <= self.functions[index].arity).then_some((index, free))
    }

    /// Finds out which functions start supervisors, by themselves or by others.
    fn mark(&mut self) {
        let mut callers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut queue = Vec::new();
        for (index, code) in self.functions.iter().enumerate() {
            for instruction in &code.instructions {
                for operand in &instruction.operands {
                    let called = self.local(Some(operand)).or_else(|| Some(self.fun(Some(operand))?.0));
                    if let Some(called) = called {
                        callers.entry(called).or_default().push(index);
                    }
                    if let Some((module, function, arity)) = self.import(Some(operand)) {
                        if STARTS.contains(&(module, function, *arity)) {
                            queue.push(index);
                        } else if *module == self.name
                            && let Some(called) = self.exported(function, *arity)
                        {
                            callers.entry(called).or_default().push(index);
                        }
                    }
                }
            }
        }
        while let Some(index) = queue.pop() {
            if !std::mem::replace(&mut self.functions[index].starts, true) {
                queue.extend(callers.get(&index).into_iter().flatten());
            }
        }
    }
}

impl Code {
    fn new(name: String, arity: u32, instructions: Vec<Instruction>) -> Code {
        let mut labels = BTreeMap::new();
        let mut entry = 0;
        for (at, instruction) in instructions.iter().enumerate() {
            match (instruction.name(), instruction.operands.first()) {
                ("label", Some(Operand::Label(label))) => drop(labels.insert(*label, at)),
                ("func_info", _) => entry = at + 1,
                _ => {}
            }
        }
        Code { name, arity, instructions, labels, entry, starts: false }
    }

    /// The digest of what it does.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for instruction in self.instructions.iter().filter(|one| one.name() != "line") {
            hasher.update(format!("{} {:?}\n", instruction.name(), instruction.operands).as_bytes());
        }
        hasher.finish()
    }
}
