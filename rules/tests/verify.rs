//! In what two files of two releases differ, and why: modules made by a real compiler, and files that are damaged.

#[allow(dead_code)]
mod erlang;

use proptest::prelude::*;
use relgraph_rules::beam_file::{self, BeamFile};
use relgraph_rules::verify::{Finding, Reason, bytes, value_text};

/// Compiles modules, each from its source, stripped of what Mix strips.
fn compile(sources: &[&str]) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..sources.len()).map(|index| folder.path().join(format!("{index}.txt"))).collect();
    files.iter().zip(sources).for_each(|(file, source)| std::fs::write(file, source).unwrap());
    let program = r#"[begin
    {ok, Text} = file:read_file(F),
    {ok, Tokens, _} = erl_scan:string(binary_to_list(Text)),
    Forms = forms(Tokens, [], []),
    {ok, _, Beam} = compile:forms(Forms, []),
    {ok, _, All} = beam_lib:all_chunks(Beam),
    {ok, Stripped} = beam_lib:build_module([C || {Id, _} = C <- All, lists:member(Id, ["AtU8", "Attr", "Code", "StrT", "ImpT", "ExpT", "FunT", "LitT", "Line"])]),
    io:format("~s~n", [[io_lib:format("~2.16.0b", [X]) || <<X>> <= Stripped]])
  end || F <- Args].
forms([], [], Forms) -> lists:reverse(Forms);
forms([{dot, _} = Dot | Rest], One, Forms) ->
  {ok, Form} = erl_parse:parse_form(lists:reverse([Dot | One])),
  forms(Rest, [], [Form | Forms]);
forms([Token | Rest], One, Forms) -> forms(Rest, [Token | One], Forms)"#;
    let paths: Vec<&std::path::Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    erlang::run(program, &paths).lines().map(erlang::unhex).collect()
}

const HEAD: &str = "-module(m).\n-export([a/1, b/0]).\n";

/// `part place [function]: ours | theirs`, and the reason.
fn lines(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| {
        let side = |value: &Option<_>| value.as_ref().map_or("-".to_owned(), value_text);
        let function = finding.function.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
        let reason =
            finding.explained.as_ref().map(|e| format!(" ({})", e.reason.word())).unwrap_or_default();
        let (ours, theirs) = (side(&finding.ours), side(&finding.theirs));
        format!("{} {}{function}: {ours} | {theirs}{reason}", finding.part.word(), finding.place)
    };
    findings.iter().map(line).collect()
}

fn compared(one: &[u8], other: &[u8]) -> Vec<String> {
    lines(&bytes("lib/app-1/ebin/m.beam", one, other))
}

#[test]
fn a_module_is_compared_function_by_function() {
    let base = format!("{HEAD}a(X) -> {{X, [one, 2]}}.\nb() -> lists:reverse(\"abc\").\n");
    let variants = [
        base.clone(),
        base.replace("[one, 2]", "[one, 3]"),
        base.replace("lists:reverse", "lists:sort"),
        base.replace("a/1, b/0", "a/1, b/0, c/0") + "c() -> ok.\n",
        base.replace("-export", "-vsn(\"7\").\n-export"),
        base.replace("b() ->", "b() -> self() ! x,"),
        base.replace("a(X) ->", "\n\na(X) ->"),
        format!("{HEAD}b() -> lists:reverse(\"abc\").\na(X) -> {{X, [one, 2]}}.\n"),
    ];
    let beams = compile(&variants.each_ref().map(String::as_str));
    let found = |index: usize| compared(&beams[0], &beams[index]);
    let constant = found(1);
    assert!(constant.len() == 1 && constant[0].ends_with("[1] in a/1: 2 | 3"), "{constant:?}");
    assert!(
        found(2).iter().any(|line| line.contains("in b/0: lists:reverse/1 | lists:sort/1")),
        "{:?}",
        found(2)
    );
    let added = found(3);
    assert!(added.iter().any(|line| line.starts_with("chunk Code the function in c/0: - | ")), "{added:?}");
    assert!(added.contains(&"chunk ExpT c/0: - | c/0".to_owned()), "{added:?}");
    let attribute: Vec<String> = found(4).into_iter().filter(|line| !line.ends_with("(lines)")).collect();
    assert_eq!(attribute, ["chunk Attr vsn: - | {vsn,\"7\"}"]);
    assert!(found(5).iter().any(|line| line.contains("in b/0: ")), "{:?}", found(5));
    assert!(found(6).iter().all(|line| line.ends_with("(lines)")), "{:?}", found(6));
    let moved = found(7);
    assert!(moved.iter().all(|line| line.ends_with("(lines)") || line.ends_with("(tables)")), "{moved:?}");
    assert!(moved.iter().any(|line| line.ends_with("(tables)")), "{moved:?}");
}

#[test]
fn strings_in_code_and_big_numbers_are_told_as_what_they_are() {
    let source =
        |text: &str, number: &str| format!("{HEAD}a(X) -> <<\"{text}\", X/binary>>.\nb() -> {number}.\n");
    let beams = compile(&[
        &source("hello", "1"),
        &source("hallo", "-70000000000000000000000000"),
        &source("hello", "-300"),
    ]);
    let both = compared(&beams[0], &beams[1]);
    assert!(both.iter().any(|line| line.contains("in a/1: <<\"hello\">> | <<\"hallo\">>")), "{both:?}");
    assert!(both.iter().any(|line| line.contains("in b/0: 1 | -70000000000000000000000000")), "{both:?}");
    assert!(compared(&beams[0], &beams[2])[0].contains("in b/0: 1 | -300"));
}

#[test]
fn a_map_with_its_keys_in_another_order_is_the_same_map() {
    let program = r#"Keys = [list_to_atom("key" ++ integer_to_list(N)) || N <- lists:seq(1, 40)],
  Map = maps:from_list([{K, 1} || K <- Keys]),
  Forms = [{attribute, 1, module, m}, {attribute, 1, export, [{a, 0}]},
    {function, 1, a, 0, [{clause, 1, [], [], [erl_parse:abstract(Map)]}]}],
  {ok, _, Beam} = compile:forms(Forms, []),
  {ok, _, Chunks} = beam_lib:all_chunks(Beam),
  Bare = fun(T) -> <<131, B/binary>> = term_to_binary(T), B end,
  Table = fun(Pairs) ->
    Term = iolist_to_binary([131, 116, <<40:32>>, [[Bare(K), Bare(V)] || {K, V} <- Pairs]]),
    Data = <<1:32, (byte_size(Term)):32, Term/binary>>,
    <<(byte_size(Data)):32, (zlib:compress(Data))/binary>> end,
  Build = fun(Pairs) ->
    {ok, B} = beam_lib:build_module(lists:keystore("LitT", 1, Chunks, {"LitT", Table(Pairs)})),
    io:format("~s~n", [[io_lib:format("~2.16.0b", [X]) || <<X>> <= B]]) end,
  Pairs = maps:to_list(Map),
  Build(Pairs), Build(lists:reverse(Pairs)), Build([{hd(Keys), 2} | lists:keydelete(hd(Keys), 1, Pairs)])"#;
    let beams: Vec<Vec<u8>> = erlang::run(program, &[]).lines().map(erlang::unhex).collect();
    let reversed = bytes("m.beam", &beams[0], &beams[1]);
    assert_eq!(reversed.len(), 1, "{:?}", lines(&reversed));
    assert_eq!(reversed[0].explained.as_ref().map(|explained| explained.reason), Some(Reason::MapOrder));
    let other = compared(&beams[0], &beams[2]);
    assert!(other.len() == 1 && other[0].contains("key1 in a/0: 1 | 2"), "{other:?}");
}

#[test]
fn every_installed_module_is_taken_apart_as_erlang_does() {
    let modules = erlang::installed_modules();
    let sample: Vec<_> = modules.iter().step_by(23).map(std::path::PathBuf::as_path).collect();
    let program = r#"[begin
    {beam_file, _, _, _, _, Code} = beam_disasm:file(F),
    Shown = [{N, A, length([I || I <- Is])} || {function, N, A, _, Is} <- Code],
    io:format("~ts ~w ~w~n", [F, length(Shown), lists:sum([L || {_, _, L} <- Shown])])
  end || F <- Args]"#;
    for line in erlang::run(program, &sample).lines() {
        let [file, functions, instructions] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let beam = std::fs::read(file).unwrap();
        let found = beam_file::functions(&BeamFile::parse(&beam).unwrap()).unwrap();
        assert_eq!(found.len().to_string(), functions, "{file}");
        assert_eq!(found.values().map(Vec::len).sum::<usize>().to_string(), instructions, "{file}");
    }
    for module in modules.iter().step_by(9) {
        let beam = std::fs::read(module).unwrap();
        beam_file::functions(&BeamFile::parse(&beam).unwrap()).unwrap_or_else(|e| panic!("{module:?}: {e}"));
    }
}

#[test]
fn terms_are_compared_as_terms_and_what_is_not_one_as_text() {
    let one = |path: &str, ours: &[u8], theirs: &[u8]| lines(&bytes(path, ours, theirs));
    let app = |modules: &str| format!("{{application,app,[{{vsn,\"1\"}},{{modules,[{modules}]}}]}}.\n");
    assert_eq!(
        one("lib/app-1/ebin/app.app", app("a,b").as_bytes(), app("a").as_bytes()),
        ["term modules[1]: b | -"]
    );
    assert_eq!(
        one("releases/1/sys.config", b"%% RUNTIME_CONFIG=true\n[].\n", b"%% RUNTIME_CONFIG=false\n[].\n"),
        ["line 1: %% RUNTIME_CONFIG=true | %% RUNTIME_CONFIG=false"]
    );
    assert_eq!(
        one("releases/1/sys.config", b"%% c\n[{a,#{b => 1,c => 2}}].\n", b"%% c\n[{a,#{c => 2,b => 1}}].\n"),
        ["term : - | - (map_order)"]
    );
    // Another comment is one, and another way to write the same term.
    for other in ["%% d\n[{a,#{c => 2,b => 1}}].\n", "%% c\n[{a,#{c => 2, b => 1}}].\n"] {
        let found = one("releases/1/sys.config", b"%% c\n[{a,#{b => 1,c => 2}}].\n", other.as_bytes());
        assert!(found.iter().all(|line| !line.contains("map_order")), "{found:?}");
    }
    assert_eq!(one("releases/1/sys.config", b"[{a,1}].\n", b"[{a,\n"), ["line 1: [{a,1}]. | [{a,"]);
    assert_eq!(one("x.bin", &[0, 1, 2], &[0, 1, 3, 4]), ["content from byte 2: 3 bytes | 4 bytes"]);
    let packed = |bytes: &[u8]| {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let beam = std::fs::read(&erlang::installed_modules()[0]).unwrap();
    assert_eq!(one("m.beam", &packed(&beam), &beam), ["content compression: - | - (packing)"]);
}

#[test]
fn damage_is_told_and_never_explained() {
    let beam = std::fs::read(&erlang::installed_modules()[40]).unwrap();
    for end in [0, 4, 12, 20, beam.len() / 2, beam.len() - 1] {
        let found = bytes("m.beam", &beam, &beam[..end]);
        assert!(found.iter().any(|finding| finding.explained.is_none()), "{end}: {:?}", lines(&found));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_damage_makes_it_panic(at in 0_usize..100_000, byte: u8, cut in 0_usize..100_000) {
        let modules = MODULE.get_or_init(|| compile(&["-module(m).\n-export([a/1]).\na(X) -> F = fun(Y) -> {X, Y, #{k => [1, 2.5, \"x\"]}} end, <<\"s\", (F(1))/binary, 7:3>>.\n"]));
        let mut other = modules[0].clone();
        let at = at % other.len();
        other[at] = byte;
        if cut % 3 == 0 {
            other.truncate(cut % other.len());
        }
        let same = other == modules[0];
        let found = bytes("m.beam", &modules[0], &other);
        prop_assert!(same || !found.is_empty());
        for path in ["start.boot", "app.app", "x.so", "env.sh"] {
            let _ = bytes(path, &modules[0], &other);
        }
    }
}

static MODULE: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
