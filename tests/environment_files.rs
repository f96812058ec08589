//! `relgraph preflight --env-file` for releases in Erlang alone: their templates are filled in with the variables of the file
//! and no others, as their start scripts do it.

mod support;

use serde_json::Value;
use support::project::{Project, set};
use support::{Said, TestSpace};

const APP: &str = "{application, hut, [{description, \"hut\"}, {vsn, \"0.1.0\"}, {registered, []}, \
                   {applications, [kernel, stdlib]}]}.\n";

const SYS: &str = "%% Filled in by the start script: ${NOTHING}\n[{hut, [{port, ${PORT}},\n  {name, \"${TITLE:-hut}\"},\n  \
                   {secret, \"${SECRET}\"},\n  {hooked, \"${HOOKED}\"}]}].\n";

#[track_caller]
fn told(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn ask(project: &Project, file: &str) -> Said {
    project.write("prod.env", file);
    project.ask(&["preflight", "--env-file", "prod.env"])
}

fn hut(space: &TestSpace, at: &str) -> Project {
    let project = Project::new(space.path(at), space.store());
    project.write("src/hut.app.src", APP);
    project.write("src/hut.erl", "-module(hut).\n-export([hut/0]).\nhut() -> ok.\n");
    project.write("release.yaml", "release: hut\n");
    project.with("SECRET", "of the user, and not in the file")
}

#[test]
fn templates_of_relx() {
    let space = TestSpace::new();
    let project = hut(&space, "relx");
    project.write(
        "rebar.config",
        "{relx, [{release, {hut, \"0.1.0\"}, [hut]}, {dev_mode, false}, {include_erts, false},\n  \
         {sys_config_src, \"etc/hut.config\"}, {vm_args_src, \"etc/hut.args\"},\n  {extended_start_script, true},\n  \
         {extended_start_script_hooks, [{pre_start, [{custom, \"hooks/before\"}]}]},\n  \
         {overlay, [{mkdir, \"bin/hooks\"}, {copy, \"etc/before\", \"bin/hooks/before\"}]}]}.\n",
    );
    project.write("etc/hut.config", SYS);
    project.write("etc/hut.args", "-sname ${NODE}\n+P ${PROCESSES:-5000}\n");
    project.write("etc/before", "export HOOKED=\"${FOR_HOOK:-1}\"\n");

    let said = ask(&project, "# nothing\n");
    assert_eq!(said.status, Some(1), "{}{}", said.out, said.err);
    told(
        &said.err,
        &[
            "error: the variable PORT is asked for and not set",
            "etc/hut.config:2:",
            "[{hut, [{port, ${PORT}},",
            "add a line `PORT=…` to the environment file (`PORT=` where it is meant to be empty), or give it a default",
            "error: the variable SECRET is asked for and not set",
            "etc/hut.config:4:",
            "error: the variable NODE is asked for and not set",
            "etc/hut.args:1:",
        ],
    );
    for name in ["NOTHING", "HOOKED", "TITLE", "cannot be read"] {
        assert!(!said.err.contains(name), "{name}: {}", said.err);
    }
    let good = "PORT=80\nSECRET=hunter2\nNODE=hut@localhost\nFOR_HOOK=1\nUNUSED_ONE=1\n";
    let said = ask(&project, good);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    told(
        &said.out,
        &[
            "the configuration can be read with prod.env",
            "TITLE is asked for and not in prod.env: \"hut\" is taken",
            "PROCESSES is asked for and not in prod.env: \"5000\" is taken",
            "UNUSED_ONE is in prod.env, and the configuration does not ask for it",
        ],
    );
    assert!(!said.out.contains("FOR_HOOK"), "a hook asks for it: {}", said.out);
    let json = project.ask(&["preflight", "--env-file", "prod.env", "--format", "json"]);
    let json: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["environment"]["unused"], serde_json::json!(["UNUSED_ONE"]));

    // What does not fit in: the secret has a quote in it, and is not shown.
    let said = ask(&project, &good.replace("hunter2", "hun\"ter2"));
    assert_eq!(said.status, Some(1), "{}{}", said.out, said.err);
    told(
        &said.err,
        &[
            "filled in, releases/0.1.0/sys.config cannot be read, line 4, column 17: look at the value of SECRET",
            "etc/hut.config:4:",
        ],
    );
    assert!(!format!("{}{}", said.out, said.err).contains("ter2"), "{}", said.err);
    // A value that asks for another one, as relx's script understands it.
    let said = ask(&project, &good.replace("hunter2", "${INNER}"));
    told(&said.err, &["error: the variable INNER is asked for and not set"]);
    let said = ask(&project, &good.replace("hunter2", "${SECRET}"));
    told(&said.err, &["etc/hut.config is never filled in"]);
    // The files themselves, where relx's script is told so.
    project.edit("rebar.config", "{sys_config_src,", "{sys_config,");
    project.edit("etc/hut.config", "[{hut, [{port, ${PORT}}", "[{hut, [{port, \"${PORT}\"}");
    let said = ask(&project, "NODE=hut\n");
    assert_eq!((said.status, said.err.contains("SECRET")), (Some(0), false), "{}", said.err);
    told(&ask(&project, "NODE=hut\nRELX_REPLACE_OS_VARS=true\n").err, &["the variable SECRET is asked for"]);
    // A script that fills in nothing.
    project.edit("rebar.config", "{extended_start_script, true}", "{extended_start_script, false}");
    let said = ask(&project, good);
    assert_eq!(said.status, Some(1), "{}{}", said.out, said.err);
    told(
        &said.err,
        &["bin/hut does not fill in releases/0.1.0/vm.args.src", "{extended_start_script, true}"],
    );
}

#[test]
fn templates_of_a_project_of_no_tool() {
    let space = TestSpace::new();
    let project = hut(&space, "plain");
    project.write("config/sys.config.src", SYS);
    let said = ask(&project, "PORT=80\n");
    assert_eq!(said.status, Some(1), "{}{}", said.out, said.err);
    told(&said.err, &["error: the variable SECRET is asked for and not set", "config/sys.config.src:4:"]);
    assert!(!said.err.contains("PORT"), "{}", said.err);
    let good = "PORT=80\nSECRET=\"${PORT}\"\nHOOKED=\n";
    let said = ask(&project, good);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    let said = ask(&project, &good.replace("PORT=80", "PORT=eighty}"));
    assert_eq!(said.status, Some(1), "{}{}", said.out, said.err);
    told(
        &said.err,
        &["filled in, releases/0.1.0/sys.config cannot be read, line 2", "config/sys.config.src:2:"],
    );
    assert!(!said.err.contains("eighty"), "{}", said.err);
    // Nothing to fill in: what the file has is there for nothing.
    std::fs::rename(project.dir.join("config/sys.config.src"), project.dir.join("sys.config"))
        .expect("moved");
    let json = project.ask(&["preflight", "--env-file", "prod.env", "--format", "json"]);
    let json: Value = serde_json::from_str(&json.out).expect("JSON");
    let unused = json["environment"]["unused"].as_array().expect("a list").iter();
    assert_eq!(
        unused.filter_map(Value::as_str).map(str::to_owned).collect::<std::collections::BTreeSet<_>>(),
        set(&["HOOKED", "PORT", "SECRET"])
    );
}
