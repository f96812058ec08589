//! Owns the sources of Debian's packages that tests build, and packages for other machines: fetched once, kept below the target
//! folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ask, source};

/// Set by `make test-real`: sources that cannot be fetched fail the test.
const MUST: &str = "RELGRAPH_TEST_REAL";

/// The folder that holds each of the packages (`elixir-lang`, `ejabberd/trixie`) under its name. `None`: they cannot be
/// fetched here, which has been said.
#[track_caller]
pub fn sources(packages: &[&str]) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sources");
    fs::create_dir_all(&folder).expect("a folder");
    // One apt at a time has this folder for its lists.
    let lock = File::create(folder.join(".lock")).expect("a file");
    lock.lock().expect("a lock");
    let said = ask(Command::new(source("scripts/fetch-source.sh")).arg(&folder).args(packages));
    if said.status == Some(0) {
        return Some(folder);
    }
    let problem =
        format!("these sources could not be fetched: {}\n{}{}", packages.join(" "), said.out, said.err);
    assert!(std::env::var_os(MUST).is_none(), "{problem}");
    eprintln!("NOT TESTED: {problem}");
    None
}

/// A folder with packages of the machine's release of Debian for another architecture. `None`: they cannot be fetched here, which
/// has been said.
#[track_caller]
pub fn foreign(architecture: &str, packages: &[&str]) -> Option<PathBuf> {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign");
    fs::create_dir_all(&all).expect("a folder");
    let lock = File::create(all.join(".lock")).expect("a file");
    lock.lock().expect("a lock");
    let folder = all.join(architecture);
    let mut fetch = Command::new(source("scripts/fetch-root.sh"));
    fetch.arg("--alone").arg(&folder).arg(format!("-/{architecture}")).args(packages);
    let said = ask(&mut fetch);
    if said.status == Some(0) {
        return Some(folder);
    }
    eprintln!("NOT TESTED: no packages for {architecture} could be fetched: {}{}", said.out, said.err);
    None
}

/// Writes down what came of building a code base, for docs/real.md.
pub fn record(name: &str, lines: &[String]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{name}.md")), format!("{}\n", lines.join("\n"))).expect("a file");
}
