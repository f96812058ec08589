//! Projects in Erlang alone: every application is compiled to what rebar3 compiles it to at the same path, in a step of its
//! own, on a machine that has no Elixir.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use relgraph_engine::{Cancel, Mount, SandboxPolicy, SandboxSpec, Sandboxer};
use support::files::{copy, differences, snapshot};
use support::mix::installed;
use support::project::{Project, set};
use support::small::{Files, project};
use support::{RELGRAPH, TestSpace, said};

/// The files of every compiled application, `APP/ebin/…`: those that a release may have.
type Compiled = BTreeMap<String, String>;

fn of(lib: &Path, compiled: &mut Compiled) {
    for entry in fs::read_dir(lib).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().expect("a name");
        let app = name.split_once('-').map_or(name.as_str(), |(app, _)| app);
        for part in ["ebin", "include", "priv"] {
            let folder = entry.path().join(part);
            if folder.read_dir().is_ok_and(|mut names| names.next().is_some()) {
                let found = snapshot(&folder.canonicalize().expect("a folder"));
                compiled.extend(found.into_iter().map(|(path, is)| (format!("{app}/{part}/{path}"), is)));
            }
        }
    }
}

/// What relgraph made of the applications of the project.
fn ours(project: &Project, apps: &[&str]) -> Compiled {
    let mut compiled = Compiled::new();
    of(&project.build().release().join("lib"), &mut compiled);
    compiled.retain(|path, _| apps.iter().any(|app| path.starts_with(&format!("{app}/"))));
    compiled
}

/// What `rebar3 as prod compile` makes of a copy of the project that lies where relgraph's steps find it.
fn theirs(space: &TestSpace, project: &Project, apps: &[&str]) -> Compiled {
    let work = space.path("rebar3");
    let at = work.join("project");
    copy(&project.dir, &at);
    let fetched = project.dir.join("_build/default");
    if fetched.is_dir() {
        fs::create_dir_all(at.join("_build")).expect("a folder");
        said(Command::new("cp").arg("-a").arg(fetched).arg(at.join("_build/default")));
    }
    let sandboxer = Sandboxer::new(RELGRAPH.into(), SandboxPolicy::Required);
    let prefix = sandboxer.prefix(&work);
    let inside = |path: &str| format!("{prefix}/{path}");
    let otp = installed("erl");
    let erts = fs::read_dir(&otp)
        .expect("OTP")
        .flatten()
        .map(|entry| entry.file_name().into_string().expect("a name"));
    let bin =
        inside(&format!("otp/{}/bin", erts.filter(|name| name.starts_with("erts-")).max().expect("ERTS")));
    let rebar3 = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|dir| dir.join("rebar3"))
        .find(|file| file.is_file())
        .expect("rebar3 is in PATH");
    let env = [
        ("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", inside("otp/bin"))),
        ("ROOTDIR", inside("otp")),
        ("BINDIR", bin.clone()),
        ("EMU", "beam".into()),
        ("PROGNAME", "erl".into()),
        ("HOME", inside("home")),
        ("LANG", "C.UTF-8".into()),
        ("REBAR_OFFLINE", "1".into()),
    ];
    let mut argv = vec![format!("{bin}/erlexec")];
    let flags = "+B -boot no_dot_erlang -noshell +S 1:1 +SDio 1 +SDcpu 1:1 -run escript start -extra";
    argv.extend(flags.split(' ').map(str::to_owned));
    argv.push(rebar3.display().to_string());
    argv.extend(["as", "prod", "compile"].map(str::to_owned));
    let spec = SandboxSpec {
        work: work.clone(),
        argv,
        env: env.map(|(name, value)| (name.to_owned(), value)).into(),
        cwd: inside("project"),
        mounts: vec![Mount::read_only(otp, inside("otp"))],
        ..SandboxSpec::default()
    };
    let finished = sandboxer.run(&spec, &Cancel::new(), &|_, _| {}).expect("rebar3 starts");
    let told = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(finished.status.success(), "{told}{}", String::from_utf8_lossy(&finished.stderr));
    let mut compiled = Compiled::new();
    for profile in ["default", "prod", "default/plugins"] {
        of(&at.join(format!("_build/{profile}/lib")), &mut compiled);
    }
    of(&at.join("_build/prod/checkouts"), &mut compiled);
    compiled.retain(|path, _| apps.iter().any(|app| path.starts_with(&format!("{app}/"))));
    compiled
}

/// Builds the applications with both, and compares every file.
#[track_caller]
fn assert_same(space: &TestSpace, project: &Project, apps: &[&str]) -> Compiled {
    let (mine, other) = (ours(project, apps), theirs(space, project, apps));
    let shown: Vec<String> = differences(&mine, &other)
        .iter()
        .map(|path| format!("{path}: {:?}, rebar3: {:?}", mine.get(path), other.get(path)))
        .collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    for app in apps {
        assert!(mine.contains_key(&format!("{app}/ebin/{app}.app")), "{app} is not there: {mine:?}");
    }
    mine
}

/// Without Elixir in PATH, its modules being as they were compiled.
fn without_elixir(space: &TestSpace, project: Project) -> Project {
    project.append("release.yaml", "strip: false");
    let path = space.bare_path(&["elixir", "elixirc", "iex", "mix"]);
    project.with("PATH", &path)
}

const UMBRELLA: Files<'static> = &[
    (
        "rebar.config",
        r#"{erl_opts, [debug_info, {i, "shared"}, {d, 'LIMIT', 3}, {platform_define, "linux", 'LINUX'}]}.
{deps, [util]}.
{overrides, [{override, util, [{erl_opts, [debug_info, {d, 'OVERRIDDEN'}]}]}]}.
{relx, [{release, {shop, "0.1.0"}, [web, store, rules, util]}]}.
{profiles, [{prod, [{erl_opts, [no_debug_info, {d, 'PROD'}]}]}, {test, [{erl_opts, [{d, 'TEST'}]}]}]}.
"#,
    ),
    (
        "rebar.config.script",
        "case lists:keyfind(erl_opts, 1, CONFIG) of {_, O} -> lists:keystore(erl_opts, 1, CONFIG, {erl_opts, O ++ [{d, 'SCRIPTED'}]}) end.\n",
    ),
    ("shared/limits.hrl", "-define(HIGH, 10).\n"),
    // Another application's module is its parse transform and its behaviour, and its header its record.
    (
        "apps/rules/src/rules.app.src",
        "{application, rules, [{description, \"d\"}, {vsn, \"0.1.0\"}, {registered, []}, {applications, [kernel, stdlib]}]}.\n",
    ),
    (
        "apps/rules/src/rules.erl",
        "-module(rules).\n-export([parse_transform/2]).\n-callback price(atom()) -> integer().\n\
         parse_transform(Forms, _) -> lists:map(fun({attribute, L, limit, _}) -> {attribute, L, limit, changed}; (F) -> F end, Forms).\n",
    ),
    ("apps/rules/include/rules.hrl", "-record(rule, {name, price = 1}).\n-include(\"inner.hrl\").\n"),
    ("apps/rules/include/inner.hrl", "-define(INNER, inner).\n"),
    (
        "apps/store/src/store.app.src",
        "{application, store, [{description, \"d\"}, {vsn, \"0.1.0\"}, {registered, []}, {applications, [kernel, stdlib, rules]}]}.\n",
    ),
    (
        "apps/store/src/store.app.src.script",
        "[{application, A, P}] = CONFIG, [{application, A, lists:keystore(env, 1, P, {env, [{scripted, true}]})}].\n",
    ),
    (
        "apps/store/rebar.config",
        "{src_dirs, [\"src\", {\"gen\", [{recursive, true}]}]}.\n{erl_first_files, [\"src/store_first.erl\"]}.\n{pre_hooks, [{compile, \"mkdir -p priv && echo made > priv/made.txt\"}]}.\n{post_hooks, [{compile, \"echo late > priv/late.txt\"}]}.\n{erl_opts, [{d, 'STORE'}]}.\n",
    ),
    (
        "apps/store/src/store_first.erl",
        "-module(store_first).\n-export([parse_transform/2]).\nparse_transform(F, _) -> F.\n",
    ),
    (
        "apps/store/src/store.erl",
        "-module(store).\n-behaviour(rules).\n-compile([{parse_transform, rules}, {parse_transform, store_first}]).\n\
         -include_lib(\"rules/include/rules.hrl\").\n-include(\"limits.hrl\").\n-limit(unchanged).\n-export([price/1, opts/0]).\n\
         price(_) -> (#rule{})#rule.price + ?HIGH.\n-ifdef(PROD).\nopts() -> [prod, ?INNER, ?LIMIT, store_gen:f()].\n-else.\nopts() -> [].\n-endif.\n\
         -ifndef(SCRIPTED).\n-error(not_scripted).\n-endif.\n-ifndef(STORE).\n-error(not_its_own).\n-endif.\n",
    ),
    (
        "apps/store/gen/deep/store_gen.erl",
        "-module(store_gen).\n-export([f/0]).\n-ifdef(LINUX).\nf() -> linux.\n-else.\nf() -> other.\n-endif.\n",
    ),
    (
        "apps/store/src/store_scan.xrl",
        "Definitions.\nRules.\n[0-9]+ : {token, {int, TokenLine}}.\nErlang code.\n",
    ),
    (
        "apps/store/src/store_parse.yrl",
        "Nonterminals all.\nTerminals int.\nRootsymbol all.\nall -> int : '$1'.\n",
    ),
    (
        "apps/web/src/web.app.src",
        "{application, web, [{description, \"d\"}, {vsn, \"0.1.0\"}, {registered, []}, {applications, [kernel, stdlib, store, util]}]}.\n",
    ),
    (
        "apps/web/src/web.erl",
        "-module(web).\n-export([go/0]).\n-include_lib(\"util/include/util.hrl\").\ngo() -> {?UTIL, store:price(a), util:id(1)}.\n",
    ),
    ("apps/web/priv/page.html", "<p>\n"),
    // A dependency that lies beside the applications, with a configuration of its own.
    (
        "_checkouts/util/src/util.app.src",
        "{application, util, [{description, \"d\"}, {vsn, \"2.0.0\"}, {registered, []}, {applications, [kernel, stdlib]}]}.\n",
    ),
    ("_checkouts/util/rebar.config", "{erl_opts, [{d, 'ITS_OWN'}]}.\n"),
    ("_checkouts/util/include/util.hrl", "-define(UTIL, util).\n"),
    (
        "_checkouts/util/src/util.erl",
        "-module(util).\n-export([id/1]).\n-ifdef(OVERRIDDEN).\nid(X) -> {overridden, X}.\n-else.\nid(X) -> X.\n-endif.\n",
    ),
];

#[test]
fn an_umbrella_of_rebar3_is_compiled_as_rebar3_does_it_one_application_at_a_time() {
    let space = TestSpace::cold();
    let shop = without_elixir(&space, project(&space, "shop", "shop", UMBRELLA));
    assert_same(&space, &shop, &["rules", "store", "web", "util"]);
    shop.build().assert_nothing_to_do();

    // An edit stays in its application where nobody else saw what it changed.
    shop.edit("apps/web/src/web.erl", "?UTIL,", "?UTIL, 1,");
    let compiled = |ran: std::collections::BTreeSet<String>| -> std::collections::BTreeSet<String> {
        ran.into_iter().filter(|step| step.starts_with("compile ") || step == "describe").collect()
    };
    assert_eq!(compiled(shop.ran()), set(&["compile web"]));
    shop.edit("apps/store/src/store.erl", "?HIGH.", "?HIGH + 1.");
    assert_eq!(compiled(shop.ran()), set(&["compile store"]));
    // A module that is new in one application is none of the others' business.
    shop.write("apps/web/src/web_new.erl", "-module(web_new).\n-export([f/0]).\nf() -> 1.\n");
    let ran = compiled(shop.ran());
    assert!(ran.is_subset(&set(&["describe", "compile web"])), "{ran:?}");
    // A parse transform ran: who uses it is compiled again, and a header counts where it is included.
    shop.edit("apps/rules/src/rules.erl", "changed}", "changed_again}");
    assert_eq!(compiled(shop.ran()), set(&["compile rules", "compile store"]));
    shop.edit("apps/rules/include/inner.hrl", "inner)", "other)");
    assert_eq!(compiled(shop.ran()), set(&["compile rules", "compile store"]));

    // Another checkout of the same has nothing to do.
    let other = Project { dir: space.path("elsewhere/another name"), ..shop.clone() };
    copy(&shop.dir, &other.dir);
    assert_eq!(other.build().executed(), 0);
}

fn git(folder: &Path, args: &[&str]) -> String {
    let fixed = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"];
    said(Command::new("git").arg("-C").arg(folder).args(fixed).args(args))
}

fn commit(project: &Project, tag: Option<&str>) {
    if !project.dir.join(".git").is_dir() {
        git(&project.dir, &["init", "--quiet"]);
    }
    git(&project.dir, &["add", "--all"]);
    git(&project.dir, &["commit", "--quiet", "--allow-empty", "--message", "change"]);
    if let Some(tag) = tag {
        git(&project.dir, &["tag", tag]);
    }
}

fn spec(app: &str, version: &str, needs: &str) -> String {
    format!(
        "{{application, {app}, [{{description, \"d\"}}, {{vsn, {version}}}, {{registered, []}}, \
         {{applications, [kernel, stdlib{needs}]}}]}}.\n"
    )
}

#[test]
fn dependencies_that_rebar3_fetched_are_built_with_the_versions_that_their_history_gives_them() {
    let space = TestSpace::cold();
    let library = |name: &str, files: Files<'_>| {
        let library = Project::new(space.path(name), space.store());
        for (path, text) in files {
            library.write(path, text);
        }
        library
    };
    let low = library(
        "low",
        &[
            ("src/low.app.src", &spec("low", "git", "")),
            ("src/low.erl", "-module(low).\n-export([parse_transform/2]).\nparse_transform(F, _) -> F.\n"),
        ],
    );
    commit(&low, Some("v2.0.1"));
    let url = |of: &Project| format!("file://{}", of.dir.display());
    let config = format!("{{deps, [{{low, {{git, \"{}\", {{tag, \"v2.0.1\"}}}}}}]}}.\n", url(&low));
    let high = library(
        "high",
        &[
            ("rebar.config", &config),
            ("src/high.app.src", &spec("high", "{git, short}", "")),
            (
                "src/high.erl",
                "-module(high).\n-compile({parse_transform, low}).\n-export([f/0]).\nf() -> 1.\n",
            ),
        ],
    );
    commit(&high, None);

    let config = format!(
        "{{deps, [{{high, {{git, \"{}\", {{branch, \"main\"}}}}}}]}}.\n{{relx, [{{release, {{shop, \"1\"}}, [shop, high, low]}}]}}.\n",
        url(&high)
    );
    let shop = project(
        &space,
        "shop",
        "shop",
        &[
            ("rebar.config", &config),
            (".gitignore", "_build\n"),
            ("src/shop.app.src", &spec("shop", "\"git\"", ", high")),
            ("src/shop.erl", "-module(shop).\n-export([f/0]).\nf() -> high:f().\n"),
        ],
    );
    commit(&shop, None);
    let shop = without_elixir(&space, shop);

    let said_of_it = shop.refused(2);
    for word in [
        "dependency `high` is not there: `shop` needs it, from {git,",
        "there is no rebar.lock",
        "_build/default/lib/high",
        "rebar3 get-deps",
    ] {
        assert!(said_of_it.contains(word), "no {word:?} in\n{said_of_it}");
    }
    said(Command::new("rebar3").arg("get-deps").current_dir(&shop.dir).env("HOME", space.path("home")));

    let apps = ["shop", "high", "low"];
    assert_same(&space, &shop, &apps);
    // What rebar3 compiles beside what it fetched is nobody's input.
    said(Command::new("rebar3").arg("compile").current_dir(&shop.dir).env("HOME", space.path("home")));
    assert_eq!(shop.build().executed(), 0);

    // A commit that changes no file changes the version, of this application alone.
    commit(&shop, Some("v0.7"));
    let ran: Vec<String> = shop.ran().into_iter().filter(|step| step.starts_with("compile ")).collect();
    assert_eq!(ran, ["compile shop"]);
    fs::remove_dir_all(space.path("rebar3")).expect("removed");
    assert_same(&space, &shop, &["shop"]);
}

#[test]
fn packages_of_hex_that_rebar3_fetched_need_no_repository() {
    let space = TestSpace::new();
    let hash = "0123456789ABCDEF".repeat(4);
    let lock = format!(
        "{{\"1.2.0\",\n[{{<<\"lower\">>,{{pkg,<<\"lower\">>,<<\"0.9.0\">>}},1}},\n {{<<\"upper\">>,{{pkg,<<\"upper_pkg\">>,<<\"1.1.0\">>}},0}}]}}.\n\
         [{{pkg_hash,[{{<<\"lower\">>, <<\"{hash}\">>}},{{<<\"upper\">>, <<\"{hash}\">>}}]}},\n\
         {{pkg_hash_ext,[{{<<\"lower\">>, <<\"{hash}\">>}},{{<<\"upper\">>, <<\"{hash}\">>}}]}}].\n"
    );
    let metadata = "{<<\"name\">>,<<\"upper_pkg\">>}.\n{<<\"version\">>,<<\"1.1.0\">>}.\n{<<\"app\">>,<<\"upper\">>}.\n\
                    {<<\"requirements\">>,[{<<\"lower\">>,[{<<\"app\">>,<<\"lower\">>},{<<\"optional\">>,false},{<<\"requirement\">>,<<\"~> 0.9\">>}]}]}.\n";
    let at = |path: &str| format!("_build/default/lib/{path}");
    let shop = project(
        &space,
        "hex",
        "shop",
        &[
            (
                "rebar.config",
                "{deps, [{upper, \"~> 1.0\", {pkg, upper_pkg}}]}.\n{relx, [{release, {shop, \"1\"}, [shop]}]}.\n",
            ),
            ("rebar.lock", &lock),
            ("src/shop.app.src", &spec("shop", "\"1.0.0\"", ", upper")),
            ("src/shop.erl", "-module(shop).\n-export([f/0]).\nf() -> upper:f().\n"),
            (&at("upper/hex_metadata.config"), metadata),
            (&at("upper/src/upper.app.src"), &spec("upper", "\"1.1.0\"", ", lower")),
            (
                &at("upper/src/upper.erl"),
                "-module(upper).\n-export([f/0]).\n-include_lib(\"lower/include/lower.hrl\").\nf() -> ?LOWER.\n",
            ),
            (
                &at("lower/hex_metadata.config"),
                "{<<\"name\">>,<<\"lower\">>}.\n{<<\"version\">>,<<\"0.9.0\">>}.\n",
            ),
            (&at("lower/src/lower.app.src"), &spec("lower", "\"0.9.0\"", "")),
            (&at("lower/src/lower.erl"), "-module(lower).\n-export([f/0]).\nf() -> 1.\n"),
            (&at("lower/include/lower.hrl"), "-define(LOWER, low).\n"),
        ],
    );
    let made = ours(&shop, &["shop", "upper", "lower"]);
    for beam in ["shop/ebin/shop.beam", "upper/ebin/upper.beam", "lower/ebin/lower.beam"] {
        assert!(made.contains_key(beam), "{made:?}");
    }
    // An edit of what was fetched counts as any other.
    shop.edit(&at("lower/include/lower.hrl"), "low)", "lower)");
    let ran: Vec<String> = shop.ran().into_iter().filter(|step| step.starts_with("compile ")).collect();
    assert_eq!(ran, ["compile lower", "compile upper"]);
}

#[test]
fn applications_without_a_tool_are_compiled_each_in_a_step_and_what_is_missing_is_said() {
    let space = TestSpace::cold();
    let shop = project(
        &space,
        "plain",
        "shop",
        &[
            ("lib/rules/src/rules.app.src", &spec("rules", "\"1.0.0\"", "")),
            (
                "lib/rules/src/rules.erl",
                "-module(rules).\n-callback price() -> integer().\n-export([f/0]).\nf() -> 1.\n",
            ),
            ("lib/rules/include/rules.hrl", "-define(PRICE, 1).\n"),
            ("lib/shop/src/shop.app.src", &spec("shop", "\"0.1.0\"", ", rules")),
            (
                "lib/shop/src/shop.erl",
                "-module(shop).\n-behaviour(rules).\n-include_lib(\"rules/include/rules.hrl\").\n-export([price/0]).\nprice() -> ?PRICE.\n",
            ),
            (
                "lib/shop/src/shop_grammar.yrl",
                "Nonterminals all.\nTerminals int.\nRootsymbol all.\nall -> int : '$1'.\n",
            ),
            ("lib/shop/priv/page.html", "<p>\n"),
            ("lib/shop/c_src/Makefile", "all:\n\techo made > ../priv/made.txt\n"),
        ],
    );
    let shop = without_elixir(&space, shop);
    let made = ours(&shop, &["shop", "rules"]);
    for path in
        ["shop/ebin/shop_grammar.beam", "shop/priv/made.txt", "shop/priv/page.html", "rules/ebin/rules.beam"]
    {
        assert!(made.contains_key(path), "no {path}: {made:?}");
    }
    shop.build().assert_nothing_to_do();
    let compiled =
        || -> Vec<String> { shop.ran().into_iter().filter(|step| step.starts_with("compile ")).collect() };
    shop.edit("lib/shop/src/shop.erl", "?PRICE.", "?PRICE + 1.");
    assert_eq!(compiled(), ["compile shop"]);
    // A behaviour is asked for its callbacks: it runs.
    shop.edit("lib/rules/src/rules.erl", "f() -> 1.", "f() -> 2.");
    assert_eq!(compiled(), ["compile rules", "compile shop"]);
    shop.edit("lib/rules/include/rules.hrl", "PRICE, 1", "PRICE, 2");
    assert_eq!(compiled(), ["compile rules", "compile shop"]);

    shop.edit("lib/shop/src/shop.erl", "?PRICE + 1.", "?PRIZE.");
    let said_of_it = shop.refused(1);
    for word in ["compile shop", "shop.erl:5", "undefined macro 'PRIZE'"] {
        assert!(said_of_it.contains(word), "no {word:?} in\n{said_of_it}");
    }
    // rebar3 is needed only where a project is its own.
    shop.write("rebar.config", "{erl_opts, []}.\n");
    let alone = shop.clone().with("PATH", &space.bare_path(&["rebar3", "elixir", "mix"]));
    let said_of_it = alone.refused(1);
    assert!(said_of_it.contains("rebar3, which is not in PATH"), "{said_of_it}");
    alone.write("release.yaml", "release: shop\ntool: otp\n");
    assert!(alone.refused(1).contains("undefined macro 'PRIZE'"));
}
