//! The release rules of relgraph: release.yaml, Mix projects, runtimes, packages, comparison.

pub mod beam_file;
pub mod diagnostic;
pub mod etf;
pub mod init;
pub mod schema;
