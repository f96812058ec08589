//! Releases that start: in another folder, on a machine without Erlang, by every command that they have.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::node::{Marked, Node};
use support::{TestSpace, ask, said, source, wait_until};

/// The release of examples/sequence, in another folder than it was built in.
fn moved_sequence(space: &TestSpace) -> PathBuf {
    let project = space.sequence("checkout");
    let built = project.build().release();
    let moved = space.path("some where/else");
    fs::create_dir_all(space.path("some where")).expect("a folder");
    fs::rename(built, &moved).expect("moved");
    fs::remove_dir_all(&project.dir).expect("removed");
    moved
}

const SERVES: &str = "is_pid(Process.whereis(Sequence.Server))";

#[test]
fn a_moved_release_serves_without_erlang_in_path() {
    let space = TestSpace::new();
    let release = moved_sequence(&space);
    let node = Node::new(&space, &release, "sequence").with("SEQUENCE_START", "40");
    let erl = ask(Command::new("sh")
        .args(["-c", "command -v erl || command -v elixir || command -v mix"])
        .env_clear()
        .env("PATH", space.path_without_erlang()));
    assert_eq!((erl.status, erl.out.as_str()), (Some(127), ""), "there is an Erlang in this PATH");
    assert_eq!(node.says(&["version"]), "sequence 0.1.0");
    assert_eq!(node.ask(&["ping"]).status, Some(1), "nothing runs yet");
    assert!(!release.join("releases/COOKIE").exists(), "the build makes no cookie");
    assert_eq!(node.says(&["eval", "IO.puts(6 * 7)"]), "42");

    node.daemon(SERVES);
    assert_eq!(node.says(&["ping"]), "pong");
    assert_eq!(node.rpc("IO.puts(Sequence.next())"), "40", "runtime.exs read SEQUENCE_START");
    assert_eq!(node.rpc("IO.puts(Sequence.next())"), "41");
    assert_eq!(node.rpc("IO.puts(Sequence.next_label())"), "number 42", "the protocol is consolidated");
    assert_eq!(node.rpc("IO.puts(Protocol.consolidated?(Sequence.Label))"), "true");
    let pid = node.says(&["pid"]);
    assert!(Path::new("/proc").join(&pid).exists(), "{pid}");
    let described = node.says(&["describe"]);
    for word in ["sequence", "0.1.0", "kernel", "permanent"] {
        assert!(described.contains(word), "no {word} in {described}");
    }
    let root = node.rpc("IO.puts(:code.root_dir())");
    assert_eq!(Path::new(&root), release, "the runtime is the release's own");
    let outside = "IO.inspect(for p <- :code.get_path(), not String.starts_with?(to_string(p), to_string(:code.root_dir())), do: p)";
    assert_eq!(node.rpc(outside), "[]", "code is loaded from the release only");
    assert!(release.join("releases/COOKIE").is_file());
    node.stop();
    assert_eq!(node.ask(&["ping"]).status, Some(1));
}

#[test]
fn a_crash_of_the_server_keeps_the_stash() {
    let space = TestSpace::new();
    let node = Node::new(&space, &moved_sequence(&space), "sequence");
    node.daemon(SERVES);
    assert_eq!(node.rpc("IO.puts(Sequence.next())"), "1");
    let crash = "pid = Process.whereis(Sequence.Server); Process.exit(pid, :kill); \
        Enum.find(Stream.repeatedly(fn -> Process.whereis(Sequence.Server) end), &(&1 not in [nil, pid])); IO.puts(Sequence.next())";
    assert_eq!(node.rpc(crash), "2");
    assert_eq!(node.says(&["restart"]), "");
    wait_until("the system began anew", || node.ask(&["rpc", "IO.puts(Sequence.next())"]).out.trim() == "1");
    node.stop();
}

#[test]
fn the_foreground_ends_on_term() {
    let space = TestSpace::new();
    let node = Node::new(&space, &moved_sequence(&space), "sequence");
    let mut child = node.foreground(SERVES);
    assert_eq!(node.says(&["pid"]), child.id().to_string());
    said(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    assert_eq!(child.wait().expect("its status").code(), Some(0));
}

#[test]
fn the_package_holds_the_release_and_boots() {
    let space = TestSpace::new();
    let built = space.sequence("checkout").build();
    let unpacked = space.path("unpacked");
    fs::create_dir(&unpacked).expect("a folder");
    said(Command::new("tar").arg("-xzf").arg(built.package()).arg("-C").arg(&unpacked));
    let (release, package) =
        (support::files::snapshot(&built.release()), support::files::snapshot(&unpacked));
    support::files::assert_same(&release, &package, "the package holds what the release does");
    let node = Node::new(&space, &unpacked, "sequence").with("SEQUENCE_START", "7");
    assert_eq!(node.says(&["eval", "IO.puts(Application.fetch_env!(:sequence, :start))"]), "7");
}

#[test]
fn dependencies_providers_and_protocols_work_in_the_release() {
    let space = TestSpace::new();
    let built = space.shop("checkout").build().release();
    let release = space.path("shop");
    fs::rename(built, &release).expect("moved");
    let node = Node::new(&space, &release, "shop").with("SHOP_MOTD", "hello");
    node.daemon("is_pid(Process.whereis(Shop.Till))");
    let is = |expression: &str, expected: &str| {
        assert_eq!(node.rpc(&format!("IO.inspect({expression})")), expected)
    };
    is("Application.fetch_env!(:shop, :motd)", "\"hello\"");
    is("Application.fetch_env!(:shop, :opening_hours)", "\"9-18\"");
    is("Shop.terms()", "{:eur, 19}");
    is("elem(Shop.total(\"2 x apple @ 0.50; 1 x bread @ 2.25\"), 1).cents", "325");
    is("elem(Shop.sell(\"bread\"), 1).name", "\"bread\"");
    is("Audit.all()", "[sold: \"bread\"]");
    is("Money.Describe.describe(elem(Shop.Catalog.fetch(\"apple\"), 1))", "\"apple at 0.50 EUR\"");
    is(
        "ShopShared.Export.export(elem(Shop.Catalog.fetch(\"apple\"), 1))",
        "%{name: \"apple\", price: %{cents: 50}}",
    );
    is(
        "Enum.all?([Money.Describe, ShopShared.Export, Shop.Basket.Content, Enumerable], &Protocol.consolidated?/1)",
        "true",
    );
    is("match?({:docs_v1, _, _, _, %{\"en\" => _}, _, _}, Code.fetch_docs(Shop))", "true");
    is("Code.ensure_loaded?(Fields)", "false");
    is("File.exists?(Application.app_dir(:shop, \"priv/empty\"))", "true");
    node.stop();
}

#[test]
fn a_release_for_development_runs_on_the_installed_erlang() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    let built = project.build_with(&["--environment", "dev"]);
    let release = built.release();
    assert!(release.ends_with("_build/relgraph/dev/sequence"), "{}", release.display());
    let runtimes = fs::read_dir(&release).expect("a folder").flatten();
    let runtimes = runtimes.filter(|entry| entry.file_name().to_string_lossy().starts_with("erts-")).count();
    assert_eq!(runtimes, 0, "it brings no runtime");
    let path = std::env::var("PATH").expect("PATH");
    let node = Node::new(&space, &release, "sequence").with("PATH", &path).with("SEQUENCE_START", "9");
    node.daemon(SERVES);
    assert_eq!(node.rpc("IO.puts(Sequence.next())"), "9");
    node.stop();
}

#[test]
fn every_command_of_the_scripts_works() {
    let space = TestSpace::new();
    let release = moved_sequence(&space);
    let home = space.path("home");
    fs::create_dir_all(&home).expect("a folder");
    let marked = Marked::new();
    let mut checks = Command::new("sh");
    checks.arg(source("rules/templates/test/cli_test.sh")).arg(&release).arg("as-is");
    checks.env("HOME", &home).envs(&marked.env);
    let said = ask(&mut checks);
    let wrong: Vec<&str> = said.out.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert_eq!(said.status, Some(0), "{}\n{}", wrong.join("\n"), said.err);
    assert!(said.out.lines().filter(|line| line.starts_with("ok ")).count() > 100, "{}", said.out);
}
