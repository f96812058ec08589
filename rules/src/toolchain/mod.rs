//! The Erlang, Elixir and rebar3 that build a project: where they are, which they are, and their identity by content.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use relgraph_cache::{Digest, Hasher, StatCache, Store};
use relgraph_engine::StepError;

pub use self::choice::{Choice, Program};
use crate::diagnostic::Diagnostic;
use crate::source::Snapshot;

mod choice;
mod mise;
mod versions;

/// An Erlang installation.
#[derive(Debug, Clone)]
pub struct Erlang {
    /// `code:root_dir()`.
    pub root: PathBuf,
    /// Version of the runtime system, `13.1.5`.
    pub erts: String,
}

/// An Elixir installation.
#[derive(Debug, Clone)]
pub struct Elixir {
    /// The folder that holds `bin` and `lib`.
    pub root: PathBuf,
    /// Its version.
    pub version: String,
    /// Its applications (`elixir`, `mix`, …).
    pub libraries: Vec<String>,
}

/// What builds a project.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// Erlang.
    pub erlang: Erlang,
    /// Elixir, where the project needs it: what builds another one is part of no key.
    pub elixir: Option<Elixir>,
    /// rebar3, when it is in PATH.
    pub rebar3: Option<PathBuf>,
    /// Identity of Erlang and of Elixir, where it is needed, by content: the same wherever they are installed.
    pub digest: Digest,
    /// Identity of rebar3.
    pub rebar3_digest: Option<Digest>,
    /// Erlang's files.
    pub erlang_files: Arc<Snapshot>,
    /// Elixir's files.
    pub elixir_files: Option<Arc<Snapshot>>,
}

impl Toolchain {
    /// Finds what is meant, Elixir where it is `wanted`. The digests of files that did not move are remembered in the store.
    pub fn find(choice: &mut Choice<'_>, wanted: bool, store: &Store) -> Result<Toolchain, Box<Diagnostic>> {
        let erlang = choice.erlang()?;
        let elixir = if wanted { Some(choice.elixir()?) } else { None };
        let rebar3 = choice.rebar3()?;
        let cache = StatCache::load(&store.root().join("toolchain.stat"));
        let failed = |e: StepError| Box::new(Diagnostic::error(e.message));
        let erlang_files = Snapshot::take(&erlang.root, &|_| false, &cache).map_err(failed)?;
        let elixir_files = match &elixir {
            Some(elixir) => Some(Snapshot::take(&elixir.root, &|_| false, &cache).map_err(failed)?),
            None => None,
        };
        let rebar3_digest = match &rebar3 {
            Some(file) => cache.digest(file).ok().map(|(digest, _)| digest),
            None => None,
        };
        // It only saves work; a store that cannot be written says so where it matters.
        let _ = cache.save();
        let mut hasher = Hasher::new();
        for files in std::iter::once(&erlang_files).chain(&elixir_files) {
            hasher.update(files.digest_below("").hex().as_bytes());
        }
        Ok(Toolchain {
            digest: hasher.finish(),
            erlang,
            elixir,
            rebar3,
            rebar3_digest,
            erlang_files: Arc::new(erlang_files),
            elixir_files: elixir_files.map(Arc::new),
        })
    }

    /// The files of all that it consists of, each with its root.
    pub fn files(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        std::iter::once(&self.erlang_files).chain(&self.elixir_files)
    }
}

impl Erlang {
    /// The installation whose `erl` comes first in `path`, asked in the folder `here` where it is a version manager's.
    pub fn find(path: &str, here: &Path) -> Result<Erlang, Box<Diagnostic>> {
        let Some(erl) = which("erl", path) else {
            let hint = "install Erlang/OTP (on Debian and Ubuntu: apt-get install erlang), or put its bin folder in PATH";
            return Err(Box::new(Diagnostic::error("`erl` is not in PATH").hint(hint)));
        };
        let real = fs::canonicalize(&erl).unwrap_or_else(|_| erl.clone());
        if let Some(found) = real.parent().and_then(Path::parent).and_then(|root| Erlang::at(root).ok()) {
            return Ok(found);
        }
        // A version manager's shim: only the program itself knows where it is.
        let root = ask(&erl, here, &["-noshell", "-eval", "io:put_chars(code:root_dir()), halt()."])?;
        Erlang::at(Path::new(root.trim()))
    }

    /// The installation in a folder: `code:root_dir()`, or an `erts-VERSION` folder inside it.
    pub fn at(root: &Path) -> Result<Erlang, Box<Diagnostic>> {
        let name = root.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if let (Some(version), Some(parent)) = (name.strip_prefix("erts-"), root.parent()) {
            return Ok(Erlang { root: parent.to_owned(), erts: version.to_owned() });
        }
        let mut versions: Vec<String> = list(root)
            .into_iter()
            .filter_map(|n| n.strip_prefix("erts-").map(str::to_owned))
            .filter(|version| root.join(format!("erts-{version}/bin/erlexec")).is_file())
            .collect();
        versions.sort_by_key(|v| v.split('.').map(|n| n.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>());
        match versions.pop() {
            Some(erts) if root.join("lib").is_dir() => Ok(Erlang { root: root.to_owned(), erts }),
            _ => {
                let message = format!("there is no Erlang installation in {}", root.display());
                let note = "it would hold `erts-VERSION/bin/erlexec` and `lib`";
                Err(Box::new(Diagnostic::error(message).note(note)))
            }
        }
    }
}

impl Elixir {
    /// The installation whose `elixir` comes first in `path`, asked in the folder `here` where it is a version manager's.
    pub fn find(path: &str, here: &Path) -> Result<Elixir, Box<Diagnostic>> {
        let (Some(elixir), Some(_)) = (which("elixir", path), which("mix", path)) else {
            let missing = if which("elixir", path).is_some() { "mix" } else { "elixir" };
            let hint = "install Elixir (on Debian and Ubuntu: apt-get install elixir), or put its bin folder in PATH";
            return Err(Box::new(Diagnostic::error(format!("`{missing}` is not in PATH")).hint(hint)));
        };
        let real = fs::canonicalize(&elixir).unwrap_or_else(|_| elixir.clone());
        if let Some(found) = real.parent().and_then(Path::parent).and_then(Elixir::at) {
            return Ok(found);
        }
        let lib = ask(&elixir, here, &["-e", "IO.write(:code.lib_dir(:elixir))"])?;
        Path::new(lib.trim()).parent().and_then(Path::parent).and_then(Elixir::at).ok_or_else(|| {
            Box::new(Diagnostic::error(format!("cannot tell where {} is installed", elixir.display())))
        })
    }

    /// The installation in a folder: the one that holds `bin` and `lib`.
    pub fn at(root: &Path) -> Option<Elixir> {
        let spec = fs::read_to_string(root.join("lib/elixir/ebin/elixir.app")).ok()?;
        let version = spec.split("{vsn,").nth(1)?.split('"').nth(1)?.to_owned();
        let libraries = list(&root.join("lib"))
            .into_iter()
            .filter(|name| root.join(format!("lib/{name}/ebin/{name}.app")).is_file())
            .collect();
        Some(Elixir { root: root.to_owned(), version, libraries })
    }
}

impl Erlang {
    /// The release of OTP, as exact as the installation says: `25.2.3`.
    pub fn otp(&self) -> Option<String> {
        let releases = self.root.join("releases");
        let newest = list(&releases).into_iter().filter_map(|name| name.parse::<u32>().ok()).max()?;
        let exact = fs::read_to_string(releases.join(format!("{newest}/OTP_VERSION"))).ok();
        exact.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).or(Some(newest.to_string()))
    }
}

/// The program of that name that comes first in `path`.
pub fn which(name: &str, path: &str) -> Option<PathBuf> {
    path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(name)).find(|file| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

fn ask(program: &Path, here: &Path, args: &[&str]) -> Result<String, Box<Diagnostic>> {
    let output = Command::new(program)
        .args(args)
        .current_dir(here)
        .output()
        .map_err(|e| Box::new(Diagnostic::error(format!("cannot run {}: {e}", program.display()))))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Box::new(
        Diagnostic::error(format!("{} does not work: {}", program.display(), output.status)).note(said),
    ))
}

fn list(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().and_then(|e| e.file_name().into_string().ok()))
        .collect();
    names.sort();
    names
}
