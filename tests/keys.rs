//! `relgraph cache key`: keys are made once, kept for their owner alone, and never shown.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use relgraph_cache::remote::{EntryName, PublicKey, SecretKey, Trust};
use serde_json::Value;
use support::TestSpace;
use support::project::Project;

/// A folder without a project, whose user has a home.
fn user(space: &TestSpace) -> Project {
    let dir = space.path("work");
    fs::create_dir_all(&dir).expect("a folder");
    let home = space.path("home");
    fs::create_dir_all(&home).expect("a folder");
    Project::new(dir, space.store())
        .with("HOME", &home.display().to_string())
        .with("XDG_CONFIG_HOME", &home.join("config").display().to_string())
        .with("USER", "ada")
}

fn secret(path: &Path) -> SecretKey {
    let line = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(line.lines().count(), 1, "{}", path.display());
    SecretKey::parse(&line).expect("a secret key")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn a_key_is_kept_for_its_owner_and_its_public_line_is_said() {
    let space = TestSpace::cold();
    let user = user(&space);
    let said = user.ask(&["cache", "key", "new", "ci"]);
    assert_eq!(said.status, Some(0), "{}", said.err);

    let file = space.path("home/config/relgraph/keys/ci.secret");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().expect("a folder")), 0o700);
    let secret = secret(&file);
    assert_eq!(said.out.lines().next(), Some(secret.public().to_string().as_str()));
    for part in ["trusted_keys:", "signing_key_file:", "RELGRAPH_SIGNING_KEY", &file.display().to_string()] {
        assert!(said.out.contains(part), "{}", said.out);
    }
    let line = secret.expose();
    let hidden = line.rsplit(':').next().expect("a key");
    assert!(!said.out.contains(hidden) && !said.err.contains(hidden));
    assert!(!space.store().exists(), "a store was made");

    // What it says is what others check with.
    let public = PublicKey::parse(said.out.lines().next().unwrap_or_default()).expect("a public key");
    let name = EntryName([1; 32]);
    let sealed = Trust { signer: Some(secret), ..Trust::default() }.seal(&name, b"abc");
    let opened = Trust { trusted: vec![public], signer: None }.open(&name, &sealed).expect("it is believed");
    assert_eq!(opened.signed_by.as_deref(), Some("ci"));
}

#[test]
fn a_key_is_never_overwritten() {
    let space = TestSpace::cold();
    let user = user(&space);
    let made = user.ask(&["cache", "key", "new"]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let file = space.path("home/config/relgraph/keys/ada.secret");
    let before = fs::read(&file).expect("named after the user");
    let again = user.ask(&["cache", "key", "new"]);
    assert_eq!(again.status, Some(2));
    assert!(
        again.err.contains("ada.secret is there already") && again.err.contains("--out FILE"),
        "{}",
        again.err
    );
    assert_eq!(fs::read(&file).expect("a file"), before);
    // Nor is what a link leads to, be it there or not.
    let link = space.path("work/link");
    std::os::unix::fs::symlink("elsewhere", &link).expect("a link");
    assert_eq!(user.ask(&["cache", "key", "new", "other", "--out", "link"]).status, Some(2));
    assert!(!space.path("work/elsewhere").exists());
}

#[test]
fn names_that_messages_could_not_show_are_refused() {
    let space = TestSpace::cold();
    let user = user(&space);
    for name in ["../ci", "a b", "", "ü"] {
        let said = user.ask(&["cache", "key", "new", name]);
        assert_eq!(said.status, Some(2), "{name}: {}", said.err);
        assert!(said.err.contains("letters, digits"), "{}", said.err);
    }
    assert!(!space.path("home/config").exists());
    // A user who is called something else gets a key all the same.
    let said = user.with("USER", "a b").ask(&["cache", "key", "new"]);
    assert!(said.out.starts_with("relgraph-key-1:relgraph:"), "{}{}", said.out, said.err);
}

#[test]
fn keys_are_shown_without_their_secrets() {
    let space = TestSpace::cold();
    let user = user(&space);
    let none = user.ask(&["cache", "key", "show"]);
    assert_eq!(none.status, Some(1));
    assert!(none.err.contains("cache key new"), "{}", none.err);

    let made = user.ask(&["cache", "key", "new", "b", "--format", "json"]);
    let made: Value = serde_json::from_str(&made.out).expect("a report");
    assert_eq!(made["schema"], "relgraph.cache-key/1");
    assert_eq!(made["name"], "b");
    assert_eq!(user.ask(&["cache", "key", "new", "a", "--out", "mine/a.secret"]).status, Some(0));
    let own = secret(&user.dir.join("mine/a.secret"));

    let shown = user.ask(&["cache", "key", "show"]);
    assert_eq!(shown.out, format!("{}\n", made["public"].as_str().expect("a line")));
    let shown = user.ask(&["cache", "key", "show", "b", "mine/a.secret"]);
    assert_eq!(shown.out, format!("{}\n{}\n", made["public"].as_str().expect("a line"), own.public()));

    let in_ci = user.clone().with("RELGRAPH_SIGNING_KEY", &own.expose());
    let shown = in_ci.ask(&["cache", "key", "show", "--format", "json"]);
    let json: Value = serde_json::from_str(&shown.out).expect("a report");
    assert_eq!(json["schema"], "relgraph.cache-keys/1");
    assert_eq!(json["keys"][0]["public"], own.public().to_string());
    assert_eq!(json["keys"][0]["secret_file"], Value::Null);
    assert_eq!(json["keys"][1]["public"], made["public"]);
    assert_eq!(json["keys"][1]["readable_by_others"], false);
    let line = own.expose();
    assert!(!shown.out.contains(line.rsplit(':').next().expect("a key")));
}

#[test]
fn what_is_no_key_is_said_without_repeating_it() {
    let space = TestSpace::cold();
    let user = user(&space);
    user.write("open", &SecretKey::generate("ci").expect("a key").expose());
    fs::set_permissions(user.dir.join("open"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let said = user.ask(&["cache", "key", "show", "./open"]);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(said.out.contains("others can read ./open"), "{}", said.out);

    user.write("torn", "relgraph-secret-1:ci:c2VjcmV0c2VjcmV0");
    for (word, file) in [("torn", "./torn"), ("missing", "./missing"), ("a folder", "../work")] {
        let said = user.ask(&["cache", "key", "show", file]);
        assert_eq!(said.status, Some(2), "{word}: {}", said.err);
        assert!(said.err.contains(file) && !said.err.contains("c2VjcmV0"), "{}", said.err);
    }
    let said = user.with("RELGRAPH_SIGNING_KEY", "c2VjcmV0c2VjcmV0").ask(&["cache", "key", "show"]);
    assert_eq!(said.status, Some(2), "{}", said.out);
    assert!(said.err.contains("$RELGRAPH_SIGNING_KEY") && !said.err.contains("c2VjcmV0"), "{}", said.err);
}
