//! What a lock names and `deps/` does not hold is fetched: packages from Hex repositories, commits from git ones.

mod support;

use std::fs;
use std::process::Command;

use support::hex::{Package, Server, lock};
use support::mix::{Mix, assert_same};
use support::project::Project;
use support::small::{Files, project};
use support::{TestSpace, said, source};

/// Built by Mix; depends on a package whose requirement and tools only the lock knows rightly.
const FLOUR: Package = Package {
    name: "flour",
    version: "1.2.0",
    tools: &["mix"],
    needs: &[("grain", ">= 0.5.0")],
    files: &[
        (
            "mix.exs",
            "defmodule Flour.MixProject do\n  use Mix.Project\n\n  def project do\n    [app: :flour, version: \"1.2.0\", deps: \
             deps(System.get_env(\"FLOUR_DEV\"))]\n  end\n\n  defp deps(nil), do: [{:grain, \">= 0.5.0\"}, {:ex_doc, \"~> 0.30\", only: \
             :dev}]\n  defp deps(_), do: [{:grain, path: \"../grain\"}]\nend\n",
        ),
        (
            "lib/flour.ex",
            "defmodule Flour do\n  defmacro kind, do: :grain.kind()\n  def weight, do: unquote(:grain.weight()) * 2\nend\n",
        ),
        ("priv/mill.txt", "stone\n"),
    ],
    repo: "hexpm",
};

/// Built by rebar3, with dependencies in its rebar.config that a package does not have.
const GRAIN: Package = Package {
    name: "grain",
    version: "0.6.1",
    tools: &["rebar3"],
    needs: &[],
    files: &[
        (
            "rebar.config",
            "{erl_opts, [debug_info]}.\n{deps, [{nowhere, \".*\", {git, \"git://127.0.0.1/nowhere\", {branch, \"master\"}}}]}.\n",
        ),
        (
            "src/grain.app.src",
            "{application,grain,[{description,\"Grain\"},{vsn,\"0.6.1\"},{modules,[]},{registered,[]},{applications,[kernel,stdlib]}]}.\n",
        ),
        (
            "src/grain.erl",
            "-module(grain).\n-export([kind/0, weight/0]).\nkind() -> wheat.\nweight() -> 21.\n",
        ),
    ],
    repo: "hexpm",
};

/// Built by make.
const YEAST: Package = Package {
    name: "yeast",
    version: "2.0.0",
    tools: &["make"],
    needs: &[],
    files: &[
        (
            "Makefile",
            "all:\n\tmkdir -p ebin\n\terlc +debug_info -o ebin src/yeast.erl\n\tcp src/yeast.app.src ebin/yeast.app\n",
        ),
        (
            "src/yeast.app.src",
            "{application,yeast,[{description,\"Yeast\"},{vsn,\"2.0.0\"},{modules,[yeast]},{registered,[]},{applications,[kernel,stdlib]}]}.\n",
        ),
        ("src/yeast.erl", "-module(yeast).\n-export([rises/0]).\nrises() -> true.\n"),
    ],
    repo: "hexpm",
};

/// Locked, and not used where a release is built.
const EX_DOC: Package = Package {
    name: "ex_doc",
    version: "0.30.0",
    tools: &["mix"],
    needs: &[],
    files: &[("mix.exs", "")],
    repo: "hexpm",
};

const BAKERY: Files<'_> = &[
    (
        "mix.exs",
        r#"defmodule Bakery.MixProject do
  use Mix.Project

  def project do
    [app: :bakery, version: "0.1.0", deps: deps()]
  end

  defp deps do
    [{:flour, "~> 1.0"}, {:yeast, "~> 2.0"}, {:ex_doc, "~> 0.30", only: :dev, runtime: false}]
  end
end
"#,
    ),
    (
        "lib/bakery.ex",
        "defmodule Bakery do\n  require Flour\n  def bread, do: {Flour.kind(), Flour.weight(), :yeast.rises()}\nend\n",
    ),
];

/// A shop of the bakery with what is locked in it.
fn bakery(space: &TestSpace, at: &str, locked: &[Package]) -> Project {
    let bakery = project(space, at, "bakery", BAKERY);
    bakery.write("mix.lock", &lock(locked));
    bakery
}

/// Asserts that what a build says contains all of these.
#[track_caller]
fn assert_told(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

/// A folder to build in with Mix: the project, its packages in `deps/`, and what stands in for Hex.
fn with_mix(space: &TestSpace, project: &Project, packages: &[Package]) -> Mix {
    let work = space.path("mix");
    support::files::copy(&project.dir, &work.join("project"));
    for package in packages {
        package.unpack(&work.join("project/deps").join(package.name));
    }
    let archive = work.join("home/.mix/archives/hex-2.0.6/hex-2.0.6/ebin");
    fs::create_dir_all(&archive).expect("a folder");
    said(Command::new("elixirc").arg("-o").arg(&archive).arg(source("tests/fixtures/hex/hex.ex")));
    Mix::new(work, "project")
}

#[test]
fn packages_of_every_manager_are_fetched_once_and_built_as_mix_builds_them() {
    let space = TestSpace::cold();
    let server = Server::with(&[FLOUR, GRAIN, YEAST]);
    let project = bakery(&space, "ours", &[FLOUR, GRAIN, YEAST, EX_DOC]).with("HEX_MIRROR", &server.url);
    let ran = project.ran();
    for step in
        ["fetch flour", "fetch grain", "fetch yeast", "compile flour", "compile grain", "compile yeast"]
    {
        assert!(ran.contains(step), "{step}: {ran:?}");
    }
    assert!(!ran.contains("fetch ex_doc"), "{ran:?}");
    assert_eq!(server.asked(), [FLOUR.path(), GRAIN.path(), YEAST.path()]);
    assert!(!project.dir.join("deps").exists());
    let built = project.build();
    built.assert_nothing_to_do();
    assert!(project.ask(&["build"]).out.contains("up to date"));
    assert_same(&project, &with_mix(&space, &project, &[FLOUR, GRAIN, YEAST]), "bakery", "0.1.0");

    // A colleague, elsewhere, without Hex and without a network.
    drop(server);
    let colleague = bakery(&space, "elsewhere/theirs", &[FLOUR, GRAIN, YEAST, EX_DOC]);
    let theirs = colleague.build_with(&["--offline"]);
    assert_eq!((theirs.executed(), theirs.digest()), (0, built.digest()), "{}", theirs.json);

    // A step of the user finds what was fetched where Mix would have put it, and `mix` asks nobody for Hex.
    project.append(
        "release.yaml",
        "steps:\n  deps:\n    run: mix deps > deps.txt && cat deps/flour/priv/mill.txt >> deps.txt\n    \
         needs: [compile bakery]\n    toolchain: true\n    outputs: [deps.txt]",
    );
    project.build();
    let listed = fs::read_to_string(project.release("bakery").join("deps.txt")).expect("the list");
    assert_told(&listed, &["* flour", "* yeast", "(Hex package grain)", "stone"]);

    // Fetched by Mix meanwhile: nothing else is built for that.
    for package in [FLOUR, GRAIN, YEAST] {
        package.unpack(&colleague.dir.join("deps").join(package.name));
    }
    let told = colleague.ask(&["build"]);
    assert_eq!(told.status, Some(0), "{}", told.err);
    assert_told(&told.err, &["nothing says that deps/flour, deps/grain, deps/yeast is what mix.lock names"]);
    assert_eq!(colleague.build().digest(), built.digest());
}
