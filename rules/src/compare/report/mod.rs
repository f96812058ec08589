//! What a comparison says: the schema `relgraph.diff/1`, described in `docs/formats/diff.md`.

mod applications;
mod judgement;
mod modules;
mod settings;

use relgraph_cache::Digest;
use serde::Serialize;

pub use applications::{
    Application, ApplicationChange, ApplicationSize, Applications, BootChange, Callback, NativeChange,
    NativeParts, RuntimeChange, RuntimePart, Sizes, Upgrade,
};
pub use judgement::{Class, Reason, Verdict, Warning, WarningKind};
pub use modules::{
    ApplicationModules, CodeChange, How, ImplementationChange, ModuleChange, MovedModule, ProcessKind,
    ProtocolChange, StructChange, StructField,
};
pub use settings::{Change, Config, ConfigChange, FileChange, FileRole, Providers};

/// The name and version of the schema.
pub const SCHEMA: &str = "relgraph.diff/1";

/// Two releases, and all that differs between them. Lists are sorted by name.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Whether nothing differs.
    pub same: bool,
    /// The release that is compared with.
    pub old: Release,
    /// The release that is compared.
    pub new: Release,
    /// What it takes to go from the one to the other.
    pub verdict: Verdict,
    /// What a person should look at before that.
    pub warnings: Vec<Warning>,
    /// The versions of the runtime system, of OTP and of Elixir that differ.
    pub runtime: Vec<RuntimeChange>,
    /// The order in which the applications start, where it differs.
    pub boot: Option<BootChange>,
    /// The applications.
    pub applications: Applications,
    /// The modules, per application that both releases have, where something differs.
    pub modules: Vec<ApplicationModules>,
    /// Modules that are in another application than before; they are in the lists of both as well.
    pub moved: Vec<MovedModule>,
    /// Protocols of Elixir that differ, or whose implementations do.
    pub protocols: Vec<ProtocolChange>,
    /// The configuration.
    pub config: Config,
    /// Libraries and programs of the machine that differ, those of the runtime system aside.
    pub native: Vec<NativeChange>,
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
    /// The architecture that the runtime system is built for, where it is part of the release and was looked at.
    pub architecture: Option<String>,
    /// Whether it is laid out for hot upgrades: its protocols lie in an application, and `releases/RELEASES` is there.
    pub hot_layout: bool,
    /// The digest of its tree, when it is in a store.
    pub tree: Option<Digest>,
}
