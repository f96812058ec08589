//! What it takes to bring a change into a running system.

use serde::Serialize;

/// What it takes to bring a change into a running system, from the least to the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It goes into the running system, and no process ends.
    #[default]
    Hot,
    /// An application of it is stopped and started again.
    RestartApplication,
    /// The virtual machine is started again, by the release handler or by hand.
    RestartVm,
    /// The new release cannot be reached from the old one: it is installed beside it and started by itself.
    Cold,
}

/// What it takes to go from the old release to the new one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The highest class of all items that do not wait.
    pub class: Class,
    /// The items of that class; none where it is `hot`.
    pub reasons: Vec<Reason>,
    /// Items that the upgrade brings along and that the virtual machine only looks at when it is started again: its
    /// arguments, its environment, configuration that is read at boot. They decide nothing; until that start, the system runs
    /// with the old ones.
    pub waiting: Vec<Reason>,
}

/// One item that matters for the verdict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reason {
    /// The class of the item.
    pub class: Class,
    /// The application that it belongs to.
    pub application: Option<String>,
    /// The item: a module, an application, a key (`application key.inner`), a file, `erts`, …
    pub item: String,
    /// Why it has that class: a short sentence.
    pub reason: String,
}

/// Something that a person should look at before going to the new release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Warning {
    /// What it is.
    pub kind: WarningKind,
    /// The application that it is about.
    pub application: Option<String>,
    /// The module that it is about.
    pub module: Option<String>,
    /// What was found: a sentence.
    pub text: String,
    /// What to do about it: a sentence.
    pub advice: String,
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// The version of a state moved, and no `code_change` brings the old state along.
    VersionWithoutMigration,
    /// A `code_change` came or changed, and the version of the state did not move.
    MigrationWithoutVersion,
    /// An application differs and kept its version.
    SameVersion,
    /// A struct that a running process may hold has other fields, and no `code_change` brings old ones along.
    StructInProcess,
    /// A module is in another application than before.
    MovedModule,
    /// The major version of a dependency moved.
    MajorVersion,
    /// A dependency differs and brings no appup for the old version.
    NoAppup,
}
