//! What is asked for wrongly: said with its place and what to do, and nothing is lost.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::files::{assert_same, snapshot};
use support::project::{Project, set, steps_that};
use support::{RELGRAPH, TestSpace, is_root, said, unprivileged};

/// Asserts that what a build says contains all of these.
#[track_caller]
fn assert_told(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

/// Builds a good release, spoils the project, builds it in vain, and asserts what was said and that the release is as
/// it was; then mends the project and builds it again.
#[track_caller]
fn spoiled(project: &Project, file: &str, spoil: impl FnOnce(&Project), status: i32, parts: &[&str]) {
    let good = project.build();
    let release = snapshot(&good.release());
    let before = project.dir.join(file).exists().then(|| project.read(file));
    spoil(project);
    assert_told(&project.refused(status), parts);
    assert_same(&release, &snapshot(&good.release()), "the last good release");
    match before {
        Some(text) => project.write(file, &text),
        None => fs::remove_file(project.dir.join(file)).expect("removed"),
    }
    let mended = project.build();
    assert_eq!((mended.executed(), mended.digest()), (0, good.digest()), "{}", mended.json);
}

#[test]
fn release_yaml_with_mistakes() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    for (text, parts) in [
        (
            "release: sequence\npackages: [tar.gz]\n",
            &["release.yaml:2:1", "packages: [tar.gz]", "did you mean `package`?"][..],
        ),
        ("release: sequence\npackage: [tar.xz]\n", &["release.yaml:2:11", "tar.xz", "tar.gz"]),
        ("package: [tar.gz]\n", &["release.yaml", "`release`"]),
        ("release: [sequence\n", &["release.yaml:"]),
        ("release: sequence\nrelease: other\n", &["release.yaml:2:1", "release"]),
        ("", &["release.yaml", "release"]),
        ("release: sequence\nsteps:\n  one:\n    runs: true\n", &["release.yaml:4:5", "did you mean `run`?"]),
        (
            "release: sequence\napplications: {sequnce: permanent}\n",
            &["release.yaml:2:16", "`sequnce`", "did you mean `sequence`?"],
        ),
        (
            "release: sequence\napplications: {sequence: forever}\n",
            &["release.yaml:2:", "forever", "permanent"],
        ),
        ("release: sequence\nproject: ../nowhere\n", &["release.yaml:2:10", "nowhere"]),
        ("release: sequence\nruntime: ../nowhere\n", &["release.yaml:2:10", "nowhere"]),
        ("release: sequence\noverlays: [nowhere]\n", &["release.yaml:2:12", "nowhere"]),
    ] {
        spoiled(&project, "release.yaml", |p| p.write("release.yaml", text), 2, parts);
    }
    fs::remove_file(project.dir.join("release.yaml")).expect("removed");
    assert_told(&project.refused(2), &["release.yaml", "relgraph init"]);
    let said = project.ask(&["build", "--no-such-flag"]);
    assert_eq!(said.status, Some(2), "{}", said.err);
}

#[test]
fn needs_that_lead_nowhere_or_in_a_circle() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    let steps = |needs: [&str; 3]| {
        let step =
            |(name, need): (&str, &str)| format!("  {name}:\n    run: \"true\"\n    needs: [{need}]\n");
        let all: String = ["one", "two", "three"].into_iter().zip(needs).map(step).collect();
        format!("release: sequence\nsteps:\n{all}")
    };
    let circle = ["release.yaml:5:13", "one", "two", "three", "needs: [two]"];
    spoiled(
        &project,
        "release.yaml",
        |p| p.write("release.yaml", &steps(["two", "three", "one"])),
        2,
        &circle,
    );
    spoiled(
        &project,
        "release.yaml",
        |p| p.write("release.yaml", &steps(["one", "", ""])),
        2,
        &["release.yaml:5:13", "one"],
    );
    let unknown = ["release.yaml:5:13", "`one` needs `compile sequnce`", "did you mean `compile sequence`?"];
    let text = steps(["compile sequnce", "", ""]);
    spoiled(&project, "release.yaml", |p| p.write("release.yaml", &text), 2, &unknown);
}

#[test]
fn the_whole_circle_is_shown_closed() {
    let space = TestSpace::cold();
    let dir = space.path("own");
    let project = Project::new(dir, space.store());
    project.write(
        "release.yaml",
        "release: own\nversion: \"1\"\nsteps:\n  a: {run: \"true\", needs: [b]}\n  b: {run: \"true\", needs: [c]}\n  c: {run: \"true\", needs: [a]}\n",
    );
    let told = project.refused(2);
    let closed = [
        "a -> b -> c -> a",
        "a → b → c → a",
        "`a` needs `b` needs `c` needs `a`",
        "b -> c -> a -> b",
        "c -> a -> b -> c",
    ];
    assert!(closed.iter().any(|path| told.contains(path)), "{told}");
    assert!(!project.dir.join("_build/relgraph/prod").exists());
}

#[test]
fn code_that_does_not_compile_is_shown_as_elixir_shows_it() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    let broken =
        |p: &Project| p.append("lib/sequence/label.ex", "defmodule Broken do\n  def one(, do: 1\nend");
    let parts =
        ["step `compile sequence` failed", "SyntaxError", "lib/sequence/label.ex:15", "not started: "];
    spoiled(&project, "lib/sequence/label.ex", broken, 1, &parts);
    let unknown = |p: &Project| {
        p.append("lib/sequence/label.ex", "defmodule Broken do\n  def one, do: %Nowhere{}\nend")
    };
    spoiled(
        &project,
        "lib/sequence/label.ex",
        unknown,
        1,
        &["step `compile sequence` failed", "CompileError", "Nowhere"],
    );
    let config = |p: &Project| p.append("config/config.exs", "raise \"not today\"");
    spoiled(&project, "config/config.exs", config, 1, &["step `config` failed", "not today"]);
    let config = |p: &Project| p.append("config/config.exs", "config :sequence, (");
    spoiled(&project, "config/config.exs", config, 1, &["step `config` failed", "config/config.exs:5:1"]);
    let mix = |p: &Project| p.append("mix.exs", "raise \"not today\"");
    spoiled(&project, "mix.exs", mix, 1, &["step `describe` failed", "not today"]);
    let runtime = |p: &Project| p.append("config/runtime.exs", "config :sequence, (");
    let parts = ["step `boot` failed", "config/runtime.exs:", "missing terminator"];
    spoiled(&project, "config/runtime.exs", runtime, 1, &parts);
}

#[test]
fn what_two_steps_stumble_over_is_said_once() {
    let space = TestSpace::with_sequence();
    let project = space.sequence("checkout");
    let asked = |file: &str, text: &str| {
        let before = project.read(file);
        project.append(file, text);
        let told = project.refused(1);
        project.write(file, &before);
        told.matches("error: step `").count()
    };
    assert_eq!(asked("mix.exs", "raise \"not today\""), 1);
    assert_eq!(asked("config/config.exs", "raise \"not today\""), 1);
}

#[test]
fn erlang_code_that_does_not_compile_names_its_step() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    let broken = |p: &Project| p.append("vendor/receipt/src/receipt.erl", "broken( ->");
    spoiled(
        &project,
        "vendor/receipt/src/receipt.erl",
        broken,
        1,
        &["step `compile receipt` failed", "receipt.erl"],
    );
}

#[test]
fn every_step_that_can_runs_where_it_is_asked_to_keep_going() {
    let space = TestSpace::cold();
    let project = Project::new(space.path("own"), space.store());
    project.write(
        "release.yaml",
        "release: own\nversion: \"1\"\nsteps:\n  bad: {run: \"echo it broke >&2; exit 1\", outputs: [bad.txt]}\n  after: {run: \"true\", needs: [bad], outputs: [after.txt]}\n  good: {run: \"echo 1 > good.txt\", outputs: [good.txt]}\n",
    );
    let said = project.ask(&["build", "--keep-going"]);
    assert_eq!(said.status, Some(1));
    assert_told(&said.err, &["step `bad` failed", "it broke", "after", "assemble"]);
    assert_eq!(steps_that(&said.err, "ran"), set(&["good"]));
    let said = project.ask(&["build", "--keep-going", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(
        (said.status, &report["steps"]["failed"], &report["steps"]["skipped"]),
        (Some(1), &1.into(), &2.into()),
        "{report}"
    );
    assert!(report["release"].is_null() && !project.release("own").exists());
}

#[test]
fn tools_that_are_not_there() {
    let space = TestSpace::new();
    let good = space.sequence("good").build();
    for (missing, parts) in [
        ("erl", ["`erl` is not in PATH", "install"]),
        ("elixir", ["`elixir` is not in PATH", "install"]),
        ("mix", ["`mix` is not in PATH", "install"]),
    ] {
        let path = space.bare_path(&[missing]);
        let project = space.sequence("good").with("PATH", &path);
        assert_told(&project.refused(2), &parts);
    }
    assert_eq!(space.sequence("good").build().digest(), good.digest());
    // rebar3 is needed by what it builds, and by nothing else.
    let path = space.bare_path(&["rebar3"]);
    space.sequence("no-rebar3").with("PATH", &path).build();
    let cold = TestSpace::cold();
    let project = cold.cold_shop("shop").with("PATH", &path);
    assert_told(&project.refused(1), &["step `compile receipt` failed", "rebar3", "not in PATH", "install"]);
}

#[test]
fn a_dependency_that_is_not_there() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    let good = project.build();
    let release = snapshot(&good.release());
    let (audit, away) = (project.dir.join("vendor/audit"), project.dir.join("../away"));
    fs::rename(&audit, &away).expect("moved");
    let said = project.ask(&["build"]);
    assert_ne!(said.status, Some(0));
    assert_told(&said.err, &["audit", "vendor/audit"]);
    assert_same(&release, &snapshot(&good.release()), "the last good release");
    fs::rename(&away, &audit).expect("moved");
    assert_eq!(project.build().digest(), good.digest());
    project.edit("mix.exs", "{:audit, path: \"vendor/audit\"}", "{:audit, \"~> 2.0\"}");
    let said = project.ask(&["build"]);
    assert_ne!(said.status, Some(0));
    assert_told(&said.err, &["audit"]);
    assert_same(&release, &snapshot(&good.release()), "the last good release");
}

#[test]
fn folders_that_cannot_be_written() {
    let space = TestSpace::open_to_all();
    let relgraph = space.path("relgraph");
    fs::copy(RELGRAPH, &relgraph).expect("a copy");
    let mut project = space.example("sequence", "checkout").by(unprivileged());
    project.relgraph = relgraph;
    let theirs = |path: &std::path::Path| {
        fs::create_dir_all(path).expect("a folder");
        if is_root() {
            said(std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(path));
        }
    };
    let read_only = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode")
    };
    theirs(space.store());
    theirs(&project.dir);
    let good = project.build();
    let release = snapshot(&good.release());

    // The project: nothing new can be put beside the old release.
    let folder = project.dir.join("_build/relgraph/prod");
    project.edit("lib/sequence/label.ex", "number #{number}", "no. #{number}");
    read_only(&folder, 0o555);
    assert_told(&project.refused(1), &["_build/relgraph/prod", "ermission denied"]);
    assert_same(&release, &snapshot(&good.release()), "the last good release");
    read_only(&folder, 0o755);
    assert_ne!(project.build().digest(), good.digest());

    // A project that was never built, in a folder of somebody else.
    let mut other = project.clone();
    other.dir = space.path("other");
    support::files::copy(&project.dir, &other.dir);
    read_only(&other.dir, 0o555);
    if is_root() {
        said(std::process::Command::new("chown").args(["-R", "0:0"]).arg(&other.dir));
    }
    assert_told(&other.refused(1), &["_build", "ermission denied"]);
    read_only(&other.dir, 0o755);

    // The store.
    let store = space.path("not-mine");
    fs::create_dir_all(&store).expect("a folder");
    read_only(&store, 0o555);
    let stranger = Project { store: store.clone(), ..project.clone() };
    let said = stranger.ask(&["build"]);
    assert!(matches!(said.status, Some(1 | 2)), "{said:?}");
    assert_told(&said.err, &["not-mine", "ermission denied", "RELGRAPH_CACHE_DIR"]);
    let now = project.build();
    assert_eq!(now.executed(), 0);
}

#[test]
fn a_file_in_the_place_of_the_release() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    project.write("_build/relgraph/prod/sequence", "a file");
    let built = project.build();
    assert!(built.release().join("bin/sequence").is_file());
    project.build().assert_nothing_to_do();
}
