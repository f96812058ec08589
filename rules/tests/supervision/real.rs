//! What is read, compared with what installed and running supervisors say themselves.

use super::*;

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
