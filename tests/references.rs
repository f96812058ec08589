//! Releases by their names: commits of a repository, and what other tools have made.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::node::Node;
use support::project::Project;
use support::rebar3::Rebar3;
use support::small::{Files, in_git, mix_of, project};
use support::{TestSpace, said};

const MIX: &str = r#"defmodule Till.MixProject do
  use Mix.Project

  def project do
    [app: :till, version: "0.1.0", deps: [{:coins, path: "../coins"}], releases: releases()]
  end

  def application, do: [extra_applications: [:logger]]
  defp releases, do: [till: []]
end
"#;

const COINS: &str = "defmodule Coins.MixProject do
  use Mix.Project
  def project, do: [app: :coins, version: \"1.0.0\"]
end
";

const FILES: Files<'_> = &[
    ("mix.exs", MIX),
    ("lib/till.ex", "defmodule Till do\n  def sum, do: Coins.worth(1)\nend\n"),
    ("../coins/mix.exs", COINS),
    ("../coins/lib/coins.ex", "defmodule Coins do\n  def worth(n), do: n * 5\nend\n"),
    ("../.gitignore", "_build\n"),
];

/// A project in a folder of a repository, with what it depends on beside it: one commit, and a tag on it.
fn repository(space: &TestSpace) -> Project {
    let project = project(space, "shop/till", "till", FILES);
    let top = space.path("shop");
    in_git(&top, &["init", "-q", "-b", "main"]);
    commit(&project, "one");
    in_git(&top, &["tag", "v0.1.0"]);
    project
}

fn commit(project: &Project, message: &str) {
    in_git(&project.dir, &["add", "-A", ".."]);
    in_git(&project.dir, &["commit", "-q", "-m", message]);
}

fn git(project: &Project, args: &[&str]) -> String {
    said(Command::new("git").args(args).current_dir(&project.dir))
}

#[track_caller]
fn json(project: &Project, args: &[&str]) -> Value {
    let said = project.ask(&[args, &["--format", "json"]].concat());
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}", said.out))
}

#[track_caller]
fn wrong(project: &Project, args: &[&str], status: i32, parts: &[&str]) {
    let said = project.ask(args);
    assert_eq!((said.status, said.out.as_str()), (Some(status), ""), "{}", said.err);
    for part in parts {
        assert!(said.err.contains(part), "{part:?} is not in:\n{}", said.err);
    }
}

#[test]
fn a_commit_is_built_from_a_clean_checkout_and_nothing_of_the_users_is_touched() {
    let space = TestSpace::cold();
    let project = repository(&space);
    project.edit("../coins/lib/coins.ex", "n * 5", "n * 7");
    project.edit("mix.exs", "0.1.0", "0.2.0");
    commit(&project, "two");
    // What is not committed is in no commit.
    project.edit("lib/till.ex", "worth(1)", "worth(2)");
    project.write("lib/new.ex", "defmodule New do\nend\n");
    project.write("../staged", "x");
    in_git(&project.dir, &["add", "../staged"]);
    let state = || {
        let index = fs::read(space.path("shop/.git/index")).expect("an index");
        let files = fs::read_to_string(space.path("shop/till/lib/till.ex")).expect("a file");
        let status = git(&project, &["--no-optional-locks", "status", "--porcelain=v2", "--branch"]);
        (index, files, status, git(&project, &["for-each-ref"]), git(&project, &["worktree", "list"]))
    };
    let before = state();
    let diff = project.ask(&["diff", "git:v0.1.0", "git:HEAD"]);
    assert_eq!(diff.status, Some(0), "{}", diff.err);
    assert!(diff.out.contains("till 0.1.0 -> 0.2.0") && diff.out.contains("Coins"), "{}", diff.out);
    assert!(!diff.out.contains("New") && !diff.out.contains("~ Till\n"), "{}", diff.out);
    assert!(diff.err.contains("compile coins"), "progress: {}", diff.err);
    assert!(before == state());
    let left: Vec<PathBuf> = fs::read_dir(project.dir.join("_build/relgraph"))
        .expect("a folder")
        .flatten()
        .map(|e| e.path())
        .collect();
    assert_eq!(left, [project.dir.join("_build/relgraph/.revisions")], "no checkout is left");

    // The same commits are known, by whatever name.
    let again = project.ask(&["diff", "git:HEAD~1", "git:main"]);
    assert_eq!((again.status, again.err.as_str()), (Some(0), ""), "nothing was built");
    assert_eq!(again.out, diff.out);
    // A commit takes no other release's place.
    wrong(&project, &["show", "latest"], 2, &["no release of `till` has been built"]);
    let built = project.build();
    let shown = json(&project, &["show", "0.2.0"]);
    assert_eq!(shown["digest"], built.json["release"]["digest"]);
    let head = json(&project, &["show", "git:HEAD"]);
    assert_ne!(head["digest"], shown["digest"]);
    assert_eq!((head["version"].as_str(), head["environment"].as_str()), (Some("0.2.0"), Some("prod")));
    assert_eq!(json(&project, &["show", "0.2.0"])["digest"], shown["digest"]);
    let mixed = project.ask(&["diff", "git:v0.1.0", "0.2.0"]);
    assert!(mixed.out.contains("Till") && mixed.out.contains("New"), "{}{}", mixed.out, mixed.err);

    // From the root of the repository, by the path.
    let mut root = project.clone();
    root.dir = space.path("shop");
    assert_eq!(json(&root, &["show", "git:main:till"])["digest"], head["digest"]);
    assert_eq!(json(&root, &["show", "git:main:till/release.yaml"])["digest"], head["digest"]);
    wrong(&root, &["show", "git:main"], 2, &["there is no release.yaml in the commit"]);
    wrong(&project, &["show", "git:v0.1"], 2, &["git knows no commit `v0.1`", "did you mean `git:v0.1.0`?"]);
    wrong(&project, &["show", "git:main:./../../x"], 2, &["leads out of the repository"]);
    wrong(&project, &["show", "git:"], 2, &["names no revision"]);
    wrong(&project, &["show", "git:--all"], 2, &["names no revision"]);
    let mut outside = project.clone();
    outside.dir = PathBuf::from("/");
    wrong(&outside, &["show", "git:HEAD"], 2, &["is in no checkout of a git repository"]);
}

#[test]
fn a_commit_that_does_not_build_says_so_and_what_asks_git_is_told_of_the_commit() {
    let space = TestSpace::new();
    let project = repository(&space);
    let version = "version: elem(System.cmd(\"git\", [\"describe\", \"--tags\"]), 0) |> String.trim() |> String.trim_leading(\"v\")";
    project.edit("mix.exs", "version: \"0.1.0\"", version);
    commit(&project, "asks git");
    in_git(&project.dir, &["tag", "v0.3.0"]);
    project.edit("lib/till.ex", "Coins.worth(1)", "Coins.worth(");
    commit(&project, "broken");
    assert_eq!(json(&project, &["show", "git:v0.3.0"])["version"], "0.3.0");
    wrong(&project, &["show", "git:HEAD"], 1, &["till.ex"]);
    assert!(!project.dir.join("_build/relgraph/till").exists());
}

#[test]
fn submodules_come_from_the_checkout_and_are_named_where_they_are_not_there() {
    let space = TestSpace::new();
    let project = repository(&space);
    let module = space.path("module");
    fs::create_dir_all(module.join("lib")).expect("a folder");
    fs::write(module.join("lib/extra.ex"), "defmodule Extra do\nend\n").expect("written");
    in_git(&module, &["init", "-q", "-b", "main"]);
    in_git(&module, &["add", "-A"]);
    in_git(&module, &["commit", "-q", "-m", "one"]);
    let from = module.display().to_string();
    in_git(
        &project.dir,
        &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &from, "lib/sub"],
    );
    commit(&project, "with a submodule");
    let shown = project.ask(&["diff", "git:v0.1.0", "git:HEAD"]);
    assert!(shown.out.contains("Extra"), "{}{}", shown.out, shown.err);
    in_git(&project.dir, &["commit", "-q", "--allow-empty", "-m", "another"]);
    in_git(&project.dir, &["submodule", "--quiet", "deinit", "-f", "lib/sub"]);
    wrong(
        &project,
        &["show", "git:HEAD"],
        1,
        &["the submodule till/lib/sub is not here", "git submodule update"],
    );
}

/// The applications of a release.
fn versions(shown: &Value) -> Vec<String> {
    let all = shown["applications"].as_array().expect("applications").iter();
    all.map(|app| format!("{} {}", app["name"].as_str().unwrap(), app["version"].as_str().unwrap())).collect()
}

const PLAIN: &str = r#"defmodule Till.MixProject do
  use Mix.Project

  def project do
    [app: :till, version: "0.1.0", releases: [till: [steps: [:assemble, :tar]]]]
  end

  def application, do: [extra_applications: [:logger]]
end
"#;

#[test]
fn releases_of_mix_are_compared_and_patched_as_folders_and_as_packages() {
    let space = TestSpace::new();
    let files: Files<'_> = &[("mix.exs", PLAIN), ("lib/till.ex", "defmodule Till do\n  def n, do: 1\nend\n")];
    let project = project(&space, "till", "till", files);
    let made = |version: &str| {
        let mix = mix_of(&space, &project, "project");
        mix.release("till");
        let kept = space.path(version);
        fs::create_dir_all(&kept).expect("a folder");
        let build = mix.work.join("project/_build/prod");
        fs::rename(build.join("rel/till"), kept.join("till")).expect("the release");
        let package = kept.join("till.tar.gz");
        fs::rename(build.join(format!("till-{version}.tar.gz")), &package).expect("the package");
        (kept.join("till").display().to_string(), package.display().to_string())
    };
    let (old, old_package) = made("0.1.0");
    project.edit("mix.exs", "0.1.0", "0.2.0");
    project.edit("lib/till.ex", "n, do: 1", "more, do: 2");
    let (new, new_package) = made("0.2.0");
    for one in [&old, &old_package] {
        let shown = json(&project, &["show", one]);
        assert_eq!((shown["name"].as_str(), shown["version"].as_str()), (Some("till"), Some("0.1.0")));
        assert!(versions(&shown).contains(&"till 0.1.0".to_owned()), "{shown}");
    }
    for (one, other) in [(&old, &new), (&old_package, &new_package), (&old, &new_package)] {
        let diff = project.ask(&["diff", one, other]);
        assert!(diff.out.contains("till 0.1.0 -> 0.2.0") && diff.out.contains("+more/0"), "{}", diff.out);
    }
    let patch = space.path("a.patch").display().to_string();
    let wrote = project.ask(&["diff", &old_package, &new, "--patch", &patch]);
    assert_eq!((wrote.status, wrote.err.as_str()), (Some(0), ""), "{}", wrote.out);
    let cookie = fs::read(Path::new(&new).join("releases/COOKIE")).expect("a cookie");
    let held = fs::read(&patch).expect("a patch");
    assert!(!held.windows(cookie.len()).any(|bytes| bytes == cookie), "the patch holds the cookie");
    let applied = project.ask(&["apply", &patch, "--to", &old]);
    assert_eq!(applied.status, Some(0), "{}", applied.err);
    let node =
        |version: &'static str| Node::new(&space, Path::new(&old), "till").with("RELEASE_VSN", version);
    let vsn = "IO.puts(Application.load(:till) && Application.spec(:till, :vsn))";
    assert_eq!(node("0.1.0").says(&["eval", vsn]), "0.1.0");
    assert_eq!(node("0.2.0").says(&["eval", vsn]), "0.2.0");
}

#[test]
fn releases_of_rebar3_are_compared_as_folders_and_as_archives() {
    let space = TestSpace::new();
    let project = space.example("erlang", "erlang");
    let theirs = Rebar3::of(&project, space.path("theirs")).release("prod", "tally");
    project.edit("rebar.config", "{tally, \"0.1.0\"}", "{tally, \"0.2.0\"}");
    let newer = Rebar3::of(&project, space.path("newer")).release("prod", "tally");
    // `rebar3 tar` packs what is in the folder, without one around it.
    let archive = space.path("tally.tar.gz").display().to_string();
    said(Command::new("tar").args(["-czf", &archive, "."]).current_dir(&newer));
    let (old, new) = (theirs.display().to_string(), newer.display().to_string());
    assert!(versions(&json(&project, &["show", &old])).iter().any(|app| app.starts_with("tally_web ")));
    for other in [&new, &archive] {
        let diff = json(&project, &["diff", &old, other]);
        assert_eq!((&diff["old"]["version"], &diff["new"]["version"]), (&"0.1.0".into(), &"0.2.0".into()));
    }
}

/// A release as Distillery lays it out: several versions in one folder, the newest of which is started.
fn distillery(folder: &Path, versions: &[&str]) {
    let write = |path: String, text: String| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    for version in versions {
        let app = format!(
            "{{application,till,[{{vsn,\"{version}\"}},{{modules,[]}},{{applications,[kernel]}}]}}.\n"
        );
        write(format!("lib/till-{version}/ebin/till.app"), app);
        write(format!("releases/{version}/till.sh"), "#!/bin/sh\n".into());
        let rel =
            format!("{{release,{{\"till\",\"{version}\"}},{{erts,\"13.1\"}},[{{till,\"{version}\"}}]}}.\n");
        write(format!("releases/{version}/till.rel"), rel);
        write(format!("releases/{version}/sys.config"), format!("[{{till,[{{at,\"{version}\"}}]}}].\n"));
    }
    write("erts-13.1/bin/erl".into(), "#!/bin/sh\n".into());
    write("bin/till".into(), "#!/bin/sh\n".into());
    write("releases/start_erl.data".into(), format!("13.1 {}", versions.last().expect("a version")));
    write("releases/RELEASES".into(), "[].\n".into());
}

#[test]
fn releases_of_distillery_with_older_versions_in_them_are_compared_and_patched() {
    let space = TestSpace::new();
    let project = project(&space, "here", "till", &[]);
    let (old, new) = (space.path("old"), space.path("new"));
    distillery(&old, &["0.1.0", "0.2.0"]);
    distillery(&new, &["0.3.0"]);
    let (one, other) = (old.display().to_string(), new.display().to_string());
    let diff = json(&project, &["diff", &one, &other]);
    assert_eq!((&diff["old"]["version"], &diff["new"]["version"]), (&"0.2.0".into(), &"0.3.0".into()));
    let patch = space.path("a.patch").display().to_string();
    assert_eq!(project.ask(&["diff", &one, &other, "--patch", &patch]).status, Some(0));
    assert_eq!(project.ask(&["apply", &patch, "--to", &one, "--activate"]).status, Some(0));
    assert_eq!(json(&project, &["show", &one])["version"], "0.3.0");
    let versions = fs::read_dir(old.join("lib")).expect("a folder").count();
    assert_eq!(versions, 3, "the older ones are there");
}
