//! Steps of the user that are given the toolchain: `mix`, `erl`, `escript`, `erlc` and `rebar3` are those that build the
//! project, which they find compiled.

mod support;

use support::TestSpace;
use support::mix::assert_same;
use support::project::set;
use support::small::{Files, mix_of, project};

/// A task of a dependency digests what lies in `priv/static`, as `mix phx.digest` does: it wants the project compiled, and
/// asks its code and its configuration.
const PAGE: Files<'_> = &[
    (
        "mix.exs",
        r##"defmodule Page.MixProject do
  use Mix.Project

  def project do
    [
      app: :page,
      version: "VERSION" |> File.read!() |> String.trim(),
      deps: [{:stamp, path: "deps/stamp", runtime: false}],
      aliases: [digest: ["stamp.digest priv/static"]]
    ]
  end

  def application, do: []
end
"##,
    ),
    ("VERSION", "0.1.0\n"),
    ("config/config.exs", "import Config\nconfig :page, suffix: \"digest\"\n"),
    ("lib/page.ex", "defmodule Page do\n  def salt, do: \"salt\"\nend\n"),
    ("priv/static/app.js", "alert(1)\n"),
    (
        "tools/say.escript",
        "#!/usr/bin/env escript\nmain([]) -> io:format(\"~s~n\", [os:getenv(\"MIX_ENV\")]).\n",
    ),
    ("tools/extra.erl", "-module(extra).\n-export([one/0]).\none() -> 1.\n"),
    (
        "deps/stamp/mix.exs",
        r#"defmodule Stamp.MixProject do
  use Mix.Project
  def project, do: [app: :stamp, version: "0.3.0", deps: []]
  def application, do: []
end
"#,
    ),
    (
        "deps/stamp/lib/stamp.ex",
        r##"defmodule Mix.Tasks.Stamp.Digest do
  use Mix.Task

  def run([folder]) do
    Mix.Task.run("compile", [])
    {:ok, _} = Application.ensure_all_started(:page)
    salt = Mix.Project.config()[:app] |> Atom.to_string() |> Macro.camelize()
    salt = apply(Module.concat([salt]), :salt, [])
    suffix = Application.fetch_env!(:page, :suffix)

    for file <- Path.wildcard(Path.join(folder, "*.js")) do
      text = File.read!(file)
      sum = Base.encode16(:erlang.md5(salt <> text), case: :lower)
      File.write!(Path.rootname(file) <> "-" <> sum <> ".js", text)
      File.write!(file <> "." <> suffix, [sum, ?\n, inspect({Mix.env(), Mix.target()}), ?\n])
    end
  end
end
"##,
    ),
];

const RELEASE: &str = "\
release: page
steps:
  programs:
    run:
      - mkdir made
      - erl -noshell -eval 'io:put_chars(code:root_dir()), halt().' > made/root.txt
      - escript tools/say.escript > made/env.txt
      - erlc -o made tools/extra.erl
      - rebar3 version > made/rebar3.txt
      - elixir -e 'IO.write Mix.env()' > made/mix.txt || true
    inputs: [tools/**]
    outputs: [made]
    toolchain: true
  digest:
    run:
      - test \"$(cat made/env.txt)\" = prod -a -s made/extra.beam
      - grep -q '^rebar ' made/rebar3.txt
      - grep -q otp made/root.txt
      - mix digest
    inputs: [priv/static/**]
    outputs: [priv/static]
    needs: [compile page, programs]
    into: lib/page
    toolchain: true
";

#[test]
fn a_task_of_a_dependency_digests_what_goes_into_the_release() {
    let space = TestSpace::new();
    let project = project(&space, "page", "page", PAGE);
    project.write("release.yaml", RELEASE);
    let mix = mix_of(&space, &project, "project");
    mix.task(&["digest"]);
    assert_same(&project, &mix, "page", "0.1.0");
    let digest = project.release("page").join("lib/page-0.1.0/priv/static/app.js.digest");
    let text = std::fs::read_to_string(digest).expect("the digest");
    assert!(text.ends_with("{:prod, :host}\n"), "{text}");
    project.build().assert_nothing_to_do();

    // What `mix` reads of the project counts, and what its own code is.
    project.edit("config/config.exs", "digest", "sum");
    assert!(project.ran().contains("digest"));
    assert!(project.release("page").join("lib/page-0.1.0/priv/static/app.js.sum").is_file());
    project.edit("lib/page.ex", "salt\"", "pepper\"");
    let ran = project.ran();
    assert!(
        ran.is_superset(&set(&["compile page", "digest", "assemble"])) && !ran.contains("programs"),
        "{ran:?}"
    );
}

#[test]
fn a_step_that_calls_mix_without_the_toolchain_is_told_so() {
    let space = TestSpace::new();
    let project = project(&space, "page", "page", PAGE);
    project.write("release.yaml", "release: page\nsteps:\n  odd:\n    run: cd . && mix --version\n");
    let said = project.ask(&["build"]);
    assert!(
        said.err.contains("step `odd` calls `mix` of this machine, whatever version that is"),
        "{}",
        said.err
    );
    assert!(said.err.contains("`toolchain: true`") && said.err.contains("release.yaml:4:"), "{}", said.err);
    let bare = project.clone();
    bare.write(
        "release.yaml",
        "release: page\nversion: \"1\"\nproject: tools\nsteps:\n  odd:\n    run: erl\n    toolchain: true\n",
    );
    let said = bare.refused(2);
    assert!(
        said.contains("step `odd` wants the toolchain of the project, and there is no project"),
        "{said}"
    );
}

/// A project of rebar3: a script in Erlang writes a module and a file of `priv` before the application is compiled, and a VM
/// asks the application after that.
const TILL: Files<'_> = &[
    ("rebar.config", "{relx, [{release, {till, \"0.1.0\"}, [till]}]}.\n"),
    ("src/till.app.src", "{application, till, [{vsn, \"0.1.0\"}, {applications, [kernel, stdlib]}]}.\n"),
    ("src/till.erl", "-module(till).\n-export([price/0]).\nprice() -> till_prices:bread().\n"),
    ("prices.txt", "bread 3\n"),
    (
        "tools/prices.escript",
        r#"#!/usr/bin/env escript
main([]) ->
    {ok, Text} = file:read_file("prices.txt"),
    [Name, Price] = string:lexemes(Text, " \n"),
    Code = ["-module(till_prices).\n-export([", Name, "/0]).\n", Name, "() -> ", Price, ".\n"],
    ok = file:write_file("src/till_prices.erl", Code),
    ok = filelib:ensure_dir("priv/names.txt"),
    ok = file:write_file("priv/names.txt", Name).
"#,
    ),
    (
        "release.yaml",
        "\
release: till
steps:
  prices:
    run: escript tools/prices.escript
    inputs: [tools/**, prices.txt]
    outputs: [src/till_prices.erl, priv/names.txt]
    before: compile till
    toolchain: true
  asked:
    run: erl -noshell -pa _build/*/lib/till/ebin -eval 'io:format(\"~p~n\", [till:price()]), halt().' > asked.txt
    needs: [compile till]
    outputs: [asked.txt]
    toolchain: true
",
    ),
];

#[test]
fn steps_come_before_and_after_the_compilation_of_an_application_of_rebar3() {
    let space = TestSpace::new();
    let project = project(&space, "till", "till", TILL);
    project.build();
    let read = |path: &str| std::fs::read_to_string(project.release("till").join(path)).expect("a file");
    assert_eq!((read("asked.txt"), read("lib/till-0.1.0/priv/names.txt")), ("3\n".into(), "bread".into()));
    assert!(!project.dir.join("src/till_prices.erl").exists(), "the checkout is left as it is");
    project.build().assert_nothing_to_do();
    // What lies there is not what counts; rebar3 is asked again what the project is, as with every new name in `src`.
    project.write("src/till_prices.erl", "nothing to compile");
    assert!(!project.ran().contains("compile till"));
    project.write("prices.txt", "bread 4\n");
    assert!(project.ran().is_superset(&set(&["prices", "compile till", "asked", "assemble"])));
    assert_eq!(read("asked.txt"), "4\n");
}
