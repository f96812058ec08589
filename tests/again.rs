//! Building again, here and elsewhere, where nothing changed: nothing runs.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::files::{all_files, assert_same, snapshot};
use support::{RELGRAPH, TestSpace, is_root, said, unprivileged};

#[test]
fn a_second_build_does_nothing() {
    let space = TestSpace::new();
    for project in [space.sequence("sequence"), space.shop("shop"), space.example("custom-steps", "custom")] {
        let first = project.build();
        let release = snapshot(&first.release());
        let second = project.build();
        second.assert_nothing_to_do();
        assert_eq!(second.executed(), 0);
        assert_eq!(first.digest(), second.digest());
        assert_same(&release, &snapshot(&second.release()), "the release is as it was");
        assert_eq!(project.ran(), BTreeSet::new());
        let lost = fs::remove_dir_all(project.dir.join("_build"));
        assert!(lost.is_ok());
        let third = project.build();
        assert_eq!((third.executed(), third.digest()), (0, first.digest()), "the store knows everything");
    }
}

#[test]
fn touching_every_file_runs_nothing() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    project.build();
    for file in all_files(&space.path("checkout")) {
        if !file.components().any(|part| part.as_os_str() == "_build") {
            said(Command::new("touch").arg(&file));
        }
    }
    let built = project.build();
    built.assert_nothing_to_do();
    assert_eq!(built.executed(), 0);
}

#[test]
fn another_checkout_user_umask_time_zone_and_locale_make_the_same_package() {
    let space = TestSpace::open_to_all();
    let project = space.example("sequence", "here/sequence");
    let first = project.build();
    let bytes = fs::read(first.package()).expect("the package");
    let release = snapshot(&first.release());

    // Another person, with the store as it was handed on, and the command where they may run it.
    let store = space.path("theirs/store");
    fs::create_dir_all(space.path("theirs")).expect("a folder");
    said(Command::new("cp").arg("-a").arg(space.store()).arg(&store));
    let relgraph = space.path("theirs/relgraph");
    fs::copy(RELGRAPH, &relgraph).expect("a copy");
    let mut other = space.example("sequence", "theirs/some/where else/numbers");
    if is_root() {
        said(Command::new("chown").args(["-R", "65534:65534"]).arg(space.path("theirs")));
    }
    other.store = store;
    other.relgraph = relgraph;
    let home = space.path("theirs").display().to_string();
    let other = other
        .by(unprivileged())
        .by(["sh", "-c", "umask 077; exec \"$@\"", "sh"])
        .with("TZ", "Pacific/Kiritimati")
        .with("LANG", "de_DE.ISO-8859-1")
        .with("LC_ALL", "C")
        .with("USER", "somebody")
        .with("HOME", &home);
    let second = other.build();
    assert_eq!(second.executed(), 0, "{}", second.json);
    assert_eq!(second.count("hit_local"), second.count("total"), "{}", second.json);
    assert_eq!(first.digest(), second.digest());
    assert!(bytes == fs::read(second.package()).expect("the package"), "the packages differ");
    assert_same(&release, &snapshot(&second.release()), "the release does not depend on the umask");
    other.build().assert_nothing_to_do();

    // And from nothing.
    let mut cold = other.clone();
    cold.store = space.path("theirs/cold");
    let third = cold.build();
    assert_eq!(third.executed(), third.count("total"));
    assert_eq!(first.digest(), third.digest());
    assert!(bytes == fs::read(third.package()).expect("the package"), "the packages differ");
}

#[test]
fn going_back_to_what_was_built_before_runs_nothing() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    let first = project.build();
    project.edit("lib/sequence/label.ex", "number #{number}", "no. #{number}");
    let other = project.build();
    assert_ne!(first.digest(), other.digest());
    project.edit("lib/sequence/label.ex", "no. #{number}", "number #{number}");
    let back = project.build();
    assert_eq!((back.executed(), back.digest()), (0, first.digest()));
    project.build().assert_nothing_to_do();
}

#[test]
fn new_files_are_seen_and_removed_ones_are_gone() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    let before = project.build();
    let tree = snapshot(&before.release());
    project.write("lib/sequence/extra/more.ex", "defmodule Sequence.Extra.More do\n  def more, do: 1\nend\n");
    let ran = project.ran();
    assert!(ran.contains("compile sequence") && ran.contains("assemble"), "{ran:?}");
    let beam = "lib/sequence-0.1.0/ebin/Elixir.Sequence.Extra.More.beam";
    assert!(project.release("sequence").join(beam).is_file());
    fs::remove_dir_all(project.dir.join("lib/sequence/extra")).expect("removed");
    let after = project.build();
    assert_eq!((after.digest(), after.executed()), (before.digest(), 0));
    assert_same(&tree, &snapshot(&after.release()), "the release is as it was before");
}

#[test]
fn a_release_that_was_changed_or_lost_is_put_back() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    let built = project.build();
    let (release, tree) = (built.release(), snapshot(&built.release()));
    let assert_restored = |what: &str| {
        let again = project.build();
        assert_eq!((again.executed(), again.digest()), (0, built.digest()), "{what}");
        assert_same(&tree, &snapshot(&release), what);
    };
    let beam = release.join("lib/sequence-0.1.0/ebin/Elixir.Sequence.beam");
    fs::write(&beam, "garbage").expect("written");
    assert_restored("a file with other bytes");
    fs::remove_file(&beam).expect("removed");
    assert_restored("a file that was removed");
    fs::write(release.join("lib/sequence-0.1.0/ebin/Elixir.Stale.beam"), "stale").expect("written");
    assert_restored("a file too many");
    fs::set_permissions(release.join("bin/sequence"), fs::Permissions::from_mode(0o600)).expect("a mode");
    assert_restored("a mode");
    fs::remove_dir_all(&release).expect("removed");
    assert_restored("no release at all");
    fs::write(built.package(), "garbage").expect("written");
    assert_restored("a package with other bytes");
    assert_eq!(
        fs::metadata(built.package()).expect("the package").len(),
        built.json["packages"][0]["bytes"].as_u64().expect("a size")
    );
}

#[test]
fn one_step_runs_again_where_it_is_forced_to() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    let before = project.build();
    let forced = project.build_with(&["--force", "compile sequence"]);
    assert_eq!((forced.executed(), forced.digest()), (1, before.digest()), "{}", forced.json);
    project.build().assert_nothing_to_do();
}
