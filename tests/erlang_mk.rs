//! Projects of erlang.mk: what make builds of them, application by application.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use relgraph_rules::beam_file::running_digest;
use support::project::{Project, set};
use support::small::{self, Files};
use support::sources::sources;
use support::verified::{reasons, text, verify};
use support::{TestSpace, files, said};

/// An application with a dependency that brings a parse transform, headers, a plugin for make, a grammar, C code and an
/// application inside of its folder, and with another application in `apps/`.
const FILES: Files<'_> = &[
    ("release.yaml", "release: shelf\nversion: \"1.2.3\"\n"),
    ("README.md", "about\n"),
    (
        "Makefile",
        "PROJECT = shelf\nPROJECT_DESCRIPTION = Keeps things\nPROJECT_VERSION = 1.2.3\nPROJECT_MOD = shelf_app\n\
         define PROJECT_ENV\n[{size, 7}]\nendef\n\
         DEPS = tools\nLOCAL_DEPS = crypto inner\nDEP_PLUGINS = tools/mk/plugin.mk\nERLC_OPTS = +debug_info\n\
         include erlang.mk\n",
    ),
    (
        "src/shelf.erl",
        "-module(shelf).\n-export([all/0, size/0]).\n-behaviour(shelf_kind).\n-include_lib(\"tools/include/tools.hrl\").\n\
         -compile({parse_transform, tools_transform}).\nall() -> {?SET_BY_PLUGIN, ?VALUE, inner:f()}.\nsize() -> from_transform.\n",
    ),
    ("src/shelf_kind.erl", "-module(shelf_kind).\n-callback all() -> term().\n"),
    (
        "src/shelf_app.erl",
        "-module(shelf_app).\n-behaviour(application).\n-export([start/2, stop/1]).\n\
         start(_, _) -> {ok, spawn_link(timer, sleep, [infinity])}.\nstop(_) -> ok.\n",
    ),
    ("apps/inner/Makefile", "PROJECT = inner\nPROJECT_VERSION = 0.3.0\ninclude ../../erlang.mk\n"),
    ("apps/inner/src/inner.erl", "-module(inner).\n-export([f/0]).\nf() -> tools:parse(\"1 + 2\").\n"),
    (
        "deps/tools/Makefile",
        "PROJECT = tools\nERLC_OPTS = +debug_info\nLOCAL_DEPS = chip\nAPPS_DIR := $(CURDIR)/apps\ninclude ../../erlang.mk\n",
    ),
    (
        "deps/tools/apps/chip/Makefile",
        "PROJECT = chip\nPROJECT_VERSION = 0.7.0\ninclude ../../../../erlang.mk\n",
    ),
    ("deps/tools/apps/chip/src/chip.erl", "-module(chip).\n-export([f/0]).\nf() -> 1.\n"),
    ("deps/tools/mk/plugin.mk", "ERLC_OPTS += -DSET_BY_PLUGIN=$(words of three words)\n"),
    ("deps/tools/include/tools.hrl", "-define(VALUE, 7).\n"),
    (
        "deps/tools/src/tools.app.src",
        "{application, tools, [{description, \"Tools\"}, {vsn, \"0.1.0\"}, {modules, []}, {registered, []},\n\
         {applications, [kernel, stdlib, chip]}]}.\n",
    ),
    (
        "deps/tools/src/tools.erl",
        "-module(tools).\n-export([parse/1, nif/0]).\n-on_load(load/0).\n\
         load() -> erlang:load_nif(filename:join(code:priv_dir(tools), \"tools\"), 0).\nnif() -> none.\n\
         parse(Text) -> {ok, Tokens, _} = tools_lexer:string(Text), tools_grammar:parse(Tokens).\n",
    ),
    (
        "deps/tools/src/tools_transform.erl",
        "-module(tools_transform).\n-export([parse_transform/2]).\n\
         parse_transform(Forms, _) -> [change(Form) || Form <- Forms].\n\
         change({function, L, size, 0, _}) -> {function, L, size, 0, [{clause, L, [], [], [{atom, L, transformed}]}]};\n\
         change(Form) -> Form.\n",
    ),
    (
        "deps/tools/src/tools_lexer.xrl",
        "Definitions.\nRules.\n[0-9]+ : {token, {int, TokenLine, list_to_integer(TokenChars)}}.\n\\+ : {token, {'+', TokenLine}}.\n\
         \\s : skip_token.\nErlang code.\n",
    ),
    (
        "deps/tools/src/tools_grammar.yrl",
        "Nonterminals sum.\nTerminals int '+'.\nRootsymbol sum.\nsum -> int : value('$1').\nsum -> int '+' sum : value('$1') + '$3'.\n\
         Erlang code.\nvalue({int, _, Value}) -> Value.\n",
    ),
    (
        "deps/tools/c_src/tools.c",
        "#include <erl_nif.h>\nstatic ERL_NIF_TERM nif(ErlNifEnv* env, int argc, const ERL_NIF_TERM argv[])\n\
         { return enif_make_int(env, 42); }\nstatic ErlNifFunc funcs[] = {{\"nif\", 0, nif}};\n\
         ERL_NIF_INIT(tools, funcs, NULL, NULL, NULL, NULL)\n",
    ),
];

/// The project, with the erlang.mk that RabbitMQ brings.
fn shelf(space: &TestSpace) -> Option<Project> {
    let sources = sources(&["rabbitmq-server"])?;
    let project = small::project(space, "shelf", "shelf", FILES);
    fs::copy(sources.join("rabbitmq-server/erlang.mk"), project.dir.join("erlang.mk")).expect("erlang.mk");
    Some(project)
}

/// What a compiled application holds: what runs of its modules, and the other files as they are.
fn contents(app: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for part in ["ebin", "priv", "include"] {
        for file in files::all_files(&app.join(part)) {
            let bytes = fs::read(&file).expect("a file");
            let name = file.strip_prefix(app).expect("inside").display().to_string();
            let said = match running_digest(&bytes) {
                Ok(digest) => digest.to_string(),
                // The machine code knows the folder in which it was compiled.
                Err(_) if name.ends_with(".so") => "native".into(),
                Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
            };
            if !name.ends_with("dep_built") {
                all.insert(name, said);
            }
        }
    }
    assert!(!all.is_empty(), "{} is empty", app.display());
    all
}

/// Where an application lies in the release.
fn released(project: &Project, app: &str) -> PathBuf {
    let lib = project.release("shelf").join("lib");
    let mine = |name: &str| name == app || name.strip_prefix(app).is_some_and(|rest| rest.starts_with('-'));
    let found =
        fs::read_dir(&lib).expect("a folder").flatten().find(|e| mine(&e.file_name().to_string_lossy()));
    found.unwrap_or_else(|| panic!("no {app} in {}", lib.display())).path()
}

fn make(folder: &Path) -> Command {
    let mut command = Command::new("make");
    // Tests lie in the checkout of this repository, whose commit make would write into specifications.
    command.current_dir(folder).env_remove("MAKEFLAGS").env("GIT_DIR", "nowhere");
    command
}

const APPLICATIONS: [(&str, &str); 4] =
    [("shelf", "."), ("inner", "apps/inner"), ("tools", "deps/tools"), ("chip", "deps/tools/apps/chip")];

#[test]
fn applications_dependencies_and_what_make_generates_are_those_of_make() {
    let space = TestSpace::new();
    let Some(project) = shelf(&space) else { return };
    let theirs = space.path("theirs");
    files::copy(&project.dir, &theirs);
    project.build();
    said(make(&theirs).arg("app"));
    for (app, folder) in APPLICATIONS {
        assert_eq!(contents(&released(&project, app)), contents(&theirs.join(folder)), "{app}");
    }
    let specification =
        fs::read_to_string(released(&project, "shelf").join("ebin/shelf.app")).expect("a file");
    assert!(specification.contains("{env, [{size, 7}]}") && specification.contains("{mod, {shelf_app, []}}"));
    assert!(released(&project, "tools").join("priv/tools.so").is_file());
}

#[test]
fn only_what_an_edit_concerns_is_made_again_and_what_make_left_means_nothing() {
    let space = TestSpace::new();
    let Some(project) = shelf(&space) else { return };
    project.build();
    project.append("README.md", "more");
    // Make may read what lies in the folder of the application that it builds.
    assert_eq!(project.ran(), set(&["compile shelf"]));
    project.edit("apps/inner/src/inner.erl", "1 + 2", "1 + 3");
    let ran = project.ran();
    // What it does when it runs is no business of who is compiled with it.
    assert!(ran.contains("compile inner") && !ran.contains("compile shelf"), "{ran:?}");
    assert!(!ran.contains("compile tools") && !ran.contains("describe"), "{ran:?}");
    // The same of a dependency; its parse transform and its headers are, and so are names, for something else may be found.
    project.edit("deps/tools/src/tools.erl", "nif() -> none.", "nif() -> nothing.");
    let ran = project.ran();
    assert!(
        ran.contains("compile tools") && !ran.contains("compile shelf") && !ran.contains("compile inner"),
        "{ran:?}"
    );
    project.edit("deps/tools/src/tools_transform.erl", "transformed", "transformed_anew");
    assert!(project.ran().contains("compile shelf"));
    project.edit("deps/tools/include/tools.hrl", "7", "8");
    assert!(project.ran().contains("compile shelf"));
    project.write("deps/tools/src/tools_more.erl", "-module(tools_more).\n");
    assert!(project.ran().contains("compile shelf"));

    // Make builds in the sources, and relgraph afterwards: what is older than its source is not taken for built.
    let before = contents(&released(&project, "shelf"));
    said(make(&project.dir).arg("app"));
    project.edit("src/shelf.erl", "from_transform", "changed_after_make");
    project.edit("src/shelf.erl", "{?SET", "{more, ?SET");
    project.build();
    let after = contents(&released(&project, "shelf"));
    assert_ne!(before["ebin/shelf.beam"], after["ebin/shelf.beam"]);
    let clean = space.path("clean");
    files::copy(&project.dir, &clean);
    said(make(&clean).arg("clean"));
    said(make(&clean).arg("app"));
    assert_eq!(after, contents(&clean));
}

#[test]
fn a_release_is_compared_with_what_make_builds_of_its_applications() {
    let space = TestSpace::new();
    let Some(project) = shelf(&space) else { return };
    project.write("more/lib/tools-0.1.0/priv/notes", "from an overlay\n");
    project.write("release.yaml", "release: shelf\nversion: \"1.2.3\"\noverlays: [more]\n");
    // What an earlier make left is of no use to a build from clean, wherever it is older than its source.
    said(make(&project.dir).arg("app"));
    project.edit("src/shelf.erl", "from_transform", "changed_after_make");
    let json = verify(&project, 0, &["--against", "make", "--keep"]);
    assert_eq!((text(&json["against"]), &json["release"]["name"]), ("make", &"shelf".into()));
    assert_eq!(reasons(&json), set(&["marker", "release_yaml"]), "{:#}", json["differences"]);
    assert!(json["files"]["same"].as_u64() >= Some(15), "{}", json["files"]);
    let theirs = Path::new(text(&json["kept"])).join("theirs/lib");
    assert!(theirs.join("tools-0.1.0/priv/tools.so").is_file() && theirs.join("inner-0.3.0/ebin").is_dir());
    assert!(!theirs.join("kernel-8.5.3").exists());

    // One application by itself is built by relgraph, and with all of its dependencies by make: this Makefile tells.
    project.edit(
        "deps/tools/mk/plugin.mk",
        "ERLC_OPTS",
        "ERLC_OPTS += $(if $(SKIP_DEPS),,-DVALUE=9)\nERLC_OPTS",
    );
    project.edit(
        "deps/tools/include/tools.hrl",
        "-define(VALUE, 7).",
        "-ifndef(VALUE).\n-define(VALUE, 7).\n-endif.",
    );
    let page = project.ask(&["verify"]);
    assert_eq!(page.status, Some(1), "{}{}", page.out, page.err);
    let verdict =
        "shelf does not have the applications that make builds: 1 file differs without a known reason";
    assert!(page.out.starts_with(verdict), "{}", page.out);
    let line = |line: &&str| line.contains("shelf, all/0, chunk Code") && line.ends_with("7, theirs 9");
    assert!(page.out.lines().any(|one| line(&one)), "{}", page.out);
}

#[test]
fn a_dependency_that_was_not_fetched_is_named() {
    let space = TestSpace::new();
    let Some(project) = shelf(&space) else { return };
    project.edit("Makefile", "DEPS = tools", "DEPS = tools jsx");
    let said = project.refused(1);
    assert!(said.contains("dependency `jsx` of `shelf` is not there: no folder deps/jsx"), "{said}");
    assert!(said.contains("hint: run `make deps` to fetch it"), "{said}");
}
