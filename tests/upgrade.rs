//! What `relgraph upgrade` makes of two releases, and what it refuses. That it works in a running node: `upgrade_live.rs`.

mod support;

use std::fs;
use std::process::Command;

use support::pair::{Pair, application, instructions, mix};
use support::{TestSpace, said};

const COUNTER: &str = "defmodule Shop.Counter do
  use GenServer
  def start_link(first), do: GenServer.start_link(__MODULE__, first, name: __MODULE__)
  def next, do: GenServer.call(__MODULE__, :next)
  def init(first), do: {:ok, first}
  def handle_call(:next, _from, n), do: {:reply, n, n + 1}
end
";

const SHOP: &str = "defmodule Shop do
  def hello, do: Shop.Words.hello()
end
";

const WORDS: &str = "defmodule Shop.Words do
  def hello, do: :hello
end
";

/// A shop with a counter, a function, and what else is given.
fn shop(space: &TestSpace, more: &[(&str, &str)], change: impl FnOnce(&support::project::Project)) -> Pair {
    let callback = application("shop", "{Shop.Counter, 1}");
    let mut files = vec![
        ("lib/shop.ex", SHOP),
        ("lib/shop/words.ex", WORDS),
        ("lib/shop/counter.ex", COUNTER),
        ("lib/shop/application.ex", &callback),
    ];
    files.extend_from_slice(more);
    Pair::new(space, "shop", &files, change)
}

#[test]
fn the_example_is_upgraded_hot() {
    let space = TestSpace::new();
    space.sequence("sequence").build();
    let project = space.example("sequence-0.2.0", "next");
    project.build();
    let asked = project.ask(&["upgrade", "0.1.0", "0.2.0", "--format", "json"]);
    assert_eq!(asked.status, Some(0), "{}{}", asked.out, asked.err);
    let upgrade: serde_json::Value = serde_json::from_str(&asked.out).expect("JSON");
    assert_eq!(upgrade["ways"][0]["way"], "hot");
    assert_eq!(
        instructions(&upgrade, "sequence"),
        [
            "{add_module,'Elixir.Sequence.Label.List',[]}",
            "{load_module,'Elixir.Sequence',soft_purge,soft_purge,['Elixir.Sequence.Server']}",
            "{load_module,'Elixir.Sequence.Label.Integer',soft_purge,soft_purge,[]}",
            "{update,'Elixir.Sequence.Server',dynamic,default,{advanced,[]},soft_purge,soft_purge,[]}",
        ]
    );
    assert_eq!(upgrade["ways"][0]["protocols"], serde_json::json!(["Elixir.Sequence.Label"]));
    // What the old release has is not carried.
    let listed = said(
        Command::new("tar")
            .arg("-tzf")
            .arg(project.dir.join("_build/relgraph/prod/sequence-0.2.0.upgrade.tar.gz")),
    );
    assert!(listed.contains("lib/sequence-0.2.0/ebin/sequence.appup"), "{listed}");
    assert!(!listed.contains("lib/elixir-") && !listed.contains("erts-"), "{listed}");
}

#[test]
fn code_without_a_process_is_loaded_and_what_it_calls_before_it() {
    let space = TestSpace::new();
    let pair = shop(&space, &[], |project| {
        project.edit("lib/shop/words.ex", ":hello\n", ":good_morning\n  def bye, do: :bye\n");
        project.edit("lib/shop.ex", "hello()\n", "hello()\n  def bye, do: Shop.Words.bye()\n");
    });
    let upgrade = pair.upgrade();
    assert_eq!(upgrade["ways"][0]["way"], "hot");
    assert_eq!(
        instructions(&upgrade, "shop"),
        [
            "{load_module,'Elixir.Shop',soft_purge,soft_purge,['Elixir.Shop.Words']}",
            "{load_module,'Elixir.Shop.Words',soft_purge,soft_purge,[]}",
        ]
    );
    let relup = pair.packed("releases/0.2.0/relup");
    let at = |text: &str| relup.find(text).unwrap_or_else(|| panic!("no {text} in {relup}"));
    assert!(at("{load,{'Elixir.Shop.Words'") < at("{load,{'Elixir.Shop',"), "{relup}");
}

#[test]
fn a_server_without_a_migration_is_suspended_while_its_code_is_replaced() {
    let space = TestSpace::new();
    let pair = shop(&space, &[], |project| project.edit("lib/shop/counter.ex", "n + 1", "n + 2"));
    let update = "{update,'Elixir.Shop.Counter',dynamic,default,soft,soft_purge,soft_purge,[]}";
    assert_eq!(instructions(&pair.upgrade(), "shop"), [update]);
}

#[test]
fn a_state_of_another_version_without_a_migration_restarts_the_application() {
    let space = TestSpace::new();
    let pair = shop(&space, &[], |project| {
        project.edit("lib/shop/counter.ex", "use GenServer", "use GenServer\n  @vsn 2");
    });
    let upgrade = pair.upgrade();
    assert_eq!(upgrade["ways"][0]["way"], "restart_application");
    assert_eq!(instructions(&upgrade, "shop"), ["{restart_application,shop}"]);
    let notes = upgrade["ways"][0]["notes"].to_string();
    assert!(notes.contains("Shop.Counter has states of another version (none -> 2)"), "{notes}");
}

#[test]
fn an_application_that_did_not_get_a_new_version_is_refused_with_the_names_of_what_differs() {
    let space = TestSpace::new();
    let dependency = [
        (
            "vendor/dep/mix.exs",
            "defmodule Dep.MixProject do\n  use Mix.Project\n  def project, do: [app: :dep, version: \"1.0.0\"]\nend\n",
        ),
        ("vendor/dep/lib/dep.ex", "defmodule Dep do\n  def one, do: 1\nend\n"),
        ("mix.exs", &mix("shop", "0.1.0", ", deps: [{:dep, path: \"vendor/dep\"}]")),
    ];
    let pair = shop(&space, &dependency, |project| project.edit("vendor/dep/lib/dep.ex", "1\n", "2\n"));
    let why = pair.refused();
    assert!(why.contains("no running node can be moved from 0.1.0 to 0.2.0"), "{why}");
    assert!(why.contains("dep is version 1.0.0 in both releases, with other code (Dep)"), "{why}");
    assert!(why.contains("give dep a new version"), "{why}");

    // With a version of its own it is upgraded like any other, although it brings no appup.
    pair.project.edit("vendor/dep/mix.exs", "1.0.0", "1.1.0");
    pair.project.build();
    let load = "{load_module,'Elixir.Dep',soft_purge,soft_purge,[]}";
    assert_eq!(instructions(&pair.upgrade(), "dep"), [load]);
}

#[test]
fn an_appup_of_the_project_wins_and_has_to_be_complete() {
    let space = TestSpace::new();
    let pair = shop(&space, &[], |project| {
        project.edit("lib/shop/words.ex", ":hello", ":good_morning");
        project.edit("lib/shop/counter.ex", "n + 1", "n + 2");
        let words = "{load_module, 'Elixir.Shop.Words'}";
        let text =
            format!("{{\"0.2.0\", [{{\"0.1.0\", [{words}]}}], [{{<<\"0\\\\.1\\\\..*\">>, [{words}]}}]}}.\n");
        project.write("rel/appups/shop.appup", &text);
    });
    let why = pair.refused();
    assert!(
        why.contains("0.1.0 -> 0.2.0: `Elixir.Shop.Counter` of shop changed and is not replaced"),
        "{why}"
    );
    assert!(why.contains("an appup of the project or of a dependency is not complete"), "{why}");

    pair.project.edit("rel/appups/shop.appup", "Words'}", "Words'}, {update, 'Elixir.Shop.Counter', soft}");
    let upgrade = pair.upgrade();
    assert_eq!(
        instructions(&upgrade, "shop"),
        ["{load_module,'Elixir.Shop.Words'}", "{update,'Elixir.Shop.Counter',soft}"]
    );
    assert_eq!(upgrade["ways"][0]["applications"][0]["appup"], "rel/appups/shop.appup");

    // What did not change has no place in it.
    pair.without_package();
    pair.project.edit("rel/appups/shop.appup", "Words'}", "Words'}, {load_module, 'Elixir.Shop'}");
    let why = pair.refused();
    assert!(why.contains("`Elixir.Shop` did not change and is replaced"), "{why}");

    // One that cannot be read is not passed over.
    pair.project.write("rel/appups/shop.appup", "{\"0.2.0\", [");
    let why = pair.refused();
    assert!(why.contains("rel/appups/shop.appup cannot be read"), "{why}");
}

#[test]
fn release_yaml_says_what_the_code_does_not() {
    let space = TestSpace::new();
    let pair = shop(&space, &[], |project| {
        project.edit("lib/shop/words.ex", ":hello", ":good_morning");
        project.edit("lib/shop/counter.ex", "n + 1", "n + 2");
        let way = "upgrades:\n  layout: hot\n  purge: brutal\n  timeout: 7\n  applications:\n    shop:\n      modules:\n        \
                   Shop.Words: suspend\n        Shop.Counter: load\n";
        project.write("release.yaml", &format!("release: shop\n{way}"));
    });
    assert_eq!(
        instructions(&pair.upgrade(), "shop"),
        [
            "{load_module,'Elixir.Shop.Counter',brutal_purge,brutal_purge,[]}",
            "{update,'Elixir.Shop.Words',dynamic,7000,soft,brutal_purge,brutal_purge,[]}",
        ]
    );
    let restart =
        "release: shop\nupgrades:\n  layout: hot\n  applications:\n    shop:\n      restart: true\n";
    pair.project.write("release.yaml", restart);
    assert_eq!(instructions(&pair.upgrade(), "shop"), ["{restart_application,shop}"]);

    let missing =
        "release: shop\nupgrades:\n  layout: hot\n  applications:\n    shop:\n      appup: no/such.appup\n";
    pair.project.write("release.yaml", missing);
    let asked = pair.ask(&[]);
    assert_eq!(asked.status, Some(2), "{}{}", asked.out, asked.err);
    assert!(asked.err.contains("cannot read the appup no/such.appup"), "{}", asked.err);
    assert!(asked.err.contains("release.yaml:6:"), "{}", asked.err);
}

#[test]
fn several_old_versions_get_one_package() {
    let space = TestSpace::cold();
    let pair = shop(&space, &[], |project| project.edit("lib/shop/words.ex", ":hello", ":second"));
    pair.project.edit("mix.exs", "0.2.0", "0.3.0");
    pair.project.edit("lib/shop/counter.ex", "n + 1", "n + 2");
    pair.project.build();
    let asked = pair.project.ask(&[
        "upgrade",
        "0.1.0",
        "0.2.0",
        "0.3.0",
        "--output",
        "all.tar.gz",
        "--format",
        "json",
    ]);
    assert_eq!(asked.status, Some(0), "{}{}", asked.out, asked.err);
    let upgrade: serde_json::Value = serde_json::from_str(&asked.out).expect("JSON");
    let counter = "{update,'Elixir.Shop.Counter',dynamic,default,soft,soft_purge,soft_purge,[]}";
    let words = "{load_module,'Elixir.Shop.Words',soft_purge,soft_purge,[]}";
    let up = |way: usize| upgrade["ways"][way]["applications"][0]["up"].clone();
    assert_eq!(up(0), serde_json::json!([counter, words]));
    assert_eq!(up(1), serde_json::json!([counter]));
    let package = pair.project.dir.join("all.tar.gz");
    let relup = said(Command::new("tar").arg("-xzOf").arg(&package).arg("releases/0.3.0/relup"));
    assert_eq!(relup.matches("point_of_no_return").count(), 4, "{relup}");
    assert_eq!(
        fs::metadata(&package).expect("a package").len(),
        upgrade["package"]["bytes"].as_u64().unwrap()
    );
}

#[test]
fn what_is_asked_for_wrongly_is_said() {
    let space = TestSpace::new();
    let pair = shop(&space, &[], |_| {});
    let says = |args: &[&str], status: i32, text: &str| {
        let asked = pair.project.ask(args);
        assert_eq!(asked.status, Some(status), "{}{}", asked.out, asked.err);
        assert!(asked.err.contains(text), "{}", asked.err);
    };
    says(&["upgrade", "0.1.0"], 2, "OLD");
    says(&["upgrade", "0.1.0", "0.9.0"], 2, "there is no release `0.9.0`");
    says(&["upgrade", "0.2.0", "0.2.0"], 1, "both are version 0.2.0");
    says(&["upgrade", "release.yaml", "0.2.0"], 2, "release.yaml");
}
