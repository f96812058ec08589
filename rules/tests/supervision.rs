//! Supervisors read from code, of modules that are compiled here and of all that are installed.

#[allow(dead_code)]
mod erlang;

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

/// The supervisors of all installed modules.
static ALL: LazyLock<BTreeMap<String, Vec<Supervision>>> = LazyLock::new(|| {
    let read = |(name, path): (&String, &PathBuf)| {
        let found = supervisions(&std::fs::read(path).unwrap(), &installed);
        (name.clone(), found.unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    INSTALLED.par_iter().map(read).collect()
});

#[test]
fn every_installed_supervisor() {
    let mut unread = Vec::new();
    let mut read = 0;
    for (name, found) in ALL.iter() {
        let kinds = process_kinds(&installed(name).unwrap()).unwrap();
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
    // Since 1.15 it has one child, and had three before.
    assert!(
        ids.iter().all(|id| id.contains("Logger") || id.contains("gen_event")) && !ids.is_empty(),
        "{ids:?}"
    );
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
    for (name, found) in ALL.iter() {
        for one in found.clone() {
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

/// The children of a running supervisor of Elixir, and what the expressions give that were made of its code.
#[test]
fn a_running_supervisor_has_the_children_that_were_read() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in ELIXIR.iter() {
        std::fs::write(folder.path().join(format!("{name}.beam")), bytes).unwrap();
    }
    for (module, name) in
        [("Elixir.Sample.Plain", "Sample.Supervisor"), ("Elixir.Sample.Parts", "Sample.Parts.Supervisor")]
    {
        let found = only(read(&ELIXIR, module));
        let children = found.children.unwrap();
        let ids = Term::list(children.iter().map(|child| child.id.clone().unwrap()).collect());
        let expressions = Term::list(children.iter().map(|child| child.expression().unwrap()).collect());
        let questions = folder.path().join("questions");
        std::fs::write(&questions, format!("{ids}.\n{expressions}.\n")).unwrap();
        let program = r#"
          [questions] = System.argv()
          {:ok, [ids, expressions]} = :file.consult(questions)
          Application.put_env(:sample, :start, 7)
          {:ok, _} = MODULE.start(:normal, [])
          running = for {id, _, _, _} <- Supervisor.which_children(NAME), do: id
          ^ids = Enum.reverse(running)
          evaluate = fn
            _, {:term, term} -> term
            again, {:tuple, parts} -> List.to_tuple(Enum.map(parts, &again.(again, &1)))
            again, {:list, parts} -> Enum.map(parts, &again.(again, &1))
            again, {:map, pairs} -> Map.new(pairs, fn {k, v} -> {again.(again, k), again.(again, v)} end)
            _, {:function, m, f, a} -> Function.capture(m, f, a)
            again, {:call, m, f, arguments} -> apply(m, f, Enum.map(arguments, &again.(again, &1)))
          end
          for {id, expression} <- Enum.zip(ids, expressions) do
            {:ok, known} = :supervisor.get_childspec(NAME, id)
            given = evaluate.(evaluate, expression)
            true = :ok == :supervisor.check_childspecs([given])
            :ok = Supervisor.terminate_child(NAME, id)
            # A temporary one is gone by now.
            _ = Supervisor.delete_child(NAME, id)
            {:ok, _} = Supervisor.start_child(NAME, given)
            # Of a temporary one the arguments are not kept.
            if known.restart != :temporary, do: {:ok, ^known} = :supervisor.get_childspec(NAME, id)
          end
          IO.puts("same")"#;
        let program =
            program.replace("MODULE", module.strip_prefix("Elixir.").unwrap()).replace("NAME", name);
        let script = folder.path().join("program.exs");
        std::fs::write(&script, program).unwrap();
        let output = Command::new("elixir")
            .arg("-pa")
            .arg(folder.path())
            .arg(&script)
            .arg(&questions)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), "same", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn changes(old: &str, new: &str) -> Vec<SupervisionChange> {
    let read = |text: &str| {
        let beams = erlang(&[("changing", text)]);
        read(&beams, "changing")
    };
    supervision::compare("changing", &read(old), &read(new))
}

fn supervisor(flags: &str, children: &str) -> String {
    format!(
        "-behaviour(supervisor).\n-export([start_link/0, init/1]).\n\
         start_link() -> supervisor:start_link({{local, ?MODULE}}, ?MODULE, []).\n\
         init([]) -> {{ok, {{{flags}, [{children}]}}}}.\n\
         c(Id, Args) -> #{{id => Id, start => {{Id, start_link, Args}}}}.\n"
    )
}

#[test]
fn changes_of_a_supervisor() {
    let flags = "#{strategy => one_for_one}";
    let old = supervisor(flags, "c(a, []), c(b, [1]), c(c, [os:type()]), c(gone, [])");
    assert_eq!(changes(&old, &old), []);
    // The same in other words.
    let tuples = supervisor("{one_for_one, 1, 5}", "c(a, []), c(b, [1]), c(c, [os:type()]), c(gone, [])");
    assert_eq!(changes(&old, &tuples), []);

    let new =
        supervisor("#{strategy => one_for_all}", "c(b, [2]), c(a, []), c(c, [os:type()]), c(new, [node()])");
    let changes_found = changes(&old, &new);
    let [change] = &changes_found[..] else { panic!("{changes_found:#?}") };
    let ids = |list: &[ChildChange]| {
        list.iter().map(|child| child.id.clone().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((change.name.as_deref(), change.function.as_str()), (Some("changing"), "init/1"));
    assert_eq!(ids(&change.added), "new");
    assert_eq!(change.added[0].new.as_deref(), Some("#{id => new,start => {new,start_link,[node()]}}"));
    assert_eq!(ids(&change.removed), "gone");
    assert_eq!(ids(&change.changed), "b");
    assert_eq!(change.changed[0].old.as_deref(), Some("#{id => b,start => {b,start_link,[1]}}"));
    assert_eq!(change.uncertain, []);
    assert!(change.reordered && !change.unreadable && !change.new && !change.gone);
    assert_eq!(change.flags, [("strategy".to_owned(), "one_for_one".to_owned(), "one_for_all".to_owned())]);
}

#[test]
fn what_is_not_known_is_not_called_equal() {
    let flags = "#{}";
    let doubtful = supervisor(flags, "c(a, [case os:type() of {unix, _} -> 1; _ -> 2 end])");
    let found = changes(&doubtful, &doubtful);
    assert_eq!(found[0].uncertain[0].new.as_deref(), Some("#{id => a,start => {a,start_link,[…]}}"));
    assert!(found[0].changed.is_empty() && found[0].added.is_empty());
    let text = supervisor(flags, "c(a, []) | case os:type() of {unix, _} -> []; _ -> [c(b, [])] end");
    let found = changes(&text, &text);
    assert!(found[0].unreadable, "{found:#?}");
    let gone = "-export([init/1]).\ninit([]) -> ok.\n";
    let found = changes(&supervisor(flags, "c(a, [])"), gone);
    assert!(found[0].gone && found[0].removed.len() == 1, "{found:#?}");
    let found = changes(gone, &supervisor(flags, "c(a, [])"));
    assert!(found[0].new && found[0].added.len() == 1, "{found:#?}");
}

/// A function among the arguments is another one when its code is, wherever it stands in the module.
#[test]
fn functions_differ_by_what_they_do() {
    let start = |number: &str| supervisor("#{}", &format!("c(a, [fun() -> {number} end])"));
    let one = start("1");
    let moved = one.replace("init([]) ->", "init([]) -> lists:foreach(fun(X) -> X ! go end, nodes()),");
    assert_eq!(changes(&one, &moved), []);
    assert_eq!(changes(&one, &start("2"))[0].changed.len(), 1);
}

#[test]
fn secrets_are_not_shown() {
    let beams = erlang(&[("s", &supervisor("#{}", "c(a, [[{password, \"hunter2\"}, {port, 1}]])"))]);
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
