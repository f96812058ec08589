//! The release is the one that `mix release` makes: the same files, modes and bytes, but for what docs/guide.md lists
//! under "What differs from mix release".

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use relgraph_engine::{Cancel, SandboxPolicy, SandboxSpec, Sandboxer};
use support::files::{differences, snapshot};
use support::project::Project;
use support::{RELGRAPH, TestSpace};

/// Builds with Mix itself, at the path at which relgraph's steps find the project.
struct Mix {
    /// The folder that appears at the fixed path.
    work: PathBuf,
    /// The project inside of it.
    at: &'static str,
}

impl Mix {
    fn release(&self, name: &str) -> BTreeMap<String, String> {
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
        let spec = SandboxSpec {
            work: self.work.clone(),
            argv: ["mix", "release", "--overwrite", "--quiet"].map(str::to_owned).to_vec(),
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            cwd: format!("{prefix}/{}", self.at),
            ..SandboxSpec::default()
        };
        let finished = sandboxer.run(&spec, &Cancel::new(), &|_, _| {}).expect("mix starts");
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        assert!(finished.status.success(), "{said}{}", String::from_utf8_lossy(&finished.stdout));
        snapshot(&self.work.join(self.at).join("_build/prod/rel").join(name))
    }

    fn clean(&self) {
        let build = self.work.join(self.at).join("_build");
        relgraph_cache::remove_tree(&build).expect("the build folder can be removed");
    }
}

/// What differs on purpose. The cookie is made when it is needed, and the launcher is relgraph's own.
fn on_purpose(name: &str, version: &str) -> BTreeSet<String> {
    [
        format!("bin/{name}"),
        format!("bin/{name}.bat"),
        "releases/COOKIE".into(),
        "releases/RELEASES".into(),
        format!("releases/{version}/relgraph.json"),
    ]
    .into()
}

fn assert_same(project: &Project, mix: &Mix, name: &str, version: &str) {
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

fn copy_of(project: &Path, work: &Path, at: &str) {
    support::files::copy(project, &work.join(at));
}

#[test]
fn a_plain_project_with_protocols_and_runtime_configuration() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    project.write("release.yaml", "release: sequence\n");
    let work = space.path("mix");
    copy_of(&project.dir, &work, "project");
    assert_same(&project, &Mix { work, at: "project" }, "sequence", "0.1.0");
}

#[test]
fn a_project_with_path_dependencies_erlang_grammars_providers_overlays_and_templates() {
    let space = TestSpace::new();
    let project = space.shop("ours");
    let work = space.path("mix");
    space.cold_shop("mix/tree");
    assert_same(&project, &Mix { work, at: "tree/shop" }, "shop", "1.2.0");
}

#[test]
fn a_release_without_a_runtime_that_is_not_stripped_and_has_a_version_of_its_own() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    project.write("release.yaml", "release: small\n");
    let releases = "releases: [small: [include_erts: false, strip_beams: false, version: \"9.9.9\", \
                    applications: [runtime_tools: :load, sequence: :transient], include_executables_for: [:unix]]],";
    project.edit("mix.exs", "version: ", &format!("{releases}\n      version: "));
    let work = space.path("mix");
    copy_of(&project.dir, &work, "project");
    assert_same(&project, &Mix { work, at: "project" }, "small", "9.9.9");
}

#[test]
fn a_difference_would_be_seen() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    project.build();
    let before = snapshot(&project.release("sequence"));
    std::fs::write(project.release("sequence").join("releases/0.1.0/vm.args"), "+Q 4096\n")
        .expect("it is a file");
    assert_eq!(differences(&before, &snapshot(&project.release("sequence"))), ["releases/0.1.0/vm.args"]);
}
