//! Releases in Erlang alone that are moved to another version while they run.

mod support;

use support::node::Node;
use support::project::Project;
use support::small::project;
use support::upgrade::Upgrade;
use support::{TestSpace, wait_until};

fn started(node: &Node, name: &str) {
    node.says(&["daemon"]);
    wait_until("it answers", || {
        node.ask(&["rpc", &format!("is_pid(whereis({name})).")]).out.trim() == "true"
    });
}

const COUNTER: &str = "-module(counter).\n-behaviour(gen_server).\n-vsn(\"VSN\").\n-export([start_link/0, next/0, init/1, handle_call/3, handle_cast/2, code_change/3]).\n\
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).\nnext() -> gen_server:call(?MODULE, next).\n\
init([]) -> {ok, INIT}.\nhandle_cast(_, S) -> {noreply, S}.\n";

#[test]
fn a_release_in_erlang_goes_up_and_down() {
    let space = TestSpace::new();
    let application = "-module(counter_app).\n-behaviour(application).\n-behaviour(supervisor).\n-export([start/2, stop/1, init/1]).\n\
        start(_, _) -> supervisor:start_link({local, counter_sup}, ?MODULE, []).\nstop(_) -> ok.\n\
        init([]) -> {ok, {{one_for_one, 1, 5}, [{counter, {counter, start_link, []}, permanent, 5000, worker, [counter]}]}}.\n";
    let one = format!(
        "{}handle_call(next, _, N) -> {{reply, N, N + 1}}.\ncode_change(_, S, _) -> {{ok, S}}.\n",
        COUNTER.replace("VSN", "1").replace("INIT", "1")
    );
    let two = format!(
        "{}handle_call(next, _, {{N, Step}}) -> {{reply, {{N, application:get_env(counter, greeting)}}, {{N + Step, Step}}}}.\n\
         code_change(\"1\", N, _) when is_integer(N) -> {{ok, {{N, 10}}}};\ncode_change({{down, \"1\"}}, {{N, _}}, _) -> {{ok, N}}.\n",
        COUNTER.replace("VSN", "2").replace("INIT", "{1, 10}")
    );
    let make = |at: &str, version: &str, code: &str, config: &str| {
        let specification = format!(
            "{{application, counter, [{{vsn, \"{version}\"}}, {{registered, [counter]}}, {{mod, {{counter_app, []}}}}, {{applications, [kernel, stdlib, sasl]}}]}}.\n"
        );
        project(
            &space,
            at,
            "counter",
            &[
                ("release.yaml", &format!("release: counter\nversion: \"{version}\"\nupgrades: hot\n")),
                ("rebar.config", "{erl_opts, [debug_info]}.\n"),
                ("src/counter.app.src", &specification),
                ("src/counter.erl", code),
                ("src/counter_app.erl", application),
                ("config/sys.config.src", config),
            ],
        )
    };
    let old = make("one", "1", &one, "[{counter, []}].\n");
    let new = make("two", "2", &two, "[{counter, [{greeting, \"${GREETING:-hi}\"}]}].\n");
    let appup =
        "{\"2\",[{\"1\",[{update,counter,{advanced,[]}}]}],[{\"1\",[{update,counter,{advanced,[]}}]}]}.\n";
    let upgrade = Upgrade::new(&space, &old, &new, "counter", "counter", appup);
    let node = Node::new(&space, &upgrade.release, "counter").with("GREETING", "good day");
    started(&node, "counter");
    assert_eq!(node.rpc("counter:next()."), "1");
    let pid = node.rpc("whereis(counter).");
    let up = node.says(&["upgrade", upgrade.package()]);
    assert!(up.starts_with("counter 1 -> 2: 1 module, 1 process migrated, "), "{up}");
    assert_eq!(node.rpc("counter:next()."), "{2,{ok,\"good day\"}}");
    assert_eq!(node.says(&["releases"]), "counter 2 permanent\ncounter 1 old");
    assert!(node.says(&["downgrade", "1"]).ends_with("permanent"));
    assert_eq!(node.rpc("counter:next()."), "12");
    assert_eq!(node.rpc("whereis(counter)."), pid);
    node.says(&["install", "2"]);
    node.says(&["commit", "2"]);
    node.stop();
    started(&node, "counter");
    assert_eq!(node.rpc("counter:next()."), "{1,{ok,\"good day\"}}");
    assert_eq!(node.says(&["remove", "1"]), "counter 1 is removed, with 1 application");
    node.stop();
}

const POOL_APP: &str = "-module(pool_app).\n-behaviour(application).\n-export([start/2, stop/1]).\nstart(_, _) -> pool_sup:start_link().\nstop(_) -> ok.\n";

const WORKERS: &str = "-module(workers).\n-behaviour(supervisor).\n-export([start_link/0, init/1]).\nstart_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).\n\
init([]) -> {ok, {#{strategy => simple_one_for_one}, [#{id => worker, start => {worker, start_link, []}, restart => temporary}]}}.\n";

/// A pool of workers, each with a number; from version 2 on there is a process that counts them, which `counts` may have fail.
fn pool(space: &TestSpace, at: &str, version: u8, counts: &str) -> Project {
    let server =
        "start_link(N) -> gen_server:start_link(?MODULE, N, []).\nhandle_cast(_, S) -> {noreply, S}.\n";
    let exports = "-behaviour(gen_server).\n-export([start_link/1, init/1, handle_call/3, handle_cast/2, code_change/3]).\n";
    let state = if version == 1 { "N" } else { "{v2, N}" };
    let worker = format!(
        "-module(worker).\n-vsn({version}).\n{exports}{server}init(N) -> {{ok, {state}}}.\nhandle_call(get, _, {state} = S) -> {{reply, N, S}}.\n{}",
        if version == 1 {
            "code_change(_, S, _) -> {ok, S}.\n"
        } else {
            "code_change(1, N, _) -> {ok, {v2, N}};\ncode_change({down, 1}, {v2, N}, _) -> {ok, N}.\n"
        }
    );
    let child = |name: &str, kind: &str, args: &str| {
        format!("#{{id => {name}, start => {{{name}, start_link, {args}}}, type => {kind}}}")
    };
    let children = match version {
        1 => child("workers", "supervisor", "[]"),
        _ => format!("{}, {}", child("workers", "supervisor", "[]"), child("tally", "worker", "[0]")),
    };
    let top = format!(
        "-module(pool_sup).\n-behaviour(supervisor).\n-export([start_link/0, init/1]).\nstart_link() -> supervisor:start_link({{local, ?MODULE}}, ?MODULE, []).\n\
         init([]) -> {{ok, {{#{{intensity => {version}}}, [{children}]}}}}.\n"
    );
    let tally = format!(
        "-module(tally).\n{exports}start_link(N) -> gen_server:start_link({{local, ?MODULE}}, ?MODULE, N, []).\ninit(_) -> {counts}.\n\
         handle_call(_, _, S) -> {{reply, S, S}}.\nhandle_cast(_, S) -> {{noreply, S}}.\ncode_change(_, S, _) -> {{ok, S}}.\n"
    );
    let specification = format!(
        "{{application, pool, [{{vsn, \"{version}\"}}, {{registered, []}}, {{mod, {{pool_app, []}}}}, {{applications, [kernel, stdlib, sasl]}}]}}.\n"
    );
    let yaml = format!("release: pool\nversion: \"{version}\"\nupgrades: hot\n");
    let mut all = vec![
        ("release.yaml", yaml.as_str()),
        ("rebar.config", "{erl_opts, [debug_info]}.\n"),
        ("src/pool.app.src", specification.as_str()),
        ("src/pool_app.erl", POOL_APP),
        ("src/workers.erl", WORKERS),
        ("src/pool_sup.erl", top.as_str()),
        ("src/worker.erl", worker.as_str()),
    ];
    if version > 1 {
        all.push(("src/tally.erl", tally.as_str()));
    }
    project(space, at, "pool", &all)
}

const POOL: &str = "{\"2\",
 [{\"1\",[{add_module,tally},{update,worker,{advanced,[]},soft_purge,soft_purge,[]},{update,pool_sup,supervisor},
   {apply,{supervisor,restart_child,[pool_sup,tally]}}]}],
 [{\"1\",[{apply,{supervisor,terminate_child,[pool_sup,tally]}},{apply,{supervisor,delete_child,[pool_sup,tally]}},
   {update,pool_sup,supervisor},{update,worker,{advanced,[]},soft_purge,soft_purge,[]},{delete_module,tally}]}]}.\n";

const WORK: &str = "lists:sort([{N, pid_to_list(P)} || {_, P, _, _} <- supervisor:which_children(workers), N <- [gen_server:call(P, get)]]).";
const SHAPE: &str = "{[Id || {Id, P, _, _} <- supervisor:which_children(pool_sup), is_pid(P)], element(6, sys:get_state(pool_sup)), \
    lists:sort([sys:get_state(P) || {_, P, _, _} <- supervisor:which_children(workers)]), application:get_key(pool, vsn)}.";

#[test]
fn workers_without_names_are_migrated_and_a_supervisor_gets_a_child() {
    let space = TestSpace::new();
    let (old, new) = (pool(&space, "one", 1, ""), pool(&space, "two", 2, "{ok, 0}"));
    let upgrade = Upgrade::new(&space, &old, &new, "pool", "pool", POOL);
    let node = Node::new(&space, &upgrade.release, "pool");
    started(&node, "workers");
    node.rpc("[{ok, _} = supervisor:start_child(workers, [N]) || N <- [1, 2, 3]].");
    let work = node.rpc(WORK);
    let up = node.says(&["upgrade", upgrade.package()]);
    assert!(up.contains(": 3 modules, 4 processes migrated, "), "{up}");
    assert_eq!(node.rpc(WORK), work, "the same numbers, the same processes");
    assert_eq!(node.rpc(SHAPE), "{[tally,workers],2,[{v2,1},{v2,2},{v2,3}],{ok,\"2\"}}");
    node.says(&["downgrade", "1"]);
    assert_eq!(node.rpc(WORK), work);
    assert_eq!(node.rpc(SHAPE), "{[workers],1,[1,2,3],{ok,\"1\"}}");
    node.stop();
}

#[test]
fn a_child_that_does_not_start_leaves_supervisor_and_workers_as_they_were() {
    let space = TestSpace::new();
    let (old, new) = (pool(&space, "one", 1, ""), pool(&space, "two", 2, "{stop, no_room}"));
    let upgrade = Upgrade::new(&space, &old, &new, "pool", "pool", POOL);
    let node = Node::new(&space, &upgrade.release, "pool");
    started(&node, "workers");
    node.rpc("[{ok, _} = supervisor:start_child(workers, [N]) || N <- [1, 2, 3]].");
    let (work, shape) = (node.rpc(WORK), node.rpc(SHAPE));
    let said = node.ask(&["upgrade", upgrade.package()]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(
        said.err.contains("supervisor:restart_child(pool_sup, tally) failed: no_room\n1 goes on as before"),
        "{}",
        said.err
    );
    assert_eq!((node.rpc(WORK), node.rpc(SHAPE)), (work, shape));
    assert_eq!(
        node.rpc("{supervisor:get_childspec(pool_sup, tally), code:is_loaded(tally)}."),
        "{{error,not_found},false}"
    );
    node.stop();
}

#[test]
fn applications_are_restarted_where_the_script_says_so() {
    let space = TestSpace::new();
    let (old, new) = (pool(&space, "one", 1, ""), pool(&space, "two", 2, "{ok, 0}"));
    let appup = "{\"2\",[{\"1\",[{restart_application,pool}]}],[{\"1\",[{restart_application,pool}]}]}.\n";
    let upgrade = Upgrade::new(&space, &old, &new, "pool", "pool", appup);
    let node = Node::new(&space, &upgrade.release, "pool");
    started(&node, "workers");
    node.says(&["upgrade", upgrade.package()]);
    assert_eq!(node.rpc(SHAPE), "{[tally,workers],2,[],{ok,\"2\"}}");
    let kind = "lists:keyfind(pool, 1, proplists:get_value(started, application:info())).";
    assert_eq!(node.rpc(kind), "{pool,permanent}");
    node.says(&["downgrade", "1"]);
    assert_eq!(node.rpc(SHAPE), "{[workers],1,[],{ok,\"1\"}}");
    node.stop();

    // The new version does not start: the old one does again.
    let space = TestSpace::new();
    let (old, new) = (pool(&space, "one", 1, ""), pool(&space, "two", 2, "{stop, no_room}"));
    let upgrade = Upgrade::new(&space, &old, &new, "pool", "pool", appup);
    let node = Node::new(&space, &upgrade.release, "pool");
    started(&node, "workers");
    let said = node.ask(&["upgrade", upgrade.package()]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(said.err.contains("no_room") && said.err.contains("1 goes on as before"), "{}", said.err);
    assert_eq!(node.rpc(SHAPE), "{[workers],1,[],{ok,\"1\"}}");
    assert_eq!(node.rpc(kind), "{pool,permanent}");
    node.stop();
}
