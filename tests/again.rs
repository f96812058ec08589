//! Building again: what runs, and what does not.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::files::{all_files, assert_same, snapshot};
use support::project::{Project, set};
use support::{RELGRAPH, TestSpace, is_root, said, unprivileged};

/// Builds again and asserts which steps ran; what the store holds afterwards is what a build of it all would make.
#[track_caller]
fn assert_ran(project: &Project, steps: &[&str]) {
    assert_eq!(project.ran(), set(steps));
    project.build().assert_nothing_to_do();
}

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
fn a_comment_at_the_end_compiles_its_application_only() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    let before = project.build();
    project.append("vendor/money/lib/money.ex", "# a comment at the end");
    let built = project.build();
    assert_eq!(built.executed(), 1, "{}", built.json);
    assert_eq!(built.digest(), before.digest());
    project.append("lib/shop/till.ex", "# a comment at the end");
    assert_ran(&project, &["compile shop"]);
    // Erlang's debug information knows the last line of a file; the release does not.
    project.append("vendor/receipt/src/receipt.erl", "%% a comment at the end");
    assert_ran(&project, &["compile receipt", "strip receipt"]);
    assert_eq!(project.build().digest(), before.digest());
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
fn a_body_edit_of_what_is_called_at_run_time_only_compiles_no_dependents() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    let before = project.build();
    project.edit("vendor/audit/lib/audit.ex", "[event | events]", "[event | Enum.take(events, 99)]");
    assert_ran(&project, &["compile audit", "strip audit", "assemble"]);
    assert_ne!(project.build().digest(), before.digest());
    // Its interface is what dependents see.
    project.append("vendor/audit/lib/audit.ex", "defmodule Audit.More do\n  def more, do: :more\nend");
    let ran = project.ran();
    assert!(ran.contains("compile audit"), "{ran:?}");
    assert!(!ran.contains("compile pricing") && !ran.contains("compile money"), "{ran:?}");
}

#[test]
fn a_body_edit_of_a_macro_compiles_those_that_use_it() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    project.build();
    // `Shop.Article` is made by the macros of Fields; nobody else uses them.
    project.edit("vendor/fields/lib/fields.ex", "{name, type}", "{name, {:type, type}}");
    let ran = project.ran();
    assert!(ran.contains("compile fields") && ran.contains("compile shop") && ran.contains("assemble"), "{ran:?}");
    for other in ["compile money", "compile pricing", "compile audit", "compile receipt", "compile shop_shared"] {
        assert!(!ran.contains(other), "{other} ran");
    }
}

#[test]
fn a_body_edit_of_a_function_that_ran_while_compiling_compiles_its_caller() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    let before = project.build();
    // `Shop.Catalog` parses prices while it is compiled; pricing uses no more of Money than its struct.
    project.edit("vendor/money/lib/money.ex", "new(String.to_integer(whole) * 100", "new(String.to_integer(whole) * 1000");
    let ran = project.ran();
    assert!(ran.contains("compile money") && ran.contains("compile shop"), "{ran:?}");
    assert!(!ran.contains("compile audit") && !ran.contains("compile receipt"), "{ran:?}");
    assert_ne!(project.build().digest(), before.digest());
    let expected = space.cold_shop("cold");
    expected.edit("vendor/money/lib/money.ex", "new(String.to_integer(whole) * 100", "new(String.to_integer(whole) * 1000");
    let expected = Project { store: space.path("cold-store"), ..expected };
    assert_eq!(expected.build().digest(), project.build().digest(), "the same as without a cache");
}

#[test]
fn files_read_while_compiling_are_inputs_and_others_are_not() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    project.build();
    for unrelated in ["test/shop_test.exs", "vendor/money/README.md", "CHANGELOG.md", "vendor/audit/test/new_test.exs"] {
        project.write(unrelated, "nobody reads this\n");
        assert_eq!(project.ran(), BTreeSet::new(), "{unrelated}");
    }
    for (read, compiled) in [
        ("README.md", "compile shop"),
        ("vendor/receipt/include/receipt.hrl", "compile receipt"),
        ("priv/data/v1/catalog.txt", "compile shop"),
    ] {
        let line = if read.ends_with(".hrl") { "%% more" } else { "pear;9.99;fruit" };
        project.append(read, line);
        let ran = project.ran();
        assert!(ran.contains(compiled), "{read}: {ran:?}");
    }
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
fn configuration_runs_again_for_the_variables_it_asks_for() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    project.append("config/config.exs", "config :sequence, motto: String.to_atom(System.get_env(\"E2E_MOTTO\", \"none\"))");
    let unset = project.build();
    let set_to = |value: &str| project.clone().with("E2E_MOTTO", value);
    let config = |project: &Project| fs::read_to_string(project.release("sequence").join("releases/0.1.0/sys.config")).expect("sys.config");
    let ran = set_to("one").ran();
    assert!(ran.contains("config") && !ran.contains("include runtime"), "{ran:?}");
    assert!(config(&project).contains("one"), "{}", config(&project));
    let ran = set_to("two").ran();
    assert!(ran.contains("config"), "{ran:?}");
    assert!(config(&project).contains("two"));
    let back = project.build();
    assert_eq!((back.digest(), back.executed()), (unset.digest(), 0));
    let other = project.clone().with("E2E_NOBODY_ASKS", "anything");
    assert_eq!(other.ran(), BTreeSet::new());
}

#[test]
fn configuration_of_one_application_compiles_no_others() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    project.build();
    // Read at run time only.
    project.append("config/config.exs", "config :audit, level: :low");
    let ran = project.ran();
    assert!(ran.contains("config"), "{ran:?}");
    for other in ["money", "fields", "pricing", "receipt", "shop_shared"] {
        assert!(!ran.contains(&format!("compile {other}")), "{other} was compiled again: {ran:?}");
    }
    // Chooses the macro that `Pricing.Rounding` defines, which is used in pricing itself.
    project.append("config/prod.exs", "config :pricing, rounding: :half_up");
    let ran = project.ran();
    assert!(ran.contains("compile pricing"), "{ran:?}");
    for other in ["money", "fields", "audit", "receipt", "shop_shared"] {
        assert!(!ran.contains(&format!("compile {other}")), "{other} was compiled again: {ran:?}");
    }
}

#[test]
fn runtime_configuration_and_overlays_compile_nothing() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    project.build();
    project.append("config/runtime.exs", "config :shop, more: true");
    let ran = project.ran();
    assert!(!ran.is_empty() && !ran.iter().any(|step| step.starts_with("compile")), "{ran:?}");
    project.append("ops/overlay/share/notice.txt", "more");
    assert_ran(&project, &["overlay ops/overlay", "assemble"]);
    assert!(fs::read_to_string(project.release("shop").join("share/notice.txt")).expect("the notice").ends_with("more\n"));
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
    assert_eq!(fs::metadata(built.package()).expect("the package").len(), built.json["packages"][0]["bytes"].as_u64().expect("a size"));
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
