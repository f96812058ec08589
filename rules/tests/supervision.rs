//! Supervisors read from code, of modules that are compiled here and of all that are installed.

#[allow(dead_code)]
mod erlang;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;
use relgraph_rules::beam_file;
use relgraph_rules::beam_file::supervision::{
    self, Child, ProcessKind, Source, Style, Supervision, Value, process_kinds, supervisions,
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

#[test]
fn every_installed_supervisor() {
    let mut unread = Vec::new();
    let mut read = 0;
    for (name, path) in INSTALLED.iter() {
        let bytes = std::fs::read(path).unwrap();
        let kinds = process_kinds(&bytes).unwrap();
        let found = supervisions(&bytes, &installed).unwrap_or_else(|error| panic!("{name}: {error}"));
        if kinds.contains(&ProcessKind::Supervisor) && found.is_empty() {
            unread.push(format!("{name}: nothing"));
        }
        for one in found {
            match one.children {
                Some(_) => read += 1,
                None => unread.push(format!("{name}: {:?} {}", one.source, show(&one.name))),
            }
        }
    }
    // Some of Erlang's own decide at run time what they start: `kernel`, `os_mon`, `httpd_sup`.
    assert!(read > 40 && unread.len() * 4 < read, "{read} read, not: {unread:#?}");
    for name in ["nothing", "ssl_sup", "inets_sup", "sasl_sup", "Elixir.Logger.App"] {
        assert!(!unread.iter().any(|unread| unread.contains(name)), "{unread:#?}");
    }
}

#[test]
fn supervisors_of_erlang_and_elixir_themselves() {
    let read = |module: &str| only(supervisions(&installed(module).unwrap(), &installed).unwrap());
    let logger = read("Elixir.Logger.App");
    assert_eq!((show(&logger.name), logger.source), inline("Logger.Supervisor", "start/2"));
    assert_eq!(show(&logger.flags.strategy), ":rest_for_one");
    let ids = logger.children.unwrap().into_iter().map(|child| child.id.unwrap().to_string());
    let ids: Vec<String> = ids.collect();
    assert!(ids.contains(&"'Elixir.Logger.BackendSupervisor'".to_owned()) || ids.len() > 1, "{ids:?}");
    let mix = read("Elixir.Mix");
    assert_eq!((show(&mix.name), mix.source), inline("Mix.Supervisor", "start/2"));
    let iex = read("Elixir.IEx.App");
    assert_eq!((show(&iex.name), iex.source), inline("IEx.Supervisor", "start/2"));
    let ssl = read("ssl_sup");
    assert_eq!(show(&ssl.name), ":ssl_sup");
    assert_eq!(ssl.children.unwrap()[0].part("shutdown"), Some(Value::Term(Term::Integer(4000))));
}

fn inline(name: &str, function: &str) -> (String, Source) {
    (name.to_owned(), Source::Inline { function: function.to_owned() })
}

/// Every installed callback module whose argument is known is called, and says what was read.
#[test]
fn init_says_what_was_read() {
    let mut expected = BTreeMap::new();
    for (name, path) in INSTALLED.iter() {
        for one in supervisions(&std::fs::read(path).unwrap(), &installed).unwrap() {
            let Source::Init { argument: Value::Term(argument) } = one.source else { continue };
            let Some(children) = one.children else { continue };
            let ids = children.into_iter().map(|child| child.id.unwrap_or(Term::atom("not known"))).collect();
            let flags = [one.flags.strategy, one.flags.intensity, one.flags.period];
            let flags = flags.into_iter().map(|flag| match flag {
                Some(Value::Term(term)) => term,
                _ => Term::atom("not known"),
            });
            let said = Term::Tuple(flags.chain([Term::list(ids)]).collect());
            let question = Term::Tuple(vec![Term::atom(name), argument]);
            expected.insert(question.to_string(), said.to_string());
        }
    }
    let questions = tempfile::NamedTempFile::new().unwrap();
    let text: String = expected.keys().map(|question| format!("{question}.\n")).collect();
    std::fs::write(questions.path(), text).unwrap();
    let program = r#"{ok, Questions} = file:consult(hd(Args)),
  Id = fun(#{id := I}) -> I; (T) -> element(1, T) end,
  Flags = fun(#{} = F) -> {maps:get(strategy, F, one_for_one), maps:get(intensity, F, 1), maps:get(period, F, 5)}; (F) -> F end,
  [try M:init(A) of
     {ok, {F, Cs}} ->
       {S, I, P} = Flags(F),
       io:format("~0p~n~0p~n", [{M, A}, {S, I, P, [Id(C) || C <- Cs]}]);
     _ -> ok
   catch _:_ -> ok end || {M, A} <- Questions]"#;
    let output = erlang::run(program, &[questions.path()]);
    let lines: Vec<&str> = output.lines().collect();
    let mut compared = 0;
    let plain = |text: &str| etf::consult_one(format!("{text}.").as_bytes()).unwrap();
    let expected: Vec<(Term, Term)> =
        expected.iter().map(|(question, said)| (plain(question), plain(said))).collect();
    for pair in lines.chunks(2) {
        let (question, said) = (plain(pair[0]), plain(pair[1]));
        let read = expected.iter().find(|(known, _)| *known == question).unwrap();
        assert!(agree(&read.1, &said), "{question}: {} was read, and it says {said}", read.1);
        compared += 1;
    }
    assert!(compared > 20, "{compared} compared");
}

/// Whether two answers are the same, but for what was not known in the first.
fn agree(read: &Term, said: &Term) -> bool {
    match (read.as_tuple(), said.as_tuple()) {
        (Some(read), Some(said)) if read.len() == 4 && said.len() == 4 => {
            let parts = read[..3].iter().zip(&said[..3]);
            let ids = read[3].elements().unwrap();
            let said_ids = said[3].elements().unwrap();
            parts
                .chain(ids.iter().zip(&said_ids))
                .all(|(read, said)| read == said || read.as_atom() == Some("not known"))
                && ids.len() == said_ids.len()
        }
        _ => false,
    }
}
