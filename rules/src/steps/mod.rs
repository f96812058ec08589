//! The steps that a release is made of, one file per kind.

pub mod assemble;
pub mod boot;
pub mod compile;
pub mod config;
pub mod custom;
pub mod describe;
pub mod driver;
pub mod fetch;
pub mod generated;
pub mod overlay;
pub mod package;
pub mod preflight;
pub mod protocols;
pub mod runtime;
pub mod scripts;
pub mod strip;

use std::collections::BTreeMap;

use relgraph_engine::{Finished, Ran};

/// What a step made that ran a VM.
pub(crate) fn ran(finished: Finished, outputs: BTreeMap<String, relgraph_cache::Digest>) -> Ran {
    Ran {
        outputs,
        sandbox: Some(finished.mode),
        stdout: finished.stdout,
        stderr: finished.stderr,
        ..Ran::default()
    }
}
