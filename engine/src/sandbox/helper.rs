//! The helper process: confines itself, then becomes the program.
//!
//! A process of its own because a user namespace can only be entered by a process with one thread.

use std::convert::Infallible;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};

use super::launch::Launch;
use super::spec::SandboxMode;
use super::{PREFIX, bwrap};

/// How the helper ends when the program was not even started.
pub(super) const FAILED: u8 = 125;
/// What it then writes first, and what follows is about the confinement.
pub(super) const SETUP: &str = "relgraph-sandbox-setup: ";
/// As [`SETUP`], and what follows is about the program.
pub(super) const START: &str = "relgraph-sandbox-start: ";

/// Why the program was not started.
pub(super) enum HelperError {
    Setup(String),
    Start(String),
}

impl HelperError {
    /// An error of the confinement: what was tried, on what, and what the system said.
    pub fn setup(what: &str, path: impl AsRef<Path>, error: impl fmt::Display) -> Self {
        HelperError::Setup(format!("{what} {}: {error}", path.as_ref().display()))
    }
}

/// What `HELPER sandbox-exec FILE` does: reads the spec, confines this process, becomes the program. Comes back only
/// when that failed. Must be called before the process has a second thread.
#[cfg(target_os = "linux")]
pub fn helper_main(spec: &Path) -> ExitCode {
    let Err(error) = become_program(spec);
    let (word, message) = match &error {
        HelperError::Setup(message) => (SETUP, message),
        HelperError::Start(message) => (START, message),
    };
    // When nobody reads it, the status still tells.
    let _ = writeln!(std::io::stderr(), "{word}{message}");
    ExitCode::from(FAILED)
}

fn become_program(spec: &Path) -> Result<Infallible, HelperError> {
    let bytes = std::fs::read(spec).map_err(|e| HelperError::setup("read", spec, e))?;
    let launch = Launch::decode(&bytes).map_err(|e| HelperError::setup("read", spec, e))?;
    // The spec came through standard input, and the program has none.
    let null = std::fs::File::open("/dev/null").map_err(|e| HelperError::setup("open", "/dev/null", e))?;
    nix::unistd::dup2_stdin(&null).map_err(|e| HelperError::setup("reopen", "standard input", e))?;
    drop(null);
    umask(Mode::from_bits_truncate(0o022));

    let spec = &launch.spec;
    let env = &spec.env;
    let cwd = if spec.cwd.is_empty() { PREFIX } else { &spec.cwd };
    let mut command = match launch.mode {
        SandboxMode::Namespaces => {
            super::namespaces::enter(spec)?;
            std::env::set_current_dir(cwd)
                .map_err(|e| HelperError::Start(format!("cannot enter {cwd}: {e}")))?;
            program(&spec.argv, env.get("PATH"))?
        }
        SandboxMode::Bwrap => {
            let mut command = Command::new(&launch.bwrap);
            command.args(bwrap::arguments(spec, cwd));
            command
        }
        SandboxMode::Plain => {
            std::env::set_current_dir(cwd)
                .map_err(|e| HelperError::Start(format!("cannot enter {cwd}: {e}")))?;
            program(&spec.argv, env.get("PATH"))?
        }
    };
    // After the namespaces: entering one clears it. A relgraph that is killed takes its programs along.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|e| HelperError::setup("ask to end with", "the parent", e))?;
    let error = command.env_clear().envs(env).exec();
    Err(HelperError::Start(format!("cannot start {}: {error}", command.get_program().to_string_lossy())))
}

/// The command for `argv`, its program looked up in `path` as the program itself would see it.
pub(super) fn program(argv: &[String], path: Option<&String>) -> Result<Command, HelperError> {
    let (name, arguments) =
        argv.split_first().ok_or_else(|| HelperError::Start("there is no program to start".into()))?;
    let found = if name.contains('/') {
        PathBuf::from(name)
    } else {
        let path = path.map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
        path.split(':')
            .filter(|folder| !folder.is_empty())
            .map(|folder| Path::new(folder).join(name))
            .find(|file| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
            .ok_or_else(|| HelperError::Start(format!("cannot find {name} in PATH ({path})")))?
    };
    let mut command = Command::new(found);
    command.arg0(name).args(arguments);
    Ok(command)
}
