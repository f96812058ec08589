//! What an application sees of others while it is compiled: as with Mix, what it declares, and of what Mix compiles before
//! it what it names.

mod support;

use support::TestSpace;
use support::project::{Project, set};
use support::small::{project, same_as_mix};

fn mix_exs(module: &str, says: &str) -> String {
    format!(
        "defmodule {module}.MixProject do\n  use Mix.Project\n  def project, do: [version: \"0.1.0\", {says}]\n  def application, do: []\nend\n"
    )
}

/// `zed` declares nothing, and uses a macro of `ann`, an Erlang module of `erl` and the configuration of `bob`.
fn undeclared(space: &TestSpace) -> Project {
    let deps =
        ["zed", "ann", "bob", "erl"].map(|name| format!("{{:{name}, path: \"deps/{name}\"}}")).join(", ");
    project(
        space,
        "ours",
        "seen",
        &[
            ("mix.exs", &mix_exs("Seen", &format!("app: :seen, deps: [{deps}]"))),
            ("config/config.exs", "import Config\nconfig :bob, secret: 7\nconfig :seen, mine: 8\n"),
            ("lib/seen.ex", "defmodule Seen do\n  def all, do: {Zed.all(), Ann.zed?()}\nend\n"),
            ("deps/ann/mix.exs", &mix_exs("Ann", "app: :ann")),
            // Mix compiles `zed` later: it is not there yet.
            (
                "deps/ann/lib/ann.ex",
                "defmodule Ann do\n  @zed Code.ensure_loaded?(Zed)\n  def zed?, do: @zed\n  defmacro twice(x), do: quote(do: unquote(x) * 2)\nend\n",
            ),
            ("deps/bob/mix.exs", &mix_exs("Bob", "app: :bob")),
            ("deps/bob/lib/bob.ex", "defmodule Bob do\n  def x, do: 1\nend\n"),
            ("deps/erl/rebar.config", "{erl_opts, [debug_info]}.\n"),
            (
                "deps/erl/src/erl.app.src",
                "{application, erl, [{vsn, \"1\"}, {applications, [kernel, stdlib]}]}.\n",
            ),
            (
                "deps/erl/src/erl_words.erl",
                "-module(erl_words).\n-include_lib(\"ann/include/ann.hrl\").\n-export([word/0]).\nword() -> ?WORD.\n",
            ),
            ("deps/ann/include/ann.hrl", "-define(WORD, word).\n"),
            ("deps/zed/mix.exs", &mix_exs("Zed", "app: :zed")),
            (
                "deps/zed/lib/zed.ex",
                "defmodule Zed do\n  require Ann\n  @word :erl_words.word()\n  @secret Application.compile_env(:bob, :secret)\n  @mine Application.get_env(:seen, :mine)\n  def all, do: {Ann.twice(21), @word, @secret, @mine}\nend\n",
            ),
        ],
    )
}

#[test]
fn what_mix_compiled_before_is_seen_by_who_names_it() {
    let space = TestSpace::new();
    let project = undeclared(&space);
    same_as_mix(&space, &project, "seen");
    project.build().assert_nothing_to_do();
    let compiled = |project: &Project| -> std::collections::BTreeSet<String> {
        project.ran().into_iter().filter(|name| name.starts_with("compile ")).collect()
    };
    project.edit("deps/ann/lib/ann.ex", "unquote(x) * 2", "unquote(x) * 3");
    // What rebar3 read is nobody's knowledge.
    assert_eq!(compiled(&project), set(&["compile ann", "compile erl", "compile zed"]));
    project.edit("config/config.exs", "mine: 8", "mine: 9");
    assert!(compiled(&project).contains("compile zed"));
    // Another name makes another application visible.
    project.edit("deps/zed/lib/zed.ex", "def all, do:", "def bob, do: Bob.x()\n  def all, do:");
    assert!(compiled(&project).contains("compile zed"));
    project.edit("deps/bob/lib/bob.ex", "def x, do: 1", "def x(y \\\\ 1), do: y");
    assert!(compiled(&project).contains("compile zed"));
    same_as_mix(&space, &project, "seen");
}

/// A project with vendored packages: `pepper`, which needs `salt`.
fn kitchen(space: &TestSpace, name: &str, module: &str, deps: &str, salt: &str) -> Project {
    let salt = format!("app: :salt, version: \"{salt}\"");
    let salt = format!("defmodule Salt.MixProject do\n  use Mix.Project\n  def project, do: [{salt}]\nend\n");
    project(
        space,
        name,
        name,
        &[
            ("mix.exs", &mix_exs(module, &format!("app: :{name}, deps: [{deps}]"))),
            ("mix.lock", "%{}\n"),
            ("lib/kitchen.ex", &format!("defmodule {module} do\n  def x, do: Pepper.x()\nend\n")),
            (
                "deps/pepper/mix.exs",
                &mix_exs("Pepper", "app: :pepper, deps: [{:salt, \"~> 1.0 or ~> 2.0\", optional: true}]"),
            ),
            ("deps/pepper/lib/pepper.ex", "defmodule Pepper do\n  def x, do: Salt.x()\nend\n"),
            ("deps/salt/mix.exs", &salt),
            ("deps/salt/lib/salt.ex", "defmodule Salt do\n  def x, do: 1\nend\n"),
        ],
    )
}

/// What it asks of their versions, and in which way, is no reason to compile them again.
#[test]
fn projects_share_the_dependencies_that_they_have_in_common() {
    let space = TestSpace::cold();
    kitchen(&space, "grill", "Grill", "{:pepper, \"~> 0.1\"}, {:salt, \">= 1.0.0\"}", "1.2.0").build();
    let deps = "{:salt, \"~> 1.2\", override: true}, {:pepper, \">= 0.1.0\", only: [:prod, :dev]}";
    let other = kitchen(&space, "stove", "Stove", deps, "1.2.0");
    let ran = other.ran();
    assert!(ran.contains("compile stove"), "{ran:?}");
    assert!(!ran.contains("compile salt") && !ran.contains("compile pepper"), "{ran:?}");
    // What it asks is held against what there is, all the same.
    let third = kitchen(&space, "oven", "Oven", "{:pepper, \"~> 0.1\"}, {:salt, \"~> 2.0\"}", "1.2.0");
    let said = third.refused(1);
    assert!(said.contains("does not match the requirement \"~> 2.0\", got \"1.2.0\""), "{said}");
}
