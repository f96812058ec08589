//! Releases that change their place: in a file, and through a remote by name.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::node::Node;
use support::project::Project;
use support::{Said, TestSpace};

/// A machine that has built nothing: a folder and a store of its own.
fn elsewhere(space: &TestSpace, name: &str) -> Project {
    let dir = space.path(name);
    fs::create_dir_all(&dir).expect("a folder");
    Project::new(dir, &space.path(&format!("{name}-store")))
}

#[track_caller]
fn good(said: Said) -> String {
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    assert_eq!(said.err, "", "nothing to complain of");
    said.out
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The release that `run --release` has put in its place.
fn placed(project: &Project) -> PathBuf {
    let mut folders = fs::read_dir(project.dir.join("_build/relgraph/.versions")).expect("a folder");
    folders.next().expect("a release").expect("a release").path()
}

/// Asserts that the release of examples/sequence is found there by its version, and starts.
fn starts(space: &TestSpace, there: &Project) {
    let shown: Value =
        serde_json::from_str(&good(there.ask(&["show", "sequence@0.1.0", "--format", "json"])))
            .expect("JSON");
    assert_eq!(shown["version"], "0.1.0", "{shown:#}");
    good(there.ask(&["diff", "sequence@0.1.0", "sequence@latest", "--exit-code"]));
    let said = good(there.ask(&["run", "--release", "sequence@0.1.0", "--", "eval", "IO.puts(6 * 7)"]));
    assert_eq!(said.trim(), "42");
    let node = Node::new(space, &placed(there), "sequence").with("SEQUENCE_START", "40");
    node.daemon("is_pid(Process.whereis(Sequence.Server))");
    assert_eq!(node.rpc("IO.puts(Sequence.next())"), "40");
    node.stop();
}

#[test]
fn a_release_is_carried_to_a_machine_without_a_network_and_starts() {
    let space = TestSpace::new();
    let here = space.sequence("checkout");
    here.build();
    let (file, again) = (space.path("release.export"), space.path("again.export"));
    let told = good(here.ask(&["cache", "export", "0.1.0", "--output", text(&file)]));
    assert!(told.contains("not signed") && told.contains("sequence 0.1.0"), "{told}");
    good(here.ask(&["cache", "export", "sequence@latest", "sequence", "-o", text(&again)]));
    assert_eq!(fs::read(&file).expect("read"), fs::read(&again).expect("read"), "the same bytes");
    let there = elsewhere(&space, "there");
    let told = good(there.ask(&["cache", "import", text(&file), "--format", "json"]));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["schema"], &told["signed_by"]), (&"relgraph.cache-import/1".into(), &Value::Null));
    assert_eq!(told["releases"][0]["version"], "0.1.0");
    starts(&space, &there);
    // And from there on to the next.
    good(there.ask(&["cache", "export", "sequence", "-o", text(&again)]));
    assert_eq!(fs::read(&file).expect("read"), fs::read(&again).expect("read"), "the same bytes");
}

#[test]
fn a_file_that_is_damaged_or_of_a_stranger_is_not_taken() {
    let space = TestSpace::new();
    let here = space.sequence("checkout");
    here.build();
    let there = elsewhere(&space, "there").with("XDG_CONFIG_HOME", text(&space.path("config")));
    let key = |name: &str| {
        let made = good(there.ask(&["cache", "key", "new", name, "--format", "json"]));
        let made: Value = serde_json::from_str(&made).expect("JSON");
        let secret = space.path(&format!("config/relgraph/keys/{name}.secret"));
        (made["public"].as_str().expect("a key").to_owned(), fs::read_to_string(secret).expect("a secret"))
    };
    let ((ci, ci_secret), (_, stranger)) = (key("ci"), key("stranger"));
    let written = |name: &str, secret: &str| {
        let file = space.path(name);
        good(here.clone().with("RELGRAPH_SIGNING_KEY", secret).ask(&[
            "cache",
            "export",
            "0.1.0",
            "-o",
            text(&file),
        ]));
        file
    };
    let trusting = there.clone().with("RELGRAPH_TRUSTED_KEYS", &ci);
    let refused = |file: &Path, status: i32, part: &str| {
        let said = trusting.ask(&["cache", "import", text(file)]);
        assert_eq!(said.status, Some(status), "{}{}", said.out, said.err);
        assert!(said.err.contains(part), "{part:?} is not in {}", said.err);
        assert!(!said.err.contains(stranger.trim().rsplit(':').next().expect("a key")), "{}", said.err);
        let status: Value =
            serde_json::from_str(&good(trusting.ask(&["cache", "status", "--format", "json"])))
                .expect("JSON");
        assert_eq!((&status["blobs"]["count"], &status["releases"]), (&0.into(), &0.into()), "{status:#}");
    };
    refused(&written("unsigned", ""), 1, "it is not signed");
    refused(&written("foreign", &stranger), 1, "stranger, which is not trusted here");
    let file = written("signed", &ci_secret);
    let bytes = fs::read(&file).expect("read");
    for (name, bytes) in
        [("cut", &bytes[..bytes.len() / 2]), ("empty", &[]), ("last", &bytes[..bytes.len() - 1])]
    {
        let cut = space.path(name);
        fs::write(&cut, bytes).expect("written");
        let (status, told) =
            if bytes.is_empty() { (2, "not a file that") } else { (1, "nothing was taken of it") };
        refused(&cut, status, told);
    }
    let garbled = space.path("garbled");
    let mut other = bytes.clone();
    other[bytes.len() / 2] ^= 1;
    fs::write(&garbled, other).expect("written");
    refused(&garbled, 1, "damaged");
    refused(&space.path("nowhere"), 2, "nowhere");
    let told = good(trusting.ask(&["cache", "import", text(&file)]));
    assert!(told.contains("signed by ci"), "{told}");
}

#[test]
fn what_is_no_release_is_not_exported() {
    let space = TestSpace::new();
    let here = elsewhere(&space, "here");
    let file = space.path("file");
    for (name, part) in [("1.0.0", "there is no release `1.0.0`"), (".", "is not a release that was built")] {
        let said = here.ask(&["cache", "export", name, "-o", text(&file)]);
        assert_eq!(said.status, Some(2), "{}{}", said.out, said.err);
        assert!(said.err.contains(part) && !file.exists(), "{}", said.err);
    }
    assert_eq!(here.ask(&["cache", "export"]).status, Some(2));
    let said = here.ask(&["cache", "push", "1.0.0"]);
    assert!(said.status == Some(2) && said.err.contains("no remote that is written to"), "{}", said.err);
    let said = here.ask(&["cache", "pull", "1.0.0"]);
    assert!(said.status == Some(2) && said.err.contains("there is no remote"), "{}", said.err);
}

#[test]
fn a_release_goes_through_a_remote_by_its_version_and_starts_without_it() {
    let space = TestSpace::new();
    let here = space.sequence("checkout");
    here.build();
    let share = space.path("share");
    fs::create_dir(&share).expect("a folder");
    let url = format!("file://{}", share.display());
    let said =
        here.ask(&["cache", "push", "0.1.0", "--quiet", "--remote", &format!("{url};access=read-write")]);
    assert_eq!(good(said), "");
    let there = elsewhere(&space, "there");
    let told = good(there.ask(&["cache", "pull", "sequence@0.1.0", "--remote", &url]));
    assert!(told.contains("sequence 0.1.0"), "{told}");
    fs::remove_dir_all(&share).expect("removed");
    starts(&space, &there);
}
