//! Native code: what a build of it sees of this machine, and what it depends on beside its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, Hasher, Probe, Store};
use relgraph_engine::{KeyParts, Mount, StepError};
use walkdir::WalkDir;

mod system;

use crate::discover::Native;
use crate::reach;
use crate::source::Snapshot;
use crate::toolchain::which;

/// Variables that compilers, linkers and make read by themselves.
const VARIABLES: [&str; 28] = [
    "AR",
    "ARFLAGS",
    "AS",
    "CC",
    "CFLAGS",
    "CMAKE_GENERATOR",
    "COMPILER_PATH",
    "CPATH",
    "CPLUS_INCLUDE_PATH",
    "CPP",
    "CPPFLAGS",
    "CROSSCOMPILE",
    "CXX",
    "CXXFLAGS",
    "C_INCLUDE_PATH",
    "GNUMAKEFLAGS",
    "LD",
    "LDFLAGS",
    "LDLIBS",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "MAKE",
    "MAKEFILES",
    "MAKEFLAGS",
    "PKG_CONFIG_LIBDIR",
    "PKG_CONFIG_PATH",
    "PKG_CONFIG_SYSROOT_DIR",
    "SOURCE_DATE_EPOCH",
];

/// Programs that make native code, started by others: nobody sees them start.
const COMPILERS: [&str; 8] = ["c++", "cc", "clang", "cmake", "g++", "gcc", "ld", "make"];

/// Programs of every system that do the same everywhere.
const PLAIN: [&str; 14] =
    ["bash", "cat", "chmod", "cp", "dash", "echo", "env", "ln", "ls", "mkdir", "mv", "rm", "sh", "uname"];

/// Whether a source is native code, or says how it is built.
pub fn is_native(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    path.split('/').any(|part| part == "c_src")
        || ["c", "cc", "cpp", "cxx", "h", "hpp", "rs"].contains(&kind)
        || ["CMakeLists.txt", "Cargo.toml"].contains(&name)
}

/// Whether a folder has native code in it.
pub fn has_native(folder: &Path) -> bool {
    let files = WalkDir::new(folder).into_iter().flatten();
    files.filter_map(|entry| entry.path().strip_prefix(folder).ok()?.to_str().map(is_native)).any(|is| is)
}

/// Whether a source is read by programs that build native code, so that the variables that it names count.
fn is_recipe(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    ["Makefile", "makefile", "GNUmakefile", "CMakeLists.txt", "configure", "build.rs", "rebar.config"]
        .contains(&name)
        || ["ac", "am", "cmake", "in", "js", "mk", "pl", "py", "script", "sh"].contains(&kind)
}

/// Variables that the programs may have read that a step started: those that compilers know, and those that the recipes in a
/// folder name.
pub fn variables(started: &[Vec<String>], folder: &Path) -> BTreeSet<String> {
    if started.is_empty() {
        return BTreeSet::new();
    }
    let mut found: BTreeSet<String> = VARIABLES.iter().map(|&name| name.to_owned()).collect();
    let recipes = WalkDir::new(folder).into_iter().flatten().filter(|entry| {
        entry.file_type().is_file()
            && is_recipe(entry.path())
            && entry.metadata().is_ok_and(|meta| meta.len() < 1 << 20)
    });
    for entry in recipes {
        let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default()).into_owned();
        found.extend(names(&text));
    }
    found
}

/// Words that look like names of variables and stand where one is asked for: `$(NAME)`, `"NAME"`, `$NAME`.
fn names(text: &str) -> impl Iterator<Item = String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let capital = |name: &str| {
        name.len() > 2
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let starts = text.match_indices(['$', '(', '{', '"', '\'']).map(|(at, _)| &text[at + 1..]);
    let words: Vec<String> = starts
        .map(|rest| rest.split(|c| !word(c)).next().unwrap_or_default())
        .filter(|name| capital(name))
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

/// The programs that a step started, and where it builds native code the compilers, headers and libraries of this machine.
pub fn programs(started: &[Vec<String>], native: &Native, env: &BTreeMap<String, String>) -> Vec<Probe> {
    let env: BTreeMap<String, String> =
        env.iter().chain(&native.set).map(|(n, v)| (n.clone(), v.clone())).collect();
    let mut found: BTreeSet<PathBuf> = BTreeSet::new();
    let known = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        PLAIN.contains(&name) || name == "git"
    };
    for program in started.iter().filter_map(|words| words.first()).map(Path::new) {
        if program.is_absolute() && reach::is_system(&program.display().to_string()) && !known(program) {
            found.insert(program.to_owned());
        }
    }
    if native.compiled {
        let named = ["CC", "CXX", "LD"].iter().filter_map(|name| env.get(*name)?.split_whitespace().next());
        let programs = COMPILERS.into_iter().chain(named);
        found.extend(programs.filter_map(|name| which(name, "/usr/local/bin:/usr/bin")));
    }
    let system = if native.sources { system::probes(&env) } else { BTreeSet::new() };
    found.into_iter().map(|path| Probe::Content(path.display().to_string())).chain(system).collect()
}

/// Objects that an earlier build left among the sources: whoever built them, for which Erlang and with which flags, a
/// clean checkout has none. They are taken away before the build, and put back if it does not make them.
pub fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let objects = WalkDir::new(folder).into_iter().flatten().filter(|entry| {
        let inside = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let all = folder.ends_with("priv") || inside.starts_with("priv");
        let product = all || inside.extension().is_some_and(|kind| kind == "o");
        entry.file_type().is_file() && product && is_object(entry.path())
    });
    objects.map(walkdir::DirEntry::into_path).collect()
}

fn is_object(path: &Path) -> bool {
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == b"\x7fELF"
}

/// cargo, and the compiler that it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rust {
    /// What is shown of this machine, and where, seen from the prefix.
    mounts: Vec<(PathBuf, String)>,
    identity: Digest,
}

impl Rust {
    /// As a user with these variables has it; none where cargo is not in PATH.
    pub fn find(env: &BTreeMap<String, String>) -> Result<Option<Rust>, StepError> {
        let Some(cargo) = which("cargo", env.get("PATH").map(String::as_str).unwrap_or_default()) else {
            return Ok(None);
        };
        let home = env.get("HOME").map(PathBuf::from).unwrap_or_default();
        let folder = |name: &str, usual: &str| env.get(name).map_or_else(|| home.join(usual), PathBuf::from);
        let mut mounts = Vec::new();
        let mut identity = Hasher::new();
        let rustup = folder("RUSTUP_HOME", ".rustup");
        let bin = cargo.parent().unwrap_or(Path::new("/")).to_owned();
        if !reach::is_system(&cargo.display().to_string()) {
            mounts.push((bin.clone(), CARGO_BIN.to_owned()));
            if rustup.is_dir() {
                mounts.push((rustup.clone(), RUSTUP.to_owned()));
            }
        }
        // The driver's library bears the version's hash in its name.
        let libraries =
            WalkDir::new(rustup.join("toolchains")).max_depth(3).sort_by_file_name().into_iter().flatten();
        for entry in libraries.filter(|e| e.file_name().to_string_lossy().starts_with("librustc_driver")) {
            identity.update(entry.file_name().as_encoded_bytes());
        }
        if let Ok(compiler) = Digest::of_file(&bin.join("rustc")) {
            identity.update(compiler.to_string().as_bytes());
        }
        let settings = fs::read(rustup.join("settings.toml")).unwrap_or_default();
        identity.update(&settings);
        let own = folder("CARGO_HOME", ".cargo");
        for name in ["registry", "git"] {
            if own.join(name).is_dir() {
                mounts.push((own.join(name), format!("home/.cargo/{name}")));
            }
        }
        Ok(Some(Rust { mounts, identity: identity.finish() }))
    }

    /// Whether sources hold a crate.
    pub fn is_wanted(files: &Snapshot) -> bool {
        files.entries().any(|(path, _)| is_manifest(path))
    }

    /// Whether a stored tree holds one.
    pub fn is_wanted_by(store: &Store, tree: &Digest) -> Result<bool, StepError> {
        Ok(store.walk(tree)?.iter().any(|(path, _)| is_manifest(path)))
    }

    /// Its part of a key. Crates are known by the checksums in Cargo.lock.
    pub fn part(&self, parts: &mut KeyParts) {
        parts.digest("rust", &self.identity);
    }

    /// What is shown, below `prefix`.
    pub fn mounts(&self, prefix: &str) -> impl Iterator<Item = Mount> {
        self.mounts.iter().map(move |(from, at)| Mount::read_only(from, format!("{prefix}/{at}")))
    }

    /// The variables that cargo gets, and the folders that it is looked for in.
    pub fn env(&self, prefix: &str) -> (Vec<(&'static str, String)>, String) {
        let env = vec![
            ("CARGO_HOME", format!("{prefix}/home/.cargo")),
            ("CARGO_NET_OFFLINE", "true".to_owned()),
            ("RUSTUP_HOME", format!("{prefix}/{RUSTUP}")),
        ];
        (env, format!("{prefix}/{CARGO_BIN}"))
    }
}

fn is_manifest(path: &str) -> bool {
    path == "Cargo.toml" || path.ends_with("/Cargo.toml")
}

const CARGO_BIN: &str = "tools/cargo";
const RUSTUP: &str = "tools/rustup";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_where_they_are_asked_for() {
        let text = "CFLAGS ?= -O2\nall:\n\t$(CC) $${MY_FLAG} -D$NAME; test \"$(WITH_SSL)\" # NOT_THIS\n";
        assert_eq!(names(text).collect::<Vec<_>>(), ["MY_FLAG", "NAME", "WITH_SSL"].map(str::to_owned));
    }
}
