//! Applications, the runtime, native files, sizes.

use serde::Serialize;

use super::{Change, Class};

/// The applications that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Applications {
    /// Only in the new release.
    pub added: Vec<Application>,
    /// Only in the old release.
    pub removed: Vec<Application>,
    /// In both, with another version, another way of starting, or other files.
    pub changed: Vec<ApplicationChange>,
    /// How many are in both and differ in nothing.
    pub unchanged: usize,
}

/// One application of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
    /// What it takes to have it come or go; `None` where one release is looked at by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One application of both releases that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
    /// What it takes: the highest class of what differs in it.
    pub class: Class,
    /// Why: that of the first item of this class.
    pub reason: String,
    /// Whether the release brings it along from OTP or Elixir.
    pub of_runtime: bool,
    /// Its callback module and arguments, where they differ.
    pub callback: Option<Callback>,
    /// Names that only the new one says to register.
    pub registered_added: Vec<String>,
    /// Names that only the old one says to register.
    pub registered_removed: Vec<String>,
    /// Applications that only the new one needs to be started.
    pub needs_added: Vec<String>,
    /// Applications that only the old one needs to be started.
    pub needs_removed: Vec<String>,
    /// Whether it brings an appup that knows the way from the old version; `None`: the version is the same.
    pub appup: Option<bool>,
}

/// The callback module of an application and its arguments, as Erlang text; `None`: it is a library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Callback {
    /// In the old release.
    pub old: Option<String>,
    /// In the new release.
    pub new: Option<String>,
}

/// A part of the runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimePart {
    /// The release of OTP.
    #[default]
    Otp,
    /// The runtime system.
    Erts,
    /// Elixir.
    Elixir,
    /// The architecture.
    Architecture,
}

/// A part of the runtime that differs. Where the versions are equal, its files differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RuntimeChange {
    /// Which part.
    pub part: RuntimePart,
    /// Its version in the old release.
    pub old: Option<String>,
    /// Its version in the new release.
    pub new: Option<String>,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
}

/// The order in which the applications start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BootChange {
    /// In the old release.
    pub old: Vec<String>,
    /// In the new release.
    pub new: Vec<String>,
    /// Applications of both releases that start before or after others than they did: the fewest that explain it.
    pub moved: Vec<String>,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
}

/// A library or program of the machine that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NativeChange {
    /// Its path, as in the list of files.
    pub path: String,
    /// The application that it belongs to.
    pub application: Option<String>,
    /// What happened to it.
    pub change: Change,
    /// What the old one is.
    pub old: Option<NativeParts>,
    /// What the new one is.
    pub new: Option<NativeParts>,
    /// Shared libraries that only the new one asks for.
    pub needed_added: Vec<String>,
    /// Shared libraries that only the old one asks for.
    pub needed_removed: Vec<String>,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
}

/// What a native file is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NativeParts {
    /// How it is packed: `elf`, `macho`, `pe`.
    pub format: String,
    /// What it is built for.
    pub architectures: Vec<String>,
    /// Whether it is a shared library, and not a program.
    pub shared: bool,
    /// The C library that it was linked with: `gnu`, `musl`.
    pub libc: Option<String>,
    /// The newest version of the GNU C library that it asks for.
    pub glibc: Option<String>,
}

/// How large two releases are: the bytes of all files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The old release.
    pub old: u64,
    /// The new release.
    pub new: u64,
    /// What an upgrade has to carry.
    pub upgrade: Upgrade,
    /// Every application of either.
    pub applications: Vec<ApplicationSize>,
}

/// What an upgrade has to carry, before it is packed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Upgrade {
    /// Files at paths where the old release has none: those of the new `releases/VSN` and of every application that is new or
    /// has another version.
    pub package_files: usize,
    /// Their bytes.
    pub package_bytes: u64,
    /// Files whose content the old release does not have.
    pub content_files: usize,
    /// Their bytes.
    pub content_bytes: u64,
}

/// How large an application is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ApplicationSize {
    /// Its name.
    pub application: String,
    /// In the old release.
    pub old: Option<u64>,
    /// In the new release.
    pub new: Option<u64>,
}
