//! As what kind of process the code of a module runs, which decides how the process is given new code.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::{BeamError, ModuleInfo, info};

/// A kind of process, or of callback module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessKind {
    /// The callbacks of an application: `start/2`, `stop/1`.
    Application,
    /// A supervisor with a list of children.
    Supervisor,
    /// Elixir's supervisor of children that come and go.
    DynamicSupervisor,
    /// Elixir's supervisor of several of its kind.
    PartitionSupervisor,
    /// `gen_server`, Elixir's GenServer, or what is built upon it and changes its code the same way.
    GenServer,
    /// `gen_statem`, also by GenStateMachine.
    GenStatem,
    /// `gen_fsm`, which OTP has given up.
    GenFsm,
    /// A handler of events, which lives in the process of a manager.
    GenEventHandler,
    /// Starts a manager of events.
    GenEventManager,
    /// Keeps state in an Agent: functions of the module are in it.
    Agent,
    /// Runs in a Task, which knows nothing of new code.
    Task,
    /// A process of its own making that answers system messages (`system_code_change/4`).
    Special,
}

/// The kinds of process that run the code of a module; more than one, where it is written that way. None for one that
/// others only call.
pub fn process_kinds(bytes: &[u8]) -> Result<BTreeSet<ProcessKind>, BeamError> {
    Ok(kinds(&info(bytes)?))
}

/// Whether processes that run the code of a module cannot go on with what it has become: they are of a kind that it is none
/// of any more. One that nothing runs any more is no kind.
pub fn is_other_process(old: &[u8], new: &[u8]) -> bool {
    let lasting = |kind: &ProcessKind| !matches!(kind, ProcessKind::Application | ProcessKind::Task);
    let (old, new) = (process_kinds(old).unwrap_or_default(), process_kinds(new).unwrap_or_default());
    !new.is_empty() && old.iter().filter(|kind| lasting(kind)).any(|kind| !new.contains(kind))
}

const BEHAVIOURS: [(&str, ProcessKind); 21] = [
    ("application", ProcessKind::Application),
    ("Elixir.Application", ProcessKind::Application),
    ("supervisor", ProcessKind::Supervisor),
    ("Elixir.Supervisor", ProcessKind::Supervisor),
    ("Elixir.DynamicSupervisor", ProcessKind::DynamicSupervisor),
    ("Elixir.ConsumerSupervisor", ProcessKind::DynamicSupervisor),
    ("Elixir.PartitionSupervisor", ProcessKind::PartitionSupervisor),
    ("gen_server", ProcessKind::GenServer),
    ("Elixir.GenServer", ProcessKind::GenServer),
    ("Elixir.GenStage", ProcessKind::GenServer),
    ("supervisor_bridge", ProcessKind::GenServer),
    ("wx_object", ProcessKind::GenServer),
    ("gen_statem", ProcessKind::GenStatem),
    ("Elixir.GenStateMachine", ProcessKind::GenStatem),
    ("gen_fsm", ProcessKind::GenFsm),
    ("gen_event", ProcessKind::GenEventHandler),
    ("Elixir.GenEvent", ProcessKind::GenEventHandler),
    ("Elixir.Agent", ProcessKind::Agent),
    ("Elixir.Task", ProcessKind::Task),
    ("Elixir.GenStage.Consumer", ProcessKind::GenServer),
    ("gen_server2", ProcessKind::GenServer),
];

/// Functions that start a process whose kind the module has no behaviour for.
const STARTS: [(&str, ProcessKind); 4] = [
    ("gen_event", ProcessKind::GenEventManager),
    ("Elixir.Agent", ProcessKind::Agent),
    ("Elixir.Task", ProcessKind::Task),
    ("Elixir.PartitionSupervisor", ProcessKind::PartitionSupervisor),
];

fn kinds(info: &ModuleInfo) -> BTreeSet<ProcessKind> {
    let behaviour = |name: &String| BEHAVIOURS.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
    let mut kinds: BTreeSet<ProcessKind> = info.behaviours.iter().filter_map(behaviour).collect();
    let exports = |name: &str, arity: u32| {
        info.exports.iter().any(|function| function.name == name && function.arity == arity)
    };
    let calls = |module: &str, names: &[&str]| {
        info.imports
            .iter()
            .any(|(other, function)| other == module && names.contains(&function.name.as_str()))
    };
    // Stripping may take the behaviours away, and not everybody writes them down.
    if info.behaviours.is_empty() && exports("init", 1) {
        if exports("handle_call", 3) && exports("handle_cast", 2) {
            kinds.insert(ProcessKind::GenServer);
        } else if exports("handle_event", 2) && exports("handle_call", 2) {
            kinds.insert(ProcessKind::GenEventHandler);
        } else if exports("callback_mode", 0) {
            kinds.insert(ProcessKind::GenStatem);
        } else if calls("supervisor", &["start_link"]) || calls("Elixir.Supervisor", &["start_link", "init"])
        {
            kinds.insert(ProcessKind::Supervisor);
        } else if calls("Elixir.DynamicSupervisor", &["init"]) {
            kinds.insert(ProcessKind::DynamicSupervisor);
        }
    }
    for (module, kind) in STARTS {
        if info.name != module && calls(module, &["start", "start_link", "start_monitor"]) {
            kinds.insert(kind);
        }
    }
    if exports("system_code_change", 4) && exports("system_continue", 3) {
        kinds.insert(ProcessKind::Special);
    }
    kinds
}
