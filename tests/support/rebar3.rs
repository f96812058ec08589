//! Owns `rebar3 release` at the path at which relgraph's steps find the project, and the comparison with what it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use relgraph_engine::{Cancel, SandboxPolicy, SandboxSpec, Sandboxer};
use relgraph_rules::beam_file;

use super::RELGRAPH;
use super::files::{copy, differences, snapshot};
use super::project::Project;

/// Every chunk that a module may have.
const CHUNKS: [&str; 18] = [
    "AtU8", "Atom", "Code", "StrT", "ImpT", "ExpT", "LocT", "FunT", "LitT", "Attr", "CInf", "Dbgi", "Docs",
    "Line", "Type", "Meta", "ExCk", "Abst",
];

/// Builds with rebar3 itself.
pub struct Rebar3 {
    work: PathBuf,
}

impl Rebar3 {
    /// For a copy of the project, below the folder `work`.
    pub fn of(project: &Project, work: PathBuf) -> Self {
        copy(&project.dir, &work.join("project"));
        Rebar3 { work }
    }

    /// Where the release of that name is made in that profile: `rebar3 as PROFILE release -n NAME`.
    pub fn release(&self, profile: &str, name: &str) -> PathBuf {
        let sandboxer = Sandboxer::new(RELGRAPH.into(), SandboxPolicy::Required);
        let prefix = sandboxer.prefix(&self.work);
        let env = [
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("HOME", format!("{prefix}/home")),
            ("LANG", "C.UTF-8".into()),
            ("REBAR_OFFLINE", "1".into()),
            ("ERL_FLAGS", "+S 1:1 +SDio 1 +SDcpu 1:1".into()),
        ];
        let argv = ["rebar3", "as", profile, "release", "-n", name].map(str::to_owned).to_vec();
        let spec = SandboxSpec {
            work: self.work.clone(),
            argv,
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            cwd: format!("{prefix}/project"),
            ..SandboxSpec::default()
        };
        let finished = sandboxer.run(&spec, &Cancel::new(), &|_, _| {}).expect("rebar3 starts");
        let said = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert!(finished.status.success(), "{said}{}", String::from_utf8_lossy(&finished.stderr));
        self.work.join(format!("project/_build/{profile}/rel/{name}"))
    }
}

/// Asserts that a release of relgraph is the one that rebar3 made, but for the files in `known`: the same files, modes, bytes and
/// modules. How modules are compressed is not compared, only whether they are.
#[track_caller]
pub fn assert_same(ours: &Path, theirs: &Path, known: &[&str]) {
    let (mine, other) = (snapshot(ours), snapshot(theirs));
    let known: BTreeSet<&str> = known.iter().copied().collect();
    let differ: Vec<String> = differences(&mine, &other)
        .into_iter()
        .filter(|path| !known.contains(path.as_str()) && !path.ends_with("/relgraph.json"))
        .filter(|path| !path.ends_with(".beam") || module(&ours.join(path)) != module(&theirs.join(path)))
        .collect();
    let of = |all: &BTreeMap<String, String>, path: &String| all.get(path).cloned();
    let shown: Vec<String> = differ
        .iter()
        .map(|path| format!("{path}: {:?}, rebar3: {:?}", of(&mine, path), of(&other, path)))
        .collect();
    assert!(differ.is_empty(), "{}", shown.join("\n"));
    // Had the two nothing in common, there would be nothing to differ in.
    assert!(other.keys().filter(|path| path.ends_with(".beam")).count() > 1, "{}", theirs.display());
}

/// What is in a module, and whether it is compressed.
fn module(path: &Path) -> Option<(bool, Vec<u8>)> {
    let bytes = fs::read(path).ok()?;
    let chunks = CHUNKS.map(str::to_owned);
    Some((bytes.starts_with(&[31, 139]), beam_file::strip(&bytes, &chunks).ok()?))
}
