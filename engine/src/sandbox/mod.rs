//! Running foreign programs at a fixed path, with what was declared and nothing else.

mod spec;

use std::path::{Path, PathBuf};

pub use spec::{
    Finished, Mount, SandboxError, SandboxMode, SandboxPolicy, SandboxSpec, Stream,
};

use crate::cancel::Cancel;

/// The path at which a confined program finds its work folder.
pub const PREFIX: &str = "/relgraph";

/// Runs programs, confined in the best way that works here.
#[derive(Debug)]
pub struct Sandboxer {
    #[allow(dead_code)]
    helper: PathBuf,
    policy: SandboxPolicy,
}

impl Sandboxer {
    /// `helper`: the program that, called as `HELPER sandbox-exec FILE`, calls [`helper_main`].
    pub fn new(helper: PathBuf, policy: SandboxPolicy) -> Self {
        Sandboxer { helper, policy }
    }

    /// What was asked for.
    pub fn policy(&self) -> SandboxPolicy {
        self.policy
    }

    /// How programs are confined here: found out once, by trying.
    pub fn mode(&self) -> SandboxMode {
        SandboxMode::Plain
    }

    /// Where a program finds its work folder: [`PREFIX`], or the real path when it cannot be confined.
    pub fn prefix(&self, work: &Path) -> String {
        if self.mode().is_confined() { PREFIX.to_owned() } else { work.to_string_lossy().into_owned() }
    }

    /// Runs a program to its end. `on_line` is called on this thread.
    pub fn run(
        &self,
        spec: &SandboxSpec,
        cancel: &Cancel,
        on_line: &dyn Fn(Stream, &str),
    ) -> Result<Finished, SandboxError> {
        let _ = (spec, cancel, on_line);
        Err(SandboxError::Setup("not there yet".into()))
    }
}
