//! Code bases that no one here wrote, as their authors have them, from the sources of Debian's packages: each is built
//! whole, boots and answers. The large ones are for `make test-real`, which writes what came of them to docs/real.md.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::TestSpace;
use support::node::Node;
use support::project::{Built, Project};
use support::sources::{record, sources};
use support::{said, source};

/// Copies a folder as it is, links and times of files included.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    said(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Asks whether the release is the one that the project's own tool makes, and returns what was said in a line.
fn same_as(project: &Project, tool: &str) -> String {
    let said = project.ask(&["verify", "--against", tool]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    let line = said.out.lines().find(|line| line.contains("unexplained"));
    format!("against {tool}: {}", line.unwrap_or_default().trim())
}

const TOOLBOX: &str = r#"defmodule Toolbox.MixProject do
  use Mix.Project

  def project do
    deps = for app <- [:eex, :ex_unit, :iex, :logger, :mix], do: {app, path: "../elixir/#{app}"}
    [app: :toolbox, version: "0.1.0", deps: deps]
  end

  def application, do: []
end
"#;

/// A project whose dependencies are the applications of Elixir, at `AT/toolbox`.
fn toolbox(space: &TestSpace, sources: &Path, at: &str) -> Project {
    let folder = space.path(at);
    for app in ["eex", "ex_unit", "iex", "logger", "mix"] {
        copy(&sources.join("elixir-lang/lib").join(app), &folder.join("elixir").join(app));
    }
    let project = Project::new(folder.join("toolbox"), space.store());
    project.write("mix.exs", TOOLBOX);
    project.write("lib/toolbox.ex", "defmodule Toolbox do\nend\n");
    project.write("release.yaml", "release: toolbox\n");
    project
}

/// Everything that Elixir is written in goes through its own compiler again, Mix being built by the Mix that it replaces.
#[test]
fn elixirs_own_applications_make_a_release_that_runs_tasks_of_mix() {
    let Some(sources) = sources(&["elixir-lang"]) else { return };
    let space = TestSpace::new();
    let project = toolbox(&space, &sources, "ours");
    let built = project.build();
    let verified = same_as(&project, "mix");
    let node = Node::new(&space, &project.release("toolbox"), "toolbox");
    node.daemon("List.keymember?(Application.started_applications(), :mix, 0)");
    let made = space.path("made");
    // A task that asks Mix, EEx and the file system.
    let said = node.rpc(&format!("Mix.Task.run(\"new\", [{:?}, \"--sup\"])", made.display().to_string()));
    assert!(said.contains("Your Mix project was created successfully."), "{said}");
    assert!(
        fs::read_to_string(made.join("mix.exs")).expect("a file").contains("mod: {Made.Application, []}")
    );
    // Not those that came with the Elixir that built it.
    let version = fs::read_to_string(sources.join("elixir-lang/VERSION")).expect("a version");
    let version = version.trim();
    let where_from = "[:mix, :ex_unit, :iex, :logger] |> Enum.map(&Path.basename(Application.app_dir(&1)))";
    let wanted = ["mix", "ex_unit", "iex", "logger"].map(|app| format!("{app}-{version}"));
    assert_eq!(node.rpc(&format!("IO.puts(Enum.join({where_from}, \" \"))")), wanted.join(" "));
    node.stop();
    let steps = built.count("total");
    record(
        "elixir",
        &[format!(
            "Elixir {version}'s mix, ex_unit, iex, logger and eex: {steps} steps; built, started, ran `mix new`; {verified}."
        )],
    );
}

/// Source packages of ejabberd and of what it depends on.
const EJABBERD: [&str; 21] = [
    "ejabberd/trixie",
    "erlang-base64url/trixie",
    "erlang-idna/trixie",
    "erlang-jiffy/trixie",
    "erlang-jose/trixie",
    "erlang-p1-acme/trixie",
    "erlang-p1-cache-tab/trixie",
    "erlang-p1-eimp/trixie",
    "erlang-p1-mqtree/trixie",
    "erlang-p1-oauth2/trixie",
    "erlang-p1-pkix/trixie",
    "erlang-p1-stringprep/trixie",
    "erlang-p1-stun/trixie",
    "erlang-p1-tls/trixie",
    "erlang-p1-utils/trixie",
    "erlang-p1-xml/trixie",
    "erlang-p1-xmpp/trixie",
    "erlang-p1-yaml/trixie",
    "erlang-p1-yconf/trixie",
    "erlang-p1-zlib/trixie",
    "erlang-unicode-util-compat/trixie",
];

/// ejabberd as whoever packages it prepares it: the sources of its dependencies in `deps/`, with the plugins that their
/// rebar.config asks for, and `./configure` run.
fn ejabberd(space: &TestSpace, sources: &Path) -> Project {
    let folder = space.path("ejabberd");
    copy(&sources.join("ejabberd"), &folder);
    for package in &EJABBERD[1..] {
        let from = sources.join(package.split('/').next().expect("a name"));
        let app = fs::read_dir(from.join("src"))
            .expect("a folder")
            .flatten()
            .find_map(|e| e.file_name().to_str()?.strip_suffix(".app.src").map(str::to_owned))
            .expect("an application");
        let to = folder.join("deps").join(app);
        copy(&from, &to);
        let script = fs::read_to_string(to.join("rebar.config.script")).unwrap_or_default();
        for plugin in ["pc", "provider_asn1"] {
            if script.contains(plugin) {
                let from = source("tests/fixtures/rebar3_plugins").join(plugin);
                copy(&from, &to.join("_checkouts").join(plugin));
            }
        }
    }
    for command in ["./autogen.sh", "./configure"] {
        said(Command::new("sh").arg(command).current_dir(&folder));
    }
    let project = Project::new(folder, space.store());
    project.write("release.yaml", "release: ejabberd\n");
    project
}

/// A server of XMPP in Erlang and Elixir: twenty dependencies that rebar3 builds, ten of them with C or C++.
#[test]
#[ignore = "takes minutes; make test-real"]
fn ejabberd_starts_and_speaks_xmpp() {
    let Some(sources) = sources(&EJABBERD) else { return };
    let space = TestSpace::new();
    let project = ejabberd(&space, &sources);
    let built = project.build();
    let release = project.release("ejabberd");
    let port = free_port();
    fs::create_dir_all(release.join("conf")).expect("a folder");
    let configuration = format!(
        "hosts: [localhost]\nlisten:\n  - port: {port}\n    ip: \"127.0.0.1\"\n    module: ejabberd_c2s\n"
    );
    fs::write(release.join("conf/ejabberd.yml"), configuration).expect("a file");
    let node = Node::new(&space, &release, "ejabberd");
    node.daemon("List.keymember?(Application.started_applications(), :ejabberd, 0)");
    let greeting = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                    xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>";
    let answer = answer(port, greeting.as_bytes(), b"</stream:features>");
    assert!(answer.contains("<mechanism>SCRAM-SHA-256</mechanism>"), "{answer}");
    node.stop();
    let steps = built.count("total");
    let verified = same_as(&project, "mix");
    record(
        "ejabberd",
        &[format!(
            "ejabberd {} with twenty dependencies: {steps} steps; built, started, offered its mechanisms over XMPP; \
             {verified}.",
            version(&built)
        )],
    );
}

/// The version of a release.
fn version(built: &Built) -> String {
    built.json["release"]["version"].as_str().unwrap_or_default().to_owned()
}

/// RabbitMQ as whoever packages it prepares it: its archive of packages for Mix, put back as its Makefile does.
fn rabbitmq(space: &TestSpace, sources: &Path) -> Project {
    let folder = space.path("rabbitmq");
    copy(&sources.join("rabbitmq-server"), &folder);
    said(Command::new("make").arg("restore-hex-cache-ets-file").current_dir(&folder).env_remove("MAKEFLAGS"));
    let project = Project::new(folder, space.store());
    // Plugins are started by RabbitMQ itself.
    project.write(
        "release.yaml",
        "release: rabbit\nversion: \"3.10.8\"\napplications:\n  rabbit: permanent\n  mnesia: load\n  \
         rabbitmq_management: load\n  rabbitmq_management_agent: load\n  rabbitmq_prometheus: load\n",
    );
    project
}

/// RabbitMQ's command line as a project of its own, in RabbitMQ's sources: `rabbit_common`, which its Makefile would have
/// built before, lies there as it is in the release, and packages come from the archive.
fn rabbitmq_cli(rabbitmq: &Project) -> Project {
    let common = rabbitmq.dir.join("deps/rabbit_common");
    copy(&released(rabbitmq, "rabbit_common").join("ebin"), &common.join("ebin"));
    let packages = rabbitmq.dir.join("deps/.hex").display().to_string();
    let project = Project::new(rabbitmq.dir.join("deps/rabbitmq_cli"), &rabbitmq.store);
    // `MAKE` is what mix.exs has rabbit_common built with.
    project.write("release.yaml", "release: rabbitmqctl\nenv: {DEPS_DIR: \"..\", MAKE: \"true\"}\n");
    project.with("HEX_HOME", &packages).with("HEX_OFFLINE", "1")
}

/// The folder of an application in the release.
fn released(rabbitmq: &Project, app: &str) -> PathBuf {
    let lib = rabbitmq.release("rabbit").join("lib");
    let named = |name: &str| name.strip_prefix(app).is_some_and(|rest| rest.starts_with('-'));
    let mut all = fs::read_dir(lib).expect("a folder").flatten();
    all.find(|entry| named(&entry.file_name().to_string_lossy())).expect("an application").path()
}

/// A broker in Erlang, built by erlang.mk: seventy applications, one of them Mix's, sources that Python writes. Then its
/// command line, built as a Mix project, asks it.
#[test]
#[ignore = "takes minutes; make test-real"]
fn rabbitmq_starts_and_speaks_amqp() {
    let Some(sources) = sources(&["rabbitmq-server"]) else { return };
    let space = TestSpace::new();
    let project = rabbitmq(&space, &sources);
    let built = project.build();
    let port = free_port();
    let state = space.path("state");
    let node = Node::new(&space, &project.release("rabbit"), "rabbit");
    // RabbitMQ wants to be told its name itself.
    let name = format!("{}@localhost", node.name());
    let node = node
        .with("RABBITMQ_NODENAME", &name)
        .with("RABBITMQ_NODE_PORT", &port.to_string())
        .with("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .with("RABBITMQ_DIST_PORT", &free_port().to_string())
        .with("RABBITMQ_MNESIA_BASE", &state.join("mnesia").display().to_string())
        .with("RABBITMQ_LOG_BASE", &state.join("log").display().to_string())
        .with("RABBITMQ_ENABLED_PLUGINS_FILE", &state.join("plugins").display().to_string());
    let mut child = node.foreground_when(&["rpc", "rabbit:is_running()"]);
    // Connection.Start: a method (1) on channel 0, class 10, method 10, with what the server is.
    let answer = answer(port, b"AMQP\0\0\x09\x01", b"en_US\xce");
    assert!(
        answer.starts_with("\x01\0\0") && answer.contains("RabbitMQ") && answer.contains("PLAIN"),
        "{answer:?}"
    );
    let line = record_cli(&project, &node, &name);
    node.stop();
    child.wait().expect("it ended");
    let steps = built.count("total");
    let verified = same_as(&project, "make");
    let server = format!(
        "RabbitMQ {}: {steps} steps; built, started, answered `AMQP 0-9-1` with Connection.Start; {verified}.",
        version(&built)
    );
    record("rabbitmq", &[server, line]);
}

/// Builds the command line and has it ask the node, and returns what came of it in a line.
fn record_cli(rabbitmq: &Project, node: &Node, name: &str) -> String {
    let project = rabbitmq_cli(rabbitmq);
    let built = project.build();
    let cookie = fs::read_to_string(rabbitmq.release("rabbit").join("releases/COOKIE")).expect("a cookie");
    // The command line takes rabbit, and what that needs, from where RabbitMQ is installed.
    let lib = rabbitmq.release("rabbit").join("lib").display().to_string();
    let ask = format!(
        "Application.load(:rabbitmqctl); :code.add_pathsz(Enum.map(Path.wildcard(\"{lib}/*/ebin\"), &to_charlist/1)); \
         RabbitMQCtl.main([\"--script-name\", \"rabbitmqctl\", \"--node\", \"{name}\", \"--erlang-cookie\", \"{cookie}\", \"list_users\", \"--silent\"])"
    );
    let said = node.says_beside(&project.release("rabbitmqctl").join("bin/rabbitmqctl"), &["eval", &ask]);
    assert!(said.contains("guest"), "{said}");
    let verified = same_as(&project, "mix");
    format!(
        "`rabbitmq_cli` {} as a Mix project of its own: {} steps; built, listed the users of that RabbitMQ; {verified}.",
        version(&built),
        built.count("total")
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

/// What a server on this machine says to a greeting, up to `end`.
fn answer(port: u16, greeting: &[u8], end: &[u8]) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    connection.write_all(greeting).expect("it takes it");
    let mut said = Vec::new();
    let mut part = [0; 4096];
    while !said.windows(end.len()).any(|window| window == end) {
        let count = connection.read(&mut part).expect("it answers");
        assert!(count > 0, "it hung up after {:?}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&said).into_owned()
}
