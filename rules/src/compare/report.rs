//! What a comparison says: the schema `relgraph.diff/1`, described in `docs/formats/diff.md`.

use relgraph_cache::Digest;
use serde::Serialize;

use crate::beam_file::Function;

/// The name and version of the schema.
pub const SCHEMA: &str = "relgraph.diff/1";

/// Two releases, and all that differs between them. Lists are sorted by name.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Whether nothing differs.
    pub same: bool,
    /// The release that is compared with.
    pub old: Release,
    /// The release that is compared.
    pub new: Release,
    /// The applications.
    pub applications: Applications,
    /// The modules, per application that both releases have, where something differs.
    pub modules: Vec<ApplicationModules>,
    /// The configuration.
    pub config: Config,
    /// All other files that differ.
    pub files: Vec<FileChange>,
    /// How large the releases are.
    pub sizes: Sizes,
}

/// What a release is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the runtime system.
    pub erts: Option<String>,
    /// Whether the runtime system is part of the release.
    pub includes_erts: bool,
    /// The version of Elixir.
    pub elixir: Option<String>,
    /// The release of OTP, as far as the version of the runtime system tells it.
    pub otp: Option<String>,
    /// The digest of its tree, when it is in a store.
    pub tree: Option<Digest>,
}

/// The applications that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Applications {
    /// Only in the new release.
    pub added: Vec<Application>,
    /// Only in the old release.
    pub removed: Vec<Application>,
    /// In both, with another version or another way of starting.
    pub changed: Vec<ApplicationChange>,
    /// How many are in both and differ in neither.
    pub unchanged: usize,
}

/// One application of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it is started; `None` for one that lies in `lib/` and is not in the `.rel` file.
    pub mode: Option<String>,
    /// How many modules it has.
    pub modules: usize,
    /// The size of its files.
    pub size: u64,
}

/// One application whose version or mode differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplicationChange {
    /// Its name.
    pub name: String,
    /// Its version in the old release.
    pub old_version: String,
    /// Its version in the new release.
    pub new_version: String,
    /// How the old release starts it.
    pub old_mode: Option<String>,
    /// How the new release starts it.
    pub new_mode: Option<String>,
}

/// The modules of one application that differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It runs something else.
    Code,
    /// It runs the same; the lines in its stack traces differ.
    OnlyLines,
    /// It runs the same, lines included; debug data, documentation or compiler notes differ.
    OnlyDebug,
}

/// One module that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleChange {
    /// Its name, as the machine has it.
    pub module: String,
    /// In what it differs.
    pub how: How,
    /// Whether it is an Elixir protocol.
    pub protocol: bool,
    /// Functions that only the new one exports.
    pub exports_added: Vec<Function>,
    /// Functions that only the old one exports.
    pub exports_removed: Vec<Function>,
    /// Behaviours that only the new one has.
    pub behaviours_added: Vec<String>,
    /// Behaviours that only the old one has.
    pub behaviours_removed: Vec<String>,
    /// The version that somebody wrote into the old one.
    pub old_vsn: Option<String>,
    /// The version that somebody wrote into the new one.
    pub new_vsn: Option<String>,
}

/// What happened to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only in the new release.
    Added,
    /// Only in the old release.
    Removed,
    /// In both, and not equal.
    Changed,
}

/// The configuration that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Keys of `sys.config`, sorted by application and key.
    pub keys: Vec<ConfigChange>,
    /// What happened to the text of `runtime.exs`, if anything did.
    pub runtime: Option<Change>,
    /// Why `sys.config` was compared by its bytes only: it could not be read.
    pub unreadable: Option<String>,
}

/// One key of the configuration that differs. Values are Erlang terms as text; what looks like a secret is
/// `[masked]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
    Other,
}

/// One file that differs, modules and configuration aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
}

/// How large two releases are: the bytes of all files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The old release.
    pub old: u64,
    /// The new release.
    pub new: u64,
    /// Every application of either.
    pub applications: Vec<ApplicationSize>,
}

/// How large an application is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplicationSize {
    /// Its name.
    pub application: String,
    /// In the old release.
    pub old: Option<u64>,
    /// In the new release.
    pub new: Option<u64>,
}
