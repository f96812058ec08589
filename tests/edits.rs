//! What an edit runs, and what it does not.

mod support;

use std::collections::BTreeSet;
use std::fs;

use support::TestSpace;
use support::project::{Project, set};

/// Builds again and asserts which steps ran; what the store holds afterwards is what a build of it all would make.
#[track_caller]
fn assert_ran(project: &Project, steps: &[&str]) {
    assert_eq!(project.ran(), set(steps));
    project.build().assert_nothing_to_do();
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
fn a_body_edit_of_what_is_called_at_run_time_only_compiles_no_dependents() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    let before = project.build();
    project.edit("vendor/audit/lib/audit.ex", "[event | events]", "[event | Enum.take(events, 99)]");
    assert_ran(&project, &["compile audit", "strip audit", "assemble", "preflight"]);
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
    assert!(
        ran.contains("compile fields") && ran.contains("compile shop") && ran.contains("assemble"),
        "{ran:?}"
    );
    for other in
        ["compile money", "compile pricing", "compile audit", "compile receipt", "compile shop_shared"]
    {
        assert!(!ran.contains(other), "{other} ran");
    }
}

#[test]
fn a_body_edit_of_a_function_that_ran_while_compiling_compiles_its_caller() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    let before = project.build();
    // `Shop.Catalog` parses prices while it is compiled; pricing uses no more of Money than its struct.
    project.edit(
        "vendor/money/lib/money.ex",
        "new(String.to_integer(whole) * 100",
        "new(String.to_integer(whole) * 1000",
    );
    let ran = project.ran();
    assert!(ran.contains("compile money") && ran.contains("compile shop"), "{ran:?}");
    assert!(!ran.contains("compile audit") && !ran.contains("compile receipt"), "{ran:?}");
    assert_ne!(project.build().digest(), before.digest());
    let expected = space.cold_shop("cold");
    expected.edit(
        "vendor/money/lib/money.ex",
        "new(String.to_integer(whole) * 100",
        "new(String.to_integer(whole) * 1000",
    );
    let expected = Project { store: space.path("cold-store"), ..expected };
    assert_eq!(expected.build().digest(), project.build().digest(), "the same as without a cache");
}

#[test]
fn files_read_while_compiling_are_inputs_and_others_are_not() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    project.build();
    for unrelated in
        ["test/shop_test.exs", "vendor/money/README.md", "CHANGELOG.md", "vendor/audit/test/new_test.exs"]
    {
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
fn configuration_runs_again_for_the_variables_it_asks_for() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    project.append(
        "config/config.exs",
        "config :sequence, motto: String.to_atom(System.get_env(\"E2E_MOTTO\", \"none\"))",
    );
    let unset = project.build();
    let set_to = |value: &str| project.clone().with("E2E_MOTTO", value);
    let config = |project: &Project| {
        fs::read_to_string(project.release("sequence").join("releases/0.1.0/sys.config")).expect("sys.config")
    };
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
    assert_ran(&project, &["overlay ops/overlay", "assemble", "preflight"]);
    assert!(
        fs::read_to_string(project.release("shop").join("share/notice.txt"))
            .expect("the notice")
            .ends_with("more\n")
    );
}
