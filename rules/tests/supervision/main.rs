//! Supervisors read from code, of modules that are compiled here and of all that are installed.

mod changes;
#[allow(dead_code)]
#[path = "../erlang/mod.rs"]
mod erlang;
mod real;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;
use rayon::prelude::*;
use relgraph_rules::beam_file;
use relgraph_rules::beam_file::supervision::{
    self, Child, ChildChange, ProcessKind, Source, Style, Supervision, SupervisionChange, Value,
    process_kinds, supervisions,
};
use relgraph_rules::etf::{self, Term};

const STRIPPED: [&str; 9] = ["Atom", "AtU8", "Code", "StrT", "ImpT", "ExpT", "FunT", "LitT", "Line"];

type Beams = BTreeMap<String, Vec<u8>>;

fn beams(folder: &Path) -> Beams {
    let mut beams = Beams::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "beam") {
            beams
                .insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap());
        }
    }
    beams
}

fn compile(program: &str, files: &[PathBuf]) -> Beams {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(program).arg("-o").arg(out.path()).args(files).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    beams(out.path())
}

/// The modules in `supervision/*.ex`, stripped of everything that code does not need to run.
static ELIXIR: LazyLock<Beams> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/supervision");
    let beams = compile("elixirc", &[folder.join("samples.ex"), folder.join("old_style.ex")]);
    beams.into_iter().map(|(name, bytes)| (name, beam_file::strip(&bytes, &STRIPPED).unwrap())).collect()
});

/// Erlang modules from their source, stripped.
fn erlang(modules: &[(&str, &str)]) -> Beams {
    let folder = tempfile::tempdir().unwrap();
    let write = |(name, text): &(&str, &str)| {
        let path = folder.path().join(format!("{name}.erl"));
        std::fs::write(&path, format!("-module({name}).\n{text}")).unwrap();
        path
    };
    let files: Vec<PathBuf> = modules.iter().map(write).collect();
    let beams = compile("erlc", &files);
    beams.into_iter().map(|(name, bytes)| (name, beam_file::strip(&bytes, &STRIPPED).unwrap())).collect()
}

/// The installed modules, by name.
static INSTALLED: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(|| {
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    erlang::installed_modules().into_iter().map(|path| (name(&path), path)).collect()
});

fn installed(name: &str) -> Option<Vec<u8>> {
    std::fs::read(INSTALLED.get(name)?).ok()
}

/// The supervisors of a sample, of which the others and all that is installed can be read.
fn read(beams: &Beams, module: &str) -> Vec<Supervision> {
    let modules = |name: &str| beams.get(name).cloned().or_else(|| installed(name));
    supervisions(&beams[module], &modules).unwrap()
}

#[track_caller]
fn only(mut found: Vec<Supervision>) -> Supervision {
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn show(value: &Option<Value>) -> String {
    value.as_ref().map_or("-".to_owned(), |value| value.text(Style::Elixir))
}

fn flags(supervision: &Supervision) -> String {
    let flags = &supervision.flags;
    format!("{} {} {}", show(&flags.strategy), show(&flags.intensity), show(&flags.period))
}

/// `id: spec` of each child.
#[track_caller]
fn children(supervision: &Supervision, style: Style) -> Vec<String> {
    let id = |child: &Child| child.id.clone().map_or("?".to_owned(), |id| Value::Term(id).text(style));
    let children = supervision.children.as_ref().expect("the children can be read");
    children.iter().map(|child| format!("{}: {}", id(child), child.spec.text(style))).collect()
}

#[test]
fn children_of_an_application_of_elixir() {
    let found = only(read(&ELIXIR, "Elixir.Sample.Plain"));
    assert_eq!(found.source, Source::Inline { function: "start/2".to_owned() });
    assert_eq!(show(&found.name), "Sample.Supervisor");
    assert_eq!(flags(&found), ":rest_for_one 3 5");
    assert_eq!(
        children(&found, Style::Elixir),
        [
            "Sample.Stash: {Sample.Stash, Application.fetch_env!(:sample, :start)}",
            ":other: {Sample.Named, Application.get_env(:sample, :step) || :one}",
            "Sample.Bare: Sample.Bare",
            ":second: Supervisor.child_spec({Sample.Bare, [:second]}, [id: :second])",
            ":map: %{id: :map, restart: :temporary, start: {Sample.Bare, :start_link, [[]]}}",
            "Sample.Registry: {Registry, [keys: :unique, name: Sample.Registry]}",
            "Sample.Dynamic: {DynamicSupervisor, [name: Sample.Dynamic, strategy: :one_for_one]}",
            "Sample.Tasks: {Task.Supervisor, [name: Sample.Tasks]}",
        ]
    );
    let children = found.children.unwrap();
    let part = |index: usize, key: &str| show(&children[index].part(key));
    assert_eq!((part(1, "restart"), part(1, "shutdown")), (":transient".to_owned(), "100".to_owned()));
    assert_eq!((part(5, "type"), part(0, "restart")), (":supervisor".to_owned(), "-".to_owned()));
    let (module, function, arguments) = children[1].start().unwrap();
    assert_eq!((module.as_str(), function.as_str()), ("Elixir.Sample.Named", "start_link"));
    assert_eq!(arguments.text(Style::Elixir), "[Application.get_env(:sample, :step) || :one]");
}

#[test]
fn children_as_expressions() {
    let found = only(read(&ELIXIR, "Elixir.Sample.Plain"));
    let expressions: Vec<String> =
        found.children.unwrap().iter().map(|child| child.expression().unwrap().to_string()).collect();
    assert_eq!(
        expressions[0],
        "{call,'Elixir.Sample.Stash',child_spec,[{call,'Elixir.Application','fetch_env!',[{term,sample},{term,start}]}]}"
    );
    assert_eq!(
        expressions[1],
        "{call,'Elixir.Sample.Named',child_spec,[{call,'Elixir.Enum',find,[{list,[{call,'Elixir.Application',\
         get_env,[{term,sample},{term,step}]}]},{term,one},{function,'Elixir.Function',identity,1}]}]}"
    );
    assert_eq!(expressions[2], "{call,'Elixir.Sample.Bare',child_spec,[{term,[]}]}");
    assert_eq!(
        expressions[3],
        "{call,'Elixir.Supervisor',child_spec,[{term,{'Elixir.Sample.Bare',[second]}},{term,[{id,second}]}]}"
    );
    assert_eq!(
        expressions[4],
        "{term,#{id => map,restart => temporary,start => {'Elixir.Sample.Bare',start_link,[[]]}}}"
    );
}

#[test]
fn what_cannot_be_had_once_more_is_no_expression() {
    let found = only(read(&ELIXIR, "Elixir.Sample.Local"));
    assert_eq!(
        children(&found, Style::Elixir),
        [
            "Agent: {Agent, fn/0}",
            "Sample.Bare: {Sample.Bare, :erlang.self()}",
            "Sample.Stash: {Sample.Stash, :ets.new(:table, [])}",
            ":other: {Sample.Named, argument 2}",
            "?: {Sample.Missing, []}",
        ]
    );
    let expressions: Vec<bool> =
        found.children.unwrap().iter().map(|child| child.expression().is_some()).collect();
    assert_eq!(expressions, [false, false, false, false, true]);
    assert_eq!(found.name, None);
}

#[test]
fn children_of_a_module_of_their_own() {
    let found = only(read(&ELIXIR, "Elixir.Sample.Tree"));
    assert_eq!(found.source, Source::Init { argument: Value::Argument(0) });
    assert_eq!(show(&found.name), "Sample.Tree");
    assert_eq!(flags(&found), ":one_for_all 7 5");
    assert_eq!(
        children(&found, Style::Elixir),
        [
            "Sample.Bare: {Sample.Bare, argument 1}",
            "Sample.Stash: {Sample.Stash, Access.get(argument 1, :number)}"
        ]
    );
}

#[test]
fn children_put_together() {
    let found = only(read(&ELIXIR, "Elixir.Sample.Parts"));
    assert_eq!(show(&found.name), "Sample.Parts.Supervisor");
    assert_eq!(flags(&found), ":one_for_one 3 9");
    assert_eq!(
        children(&found, Style::Elixir),
        [
            "Sample.Bare: Sample.Bare",
            ":a: %{id: :a, start: {Sample.Bare, :start_link, [\"xa\"]}}",
            ":c: Supervisor.child_spec({Sample.Bare, :c}, [id: :c])",
            ":d: Supervisor.child_spec({Sample.Bare, :d}, [id: :d])",
            ":e: %{id: :e, start: {Sample.Bare, :start_link, [:e]}}",
            ":other: {Sample.Named, :more}",
            "Sample.Stash: Sample.Stash",
        ]
    );
}

/// As the applications look that generators make, with what people add to them.
#[test]
fn children_of_a_usual_application() {
    let found = only(read(&ELIXIR, "Elixir.Sample.Web"));
    assert_eq!(
        (show(&found.name).as_str(), found.source.clone()),
        ("Sample.Web.Supervisor", inline("", "start/2").1)
    );
    assert_eq!(
        children(&found, Style::Elixir),
        [
            "Sample.Bare: {Sample.Bare, [Application.get_env(:cluster, :topologies, []), [name: Sample.Cluster]]}",
            ":other: {Sample.Named, [query: Application.get_env(:sample, :query) || :ignore]}",
            "Sample.Stash: {Sample.Stash, [options: [port: :erlang.binary_to_integer(System.get_env(\"PORT\", \"4000\"))]]}",
            "Sample.Web.Tasks: {PartitionSupervisor, [child_spec: Task.Supervisor, name: Sample.Web.Tasks]}",
            "Task: {Task, &Sample.Elsewhere.prepare/0}",
            "{Sample.Bare, 1}: Supervisor.child_spec({Sample.Bare, [index: 1]}, [id: {Sample.Bare, 1}])",
            "{Sample.Bare, 2}: Supervisor.child_spec({Sample.Bare, [index: 2]}, [id: {Sample.Bare, 2}])",
            "Sample.Tree: Sample.Tree",
            ":last: %{id: :last, start: {Sample.Bare, :start_link, [Sample.Web.Name]}}",
        ]
    );
    assert!(found.children.unwrap().iter().all(|child| child.expression().is_some()));
}

#[test]
fn branches_have_to_agree() {
    let found = only(read(&ELIXIR, "Elixir.Sample.Conditional"));
    assert_eq!((&found.children, show(&found.name).as_str()), (&None, "Sample.Conditional.Supervisor"));
    assert_eq!(flags(&found), ":one_for_one 3 5");
    let found = only(read(&ELIXIR, "Elixir.Sample.Agreeing"));
    assert_eq!(
        children(&found, Style::Elixir),
        ["Sample.Bare: {Sample.Bare, …}", "Sample.Stash: Sample.Stash"]
    );
    assert_eq!(found.children.unwrap()[0].expression(), None);
    let found = only(read(&ELIXIR, "Elixir.Sample.Looping"));
    assert_eq!(children(&found, Style::Elixir), ["Sample.Bare: {Sample.Bare, [key: …]}"]);
}

#[test]
fn workers_as_they_were_written_before_child_spec() {
    let found = only(read(&ELIXIR, "Elixir.Sample.OldStyle"));
    assert_eq!(found.source, Source::Inline { function: "start_link/0".to_owned() });
    let children = found.children.unwrap();
    let resolved: Vec<String> = children.iter().map(|child| show(&child.resolved)).collect();
    assert_eq!(
        resolved,
        [
            "{Sample.Bare, {Sample.Bare, :start_link, [[]]}, :permanent, 5000, :worker, [Sample.Bare]}",
            "{:tree, {Sample.Tree, :start_link, [[]]}, :transient, :infinity, :supervisor, [Sample.Tree]}",
        ]
    );
    assert_eq!(children[1].id, Some(Term::atom("tree")));
}

#[test]
fn supervisors_of_erlang() {
    let beams = erlang(&[
        (
            "maps_sup",
            "-behaviour(supervisor).
             -export([start_link/0, init/1]).
             start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).
             init([]) ->
                 Port = case application:get_env(sample, port) of {ok, P} -> P; undefined -> 8080 end,
                 {ok, {#{strategy => rest_for_one, intensity => 4},
                       [#{id => one, start => {one, start_link, [Port]}}, child(two) | rest()]}}.
             child(Name) -> #{id => Name, start => {Name, start_link, []}, shutdown => brutal_kill}.
             rest() -> [case element(1, os:type()) of unix -> child(three); _ -> child(three) end].",
        ),
        (
            "tuples_sup",
            "-export([start_link/1, start_tls/0, init/1]).
             -define(CHILD(I, Args), {I, {I, start_link, Args}, permanent, 5000, worker, [I]}).
             start_link(Options) -> supervisor:start_link({global, ?MODULE}, ?MODULE, {plain, Options}).
             start_tls() -> supervisor:start_link({local, tls}, ?MODULE, tls).
             init({plain, Options}) ->
                 {ok, {{one_for_all, 2, 60}, [?CHILD(one, [Options]),
                     {tls, {supervisor, start_link, [{local, inner}, ?MODULE, inner]}, permanent, infinity, supervisor, []}]}};
             init(tls) -> {ok, {{one_for_one, 0, 1}, []}};
             init(inner) -> case application:get_env(sample, off) of {ok, true} -> ignore; _ ->
                 {ok, {{simple_one_for_one, 1, 5}, [?CHILD(worker, [])]}} end.",
        ),
        (
            "server",
            "-export([start_link/0, init/1, handle_call/3, handle_cast/2]).
             start_link() -> gen_server:start_link(?MODULE, [], []).
             init([]) -> {ok, {{one, 2, 3}, [{a, b}]}}.
             handle_call(_, _, S) -> {reply, ok, S}.
             handle_cast(_, S) -> {noreply, S}.",
        ),
    ]);
    let found = only(read(&beams, "maps_sup"));
    assert_eq!(found.source, Source::Init { argument: Value::Term(Term::List(Vec::new())) });
    assert_eq!(show(&found.name), ":maps_sup");
    assert_eq!(flags(&found), ":rest_for_one 4 5");
    assert_eq!(
        children(&found, Style::Erlang),
        [
            "one: #{id => one,start => {one,start_link,[application:get_env(sample,port,8080)]}}",
            "two: #{id => two,shutdown => brutal_kill,start => {two,start_link,[]}}",
            "three: #{id => three,shutdown => brutal_kill,start => {three,start_link,[]}}",
        ]
    );
    assert_eq!(
        found.children.unwrap()[0].expression().unwrap().to_string(),
        "{map,[{{term,id},{term,one}},{{term,start},{tuple,[{term,one},{term,start_link},{list,[{call,application,\
         get_env,[{term,sample},{term,port},{term,8080}]}]}]}}]}"
    );

    let found = read(&beams, "tuples_sup");
    let all: Vec<(String, String, Vec<String>)> = found
        .iter()
        .map(|one| match &one.source {
            Source::Init { argument } => {
                (argument.text(Style::Erlang), show(&one.name), children(one, Style::Erlang))
            }
            inline => panic!("{inline:?}"),
        })
        .collect();
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        all,
        [
            (
                "inner".to_owned(),
                ":inner".to_owned(),
                strings(&["worker: {worker,{worker,start_link,[]},permanent,5000,worker,[worker]}"])
            ),
            ("tls".to_owned(), ":tls".to_owned(), vec![]),
            (
                "{plain,element(2,argument 1)}".to_owned(),
                "{:global, :tuples_sup}".to_owned(),
                strings(&[
                    "one: {one,{one,start_link,[element(2,argument 1)]},permanent,5000,worker,[one]}",
                    "tls: {tls,{supervisor,start_link,[{local,inner},tuples_sup,inner]},permanent,infinity,supervisor,[]}",
                ])
            ),
        ]
    );
    assert_eq!(flags(&found[0]), ":simple_one_for_one 1 5");
    assert_eq!(read(&beams, "server"), []);
    assert_eq!(
        process_kinds(&beams["server"]).unwrap().into_iter().collect::<Vec<_>>(),
        [ProcessKind::GenServer]
    );
}

fn inline(name: &str, function: &str) -> (String, Source) {
    (name.to_owned(), Source::Inline { function: function.to_owned() })
}

#[test]
fn secrets_are_not_shown() {
    let beams = erlang(&[("s", &changes::supervisor("#{}", "c(a, [[{password, \"hunter2\"}, {port, 1}]])"))]);
    let found = only(read(&beams, "s"));
    assert_eq!(
        children(&found, Style::Erlang),
        ["a: #{id => a,start => {a,start_link,[[{password,[masked]},{port,1}]]}}"]
    );
}

#[test]
fn kinds_of_processes() {
    let kinds = |bytes: &[u8]| process_kinds(bytes).unwrap().into_iter().collect::<Vec<_>>();
    let of = |name: &str| kinds(&installed(name).unwrap_or_else(|| panic!("{name} is installed")));
    assert_eq!(of("Elixir.Logger.App"), [ProcessKind::Application]);
    assert_eq!(of("ssl_sup"), [ProcessKind::Supervisor]);
    assert_eq!(of("error_logger_file_h"), [ProcessKind::GenEventHandler]);
    assert_eq!(of("Elixir.Mix.ProjectStack"), [ProcessKind::GenServer]);
    assert_eq!(of("ssl_gen_statem"), []);
    assert_eq!(of("tls_sender"), [ProcessKind::GenStatem]);
    assert_eq!(of("Elixir.DynamicSupervisor"), [ProcessKind::GenServer]);
    assert_eq!(of("lists"), []);
    // Stripped of what they say of themselves.
    assert_eq!(kinds(&ELIXIR["Elixir.Sample.Bare"]), [ProcessKind::GenServer]);
    assert_eq!(kinds(&ELIXIR["Elixir.Sample.Stash"]), [ProcessKind::Agent]);
    assert_eq!(kinds(&ELIXIR["Elixir.Sample.Tree"]), [ProcessKind::Supervisor]);
    let beams = erlang(&[
        (
            "special",
            "-export([system_continue/3, system_code_change/4]).
                     system_continue(_, _, S) -> S. system_code_change(S, _, _, _) -> {ok, S}.",
        ),
        ("manager", "-export([start_link/0]). start_link() -> gen_event:start_link({local, ?MODULE})."),
    ]);
    assert_eq!(kinds(&beams["special"]), [ProcessKind::Special]);
    assert_eq!(kinds(&beams["manager"]), [ProcessKind::GenEventManager]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn damaged_modules_are_read_without_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let (name, whole) = ELIXIR.iter().nth(which.index(ELIXIR.len())).unwrap();
        let file = beam_file::BeamFile::parse(whole).unwrap();
        // Most of what would go wrong otherwise is a chunk that cannot be read at all.
        let code = file.chunk("Code").unwrap();
        let start = code.as_ptr() as usize - whole.as_ptr() as usize;
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            bytes[start + at.index(code.len())] = byte;
        }
        let modules = |other: &str| if other == name { Some(bytes.clone()) } else { ELIXIR.get(other).cloned() };
        let _ = supervisions(&bytes, &modules);
    }
}
