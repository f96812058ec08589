//! `log` and `show` as the audit trail: who built what when from which commit, what differed, what was rehearsed.

mod support;

use std::process::Command;

use relgraph_cache::Store;
use relgraph_rules::record::{Rehearsal, rehearsed};
use serde_json::Value;
use support::project::Project;
use support::small::in_git;
use support::{TestSpace, said};

fn json(project: &Project, args: &[&str]) -> Value {
    let said = project.ask(&[args, &["--format", "json"]].concat());
    assert_eq!(said.status, Some(0), "{}", said.err);
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.out))
}

/// What the newest builds made, newest first.
fn made(project: &Project) -> Vec<Value> {
    let log = json(project, &["log"]);
    assert_eq!(log["schema"], "relgraph.log/1");
    log["runs"].as_array().expect("runs").iter().map(|run| run["made"].clone()).collect()
}

fn head(project: &Project) -> String {
    said(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(&project.dir))
}

/// A checkout of examples/sequence, committed once.
fn checkout(space: &TestSpace) -> Project {
    let project = space.example("sequence", "sequence").with("GIT_CONFIG_GLOBAL", "/dev/null");
    project.write(".gitignore", "_build/\n");
    for args in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-qm", "one"]] {
        in_git(&project.dir, args);
    }
    project
}

#[test]
fn a_version_that_is_built_from_several_commits_is_told_for_each_of_them() {
    let space = TestSpace::with_sequence();
    let project = checkout(&space);
    in_git(&project.dir, &["config", "user.name", "Ada Lovelace"]);
    in_git(&project.dir, &["config", "user.email", "ada@example.com"]);
    let first = head(&project);
    let one = project.build();
    project.edit("lib/sequence.ex", "defmodule Sequence do", "defmodule Sequence do\n  def zero, do: 0");
    let edited = project.build();
    in_git(&project.dir, &["commit", "-qam", "two"]);
    in_git(&project.dir, &["tag", "v1"]);
    project.append("lib/sequence/stash.ex", "# The end.");
    in_git(&project.dir, &["commit", "-qam", "three"]);
    let third = head(&project);
    project.build();

    let made = made(&project);
    let told = |at: usize, path: &str| made[at].pointer(path).cloned().unwrap_or(Value::Null);
    // The store has seen another build of it before, in no repository.
    assert_eq!((made.len(), told(3, "/commit"), told(3, "/by")), (4, Value::Null, Value::Null));
    assert_eq!(told(2, "/commit/id"), first.as_str());
    assert_eq!((told(2, "/commit/dirty"), told(2, "/commit/branch")), (false.into(), "main".into()));
    assert_eq!(told(2, "/digest"), one.digest());
    assert_eq!((told(2, "/rebuilt/same"), told(2, "/since")), (true.into(), Value::Null));
    assert_eq!((told(1, "/commit/id"), told(1, "/commit/dirty")), (first.as_str().into(), true.into()));
    assert_eq!(told(1, "/digest"), edited.digest());
    assert_eq!((told(1, "/rebuilt/modules"), told(1, "/rebuilt/digest")), (1.into(), one.digest().into()));
    assert_eq!((told(0, "/commit/id"), told(0, "/commit/dirty")), (third.as_str().into(), false.into()));
    assert_eq!(
        (told(0, "/by/name"), told(0, "/by/email")),
        ("Ada Lovelace".into(), "ada@example.com".into())
    );
    assert!(
        told(0, "/otp").is_string() && told(0, "/elixir").is_string() && told(0, "/relgraph").is_string()
    );

    let text = project.ask(&["log"]).out;
    for part in [
        format!("{} (main), by Ada Lovelace <ada@example.com>, with OTP ", &third[..12]),
        format!("{} (main), edited, by Ada", &first[..12]),
        "since the build of 0.1.0 before: 1 module (".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in:\n{text}");
    }
    let shown = project.ask(&["show"]).out;
    assert!(shown.contains("by       Ada Lovelace <ada@example.com>\n"), "{shown}");

    // What runs is what counts: nothing of it is in the release.
    assert!(!project.read("_build/relgraph/prod/sequence/releases/0.1.0/relgraph.json").contains("Ada"));
}

#[test]
fn the_version_before_and_the_rehearsal_are_told() {
    let space = TestSpace::with_sequence();
    let old = space.example("sequence", "one");
    let new = space.example("sequence-0.2.0", "two").with("RELGRAPH_BUILDER", "release team");
    let from = old.build();
    let to = new.build();
    let made_of_new = &made(&new)[0];
    assert_eq!(made_of_new["by"]["name"], "release team");
    assert_eq!(made_of_new["since"]["version"], "0.1.0");
    assert_eq!(made_of_new["since"]["digest"], from.digest());
    assert_eq!(made_of_new["since"]["class"], "hot");
    for what in ["modules", "config"] {
        assert!(made_of_new["since"][what].as_u64() > Some(0), "{what}: {made_of_new}");
    }
    assert_eq!(made_of_new["rehearsals"], Value::Array(Vec::new()));

    let store = Store::open(space.store()).expect("a store");
    let digest = |text: &str| text.parse().expect("a digest");
    let mut rehearsal = Rehearsal {
        from: "0.1.0".into(),
        to: "0.2.0".into(),
        from_tree: digest(from.digest()),
        to_tree: digest(to.digest()),
        at: 1_700_000_000_000,
        passed: false,
        downgraded: false,
        problem: Some("the process Sequence.Server ended".into()),
    };
    assert!(rehearsed(&store, "sequence", "prod", &rehearsal).expect("it is written"));
    assert!(
        new.ask(&["log"])
            .out
            .contains("upgrade from 0.1.0 failed its rehearsal: the process Sequence.Server")
    );
    rehearsal =
        Rehearsal { at: 1_700_000_001_000, passed: true, downgraded: true, problem: None, ..rehearsal };
    assert!(rehearsed(&store, "sequence", "prod", &rehearsal).expect("it is written"));
    drop(store);
    let text = new.ask(&["log"]).out;
    assert!(text.contains("upgrade from 0.1.0 rehearsed, and back\n") && !text.contains("failed"), "{text}");
    let shown = json(&new, &["show"]);
    assert_eq!(shown["rehearsals"][0]["passed"], true);
    assert_eq!(shown["rehearsals"][0]["at"], "2023-11-14T22:13:21Z");
    // Of another tree of the same version, it says nothing.
    new.edit("lib/sequence.ex", "defmodule Sequence do", "defmodule Sequence do\n  def zero, do: 0");
    new.build();
    assert_eq!(made(&new)[0]["rehearsals"], Value::Array(Vec::new()));
    assert_eq!(made(&new)[1]["rehearsals"][0]["from"], "0.1.0");
    assert!(!new.ask(&["show"]).out.contains("rehearsed"));
}

#[test]
fn a_job_of_a_ci_service_is_told_without_its_secrets() {
    let space = TestSpace::with_sequence();
    let project = space
        .example("sequence", "sequence")
        .with("GITLAB_CI", "true")
        .with("GITLAB_USER_LOGIN", "ada")
        .with(
            "CI_JOB_URL",
            "https://gitlab-ci-token:hush-hush@forge.example/a/-/jobs/7?private_token=hush-hush",
        )
        .with("CI_JOB_TOKEN", "hush-hush");
    project.build();
    let by = &made(&project)[0]["by"];
    assert_eq!((&by["name"], &by["service"]), (&"ada".into(), &"gitlab".into()));
    assert_eq!(by["job"], "https://forge.example/a/-/jobs/7");
    for folder in ["ac/release", "rows"] {
        for file in support::files::all_files(&space.store().join(folder)) {
            let bytes = std::fs::read(&file).expect("a file");
            assert!(!bytes.windows(9).any(|part| part == b"hush-hush"), "{}", file.display());
        }
    }
}
