//! Releases of projects in Erlang alone: those that relx makes, file by file, and those of projects without rebar3; started
//! on a machine that has neither Erlang nor Elixir.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::node::Node;
use support::project::Project;
use support::rebar3::{Rebar3, assert_same};
use support::{TestSpace, wait_until};

/// An application that answers questions about its configuration, and one that it needs.
fn write_shop(project: &Project, apps: &str) {
    let write = |path: &str, text: &str| project.write(&format!("{apps}{path}"), text);
    write(
        "shop/src/shop.app.src",
        "{application, shop, [{description, \"d\"}, {vsn, \"1.0.0\"}, {registered, [shop]}, {mod, {shop_app, []}},\n\
         {applications, [kernel, stdlib, store]}, {env, [{port, 1}]}]}.\n",
    );
    write(
        "shop/src/shop_app.erl",
        "-module(shop_app).\n-behaviour(application).\n-behaviour(supervisor).\n-export([start/2, stop/1, init/1]).\n\
         start(_, _) -> supervisor:start_link({local, shop}, ?MODULE, []).\nstop(_) -> ok.\n\
         init([]) -> {ok, {{one_for_one, 1, 1}, []}}.\n",
    );
    write("shop/src/shop_extra.erl", "-module(shop_extra).\n-export([a/0]).\na() -> store:goods().\n");
    write("shop/priv/catalog.txt", "apples\n");
    write("shop/include/shop.hrl", "-define(SHOP, 1).\n");
    write(
        "store/src/store.app.src",
        "{application, store, [{description, \"d\"}, {vsn, \"0.3\"}, {registered, []}, {applications, [kernel, stdlib]}]}.\n",
    );
    write("store/src/store.erl", "-module(store).\n-export([goods/0]).\ngoods() -> [apple, bread].\n");
}

fn project(space: &TestSpace, at: &str, relx: &str) -> Project {
    let project = Project::new(space.path(at), space.store());
    project.write("release.yaml", "release: shop\n");
    project.write("rebar.config", &format!("{{erl_opts, [debug_info]}}.\n{{relx, [{relx}]}}.\n"));
    write_shop(&project, "apps/");
    project
}

/// Whether a folder has one whose name begins so, with that file in it.
fn has(folder: &Path, begins: &str, file: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(begins))
        .any(|entry| entry.path().join(file).exists())
}

fn moved(space: &TestSpace, release: &Path) -> PathBuf {
    let to = space.path("some where else");
    fs::rename(release, &to).expect("moved");
    to
}

const EVERYTHING: &str = r#"
    {release, {shop, "1.2.3"}, [shop, {crypto, load}, {runtime_tools, none}, {sasl, transient}]},
    {release, {shop, "1.0.9"}, [shop]},
    {release, {other, "1"}, [store]},
    {release, {third, "2", {extend, {other, "1"}}}, [shop]},
    {sys_config_src, "config/sys.config.src"}, {vm_args_src, "config/vm.args.src"},
    {overlay_vars, "config/vars.config"},
    {overlay, [{mkdir, "log/sub"}, {copy, "rel/a.txt", "etc/a.txt"}, {copy, "rel/*", "etc/all/"},
               {template, "rel/t.conf", "etc/{{release_name}}.conf"}, {chmod, 8#755, "etc/a.txt"},
               {link, "rel/a.txt", "etc/l.txt"}, {copy, "{{shop}}/priv/catalog.txt", "etc/"},
               {chmod, 8#755, "lib/shop-1.0.0/priv/catalog.txt"},
               {copy, "{{output_dir}}/lib/store-0.3/ebin/store.app", "etc/"}, {copy, "rel/ext.sh", "bin/ext.sh"}]},
    {exclude_modules, [{shop, [shop_extra]}]},
    {extended_start_script, true}, {extended_start_script_hooks, [{post_start, [wait_for_vm_start, {pid, "shop.pid"}]},
    {status, [builtin_status]}]}, {extended_start_script_extensions, [{greet, "ext.sh"}]},
    {include_start_scripts_for, [unix, win32, powershell]}
"#;

fn write_everything(project: &Project) {
    project
        .write("config/sys.config.src", "[{shop, [{port, ${SHOP_PORT:-80}}, {name, \"${SHOP_NAME}\"}]}].\n");
    project.write("config/vm.args.src", "-sname ${SHOP_NODE:-shop}\n-setcookie ${SHOP_COOKIE:-none}\n");
    project.write("config/vars.config", "{greeting, \"hello {{release_name}}\"}.\n\"more.config\".\n");
    project.write("config/more.config", "{more, \"{{greeting}}!\"}.\n");
    project.write("rel/a.txt", "A\n");
    project.write("rel/ext.sh", "#!/bin/sh\necho \"hello $1\"\nexit 0\n");
    project.write(
        "rel/t.conf",
        "{{greeting}} {{more}} {{output_dir}} {{profile_string}} {{base_dir}} {{shop}} {{erts_vsn}} {{release}}\n\
         {{root_dir}} {{release_version}} {{target_dir}} {{nothing}}\n",
    );
}

#[test]
fn what_relx_makes_and_its_start_script() {
    let space = TestSpace::new();
    let project = project(&space, "ours", EVERYTHING);
    write_everything(&project);
    let built = project.build();
    let theirs = Rebar3::of(&project, space.path("theirs")).release("prod", "shop");
    assert_same(&built.release(), &theirs, &[]);
    assert!(built.release().join("bin/hooks/builtin/status").is_file());
    assert!(!built.release().join("lib/shop-1.0.0/ebin/shop_extra.beam").exists());
    assert_eq!(built.json["release"]["version"], "1.2.3", "the newest of the two");
    project.build().assert_nothing_to_do();

    // An edit that changes no code ends at its own compilation.
    project.append("apps/store/src/store.erl", "%% a comment");
    let ran = project.ran();
    assert!(ran.contains("compile store") && !ran.contains("boot") && !ran.contains("assemble"), "{ran:?}");

    let release = moved(&space, &built.release());
    let node = Node::new(&space, &release, "shop");
    let name = node.name();
    let node = node.with("SHOP_PORT", "8080").with("SHOP_NODE", &name).with("SHOP_COOKIE", "c1");
    assert_eq!(node.says(&["greet", "you"]), "hello you");
    node.says(&["daemon"]);
    wait_until("the shop is open", || {
        node.ask(&["eval", "whereis(shop) =/= undefined."]).out.trim() == "true"
    });
    assert_eq!(
        node.says(&["eval", "lists:sort(application:get_all_env(shop))."]),
        "[{name, []}, {port, 8080}]"
    );
    assert_eq!(node.says(&["eval", "code:is_loaded(elixir)."]), "false");
    assert_eq!(node.says(&["ping"]), "pong");
    node.says(&["stop"]);
}

fn git(project: &Project, args: &[&str]) {
    let who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main"];
    support::said(std::process::Command::new("git").arg("-C").arg(&project.dir).args(who).args(args));
}

#[test]
fn a_minimal_release_with_sources_and_a_version_from_git() {
    let space = TestSpace::new();
    let project = project(&space, "ours", "");
    project.write("rebar.config", "{erl_opts, [debug_info]}.\n");
    project.write(
        "relx.config",
        "{release, {shop, semver}, [shop, tools],\n\
         [{mode, minimal}, {include_src, true}, {debug_info, keep}, {system_libs, false}, {extended_start_script, false},\n\
         {sys_config, false}, {vm_args, \"ops/vm.args\"}]}.\n",
    );
    project.write("ops/vm.args", "-sname shop\n");
    git(&project, &["init", "-q"]);
    git(&project, &["add", "apps"]);
    git(&project, &["commit", "-qm", "one"]);
    git(&project, &["tag", "v0.9.0"]);
    git(&project, &["add", "."]);
    git(&project, &["commit", "-qm", "two"]);
    let built = project.build();
    let theirs = Rebar3::of(&project, space.path("theirs")).release("prod", "shop");
    assert_same(&built.release(), &theirs, &[]);
    let version = built.json["release"]["version"].as_str().expect("a version").to_owned();
    assert!(version.starts_with("0.9.0+build.1.ref"), "{version}");
    assert!(built.release().join("lib/shop-1.0.0/src/shop_app.erl").is_file());
    assert!(
        !has(&built.release().join("lib"), "kernel-", "")
            && !built.release().join("releases/RELEASES").exists()
    );

    git(&project, &["tag", "v1.0.0"]);
    assert_eq!(project.build().json["release"]["version"], "1.0.0", "a tag is seen");
}

#[test]
fn what_release_yaml_says_wins_over_relx() {
    let space = TestSpace::new();
    let project = project(&space, "ours", r#"{release, {shop, "1"}, [shop]}, {mode, prod}"#);
    project.write(
        "release.yaml",
        "release: shop\nversion: \"7.0\"\nruntime: false\nstrip: false\napplications: {os_mon: load}\npackage: tar.gz\n",
    );
    project.write("rel/overlays/etc/motd", "welcome\n");
    let built = project.build();
    let release = built.release();
    assert!(fs::read_to_string(release.join("releases/start_erl.data")).expect("a file").ends_with(" 7.0"));
    let rel = fs::read_to_string(release.join("releases/7.0/shop.rel")).expect("a file");
    assert!(rel.contains("{os_mon,") && rel.contains(",load}"), "{rel}");
    assert!(release.join("etc/motd").is_file() && !has(&release, "erts-", ""));
    let beam = fs::read(release.join("lib/store-0.3/ebin/store.beam")).expect("a file");
    assert!(
        beam.starts_with(b"FOR1") && beam.windows(4).any(|four| four == b"Dbgi"),
        "it is as it was compiled"
    );
    assert!(built.package().is_file());
    let shown = project.ask(&["show"]);
    assert!(shown.out.contains("os_mon") && shown.out.contains("7.0"), "{}", shown.out);
}

#[test]
fn without_relx_the_release_has_relgraphs_own_start_script() {
    let space = TestSpace::new();
    let project = Project::new(space.path("ours"), space.store());
    project.write("rebar.config", "{erl_opts, [debug_info]}.\n");
    project.write(
        "release.yaml",
        "release: shop\nversion: \"0.2.0\"\napplications: {shop: permanent, sasl: transient}\n",
    );
    write_shop(&project, "apps/");
    project.write(
        "config/sys.config.src",
        "[{shop, [{port, ${SHOP_PORT:-80}}, {home, \"a&b${SHOP_EMPTY}\"}]}].\n",
    );
    project.write("rel/vm.args", "+P 200000\n");
    project.write("rel/env.sh", "export SHOP_FROM_ENV=yes\n");
    let release = moved(&space, &project.build().release());
    let node = Node::new(&space, &release, "shop").with("SHOP_PORT", "8080");
    assert_eq!(node.says(&["version"]), "shop 0.2.0");
    assert_eq!(node.says(&["eval", "io:format(\"~p~n\", [6 * 7])."]), "42");
    assert_eq!(
        node.says(&["eval", "init:get_plain_arguments()", "one", "two words"]),
        "[\"one\",\"two words\"]"
    );
    assert_eq!(node.says(&["eval", "store:goods()"]), "[apple,bread]");
    let wrong = node.ask(&["eval", "error(broken)"]);
    assert!(wrong.status == Some(1) && wrong.err.contains("broken"), "{}", wrong.err);
    let wrong = node.ask(&["eval", "1 +"]);
    assert!(wrong.status == Some(1) && wrong.err.contains("ERROR: "), "{}", wrong.err);
    let down = node.ask(&["ping"]);
    assert!(down.status == Some(1) && down.err.contains("no cookie"), "{}", down.err);

    node.says(&["daemon"]);
    let ask = |expression: &str| node.ask(&["rpc", expression]).out.trim().to_owned();
    wait_until("the shop is open", || ask("is_pid(whereis(shop))") == "true");
    assert_eq!(node.says(&["ping"]), "pong");
    assert_eq!(ask("lists:sort(application:get_all_env(shop))."), "[{home,\"a&b\"},{port,8080}]");
    assert_eq!(ask("io:format(\"here~n\")"), "here");
    assert_eq!(ask("os:getenv(\"SHOP_FROM_ENV\")"), "\"yes\"");
    assert_eq!(ask("erlang:system_info(process_limit) < 300000"), "true");
    assert_eq!(ask("code:is_loaded(elixir)"), "false");
    assert_eq!(ask("code:root_dir()"), format!("{:?}", release.display().to_string()));
    assert_eq!(ask("[R || {R, _, _, permanent} <- release_handler:which_releases()]"), "[\"shop\"]");
    assert_eq!(node.ask(&["rpc", "exit(oops)"]).status, Some(1));
    let described = node.says(&["describe"]);
    assert!(described.contains("store") && described.contains("transient"), "{described}");
    assert_eq!(node.says(&["restart"]), "");
    wait_until("the system began anew", || ask("is_pid(whereis(shop))") == "true");
    node.stop();

    let mut child = node.foreground_when(&["rpc", "is_pid(whereis(shop))"]);
    support::said(std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]));
    assert_eq!(child.wait().expect("its status").code(), Some(0));
}

#[test]
fn without_any_tool_and_with_the_runtime_of_a_folder() {
    let space = TestSpace::new();
    let path = space.bare_path(&["elixir", "elixirc", "iex", "mix", "rebar3"]);
    let otp = support::mix::installed("erl").canonicalize().expect("OTP");
    let plain = Project::new(space.path("plain"), space.store()).with("PATH", &path);
    plain.write("release.yaml", &format!("release: shop\nruntime: {}\nupgrades: hot\n", otp.display()));
    write_shop(&plain, "apps/");
    plain.write("config/sys.config", "[{shop, [{port, 7}]}].\n");
    let built = plain.build();
    assert_eq!(built.json["release"]["version"], "1.0.0", "that of the application of its name");
    let release = moved(&space, &built.release());
    let node = Node::new(&space, &release, "shop");
    assert_eq!(node.says(&["eval", "application:load(shop), application:get_env(shop, port)"]), "{ok,7}");
    assert!(has(&release, "erts-", "bin/erlexec") && has(&release.join("lib"), "kernel-", "ebin/kernel.app"));
    plain.write("config/sys.config", "{shop, [{port, 7}]}.\n");
    refused(&plain, 1, &["config/sys.config: a configuration is one list"]);

    let terms = format!(
        "{{release, {{shop, \"1\"}}, [shop]}}, {{include_erts, \"{0}\"}}, {{system_libs, \"{0}/lib\"}}",
        otp.display()
    );
    let relx = project(&space, "relx", &terms);
    let release = relx.build().release();
    assert!(has(&release, "erts-", "bin/erlexec") && has(&release.join("lib"), "stdlib-", "ebin/lists.beam"));
    assert_eq!(relx.ask(&["run", "--", "help"]).status, Some(1), "that is what relx leaves with");
    assert!(relx.ask(&["build", "--force", "boot"]).out.contains("bin/shop foreground"));
}

#[track_caller]
fn refused(project: &Project, status: i32, parts: &[&str]) {
    let told = project.refused(status);
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    assert!(!told.contains("/relgraph/"), "a path that only steps see:\n{told}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let space = TestSpace::new();
    let project = project(&space, "ours", r#"{release, {shop, "1"}, [shop]}"#);
    let relx = |terms: &str| project.write("rebar.config", &format!("{{relx, [{terms}]}}.\n"));

    project.write("release.yaml", "release: shpo\n");
    refused(&project, 2, &["release.yaml:1:10", "`shpo`", "did you mean `shop`?"]);
    project.write("release.yaml", "release: shop\napplications: {stor: load}\n");
    refused(&project, 2, &["release.yaml:2:16", "`stor`", "did you mean `store`?"]);
    project.write("release.yaml", "release: shop\n");

    relx(r#"{release, {shop, "1"}, [shop, cowboi]}"#);
    refused(&project, 1, &["Application needed for release not found: cowboi"]);
    relx(r#"{release, {shop, "1"}, [shop]}, {sys_config, "config/sys.config"}"#);
    refused(&project, 1, &["sys.config file specified for this release (config/sys.config) does not exist"]);
    project.write("config/sys.config", "[{shop,\n  [{port, 80}}].\n");
    refused(&project, 1, &["config/sys.config", "2: syntax error before: '}'"]);
    project.write("config/sys.config", "[].\n");
    relx(r#"{release, {shop, "1"}, [shop]}, {overlay, [{template, "rel/none", "etc/none"}]}"#);
    refused(&project, 1, &["rel/none", "no such file or directory"]);
    relx(r#"{release, {shop, "1"}, [shop]}, {overlay, [{template, "rel/t", "etc/t"}]}"#);
    project.write("rel/t", "one\n{{release_nam}}\n");
    let said = project.ask(&["build"]);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(said.err.contains("rel/t:2: there is no variable `release_nam`"), "{}", said.err);
    relx(r#"{release, {shop, "1"}, [shop]}, {system_libs, "elsewhere/lib"}"#);
    refused(&project, 2, &["elsewhere/lib", "runtime: ROOT"]);
    project.write("release.yaml", "release: shop\nupgrades: hot\n");
    relx(r#"{release, {shop, "1"}, [shop]}, {system_libs, false}"#);
    refused(&project, 2, &["release.yaml:2:11", "releases/RELEASES"]);
}

#[test]
fn distillery_is_read_by_init() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    fs::remove_file(project.dir.join("release.yaml")).expect("removed");
    project.write(
        "rel/config.exs",
        "use Distillery.Releases.Config, default_release: :default, default_environment: Mix.env()\n\
         environment :prod do\n  set include_erts: true\n  set cookie: :\"very secret\"\nend\n\
         release :seq do\n  set version: current_version(:sequence)\n  set applications: [:runtime_tools, sequence: :permanent]\n\
         \x20 set overlays: [{:copy, \"README.md\", \"doc/README.md\"}]\nend\n",
    );
    let said = project.ask(&["init"]);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(said.out.contains("config.exs:4: a cookie") && !said.out.contains("very secret"), "{}", said.out);
    assert!(!project.read("release.yaml").contains("very secret"));
    let release = project.build().release();
    assert!(release.ends_with("seq") && release.join("doc/README.md").is_file());
    assert!(has(&release.join("lib"), "runtime_tools-", "ebin"));
}
