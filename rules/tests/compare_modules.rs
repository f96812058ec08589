//! In what modules differ: functions, macros, structs, versions of states, migrations, protocols.

#[allow(dead_code)]
mod releases;

use releases::{app, compared, module, names, release, verdict, warned};
use relgraph_rules::beam_file;
use relgraph_rules::compare::{
    Change, Class, CodeChange, Comparison, How, ProcessKind, StructField, WarningKind,
};

fn of_erlang(old: &str, new: &str) -> Comparison {
    let with = |version: &str, text: &str| release(version).app(app("demo", version).erl("one", text));
    compared(&with("0.1.0", old), &with("0.2.0", new))
}

fn of_elixir(old: &str, new: &str) -> Comparison {
    let with = |version: &str, text: &str| release(version).app(app("demo", version).ex(text));
    compared(&with("0.1.0", old), &with("0.2.0", new))
}

#[test]
fn functions_are_compared_one_by_one_whatever_the_order_of_tables_and_lines() {
    let old = "
-export([a/1, b/1, c/1, old/0]).
a(X) -> {same, helper(X), <<\"bytes\">>, #{k => [1,2,3]}}.
b(L) -> lists:map(fun(E) -> {E, 1} end, L).
c(X) -> erlang:error({c, X}).
old() -> ok.
helper(X) -> X + 1.
private() -> ok.
-compile(nowarn_unused_function).
";
    let new = "
-export([first/0, a/1, b/1, c/1]).
%% New atoms, literals and imports come first, so that every number in the tables is another one.
first() -> {quite, new, atoms, string:trim(<<\"other\">>), #{z => {9, 8}}}.


c(X) -> erlang:error({c, X}).
a(X) -> {same, helper(X), <<\"bytes\">>, #{k => [1,2,3]}}.
b(L) -> lists:map(fun(E) -> {E, 2} end, L).
helper(X) -> X + 1.
-compile(nowarn_unused_function).
";
    let comparison = of_erlang(old, new);
    let one = module(&comparison, "one");
    assert_eq!((one.how, one.class), (How::Code, Class::Hot));
    assert_eq!(names(&one.functions_added), "first/0");
    assert_eq!(names(&one.functions_removed), "old/0");
    assert_eq!(names(&one.functions_changed), "b/1");
    assert_eq!((names(&one.exports_added), names(&one.exports_removed)), ("first/0".into(), "old/0".into()));
    assert_eq!(verdict(&comparison), "hot");
}

#[test]
fn private_functions_count_and_are_no_exports() {
    let text = |body: &str| {
        format!(
            "-export([a/1]).\na(X) -> list(X, X).\nlist(X, 0) -> X;\nlist(X, N) -> [{body} | list(X, N - 1)]."
        )
    };
    let comparison = of_erlang(&text("X"), &text("{X}"));
    let one = module(&comparison, "one");
    assert_eq!(names(&one.functions_changed), "list/2");
    assert_eq!((one.exports_added.len(), one.exports_removed.len()), (0, 0));
}

/// What `code_change` of a module is said to be.
#[track_caller]
fn migration(attributes: &str, text: &str, expected: CodeChange) {
    let whole = |more: &str| format!("-export([f/0]).\n{attributes}\nf() -> {more}.\n{text}");
    let comparison = of_erlang(&whole("1"), &whole("2"));
    assert_eq!(module(&comparison, "one").new_code_change, expected, "{text}");
}

#[test]
fn a_code_change_that_gives_the_state_back_is_none() {
    use CodeChange::{None, Real, Trivial};
    let server = "-behaviour(gen_server).\n-export([init/1, handle_call/3, handle_cast/2, code_change/3]).\ninit(X) -> {ok, X}.\nhandle_call(_, _, S) -> {reply, ok, S}.\nhandle_cast(_, S) -> {noreply, S}.\n-record(state, {a, b}).\n";
    let three = |text: &str, expected| migration(server, text, expected);
    three("code_change(_OldVsn, State, _Extra) -> {ok, State}.", Trivial);
    three("code_change(_, #state{} = State, _) -> {ok, State}.", Trivial);
    three(
        "code_change({down, _}, State, _) -> {ok, State};\ncode_change(_, {_, _} = State, []) -> {ok, State}.",
        Trivial,
    );
    three("code_change(_, {a, B}, _) -> {ok, {a, B, []}}.", Real);
    three("code_change(Vsn, _State, _) -> {ok, Vsn}.", Real);
    three("code_change(_, State, _) -> {ok, convert(State)}.\nconvert(S) -> {S, 1}.", Real);
    three("code_change(\"1\", {A}, _) -> {ok, {A, 2}};\ncode_change(_, State, _) -> {ok, State}.", Real);
    let statem = "-behaviour(gen_statem).\n-export([init/1, callback_mode/0, handle_event/4, code_change/4]).\ninit(X) -> {ok, a, X}.\ncallback_mode() -> handle_event_function.\nhandle_event(_, _, _, D) -> {keep_state, D}.\n";
    migration(statem, "code_change(_, State, Data, _) -> {ok, State, Data}.", Trivial);
    migration(statem, "code_change(_, State, Data, _) -> {ok, Data, State}.", Real);
    migration(
        "-export([system_code_change/4]).",
        "system_code_change(Misc, _, _, _) -> {ok, Misc}.",
        Trivial,
    );
    migration("-export([system_code_change/4]).", "system_code_change(Misc, _, _, _) -> {ok, [Misc]}.", Real);
    migration("", "", None);
}

const SERVER: &str = "
defmodule Server do
  use GenServer
  @vsn \"VERSION\"
  def init(arg), do: {:ok, arg}
  def handle_call(:get, _from, state), do: {:reply, BODY, state}
  MIGRATION
end
";

fn server(version: &str, body: &str, migration: &str) -> String {
    SERVER.replace("VERSION", version).replace("BODY", body).replace("MIGRATION", migration)
}

#[test]
fn what_use_genserver_puts_in_is_no_migration() {
    let comparison = of_elixir(&server("0", "1", ""), &server("1", "2", ""));
    let server_change = module(&comparison, "Elixir.Server");
    assert_eq!(
        (server_change.old_code_change, server_change.new_code_change),
        (CodeChange::Trivial, CodeChange::Trivial)
    );
    assert_eq!(server_change.process, Some(ProcessKind::GenServer));
    assert_eq!(
        (server_change.old_vsn.as_deref(), server_change.new_vsn.as_deref()),
        (Some("<<\"0\">>"), Some("<<\"1\">>"))
    );
    assert_eq!(server_change.class, Class::RestartApplication);
    assert_eq!(names(&server_change.functions_changed), "handle_call/3");
    assert_eq!(verdict(&comparison), "restart_application: Server");
    assert_eq!(warned(&comparison), [(WarningKind::VersionWithoutMigration, "Elixir.Server".to_owned())]);
}

#[test]
fn a_real_migration_makes_a_moved_state_hot() {
    let real = "def code_change(_, state, _), do: {:ok, {state}}";
    let comparison = of_elixir(&server("0", "1", ""), &server("1", "2", real));
    let change = module(&comparison, "Elixir.Server");
    assert_eq!((change.old_code_change, change.new_code_change), (CodeChange::Trivial, CodeChange::Real));
    assert_eq!(names(&change.functions_changed), "code_change/3 handle_call/3");
    assert_eq!((verdict(&comparison).as_str(), warned(&comparison).len()), ("hot", 0));

    let comparison = of_elixir(&server("1", "1", ""), &server("1", "1", real));
    assert_eq!(warned(&comparison), [(WarningKind::MigrationWithoutVersion, "Elixir.Server".to_owned())]);
    // One that was there before and knows nothing of the step is told.
    let comparison = of_elixir(&server("1", "1", real), &server("2", "2", real));
    assert_eq!(warned(&comparison), [(WarningKind::VersionWithoutMigration, "Elixir.Server".to_owned())]);
}

#[test]
fn structs_macros_and_kinds_of_processes() {
    let old = "
defmodule State do
  defstruct [:a, b: 1, password: \"x\"]
end
defmodule Macros do
  defmacro twice(x), do: quote(do: unquote(x) * 2)
  defmacro gone(), do: 1
end
defmodule Kept do
  use Agent
  def start_link(_), do: Agent.start_link(fn -> 1 end)
end
defmodule Sup do
  use Supervisor
  def init(_), do: Supervisor.init([], strategy: :one_for_one)
end
";
    let new = "
defmodule State do
  defstruct [:a, :c, b: 2, password: \"x\"]
end
defmodule Macros do
  defmacro twice(x), do: quote(do: 2 * unquote(x))
  defmacro fresh(a, b), do: {a, b}
  def plain, do: 1
end
defmodule Kept do
  use Agent
  def start_link(_), do: Agent.start_link(fn -> 2 end)
end
defmodule Sup do
  use Supervisor
  def init(_), do: Supervisor.init([], strategy: :one_for_all)
end
";
    let comparison = of_elixir(old, new);
    let state = module(&comparison, "Elixir.State");
    let structure = state.structure.as_ref().unwrap();
    let field = |name: &str, default: &str| StructField { name: name.into(), default: default.into() };
    assert_eq!(
        structure.old.as_deref().unwrap(),
        [field("a", "nil"), field("b", "1"), field("password", "[masked]")]
    );
    assert_eq!(
        structure.new.as_deref().unwrap(),
        [field("a", "nil"), field("b", "2"), field("c", "nil"), field("password", "[masked]")]
    );
    assert_eq!(state.functions_changed, []);

    let macros = module(&comparison, "Elixir.Macros");
    assert_eq!(names(&macros.macros_added), "fresh/2");
    assert_eq!(names(&macros.macros_removed), "gone/0");
    assert_eq!(names(&macros.macros_changed), "twice/1");
    assert_eq!(
        (names(&macros.exports_added), names(&macros.functions_added)),
        ("plain/0".into(), "plain/0".into())
    );
    assert_eq!((macros.exports_removed.len(), macros.functions_removed.len()), (0, 0));

    assert_eq!(module(&comparison, "Elixir.Kept").process, Some(ProcessKind::Agent));
    assert_eq!(module(&comparison, "Elixir.Kept").old_code_change, CodeChange::None);
    assert_eq!(module(&comparison, "Elixir.Sup").process, Some(ProcessKind::Supervisor));
}

#[test]
fn a_struct_that_a_process_holds_is_warned_of_where_no_migration_is_new() {
    let with = |fields: &str, migration: &str| {
        format!(
            "
defmodule State do
  defstruct [{fields}]
end
defmodule Holder do
  use GenServer
  def init(_), do: {{:ok, %State{{}}}}
  {migration}
end
defmodule Bystander do
  use GenServer
  def init(_), do: {{:ok, 1}}
end
defmodule Plain do
  def make, do: %State{{}}
end
"
        )
    };
    let held = (WarningKind::StructInProcess, "Elixir.Holder".to_owned());
    let comparison = of_elixir(&with(":a", ""), &with(":a, :b", ""));
    assert_eq!(warned(&comparison), [held]);
    assert!(comparison.warnings[0].text.contains("%State{}") && comparison.warnings[0].text.contains("+b"));
    // Another default does no harm to what lives.
    assert_eq!(warned(&of_elixir(&with("a: 1", ""), &with("a: 2", ""))), []);
    let migrates = "@vsn \"2\"\n  def code_change(_, state, _), do: {:ok, Map.put(state, :b, nil)}";
    assert_eq!(warned(&of_elixir(&with(":a", ""), &with(":a, :b", migrates))), []);
}

#[test]
fn implementations_are_told_with_their_protocols() {
    let protocol = "
defprotocol Label do
  def label(x)
end
defimpl Label, for: Integer do
  def label(x), do: NUMBER
end
";
    let more = "
defimpl Label, for: List do
  def label(_), do: 1
end
";
    let old = protocol.replace("NUMBER", "x");
    let new = protocol.replace("NUMBER", "{x}") + more;
    let comparison = of_elixir(&old, &new);
    let [label] = &comparison.protocols[..] else { panic!("{:#?}", comparison.protocols) };
    assert_eq!((label.protocol.as_str(), label.application.as_deref()), ("Elixir.Label", Some("demo")));
    assert_eq!((label.change, label.consolidated, label.class), (None, false, Class::Hot));
    let implementations: Vec<(&str, &str, Change)> = label
        .implementations
        .iter()
        .map(|one| (one.target.as_str(), one.module.as_str(), one.change))
        .collect();
    assert_eq!(
        implementations,
        [
            ("Elixir.Integer", "Elixir.Label.Integer", Change::Changed),
            ("Elixir.List", "Elixir.Label.List", Change::Added)
        ]
    );
}

#[test]
fn stripped_modules_tell_as_much() {
    let folder = tempfile::tempdir().unwrap();
    let real = "def code_change(_, state, _), do: {:ok, {state}}";
    let make = |name: &str, version: &str, text: &str| {
        let root = folder.path().join(name);
        release(version).app(app("demo", version).ex(text)).make(&root);
        let path = root.join(format!("lib/demo-{version}/ebin/Elixir.Server.beam"));
        let recipe = ["Attr", "AtU8", "Code", "StrT", "ImpT", "ExpT", "FunT", "LitT"];
        let stripped = beam_file::strip(&std::fs::read(&path).unwrap(), &recipe).unwrap();
        std::fs::write(path, stripped).unwrap();
        root
    };
    let old = make("old", "0.1.0", &server("0", "1", ""));
    let new = make("new", "0.2.0", &server("1", "2", real));
    let comparison = releases::compared_folders(&old, &new);
    let change = module(&comparison, "Elixir.Server");
    assert_eq!((change.old_code_change, change.new_code_change), (CodeChange::Trivial, CodeChange::Real));
    assert_eq!(names(&change.functions_changed), "code_change/3 handle_call/3");
    assert_eq!(change.process, Some(ProcessKind::GenServer));
}

#[test]
fn a_module_that_cannot_be_read_counts_as_other_code() {
    let broken =
        |version: &str, bytes: &str| release(version).app(app("demo", version).file("ebin/one.beam", bytes));
    let comparison = compared(&broken("0.1.0", "FOR1"), &broken("0.2.0", "nothing"));
    let one = module(&comparison, "one");
    assert_eq!((one.how, one.functions_changed.len(), one.new_code_change), (How::Code, 0, CodeChange::None));
}
