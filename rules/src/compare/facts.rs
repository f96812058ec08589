//! What is looked at of one module.

use crate::beam_file::{self, BeamFile, Functions, ModuleInfo};
use crate::etf::Term;

use super::mask;
use super::report::{CodeChange, ProcessKind, StructField};
use super::symbolic::{Value, returns};

/// What a module is, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) info: Option<ModuleInfo>,
    pub(super) functions: Option<Functions>,
    pub(super) code_change: CodeChange,
    pub(super) process: Option<ProcessKind>,
    pub(super) structure: Option<Vec<StructField>>,
    pub(super) loads_native: bool,
}

impl Facts {
    pub(super) fn of(bytes: &[u8]) -> Facts {
        let info = beam_file::info(bytes).ok();
        let functions = BeamFile::parse(bytes).and_then(|file| beam_file::functions(&file)).ok();
        Facts {
            code_change: code_change(info.as_ref(), functions.as_ref()),
            process: info.as_ref().and_then(process),
            structure: functions.as_ref().and_then(structure),
            loads_native: info.as_ref().is_some_and(loads_native),
            info,
            functions,
        }
    }
}

fn exports(info: &ModuleInfo, name: &str, arity: u32) -> bool {
    info.exports.iter().any(|export| export.name == name && export.arity == arity)
}

fn loads_native(info: &ModuleInfo) -> bool {
    info.imports.iter().any(|(module, call)| module == "erlang" && call.name == "load_nif")
}

/// What a module does when its code is changed under a process. Each of these functions gets a state among its arguments, and
/// gives it back in a tuple behind `ok`.
fn code_change(info: Option<&ModuleInfo>, functions: Option<&Functions>) -> CodeChange {
    const KNOWN: [(&str, u32, &[u64]); 3] =
        [("code_change", 3, &[1]), ("code_change", 4, &[1, 2]), ("system_code_change", 4, &[0])];
    let Some(info) = info else { return CodeChange::None };
    let one = |(name, arity, kept): &(&str, u32, &[u64])| {
        if !exports(info, name, *arity) {
            return CodeChange::None;
        }
        let mut same = vec![Value::Term(Term::atom("ok"))];
        same.extend(kept.iter().map(|number| Value::Argument(*number)));
        let body = functions.and_then(|functions| functions.get(&((*name).to_owned(), *arity)));
        match body.and_then(|body| returns(body, *arity)) {
            Some(found)
                if !found.is_empty() && found.iter().all(|value| *value == Value::Tuple(same.clone())) =>
            {
                CodeChange::Trivial
            }
            _ => CodeChange::Real,
        }
    };
    KNOWN.iter().map(one).max().unwrap_or_default()
}

/// Which kind of process runs a module.
pub(super) fn process(info: &ModuleInfo) -> Option<ProcessKind> {
    let kind = |behaviour: &String| match behaviour.as_str() {
        "gen_server" | "Elixir.GenServer" => Some(ProcessKind::GenServer),
        "gen_statem" | "gen_fsm" | "Elixir.GenStateMachine" => Some(ProcessKind::GenStatem),
        "gen_event" => Some(ProcessKind::GenEvent),
        "Elixir.GenStage" => Some(ProcessKind::GenStage),
        "supervisor"
        | "supervisor_bridge"
        | "Elixir.Supervisor"
        | "Elixir.DynamicSupervisor"
        | "Elixir.PartitionSupervisor"
        | "Elixir.ConsumerSupervisor" => Some(ProcessKind::Supervisor),
        _ => None,
    };
    // An agent has no behaviour: it is what starts one.
    let starts_agent = |(module, call): &(String, beam_file::Function)| {
        module == "Elixir.Agent" && matches!(call.name.as_str(), "start" | "start_link")
    };
    let special = exports(info, "code_change", 3)
        || exports(info, "code_change", 4)
        || exports(info, "system_code_change", 4);
    info.behaviours
        .iter()
        .find_map(kind)
        .or_else(|| info.imports.iter().any(starts_agent).then_some(ProcessKind::Agent))
        .or_else(|| special.then_some(ProcessKind::Special))
}

/// The fields of the struct that a module defines, with their defaults: what `__struct__/0` returns.
fn structure(functions: &Functions) -> Option<Vec<StructField>> {
    let body = functions.get(&("__struct__".to_owned(), 0))?;
    let found = returns(body, 0)?;
    let [Value::Term(Term::Map(pairs))] = found.iter().collect::<Vec<_>>()[..] else { return None };
    let mut fields: Vec<StructField> = pairs
        .iter()
        .filter_map(|(name, value)| Some((name.as_atom().filter(|name| *name != "__struct__")?, value)))
        .map(|(name, value)| StructField { name: name.to_owned(), default: mask::term(name, value) })
        .collect();
    fields.sort();
    Some(fields)
}
