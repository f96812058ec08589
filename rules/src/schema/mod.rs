//! Owns release.yaml: reading it, complaining about it, and describing what may stand in it.
//!
//! | file | its job |
//! |---|---|
//! | `tree` | parser events to a tree whose every node knows its place |
//! | `scalar` | what a bare word is: null, boolean, number or text |
//! | `shape`, `text` | the vocabulary of the table: kinds of values, rules for strings |
//! | `table` | every key with its shape, default and meaning: the one source |
//! | `check` | the walk that holds the tree against the table and collects all errors |
//! | `upgrades`, `cache` | the keys of these names: their tables and their types |
//! | `address` | addresses of remotes |
//! | `model` | what a good file says, as types, by serde |
//! | `places` | where each key and value stands, for errors found later |
//! | `json`, `markdown` | the table as a JSON Schema and as docs/release-yaml.md |

mod address;
mod cache;
mod check;
mod error;
mod json;
mod markdown;
mod model;
mod places;
mod read;
mod scalar;
mod shape;
mod table;
mod text;
mod tree;
mod upgrades;

pub use address::RemoteAddress;
pub use cache::{Address, CacheSettings, RemoteSettings, variable};
pub use error::{Problem, SchemaError};
pub use json::json_schema;
pub use markdown::reference_markdown;
pub use model::{
    Cookie, CustomStep, Level, PackageFormat, Platform, Preflight, ReleaseFile, Runtime, RuntimeSetting,
    Sandbox, SecretNames, SecretUse, StartMode, Strip,
};
pub use read::UserFile;
pub use text::namespace;
pub use upgrades::{ApplicationWay, Layout, ModuleWay, Purge, Rehearse, Upgrades};
