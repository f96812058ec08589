//! Modules, protocols, supervisors.

use serde::Serialize;

use super::{Change, Class};
use crate::beam_file::Function;
use crate::beam_file::supervision::SupervisionChange;

/// The modules of one application that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ApplicationModules {
    /// The application; `(consolidated)` for the protocols of the whole release.
    pub application: String,
    /// Only in the new release.
    pub added: Vec<String>,
    /// Only in the old release.
    pub removed: Vec<String>,
    /// In both, and not equal.
    pub changed: Vec<ModuleChange>,
}

/// In what a module differs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It runs something else.
    #[default]
    Code,
    /// It runs the same; the lines in its stack traces differ.
    OnlyLines,
    /// It runs the same, lines included; debug data, documentation or compiler notes differ.
    OnlyDebug,
}

/// One module that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ModuleChange {
    /// Its name, as the machine has it.
    pub module: String,
    /// In what it differs.
    pub how: How,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
    /// Whether it is an Elixir protocol.
    pub protocol: bool,
    /// Functions that only the new one exports. Macros are not among them.
    pub exports_added: Vec<Function>,
    /// Functions that only the old one exports.
    pub exports_removed: Vec<Function>,
    /// Functions that only the new one has, private ones included; macros and those that the compiler makes are not among
    /// them.
    pub functions_added: Vec<Function>,
    /// Functions that only the old one has.
    pub functions_removed: Vec<Function>,
    /// Functions that run something else, or make anonymous functions that do.
    pub functions_changed: Vec<Function>,
    /// Macros that only the new one has, with the arguments that they are called with.
    pub macros_added: Vec<Function>,
    /// Macros that only the old one has.
    pub macros_removed: Vec<Function>,
    /// Macros that do something else.
    pub macros_changed: Vec<Function>,
    /// Behaviours that only the new one has.
    pub behaviours_added: Vec<String>,
    /// Behaviours that only the old one has.
    pub behaviours_removed: Vec<String>,
    /// The fields of its struct, where they differ.
    pub structure: Option<StructChange>,
    /// What kind of process runs it: that of the new one, or of the old one where the new one is none.
    pub process: Option<ProcessKind>,
    /// The version that somebody wrote into the old one.
    pub old_vsn: Option<String>,
    /// The version that somebody wrote into the new one.
    pub new_vsn: Option<String>,
    /// What the old one does when its code is changed under a process.
    pub old_code_change: CodeChange,
    /// What the new one does when its code is changed under a process.
    pub new_code_change: CodeChange,
    /// Supervisors that it starts or is the callback module of: what became of their children, as far as the code tells.
    pub supervision: Vec<SupervisionChange>,
}

/// What a module does when its code is changed under a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeChange {
    /// It has no `code_change`.
    #[default]
    None,
    /// It gives the state back as it is: what `use GenServer` puts in, or people write who need nothing else.
    Trivial,
    /// It does something.
    Real,
}

/// What kind of process runs a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessKind {
    /// `gen_server`, `GenServer`.
    GenServer,
    /// `gen_statem`, `GenStateMachine`, and the older `gen_fsm`.
    GenStatem,
    /// `gen_event`.
    GenEvent,
    /// `GenStage` and what is built on it.
    GenStage,
    /// `Agent`.
    Agent,
    /// A supervisor.
    Supervisor,
    /// Another behaviour with `code_change` or `system_code_change`.
    Special,
}

/// The fields of a struct on both sides; `None`: there is no struct.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StructChange {
    /// In the old module.
    pub old: Option<Vec<StructField>>,
    /// In the new module.
    pub new: Option<Vec<StructField>>,
}

/// One field of a struct.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StructField {
    /// Its name.
    pub name: String,
    /// Its default as Erlang text; what looks like a secret is `[masked]`.
    pub default: String,
}

/// A module that is in another application than before.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MovedModule {
    /// Its name.
    pub module: String,
    /// The application that it was in.
    pub from: String,
    /// The application that it is in.
    pub to: String,
    /// Whether it runs something else than before.
    pub changed: bool,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
}

/// A protocol of Elixir that differs, or whose implementations do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProtocolChange {
    /// The protocol.
    pub protocol: String,
    /// The application that it is in, where one of the releases tells.
    pub application: Option<String>,
    /// What happened to the protocol itself; `None`: nothing.
    pub change: Option<Change>,
    /// Whether the consolidated protocol differs, which knows all implementations.
    pub consolidated: bool,
    /// The implementations that differ.
    pub implementations: Vec<ImplementationChange>,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
}

/// One implementation of a protocol that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ImplementationChange {
    /// What it is for: a module with a struct, or a type.
    pub target: String,
    /// The module that it is.
    pub module: String,
    /// The application that this is in.
    pub application: String,
    /// What happened to it.
    pub change: Change,
}
