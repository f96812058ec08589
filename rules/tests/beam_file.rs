//! Compiled modules, compared with what a real `beam_lib` says of every installed one.

#[allow(dead_code)]
mod erlang;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use md5::{Digest, Md5};
use proptest::prelude::*;
use relgraph_rules::beam_file::{self, BeamError, BeamFile};

const ELIXIR_1_14: [&str; 10] =
    ["Atom", "AtU8", "Attr", "Code", "StrT", "ImpT", "ExpT", "FunT", "LitT", "Line"];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn strip_makes_what_beam_lib_makes_of_every_installed_module() {
    let program = r#"Recipes = [["Attr"] ++ beam_lib:significant_chunks(),
      ["Atom", "AtU8", "Attr", "Code", "StrT", "ImpT", "ExpT", "FunT", "LitT", "Line"],
      ["Line", "Docs", "CInf", "Code"]],
  io:format("~ts~n", [lists:join(" ", hd(Recipes))]),
  {ok, Bin} = file:read_file(hd(Args)),
  Digest = fun(B) -> [io_lib:format("~2.16.0b", [X]) || <<X>> <= erlang:md5(B)] end,
  [begin
     {ok, {_, Md5}} = beam_lib:md5(F),
     Built = [begin
       {ok, {_, Cs}} = beam_lib:chunks(F, R, [allow_missing_chunks]),
       {ok, B} = beam_lib:build_module([C || {_, D} = C <- Cs, is_binary(D)]),
       Digest(B) end || R <- Recipes],
     {ok, {_, [{attributes, At}, {exports, Es}, {imports, Is}]}} = beam_lib:chunks(F, [attributes, exports, imports]),
     Vsn = case proplists:get_value(vsn, At) of [V] when is_integer(V), V > 1 bsl 64 -> "auto"; _ -> "own" end,
     io:format("~ts ~ts ~ts ~w ~w~n", [F, lists:join(" ", Built), [[io_lib:format("~2.16.0b", [X]) || <<X>> <= Md5], " ", Vsn], length(Es), length(Is)])
   end || L <- binary:split(Bin, <<"\n">>, [global, trim]), F <- [binary_to_list(L)]]"#;
    let modules = erlang::installed_modules();
    let mut list = tempfile::NamedTempFile::new().unwrap();
    modules.iter().for_each(|module| writeln!(list, "{}", module.display()).unwrap());
    let output = erlang::run(program, &[list.path()]);
    let mut lines = output.lines();
    let significant: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let mut compared = 0;
    for line in lines {
        let [file, significant_md5, elixir_md5, other_md5, md5, vsn, exports, imports] =
            line.split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        let bytes = std::fs::read(file).unwrap();
        let built = |recipe: &[&str]| hex(&Md5::digest(beam_file::strip(&bytes, recipe).unwrap()));
        assert_eq!(built(&significant), significant_md5, "{file}");
        assert_eq!(built(&ELIXIR_1_14), elixir_md5, "{file}");
        assert_eq!(built(&["Line", "Docs", "CInf", "Code"]), other_md5, "{file}");
        assert_eq!(hex(&beam_file::module_md5(&bytes).unwrap()), md5, "{file}");
        let info = beam_file::info(&bytes).unwrap();
        assert_eq!(info.vsn.is_none(), vsn == "auto", "{file}: {:?}", info.vsn);
        assert_eq!(info.exports.len() + 2, exports.parse::<usize>().unwrap(), "{file}");
        assert_eq!(info.imports.len(), imports.parse::<usize>().unwrap(), "{file}");
        let stripped = beam_file::strip(&bytes, &significant).unwrap();
        assert_eq!(beam_file::running_digest(&bytes), beam_file::running_digest(&stripped), "{file}");
        beam_file::interface_digest(&bytes).unwrap();
        compared += 1;
    }
    assert_eq!(compared, modules.len());
}

#[test]
fn on_load_is_found_where_the_disassembler_finds_it() {
    let modules: Vec<PathBuf> = erlang::installed_modules()
        .into_iter()
        .filter(|path| {
            ["/crypto-", "/asn1-", "/stdlib-", "/logger/"]
                .iter()
                .any(|part| path.to_string_lossy().contains(part))
        })
        .collect();
    let mut list = tempfile::NamedTempFile::new().unwrap();
    modules.iter().for_each(|module| writeln!(list, "{}", module.display()).unwrap());
    let program = r#"{ok, Bin} = file:read_file(hd(Args)),
  [begin {beam_file, _, _, _, _, Fs} = beam_disasm:file(F),
     On = lists:any(fun(I) -> lists:member(on_load, I) orelse lists:member({on_load, []}, I) end, [I || {function, _, _, _, I} <- Fs]),
     io:format("~ts ~w~n", [F, On]) end || L <- binary:split(Bin, <<"\n">>, [global, trim]), F <- [binary_to_list(L)]]"#;
    let mut found = 0;
    for line in erlang::run(program, &[list.path()]).lines() {
        let (file, expected) = line.split_once(' ').unwrap();
        let info = beam_file::info(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(info.has_on_load.to_string(), expected, "{file}");
        found += usize::from(info.has_on_load);
    }
    assert!(found > 0);
}

/// Compiles Erlang programs, all named `m`, in folders of their own.
fn compile(programs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let compiled = |(name, text): &(&str, &str)| {
        let place = folder.path().join(name);
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("m.erl"), text).unwrap();
        let status =
            Command::new("erlc").arg("+debug_info").arg("m.erl").current_dir(&place).status().unwrap();
        assert!(status.success(), "{name}");
        (name.to_string(), std::fs::read(place.join("m.beam")).unwrap())
    };
    programs.iter().map(compiled).collect()
}

#[test]
fn identities_tell_apart_what_they_should() {
    let head = "-module(m).\n-export([f/1]).\n";
    let body = "f(X) -> F = fun(Y) -> {Y, X, \"literal\", [one, two]} end, F(1).\n";
    let changed = body.replace("one", "three");
    let programs = [
        ("base", format!("{head}{body}")),
        ("lines", format!("{head}\n\n%% moved\n\n{body}")),
        ("code", format!("{head}{changed}")),
        ("exports", format!("{head}-export([g/0]).\n{body}g() -> 1.\n")),
        ("vsn", format!("{head}-vsn(\"1\").\n{body}")),
        ("vsn2", format!("{head}-vsn(\"2\").\n{body}")),
        ("vsnlines", format!("{head}-vsn(\"1\").\n\n\n{body}")),
        ("attribute", format!("{head}-mine(1).\n{body}")),
        ("callback", format!("{head}-callback c(term()) -> term().\n{body}")),
        ("callback2", format!("{head}-callback c(term()) -> term().\n-callback d() -> term().\n{body}")),
        ("behaviour", format!("{head}-behaviour(gen_server).\n{body}")),
    ];
    let programs: Vec<(&str, &str)> = programs.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let beams = compile(&programs);
    let running = |name: &str| beam_file::running_digest(&beams[name]).unwrap();
    let interface = |name: &str| beam_file::interface_digest(&beams[name]).unwrap();
    assert_ne!(beams["base"], beams["lines"]);
    assert_eq!(running("base"), running("lines"));
    assert_eq!(running("vsn"), running("vsnlines"));
    for (one, other) in [
        ("base", "code"),
        ("base", "exports"),
        ("base", "vsn"),
        ("vsn", "vsn2"),
        ("base", "attribute"),
        ("callback", "callback2"),
    ] {
        assert_ne!(running(one), running(other), "{one} {other}");
    }
    for same in ["lines", "code", "vsn", "vsn2", "attribute"] {
        assert_eq!(interface("base"), interface(same), "{same}");
    }
    for other in ["exports", "callback", "behaviour"] {
        assert_ne!(interface("base"), interface(other), "{other}");
    }
    assert_ne!(interface("callback"), interface("callback2"));

    let info = beam_file::info(&beams["vsn"]).unwrap();
    assert_eq!((info.name.as_str(), info.vsn.as_deref()), ("m", Some("\"1\"")));
    let info = beam_file::info(&beams["callback2"]).unwrap();
    assert_eq!(info.callbacks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["c/1", "d/0"]);
    assert_eq!(info.vsn, None);
    let info = beam_file::info(&beams["behaviour"]).unwrap();
    assert_eq!(info.behaviours.into_iter().collect::<Vec<_>>(), ["gen_server"]);
}

#[test]
fn protocols_and_their_implementations_are_known() {
    let find = |name: &str| {
        let modules = erlang::installed_modules();
        let path =
            modules.into_iter().find(|path| path.file_name().is_some_and(|file| file == name)).unwrap();
        beam_file::info(&std::fs::read(path).unwrap()).unwrap()
    };
    assert!(find("Elixir.Enumerable.beam").protocol);
    let info = find("Elixir.Enumerable.List.beam");
    let implementation = info.implements.unwrap();
    assert_eq!(
        (implementation.protocol.as_str(), implementation.target.as_str()),
        ("Elixir.Enumerable", "Elixir.List")
    );
    assert!(!info.protocol);
    let callbacks = find("gen_server.beam").callbacks;
    assert!(callbacks.iter().any(|callback| callback.to_string() == "handle_call/3"), "{callbacks:?}");
}

fn sample() -> Vec<u8> {
    compile(&[(
        "sample",
        "-module(m).\n-export([f/1]).\n-on_load(g/0).\nf(X) -> fun() -> {X, \"a\"} end.\ng() -> ok.\n",
    )])
    .remove("sample")
    .unwrap()
}

fn everything(bytes: &[u8]) -> Option<BeamError> {
    let recipe = ["Attr", "Code"];
    let _ = beam_file::running_digest(bytes);
    let _ = beam_file::interface_digest(bytes);
    let _ = beam_file::module_md5(bytes);
    beam_file::strip(bytes, &recipe).err().or(beam_file::info(bytes).err())
}

#[test]
fn compressed_modules_are_unpacked_and_damaged_ones_refused() {
    let beam = sample();
    assert!(beam_file::info(&beam).unwrap().has_on_load);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&beam).unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(beam_file::running_digest(&packed), beam_file::running_digest(&beam));
    assert_eq!(beam_file::strip(&packed, &ELIXIR_1_14), beam_file::strip(&beam, &ELIXIR_1_14));
    assert_eq!(everything(&packed[..packed.len() / 2]), Some(BeamError::Gzip));
    for length in 0..beam.len() - 4 {
        assert!(everything(&beam[..length]).is_some(), "{length}");
    }
    assert_eq!(everything(b"#!/bin/sh\n"), Some(BeamError::NotABeam));
    assert_eq!(
        beam_file::strip(&beam, &["Code", "Toolong"]),
        Err(BeamError::BadName { id: "Toolong".to_owned() })
    );
    let nameless = beam_file::strip(&beam, &["Code"]).unwrap();
    assert_eq!(
        beam_file::strip(&beam_file::strip(&beam, &["Code", "AtU8"]).unwrap(), &["Code"]),
        Ok(nameless.clone())
    );
    assert_eq!(everything(&nameless), Some(BeamError::MissingChunk { id: "AtU8" }));
    assert!(BeamFile::parse(&beam).unwrap().chunks().count() > 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn mutated_modules_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        static SAMPLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut bytes = SAMPLE.get_or_init(sample).clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = everything(&bytes);
    }
}
