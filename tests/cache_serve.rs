//! `relgraph cache serve` as a team has it: clients of others hit it, signals reach it, and it says what is wrong.

#[path = "support/serving.rs"]
mod serving;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serving::{Cache, noise, sha256};
use support::{RELGRAPH, Said, TestSpace, ask, is_root, said, wait_until};

const ENTRY: &str = "/ac/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The workspace of Bazel: one rule that needs the other, and nothing that has to be fetched.
const BUILD: &str = r#"
genrule(name = "one", outs = ["one.txt"], cmd = "echo one > $@")
genrule(name = "two", srcs = [":one"], outs = ["two.txt"], cmd = "cat $< $< > $@")
"#;

/// Builds the workspace with a fresh output base. Tells how the actions ran.
fn bazel(space: &TestSpace, name: &str, flags: &[&str]) -> String {
    let workspace = space.path("workspace");
    fs::create_dir_all(&workspace).unwrap();
    fs::write(workspace.join("WORKSPACE"), "").unwrap();
    fs::write(workspace.join("BUILD"), BUILD).unwrap();
    let mut bazel = Command::new("bazel");
    // What /etc/bazel/bazelrc of Debian says, which not every user can read, and nothing of the user's.
    bazel.args(["--nohome_rc", "--nosystem_rc", "--install_base=/usr/share/bazel", "--trust_install_base"]);
    bazel.arg("--batch").arg(format!("--output_user_root={}", space.path(name).display()));
    bazel.args(["build", "//:two", "--host_javabase=@local_jdk//:jdk", "--color=no", "--curses=no"]);
    bazel.args(flags).current_dir(&workspace).env("JAVA_HOME", java_17());
    let output = bazel.output().expect("bazel has to be installed: Debian's package bazel-bootstrap");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert_eq!(fs::read_to_string(workspace.join("bazel-bin/two.txt")).unwrap(), "one\none\n");
    let processes =
        text.lines().find(|line| line.contains(" processes: ")).unwrap_or_else(|| panic!("{text}"));
    processes.to_owned()
}

/// Bazel 4 does not know newer ones.
fn java_17() -> PathBuf {
    let found = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_17 = |path: &PathBuf| {
        path.to_string_lossy().contains("java-17-openjdk") && path.join("bin/javac").exists()
    };
    found
        .into_iter()
        .find(is_17)
        .expect("a JDK of Java 17 has to be installed: Debian's package openjdk-17-jdk-headless")
}

#[test]
fn bazel_hits_it_over_both_protocols() {
    let space = TestSpace::cold();
    let cache = Cache::start(&space.path("serve"), &[]);
    let (grpc, http) = (
        format!("--remote_cache=grpc://{}", cache.address),
        format!("--remote_cache=http://{}", cache.address),
    );
    let both = "3 processes: 2 remote cache hit, 1 internal.";
    let first = bazel(&space, "a", &[&grpc]);
    assert!(!first.contains("hit"), "{first}");
    assert!(bazel(&space, "b", &[&grpc]).contains(both));
    assert!(bazel(&space, "c", &[&http]).contains(both));
    let other = bazel(&space, "d", &[&grpc, "--remote_instance_name=pr/7"]);
    assert!(!other.contains("hit"), "{other}");
    assert_eq!(cache.metric("relgraph_cache_hits_total{what=\"entry\""), 4.0);
    assert_eq!(cache.metric("relgraph_cache_stored_total{what=\"entry\""), 4.0);
}

#[test]
fn bazel_shows_its_token() {
    let space = TestSpace::cold();
    let tokens = token_file(&space, "w", "ci s3cret\n");
    let cache = Cache::start(&space.path("serve"), &["--write-token-file", &tokens]);
    let remote = format!("--remote_cache=http://{}", cache.address);
    let reader = bazel(&space, "a", &[&remote, "--noremote_upload_local_results"]);
    let writer = bazel(&space, "b", &[&remote, "--remote_header=Authorization=Bearer s3cret"]);
    assert!(!reader.contains("hit") && !writer.contains("hit"), "{reader} {writer}");
    assert!(bazel(&space, "c", &[&remote]).contains("2 remote cache hit"));
    assert_eq!(cache.metric("relgraph_cache_stored_total{what=\"entry\",token=\"ci\"}"), 2.0);
}

#[test]
fn ccache_hits_it() {
    let space = TestSpace::cold();
    let tokens = token_file(&space, "w", "ci s3cret\n");
    let cache = Cache::start(&space.path("serve"), &["--write-token-file", &tokens]);
    fs::write(space.path("a.c"), "int main(void) { return 0; }\n").unwrap();
    let compile = |name: &str| {
        let mut ccache = Command::new("ccache");
        ccache.args(["cc", "-c", "a.c", "-o"]).arg(format!("{name}.o")).current_dir(space.path("."));
        ccache.env("CCACHE_DIR", space.path(name)).env("CCACHE_CONFIGPATH", space.path("none"));
        let storage = format!("http://ci:s3cret@{}|layout=bazel", cache.address);
        ccache.env("CCACHE_REMOTE_STORAGE", &storage).env("CCACHE_SECONDARY_STORAGE", &storage);
        let done = ccache.status().expect("ccache has to be installed: Debian's package ccache");
        assert!(done.success());
        fs::read(space.path(&format!("{name}.o"))).unwrap()
    };
    let made = compile("a");
    let stored = cache.metric("relgraph_cache_stored_total{what=\"entry\"");
    assert!(stored >= 1.0 && cache.metric("relgraph_cache_hits_total{what=\"entry\"") == 0.0);
    assert_eq!(compile("b"), made);
    assert_eq!(cache.metric("relgraph_cache_hits_total{what=\"entry\""), stored);
    assert_eq!(cache.metric("relgraph_cache_stored_total{what=\"entry\""), stored);
}

fn token_file(space: &TestSpace, name: &str, text: &str) -> String {
    let path = space.path(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[test]
fn it_says_where_it_is_and_ends_when_told() {
    let space = TestSpace::cold();
    let cache = Cache::start(&space.path("serve"), &["--max-size", "5MB"]);
    assert_eq!(cache.said["schema"], "relgraph.cache-serve/1");
    assert_eq!(cache.said["http"], format!("http://{}", cache.address));
    assert_eq!(cache.said["grpc"], format!("grpc://{}", cache.address));
    assert_eq!((&cache.said["read"], &cache.said["write"]), (&"everybody".into(), &"everybody".into()));
    assert_eq!((&cache.said["budget_bytes"], &cache.said["entries"]), (&5_000_000.into(), &0.into()));
    assert_eq!(cache.put(ENTRY, b"value"), 201);
    let dir = space.path("serve");
    // Another one on the same folder, and one on the same port.
    let other = serve(&["--dir", &dir.join("cache").display().to_string()]);
    assert_eq!(other.status, Some(1));
    assert!(
        other.err.contains("is in use by another server") && other.err.contains("hint: stop the other"),
        "{other:?}"
    );
    let listen = cache.address.to_string();
    let other = serve(&["--dir", &space.path("other").display().to_string(), "--listen", &listen]);
    assert!(other.status == Some(1) && other.err.contains("cannot listen on 127.0.0.1"), "{other:?}");
    assert_eq!(cache.err(), "", "it says nothing else");
    assert_eq!(cache.stop().code(), Some(0));
    let again = Cache::start(&dir, &["--log"]);
    assert_eq!((&again.said["entries"], again.get(ENTRY)), (&1.into(), (200, b"value".to_vec())));
    wait_until("the request is in the log", || again.err().contains(&format!(" anonymous GET {ENTRY} 200 ")));
}

/// Starts a server that does not come to be.
fn serve(args: &[&str]) -> Said {
    ask(Command::new(RELGRAPH).args(["cache", "serve"]).args(args))
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let space = TestSpace::cold();
    let (dir, home) = (space.path("cache").display().to_string(), space.path(".").display().to_string());
    let tokens = token_file(&space, "t", "a b s3cret\n");
    fs::write(space.path("no.pem"), "no").unwrap();
    let pem = space.path("no.pem").display().to_string();
    let cases: [(&[&str], &str, &str); 8] = [
        (&["--dir", &home], "is not empty", "hint: pass another folder with --dir"),
        (&["--dir", &dir, "--read-token-file", &tokens], "t:1: a line is `NAME TOKEN`", "hint: "),
        (&["--dir", &dir, "--read-token-file", "/none"], "cannot read /none", ""),
        (&["--dir", &dir, "--write-token-file", "../x=/none"], "cannot read ../x=/none", ""),
        (&["--dir", &dir, "--write-token-file", "x y=/none"], "the name of a partition has", ""),
        (
            &["--dir", &dir, "--tls-cert", &pem, "--tls-key", &pem],
            "there is no certificate in it",
            "hint: certificates",
        ),
        (&["--dir", &dir, "--tls-cert", &pem], "--tls-key", ""),
        (&["--dir", &dir, "--listen", "nonsense"], "an address and a port are expected", ""),
    ];
    for (args, message, hint) in cases {
        let said = serve(args);
        assert!(matches!(said.status, Some(1 | 2)), "{args:?}: {said:?}");
        assert!(said.err.contains(message) && said.err.contains(hint), "{args:?}: {}", said.err);
        assert!(!said.err.contains("s3cret"), "{}", said.err);
    }
}

#[test]
fn tokens_are_read_again_at_a_signal() {
    let space = TestSpace::cold();
    let (readers, writers) = (token_file(&space, "r", "ann one\n"), token_file(&space, "w", "pr two\n"));
    let bound = format!("pr={writers}");
    let cache = Cache::start(
        &space.path("serve"),
        &["--read-token-file", &readers, "--write-token-file", &bound, "--log"],
    );
    let get = |token: &str| cache.ask("GET", ENTRY, &format!("authorization: Bearer {token}\r\n"), b"").0;
    assert_eq!((&cache.said["read"], &cache.said["write"]), (&"tokens".into(), &"tokens".into()));
    let put = |path: &str| cache.ask("PUT", path, "authorization: Bearer two\r\n", b"x").0;
    assert_eq!((put(ENTRY), put(&format!("/pr{ENTRY}"))), (403, 201));
    assert_eq!((get("one"), get("three"), cache.get("/").0), (404, 401, 401));
    token_file(&space, "r", "bob three\n");
    cache.signal(Signal::SIGHUP);
    wait_until("the new token counts", || get("three") == 404);
    assert_eq!(get("one"), 401);
    wait_until("it says so", || cache.err().contains("read tokens and certificates again"));
    for token in ["one", "two", "three"] {
        assert!(!cache.err().contains(&format!("Bearer {token}")));
    }
    assert_eq!(cache.stop().code(), Some(0));
}

/// Words that start a server whose folder is a small file system of its own.
fn on_a_small_disk(dir: &Path, megabytes: u32) -> Vec<String> {
    let flags = if is_root() { "-m" } else { "-Urm" };
    let script = format!("mount -t tmpfs -o size={megabytes}m small \"$0\" && exec \"$@\"");
    ["unshare", flags, "sh", "-c", &script, &dir.display().to_string()].map(str::to_owned).into()
}

#[test]
fn a_full_disk_refuses_uploads_and_nothing_else() {
    let space = TestSpace::cold();
    let dir = space.path("serve");
    fs::create_dir_all(dir.join("cache")).unwrap();
    let by = on_a_small_disk(&dir.join("cache"), 16);
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    let blobs: Vec<Vec<u8>> = (0..30).map(|seed| noise(seed, 1 << 20)).collect();
    let path = |bytes: &[u8]| format!("/cas/{}", sha256(bytes));
    // The budget is larger than the disk, and nothing may go.
    let cache = Cache::start_by(&by, &dir, &["--max-size", "1GB", "--grace", "1h", "--lease", "1h"]);
    assert_eq!(cache.put(ENTRY, b"value"), 201);
    let statuses: Vec<u16> = blobs.iter().map(|bytes| cache.put(&path(bytes), bytes)).collect();
    let stored = statuses.iter().filter(|status| **status == 201).count();
    assert!(stored > 8 && stored < 17, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 507].contains(status)), "{statuses:?}");
    for (bytes, status) in blobs.iter().zip(&statuses) {
        let got = cache.get(&path(bytes));
        assert!(if *status == 201 { got == (200, bytes.clone()) } else { got.0 == 404 });
    }
    assert_eq!(cache.get(ENTRY), (200, b"value".to_vec()));
    assert_eq!(cache.stop().code(), Some(0));
    // What may go makes room.
    let cache = Cache::start_by(&by, &dir, &["--max-size", "1GB", "--grace", "0", "--lease", "0"]);
    for bytes in &blobs {
        assert_eq!(cache.put(&path(bytes), bytes), 201);
        assert!(cache.get(&path(bytes)) == (200, bytes.clone()));
    }
    assert!(cache.metric("relgraph_cache_evictions_total") > 10.0);
    assert!(!cache.err().contains("panicked"), "{}", cache.err());
}

#[test]
fn the_help_names_what_matters() {
    let help = said(Command::new(RELGRAPH).args(["cache", "serve", "--help"]));
    for flag in
        ["--dir", "--listen", "--max-size", "--read-token-file", "--write-token-file", "--tls-cert", "--log"]
    {
        assert!(help.contains(flag), "{flag}");
    }
}
