//! Projects of rebar3 as people have them: dependencies that are locked and not fetched, plugins, hooks of the project.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::files::copy;
use support::hex::{Package, Reply, Server};
use support::project::Project;
use support::rebar3::{Rebar3, assert_same};
use support::small::{Files, project};
use support::{TestSpace, said, source};

fn spec(app: &str, version: &str, needs: &str) -> String {
    format!(
        "{{application, {app}, [{{description, \"d\"}}, {{vsn, {version}}}, {{registered, []}}, \
         {{applications, [kernel, stdlib{needs}]}}]}}.\n"
    )
}

/// Asserts that what a build says contains all of these, and no path that only steps see.
#[track_caller]
fn assert_told(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    for never in ["panicked", "/relgraph/project"] {
        assert!(!told.contains(never), "{never:?} is in:\n{told}");
    }
}

fn git(folder: &Path, args: &[&str]) -> String {
    let fixed = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"];
    said(Command::new("git").arg("-C").arg(folder).args(fixed).args(args))
}

/// A git repository with these files, its commit tagged; returns its address and the commit.
fn repository(space: &TestSpace, name: &str, tag: &str, files: Files<'_>) -> (String, String) {
    let repository = Project::new(space.path(name), space.store());
    for (path, text) in files {
        repository.write(path, text);
    }
    (format!("file://{}", repository.dir.display()), committed(&repository.dir, tag))
}

/// Makes a repository of a folder, its commit tagged, and returns the commit.
fn committed(folder: &Path, tag: &str) -> String {
    git(folder, &["init", "--quiet"]);
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", "one"]);
    git(folder, &["tag", tag]);
    git(folder, &["rev-parse", "HEAD"])
}

/// With a dependency that nothing but the lock names: a package has no dependencies in its rebar.config.
const UPPER: Package = Package {
    name: "upper",
    version: "1.1.0",
    tools: &["rebar3"],
    needs: &[("lower", "~> 0.9")],
    files: &[
        ("rebar.config", "{erl_opts, [debug_info, {d, 'ITS_OWN'}]}.\n"),
        (
            "src/upper.app.src",
            "{application,upper,[{description,\"d\"},{vsn,\"1.1.0\"},{registered,[]},{applications,[kernel,stdlib,lower]}]}.\n",
        ),
        (
            "src/upper.erl",
            "-module(upper).\n-export([f/0]).\n-include_lib(\"lower/include/lower.hrl\").\n-ifdef(ITS_OWN).\nf() -> ?LOWER.\n-endif.\n",
        ),
        ("priv/page.html", "<p>\n"),
    ],
    repo: "hexpm",
};

const LOWER: Package = Package {
    name: "lower",
    version: "0.9.0",
    tools: &["rebar3"],
    needs: &[],
    files: &[
        (
            "src/lower.app.src",
            "{application,lower,[{description,\"d\"},{vsn,\"0.9.0\"},{registered,[]},{applications,[kernel,stdlib]}]}.\n",
        ),
        ("src/lower.erl", "-module(lower).\n-export([f/0]).\nf() -> 1.\n"),
        ("include/lower.hrl", "-define(LOWER, low).\n"),
    ],
    repo: "hexpm",
};

fn sums(packages: &[Package], sum: impl Fn(&Package) -> String) -> String {
    let pair =
        |package: &Package| format!("{{<<\"{}\">>, <<\"{}\">>}}", package.name, sum(package).to_uppercase());
    packages.iter().map(pair).collect::<Vec<_>>().join(",\n ")
}

/// A `rebar.lock` of these packages and of these other entries.
fn lock(packages: &[Package], others: &[String]) -> String {
    let level = |package: &Package| {
        i32::from(packages.iter().any(|other| other.needs.iter().any(|(name, _)| *name == package.name)))
    };
    let entry = |package: &Package| {
        format!(
            "{{<<\"{0}\">>,{{pkg,<<\"{0}\">>,<<\"{1}\">>}},{2}}}",
            package.name,
            package.version,
            level(package)
        )
    };
    let entries: Vec<String> = packages.iter().map(entry).chain(others.iter().cloned()).collect();
    format!(
        "{{\"1.2.0\",\n[{}]}}.\n[\n{{pkg_hash,[\n {}]}},\n{{pkg_hash_ext,[\n {}]}}\n].\n",
        entries.join(",\n "),
        sums(packages, Package::inner),
        sums(packages, Package::outer)
    )
}

#[test]
fn what_is_locked_and_not_fetched_is_fetched_and_built_as_rebar3_builds_it() {
    let space = TestSpace::cold();
    let (low, low_commit) = repository(
        &space,
        "low",
        "v2.0.1",
        &[
            (
                "rebar.config",
                "{erl_opts, [{d, 'LOW'}]}.\n{pre_hooks, [{compile, \"mkdir -p priv && echo made > priv/made.txt\"}]}.\n",
            ),
            ("src/low.app.src", &spec("low", "git", "")),
            ("src/low.erl", "-module(low).\n-export([parse_transform/2]).\nparse_transform(F, _) -> F.\n"),
        ],
    );
    let (deep, deep_commit) = repository(
        &space,
        "repo",
        "v1",
        &[
            ("README.md", "two applications\n"),
            ("libs/deep/src/deep.app.src", &spec("deep", "\"0.3\"", "")),
            ("libs/deep/src/deep.erl", "-module(deep).\n-export([f/0]).\nf() -> 3.\n"),
        ],
    );
    let config = format!(
        "{{erl_opts, [debug_info]}}.\n{{deps, [{{upper, \"~> 1.0\"}}, {{low, {{git, \"{low}\", {{tag, \"v2.0.1\"}}}}}},\n\
         {{deep, {{git_subdir, \"{deep}\", {{branch, \"main\"}}, \"libs/deep\"}}}}]}}.\n\
         {{relx, [{{release, {{shop, \"1\"}}, [shop, upper, lower, low, deep]}}]}}.\n"
    );
    let others = [
        format!("{{<<\"low\">>,{{git,\"{low}\",{{ref,\"{low_commit}\"}}}},0}}"),
        format!("{{<<\"deep\">>,{{git_subdir,\"{deep}\",{{ref,\"{deep_commit}\"}},\"libs/deep\"}},0}}"),
    ];
    let files: Files<'_> = &[
        ("rebar.config", &config),
        ("rebar.lock", &lock(&[UPPER, LOWER], &others)),
        ("src/shop.app.src", &spec("shop", "\"1.0.0\"", ", upper, low, deep")),
        (
            "src/shop.erl",
            "-module(shop).\n-compile({parse_transform, low}).\n-export([f/0]).\nf() -> {upper:f(), deep:f()}.\n",
        ),
    ];
    let server = Server::with(&[UPPER, LOWER]);
    let shop = project(&space, "shop", "shop", files).with("HEX_CDN", &server.url);
    let built = shop.build();
    for step in ["fetch upper", "fetch lower", "fetch low", "fetch deep"] {
        assert!(shop.ask(&["plan", "--all"]).out.contains(step), "{step}");
    }
    assert!(!shop.dir.join("_build/default").exists(), "nothing is written to the user's _build");
    assert_eq!(server.asked(), [LOWER.path(), UPPER.path()]);
    shop.build().assert_nothing_to_do();
    let shown = shop.ask(&["show", "--format", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.out).expect("JSON");
    let origins = &shown["origins"];
    assert_eq!(
        (&origins["shop"]["kind"], &origins["upper"]["checksum"]),
        (&"project".into(), &UPPER.outer().into())
    );
    assert_eq!(
        (&origins["deep"]["commit"], &origins["deep"]["folder"]),
        (&deep_commit.into(), &"libs/deep".into())
    );

    // rebar3 with the same sources in their places: it asks nobody for what comes from git and is there.
    let theirs = Rebar3::of(&shop, space.path("theirs"));
    let at = space.path("theirs/project");
    for package in [UPPER, LOWER] {
        let to = at.join("_build/default/lib").join(package.name);
        package.unpack(&to);
        committed(&to, "v1");
    }
    fs::remove_file(at.join("rebar.lock")).expect("removed");
    let from_git = |app: &str| format!("{{{app}, {{git, \"{low}\", {{tag, \"v1\"}}}}}}");
    let config =
        config.replace("{upper, \"~> 1.0\"}", &format!("{}, {}", from_git("upper"), from_git("lower")));
    fs::write(at.join("rebar.config"), config).expect("a file");
    for (url, to) in [(&low, "low"), (&deep, "deep")] {
        let to = at.join("_build/default/lib").join(to);
        said(Command::new("git").args(["clone", "--quiet", url]).arg(to));
    }
    assert_same(&built.release(), &theirs.release("prod", "shop"), &[]);

    let verified = shop.ask(&["verify", "--against", "rebar3"]);
    assert_eq!(verified.status, Some(0), "{}{}", verified.out, verified.err);

    // An edit compiles what it concerns; a colleague elsewhere needs no network.
    shop.edit("src/shop.erl", "deep:f()}", "deep:f(), 1}");
    let ran: Vec<String> = shop.ran().into_iter().filter(|step| step.starts_with("compile ")).collect();
    assert_eq!(ran, ["compile shop"]);
    drop(server);
    let colleague = project(&space, "elsewhere/shop", "shop", files);
    let theirs = colleague.build_with(&["--offline"]);
    assert_eq!((theirs.executed(), theirs.digest()), (0, built.digest()), "{}", theirs.json);
}

/// A shop that needs one package and nothing else.
fn small_shop(space: &TestSpace, at: &str, locked: Option<&str>) -> Project {
    let shop = project(
        space,
        at,
        "shop",
        &[
            ("rebar.config", "{deps, [{lower, \"0.9.0\"}]}.\n{relx, [{release, {shop, \"1\"}, [shop]}]}.\n"),
            ("src/shop.app.src", &spec("shop", "\"1.0.0\"", ", lower")),
        ],
    );
    if let Some(locked) = locked {
        shop.write("rebar.lock", locked);
    }
    shop
}

#[track_caller]
fn planned(project: &Project, status: i32, parts: &[&str]) {
    let said = project.ask(&["plan", "--all"]);
    assert_eq!(said.status, Some(status), "{}{}", said.out, said.err);
    assert_told(&format!("{}{}", said.out, said.err), parts);
}

#[test]
fn what_cannot_be_fetched_is_said_with_what_to_do() {
    let space = TestSpace::cold();
    let server = Server::with(&[LOWER]);
    let good = lock(&[LOWER], &[]);
    // Nothing tells what is meant.
    let shop = small_shop(&space, "unlocked", None);
    planned(
        &shop,
        2,
        &[
            "dependency `lower` is not there, from Hex: lower 0.9.0",
            "there is no rebar.lock",
            "looked for in _checkouts/lower and _build/default/lib/lower",
            "rebar3 get-deps",
        ],
    );
    shop.write("rebar.lock", "{\"1.2.0\",[]}.\n");
    planned(&shop, 2, &["rebar.lock does not name it"]);
    // Nobody is asked.
    let shop = small_shop(&space, "offline", Some(&good)).with("HEX_MIRROR", &server.url);
    let missing = "`lower` (lower 0.9.0) is neither in _build/default/lib nor in the store, and";
    planned(
        &shop.clone().with("REBAR_OFFLINE", "1"),
        1,
        &[missing, "REBAR_OFFLINE is set", "rebar3 get-deps"],
    );
    planned(&shop.clone().with("HEX_OFFLINE", "1"), 1, &[missing]);
    assert!(server.asked().is_empty());
    // Another package than the one that was locked, by each of the checksums.
    let wrong = good.replace(&LOWER.outer().to_uppercase(), &"0".repeat(64));
    shop.write("rebar.lock", &wrong);
    planned(&shop, 1, &["lower 0.9.0 is not the one that was locked", &LOWER.outer(), "rebar3 unlock"]);
    let (inner, _) = good.rsplit_once("{pkg_hash_ext").expect("two lists");
    let inner = format!("{}\n].\n", inner.trim_end().trim_end_matches(','));
    shop.write("rebar.lock", &inner.replace(&LOWER.inner().to_uppercase(), &"0".repeat(64)));
    planned(&shop, 1, &["lower 0.9.0 is not the one that was locked", &LOWER.inner()]);
    shop.write("rebar.lock", "{\"1.2.0\",[{<<\"lower\">>,{pkg,<<\"lower\">>,<<\"0.9.0\">>},0}]}.\n");
    planned(&shop, 1, &["the lock has no checksum for `lower`", "rebar3 lock"]);
    shop.write("rebar.lock", "{\"1.2.0\",[{<<\"lower\">>,{hg,\"x\",\"y\"},0}]}.\n");
    planned(&shop, 2, &["rebar.lock:1", "locked as `hg`, which relgraph cannot fetch"]);
    shop.write("rebar.lock", "{\"1.2.0\",[{<<\"lower\">>,\n");
    planned(&shop, 2, &["rebar.lock:"]);

    // A private package: the lock does not say whose it is, and the organisation's key is where rebar3 keeps it.
    let server = Server::new();
    let path = format!("/repos/acme{}", LOWER.path());
    server.reply(&path, Reply::Keyed("org-key", LOWER.tarball()));
    let shop = small_shop(&space, "private", Some(&good)).with("HEX_MIRROR", &server.url);
    planned(&shop, 1, &["there is no lower 0.9.0 at"]);
    let home = space.path("no-home/.config/rebar3/hex.config");
    fs::create_dir_all(home.parent().expect("a folder")).expect("a folder");
    fs::write(home, "#{<<\"hexpm:acme\">> => #{repo_key => <<\"org-key\">>}}.\n").expect("a file");
    planned(&shop, 0, &["fetch lower"]);
    assert!(server.asked().contains(&path));

    // What lies there and is not what is locked is not built.
    shop.write(
        "_build/default/lib/lower/hex_metadata.config",
        "{<<\"name\">>,<<\"lower\">>}.\n{<<\"version\">>,<<\"0.8.0\">>}.\n",
    );
    planned(
        &shop,
        0,
        &["_build/default/lib/lower is lower 0.8.0, and rebar.lock names 0.9.0", "fetch lower"],
    );
}

/// A plugin that makes modules of lists of words, with another module that it needs.
const GENERATOR: Files<'static> = &[
    ("wordgen/rebar.config", "{deps, [{genlib, {git, \"file:///nowhere\", {tag, \"1\"}}}]}.\n"),
    (
        "wordgen/src/wordgen.app.src",
        "{application, wordgen, [{description, \"d\"}, {vsn, \"1\"}, {registered, []}, {applications, [kernel, stdlib, genlib]}]}.\n",
    ),
    (
        "wordgen/src/wordgen.erl",
        r#"-module(wordgen).
-export([init/1, do/1, format_error/1]).
init(State) ->
    Provider = fun(Name) -> providers:create([{name, Name}, {module, ?MODULE}, {namespace, wordgen}, {bare, true},
        {deps, [{default, app_discovery}]}, {example, ""}, {opts, []}, {short_desc, ""}, {desc, ""}]) end,
    {ok, rebar_state:add_provider(State, Provider(words))}.
do(State) ->
    case rebar_state:current_app(State) of
        undefined ->
            Names = [rebar_app_info:name(App) || App <- rebar_state:project_apps(State)],
            ok = file:write_file(filename:join(rebar_state:dir(State), "apps.txt"), lists:join($\n, lists:sort(Names)));
        App ->
            Dir = rebar_app_info:dir(App),
            [ok = file:write_file(filename:join([Dir, "src", filename:basename(File, ".words") ++ ".erl"]), genlib:module(File))
             || File <- filelib:wildcard(filename:join(Dir, "words/*.words"))]
    end,
    {ok, State}.
format_error(Reason) -> io_lib:format("~p", [Reason]).
"#,
    ),
    (
        "genlib/src/genlib.app.src",
        "{application, genlib, [{description, \"d\"}, {vsn, \"1\"}, {registered, []}, {applications, [kernel, stdlib]}]}.\n",
    ),
    (
        "genlib/src/genlib.erl",
        "-module(genlib).\n-export([module/1]).\nmodule(File) ->\n    {ok, Text} = file:read_file(File),\n    \
         Words = string:lexemes(Text, \" \\n\"),\n    Name = filename:basename(File, \".words\"),\n    \
         [\"-module(\", Name, \").\\n-export([all/0]).\\nall() -> [\", lists:join(\", \", Words), \"].\\n\"].\n",
    ),
];

const WORKSHOP: Files<'static> = &[
    (
        "rebar.config",
        r#"{erl_opts, [debug_info]}.
{plugins, [{wordgen, {git, "file:///nowhere", {tag, "1"}}}]}.
{project_plugins, [rebar3_nowhere]}.
{pre_hooks, [{"linux", compile, "sh scripts/before.sh"}, {"win32", compile, "exit 1"}, {clean, "exit 1"}]}.
{post_hooks, [{compile, "sh scripts/after.sh"}]}.
{provider_hooks, [{pre, [{compile, {wordgen, words}}]}]}.
{relx, [{release, {shop, "1"}, [shop, store]}, {overlay, [{copy, "built.txt", "etc/"}, {copy, "apps.txt", "etc/"}]}]}.
"#,
    ),
    (
        "scripts/before.sh",
        "set -e\nmkdir -p apps/store/include apps/shop/priv\necho '-define(BUILT, here).' > apps/store/include/built.hrl\n\
         echo '-define(SRC, 1).' > apps/store/src/made.hrl\necho before > apps/shop/priv/before.txt\n\
         cat VERSION > built.txt\nrm apps/shop/src/shop_gone.erl\n",
    ),
    (
        "scripts/after.sh",
        "set -e\nmkdir -p apps/store/priv/made\necho after > apps/store/priv/made/after.txt\n\
         (cd _build/prod/lib/shop/ebin && echo *) > apps/shop/priv/modules.txt\ntest ! -e _build/prod/lib/shop/ebin/shop_gone.beam\n",
    ),
    ("VERSION", "7\n"),
    (
        "apps/shop/src/shop.app.src",
        "{application, shop, [{description, \"d\"}, {vsn, \"1\"}, {registered, []}, {applications, [kernel, stdlib, store]}]}.\n",
    ),
    (
        "apps/shop/rebar.config",
        "{provider_hooks, [{pre, [{compile, {wordgen, words}}]}]}.\n{post_hooks, [{compile, \"echo own > priv/own.txt\"}]}.\n",
    ),
    ("apps/shop/words/goods.words", "apple bread\ncheese\n"),
    (
        "apps/shop/src/shop.erl",
        "-module(shop).\n-include_lib(\"store/include/built.hrl\").\n-include_lib(\"store/src/made.hrl\").\n-export([f/0]).\nf() -> {?BUILT, ?SRC, goods:all()}.\n",
    ),
    ("apps/shop/src/shop_gone.erl", "-module(shop_gone).\n-error(it_is_still_there).\n"),
    (
        "apps/store/src/store.app.src",
        "{application, store, [{description, \"d\"}, {vsn, \"1\"}, {registered, []}, {applications, [kernel, stdlib]}]}.\n",
    ),
    (
        "apps/store/rebar.config",
        "{plugins, [pc]}.\n{port_specs, [{\"priv/store_drv.so\", [\"c_src/*.c\"]}]}.\n{provider_hooks, [{pre, [{compile, {pc, compile}}]}]}.\n",
    ),
    (
        "apps/store/src/store.erl",
        "-module(store).\n-include(\"built.hrl\").\n-export([f/0]).\nf() -> ?BUILT.\n",
    ),
    ("apps/store/c_src/store.c", "int store(void) { return 1; }\n"),
];

#[test]
fn plugins_and_hooks_of_the_project_do_what_rebar3_has_them_do() {
    let space = TestSpace::cold();
    let shop = project(&space, "workshop", "shop", WORKSHOP);
    for (path, text) in GENERATOR {
        shop.write(&format!("_build/default/plugins/{path}"), text);
    }
    copy(&source("tests/fixtures/rebar3_plugins/pc"), &shop.dir.join("_checkouts/pc"));
    let said_of_it = shop.ask(&["build"]);
    assert_eq!(said_of_it.status, Some(0), "{}", said_of_it.err);
    assert_told(&said_of_it.err, &["plugin `rebar3_nowhere` is not there", "rebar3 get-deps"]);
    let built = shop.build();
    built.assert_nothing_to_do();
    assert!(!shop.dir.join("built.txt").exists() && shop.dir.join("apps/shop/src/shop_gone.erl").exists());

    let theirs = Rebar3::of(&shop, space.path("theirs"));
    let plugins = space.path("theirs/project/_build/default/plugins");
    fs::create_dir_all(plugins.parent().expect("a folder")).expect("a folder");
    said(Command::new("cp").arg("-a").arg(shop.dir.join("_build/default/plugins")).arg(&plugins));
    assert_same(&built.release(), &theirs.release("prod", "shop"), &[]);
    let priv_of = |app: &str, path: &str| built.release().join(format!("lib/{app}-1/priv/{path}"));
    assert!(priv_of("store", "made/after.txt").is_file() && priv_of("store", "store_drv.so").is_file());
    assert!(priv_of("shop", "modules.txt").is_file() && priv_of("shop", "own.txt").is_file());

    // What programs read is not known: they run again, and what they made being the same, the wave ends there.
    shop.edit("VERSION", "7", "8");
    let ran = shop.ran();
    assert!(ran.contains("hooks before compile") && !ran.contains("strip shop"), "{ran:?}");
    assert_eq!(shop.read("_build/relgraph/prod/shop/etc/built.txt"), "8\n");
    // A plugin counts by what was used of it.
    shop.edit("_build/default/plugins/genlib/src/genlib.erl", "all() -> [\", ", "all() -> [more, \", ");
    let ran = shop.ran();
    assert!(ran.contains("compile shop before hooks") && ran.contains("strip shop"), "{ran:?}");
    assert!(!ran.contains("strip store"), "{ran:?}");
    // A hook that fails, and one whose plugin is not there.
    shop.edit("scripts/after.sh", "set -e\n", "echo this is wrong >&2\nexit 3\n");
    assert_told(
        &shop.refused(1),
        &["step `hooks after compile` failed", "this is wrong", "Hook for compile failed!"],
    );
    fs::remove_dir_all(shop.dir.join("_checkouts")).expect("removed");
    assert_told(
        &shop.refused(1),
        &[
            "command 'compile' in namespace 'pc' not found",
            "plugins that are asked for and not there: pc",
            "rebar3 get-deps",
        ],
    );
}

#[test]
fn a_cycle_and_a_module_that_is_there_twice_are_refused_with_their_names() {
    let space = TestSpace::new();
    let of = |needs: [&str; 2]| {
        let config = "{relx, [{release, {shop, \"1\"}, [one, two]}]}.\n";
        let [one, two] = [("one", needs[0]), ("two", needs[1])].map(|(app, needs)| spec(app, "\"1\"", needs));
        let module =
            |function: &str| format!("-module(same).\n-export([{function}/0]).\n{function}() -> 1.\n");
        project(
            &space,
            &format!("twice{}", needs.concat().len()),
            "shop",
            &[
                ("rebar.config", config),
                ("apps/one/src/one.app.src", &one),
                ("apps/two/src/two.app.src", &two),
                ("apps/one/src/same.erl", &module("a")),
                ("apps/two/src/same.erl", &module("b")),
            ],
        )
    };
    let cycle = of([", two", ", one"]);
    assert_told(
        &cycle.refused(1),
        &["Dependency cycle(s) detected", "applications: one two depend on each other"],
    );
    let twice = of(["", ""]);
    assert_told(&twice.refused(1), &["Duplicated modules", "same specified in one and two"]);
    twice.write("release.yaml", "release: shop\nversion: \"1\"\ntool: otp\n");
    assert_told(&twice.refused(1), &["same", "one", "two"]);
    cycle.write("release.yaml", "release: shop\nversion: \"1\"\ntool: otp\n");
    assert_told(&cycle.refused(2), &["applications need each other: one -> two -> one", "hint"]);

    let mix = project(
        &space,
        "mix",
        "shop",
        &[
            (
                "mix.exs",
                "defmodule U.MixProject do\n  use Mix.Project\n  def project, do: [apps_path: \"apps\", version: \"0.1.0\", releases: [shop: [applications: [one: :permanent, two: :permanent]]]]\nend\n",
            ),
            (
                "apps/one/mix.exs",
                "defmodule One.MixProject do\n  use Mix.Project\n  def project, do: [app: :one, version: \"0.1.0\"]\nend\n",
            ),
            (
                "apps/two/mix.exs",
                "defmodule Two.MixProject do\n  use Mix.Project\n  def project, do: [app: :two, version: \"0.1.0\"]\nend\n",
            ),
            ("apps/one/lib/same.ex", "defmodule Same do\n  def a, do: 1\nend\n"),
            ("apps/two/lib/same.ex", "defmodule Same do\n  def b, do: 1\nend\n"),
        ],
    );
    assert_told(&mix.refused(1), &["Duplicated modules", "'Elixir.Same' specified in one and two"]);
}

#[test]
fn init_writes_what_builds_where_nothing_says_what_is_released() {
    let space = TestSpace::new();
    let write = |shop: &Project, app: &str| {
        shop.write(&format!("apps/{app}/src/{app}.app.src"), &spec(app, "\"2\"", ""));
        shop.write(
            &format!("apps/{app}/src/{app}.erl"),
            &format!("-module({app}).\n-export([f/0]).\nf() -> 1.\n"),
        );
    };
    let shop = Project::new(space.path("my-shop"), space.store());
    for app in ["one", "two"] {
        write(&shop, app);
    }
    shop.write("rebar.config", "{erl_opts, [debug_info]}.\n");
    let init = |args: &[&str]| {
        let said = shop.ask(&[&["init"], args].concat());
        assert_eq!(said.status, Some(0), "{}", said.err);
        said.out
    };
    assert_told(&init(&[]), &["found a rebar3 project: release my_shop"]);
    assert_told(&shop.read("release.yaml"), &["release: my_shop", "one, two"]);
    let rel = |release: &Path, at: &str| fs::read_to_string(release.join(at)).expect("a file");
    let made = rel(&shop.build().release(), "releases/2/my_shop.rel");
    assert_told(&made, &["{one,\"2\"}", "{two,\"2\"}"]);

    // What erlang.mk would hand to relx, where rebar3 is not there.
    fs::remove_file(shop.dir.join("rebar.config")).expect("removed");
    shop.write(
        "relx.config",
        "{release, {shelf, \"1.4\"}, [one, {sasl, load}]}.\n{release, {other, \"1\"}, [two]}.\n\
         {sys_config, \"ops/prod.conf\"}.\n{vm_args, \"ops/vm.args\"}.\n{include_erts, false}.\n\
         {extended_start_script, true}.\n{overlay, [{mkdir, \"log\"}]}.\n",
    );
    shop.write("ops/prod.conf", "[{one, [{port, 8080}]}].\n");
    let shop = shop.clone().with("PATH", &space.bare_path(&["rebar3", "elixir", "mix"]));
    assert_told(
        &init(&["--force"]),
        &["found applications without a tool: release shelf in", "also there: other"],
    );
    assert_told(&shop.refused(1), &["relx.config names ops/vm.args, which is not there"]);
    shop.write("ops/vm.args", "+P 200000\n");
    let said = shop.ask(&["build"]);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert_told(&said.err, &["not followed in relx.config: overlay"]);
    let release = shop.release("shelf");
    let made = rel(&release, "releases/1.4/shelf.rel");
    assert_told(&made, &["{\"shelf\",\"1.4\"}", "{one,\"2\"}", "{sasl,", ",load}"]);
    assert!(!made.contains("{two,"), "{made}");
    assert_eq!(rel(&release, "releases/1.4/sys.config"), "[{one, [{port, 8080}]}].\n");
    assert_eq!(rel(&release, "releases/1.4/vm.args"), "+P 200000\n");
    let names = fs::read_dir(&release).expect("a folder").flatten().map(|entry| entry.file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with("erts-")));
    shop.edit("relx.config", "\"1.4\"", "\"1.5\"");
    assert_eq!(shop.build().json["release"]["version"], "1.5");
    shop.write("release.yaml", "release: none\n");
    let said = shop.ask(&["build"]);
    assert_told(&said.err, &["release.yaml:1:10", "relx.config declares no release `none`", "shelf, other"]);
}

#[test]
fn what_people_have_in_a_project_is_released_as_rebar3_releases_it() {
    let space = TestSpace::new();
    let shop = project(
        &space,
        "people",
        "shop",
        &[
            (
                "rebar.config",
                r#"{erl_opts, [debug_info, {parse_transform, core_transform}]}.
{relx, [{release, {shop, {cmd, "git describe --tags | tr -d '\n'"}}, [web, core, sasl]}, {mode, dev},
        {sys_config, "config/sys.config"}, {overlay_vars, ["config/vars.config"]}, {overlay, [{template, "config/t.conf", "etc/t.conf"}]}]}.
{profiles, [
  {prod, [{erl_opts, [no_debug_info, warnings_as_errors]},
          {relx, [{mode, prod}, {include_erts, false}, {system_libs, false}, {overlay_vars, ["config/prod.config"]},
                  {overlay, [{mkdir, "log"}, {copy, "config/t.conf", "etc/raw.conf"}]}]}]},
  {test, [{deps, [meck]}, {extra_src_dirs, ["test"]}]}
]}.
{minimum_otp_vsn, "21"}.
{alias, [{check, [xref]}]}.
{escript_name, shopctl}.
"#,
            ),
            // What a script asks git counts, and is answered.
            (
                "rebar.config.script",
                "Rev = string:trim(os:cmd(\"git rev-parse --short HEAD\")),\n\
                 [case Term of {erl_opts, Opts} -> {erl_opts, [{d, 'REV', Rev} | Opts]}; _ -> Term end || Term <- CONFIG].\n",
            ),
            (".gitignore", "_build\n"),
            ("config/sys.config", "[].\n"),
            ("config/vars.config", "{greeting, \"hello\"}.\n"),
            ("config/prod.config", "{greeting, \"hi\"}.\n"),
            ("config/t.conf", "{{greeting}} {{release_name}}\n"),
            (
                "apps/core/src/core.app.src",
                &spec("core", "{cmd, \"git describe --tags --always\"}", ", snmp"),
            ),
            (
                "apps/core/rebar.config",
                "{src_dirs, [{\"src\", [{recursive, true}]}, \"lib\"]}.\n{extra_src_dirs, [\"extra\"]}.\n{mib_opts, [{group_check, false}]}.\n",
            ),
            (
                "apps/core/src/core_transform.erl",
                "-module(core_transform).\n-export([parse_transform/2]).\nparse_transform(F, _) -> F.\n",
            ),
            (
                "apps/core/src/core.erl",
                "-module(core).\n-export([f/0]).\n-include(\"core.hrl\").\nf() -> {#core{}, ?REV}.\n",
            ),
            ("apps/core/src/core_private.hrl", "-define(PRIVATE, 1).\n"),
            (
                "apps/core/src/sub/core_sub.erl",
                "-module(core_sub).\n-export([f/0]).\n-include(\"../core_private.hrl\").\nf() -> ?PRIVATE.\n",
            ),
            ("apps/core/lib/core_lib.erl", "-module(core_lib).\n-export([f/0]).\nf() -> ok.\n"),
            ("apps/core/extra/core_extra.erl", "-module(core_extra).\n-export([f/0]).\nf() -> ok.\n"),
            ("apps/core/include/core.hrl", "-record(core, {a = 1}).\n"),
            ("apps/core/priv/sub/deep/a.txt", "a\n"),
            (
                "apps/core/mibs/CORE-MIB.mib",
                "CORE-MIB DEFINITIONS ::= BEGIN\nIMPORTS MODULE-IDENTITY, OBJECT-TYPE, enterprises, Integer32 FROM SNMPv2-SMI;\n\
                 coreMib MODULE-IDENTITY LAST-UPDATED \"202001010000Z\" ORGANIZATION \"x\" CONTACT-INFO \"x\" DESCRIPTION \"x\"\n\
                 ::= { enterprises 99999 }\ncoreValue OBJECT-TYPE SYNTAX Integer32 MAX-ACCESS read-only STATUS current DESCRIPTION \"x\"\n\
                 ::= { coreMib 1 }\nEND\n",
            ),
            ("apps/web/src/web.app.src", &spec("web", "\"0.2.0\"", ", core")),
            (
                "apps/web/src/web.erl",
                "-module(web).\n-export([main/1]).\n-include_lib(\"core/include/core.hrl\").\n-include_lib(\"core/src/core_private.hrl\").\n\
                 main(_) -> {#core{}, ?PRIVATE, core:f()}.\n",
            ),
        ],
    );
    let link = |to: &str, at: &str| {
        std::os::unix::fs::symlink(to, shop.dir.join("apps/core/priv").join(at)).expect("a link");
    };
    link("sub/deep/a.txt", "link.txt");
    link("sub", "folder");
    let commit = committed(&shop.dir, "v1.0");
    let verified = shop.ask(&["verify", "--against", "rebar3"]);
    assert_eq!(verified.status, Some(0), "{}{}", verified.out, verified.err);
    let release = shop.build().release();
    let beam = fs::read(release.join("lib/core-v1.0/ebin/core.beam"));
    assert!(beam.is_ok() && release.join("lib/core-v1.0/priv/mibs/CORE-MIB.bin").is_file(), "{beam:?}");
    shop.build().assert_nothing_to_do();
    git(&shop.dir, &["commit", "--quiet", "--allow-empty", "--message", "two"]);
    let ran = shop.ran();
    assert!(ran.contains("describe") && ran.contains("compile core"), "{ran:?} after {commit}");
}
