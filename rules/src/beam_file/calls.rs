//! Where a module calls another one: the function, the file, the line; and whether that call is there for the compiler or
//! behind a question whether the other module is there.

use std::collections::{BTreeMap, BTreeSet};

use crate::etf::Term;

use super::code::{Cursor, arity};
use super::info::Function;
use super::{BeamError, BeamFile, tables, word};

/// A call of a function in another module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The function that calls.
    pub from: Function,
    /// The module that is called.
    pub module: String,
    /// The function of it.
    pub function: Function,
    /// The source file, as the compiler was given it.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
}

const LABEL: u8 = 1;
const FUNC_INFO: u8 = 2;
const LOCAL_CALLS: [u8; 3] = [4, 5, 6];
const EXTERNAL_CALLS: [u8; 3] = [7, 8, 78];
const MAKE_FUNS: [u8; 2] = [103, 171];
const ON_LOAD: u8 = 149;
const LINE: u8 = 153;

const ATOM: u8 = 2;

/// Functions that ask whether a module is there.
const QUESTIONS: [(&str, &str); 11] = [
    ("Elixir.Code", "ensure_loaded?"),
    ("Elixir.Code", "ensure_loaded"),
    ("Elixir.Code", "ensure_loaded!"),
    ("Elixir.Code", "ensure_compiled"),
    ("Elixir.Code", "ensure_compiled!"),
    ("erlang", "function_exported"),
    ("erlang", "module_loaded"),
    ("code", "ensure_loaded"),
    ("code", "which"),
    ("code", "is_loaded"),
    ("code", "load_file"),
];

/// Functions that only a compiler calls.
const FOR_THE_COMPILER: [(&str, u32); 7] = [
    ("__before_compile__", 1),
    ("__after_compile__", 2),
    ("__on_definition__", 6),
    ("__after_verify__", 1),
    ("__mix_recompile__?", 0),
    ("parse_transform", 2),
    ("parse_transform_info", 0),
];

/// What is known of one function.
#[derive(Debug, Default)]
struct Body {
    /// Labels that it calls or makes functions of.
    local: BTreeSet<u64>,
    /// What it calls in other modules: the row of the table of imports, and the line instruction before.
    external: BTreeSet<(u64, u64)>,
    /// Whether it knows what to do when a function is not there.
    catches: bool,
}

/// The calls of functions that `wanted` names (module, function, arity). Left out are those that only a compiler reaches
/// (from macros, parse transforms, callbacks of the compilation), those in a function that catches `undef`, and those of a
/// module of which this one asks whether it is there. Instructions that are not known end the search.
pub fn calls(bytes: &[u8], wanted: &dyn Fn(&str, &str, u32) -> bool) -> Result<BTreeSet<Call>, BeamError> {
    let file = BeamFile::parse(bytes)?;
    let atoms = tables::atoms(&file)?;
    let imports = tables::imports(&file, &atoms)?;
    let code = Code::read(&file, &atoms)?;
    let asks = |module: &str, function: &str| QUESTIONS.contains(&(module, function));
    let literals = tables::literals(&file).unwrap_or_default();
    let asked = imports.iter().any(|(module, function, _)| asks(module, function))
        || literals.iter().any(|literal| {
            mentions(literal, &|term| match term {
                Term::ExternalFun { module, function, .. } => asks(module, function),
                _ => false,
            })
        });
    let mentioned = |module: &str| {
        code.atoms.iter().any(|&index| atom(&atoms, index) == Some(module))
            || literals.iter().any(|literal| mentions(literal, &|term| term.as_atom() == Some(module)))
    };
    let lines = Lines::read(&file);
    let reached = code.reached(&exports(&file, &atoms)?);
    let mut found = BTreeSet::new();
    for (from, body) in &code.bodies {
        if body.catches || !reached.contains(from) {
            continue;
        }
        for (import, line) in &body.external {
            let Some((module, name, arity)) =
                usize::try_from(*import).ok().and_then(|import| imports.get(import))
            else {
                continue;
            };
            if !wanted(module, name, *arity) || (asked && mentioned(module)) {
                continue;
            }
            let (file, line) = lines.at(*line);
            found.insert(Call {
                from: from.clone(),
                module: module.clone(),
                function: Function { name: name.clone(), arity: *arity },
                file,
                line,
            });
        }
    }
    Ok(found)
}

fn atom(atoms: &[String], index: u64) -> Option<&str> {
    usize::try_from(index).ok()?.checked_sub(1).and_then(|index| atoms.get(index)).map(String::as_str)
}

fn mentions(term: &Term, what: &dyn Fn(&Term) -> bool) -> bool {
    what(term)
        || match term {
            Term::Tuple(terms) | Term::List(terms) => terms.iter().any(|term| mentions(term, what)),
            Term::ImproperList(terms, tail) => {
                terms.iter().any(|term| mentions(term, what)) || mentions(tail, what)
            }
            Term::Map(pairs) => pairs.iter().any(|(key, value)| mentions(key, what) || mentions(value, what)),
            _ => false,
        }
}

/// The exported functions that more than a compiler calls.
fn exports(file: &BeamFile<'_>, atoms: &[String]) -> Result<Vec<Function>, BeamError> {
    let all = tables::exports(file, atoms)?.into_iter();
    let only =
        |name: &str, arity: u32| name.starts_with("MACRO-") || FOR_THE_COMPILER.contains(&(name, arity));
    Ok(all
        .filter(|(name, arity)| !only(name, *arity))
        .map(|(name, arity)| Function { name, arity })
        .collect())
}

#[derive(Debug, Default)]
struct Code {
    bodies: BTreeMap<Function, Body>,
    /// To which function a label belongs.
    labels: BTreeMap<u64, Function>,
    /// Atoms that are arguments of instructions.
    atoms: BTreeSet<u64>,
    on_load: Option<Function>,
}

impl Code {
    fn read(file: &BeamFile<'_>, atoms: &[String]) -> Result<Code, BeamError> {
        let mut code = Code::default();
        let chunk = file.needed("Code")?;
        let funs = fun_labels(file);
        let Some(bytes) = word(chunk, 0).and_then(|header| chunk.get(header.checked_add(4)?..)) else {
            return Ok(code);
        };
        let mut cursor = Cursor { bytes };
        let mut current: Option<Function> = None;
        let mut line = 0;
        while let Some(opcode) = cursor.byte() {
            let Some(count) = arity(opcode) else { break };
            let mut arguments = Vec::with_capacity(usize::from(count));
            let mut more = Vec::new();
            for _ in 0..count {
                match cursor.argument(&mut |tag, value| more.push((tag, value))) {
                    Some(argument) => arguments.push(argument),
                    None => return Ok(code),
                }
            }
            let value = |index: usize| arguments.get(index).map(|(_, value)| *value).unwrap_or_default();
            if opcode == FUNC_INFO {
                let name = atom(atoms, value(1)).unwrap_or_default().to_owned();
                let function = Function { name, arity: u32::try_from(value(2)).unwrap_or_default() };
                code.bodies.entry(function.clone()).or_default();
                current = Some(function);
                continue;
            }
            let Some(function) = &current else { continue };
            let body = code.bodies.entry(function.clone()).or_default();
            match opcode {
                LABEL => drop(code.labels.insert(value(0), function.clone())),
                LINE => line = value(0),
                ON_LOAD => code.on_load = Some(function.clone()),
                _ if LOCAL_CALLS.contains(&opcode) => drop(body.local.insert(value(1))),
                _ if EXTERNAL_CALLS.contains(&opcode) => drop(body.external.insert((value(1), line))),
                _ if MAKE_FUNS.contains(&opcode) => {
                    body.local.extend(usize::try_from(value(0)).ok().and_then(|fun| funs.get(fun)));
                }
                _ => {}
            }
            for (tag, index) in arguments.iter().chain(&more) {
                if *tag == ATOM {
                    code.atoms.insert(*index);
                    let known = atom(atoms, *index);
                    body.catches |= matches!(known, Some("undef" | "Elixir.UndefinedFunctionError"));
                }
            }
        }
        Ok(code)
    }

    /// The functions that are called from outside, and all that these call.
    fn reached(&self, exports: &[Function]) -> BTreeSet<Function> {
        let mut reached = BTreeSet::new();
        let mut queue: Vec<&Function> = exports.iter().chain(&self.on_load).collect();
        while let Some(function) = queue.pop() {
            if reached.insert(function.clone())
                && let Some(body) = self.bodies.get(function)
            {
                queue.extend(body.local.iter().filter_map(|label| self.labels.get(label)));
            }
        }
        reached
    }
}

/// The labels of the functions that a module makes, by row.
fn fun_labels(file: &BeamFile<'_>) -> Vec<u64> {
    let Some(chunk) = file.chunk("FunT") else { return Vec::new() };
    let rows = chunk.get(4..).unwrap_or_default().chunks_exact(24);
    rows.map(|row| word(row, 8).unwrap_or_default() as u64).collect()
}

/// The table of lines.
#[derive(Debug, Default)]
struct Lines {
    files: Vec<String>,
    /// File and line, by the number in an instruction; the first stands for no place at all.
    places: Vec<(u64, u64)>,
}

impl Lines {
    fn read(file: &BeamFile<'_>) -> Lines {
        file.chunk("Line").and_then(Lines::parse).unwrap_or_default()
    }

    /// Five words (version, flags, instructions, lines, files), compact terms, then names with two bytes of length.
    fn parse(chunk: &[u8]) -> Option<Lines> {
        let (count, names) = (word(chunk, 12)?, word(chunk, 16)?);
        let mut cursor = Cursor { bytes: chunk.get(20..)? };
        let mut lines = Lines { files: Vec::new(), places: vec![(0, 0)] };
        let mut current = 0;
        while lines.places.len() <= count {
            match cursor.value()? {
                (ATOM, index) => current = index,
                (_, line) => lines.places.push((current, line)),
            }
        }
        for _ in 0..names {
            let length = cursor.take(2)?;
            let name = cursor.take(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
            lines.files.push(String::from_utf8_lossy(name).into_owned());
        }
        Some(lines)
    }

    fn at(&self, index: u64) -> (Option<String>, Option<u32>) {
        let place = usize::try_from(index).ok().filter(|index| *index > 0).and_then(|i| self.places.get(i));
        let Some((file, line)) = place else { return (None, None) };
        // File 0 is the module's own, without a name.
        let name = usize::try_from(*file).ok().and_then(|file| self.files.get(file.checked_sub(1)?));
        (name.cloned(), u32::try_from(*line).ok().filter(|line| *line > 0))
    }
}
