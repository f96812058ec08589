//! What builds a dependency: Mix, rebar3, make, a command, or nothing. Each project is compared with what `mix release` makes.

mod support;

use support::TestSpace;
use support::project::Project;
use support::small::{project, same_as_mix};

/// A `mix.exs`: the module and what it says about the project.
fn mix_exs(module: &str, says: &str) -> String {
    format!("defmodule {module}.MixProject do\n  use Mix.Project\n  def project, do: [{says}]\nend\n")
}

/// A project whose dependencies lie in `deps/`, built by rebar3.
fn erlang_project(space: &TestSpace) -> Project {
    let deps = r#"{:transform, path: "deps/transform", override: true}, {:plain, path: "deps/plain"},
        {:grammar, path: "deps/grammar"}, {:scripted, path: "deps/scripted", manager: :rebar3},
        {:hooked, path: "deps/hooked"}, {:several, path: "deps/several", manager: :rebar3}"#;
    project(
        space,
        "ours",
        "works",
        &[
            ("mix.exs", &mix_exs("Works", &format!("app: :works, version: \"0.1.0\", deps: [{deps}]"))),
            (
                "lib/works.ex",
                "defmodule Works do\n  def all, do: {:plain.value(), :plain_used.seen(), :grammar.parse(\"1+2\"), :scripted.value(), :hooked.made(), :several.value(), :works_made.value()}\nend\n",
            ),
            // A parse transform that others use, and a header.
            ("deps/transform/rebar.config", "{erl_opts, [debug_info, warnings_as_errors]}.\n"),
            (
                "deps/transform/src/transform.app.src",
                "{application, transform, [{description, \"\"}, {vsn, \"1.0.0\"}, {applications, [kernel, stdlib, compiler]}]}.\n",
            ),
            (
                "deps/transform/src/transform.erl",
                "-module(transform).\n-export([parse_transform/2]).\nunused() -> ok.\nparse_transform(Forms, _) -> [form(F) || F <- Forms].\nform({function, L, seen, 0, _}) -> {function, L, seen, 0, [{clause, L, [], [], [{atom, L, transformed}]}]};\nform(F) -> F.\n",
            ),
            ("deps/transform/include/transform.hrl", "-define(HEADER, from_transform).\n"),
            // Its dependencies, profiles and plugins that are only its own business; options of the compiler.
            (
                "deps/plain/rebar.config",
                "{erl_opts, [debug_info, {d, 'GREETING', \"hi\"}, {i, \"hrl\"}, {parse_transform, transform}, {platform_define, \"^[0-9]+\", 'NEW'}]}.\n{deps, [{transform, {git, \"https://example.invalid/transform.git\", {tag, \"1.0.0\"}}}]}.\n{profiles, [{test, [{deps, [meck, proper]}]}, {prod, [{erl_opts, [{d, 'PROD'}]}]}]}.\n{project_plugins, [rebar3_nowhere]}.\n{dialyzer, [{warnings, [unknown]}]}.\n{xref_checks, []}.\n{minimum_otp_vsn, \"21\"}.\n",
            ),
            (
                "deps/plain/src/plain.app.src",
                "{application, plain, [{description, \"a plain one\"}, {vsn, \"1.2.3\"}, {registered, []}, {applications, [kernel, stdlib, transform]}, {env, [{key, value}]}]}.\n",
            ),
            (
                "deps/plain/src/plain.erl",
                "-module(plain).\n-include(\"plain.hrl\").\n-include_lib(\"transform/include/transform.hrl\").\n-export([value/0]).\n-ifdef(PROD).\nprod() -> true.\n-else.\nprod() -> false.\n-endif.\nvalue() -> {?GREETING, ?PLAIN, ?HEADER, prod(), ?NEWER}.\n",
            ),
            (
                "deps/plain/hrl/plain.hrl",
                "-define(PLAIN, 1).\n-ifdef(NEW).\n-define(NEWER, yes).\n-else.\n-define(NEWER, no).\n-endif.\n",
            ),
            (
                "deps/plain/src/sub/plain_used.erl",
                "-module(plain_used).\n-export([seen/0]).\nseen() -> untransformed.\n",
            ),
            ("deps/plain/priv/data.txt", "data\n"),
            ("deps/plain/test/plain_SUITE.erl", "-module(plain_SUITE).\n-include(\"nowhere.hrl\").\n"),
            // yecc and leex.
            ("deps/grammar/rebar.config", "{erl_opts, [debug_info]}.\n{yrl_opts, [{verbose, false}]}.\n"),
            (
                "deps/grammar/src/grammar.app.src",
                "{application, grammar, [{vsn, \"0.1\"}, {applications, [kernel, stdlib]}]}.\n",
            ),
            (
                "deps/grammar/src/grammar.erl",
                "-module(grammar).\n-export([parse/1]).\nparse(S) -> {ok, T, _} = grammar_lexer:string(unicode:characters_to_list(S)), {ok, N} = grammar_parser:parse(T), N.\n",
            ),
            (
                "deps/grammar/src/grammar_lexer.xrl",
                "Definitions.\nRules.\n[0-9]+ : {token, {int, TokenLine, list_to_integer(TokenChars)}}.\n\\+ : {token, {'+', TokenLine}}.\nErlang code.\n",
            ),
            (
                "deps/grammar/src/grammar_parser.yrl",
                "Nonterminals e.\nTerminals int '+'.\nRootsymbol e.\nLeft 100 '+'.\ne -> int : element(3, '$1').\ne -> e '+' e : '$1' + '$3'.\n",
            ),
            // What a script says.
            ("deps/scripted/rebar.config", "{erl_opts, [debug_info]}.\n"),
            (
                "deps/scripted/rebar.config.script",
                "[{erl_opts, [debug_info, {d, 'SCRIPTED', 7}]} | lists:keydelete(erl_opts, 1, CONFIG)].\n",
            ),
            (
                "deps/scripted/src/scripted.app.src",
                "{application, scripted, [{vsn, \"0.1\"}, {applications, [kernel, stdlib]}]}.\n",
            ),
            (
                "deps/scripted/src/scripted.app.src.script",
                "[{application, A, P}] = CONFIG,\n[{application, A, lists:keystore(vsn, 1, P, {vsn, \"3.2.1\"})}].\n",
            ),
            (
                "deps/scripted/src/scripted.erl",
                "-module(scripted).\n-export([value/0]).\nvalue() -> ?SCRIPTED.\n",
            ),
            // A header that a hook writes beside one that is there.
            ("deps/hooked/include/hooked.hrl", "-include(\"made.hrl\").\n"),
            (
                "src/works_made.erl",
                "-module(works_made).\n-export([value/0]).\n-include_lib(\"hooked/include/hooked.hrl\").\nvalue() -> ?MADE.\n",
            ),
            // Hooks that make native code in priv.
            (
                "deps/hooked/rebar.config",
                "{erl_opts, [debug_info]}.\n{pre_hooks, [{\"(linux|darwin)\", compile, \"make -C c_src\"}]}.\n{post_hooks, [{compile, \"sh -c 'echo after > priv/after.txt; echo \\\"-define(MADE, made).\\\" > include/made.hrl'\"}]}.\n",
            ),
            (
                "deps/hooked/src/hooked.app.src",
                "{application, hooked, [{vsn, \"0.1\"}, {applications, [kernel, stdlib]}]}.\n",
            ),
            (
                "deps/hooked/src/hooked.erl",
                "-module(hooked).\n-export([made/0, twice/1]).\n-on_load(init/0).\ninit() -> erlang:load_nif(filename:join(code:priv_dir(hooked), \"hooked\"), 0).\nmade() -> file:read_file(filename:join(code:priv_dir(hooked), \"after.txt\")).\ntwice(_) -> erlang:nif_error(not_loaded).\n",
            ),
            (
                "deps/hooked/c_src/Makefile",
                "ERTS := $(shell erl -noshell -eval 'io:format(\"~ts/erts-~ts/include\", [code:root_dir(), erlang:system_info(version)]), halt().')\n../priv/hooked.so: hooked.c\n\tmkdir -p ../priv\n\t$(CC) $(CFLAGS) -I$(ERTS) -fPIC -shared -o $@ $<\n",
            ),
            (
                "deps/hooked/c_src/hooked.c",
                "#include <erl_nif.h>\nstatic ERL_NIF_TERM twice(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) { int n; enif_get_int(env, argv[0], &n); return enif_make_int(env, 2 * n); }\nstatic ErlNifFunc funcs[] = {{\"twice\", 1, twice}};\nERL_NIF_INIT(hooked, funcs, NULL, NULL, NULL, NULL)\n",
            ),
            // Files of several managers: the one that is named builds it.
            ("deps/several/rebar.config", "{erl_opts, [{d, 'BY', rebar3}]}.\n"),
            ("deps/several/mix.exs", "raise \"this is not built by Mix\"\n"),
            ("deps/several/Makefile", "all:\n\texit 1\n"),
            (
                "deps/several/src/several.app.src",
                "{application, several, [{vsn, \"0.1\"}, {applications, [kernel, stdlib]}]}.\n",
            ),
            ("deps/several/src/several.erl", "-module(several).\n-export([value/0]).\nvalue() -> ?BY.\n"),
            ("deps/several/ebin/leftover.beam", "left by somebody\n"),
        ],
    )
}

#[test]
fn rebar3_with_transforms_headers_grammars_scripts_and_hooks() {
    let space = TestSpace::new();
    let project = erlang_project(&space);
    same_as_mix(&space, &project, "works");
    project.build().assert_nothing_to_do();
    // Nothing was written into the sources.
    assert!(!project.dir.join("deps/hooked/priv").exists());
    project.append("deps/transform/include/transform.hrl", "%% more");
    let ran = project.ran();
    assert!(ran.contains("compile plain") && !ran.contains("compile grammar"), "{ran:?}");
}

/// A project whose dependencies are built by make, by a command, or not at all.
fn made_project(space: &TestSpace) -> Project {
    let deps = r#"{:base, path: "deps/base"}, {:erlangmk, path: "deps/erlangmk"}, {:told, path: "deps/told", compile: "sh build.sh && echo $TOLD > priv/told.txt", system_env: [{"TOLD", "yes"}]},
        {:ready, path: "deps/ready", compile: false, app: false}, {:data, path: "deps/data", compile: false, app: false}, {:elsewhere, path: "deps/elsewhere", compile: "make", runtime: false, app: "ebin/other.app"}"#;
    project(
        space,
        "ours",
        "works",
        &[
            ("mix.exs", &mix_exs("Works", &format!("app: :works, version: \"0.1.0\", deps: [{deps}]"))),
            (
                "lib/works.ex",
                "defmodule Works do\n  def value, do: {:base.value(), :erlangmk.value(), :told.value()}\nend\n",
            ),
            // A Makefile, and what it makes.
            (
                "deps/base/Makefile",
                "all:\n\tmkdir -p ebin priv\n\terlc +debug_info -o ebin src/base.erl\n\tcp src/base.app ebin/\n\techo made with $(IS_DEP) > priv/made.txt\n\ttest -n \"$(ERL_LIBS)\"\n",
            ),
            ("deps/base/src/base.erl", "-module(base).\n-export([value/0]).\nvalue() -> base.\n"),
            (
                "deps/base/src/base.app",
                "{application, base, [{description, \"\"}, {registered, []}, {vsn, \"1.0\"}, {modules, [base]}, {applications, [kernel, stdlib]}]}.\n",
            ),
            ("deps/base/include/base.hrl", "-define(BASE, 1).\n"),
            // As Erlang.mk does it, small: `make clean` comes first.
            ("deps/erlangmk/Makefile", "PROJECT = erlangmk\nPROJECT_VERSION = 2.0.1\ninclude erlang.mk\n"),
            (
                "deps/erlangmk/erlang.mk",
                "BEAMS = $(patsubst src/%.erl,ebin/%.beam,$(wildcard src/*.erl))\nall:: $(BEAMS) ebin/$(PROJECT).app\nebin/%.beam: src/%.erl\n\tmkdir -p ebin\n\terlc +debug_info -I include -o ebin $<\nebin/$(PROJECT).app:\n\techo '{application, $(PROJECT), [{description, \"\"}, {registered, []}, {vsn, \"$(PROJECT_VERSION)\"}, {modules, []}, {applications, [kernel, stdlib, base]}]}.' > $@\nclean::\n\trm -rf ebin\n.PHONY: all clean\n",
            ),
            (
                "deps/erlangmk/src/erlangmk.erl",
                "-module(erlangmk).\n-include(\"erlangmk.hrl\").\n-include_lib(\"base/include/base.hrl\").\n-export([value/0]).\nvalue() -> ?VALUE + ?BASE.\n",
            ),
            ("deps/erlangmk/include/erlangmk.hrl", "-define(VALUE, 5).\n"),
            ("deps/erlangmk/ebin/erlangmk.beam", "old\n"),
            (
                "deps/told/build.sh",
                "set -e\nmkdir -p ebin priv\nerlc -o ebin told.erl\necho '{application, told, [{description, \"\"}, {registered, []}, {vsn, \"0.1\"}, {modules, [told]}, {applications, [kernel, stdlib]}]}.' > ebin/told.app\n",
            ),
            ("deps/told/told.erl", "-module(told).\n-export([value/0]).\nvalue() -> told.\n"),
            // Compiled by somebody else.
            (
                "deps/ready/ebin/ready.app",
                "{application, ready, [{description, \"\"}, {registered, []}, {vsn, \"9\"}, {modules, []}, {applications, [kernel, stdlib]}]}.\n",
            ),
            ("deps/ready/priv/ready.txt", "ready\n"),
            ("deps/data/list.txt", "one\ntwo\n"),
            (
                "deps/elsewhere/Makefile",
                "all:\n\tmkdir -p ebin\n\techo '{application, elsewhere, [{description, \"\"}, {registered, []}, {vsn, \"0.4\"}, {modules, []}, {applications, [kernel, stdlib]}]}.' > ebin/other.app\n\tcp ebin/other.app ebin/elsewhere.app\n",
            ),
        ],
    )
}

#[test]
fn make_erlang_mk_commands_and_nothing() {
    let space = TestSpace::new();
    let project = made_project(&space);
    same_as_mix(&space, &project, "works");
    project.build().assert_nothing_to_do();
    // Nobody knows what make read of what it saw; what nobody names nobody saw.
    project.append("deps/base/include/base.hrl", "%% more");
    let ran = project.ran();
    assert!(ran.contains("compile base") && ran.contains("compile erlangmk"), "{ran:?}");
    assert!(!ran.contains("compile told") && !ran.contains("compile works"), "{ran:?}");
}
