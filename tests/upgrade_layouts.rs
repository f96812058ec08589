//! Upgrades of releases that are not laid out for it, or that relgraph has not made: what works, and what is said of the rest.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::node::Node;
use support::project::Project;
use support::{TestSpace, files, said};

/// The examples without `upgrades: hot`, in both versions.
fn plain(space: &TestSpace) -> (Project, Project) {
    let both = [space.example("sequence", "one"), space.example("sequence-0.2.0", "two")];
    for project in &both {
        project.edit("release.yaml", "upgrades: hot\n", "");
    }
    let [old, new] = both;
    (old, new)
}

fn made(project: &Project, old: &Path, new: &Path) -> serde_json::Value {
    let (old, new) = (old.display().to_string(), new.display().to_string());
    let asked = project.ask(&["upgrade", &old, &new, "--output", "up.tar.gz", "--format", "json"]);
    assert_eq!(asked.status, Some(0), "{}{}", asked.out, asked.err);
    serde_json::from_str(&asked.out).expect("JSON")
}

const SERVES: &str = "is_pid(Process.whereis(Sequence.Server))";

/// To 0.2.0, with its protocols and its configuration, and permanent.
fn upgraded(node: &Node, package: &Path) {
    node.daemon(SERVES);
    assert_eq!(node.rpc("IO.puts(Sequence.next_label())"), "number 40");
    node.says(&["upgrade", &package.display().to_string()]);
    let now =
        "IO.inspect({Sequence.next(), Sequence.recent_label(), Application.get_env(:sequence, :start)})";
    assert_eq!(node.rpc(now), "{41, \"#41\", 40}");
}

#[test]
fn the_layout_of_mix_is_upgraded_with_its_protocols() {
    let space = TestSpace::new();
    let (one, two) = plain(&space);
    let (old, new) = (one.build().release(), two.build().release());
    let upgrade = made(&two, &old, &new);
    let notes = upgrade["ways"][0]["notes"].to_string();
    assert!(notes.contains("0.1.0 is not laid out for hot upgrades (`upgrades: hot`)"), "{notes}");
    let release = space.path("running");
    files::copy(&old, &release);
    let node = Node::new(&space, &release, "sequence").with("SEQUENCE_START", "40");
    upgraded(&node, &two.dir.join("up.tar.gz"));
    node.says(&["downgrade", "0.1.0"]);
    assert_eq!(node.rpc("IO.puts(Sequence.next_label())"), "number 42");
    node.says(&["upgrade", "0.2.0"]);
    node.stop();
    node.daemon(SERVES);
    assert_eq!(node.rpc("IO.puts(Sequence.next_label())"), "#40");
    node.stop();
}

/// What `mix release` itself makes.
fn by_mix(space: &TestSpace, project: &Project) -> PathBuf {
    let to = space.path("by-mix");
    let mut mix = Command::new("mix");
    mix.args(["release", "--path"]).arg(&to).current_dir(&project.dir).env("MIX_ENV", "prod");
    said(mix.env("HOME", space.path("home-of-mix")));
    to
}

#[test]
fn a_node_that_mix_made_is_moved_to_a_release_of_ours_and_told_what_it_cannot_do() {
    let space = TestSpace::new();
    let (one, two) = plain(&space);
    let old = by_mix(&space, &one);
    two.append("release.yaml", "upgrades: hot");
    let new = two.build().release();
    let upgrade = made(&two, &old, &new);
    let notes = upgrade["ways"][0]["notes"].to_string();
    for word in ["0.1.0 has no releases/RELEASES", "0.1.0 was not made by relgraph"] {
        assert!(notes.contains(word), "no {word} in {notes}");
    }
    // Its own script knows of no upgrades; that of the new release does.
    let node = Node::new(&space, &old, "sequence").with("SEQUENCE_START", "40");
    let package = two.dir.join("up.tar.gz");
    let asked = node.ask(&["upgrade", &package.display().to_string()]);
    assert_eq!(asked.status, Some(1), "{}{}", asked.out, asked.err);
    fs::copy(new.join("bin/sequence"), old.join("bin/sequence")).expect("copied");
    upgraded(&node, &package);
    node.stop();
    node.daemon(SERVES);
    assert_eq!(node.rpc("IO.puts(Sequence.next_label())"), "#40", "the new version is the one that starts");
    node.stop();
}
