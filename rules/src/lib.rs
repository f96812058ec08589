//! The release rules of relgraph: release.yaml, Mix projects, runtimes, packages, comparison.

mod archive;
pub mod beam_file;
pub mod build;
pub mod compare;
pub mod deliver;
pub mod diagnostic;
pub mod discover;
pub mod erlang;
pub mod etf;
pub mod fetch;
pub mod init;
mod launch;
pub mod layout;

mod links;
pub mod lock;
pub mod lower;
pub mod names;
pub mod namespace;
pub mod native;
pub mod package;
pub mod preflight;
pub mod project;
pub mod schema;
pub mod source;
pub mod sources;
pub mod spares;
pub mod staging;
pub mod steps;
pub mod terms;
pub mod tool;
pub mod toolchain;
pub mod verify;
pub mod vm;
pub mod watch;
