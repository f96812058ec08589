//! Upgrades of running nodes, made by `relgraph upgrade` and taken by `bin/NAME`: what was said to work does.

mod support;

use std::fs;

use support::node::Node;
use support::pair::{Pair, application};
use support::{TestSpace, small, source};

/// The zoo, in both versions: every kind of process, dependencies that come and go, configuration of every source.
fn zoo(space: &TestSpace) -> Pair {
    let text =
        |version: &str| fs::read_to_string(source(&format!("tests/projects/zoo-{version}"))).expect("a zoo");
    let project = small::unpacked(space, "zoo", "zoo", &text("0.1.0"));
    project.write("release.yaml", "release: zoo\nupgrades: hot\n");
    Pair::of(space, "zoo", project, |project| {
        for gone in ["lib/zoo/early.ex", "lib/zoo/helper.ex", "lib/zoo/shared.ex"] {
            fs::remove_file(project.dir.join(gone)).expect("it can be removed");
        }
        fs::remove_dir_all(project.dir.join("vendor/gone")).expect("it can be removed");
        small::write_all(project, &text("0.2.0"));
    })
}

/// Asserts that expressions have these values. All are asked at once: each question is a VM.
#[track_caller]
fn all(node: &Node, expected: &[(&str, &str)]) {
    let question =
        |(expression, _): &(&str, &str)| format!("IO.puts(inspect({expression}, limit: :infinity))\n");
    let answers = node.rpc(&expected.iter().map(question).collect::<String>());
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), expected.len(), "{answers:?}");
    for ((expression, value), answer) in expected.iter().zip(answers) {
        assert_eq!(answer, *value, "{expression}");
    }
}

#[test]
fn every_kind_of_process_lives_through_an_upgrade_and_back() {
    let space = TestSpace::new();
    let pair = zoo(&space);
    let upgrade = pair.upgrade();
    assert_eq!(upgrade["ways"][0]["way"], "hot", "{upgrade}");
    let node = pair.node(&space).with("ZOO", "z");
    node.daemon("is_pid(Process.whereis(Zoo.Sub))");
    // States of their own, a child that came meanwhile, a task in flight, a table and a port with somebody behind it.
    let remember = "
        :persistent_term.put(:pids, Map.new(Supervisor.which_children(Zoo.Supervisor), &{elem(&1, 0), elem(&1, 1)}))
        {:ok, guest} = DynamicSupervisor.start_child(Zoo.Dynamic, {Zoo.Guest, :lion})
        :persistent_term.put(:guest, guest)
        :gen_event.notify(Zoo.Events, :opened)
        Zoo.Table.put(:key, 1)
        parent = spawn(fn -> Process.register(self(), :parent); receive do {:waiting, pid} -> :persistent_term.put(:task, pid) end; Process.sleep(:infinity) end)
        {:ok, _} = Task.Supervisor.start_child(Zoo.Tasks, Zoo.Work, :wait, [parent])
        IO.inspect({Zoo.Server.next(), Zoo.Server.next(), Zoo.Machine.flip(), Zoo.Port.echo(\"a\")})";
    assert_eq!(node.rpc(remember), "{0, 1, {:off, 0}, \"a\"}");
    all(&node, &[("Zoo.summary()", "{:helped, 41, :zoo, :silence}")]);

    let package = pair.package().display().to_string();
    let said = node.says(&["upgrade", &package]);
    assert!(said.starts_with("zoo 0.1.0 -> 0.2.0: "), "{said}");
    let same = "(for {id, pid, _, _} <- Supervisor.which_children(Zoo.Supervisor), Map.get(:persistent_term.get(:pids), id, pid) != pid, do: id)";
    let upgraded = [
        ("Zoo.summary()", "{:assisted, 42, :dep, :moo}"),
        (same, "[]"),
        ("Zoo.Server.next()", "2"),
        ("Zoo.Server.state().since", ":upgrade"),
        ("Zoo.Machine.flip()", "{:light, 1, :upgrade}"),
        (":gen_event.call(Zoo.Events, Zoo.Handler, :seen)", "{1, [:opened]}"),
        ("GenServer.call(:persistent_term.get(:guest), :name)", "{:guest, :lion}"),
        ("Zoo.Table.put(:other, 2)", "true"),
        ("{Zoo.Table.get(:key), Zoo.Table.get(:other)}", "{[key: 1], [other: {:new, 2}]}"),
        ("Zoo.Port.echo(\"b\")", "{:new, \"b\"}"),
        ("Process.alive?(:persistent_term.get(:task))", "true"),
        ("Process.whereis(Zoo.Early)", "nil"),
        ("Agent.get(Zoo.Late, & &1)", "{2, \"z\"}"),
        ("Agent.get(Extra, & &1)", "\"hello\""),
        ("Process.whereis(Gone)", "nil"),
        ("Enum.map(Supervisor.which_children(Zoo.Sub), &elem(&1, 0))", "[:one, :three]"),
        (
            "Enum.map(Supervisor.which_children(Zoo.Supervisor), &elem(&1, 0)) |> Enum.reverse() |> Enum.take(3)",
            "[Zoo.Machine, Zoo.Server, Zoo.Late]",
        ),
        (
            "Enum.sort(Application.get_all_env(:zoo))",
            "[added: true, provided: {2, \"/values\", \"z\"}, runtime: {2, \"z\"}, static: 2]",
        ),
        (
            ":persistent_term.get(:zoo_config) |> Enum.map(fn {c, n, r} -> {Enum.sort(c), n, r} end)",
            "[{[provided: {2, \"/values\", \"z\"}, runtime: {2, \"z\"}, static: 2], [added: true], [:dropped]}]",
        ),
        ("(for m <- [Zoo.Helper, Zoo.Early, Gone], do: :code.is_loaded(m))", "[false, false, false]"),
    ];
    all(&node, &upgraded);
    // The task that was in flight ends with what it knew.
    let finish = "send(:persistent_term.get(:task), {:finish, self()}); receive do x -> IO.inspect(x) end";
    assert_eq!(node.rpc(finish), "{:finished, :old}");

    node.says(&["downgrade", "0.1.0"]);
    let downgraded = [
        ("Zoo.summary()", "{:helped, 41, :zoo, :silence}"),
        (same, "[Zoo.Early]"),
        ("Zoo.Server.next()", "3"),
        ("Map.has_key?(:sys.get_state(Zoo.Server), :since)", "false"),
        ("Zoo.Machine.flip()", "{:off, 2}"),
        (":gen_event.call(Zoo.Events, Zoo.Handler, :seen)", "[:opened]"),
        ("GenServer.call(:persistent_term.get(:guest), :name)", ":lion"),
        ("Process.whereis(Zoo.Late)", "nil"),
        ("Process.whereis(Extra)", "nil"),
        ("Agent.get(Gone, & &1)", ":here"),
        ("Enum.map(Supervisor.which_children(Zoo.Sub), &elem(&1, 0))", "[:two, :one]"),
        (
            "Enum.sort(Application.get_all_env(:zoo))",
            "[dropped: true, provided: {1, \"/values\", \"z\"}, runtime: {1, \"z\"}, static: 1]",
        ),
    ];
    all(&node, &downgraded);

    // Up once more, and the new version is the one that starts.
    node.says(&["upgrade", "0.2.0"]);
    node.stop();
    node.daemon("is_pid(Process.whereis(Zoo.Late))");
    all(&node, &[("Zoo.summary()", "{:assisted, 42, :dep, :moo}"), ("Zoo.Server.state().since", ":boot")]);
    node.stop();
}

#[test]
fn clients_of_the_example_call_all_the_time_and_no_call_fails() {
    let space = TestSpace::new();
    let old = space.sequence("sequence").build().release();
    let project = space.example("sequence-0.2.0", "next");
    let new = project.build().release();
    let made = project.ask(&["upgrade", &old.display().to_string(), &new.display().to_string()]);
    assert_eq!(made.status, Some(0), "{}{}", made.out, made.err);
    let package =
        project.dir.join("_build/relgraph/prod/sequence-0.2.0.upgrade.tar.gz").display().to_string();
    let release = space.path("running");
    fs::rename(&old, &release).expect("moved");
    let node = Node::new(&space, &release, "sequence").with("SEQUENCE_START", "40");
    node.daemon("is_pid(Process.whereis(Sequence.Server))");
    // Four clients that collect what they get, until they are asked.
    let start = "
        client = fn client, numbers ->
          receive do
            {:tell, from} -> send(from, {:numbers, numbers})
          after
            0 -> client.(client, [Sequence.next() | numbers])
          end
        end
        :persistent_term.put(:clients, for _ <- 1..4 do spawn(fn -> client.(client, []) end) end)";
    let end = "
        clients = :persistent_term.get(:clients)
        all = for pid <- clients do
          send(pid, {:tell, self()})
          receive do {:numbers, numbers} -> numbers after 5000 -> [:dead] end
        end
        numbers = all |> List.flatten() |> Enum.sort()
        IO.inspect({Enum.all?(all, &(&1 != [])), numbers == Enum.to_list(hd(numbers)..List.last(numbers)), length(numbers) > 100})";
    // No call failed, and every number was handed out once.
    node.rpc(start);
    node.says(&["upgrade", &package]);
    assert_eq!(node.rpc(end), "{true, true, true}");
    let now = [
        ("Sequence.recent() |> length()", "10"),
        ("String.starts_with?(Sequence.recent_label(), \"#\")", "true"),
        ("Enum.sort(Application.get_all_env(:sequence))", "[keep: 10, start: 40, step: 1]"),
        ("Sequence.Stash.get() == Sequence.next()", "true"),
    ];
    all(&node, &now);
    node.rpc(start);
    node.says(&["downgrade", "0.1.0"]);
    assert_eq!(node.rpc(end), "{true, true, true}");
    all(
        &node,
        &[
            ("Sequence.Stash.get() == Sequence.next()", "true"),
            ("tuple_size(:sys.get_state(Sequence.Server))", "2"),
        ],
    );
    node.says(&["upgrade", "0.2.0"]);
    node.stop();
    node.daemon("is_pid(Process.whereis(Sequence.Server))");
    all(&node, &[("Sequence.next()", "40"), ("Sequence.recent_label()", "\"#40\"")]);
    node.stop();
}

const FRAGILE: &str = "defmodule Fragile.Server do
  use GenServer
  @vsn 1
  def start_link(_), do: GenServer.start_link(__MODULE__, 0, name: __MODULE__)
  def next, do: GenServer.call(__MODULE__, :next)
  def init(n), do: {:ok, n}
  def handle_call(:next, _from, n), do: {:reply, n, n + 1}
end
";

#[test]
fn a_migration_that_raises_leaves_the_old_version_with_its_processes_and_states() {
    let space = TestSpace::new();
    let callback = application("fragile", "Fragile.First, Fragile.Server");
    let first = FRAGILE.replace("Fragile.Server", "Fragile.First");
    let files = [
        ("lib/server.ex", FRAGILE),
        ("lib/first.ex", &first),
        ("lib/application.ex", &callback),
        ("config/runtime.exs", "import Config\nconfig :fragile, version: 1\n"),
    ];
    let pair = Pair::new(&space, "fragile", &files, |project| {
        let migrates = "n + 1}\n  def code_change(1, n, _), do: {:ok, n + 1000}\n  def code_change({:down, 1}, n, _), do: {:ok, n - 1000}";
        for (file, change) in [
            ("lib/first.ex", migrates.to_owned()),
            ("lib/server.ex", migrates.replace("{:ok, n + 1000}", "raise(\"no way #{n}\")")),
        ] {
            project.edit(file, "@vsn 1", "@vsn 2");
            project.edit(file, "n + 1}", &change);
        }
        project.edit("config/runtime.exs", "version: 1", "version: 2");
    });
    pair.upgrade();
    let node = pair.node(&space);
    node.daemon("is_pid(Process.whereis(Fragile.Server))");
    let pids =
        "IO.inspect({Process.whereis(Fragile.First), Process.whereis(Fragile.Server), :init.get_status()})";
    let before = node.rpc(pids);
    assert_eq!(node.rpc("IO.inspect({Fragile.First.next(), Fragile.Server.next()})"), "{0, 0}");
    let asked = node.ask(&["upgrade", &pair.package().display().to_string()]);
    assert_eq!(asked.status, Some(1), "{}{}", asked.out, asked.err);
    for word in ["Fragile.Server", "no way 1", "code_change"] {
        assert!(asked.err.contains(word), "no {word} in {}", asked.err);
    }
    assert_eq!(node.rpc(pids), before, "the processes are the same");
    let now =
        "IO.inspect({Fragile.First.next(), Fragile.Server.next(), Application.get_env(:fragile, :version)})";
    assert_eq!(node.rpc(now), "{1, 1, 1}", "with the states that they had");
    let code = "IO.inspect(for m <- [Fragile.First, Fragile.Server], do: m.module_info(:attributes)[:vsn])";
    assert_eq!(node.rpc(code), "[[1], [1]]", "and the old code");
    assert!(node.says(&["releases"]).contains("0.1.0 permanent"));
    node.stop();
}

const SERVER: &str = "defmodule Kept.Server do
  use GenServer
  @vsn 1
  def start_link(_), do: GenServer.start_link(__MODULE__, 0, name: __MODULE__)
  def next, do: GenServer.call(__MODULE__, :next)
  def init(n), do: {:ok, n}
  def handle_call(:next, _from, n), do: {:reply, {1, n}, n + 1}
end
";

/// A server with a state, and one that another application would miss.
fn kept(space: &TestSpace, change: impl FnOnce(&support::project::Project)) -> Pair {
    let callback = application("kept", "Kept.Server");
    Pair::new(space, "kept", &[("lib/server.ex", SERVER), ("lib/application.ex", &callback)], change)
}

#[test]
fn a_state_that_nobody_migrates_is_made_anew_and_the_rest_goes_on() {
    let space = TestSpace::new();
    let pair = kept(&space, |project| {
        project.edit("lib/server.ex", "@vsn 1", "@vsn 2");
        project.edit("lib/server.ex", "{:ok, n}", "{:ok, {n}}");
        project.edit(
            "lib/server.ex",
            "n), do: {:reply, {1, n}, n + 1}",
            "{n}), do: {:reply, {2, n}, {n + 1}}",
        );
    });
    let upgrade = pair.upgrade();
    assert_eq!(upgrade["ways"][0]["way"], "restart_application", "{upgrade}");
    let node = pair.node(&space);
    node.daemon("is_pid(Process.whereis(Kept.Server))");
    all(&node, &[("Kept.Server.next()", "{1, 0}"), ("Kept.Server.next()", "{1, 1}")]);
    let logger = "IO.inspect({Process.whereis(Logger.Supervisor), System.pid()})";
    let before = node.rpc(logger);
    node.says(&["upgrade", &pair.package().display().to_string()]);
    all(&node, &[("Kept.Server.next()", "{2, 0}")]);
    assert_eq!(node.rpc(logger), before, "nothing else was restarted");
    node.says(&["downgrade", "0.1.0"]);
    all(&node, &[("Kept.Server.next()", "{1, 0}")]);
    node.stop();
}

#[test]
fn three_versions_in_a_row_and_one_that_was_skipped() {
    let space = TestSpace::cold();
    let pair = kept(&space, |project| {
        project.edit("lib/server.ex", "@vsn 1", "@vsn 2");
        project.edit("lib/server.ex", "{:reply, {1, n}, n + 1}", "{:reply, {2, n}, n + 1}\n  def code_change({:down, 1}, n, _), do: {:ok, n - 100}\n  def code_change(1, n, _), do: {:ok, n + 100}");
    });
    pair.upgrade();
    let other = space.path("other");
    support::files::copy(&pair.old, &other);
    let first = pair.package();
    let next = space.path("kept-0.2.0.tar.gz");
    fs::rename(&first, &next).expect("it can be moved");
    pair.project.edit("mix.exs", "0.2.0", "0.3.0");
    pair.project.edit("lib/server.ex", "@vsn 2", "@vsn 3");
    pair.project.edit("lib/server.ex", "{2, n}", "{3, n}");
    let of = "def code_change({:down, 1}, n, _), do: {:ok, n - 100}";
    pair.project.edit(
        "lib/server.ex",
        of,
        &format!("{of}\n  def code_change({{:down, 2}}, n, _), do: {{:ok, n - 1000}}\n  def code_change(2, n, _), do: {{:ok, n + 1000}}"),
    );
    pair.project.build();
    let asked = pair.project.ask(&["upgrade", "0.1.0", "0.2.0", "0.3.0"]);
    assert_eq!(asked.status, Some(0), "{}{}", asked.out, asked.err);
    let last = pair.project.dir.join("_build/relgraph/prod/kept-0.3.0.upgrade.tar.gz").display().to_string();

    let node = pair.node(&space);
    node.daemon("is_pid(Process.whereis(Kept.Server))");
    let next_is = |value: &str| all(&node, &[("Kept.Server.next()", value)]);
    next_is("{1, 0}");
    node.says(&["upgrade", &next.display().to_string()]);
    next_is("{2, 101}");
    node.says(&["upgrade", &last]);
    next_is("{3, 1102}");
    node.says(&["downgrade", "0.2.0"]);
    next_is("{2, 103}");
    node.says(&["downgrade", "0.1.0"]);
    next_is("{1, 4}");
    // Straight to the last.
    node.says(&["upgrade", "0.3.0"]);
    next_is("{3, 105}");
    node.says(&["downgrade", "0.1.0"]);
    next_is("{1, 6}");
    node.says(&["remove", "0.2.0"]);
    let releases = node.says(&["releases"]);
    assert!(!releases.contains("0.2.0") && releases.contains("0.1.0 permanent"), "{releases}");
    // What the others need is still there.
    node.says(&["upgrade", "0.3.0"]);
    next_is("{3, 107}");
    node.stop();

    // A package that does not know the version that runs says so, and nothing happens.
    let asked = pair.project.ask(&["upgrade", "0.2.0", "0.3.0"]);
    assert_eq!(asked.status, Some(0), "{}{}", asked.out, asked.err);
    let node = Node::new(&space, &other, "kept");
    node.daemon("is_pid(Process.whereis(Kept.Server))");
    let next_is = |value: &str| all(&node, &[("Kept.Server.next()", value)]);
    next_is("{1, 0}");
    let asked = node.ask(&["upgrade", &last]);
    assert_eq!(asked.status, Some(1), "{}{}", asked.out, asked.err);
    assert!(asked.err.contains("0.1.0") && asked.err.contains("0.2.0"), "{}", asked.err);
    next_is("{1, 1}");
    assert!(node.says(&["releases"]).contains("0.1.0 permanent"));
    node.stop();
}

/// A library that answers a number.
fn library(space: &TestSpace, number: u32) -> Vec<u8> {
    let source = format!(
        "#include <erl_nif.h>
static ERL_NIF_TERM number(ErlNifEnv* env, int argc, const ERL_NIF_TERM argv[]) {{ return enif_make_int(env, {number}); }}
static ErlNifFunc functions[] = {{{{\"number\", 0, number, 0}}}};
ERL_NIF_INIT(Elixir.Nifty, functions, NULL, NULL, NULL, NULL)
"
    );
    let (c, so) = (space.path("nif.c"), space.path("nif.so"));
    fs::write(&c, source).expect("written");
    let include = support::mix::installed("erl").join("usr/include");
    support::said(
        std::process::Command::new("cc")
            .arg("-shared")
            .arg("-fPIC")
            .arg("-I")
            .arg(include)
            .arg(&c)
            .arg("-o")
            .arg(&so),
    );
    fs::read(so).expect("a library")
}

#[test]
fn a_native_library_is_replaced_by_restarting_its_application() {
    let space = TestSpace::new();
    let callback = application("nifty", "");
    let module = "defmodule Nifty do
  @on_load :load
  def load, do: :erlang.load_nif(:filename.join(:code.priv_dir(:nifty), 'nif'), 0)
  def number, do: :erlang.nif_error(:not_loaded)
end
";
    let project = small::project(
        &space,
        "nifty",
        "nifty",
        &[("lib/nifty.ex", module), ("lib/application.ex", &callback)],
    );
    project.write("release.yaml", "release: nifty\nupgrades: hot\n");
    project.write("mix.exs", &support::pair::mix("nifty", "0.1.0", ""));
    let put = |number: u32| {
        fs::create_dir_all(project.dir.join("priv")).expect("a folder");
        fs::write(project.dir.join("priv/nif.so"), library(&space, number)).expect("written");
    };
    put(1);
    let pair = Pair::of(&space, "nifty", project.clone(), |project| {
        project.edit("mix.exs", "0.1.0", "0.2.0");
        put(2);
    });
    let upgrade = pair.upgrade();
    assert_eq!(upgrade["ways"][0]["way"], "restart_application", "{upgrade}");
    assert!(upgrade["ways"][0]["notes"].to_string().contains("priv/nif.so is another"), "{upgrade}");
    let node = pair.node(&space);
    node.daemon("is_pid(Process.whereis(Nifty.Supervisor))");
    all(&node, &[("Nifty.number()", "1")]);
    node.says(&["upgrade", &pair.package().display().to_string()]);
    all(&node, &[("Nifty.number()", "2")]);
    node.says(&["downgrade", "0.1.0"]);
    all(&node, &[("Nifty.number()", "1")]);
    node.stop();
}
