//! Upgrades of projects that are not as generators make them.

mod support;

use support::TestSpace;
use support::pair::{Pair, application, instructions, mix};
use support::small::project;

/// Has it rehearsed, which has to pass.
#[track_caller]
fn rehearsed(pair: &Pair) {
    let said = pair.ask(&["--rehearse"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("rehearsed 0.1.0 -> 0.2.0 and back"), "{}", said.out);
}

/// A server that is registered by its argument.
const SERVER: &str = "defmodule Lists.Server do
  use GenServer
  def start_link(name), do: GenServer.start_link(__MODULE__, name, name: name)
  def init(name), do: {:ok, name}
end
";

#[test]
fn children_that_another_module_lists_are_started() {
    let space = TestSpace::new();
    let list = "defmodule Lists.Children do\n  def all, do: [Supervisor.child_spec({Lists.Server, :one}, id: :one)]\nend\n";
    let top =
        application("lists", "Lists.Deep").replace("[Lists.Deep]", "[Lists.Deep] ++ Lists.Children.all()");
    let deep = "defmodule Lists.Deep do\n  use Supervisor\n  def start_link(arg), do: Supervisor.start_link(__MODULE__, arg, name: __MODULE__)\n  def init(_), do: Supervisor.init([{Lists.Server, :deep}], strategy: :one_for_one)\nend\n";
    let files =
        [("lib/server.ex", SERVER), ("lib/list.ex", list), ("lib/top.ex", &top), ("lib/deep.ex", deep)];
    let pair = Pair::new(&space, "lists", &files, |project| {
        project.edit(
            "lib/list.ex",
            "id: :one)]",
            "id: :one), Supervisor.child_spec({Lists.Server, :two}, id: :two)]",
        );
        project.edit("lib/server.ex", "use GenServer", "use GenServer, restart: :transient");
    });
    let done = instructions(&pair.upgrade(), "lists").join("\n");
    assert!(done.contains("start=>[two]") || done.contains("start => [two]"), "{done}");
    assert!(done.contains("again"), "{done}");
    rehearsed(&pair);
}

#[test]
fn modules_of_two_applications_are_replaced_in_the_order_in_which_they_call_each_other() {
    let space = TestSpace::new();
    let shared = ", build_path: \"../../_build\", deps_path: \"../../deps\", lockfile: \"../../mix.lock\"";
    let (one, two) = (
        mix("aa", "0.1.0", shared),
        mix("bb", "0.1.0", &format!("{shared}, deps: [{{:aa, in_umbrella: true}}]")),
    );
    let (top_one, top_two) = (application("aa", ""), application("bb", ""));
    let root = "defmodule Both.MixProject do\n  use Mix.Project\n  def project, do: [apps_path: \"apps\", version: \"0.1.0\", releases: [both: [applications: [aa: :permanent, bb: :permanent]]]]\nend\n";
    let files = [
        ("mix.exs", root),
        ("apps/aa/mix.exs", &one),
        ("apps/bb/mix.exs", &two),
        ("apps/aa/lib/app.ex", &top_one),
        ("apps/bb/lib/app.ex", &top_two),
        ("apps/aa/lib/math.ex", "defmodule Aa.Math do\n  def one, do: 1\nend\n"),
        ("apps/bb/lib/caller.ex", "defmodule Bb.Caller do\n  def call, do: Aa.Math.one()\nend\n"),
    ];
    let pair = Pair::new(&space, "both", &files, |project| {
        project.edit("apps/aa/mix.exs", "0.1.0", "0.2.0");
        project.edit("apps/bb/mix.exs", "0.1.0", "0.2.0");
        project.edit("apps/aa/lib/math.ex", "def one, do: 1", "def one, do: 1\n  def two, do: 2");
        project.edit("apps/bb/lib/caller.ex", "Aa.Math.one()", "Aa.Math.two()");
    });
    pair.upgrade();
    let relup = pair.packed("releases/0.2.0/relup");
    let places = |what: &str| -> Vec<usize> { relup.match_indices(what).map(|(at, _)| at).collect() };
    let (callers, called) = (places("{load,{'Elixir.Bb.Caller'"), places("{load,{'Elixir.Aa.Math'"));
    assert!(called[0] < callers[0], "up: what is called comes first: {relup}");
    assert!(callers[1] < called[1], "down: what calls comes first: {relup}");
}

#[test]
fn start_phases_restart_the_application() {
    let space = TestSpace::new();
    let top = application("phases", "")
        .replace("  def start(", "  def start_phase(_, _, _), do: :ok\n\n  def start(");
    let pair = Pair::new(&space, "phases", &[("lib/app.ex", &top)], |project| {
        project.edit("mix.exs", "mod: {", "start_phases: [go: []], mod: {");
    });
    assert_eq!(instructions(&pair.upgrade(), "phases"), ["{restart_application,phases}"]);
}

#[test]
fn a_release_without_a_runtime_is_moved() {
    let space = TestSpace::new();
    let yaml = "release: bare\nupgrades: hot\nruntime: false\n";
    let files = [
        ("release.yaml", yaml),
        ("lib/app.ex", &application("bare", "")),
        ("lib/x.ex", "defmodule Bare.X do\n  def x, do: 1\nend\n"),
    ];
    let pair = Pair::new(&space, "bare", &files, |project| project.edit("lib/x.ex", "do: 1", "do: 2"));
    rehearsed(&pair);
}

#[test]
fn the_script_of_relx_moves_a_release() {
    let space = TestSpace::new();
    let specification = "{application, plain, [{vsn, \"0.1.0\"}, {registered, []}, {mod, {plain_app, []}}, {applications, [kernel, stdlib]}]}.\n";
    let app = "-module(plain_app).\n-behaviour(application).\n-behaviour(supervisor).\n-export([start/2, stop/1, init/1]).\n\
        start(_, _) -> supervisor:start_link({local, plain_sup}, ?MODULE, []).\nstop(_) -> ok.\n\
        init([]) -> {ok, {#{}, [#{id => one, start => {plain, start_link, [one]}}]}}.\n";
    let server = "-module(plain).\n-behaviour(gen_server).\n-export([start_link/1, init/1, handle_call/3, handle_cast/2]).\n\
        start_link(Name) -> gen_server:start_link({local, Name}, ?MODULE, [], []).\ninit([]) -> {ok, x}.\n\
        handle_call(_, _, S) -> {reply, S, S}.\nhandle_cast(_, S) -> {noreply, S}.\n";
    let relx =
        "{erl_opts, [debug_info]}.\n{relx, [{release, {plain, \"0.1.0\"}, [plain, sasl]}, {mode, prod}]}.\n";
    let files = [
        ("release.yaml", "release: plain\nupgrades: hot\n"),
        ("rebar.config", relx),
        ("src/plain.app.src", specification),
        ("src/plain_app.erl", app),
        ("src/plain.erl", server),
    ];
    let project = project(&space, "plain", "plain", &files);
    let pair = Pair::of(&space, "plain", project, |project| {
        project.edit("rebar.config", "0.1.0", "0.2.0");
        project.edit("src/plain.app.src", "0.1.0", "0.2.0");
        project.edit(
            "src/plain_app.erl",
            "[one]}}]",
            "[one]}}, #{id => two, start => {plain, start_link, [two]}}]",
        );
    });
    rehearsed(&pair);
}

#[test]
fn a_server_that_becomes_another_kind_of_process_restarts_the_application() {
    let space = TestSpace::new();
    let server = "defmodule Turns.Server do
  use GenServer
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg, name: __MODULE__)
  def init(arg), do: {:ok, arg}
end
";
    let machine = "defmodule Turns.Server do
  @behaviour :gen_statem
  def child_spec(arg), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [arg]}}
  def start_link(arg), do: :gen_statem.start_link({:local, __MODULE__}, __MODULE__, arg, [])
  def callback_mode, do: :state_functions
  def init(arg), do: {:ok, :off, arg}
  def off(:cast, _, data), do: {:keep_state, data}
end
";
    let files = [("lib/app.ex", &*application("turns", "Turns.Server")), ("lib/server.ex", server)];
    let pair = Pair::new(&space, "turns", &files, |project| project.write("lib/server.ex", machine));
    assert_eq!(instructions(&pair.upgrade(), "turns"), ["{restart_application,turns}"]);
}

#[test]
fn an_appup_that_is_for_another_version_says_nothing() {
    let space = TestSpace::new();
    let specification =
        "{application, dep, [{vsn, \"0.1.0\"}, {registered, []}, {applications, [kernel, stdlib]}]}.\n";
    let appup = "{\"0.0.9\", [{<<\".*\">>, [{restart_application, dep}]}], [{<<\".*\">>, [{restart_application, dep}]}]}.\n";
    let files = [
        ("mix.exs", &*mix("stale", "0.1.0", ", deps: [{:dep, path: \"dep\", manager: :rebar3}]")),
        ("lib/app.ex", &application("stale", "")),
        ("dep/rebar.config", "{erl_opts, [debug_info]}.\n"),
        ("dep/src/dep.app.src", specification),
        ("dep/src/dep.erl", "-module(dep).\n-export([f/0]).\nf() -> 1.\n"),
        ("dep/ebin/dep.appup", appup),
    ];
    let pair = Pair::new(&space, "stale", &files, |project| {
        project.edit("dep/src/dep.app.src", "0.1.0", "0.2.0");
        project.edit("dep/src/dep.erl", "-> 1", "-> 2");
    });
    let upgrade = pair.upgrade();
    assert!(upgrade["ways"][0]["notes"].to_string().contains("its appup is for 0.0.9"), "{upgrade}");
    let done = instructions(&upgrade, "dep");
    assert_eq!(done, ["{load_module,dep,soft_purge,soft_purge,[]}"]);
}

#[test]
fn children_that_a_condition_decides_on_are_named_and_left_to_the_rehearsal() {
    let space = TestSpace::new();
    let list = "defmodule Maybe.Children do\n  def all, do: if(System.get_env(\"NOBODY_SETS_THIS\"), do: [Maybe.Never], else: [])\nend\n";
    let top = application("maybe", "").replace("[]", "Maybe.Children.all()");
    let word = "defmodule Maybe do\n  def word, do: :one\nend\n";
    let files = [("lib/list.ex", list), ("lib/top.ex", &top), ("lib/maybe.ex", word)];
    let pair = Pair::new(&space, "maybe", &files, |project| project.edit("lib/maybe.ex", ":one", ":two"));
    // What the supervisor starts is left alone, and nothing is restarted on suspicion.
    let upgrade = pair.upgrade();
    assert_eq!(upgrade["ways"][0]["way"], "hot", "{upgrade}");
    let notes = upgrade["ways"][0]["notes"].to_string();
    assert!(
        notes.contains("Maybe.Application starts children that do not follow from its code alone"),
        "{notes}"
    );
    rehearsed(&pair);

    // Where they are others, nobody can see it but the rehearsal, which does.
    pair.without_package();
    pair.project.edit("lib/list.ex", "else: []", "else: [{Agent, fn -> 1 end}]");
    pair.project.build();
    let said = pair.ask(&["--rehearse"]);
    assert_eq!(said.status, Some(1), "{}{}", said.out, said.err);
    assert!(said.err.contains("the children of maybe are none, and would be Agent"), "{}", said.err);
}
