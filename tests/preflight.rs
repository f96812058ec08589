//! What is found in a release before it is put in its place: each kind of finding with a project that has it and one that has
//! not, what ends a build and what does not, and that what was found is said again.

mod support;

use std::fs;

use serde_json::Value;
use support::TestSpace;
use support::files::snapshot;
use support::project::{Built, Project, set};
use support::small::{Files, project};

/// An application that calls what is in no release of it: of Erlang, of Mix, of a dependency that is left out, a function
/// that is not there; and calls that are all right, although what they call is not there either.
const HARBOUR: Files<'_> = &[
    (
        "mix.exs",
        r#"defmodule Harbour.MixProject do
  use Mix.Project

  def project do
    [
      app: :harbour,
      version: "0.1.0",
      elixir: "~> 1.13",
      xref: [exclude: [Pilot.Nowhere]],
      deps: [{:tide, "~> 1.0"}, {:crane, path: "deps/crane", runtime: false}]
    ]
  end

  def application, do: [extra_applications: [:logger]]
end
"#,
    ),
    (
        "lib/harbour.ex",
        r#"defmodule Harbour do
  def hash(text) do
    :crypto.hash(:sha256, text)
  end

  def environment, do: Mix.env()

  def lift(weight), do: Crane.lift(weight)

  def docks, do: Tide.height(:docks, 1, 2)

  def private(list), do: Enum.map(list, fn x -> hidden(x) end)

  defp hidden(x), do: :eldap.open(x)
end
"#,
    ),
    (
        "lib/harbour/fine.ex",
        r#"defmodule Harbour.Fine do
  @compile {:no_warn_undefined, [Quiet, {Tide, :height, 9}]}

  # Only the compiler calls these.
  defmacro now, do: built_in(Mix.env())
  defp built_in(env), do: :observer.start() && env
  def __before_compile__(_env), do: Mix.Project.config()

  # Asked first.
  def maybe, do: if(Code.ensure_loaded?(:wx), do: :wx.new())

  # Caught.
  def try_it do
    :inets.start()
  rescue
    UndefinedFunctionError -> :no
  end

  # Said not to matter.
  def quiet, do: {Quiet.please(), Pilot.Nowhere.go(), Tide.height(1, 2, 3, 4, 5, 6, 7, 8, 9)}

  def there, do: {Tide.height(1), :maps.new(), :erlang.phash2(1), Logger.flush(), IEx.configuration()}
end
"#,
    ),
    (
        "lib/mix/tasks/harbour.ex",
        "defmodule Mix.Tasks.Harbour do\n  use Mix.Task\n  def run(_), do: Mix.shell().info(\"hello\")\nend\n",
    ),
    (
        "deps/tide/mix.exs",
        "defmodule Tide.MixProject do\n  use Mix.Project\n  def project, do: [app: :tide, version: \"1.0.0\"]\nend\n",
    ),
    (
        "deps/tide/lib/tide.ex",
        r#"defmodule Tide do
  def height(at), do: at
  def sign(text), do: :public_key.sign(text, :sha256, :key)
  def watch, do: :observer.start()
  def optional, do: Absent.Library.call()
end
"#,
    ),
    (
        "deps/crane/mix.exs",
        "defmodule Crane.MixProject do\n  use Mix.Project\n  def project, do: [app: :crane, version: \"1.0.0\"]\nend\n",
    ),
    ("deps/crane/lib/crane.ex", "defmodule Crane do\n  def lift(x), do: x\nend\n"),
    ("mix.lock", "%{}\n"),
];

fn harbour(space: &TestSpace) -> Project {
    let project = project(space, "harbour", "harbour", HARBOUR);
    // For overlays.
    fs::create_dir_all(project.dir.join("over")).expect("a folder");
    project
}

/// The findings of a build that say something, as `kind application module function -> about`.
fn said(built: &Value) -> Vec<String> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("-").to_owned();
    let mut lines: Vec<String> = built["findings"]
        .as_array()
        .unwrap_or_else(|| panic!("no findings: {built}"))
        .iter()
        .filter(|finding| finding["weight"] != "aside")
        .map(|f| {
            let who = format!("{} {} {}", text(f, "application"), text(f, "module"), text(f, "function"));
            format!("{} {who} -> {}", text(f, "kind"), text(f, "about"))
        })
        .collect();
    lines.sort();
    lines
}

fn said_by(built: &Built) -> Vec<String> {
    said(&built.json)
}

/// Asserts that each of these is somewhere in the text.
#[track_caller]
fn told(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn healthy_projects_have_no_findings() {
    let space = TestSpace::new();
    for project in [space.sequence("sequence"), space.shop("shop")] {
        assert_eq!(said_by(&project.build()), Vec::<String>::new());
        let text = project.ask(&["build"]);
        assert!(!text.err.contains("warning:"), "{}", text.err);
    }
}

#[test]
fn calls_that_lead_out_of_the_release() {
    let space = TestSpace::new();
    let project = harbour(&space);
    // `show` tells of the newest release of a version, and the other tests here build 0.1.0.
    project.append("release.yaml", "version: \"0.1.1\"");
    let first = project.ask(&["build"]);
    assert_eq!(first.status, Some(0), "{}", first.err);
    told(
        &first.err,
        &[
            "Harbour.hash/1 calls :crypto.hash/2, and the release has no module :crypto",
            "lib/harbour.ex:3:5",
            "    :crypto.hash(:sha256, text)",
            "add `:crypto` to `extra_applications`",
            "Harbour.environment/0 calls Mix.env/0",
            "Mix builds and is no part of what runs",
            "it belongs to the dependency crane, which is left out of the release",
            "Harbour.docks/0 calls Tide.height/3, and there is no such function",
            "Tide has height/1",
            "1 call in dependencies lead to functions that the release does not have (tide 1)",
        ],
    );
    let expected = [
        "missing_calls harbour Elixir.Harbour docks/0 -> Tide.height/3",
        "missing_calls harbour Elixir.Harbour environment/0 -> Mix.env/0",
        "missing_calls harbour Elixir.Harbour hash/1 -> :crypto.hash/2",
        "missing_calls harbour Elixir.Harbour hidden/1 -> :eldap.open/1",
        "missing_calls harbour Elixir.Harbour lift/1 -> Crane.lift/1",
        "missing_calls tide Elixir.Tide sign/1 -> :public_key.sign/3",
    ];
    let again = project.build();
    assert_eq!(said_by(&again), expected);
    again.assert_nothing_to_do();
    // What is asked for by name is shown, too.
    let asked = project.ask(&["preflight"]);
    assert_eq!(asked.status, Some(0), "{}{}", asked.out, asked.err);
    told(
        &asked.out,
        &[":public_key.sign/3", "Absent.Library.call/0", ":observer.start/0", "lib/harbour.ex:3"],
    );
    // And once more by a build with nothing to do, and by `show`.
    told(&project.ask(&["build"]).err, &["Harbour.hash/1 calls :crypto.hash/2", "(tide 1)"]);
    let shown = project.ask(&["show", "0.1.1", "--format", "json"]);
    let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
    assert_eq!(said(&shown), expected);
    told(&project.ask(&["show", "0.1.1"]).out, &["6 findings", "Harbour.hash/1 calls :crypto.hash/2"]);
}

#[test]
fn a_level_ends_the_build_and_leaves_the_last_good_release() {
    let space = TestSpace::new();
    let project = harbour(&space);
    project.edit("lib/harbour.ex", "    :crypto.hash(:sha256, text)", "    {:sha256, text}");
    project.append("release.yaml", "preflight: {missing_calls: off}");
    let silent = project.ask(&["build"]);
    assert!(silent.status == Some(0) && !silent.err.contains(" calls "), "{}", silent.err);
    let good = snapshot(&project.release("harbour"));
    project.edit("release.yaml", "missing_calls: off", "missing_calls: error");
    project.edit("lib/harbour.ex", "    {:sha256, text}", "    :crypto.hash(:sha512, text)");
    let ended = project.refused(1);
    told(
        &ended,
        &[
            "error: Harbour.hash/1 calls :crypto.hash/2",
            "`preflight: {missing_calls: warn}`",
            "the last good release",
        ],
    );
    assert_eq!(snapshot(&project.release("harbour")), good);
    let again = project.ask(&["build", "--format", "json"]);
    assert_eq!(again.status, Some(1));
    let report: Value = serde_json::from_str(&again.out).expect("JSON");
    assert!(report["release"].is_null() && said(&report).len() == 6, "{report}");
    assert_eq!(report["steps"]["ran"], 0, "what was found is known");
    assert_eq!(project.ask(&["preflight"]).status, Some(1));
    // Without it, nothing is looked at.
    project.edit("release.yaml", "{missing_calls: error}", "false");
    project.append("release.yaml", "version: \"0.1.2\"");
    assert_eq!(said_by(&project.build()), Vec::<String>::new());
    let shown = project.ask(&["show", "0.1.2", "--format", "json"]);
    let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
    assert!(shown["findings"].is_null() && shown["version"] == "0.1.2", "nobody looked: {shown}");
}

#[test]
fn only_what_changes_the_release_is_looked_at_again() {
    let space = TestSpace::new();
    let project = harbour(&space);
    project.build();
    // A release is the same with and without this.
    project.edit("deps/tide/lib/tide.ex", "  def height(at)", "  @doc \"How high.\"; def height(at)");
    let ran = project.ran();
    assert!(ran.contains("compile tide") && !ran.contains("preflight"), "{ran:?}");
    project.edit("release.yaml", "release: harbour", "release: harbour\npreflight: {nifs: off}");
    assert_eq!(project.ran(), set(&[]), "levels are no part of what is found");
}

#[test]
fn modules_that_are_missing_or_there_twice() {
    let space = TestSpace::new();
    let project = harbour(&space);
    project.append("release.yaml", "preflight: {missing_calls: off}\noverlays: [over]");
    // An overlay brings a module that another application has, and one that is none.
    let beam = project.build().release().join("lib/tide-1.0.0/ebin/Elixir.Tide.beam");
    let over = project.dir.join("over/lib/harbour-0.1.0/ebin");
    fs::create_dir_all(&over).expect("a folder");
    fs::copy(beam, over.join("Elixir.Tide.beam")).expect("copied");
    let ended = project.refused(1);
    told(&ended, &["the module Tide is in the applications harbour and tide", "a node loads only one"]);
    fs::remove_file(over.join("Elixir.Tide.beam")).expect("removed");
    // A specification that names what is not there; the boot script stays as it was.
    let spec = fs::read_to_string(project.release("harbour").join("lib/harbour-0.1.0/ebin/harbour.app"))
        .expect("a file");
    project.write(
        "over/lib/harbour-0.1.0/ebin/harbour.app",
        &spec.replace("'Elixir.Harbour',", "'Elixir.Harbour',ghost,"),
    );
    let ended = project.refused(1);
    told(&ended, &["the application harbour names the module :ghost", "lib/harbour-0.1.0/ebin/ghost.beam"]);
}

#[test]
fn a_boot_script_that_loads_what_is_not_there() {
    let space = TestSpace::new();
    let project = harbour(&space);
    project.append("release.yaml", "preflight: {missing_calls: off, modules: warn}\noverlays: [over]");
    let release = project.build().release();
    let script = "{ok, B} = file:read_file(hd(init:get_plain_arguments())), {script, I, L} = binary_to_term(B), \
                  M = [case X of {primLoad, ['Elixir.Tide' | T]} -> {primLoad, ['Elixir.Tide', phantom | T]}; _ -> X end || X <- L], \
                  ok = file:write_file(lists:last(init:get_plain_arguments()), term_to_binary({script, I, M})), halt().";
    let out = project.dir.join("over/releases/0.1.0");
    fs::create_dir_all(&out).expect("a folder");
    support::said(
        std::process::Command::new("erl")
            .args(["-noshell", "-eval", script, "-extra"])
            .arg(release.join("releases/0.1.0/start.boot"))
            .arg(out.join("start.boot")),
    );
    let built = project.build();
    let said = said_by(&built);
    assert!(said.contains(&"modules tide phantom - -> -".to_owned()), "{said:?}");
    told(
        &project.ask(&["build"]).err,
        &["releases/0.1.0/start.boot loads the module :phantom, which is not there"],
    );
}

#[test]
fn applications_that_wait_for_what_never_starts() {
    let space = TestSpace::new();
    let project = harbour(&space);
    project.append("release.yaml", "preflight: {missing_calls: off}\napplications: {tide: load}");
    // Mix refuses it itself.
    told(&project.refused(1), &["depends on :tide which is set to :load"]);
    // It is told not to look at one application: then that one is no concern of the preflight either.
    let releases = "releases: [harbour: [skip_mode_validation_for: [:harbour]]],\n      deps: ";
    project.edit("mix.exs", "deps: ", releases);
    project.build();
    // What comes from elsewhere is looked at.
    project.edit("release.yaml", "applications: {tide: load}", "overlays: [over]");
    let rel = project.build().release().join("releases/0.1.0/harbour.rel");
    let rel = fs::read_to_string(rel).expect("a file");
    let place = "over/releases/0.1.0/harbour.rel";
    project.write(place, &rel.replace("{compiler,", "{nothing,"));
    told(&project.refused(1), &["the application elixir needs compiler, which is not part of the release"]);
    let (before, after) = rel.split_once("{compiler,").expect("the compiler is in it");
    project.write(place, &format!("{before}{{compiler,{}", after.replacen("permanent", "load", 1)));
    told(
        &project.refused(1),
        &[
            "the application elixir is started (permanent) and waits for compiler, which is loaded and never started",
        ],
    );
}

#[test]
fn a_module_without_its_native_code() {
    let space = TestSpace::new();
    let nif = r#"-module(winch).
-export([pull/1]).
-on_load(init/0).
init() -> erlang:load_nif(filename:join(code:priv_dir(harbour), "winch"), 0).
pull(_) -> erlang:nif_error(not_loaded).
"#;
    let project = project(
        &space,
        "winch",
        "harbour",
        &[
            (
                "mix.exs",
                "defmodule Harbour.MixProject do\n  use Mix.Project\n  def project, do: [app: :harbour, version: \"0.1.0\"]\nend\n",
            ),
            ("src/winch.erl", nif),
            ("lib/harbour.ex", "defmodule Harbour do\nend\n"),
        ],
    );
    assert_eq!(said_by(&project.build()), ["nifs harbour winch - -> -"]);
    told(
        &project.ask(&["build"]).err,
        &[":winch loads native code when it is loaded, and its application harbour has no"],
    );
    // One that lies there is enough: which of them it loads only the module knows.
    fs::create_dir_all(project.dir.join("priv")).expect("a folder");
    project.write("winch.c", "int winch(void) { return 1; }\n");
    support::said(std::process::Command::new("cc").current_dir(&project.dir).args([
        "-shared",
        "-fPIC",
        "-o",
        "priv/winch.so",
        "winch.c",
    ]));
    assert_eq!(said_by(&project.build()), Vec::<String>::new());
    // Nor is one needed that is loaded when it is wanted.
    fs::remove_file(project.dir.join("priv/winch.so")).expect("removed");
    project.edit("src/winch.erl", "-on_load(init/0).", "-export([init/0]).");
    assert_eq!(said_by(&project.build()), Vec::<String>::new());
}

#[test]
fn a_configuration_that_no_node_can_read() {
    let space = TestSpace::new();
    let project = space.sequence("config");
    project.append("release.yaml", "overlays: [over]");
    let place = "over/releases/0.1.0/sys.config";
    for (text, parts) in [
        (
            "[{sequence, [{pid, <0.50.0>}]}].\n",
            ["sys.config cannot be read, line 1", "cannot be written down"],
        ),
        (
            "[{sequence,\n  [{f, #Fun<erl_eval.42>}]}].\n",
            ["sys.config cannot be read, line 2", "cannot be written down"],
        ),
        ("[{sequence, []}\n", ["sys.config cannot be read", "with a dot at its end"]),
        ("[{sequence, [initial]}].\n", ["has an entry that is none", "{sequence,[initial]}"]),
    ] {
        project.write(place, text);
        told(&project.refused(1), &parts);
    }
    project.write(place, "[{sequence, [{initial, 5}, {f, fun lists:map/2}]}].\n");
    project.build();
}

#[test]
fn a_configuration_is_read_with_the_variables_of_a_file() {
    let space = TestSpace::new();
    let project = project(
        &space,
        "port",
        "port",
        &[
            (
                "mix.exs",
                "defmodule Port.MixProject do\n  use Mix.Project\n  def project, do: [app: :port, version: \"0.1.0\"]\nend\n",
            ),
            ("lib/port.ex", "defmodule Harbour.Port do\n  @mode Application.compile_env(:port, :mode)\n  def mode, do: @mode\nend\n"),
            ("config/config.exs", "import Config\nconfig :port, mode: :fast\n"),
            (
                "config/runtime.exs",
                r#"import Config

config :port,
  database: System.fetch_env!("DATABASE_URL"),
  secret: System.fetch_env!("SECRET"),
  number: String.to_integer(System.get_env("NUMBER", "4000")),
  host: System.get_env("HOST"),
  name: Harbour.Port.mode()

if System.get_env("MODE"), do: config(:port, mode: String.to_atom(System.get_env("MODE")))
if System.get_env("BROKEN"), do: raise("no good: #{System.get_env("SECRET")}")
"#,
            ),
        ],
    )
    .with("HOST", "of the user, and not in the file");
    let ask = |text: &str| {
        project.write("prod.env", text);
        project.ask(&["preflight", "--env-file", "prod.env"])
    };
    let said = ask("# nothing\n");
    assert_eq!(said.status, Some(1), "{}{}", said.out, said.err);
    told(
        &said.err,
        &[
            "error: the variable DATABASE_URL is asked for and not set",
            "config/runtime.exs:4:",
            "  database: System.fetch_env!(\"DATABASE_URL\")",
            "error: the variable SECRET is asked for and not set",
            "add a line `SECRET=",
        ],
    );
    let good = "export DATABASE_URL='ecto://me:hunter2@db/port'\nSECRET=\"correct horse\"\nUNUSED_ONE=1\n";
    let said = ask(good);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    told(
        &said.out,
        &[
            "the configuration can be read with prod.env",
            "NUMBER is asked for and not in prod.env: \"4000\" is taken",
            "HOST is asked for and not in prod.env: nothing is taken",
            "UNUSED_ONE is in prod.env, and the configuration does not ask for it",
        ],
    );
    let said = ask(&format!("{good}NUMBER=many\n"));
    assert_eq!(said.status, Some(1));
    told(&said.err, &["config/runtime.exs cannot be read: (ArgumentError)", "config/runtime.exs:3:"]);
    let said = ask(&format!("{good}MODE=slow\n"));
    told(
        &said.err,
        &["port was compiled with :fast for [:mode] (`compile_env`), and starts with another value"],
    );
    let said = ask(&format!("{good}BROKEN=1\n"));
    told(&said.err, &["(RuntimeError) no good: $SECRET", "config/runtime.exs:11:"]);
    for said in [said, project.ask(&["preflight", "--env-file", "prod.env", "--format", "json"])] {
        let all = format!("{}{}", said.out, said.err);
        assert!(!all.contains("horse") && !all.contains("hunter2"), "{all}");
    }
    let said = ask("DATABASE_URL\n");
    assert_eq!(said.status, Some(2));
    told(&said.err, &["prod.env:1:1", "a line without `=`"]);
    assert!(!project.release("port").exists(), "nothing is put in its place");
}
