//! Owns `mix release` at the path at which relgraph's steps find the project, and the comparison with what it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use relgraph_engine::{Cancel, Mount, SandboxPolicy, SandboxSpec, Sandboxer};
use relgraph_rules::verify::{Finding, Reason};

use super::RELGRAPH;
use super::files::{differences, snapshot};
use super::project::Project;

/// Builds with Mix itself, at the path at which relgraph's steps find the project.
pub struct Mix {
    /// The folder that appears at the fixed path.
    pub work: PathBuf,
    /// The project inside of it.
    pub at: String,
    /// Where it builds, in the folder `work`.
    pub build: String,
    /// `MIX_TARGET`.
    pub target: String,
    /// Folders that it sees besides, where they lie.
    pub more: Vec<PathBuf>,
}

impl Mix {
    /// For a project at `at` (`project`; `tree/NAME` when something lies beside it) in the folder `work`: where relgraph's steps find it.
    pub fn new(work: PathBuf, at: &str) -> Self {
        let (build, target) = (format!("{at}/_build"), "host".into());
        Mix { work, at: at.to_owned(), build, target, more: Vec::new() }
    }

    /// For a project that builds elsewhere.
    pub fn building_in(self, build: &str) -> Self {
        Mix { build: build.to_owned(), ..self }
    }

    /// For another target.
    pub fn aiming_at(self, target: &str) -> Self {
        Mix { target: target.to_owned(), ..self }
    }

    /// For a project that looks into that folder.
    pub fn seeing(mut self, folder: &Path) -> Self {
        self.more.push(folder.to_owned());
        self
    }

    /// The release of that name, as `mix release` makes it.
    pub fn release(&self, name: &str) -> BTreeMap<String, String> {
        // Mix takes the name of a release only where releases are declared.
        let declared = fs::read_to_string(self.work.join(&self.at).join("mix.exs")).unwrap_or_default();
        let named = if declared.contains("releases:") { Some(name) } else { None };
        let words = ["release", "--overwrite", "--quiet"].into_iter().chain(named);
        self.task(&words.collect::<Vec<_>>());
        snapshot(&self.folder(name))
    }

    /// Runs a task of Mix.
    pub fn task(&self, words: &[&str]) {
        let sandboxer = Sandboxer::new(RELGRAPH.into(), SandboxPolicy::Required);
        let prefix = sandboxer.prefix(&self.work);
        let rebar3 = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|dir| dir.join("rebar3"))
            .find(|file| file.is_file())
            .expect("rebar3 is in PATH");
        // Generated code may name the file of Erlang that it was made with: Erlang and Elixir lie where relgraph's steps
        // find them.
        let (otp, elixir) = (installed("erl"), installed("elixir"));
        let inside = |path: &str| format!("{prefix}/{path}");
        let erts =
            fs::read_dir(&otp).expect("OTP").flatten().map(|e| e.file_name().into_string().expect("a name"));
        let erts = erts.filter(|name| name.starts_with("erts-")).max().expect("its runtime");
        let env = [
            ("PATH", format!("{}:{}:/usr/local/bin:/usr/bin:/bin", inside("otp/bin"), inside("elixir/bin"))),
            ("ROOTDIR", inside("otp")),
            ("BINDIR", inside(&format!("otp/{erts}/bin"))),
            ("EMU", "beam".into()),
            ("PROGNAME", "erl".into()),
            ("HOME", inside("home")),
            ("LANG", "C.UTF-8".into()),
            ("MIX_ENV", "prod".into()),
            ("MIX_TARGET", self.target.clone()),
            ("MIX_REBAR3", rebar3.display().to_string()),
        ];
        // The order of large maps follows the scheduling: one scheduler, as relgraph has it.
        let vm = "-noshell +S 1:1 +SDio 1 +SDcpu 1:1 -elixir_root";
        let mut argv = vec![inside(&format!("otp/{erts}/bin/erlexec"))];
        argv.extend(vm.split(' ').map(str::to_owned));
        argv.extend([inside("elixir/bin/../lib"), "-pa".to_owned()]);
        let libraries = fs::read_dir(elixir.join("lib")).expect("Elixir's applications").flatten();
        argv.extend(
            libraries.map(|e| inside(&format!("elixir/bin/../lib/{}/ebin", e.file_name().display()))),
        );
        let start = ["-s", "elixir", "start_cli", "-extra"].map(str::to_owned);
        argv.extend(start.into_iter().chain([inside("elixir/bin/mix")]));
        argv.extend(words.iter().map(|&word| word.to_owned()));
        let spec = SandboxSpec {
            work: self.work.clone(),
            argv,
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            cwd: format!("{prefix}/{}", self.at),
            mounts: [(otp, inside("otp")), (elixir, inside("elixir"))]
                .into_iter()
                .chain(self.more.iter().map(|folder| (folder.clone(), folder.display().to_string())))
                .map(|(from, to)| Mount::read_only(from, to))
                .collect(),
            ..SandboxSpec::default()
        };
        let finished = sandboxer.run(&spec, &Cancel::new(), &|_, _| {}).expect("mix starts");
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        assert!(finished.status.success(), "{said}{}", String::from_utf8_lossy(&finished.stdout));
    }

    /// Where the release of that name is.
    fn folder(&self, name: &str) -> PathBuf {
        let environment = if self.target == "host" { "prod".into() } else { format!("{}_prod", self.target) };
        self.work.join(&self.build).join(environment).join("rel").join(name)
    }

    fn clean(&self) {
        let build = self.work.join(&self.build);
        relgraph_cache::remove_tree(&build).expect("the build folder can be removed");
    }
}

/// The release of OTP that builds.
pub fn otp() -> u32 {
    let releases = fs::read_dir(installed("erl").join("releases")).expect("releases of OTP").flatten();
    releases.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max().expect("a release of OTP")
}

/// Where Erlang or Elixir is installed.
pub fn installed(program: &str) -> PathBuf {
    let root = match program {
        "erl" => {
            Command::new("erl").args(["-noshell", "-eval", "io:format(code:root_dir()), halt()."]).output()
        }
        _ => Command::new("elixir").args(["-e", "IO.write Application.app_dir(:elixir, \"../..\")"]).output(),
    };
    let root = String::from_utf8(root.expect("it starts").stdout).expect("a path");
    fs::canonicalize(&root).unwrap_or_else(|e| panic!("{root}: {e}"))
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
    // Since OTP 26 the order of the atoms in a map is the order in which a VM came to know them, so that no two are alike.
    if otp() >= 26 {
        differ.retain(|path| {
            let mode = |all: &BTreeMap<String, String>| all.get(path)?.split(' ').next().map(str::to_owned);
            let read = |folder: &Path| std::fs::read(folder.join(path)).unwrap_or_default();
            let (one, other) = (read(&project.release(name)), read(&mix.folder(name)));
            let order = |finding: &Finding| {
                finding.explained.as_ref().is_some_and(|why| why.reason == Reason::MapOrder)
            };
            let findings = relgraph_rules::verify::bytes(path, &one, &other);
            mode(&ours) != mode(&theirs) || findings.is_empty() || !findings.iter().all(order)
        });
    }
    // What `relgraph verify` would say of it.
    let inside = |path: &str| {
        let read = |folder: &Path| std::fs::read(folder.join(path)).unwrap_or_default();
        let (one, other) = (read(&project.release(name)), read(&mix.folder(name)));
        let findings = relgraph_rules::verify::bytes(path, &one, &other);
        findings.iter().take(5).map(|finding| format!("\n    {finding:?}")).collect::<String>()
    };
    let shown: Vec<String> = differ
        .iter()
        .map(|path| format!("{path}: {:?}, Mix: {:?}{}", ours.get(path), theirs.get(path), inside(path)))
        .collect();
    assert!(differ.is_empty(), "{}", shown.join("\n"));
    // Had the two snapshots nothing in common, there would be nothing to differ in.
    assert!(ours.keys().filter(|path| path.ends_with(".beam")).count() > 300);
    assert_eq!(ours.get("releases/start_erl.data"), theirs.get("releases/start_erl.data"));
}
