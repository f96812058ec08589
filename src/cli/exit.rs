//! Exit statuses: part of what scripts may rely on.

use std::process::ExitCode;

/// Done.
pub const DONE: ExitCode = ExitCode::SUCCESS;
/// A step failed, or the answer is no.
pub const FAILED: ExitCode = ExitCode::FAILURE;

/// The request or release.yaml is wrong.
pub fn wrong() -> ExitCode {
    ExitCode::from(2)
}

/// Something differs, and that was to be said so.
pub fn differs() -> ExitCode {
    ExitCode::from(3)
}

/// Interrupted.
pub fn interrupted() -> ExitCode {
    ExitCode::from(130)
}
