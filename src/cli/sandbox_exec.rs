//! `relgraph sandbox-exec`: the helper process that confines itself and becomes the program of a step.

use std::path::Path;
use std::process::ExitCode;

/// Hands over to the engine.
pub fn run(spec: &Path) -> ExitCode {
    relgraph_engine::sandbox::helper_main(spec)
}
