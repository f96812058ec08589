//! What happens while a Mix project is compiled: compilers, their options, what they read and what they make. Each project
//! is compared with what `mix release` makes of it; then something is edited, and only what depends on it runs.

mod support;

use std::os::unix::fs::symlink;

use support::TestSpace;
use support::project::set;
use support::small::{project, same_as_mix};

/// A calculator: yecc, leex, Erlang with headers of a dependency, of OTP and of its own, options for each compiler.
const CALC: &[(&str, &str)] = &[
    (
        "mix.exs",
        r#"defmodule Calc.MixProject do
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
"#,
    ),
    ("words/one.txt", "one\n"),
    ("prod/calc_prod.ex", "defmodule Calc.Prod do\n  def env, do: :prod\nend\n"),
    ("test/support/case.ex", "defmodule Calc.Case do\n  raise \"not for a release\"\nend\n"),
    (
        "lib/calc.ex",
        r#"defmodule Calc do
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
"#,
    ),
    (
        "lib/calc/application.ex",
        r#"defmodule Calc.Application do
  use Application
  def start(_, _), do: Supervisor.start_link([], strategy: :one_for_one, name: Calc.Supervisor)
end
"#,
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
        r#"defmodule Units.MixProject do
  use Mix.Project
  def project, do: [app: :units, version: "0.3.0", deps: [], compilers: [:label] ++ Mix.compilers()]
  def application, do: []
end

defmodule Mix.Tasks.Compile.Label do
  use Mix.Task
  def run(_), do: File.write!("lib/label.ex", "defmodule Units.Label do\n  def text, do: #{inspect(File.read!("LABEL"))}\nend\n")
end
"#,
    ),
    ("deps/units/LABEL", "metre\n"),
    ("deps/units/include/units.hrl", "-define(UNIT, 1).\n"),
    ("deps/units/lib/units.ex", "defmodule Units do\n  def label, do: Units.Label.text()\nend\n"),
    (
        "deps/watch/mix.exs",
        r#"defmodule Watch.MixProject do
  use Mix.Project
  def project, do: [app: :watch, version: "0.1.0"]
end
"#,
    ),
    (
        "deps/watch/lib/watch.ex",
        r#"defmodule Watch.Tracer do
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
"#,
    ),
];

/// An application with files that are not code.
const FILES: &[(&str, &str)] = &[
    (
        "mix.exs",
        r#"defmodule Files.MixProject do
  use Mix.Project
  def project, do: [app: :files, version: "0.1.0"]
end
"#,
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
