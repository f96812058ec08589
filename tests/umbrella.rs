//! Umbrellas: several applications in one project, built whole or from inside one of them, as `mix release` builds them.

mod support;

use std::process::Command;

use support::node::Node;
use support::project::{Project, set};
use support::small::{project, same_as_mix, verified};
use support::{TestSpace, said};

const ROOT: &str = r#"defmodule Shop.MixProject do
  use Mix.Project

  def project do
    [
      apps_path: "apps",
      version: "0.1.0",
      start_permanent: Mix.env() == :prod,
      deps: [{:stamp, path: "vendor/stamp"}],
      releases: [
        shop: [applications: [web: :permanent, worker: :permanent]],
        back: [version: "0.1.0", applications: [worker: :permanent, core: :transient]]
      ]
    ]
  end
end
"#;

/// An application of the umbrella, as `mix new` writes it.
fn app(module: &str, name: &str, deps: &str, application: &str) -> String {
    format!(
        r#"defmodule {module}.MixProject do
  use Mix.Project

  def project do
    [
      app: :{name},
      version: "0.1.0",
      build_path: "../../_build",
      config_path: "../../config/config.exs",
      deps_path: "../../deps",
      lockfile: "../../mix.lock",
      start_permanent: Mix.env() == :prod,
      deps: [{deps}]
    ]
  end

  def application, do: [extra_applications: [:logger]{application}]
end
"#
    )
}

/// `core` has a macro, a protocol and a configuration; `worker` and `web` use them; `tools` is in no release.
fn umbrella(space: &TestSpace, at: &str) -> Project {
    project(
        space,
        at,
        "shop",
        &[
            ("mix.exs", ROOT),
            (
                "config/config.exs",
                "import Config\nfor file <- Path.wildcard(Path.join(__DIR__, \"../apps/*/config/config.exs\")), do: import_config(file)\nconfig :core, shared: config_env()\nimport_config \"#{config_env()}.exs\"\n",
            ),
            ("config/prod.exs", "import Config\nconfig :web, greeting: \"hello from prod\"\n"),
            (
                "config/runtime.exs",
                "import Config\nconfig :worker, at_runtime: System.get_env(\"AT_RUNTIME\", \"unset\")\n",
            ),
            ("apps/worker/config/config.exs", "import Config\nconfig :worker, compiled: 41\n"),
            ("apps/core/mix.exs", &app("Core", "core", "", "")),
            (
                "apps/core/lib/core.ex",
                "defmodule Core do\n  @shared Application.compile_env!(:core, :shared)\n  defmacro twice(x), do: quote(do: unquote(x) + unquote(x))\n  def shared, do: @shared\nend\n\ndefprotocol Core.Name do\n  @fallback_to_any true\n  def of(x)\nend\n\ndefimpl Core.Name, for: Any do\n  def of(_), do: \"anything\"\nend\n",
            ),
            (
                "apps/worker/mix.exs",
                &app("Worker", "worker", "{:core, in_umbrella: true}", ", mod: {Worker.Application, []}"),
            ),
            (
                "apps/worker/lib/worker.ex",
                "defmodule Worker do\n  require Core\n  defstruct [:id]\n  @compiled Application.compile_env(:worker, :compiled)\n  def answer, do: Core.twice(@compiled) - 40\n  def at_runtime, do: Application.get_env(:worker, :at_runtime)\nend\n\ndefimpl Core.Name, for: Worker do\n  def of(worker), do: \"worker #{worker.id}\"\nend\n",
            ),
            (
                "apps/worker/lib/worker/application.ex",
                "defmodule Worker.Application do\n  use Application\n  def start(_, _), do: Supervisor.start_link([], strategy: :one_for_one, name: Worker.Supervisor)\nend\n",
            ),
            (
                "apps/web/mix.exs",
                &app(
                    "Web",
                    "web",
                    "{:core, in_umbrella: true}, {:worker, path: \"../worker\"}, {:only_web, path: \"../../vendor/only_web\"}",
                    "",
                ),
            ),
            (
                "apps/web/lib/web.ex",
                "defmodule Web do\n  defstruct [:page]\n  @greeting Application.compile_env(:web, :greeting)\n  def hello, do: \"#{@greeting} #{Core.Name.of(%Worker{id: 1})} #{Core.Name.of(%__MODULE__{})} #{OnlyWeb.x()}\"\nend\n\ndefimpl Core.Name, for: Web do\n  def of(_), do: \"a page\"\nend\n",
            ),
            ("apps/web/priv/static/app.css", "a {}\n"),
            ("apps/tools/mix.exs", &app("Tools", "tools", "{:stamp, path: \"../../vendor/stamp\"}", "")),
            ("apps/tools/lib/tools.ex", "defmodule Tools do\n  def x, do: Stamp.x()\nend\n"),
            (
                "vendor/stamp/mix.exs",
                "defmodule Stamp.MixProject do\n  use Mix.Project\n  def project, do: [app: :stamp, version: \"0.1.0\"]\nend\n",
            ),
            ("vendor/stamp/lib/stamp.ex", "defmodule Stamp do\n  def x, do: :stamp\nend\n"),
            (
                "vendor/only_web/mix.exs",
                "defmodule OnlyWeb.MixProject do\n  use Mix.Project\n  def project, do: [app: :only_web, version: \"0.1.0\"]\nend\n",
            ),
            ("vendor/only_web/lib/only_web.ex", "defmodule OnlyWeb do\n  def x, do: 1\nend\n"),
        ],
    )
}

#[test]
fn several_applications_and_releases_with_shared_configuration_and_protocols() {
    let space = TestSpace::new();
    let project = umbrella(&space, "ours");
    same_as_mix(&space, &project, "shop");
    let node = Node::new(&space, &project.release("shop"), "shop").with("AT_RUNTIME", "set");
    node.daemon("Process.whereis(Worker.Supervisor) != nil");
    let answer = node.rpc("IO.inspect({Web.hello(), Worker.answer(), Worker.at_runtime(), Core.shared()})");
    assert_eq!(answer, r#"{"hello from prod worker 1 a page 1", 42, "set", :prod}"#);
    node.stop();
}

#[test]
fn a_release_of_some_applications_beside_another() {
    let space = TestSpace::new();
    let project = umbrella(&space, "ours");
    project.build();
    project.write("back.yaml", "release: back\n");
    let said = project.ask(&["build", "back.yaml"]);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(project.release("back").join("lib/worker-0.1.0").is_dir());
    for absent in ["web", "tools", "only_web", "stamp"] {
        assert!(!project.release("back").join(format!("lib/{absent}-0.1.0")).exists(), "{absent}");
    }
    // Each has its own state: neither makes the other look again.
    project.build().assert_nothing_to_do();
    assert!(project.ask(&["build", "back.yaml"]).out.contains("up to date"), "{}", said.out);
}

#[test]
fn a_change_in_one_application_leaves_the_others_alone() {
    let space = TestSpace::new();
    let project = umbrella(&space, "ours");
    project.build();
    let compiled = |project: &Project| -> std::collections::BTreeSet<String> {
        project.ran().into_iter().filter(|name| name.starts_with("compile ")).collect()
    };
    project.edit("apps/web/lib/web.ex", "a page", "one page");
    assert_eq!(compiled(&project), set(&["compile web"]));
    // Nobody ran what it does.
    project.edit("apps/worker/lib/worker/application.ex", ":one_for_one", ":one_for_all");
    assert_eq!(compiled(&project), set(&["compile worker"]));
    // A macro that one of them expanded.
    project.edit("apps/core/lib/core.ex", "unquote(x) + unquote(x)", "2 * unquote(x)");
    assert_eq!(compiled(&project), set(&["compile core", "compile worker"]));
    // The configuration of one of them.
    project.edit("apps/worker/config/config.exs", "41", "42");
    assert!(compiled(&project).is_subset(&set(&["compile worker", "compile web"])));
    project.write("apps/tools/lib/more.ex", "defmodule Tools.More do\nend\n");
    assert_eq!(compiled(&project), set(&["compile tools"]));
}

#[test]
fn a_release_from_inside_one_application() {
    let space = TestSpace::new();
    let whole = umbrella(&space, "ours");
    let web = Project::new(whole.dir.join("apps/web"), space.store());
    web.write("release.yaml", "release: web\n");
    let work = space.path("mix");
    support::files::copy(&whole.dir, &work.join("tree"));
    let mix = support::mix::Mix::new(work, "tree/apps/web").building_in("tree/_build");
    support::mix::assert_same(&web, &mix, "web", "0.1.0");
    web.build().assert_nothing_to_do();
    // What the umbrella shares counts, what another application holds does not.
    whole.edit("config/prod.exs", "hello", "good morning");
    assert!(web.ran().contains("compile web"));
    whole.append("apps/tools/lib/tools.ex", "# more");
    web.build().assert_nothing_to_do();
    whole.append("apps/core/lib/core.ex", "# more");
    assert!(web.ran().contains("compile core"));
}

#[test]
fn what_mix_new_writes_is_built_as_it_is() {
    let space = TestSpace::new();
    let new = |args: &[&str], at: &str| {
        let mut mix = Command::new("mix");
        said(mix.arg("new").args(args).current_dir(space.path(at)).env("HOME", space.path("home")));
    };
    new(&["--umbrella", "umb"], ".");
    for app in ["alpha", "beta"] {
        new(&[app, "--sup"], "umb/apps");
    }
    new(&["gamma"], "umb/apps");
    let project = Project::new(space.path("umb"), space.store());
    project.write(
        "release.yaml",
        "release: umb\napplications:\n  alpha: permanent\n  beta: transient\n  gamma: load\n",
    );
    project.build();
    let deployed = space.path("deployed");
    support::files::copy(&project.release("umb"), &deployed);
    let node = Node::new(&space, &deployed, "umb");
    node.daemon("Process.whereis(Beta.Supervisor) != nil");
    let asked = "IO.inspect({Gamma.hello(), List.keymember?(Application.started_applications(), :gamma, 0)})";
    assert_eq!(node.rpc(asked), "{:world, false}");
    node.stop();
    // As Mix wants it said; a part with a configuration of its own, which only counts when it is built alone.
    project.write("release.yaml", "release: umb\n");
    project.edit(
        "mix.exs",
        "deps: deps()",
        "deps: deps(),
      releases: [
        umb: fn -> [applications: [alpha: :permanent, beta: :transient, gamma: :load], version: {:from_app, :alpha}, steps: [:assemble, :tar]] end,
        part: [applications: [gamma: :none, beta: :temporary], include_erts: false, strip_beams: [keep: [\"Docs\"]]]
      ]",
    );
    project.edit("apps/gamma/mix.exs", "../../config/config.exs", "config/config.exs");
    project.write("apps/gamma/config/config.exs", "import Config\nconfig :gamma, own: 1\n");
    project.append(
        "apps/gamma/lib/gamma.ex",
        "defmodule Gamma.Own do\n  def own, do: unquote(Application.compile_env(:gamma, :own))\nend",
    );
    same_as_mix(&space, &project, "umb");
    // The package that Mix makes is none of the release.
    verified(&project);
    project.write("release.yaml", "release: part\n");
    verified(&project);
    let alone = Project::new(project.dir.join("apps/gamma"), space.store());
    alone.write("release.yaml", "release: gamma\n");
    alone.build();
    let bin = alone.release("gamma").join("bin/gamma");
    let mut eval = Command::new(bin);
    assert_eq!(said(eval.args(["eval", "IO.inspect(Gamma.Own.own())"]).env("RELEASE_COOKIE", "cookie")), "1");
}

#[test]
fn the_example_is_built_and_answers() {
    let space = TestSpace::new();
    let project = space.example("umbrella", "polls");
    project.build();
    let node = Node::new(&space, &project.release("polls"), "polls").with("QUESTION", "Tea?");
    assert_eq!(node.says(&["eval", "IO.puts(Tally.question())"]), "Tea?");
    assert_eq!(project.ask(&["build", "tally.yaml"]).status, Some(0));
    assert!(!project.release("tally").join("lib/front-0.1.0").exists());
}
