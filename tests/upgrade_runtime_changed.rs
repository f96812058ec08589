//! Upgrades to another runtime system or another Elixir: they take effect at the next start, and say so.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::node::Node;
use support::pair::{Pair, application};
use support::{TestSpace, said};

/// Replaces a text in every file of a folder that is text, but for modules.
fn replace(folder: &Path, from: &str, to: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            replace(&path, from, to);
        } else if let Ok(text) = fs::read_to_string(&path)
            && text.contains(from)
        {
            let mode = fs::metadata(&path).expect("its mode").permissions();
            fs::write(&path, text.replace(from, to)).expect("written");
            fs::set_permissions(&path, mode).expect("its mode");
        }
    }
}

/// The release as it would be with another version of a part, whose code is the same.
fn with(release: &Path, rename: (String, String), texts: &[(String, String)]) {
    fs::rename(release.join(&rename.0), release.join(&rename.1)).expect("renamed");
    for (from, to) in texts {
        replace(&release.join("releases"), from, to);
        replace(&release.join(&rename.1).join("ebin"), from, to);
    }
    let folder = release.join("releases/0.2.0");
    for name in ["start", "start_clean"] {
        let script = folder.join(name).display().to_string();
        let make = format!("ok = systools:script2boot({script:?}), halt().");
        said(Command::new("erl").args(["-noshell", "-eval", &make]));
    }
}

fn version_of(folder: &Path, prefix: &str) -> String {
    let names = fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|e| e.file_name().into_string().expect("a name"));
    let found = names.filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).next();
    found.unwrap_or_else(|| panic!("no {prefix} in {}", folder.display()))
}

fn pair(space: &TestSpace) -> Pair {
    let callback = application("still", "");
    let files = [
        ("lib/still.ex", "defmodule Still do\n  def version, do: 1\nend\n"),
        ("lib/application.ex", &callback),
    ];
    Pair::new(space, "still", &files, |project| project.edit("lib/still.ex", "1", "2"))
}

/// Upgrades a running node, which goes on; starts it anew, which brings the new version; and back.
fn at_the_next_start(space: &TestSpace, pair: &Pair, why: &str) {
    let upgrade = pair.upgrade();
    assert_eq!(upgrade["ways"][0]["way"], "restart_vm", "{upgrade}");
    assert!(upgrade["ways"][0]["notes"].to_string().contains(why), "no {why} in {upgrade}");
    let text = pair.ask(&[]);
    assert!(text.out.contains("the runtime system has to be restarted"), "{}", text.out);
    let node = Node::new(space, &pair.old, "still");
    node.daemon("is_pid(Process.whereis(Still.Supervisor))");
    let pid = node.says(&["pid"]);
    let said = node.says(&["upgrade", &pair.package().display().to_string()]);
    assert!(said.contains("takes effect at the next start"), "{said}");
    assert_eq!((node.says(&["pid"]), node.rpc("IO.puts(Still.version())")), (pid, "1".to_owned()));
    node.stop();
    node.daemon("is_pid(Process.whereis(Still.Supervisor))");
    assert_eq!(node.rpc("IO.puts(Still.version())"), "2");
    assert!(node.says(&["releases"]).contains("0.2.0 permanent"));
    node.says(&["downgrade", "0.1.0"]);
    node.stop();
    node.daemon("is_pid(Process.whereis(Still.Supervisor))");
    assert_eq!(node.rpc("IO.puts(Still.version())"), "1");
    node.stop();
}

#[test]
fn another_elixir_takes_effect_at_the_next_start() {
    let space = TestSpace::new();
    let pair = pair(&space);
    let release = pair.project.release("still");
    let old = version_of(&release.join("lib"), "elixir-");
    let new = format!("{old}.99");
    let texts = [
        (format!("elixir-{old}"), format!("elixir-{new}")),
        (format!("{{elixir,\"{old}\""), format!("{{elixir,\"{new}\"")),
        (format!("{{vsn,\"{old}\"}}"), format!("{{vsn,\"{new}\"}}")),
    ];
    with(&release, (format!("lib/elixir-{old}"), format!("lib/elixir-{new}")), &texts);
    at_the_next_start(&space, &pair, &format!("elixir {old} -> {new}"));
}

#[test]
fn another_runtime_system_takes_effect_at_the_next_start() {
    let space = TestSpace::new();
    let pair = pair(&space);
    let release = pair.project.release("still");
    let old = version_of(&release, "erts-");
    let new = format!("{old}.99");
    with(&release, (format!("erts-{old}"), format!("erts-{new}")), &[(old.clone(), new.clone())]);
    at_the_next_start(&space, &pair, &format!("the runtime system is another: {old} -> {new}"));
}
