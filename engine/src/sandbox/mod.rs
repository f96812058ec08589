//! Running foreign programs at a fixed path, with what was declared and nothing else.
//!
//! Three ways, tried in this order: namespaces that a helper process of our own enters, `bwrap`, and nothing at all.
//! What a program left running in its process group is ended with it.

mod background;
#[cfg(target_os = "linux")]
mod bwrap;
mod capture;
#[cfg(target_os = "linux")]
mod helper;
#[cfg(target_os = "linux")]
mod launch;
#[cfg(target_os = "linux")]
mod namespaces;
mod plain;
mod spec;
mod supervise;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use background::Background;
#[cfg(target_os = "linux")]
pub use helper::helper_main;
pub use spec::{Finished, Mount, SandboxError, SandboxMode, SandboxPolicy, SandboxSpec, Stream};

use crate::cancel::Cancel;
use crate::secret::Secrets;
use supervise::{Ended, supervise};

/// The path at which a confined program finds its work folder.
pub const PREFIX: &str = "/relgraph";

/// The hidden subcommand of the helper.
pub const SUBCOMMAND: &str = "sandbox-exec";

/// Runs programs, confined in the best way that works here.
#[derive(Debug)]
pub struct Sandboxer {
    helper: PathBuf,
    policy: SandboxPolicy,
    probed: OnceLock<Probed>,
    /// What is never passed on of what programs print.
    secrets: OnceLock<Arc<Secrets>>,
}

/// What was found out by trying.
#[derive(Debug, Clone)]
struct Probed {
    mode: SandboxMode,
    /// Whether the helper answers at all.
    helper: bool,
    /// Why the better ways do not work.
    problems: Vec<String>,
}

impl Sandboxer {
    /// `helper`: the program that, called as `HELPER sandbox-exec FILE`, calls [`helper_main`] with that file.
    pub fn new(helper: PathBuf, policy: SandboxPolicy) -> Self {
        Sandboxer { helper, policy, probed: OnceLock::new(), secrets: OnceLock::new() }
    }

    /// One that confines in that way without trying whether it works: for tests and for `doctor`.
    pub fn with_mode(helper: PathBuf, mode: SandboxMode) -> Self {
        let policy = if mode == SandboxMode::Plain { SandboxPolicy::Off } else { SandboxPolicy::Required };
        let probed = OnceLock::from(Probed { mode, helper: mode.is_confined(), problems: Vec::new() });
        Sandboxer { helper, policy, probed, secrets: OnceLock::new() }
    }

    /// Cuts these out of all that programs print from now on. What is kept secret first stays so.
    pub(crate) fn conceal(&self, secrets: &Arc<Secrets>) {
        let _ = self.secrets.set(Arc::clone(secrets));
    }

    /// What was asked for.
    pub fn policy(&self) -> SandboxPolicy {
        self.policy
    }

    /// How programs are confined here: found out once, by trying.
    pub fn mode(&self) -> SandboxMode {
        self.probed().mode
    }

    /// Whether a program would be confined, or would not run at all.
    pub fn confines(&self) -> bool {
        self.policy == SandboxPolicy::Required || self.mode().is_confined()
    }

    /// Why the better ways to confine do not work here.
    pub fn problems(&self) -> &[String] {
        &self.probed().problems
    }

    /// Where a program finds its work folder: [`PREFIX`], or the real path when it cannot be confined.
    pub fn prefix(&self, work: &Path) -> String {
        if self.mode().is_confined() { PREFIX.to_owned() } else { work.to_string_lossy().into_owned() }
    }

    /// Runs a program to its end, well or not. `on_line` is called on this thread.
    pub fn run(
        &self,
        spec: &SandboxSpec,
        cancel: &Cancel,
        on_line: &dyn Fn(Stream, &str),
    ) -> Result<Finished, SandboxError> {
        if spec.argv.is_empty() {
            return Err(SandboxError::Spec("there is no program to start".into()));
        }
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled);
        }
        let probed = self.probed();
        if self.policy == SandboxPolicy::Required && !probed.mode.is_confined() {
            return Err(SandboxError::Unavailable(probed.problems.join("; ")));
        }
        let mut spec = resolved(spec, probed.mode.is_confined())?;
        if spec.cwd.is_empty() {
            spec.cwd = self.prefix(&spec.work);
        }
        self.run_in(probed.mode, probed.helper, spec, cancel, on_line)
    }

    fn run_in(
        &self,
        mode: SandboxMode,
        helper: bool,
        spec: SandboxSpec,
        cancel: &Cancel,
        on_line: &dyn Fn(Stream, &str),
    ) -> Result<Finished, SandboxError> {
        let _placed = if mode == SandboxMode::Plain { Some(plain::Placed::new(&spec)?) } else { None };
        let timeout = spec.timeout;
        let (command, input) = self.command(mode, helper, spec)?;
        let ended = supervise(command, input, timeout, cancel, self.secrets.get(), on_line)?;
        #[cfg(target_os = "linux")]
        check_setup(&ended, mode)?;
        let Ended { status, stdout, stderr, duration } = ended;
        Ok(Finished { status, stdout, stderr, duration, mode })
    }

    #[cfg(target_os = "linux")]
    fn command(
        &self,
        mode: SandboxMode,
        helper: bool,
        spec: SandboxSpec,
    ) -> Result<(Command, Vec<u8>), SandboxError> {
        if !helper {
            return direct(&spec);
        }
        let mut command = Command::new(&self.helper);
        command.env_clear().args([SUBCOMMAND, "/dev/stdin"]);
        let bwrap = bwrap::find().unwrap_or_default();
        Ok((command, launch::Launch { mode, bwrap, spec }.encode()))
    }

    #[cfg(not(target_os = "linux"))]
    fn command(
        &self,
        _: SandboxMode,
        _: bool,
        spec: SandboxSpec,
    ) -> Result<(Command, Vec<u8>), SandboxError> {
        direct(&spec)
    }

    fn probed(&self) -> &Probed {
        self.probed.get_or_init(|| self.probe())
    }

    #[cfg(not(target_os = "linux"))]
    fn probe(&self) -> Probed {
        let problems = vec!["this system has no namespaces".to_owned()];
        Probed { mode: SandboxMode::Plain, helper: false, problems }
    }

    /// Confines a program that does nothing, in one way after the other.
    #[cfg(target_os = "linux")]
    fn probe(&self) -> Probed {
        let mut problems = Vec::new();
        if self.policy != SandboxPolicy::Off {
            for mode in [SandboxMode::Namespaces, SandboxMode::Bwrap] {
                if mode == SandboxMode::Bwrap && bwrap::find().is_none() {
                    problems.push("bwrap is not installed".to_owned());
                    continue;
                }
                match self.try_mode(mode) {
                    Ok(()) => return Probed { mode, helper: true, problems },
                    Err(problem) => problems.push(format!("{mode}: {problem}")),
                }
            }
        }
        let helper = self.try_mode(SandboxMode::Plain).is_ok();
        Probed { mode: SandboxMode::Plain, helper, problems }
    }

    #[cfg(target_os = "linux")]
    fn try_mode(&self, mode: SandboxMode) -> Result<(), String> {
        let work = tempfile::tempdir().map_err(|e| format!("cannot make a temporary folder: {e}"))?;
        let cwd = if mode.is_confined() { PREFIX.to_owned() } else { work.path().display().to_string() };
        let spec = SandboxSpec {
            work: work.path().to_owned(),
            argv: vec!["/bin/sh".into(), "-c".into(), "exit 42".into()],
            cwd,
            timeout: Some(Duration::from_secs(10)),
            ..SandboxSpec::default()
        };
        let finished =
            self.run_in(mode, true, spec, &Cancel::new(), &|_, _| {}).map_err(|e| e.to_string())?;
        // A helper that is not ours would end in another way.
        if finished.status.code() == Some(42) {
            Ok(())
        } else {
            Err(format!("{}: {}", finished.status, String::from_utf8_lossy(&finished.stderr).trim()))
        }
    }
}

/// The spec with real paths: a symlink would lead elsewhere in the new root.
fn resolved(spec: &SandboxSpec, confined: bool) -> Result<SandboxSpec, SandboxError> {
    let real = |path: &Path| {
        std::fs::canonicalize(path).map_err(|source| SandboxError::Io {
            action: "find",
            path: path.to_owned(),
            source,
        })
    };
    let mut spec = spec.clone();
    if !spec.work.is_absolute() {
        return Err(SandboxError::Spec(format!("{} is not an absolute path", spec.work.display())));
    }
    for mount in &mut spec.mounts {
        if !mount.at.starts_with('/') || mount.at.split('/').any(|part| part == "..") {
            return Err(SandboxError::Spec(format!("{} is not an absolute path", mount.at)));
        }
        mount.from = real(&mount.from)?;
    }
    let work = real(&spec.work)?;
    if confined {
        // Without a sandbox it keeps its name, which is what the program was given.
        spec.work = work;
    }
    Ok(spec)
}

/// Without a helper: as it is, with the umask of this process.
fn direct(spec: &SandboxSpec) -> Result<(Command, Vec<u8>), SandboxError> {
    let (program, arguments) =
        spec.argv.split_first().ok_or_else(|| SandboxError::Spec("there is no program to start".into()))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&spec.env).current_dir(&spec.cwd);
    Ok((command, Vec::new()))
}

/// Tells a confinement or a program that could not be started from a program that failed.
#[cfg(target_os = "linux")]
fn check_setup(ended: &Ended, mode: SandboxMode) -> Result<(), SandboxError> {
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let first = stderr.lines().next().unwrap_or_default();
    if ended.status.code() == Some(i32::from(helper::FAILED)) {
        if let Some(message) = first.strip_prefix(helper::SETUP) {
            return Err(SandboxError::Setup(message.to_owned()));
        }
        if let Some(message) = first.strip_prefix(helper::START) {
            return Err(SandboxError::Start(message.to_owned()));
        }
    }
    match first.strip_prefix("bwrap: ") {
        Some(message) if mode == SandboxMode::Bwrap && !ended.status.success() => {
            Err(SandboxError::Setup(format!("bwrap: {message}")))
        }
        _ => Ok(()),
    }
}
