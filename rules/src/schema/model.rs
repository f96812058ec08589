//! What a release.yaml says, as types. What it does not say is `None` or empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::cache::CacheSettings;
use super::places::Places;
use super::upgrades::Upgrades;
use crate::diagnostic::Span;
use crate::tool::Tool;

/// A release.yaml that was read and found good.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseFile {
    /// The name of the release.
    pub release: String,
    /// Its version, where the project's is not meant.
    pub version: Option<String>,
    /// The project's folder as written; see [`ReleaseFile::project_dir`].
    pub project: Option<PathBuf>,
    /// The tool whose project it is, where that is said.
    pub tool: Option<Tool>,
    /// `MIX_ENV` as written; see [`ReleaseFile::environment_name`].
    pub environment: Option<String>,
    /// `MIX_TARGET` as written; see [`ReleaseFile::target_name`].
    pub target: Option<String>,
    /// Applications and their start modes, in the order of the file.
    #[serde(default, deserialize_with = "in_order")]
    pub applications: Vec<(String, StartMode)>,
    /// The runtime as written; see [`ReleaseFile::runtime_wanted`] and [`ReleaseFile::runtime_target`].
    #[serde(default)]
    pub runtime: RuntimeSetting,
    /// Versions or folders of what builds the project, by `erlang`, `elixir` and `rebar3`.
    #[serde(default)]
    pub toolchain: BTreeMap<String, String>,
    /// Stripping as written; see [`ReleaseFile::strip_wanted`].
    pub strip: Option<Strip>,
    /// The cookie of the distribution.
    pub cookie: Option<Cookie>,
    /// Folders laid over the release, in order.
    pub overlays: Option<Vec<PathBuf>>,
    /// Which upgrades are prepared, and how.
    #[serde(default)]
    pub upgrades: Upgrades,
    /// What the release is packed into.
    pub package: Option<Vec<PackageFormat>>,
    /// The user's own steps.
    #[serde(default)]
    pub steps: BTreeMap<String, CustomStep>,
    /// Variables set for every Mix step.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables of the user's environment that steps may see.
    #[serde(default)]
    pub pass_env: BTreeSet<String>,
    /// Variables of the user's environment with secrets, for every Mix step.
    #[serde(default)]
    pub secrets: SecretNames,
    /// Applications whose compilation may use the network.
    #[serde(default)]
    pub network: BTreeSet<String>,
    /// How much the sandbox matters.
    pub sandbox: Option<Sandbox>,
    /// Systems to make start scripts for.
    pub executables_for: Option<Vec<Platform>>,
    /// What becomes of what is found in a release before it is put in its place.
    #[serde(default)]
    pub preflight: Preflight,
    /// Where results are shared.
    #[serde(default)]
    pub cache: CacheSettings,
    #[serde(skip)]
    pub(super) places: Places,
}

impl ReleaseFile {
    /// The file, as the user named it.
    pub fn file(&self) -> &Path {
        self.places.file()
    }

    /// The place of a value: `release`, `steps.assets.needs[0]`, `applications.my_app`.
    pub fn span(&self, path: &str) -> Option<Span> {
        self.places.value(path)
    }

    /// The place of a key: of `my_app` itself for `applications.my_app`.
    pub fn key_span(&self, path: &str) -> Option<Span> {
        self.places.key(path)
    }

    /// The project's folder, seen from the folder of the file.
    pub fn project_dir(&self) -> &Path {
        self.project.as_deref().unwrap_or(Path::new("."))
    }

    /// The environment, `prod` unless said.
    pub fn environment_name(&self) -> &str {
        self.environment.as_deref().unwrap_or("prod")
    }

    /// The target, `host` unless said.
    pub fn target_name(&self) -> &str {
        self.target.as_deref().unwrap_or("host")
    }

    /// The runtime that the file asks for, the environment `dev` asking for none; `None`: as the project declares.
    pub fn runtime_wanted(&self) -> Option<Runtime> {
        self.runtime.include.clone().or_else(|| self.is_dev().then_some(Runtime::Exclude))
    }

    /// The machines that the release is for; `None`: machines like that of its runtime.
    pub fn runtime_target(&self) -> Option<&str> {
        self.runtime.target.as_deref()
    }

    /// The stripping that the file asks for, the environment `dev` asking for none; `None`: as the project declares.
    pub fn strip_wanted(&self) -> Option<Strip> {
        self.strip.clone().or_else(|| self.is_dev().then_some(Strip::No))
    }

    fn is_dev(&self) -> bool {
        self.environment.as_deref() == Some("dev")
    }
}

/// How an application of the release is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartMode {
    /// Started; when it ends, the node ends.
    Permanent,
    /// Started; when it ends with an error, the node ends.
    Transient,
    /// Started; the node goes on without it.
    Temporary,
    /// Loaded, not started.
    Load,
    /// Neither loaded nor started.
    None,
}

/// Which Erlang runtime the release holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    /// None.
    Exclude,
    /// The one that builds it.
    Own,
    /// The installation in this folder, seen from the folder of the file.
    At(PathBuf),
}

/// What the file says about the runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawRuntime")]
pub struct RuntimeSetting {
    /// Which one the release holds.
    pub include: Option<Runtime>,
    /// Which machines it is for.
    pub target: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawRuntime {
    Plain(RawInclude),
    Map { include: Option<RawInclude>, target: Option<String> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawInclude {
    Switch(bool),
    Folder(PathBuf),
}

impl From<RawInclude> for Runtime {
    fn from(raw: RawInclude) -> Self {
        match raw {
            RawInclude::Switch(false) => Runtime::Exclude,
            RawInclude::Switch(true) => Runtime::Own,
            RawInclude::Folder(path) => Runtime::At(path),
        }
    }
}

impl From<RawRuntime> for RuntimeSetting {
    fn from(raw: RawRuntime) -> Self {
        match raw {
            RawRuntime::Plain(include) => {
                RuntimeSetting { include: Some(include.into()), ..RuntimeSetting::default() }
            }
            RawRuntime::Map { include, target } => {
                RuntimeSetting { include: include.map(Into::into), target }
            }
        }
    }
}

/// Secrets by the variables that they are found in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawSecrets")]
pub struct SecretNames(pub BTreeMap<String, SecretUse>);

impl SecretNames {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// How one secret is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretUse {
    /// Whether its value is part of the key.
    pub keyed: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawSecrets {
    Names(BTreeSet<String>),
    Map(BTreeMap<String, RawSecret>),
}

#[derive(Deserialize)]
struct RawSecret {
    key: Option<bool>,
}

impl From<RawSecrets> for SecretNames {
    fn from(raw: RawSecrets) -> Self {
        let keyed = |name: String| (name, SecretUse { keyed: true });
        SecretNames(match raw {
            RawSecrets::Names(names) => names.into_iter().map(keyed).collect(),
            RawSecrets::Map(map) => map
                .into_iter()
                .map(|(name, raw)| (name, SecretUse { keyed: raw.key.unwrap_or(true) }))
                .collect(),
        })
    }
}

/// What becomes of a build in which something is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It ends, and the last good release stays.
    Error,
    /// It goes on, and says so.
    Warn,
    /// Nothing is said.
    Off,
}

/// What the file says about the preflight.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawPreflight")]
pub enum Preflight {
    /// Nothing is looked at.
    Off,
    /// All is looked at; levels by kind of finding where they are not the usual ones.
    On(BTreeMap<String, Level>),
}

impl Default for Preflight {
    fn default() -> Self {
        Preflight::On(BTreeMap::new())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPreflight {
    Switch(bool),
    Levels(BTreeMap<String, Level>),
}

impl From<RawPreflight> for Preflight {
    fn from(raw: RawPreflight) -> Self {
        match raw {
            RawPreflight::Switch(false) => Preflight::Off,
            RawPreflight::Switch(true) => Preflight::default(),
            RawPreflight::Levels(levels) => Preflight::On(levels),
        }
    }
}

/// What is taken out of the modules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawStrip")]
pub enum Strip {
    /// Nothing.
    No,
    /// All that does not run.
    Yes {
        /// Chunks kept nevertheless.
        keep: Vec<String>,
        /// Whether each module is compressed.
        compress: bool,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawStrip {
    Switch(bool),
    Map {
        #[serde(default)]
        keep: Vec<String>,
        #[serde(default)]
        compress: bool,
    },
}

impl From<RawStrip> for Strip {
    fn from(raw: RawStrip) -> Self {
        match raw {
            RawStrip::Switch(false) => Strip::No,
            RawStrip::Switch(true) => Strip::Yes { keep: Vec::new(), compress: false },
            RawStrip::Map { keep, compress } => Strip::Yes { keep, compress },
        }
    }
}

/// The cookie; a secret, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Cookie(String);

impl Cookie {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(…)")
    }
}

/// What a release is packed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum PackageFormat {
    /// `NAME-VERSION.tar.gz`.
    #[serde(rename = "tar.gz")]
    TarGz,
}

impl PackageFormat {
    /// The word in release.yaml, which is also the ending of the file.
    pub fn name(self) -> &'static str {
        match self {
            PackageFormat::TarGz => "tar.gz",
        }
    }
}

/// How much the sandbox matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// Used where the machine allows it.
    Preferred,
    /// A build without it fails.
    Required,
    /// Never used.
    Off,
}

/// A system that start scripts are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Shell scripts.
    Unix,
    /// Batch files.
    Windows,
}

/// A step of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomStep {
    /// Lines of the script for `sh -eu`; see [`CustomStep::script`].
    pub run: Vec<String>,
    /// Globs, seen from the project's folder.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Paths in their shortest form (`priv/static`), below the project's folder.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Variables of this step.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables of the user's environment with secrets.
    #[serde(default)]
    pub secrets: SecretNames,
    /// Steps that must be done before; whether they exist is not checked here.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Steps that compile an application, and find the outputs among its sources.
    #[serde(default)]
    pub before: Vec<String>,
    /// Folder of the release in its shortest form; empty: its root.
    #[serde(default)]
    pub into: String,
    /// Whether the network may be used.
    #[serde(default)]
    pub network: bool,
    /// Whether it gets the Erlang, Elixir and rebar3 that build the project.
    #[serde(default)]
    pub toolchain: bool,
    /// Seconds after which it is stopped.
    pub timeout: Option<u64>,
}

impl CustomStep {
    /// The script as one text.
    pub fn script(&self) -> String {
        self.run.iter().flat_map(|line| [line.trim_end_matches('\n'), "\n"]).collect()
    }
}

/// A map as a list of its entries, since Mix starts applications in the order in which they are written.
fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, StartMode)>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, StartMode)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map from applications to start modes")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Entries)
}
