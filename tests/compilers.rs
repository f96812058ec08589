//! What happens while a Mix project is compiled: compilers, their options, what they read and what they make. Each project
//! is compared with what `mix release` makes of it; then something is edited, and only what depends on it runs.

mod support;

use std::os::unix::fs::symlink;
use std::process::Command;

use support::project::set;
use support::small::{in_git, project, same_as_mix, unpacked};
use support::{TestSpace, said};

/// A calculator: yecc, leex, Erlang with headers of a dependency, of OTP and of its own, options for each compiler.
const CALC: &[(&str, &str)] = &[
    (
        "mix.exs",
        r##"defmodule Calc.MixProject do
  use Mix.Project

  def project do
    [
      app: :calc,
      version: "0.1.0",
      elixir: "~> 1.13 and >= 1.13.0",
      default_task: "help",
      build_embedded: true,
      start_permanent: Mix.env() == :prod,
      preferred_cli_env: [check: :test],
      test_coverage: [tool: :none],
      xref: [exclude: [Nowhere]],
      prune_code_paths: false,
      elixirc_paths: elixirc_paths(Mix.env()),
      elixirc_options: [docs: false, tracers: [Watch.Tracer]],
      erlc_paths: ["src", "more src"],
      erlc_include_path: "hrl",
      erlc_options: [:debug_info, {:d, :FACTOR, 3}],
      leex_options: [],
      yecc_options: [verbose: false],
      compilers: [:yecc, :leex, :erlang, :stamp] ++ Mix.compilers() ++ [:report],
      aliases: [calculate: "run"],
      deps: [{:watch, path: "deps/watch", runtime: false}, {:units, path: "deps/units"}]
    ]
  end

  def application, do: [extra_applications: [:logger], mod: {Calc.Application, []}]

  defp elixirc_paths(:prod), do: ["lib", "prod"]
  defp elixirc_paths(_), do: ["lib", "test/support"]
end

defmodule Mix.Tasks.Compile.Stamp do
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    words = "words/*.txt" |> Path.wildcard() |> Enum.sort() |> Enum.map(&File.read!/1)
    File.mkdir_p!("lib/generated")
    File.write!("lib/generated/words.ex", "defmodule Calc.Words do\n  def all, do: #{inspect(words)}\nend\n")
    {:ok, []}
  end
end

defmodule Mix.Tasks.Compile.Report do
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    priv = Path.join(Mix.Project.app_path(), "priv")
    File.mkdir_p!(priv)
    File.write!(Path.join(priv, "seen.txt"), Enum.join(Enum.sort(Watch.Tracer.seen()), "\n"))
    {:ok, []}
  end
end
"##,
    ),
    ("words/one.txt", "one\n"),
    ("prod/calc_prod.ex", "defmodule Calc.Prod do\n  def env, do: :prod\nend\n"),
    ("test/support/case.ex", "defmodule Calc.Case do\n  raise \"not for a release\"\nend\n"),
    (
        "lib/calc.ex",
        r##"defmodule Calc do
  @env Mix.env()
  @target Mix.target()
  @project Mix.Project.config()[:version]
  @moduledoc "Calculates."
  def about, do: {@env, @target, @project, __DIR__, Units.label()}

  def eval(text) do
    {:ok, tokens, _} = :calc_lexer.string(String.to_charlist(text))
    {:ok, tree} = :calc_parser.parse(tokens)
    :calc_eval.eval(tree)
  end
end
"##,
    ),
    (
        "lib/calc/application.ex",
        r##"defmodule Calc.Application do
  use Application
  def start(_, _), do: Supervisor.start_link([], strategy: :one_for_one, name: Calc.Supervisor)
end
"##,
    ),
    (
        "src/calc_lexer.xrl",
        r#"Definitions.
D = [0-9]
Rules.
{D}+ : {token, {int, TokenLine, list_to_integer(TokenChars)}}.
\+ : {token, {'+', TokenLine}}.
[\s\t]+ : skip_token.
Erlang code.
"#,
    ),
    (
        "src/calc_parser.yrl",
        r#"Nonterminals expr.
Terminals int '+'.
Rootsymbol expr.
Left 100 '+'.
expr -> int : value('$1').
expr -> expr '+' expr : {plus, '$1', '$3'}.
Erlang code.
value({int, _, Value}) -> Value.
"#,
    ),
    (
        "more src/calc_eval.erl",
        r#"-module(calc_eval).
-behaviour(calc_behaviour).
-include("calc.hrl").
-include_lib("units/include/units.hrl").
-include_lib("kernel/include/file.hrl").
-export([eval/1, size/1]).
eval({plus, A, B}) -> eval(A) + eval(B);
eval(N) -> N * ?FACTOR * ?UNIT + ?OFFSET.
size(#file_info{size = Size}) -> Size.
"#,
    ),
    ("src/calc_behaviour.erl", "-module(calc_behaviour).\n-callback eval(term()) -> integer().\n"),
    ("hrl/calc.hrl", "-define(OFFSET, 0).\n"),
    (
        "deps/units/mix.exs",
        r##"defmodule Units.MixProject do
  use Mix.Project
  def project, do: [app: :units, version: "0.3.0", deps: [], compilers: [:label] ++ Mix.compilers()]
  def application, do: []
end

defmodule Mix.Tasks.Compile.Label do
  use Mix.Task
  def run(_), do: File.write!("lib/label.ex", "defmodule Units.Label do\n  def text, do: #{inspect(File.read!("LABEL"))}\nend\n")
end
"##,
    ),
    ("deps/units/LABEL", "metre\n"),
    ("deps/units/include/units.hrl", "-define(UNIT, 1).\n"),
    ("deps/units/lib/units.ex", "defmodule Units do\n  def label, do: Units.Label.text()\nend\n"),
    (
        "deps/watch/mix.exs",
        r##"defmodule Watch.MixProject do
  use Mix.Project
  def project, do: [app: :watch, version: "0.1.0"]
end
"##,
    ),
    (
        "deps/watch/lib/watch.ex",
        r##"defmodule Watch.Tracer do
  def trace({:on_module, _, _}, env) do
    Agent.update(agent(), &[inspect(env.module) | &1])
    :ok
  end

  def trace(_, _), do: :ok
  def seen, do: Agent.get(agent(), & &1)

  defp agent do
    case Agent.start(fn -> [] end, name: __MODULE__) do
      {:ok, pid} -> pid
      {:error, {:already_started, pid}} -> pid
    end
  end
end
"##,
    ),
];

/// An application with files that are not code.
const FILES: &[(&str, &str)] = &[
    (
        "mix.exs",
        r##"defmodule Files.MixProject do
  use Mix.Project
  def project, do: [app: :files, version: "0.1.0"]
end
"##,
    ),
    ("lib/files.ex", "defmodule Files do\n  def priv, do: Application.app_dir(:files, \"priv\")\nend\n"),
    ("priv/deep/.keep", ""),
    ("include/files.hrl", "-define(FILES, 1).\n"),
    ("assets/app.css", "a {}\n"),
];

#[test]
fn grammars_erlang_custom_compilers_tracers_and_options() {
    let space = TestSpace::new();
    let project = project(&space, "calc", "calc", CALC);
    same_as_mix(&space, &project, "calc");
    project.build().assert_nothing_to_do();
    for (file, line) in [
        ("src/calc_parser.yrl", "%% more"),
        ("src/calc_lexer.xrl", "%% more"),
        ("hrl/calc.hrl", "%% more"),
        ("prod/calc_prod.ex", "# more"),
        ("words/one.txt", "and more"),
    ] {
        project.append(file, line);
        let ran = project.ran();
        assert!(ran.contains("compile calc") && !ran.contains("compile units"), "{file}: {ran:?}");
    }
    project.write("words/two.txt", "a file that appears\n");
    assert!(project.ran().contains("compile calc"));
    project.append("deps/units/include/units.hrl", "%% more");
    assert!(project.ran().contains("compile calc"));
    project.append("deps/units/LABEL", "centimetre");
    assert!(project.ran().contains("compile units"));
    project.append("test/support/case.ex", "# more");
    project.write("words/notes.md", "no word\n");
    let ran = project.ran();
    // The folder is listed: a name in it is an input, the file is not.
    assert!(ran.is_subset(&set(&["compile calc"])), "{ran:?}");
    same_as_mix(&space, &project, "calc");
}

/// `priv` and `include` are linked into the build by Mix: nobody reads them while compiling.
#[test]
fn priv_is_what_the_release_gets_whoever_read_it() {
    let space = TestSpace::new();
    let project = project(&space, "files", "files", FILES);
    let priv_ = |path: &str| project.dir.join("priv").join(path);
    for folder in ["empty", "deep/er"] {
        std::fs::create_dir_all(priv_(folder)).expect("a folder");
    }
    project.write("priv/with space \u{fc}nd \u{1f600}.txt", "a name\n");
    project.write("priv/new\nline.txt", "a name\n");
    project.write("priv/run.sh", "#!/bin/sh\necho ran\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(priv_("run.sh"), mode).expect("its mode");
    std::fs::write(priv_("large.bin"), vec![7; 8 << 20]).expect("a large file");
    symlink("../assets", priv_("static")).expect("a link");
    symlink("run.sh", priv_("again.sh")).expect("a link");
    same_as_mix(&space, &project, "files");
    project.build().assert_nothing_to_do();
    for file in ["priv/deep/.keep", "assets/app.css", "include/files.hrl", "priv/run.sh"] {
        project.append(file, "more");
        assert!(project.ran().contains("compile files"), "{file}");
        project.build().assert_nothing_to_do();
    }
    project.write("assets/new.css", "body {}\n");
    assert!(project.ran().contains("compile files"));
    std::fs::remove_dir(priv_("empty")).expect("it is empty");
    assert!(project.ran().contains("compile files"));
    same_as_mix(&space, &project, "files");
}

/// What modules read while they are compiled, wherever it lies.
const READS: &[(&str, &str)] = &[
    (
        "mix.exs",
        r##"defmodule Reads.MixProject do
  use Mix.Project

  def project do
    [
      app: :reads,
      version: String.trim(File.read!("../VERSION")),
      deps: [{:inner, path: "deps/inner"}]
    ]
  end
end
"##,
    ),
    ("../VERSION", "0.1.0\n"),
    ("../notes/one.md", "one\n"),
    ("README.md", "read me\n"),
    ("priv/data/a.csv", "a,b\n"),
    ("node_modules/pkg/package.json", "{\"version\": \"1.0.0\"}\n"),
    ("templates/page.eex", "Hello <%= @name %>\n"),
    (
        "lib/reads.ex",
        r##"defmodule Reads do
  @external_resource "README.md"
  @readme File.read!("README.md")
  @top File.read!(Path.join(__DIR__, "../../VERSION"))
  @notes "../notes/*.md" |> Path.wildcard() |> Enum.sort() |> Enum.map(&File.read!/1)
  @data File.ls!("priv/data") |> Enum.sort()
  @package File.read!("node_modules/pkg/package.json")
  @dependency File.read!("deps/inner/README.md")
  @settings Inner.settings()
  @project Mix.Project.config()[:version]
  @temporary is_binary(System.tmp_dir())
  @hosts is_binary(File.read!("/etc/os-release"))
  @missing File.exists?("../never") or File.exists?("config/never.json")
  require EEx
  EEx.function_from_file(:def, :page, "templates/page.eex", [:assigns])

  def all, do: {@readme, @top, @notes, @data, @package, @dependency, @settings, @project, @temporary, @hosts, @missing}
end
"##,
    ),
    (
        "deps/inner/mix.exs",
        r##"defmodule Inner.MixProject do
  use Mix.Project
  def project, do: [app: :inner, version: String.trim(File.read!("../../../VERSION"))]
end
"##,
    ),
    (
        "deps/inner/lib/inner.ex",
        r##"defmodule Inner do
  def settings, do: :inner |> :code.priv_dir() |> Path.join("settings.txt") |> File.read!()
end
"##,
    ),
    ("deps/inner/README.md", "inner\n"),
];

#[test]
fn what_modules_read_is_shown_wherever_it_lies_and_is_an_input() {
    let space = TestSpace::new();
    std::fs::create_dir_all(space.path("reads")).expect("a folder");
    let project = project(&space, "reads/project", "reads", READS);
    project.write("deps/settings/settings.txt", "settings\n");
    symlink("../settings", project.dir.join("deps/inner/priv")).expect("a link");
    let compare = || {
        support::files::copy(&space.path("reads"), &space.path("mix"));
        same_as_mix(&space, &project, "reads");
    };
    compare();
    project.build().assert_nothing_to_do();
    for (file, step) in [
        ("../notes/one.md", "compile reads"),
        ("../notes/two.md", "compile reads"),
        ("node_modules/pkg/package.json", "compile reads"),
        ("deps/inner/README.md", "compile reads"),
        ("deps/settings/settings.txt", "compile inner"),
        ("templates/page.eex", "compile reads"),
        ("priv/data/b.csv", "compile reads"),
        ("config/never.json", "compile reads"),
    ] {
        let before = std::fs::read_to_string(project.dir.join(file)).unwrap_or_default();
        project.write(file, &format!("{before}more\n"));
        let ran = project.ran();
        assert!(ran.contains(step), "{file}: {ran:?}");
        project.build().assert_nothing_to_do();
    }
    for file in ["../other.md", "node_modules/pkg/index.js", "deps/inner/CHANGELOG.md", "notes.md"] {
        project.write(file, "nobody reads this\n");
        assert_eq!(project.ran(), set(&[]), "{file}");
    }
    compare();
}

/// Asks git, while it is compiled and in mix.exs.
const ASKS_GIT: &[(&str, &str)] = &[
    (
        "mix.exs",
        r##"defmodule Asks.MixProject do
  use Mix.Project
  def project, do: [app: :asks, version: version()]

  defp version do
    {tag, 0} = System.cmd("git", ["describe", "--tags", "--abbrev=0"])
    tag |> String.trim() |> String.trim_leading("v")
  end
end
"##,
    ),
    (
        "lib/asks.ex",
        r##"defmodule Asks do
  @commit "git" |> System.cmd(["rev-parse", "--short", "HEAD"]) |> elem(0) |> String.trim()
  @variable System.get_env("ASKS_FOR")
  @other :os.getenv('ASKS_ALSO')
  def commit, do: {@commit, @variable, @other}
end
"##,
    ),
    (".gitignore", "_build\n"),
];

#[test]
fn what_git_and_variables_say_while_compiling_is_an_input() {
    let space = TestSpace::new();
    let project = project(&space, "asks", "asks", ASKS_GIT);
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=me", "-c", "user.email=me@example.com"];
        let mut git = Command::new("git");
        git.args(who).args(args).current_dir(&project.dir).env("GIT_CONFIG_GLOBAL", "/dev/null");
        said(&mut git)
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "first"]);
    git(&["tag", "v0.1.0"]);
    same_as_mix(&space, &project, "asks");
    project.build().assert_nothing_to_do();
    project.write("README.md", "nobody reads this\n");
    assert_eq!(project.ran(), set(&[]));
    git(&["add", "README.md"]);
    git(&["commit", "-qm", "second"]);
    let ran = project.ran();
    assert!(ran.contains("compile asks"), "{ran:?}");
    same_as_mix(&space, &project, "asks");
    assert!(project.clone().with("ASKS_FOR", "one").ran().contains("compile asks"));
    assert!(project.clone().with("ASKS_ALSO", "two").ran().contains("compile asks"));
    assert_eq!(project.clone().with("NOBODY_ASKS", "three").build().executed(), 0);
}

/// Protocols implemented in several applications, and configuration read while compiling.
const SHAPES: &[(&str, &str)] = &[
    (
        "mix.exs",
        r##"defmodule Shapes.MixProject do
  use Mix.Project
  def project, do: [app: :shapes, version: "0.1.0", deps: [{:area, path: "deps/area"}, {:round, path: "deps/round"}]]
  def application, do: [extra_applications: [:logger]]
end
"##,
    ),
    (
        "config/config.exs",
        "import Config\nconfig :shapes, unit: :metre, used: %{deep: [1]}\nconfig :round, pi: 3\n",
    ),
    (
        "lib/shapes.ex",
        r##"defmodule Shapes.Square do
  @derive {Area, side: :width}
  defstruct width: 1
end

defmodule Shapes do
  @unit Application.compile_env!(:shapes, :unit)
  @deep Application.compile_env(:shapes, [:used, :deep])
  @absent Application.compile_env(:shapes, :absent, :default)
  @early Application.get_env(:shapes, :early)
  def all, do: {@unit, @deep, @absent, @early, Area.of(%Round{}), Area.of(:any), inspect(%Round{})}

  defimpl Area, for: Tuple do
    def of(tuple), do: tuple_size(tuple)
  end
end
"##,
    ),
    (
        "deps/area/mix.exs",
        "defmodule Area.MixProject do\n  use Mix.Project\n  def project, do: [app: :area, version: \"0.1.0\"]\nend\n",
    ),
    (
        "deps/area/lib/area.ex",
        r#"defprotocol Area do
  @fallback_to_any true
  def of(shape)
end

defimpl Area, for: Any do
  defmacro __deriving__(module, _struct, options) do
    quote do
      defimpl Area, for: unquote(module) do
        def of(shape), do: Map.fetch!(shape, unquote(options[:side])) ** 2
      end
    end
  end

  def of(_), do: 0
end
"#,
    ),
    (
        "deps/round/mix.exs",
        r##"defmodule Round.MixProject do
  use Mix.Project
  def project, do: [app: :round, version: "0.1.0", deps: [{:area, path: "../area"}]]
end
"##,
    ),
    (
        "deps/round/lib/round.ex",
        r##"defmodule Round do
  defstruct radius: 1
  @pi Application.compile_env(:round, :pi)

  defimpl Area do
    def of(round), do: Round.pi() * round.radius ** 2
  end

  defimpl Inspect do
    def inspect(_, _), do: "#Round<>"
  end

  def pi, do: @pi
end
"##,
    ),
];

#[test]
fn protocols_of_several_applications_and_configuration_read_while_compiling() {
    let space = TestSpace::new();
    let project = project(&space, "shapes", "shapes", SHAPES);
    same_as_mix(&space, &project, "shapes");
    project.edit("deps/round/lib/round.ex", "#Round<>", "#Round<1>");
    let ran = project.ran();
    // Its beam is among what is consolidated; nobody was compiled against it.
    assert!(ran.is_superset(&set(&["compile round", "consolidate protocols", "strip round"])), "{ran:?}");
    assert!(!ran.contains("compile shapes") && !ran.contains("compile area"), "{ran:?}");
    project.edit("config/config.exs", "pi: 3", "pi: 4");
    let ran = project.ran();
    assert!(ran.contains("compile round") && !ran.contains("compile area"), "{ran:?}");
    same_as_mix(&space, &project, "shapes");
    project.edit("mix.exs", "version:", "consolidate_protocols: false, version:");
    same_as_mix(&space, &project, "shapes");
}

/// Compilers of a dependency, of mix.exs and of the project that generate code and files, and all that `releases:` may say.
#[test]
fn compilers_that_generate_files_and_files_that_mix_exs_reads() {
    let space = TestSpace::new();
    let project = unpacked(&space, "works", "works", include_str!("projects/generating.txt"));
    std::fs::create_dir_all(project.dir.join("priv/empty")).expect("a folder");
    for args in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "one"]] {
        in_git(&project.dir, args);
    }
    same_as_mix(&space, &project, "works");
    project.build().assert_nothing_to_do();
    let append = |file: &str, text: &str| {
        let before = std::fs::read_to_string(project.dir.join(file)).unwrap_or_default();
        project.write(file, &format!("{before}{text}"));
    };
    for (edits, steps) in [
        (
            [
                ("priv/gettext/de/LC_MESSAGES/default.po", "\nmsgid \"a\"\nmsgstr \"b\"\n"),
                ("ops/runtime.exs", "# more\n"),
            ],
            ["compile works", "boot"],
        ),
        (
            [
                ("priv/gettext/fr/LC_MESSAGES/default.po", "msgid \"x\"\nmsgstr \"y\"\n"),
                ("icons/third.svg", "<svg/>\n"),
            ],
            ["compile works", "strip works"],
        ),
        (
            [("mix/number.txt", "43\n"), ("config/extra/two.exs", "import Config\nconfig :works, two: 2\n")],
            ["describe", "config"],
        ),
    ] {
        edits.iter().for_each(|(file, text)| append(file, text));
        let ran = project.ran();
        assert!(ran.is_superset(&set(&steps)) && !ran.contains("compile erls"), "{edits:?}: {ran:?}");
    }
    let asked = project.clone().with("CONFIG_VAR", "set").with("MIX_EXS_FLAG", "set");
    assert!(asked.ran().is_superset(&set(&["describe", "config", "compile works"])));
    same_as_mix(&space, &project, "works");
    // A step of the user gets what was generated, and not what an earlier build left in the checkout.
    project.write("assets/js/_hooks/index.js", "stale\n");
    project.write(
        "release.yaml",
        "release: works\nsteps:\n  bundle:\n    run: cat assets/js/app.js assets/js/_hooks/*.js > bundle.js\n    inputs: [assets/**]\n    \
         needs: [compile works]\n    outputs: [bundle.js]\n",
    );
    let bundle = || std::fs::read_to_string(project.release("works").join("bundle.js")).expect("the bundle");
    project.build();
    assert_eq!(
        bundle(),
        "import hooks from \"./_hooks\"\nexport const Works = {}\nimport * as c from \"./Works.hooks.js\"\n"
    );
    project.append("lib/works.hooks.js", "// more");
    assert_eq!(project.ran(), set(&["compile works", "bundle", "assemble", "preflight"]));
    assert!(bundle().contains("// more"));
}

/// An application that is broken in many ways, one after the other.
const BROKEN: &[(&str, &str)] = &[
    (
        "mix.exs",
        r##"defmodule Broken.MixProject do
  use Mix.Project

  def project do
    [
      app: :broken,
      version: "0.1.0",
      elixirc_options: [warnings_as_errors: true],
      aliases: [compile: ["compile", "after"], release: ["assets.deploy", "release"], setup: ["deps.get"]],
      deps: [{:lib, path: "deps/lib"}]
    ]
  end
end

defmodule Mix.Tasks.After do
  use Mix.Task
  def run(_), do: File.write!("priv/after.txt", "after\n")
end
"##,
    ),
    ("lib/broken.ex", "defmodule Broken do\n  def one, do: 1\nend\n"),
    ("priv/.keep", ""),
    (
        "deps/lib/mix.exs",
        "defmodule Lib.MixProject do\n  use Mix.Project\n  def project, do: [app: :lib, version: \"0.1.0\"]\nend\n",
    ),
    ("deps/lib/lib/lib.ex", "defmodule Lib do\n  def unused(x), do: 1\nend\n"),
];

#[test]
fn what_goes_wrong_while_compiling_is_said_with_what_to_do() {
    let space = TestSpace::new();
    let project = project(&space, "broken", "broken", BROKEN);
    // A warning in a dependency stops nothing. What Mix would run besides is named.
    let said = project.ask(&["build"]);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(said.err.contains("the alias `release` of mix.exs is not run"), "{}", said.err);
    assert!(!said.err.contains("`setup`") && !said.err.contains("`compile`"), "{}", said.err);
    let after = project.release("broken").join("lib/broken-0.1.0/priv/after.txt");
    assert!(after.is_file(), "the alias `compile` is run");
    let outside = space.path("words.txt");
    std::fs::write(&outside, "words\n").expect("a file");
    let outside = outside.display().to_string();
    let module = |body: &str| format!("defmodule Broken do\n  {body}\nend\n");
    for (body, words) in [
        ("def one(x), do: 1".to_owned(), vec!["step `compile broken` failed", "lib/broken.ex:2", "variable \"x\" is unused"]),
        (format!("@words File.read!({outside:?})\n  def words, do: @words"), vec![
            outside.as_str(),
            "lib/broken.ex:2",
            "is on this machine, but neither in the project nor in a path dependency",
        ]),
        ("@home File.read!(Path.expand(\"~/.words\"))\n  def home, do: @home".into(), vec!["hint:", ".words` is on this machine"]),
        ("@key System.fetch_env!(\"BROKEN_KEY\")\n  def key, do: @key".into(), vec!["BROKEN_KEY", "not set", "hint:"]),
        ("@tool System.cmd(\"no-such-tool\", [])\n  def tool, do: @tool".into(), vec![
            "hint: the program `no-such-tool` is missing",
        ]),
        (
            "{:error, why} = :gen_tcp.connect('example.com', 80, [])\n  raise \"cannot download http://example.com: #{inspect(why)}\"".into(),
            vec!["hint: steps have no network"],
        ),
    ] {
        project.write("../no-home/.words", "words\n");
        project.write("lib/broken.ex", &module(&body));
        let complaint = project.refused(1);
        for word in words {
            assert!(complaint.contains(word), "{body}: no {word:?} in {complaint}");
        }
    }
    project.write("lib/broken.ex", &module("def one, do: 1"));
    project.write("deps/lib/lib/lib.ex", "defmodule Lib do\n  def one, do: two()\nend\n");
    let complaint = project.refused(1);
    assert!(
        complaint.contains("step `compile lib` failed") && complaint.contains("lib/lib.ex:2"),
        "{complaint}"
    );
    project.write("deps/lib/lib/lib.ex", "defmodule Lib do\nend\n");
    project.edit("mix.exs", "version:", "compilers: Mix.compilers() ++ [:no_such], version:");
    let complaint = project.refused(1);
    assert!(complaint.contains("hint: the task `compile.no_such` (the compiler `:no_such`)"), "{complaint}");
}
