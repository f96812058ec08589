//! Owns `mix release` at the path at which relgraph's steps find the project, and the comparison with what it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use relgraph_engine::{Cancel, SandboxPolicy, SandboxSpec, Sandboxer};

use super::RELGRAPH;
use super::files::{differences, snapshot};
use super::project::Project;

/// Builds with Mix itself, at the path at which relgraph's steps find the project.
pub struct Mix {
    /// The folder that appears at the fixed path.
    pub work: PathBuf,
    /// The project inside of it.
    pub at: String,
}

impl Mix {
    /// For a project at `at` (`project`; `tree/NAME` when something lies beside it) in the folder `work`: where relgraph's steps find it.
    pub fn new(work: PathBuf, at: &str) -> Self {
        Mix { work, at: at.to_owned() }
    }

    /// The release of that name, as `mix release` makes it.
    pub fn release(&self, name: &str) -> BTreeMap<String, String> {
        let sandboxer = Sandboxer::new(RELGRAPH.into(), SandboxPolicy::Required);
        let prefix = sandboxer.prefix(&self.work);
        let rebar3 = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|dir| dir.join("rebar3"))
            .find(|file| file.is_file())
            .expect("rebar3 is in PATH");
        let env = [
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("HOME", format!("{prefix}/home")),
            ("LANG", "C.UTF-8".into()),
            ("MIX_ENV", "prod".into()),
            ("MIX_REBAR3", rebar3.display().to_string()),
            // The order of large maps follows the scheduling: one scheduler, as relgraph has it.
            ("ELIXIR_ERL_OPTIONS", "+S 1:1 +SDio 1 +SDcpu 1:1".into()),
        ];
        let mut argv = vec!["mix".to_owned(), "release".into(), "--overwrite".into(), "--quiet".into()];
        // Mix takes the name of a release only where releases are declared.
        let declared = std::fs::read_to_string(self.work.join(&self.at).join("mix.exs")).unwrap_or_default();
        if declared.contains("releases:") {
            argv.push(name.to_owned());
        }
        let spec = SandboxSpec {
            work: self.work.clone(),
            argv,
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            cwd: format!("{prefix}/{}", self.at),
            ..SandboxSpec::default()
        };
        let finished = sandboxer.run(&spec, &Cancel::new(), &|_, _| {}).expect("mix starts");
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        assert!(finished.status.success(), "{said}{}", String::from_utf8_lossy(&finished.stdout));
        snapshot(&self.work.join(&self.at).join("_build/prod/rel").join(name))
    }

    fn clean(&self) {
        let build = self.work.join(&self.at).join("_build");
        relgraph_cache::remove_tree(&build).expect("the build folder can be removed");
    }
}

/// What differs on purpose. The cookie is made when it is needed, and the launcher is relgraph's own.
pub fn on_purpose(name: &str, version: &str) -> BTreeSet<String> {
    [
        format!("bin/{name}"),
        format!("bin/{name}.bat"),
        "releases/COOKIE".into(),
        "releases/RELEASES".into(),
        format!("releases/{version}/relgraph.json"),
    ]
    .into()
}

/// Builds with both, and compares every file.
#[track_caller]
pub fn assert_same(project: &Project, mix: &Mix, name: &str, version: &str) {
    project.build();
    let ours = snapshot(&project.release(name));
    let theirs = mix.release(name);
    let known = on_purpose(name, version);
    let mut differ: Vec<String> =
        differences(&ours, &theirs).into_iter().filter(|path| !known.contains(path)).collect();
    if !differ.is_empty() {
        // What Mix does not make twice alike (the order of large maps, the clock) is nobody's fault.
        mix.clean();
        let again = mix.release(name);
        let unsteady: BTreeSet<String> = differences(&theirs, &again).into_iter().collect();
        differ.retain(|path| !unsteady.contains(path));
    }
    let shown: Vec<String> = differ
        .iter()
        .map(|path| format!("{path}: {:?}, Mix: {:?}", ours.get(path), theirs.get(path)))
        .collect();
    assert!(differ.is_empty(), "{}", shown.join("\n"));
    // Had the two snapshots nothing in common, there would be nothing to differ in.
    assert!(ours.keys().filter(|path| path.ends_with(".beam")).count() > 300);
    assert_eq!(ours.get("releases/start_erl.data"), theirs.get("releases/start_erl.data"));
}
