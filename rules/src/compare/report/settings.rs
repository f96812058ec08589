//! Configuration and files.

use serde::Serialize;

use super::Class;

/// What happened to something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only in the new release.
    Added,
    /// Only in the old release.
    Removed,
    /// In both, and not equal.
    #[default]
    Changed,
}

/// The configuration that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Keys of `sys.config`, sorted by application and key.
    pub keys: Vec<ConfigChange>,
    /// What happened to the text of `runtime.exs`, if anything did.
    pub runtime: Option<Change>,
    /// What it takes to have the new `runtime.exs` count.
    pub runtime_class: Option<Class>,
    /// Why.
    pub runtime_reason: Option<String>,
    /// The configuration providers, where they are others or in another order.
    pub providers: Option<Providers>,
    /// Why `sys.config` was compared by its bytes only: it could not be read.
    pub unreadable: Option<String>,
}

/// The modules of the configuration providers, in the order in which they run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Providers {
    /// In the old release.
    pub old: Vec<String>,
    /// In the new release.
    pub new: Vec<String>,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
}

/// One key of the configuration that differs. Values are Erlang terms as text; what looks like a secret is
/// `[masked]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigChange {
    /// The application.
    pub application: String,
    /// The key, and the keys inside its value down to what differs.
    pub key: Vec<String>,
    /// What happened to it.
    pub change: Change,
    /// The value in the old release.
    pub old: Option<String>,
    /// The value in the new release.
    pub new: Option<String>,
    /// Whether a value was masked.
    pub masked: bool,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
    /// Whether the rest can go ahead of it: it counts when the virtual machine is next started.
    pub waits: bool,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRole {
    /// A script, or the arguments or environment of one.
    Script,
    /// Boot files and the files that name the release: they differ whenever a version does.
    Boot,
    /// The runtime system.
    Erts,
    /// `.app` and `.appup`.
    Resource,
    /// Anything else of an application, mostly `priv`.
    Application,
    /// The cookie.
    Cookie,
    /// Anything else.
    #[default]
    Other,
}

/// One file that differs, modules and configuration aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its path, with `VSN` in place of the versions of the release, the runtime system and applications.
    pub path: String,
    /// What it is for.
    pub role: FileRole,
    /// The application that it belongs to.
    pub application: Option<String>,
    /// What happened to it.
    pub change: Change,
    /// Its size in the old release.
    pub old_size: Option<u64>,
    /// Its size in the new release.
    pub new_size: Option<u64>,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
    /// Whether the rest can go ahead of it: it counts when the virtual machine is next started.
    pub waits: bool,
}
