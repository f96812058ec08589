//! Remotes as they are configured, and what `doctor` says of them.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::project::Project;
use support::{RELGRAPH, TestSpace};

/// A folder with a release.yaml of one step that needs no toolchain.
fn project(space: &TestSpace, cache: &str) -> Project {
    let dir = space.path("checkout");
    let project = Project::new(dir, space.store());
    project.write("release.yaml", &format!("release: tiny\nversion: \"1\"\n{cache}"));
    project
}

/// What doctor finds, by the names that begin with these.
fn doctor(project: &Project, args: &[&str]) -> Vec<Value> {
    let said = project.ask(&[&["doctor", "--format", "json"], args].concat());
    let report: Value =
        serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}{}", said.out, said.err));
    let checks = report["checks"].as_array().expect("checks").iter();
    checks
        .filter(|it| ["remote", "remotes", "trust"].contains(&it["name"].as_str().unwrap_or("")))
        .cloned()
        .collect()
}

/// A port of 127.0.0.1 where nobody listens.
fn nobody() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// `relgraph cache serve`, until the test ends.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    /// With one token to read and one to read and write.
    fn new(space: &TestSpace) -> Served {
        let token = |name: &str| {
            let file = space.path(name);
            fs::write(&file, format!("{name} {name}-SECRET\n")).expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permissions");
            file
        };
        let mut command = Command::new(RELGRAPH);
        command.args(["cache", "serve", "--listen", "127.0.0.1:0", "--dir"]).arg(space.path("served"));
        command.arg("--read-token-file").arg(token("reader")).arg("--write-token-file").arg(token("writer"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Served { address: address.trim_end_matches([',', ':']).to_owned(), child }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every request in the same way, until the test ends.
fn answering(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serve = move |mut stream: TcpStream| {
        let mut bytes = [0; 4096];
        while stream.read(&mut bytes).is_ok_and(|read| read > 0) {
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

#[test]
fn a_folder_that_works() {
    let space = TestSpace::new();
    let folder = space.path("share");
    fs::create_dir(&folder).expect("a folder");
    let url = format!("file://{}", folder.display());
    let project =
        project(&space, &format!("cache:\n  remotes:\n    - url: {url}\n      access: read-write\n"));
    let found = doctor(&project, &[]);
    assert_eq!(found.len(), 2, "{found:#?}");
    let remote = &found[0];
    assert_eq!(remote["state"], "ok", "{remote:#}");
    let facts = &remote["remote"];
    assert_eq!((&facts["url"], &facts["access"]), (&url.as_str().into(), &"read-write".into()));
    for key in ["reached", "readable", "writable"] {
        assert_eq!(facts[key], true, "{key}: {remote:#}");
    }
    for key in ["round_trip_us", "up_bytes_per_second", "down_bytes_per_second"] {
        assert!(facts[key].is_u64(), "{key}: {remote:#}");
    }
    assert!(facts["clock_ahead_seconds"].as_i64().is_some_and(|ahead| ahead.abs() < 300), "{remote:#}");
    assert_eq!((&found[1]["name"], &found[1]["state"]), (&"trust".into(), &"warning".into()));
    // Whoever only reads finds what was left there, and leaves nothing.
    let listed = || support::said(Command::new("find").arg(&folder));
    let before = listed();
    let found = doctor(&project, &["--remote-access", "read"]);
    assert_eq!(found[0]["remote"]["writable"], Value::Null, "{found:#?}");
    assert!(found[0]["remote"]["down_bytes_per_second"].is_u64(), "{found:#?}");
    assert_eq!(before, listed());
    // A pull request reads one part and writes another; it is one remote.
    let found = doctor(&project.clone().with("CI_MERGE_REQUEST_IID", "17"), &[]);
    assert_eq!((found.len(), &found[0]["remote"]["namespace"]), (2, &"pr/17".into()), "{found:#?}");
}

#[test]
fn remotes_that_do_not_work_are_told_apart() {
    let space = TestSpace::new();
    let project = project(&space, "");
    let denied = answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    let failing = answering("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    let nobody = nobody();
    for (url, note, hint) in [
        (format!("http://127.0.0.1:{nobody}"), "", "does the server run"),
        (format!("grpc://127.0.0.1:{nobody}"), "", "does the server run"),
        (format!("http://127.0.0.1:{denied}"), "401", "RELGRAPH_REMOTE_TOKEN"),
        (format!("http://me:SECRET@127.0.0.1:{denied}"), "401", "does not accept what it was shown"),
        (format!("http://127.0.0.1:{failing}"), "500", "its own log"),
        (format!("file://{}", space.path("nowhere").display()), "nowhere", "mount the folder"),
    ] {
        let found = doctor(&project, &["--remote", &url]);
        let remote = found.iter().find(|it| it["name"] == "remote").expect("a remote");
        assert_eq!(remote["state"], "warning", "{url}: {remote:#}");
        assert!(remote["notes"].to_string().contains(note), "{url}: {remote:#}");
        assert!(remote["hints"].to_string().contains(hint), "{url}: {remote:#}");
        assert!(!format!("{found:?}").contains("SECRET"), "{found:#?}");
    }
}

#[test]
fn the_rights_of_a_token_are_told() {
    let space = TestSpace::new();
    let project = project(&space, "");
    let served = Served::new(&space);
    for scheme in ["http", "grpc"] {
        let url = format!("{scheme}://{}", served.address);
        let looked = |token: &str, access: &str| {
            let with = project.clone().with("RELGRAPH_REMOTE_TOKEN", token);
            let found = doctor(&with, &["--remote", &url, "--remote-access", access]);
            assert!(!format!("{found:?}").contains("SECRET"), "{found:#?}");
            let facts = &found[0]["remote"];
            let state = found[0]["state"].as_str().expect("a state").to_owned();
            (state, facts["readable"].as_bool(), facts["writable"].as_bool(), found[0]["hints"].to_string())
        };
        let (state, readable, writable, hint) = looked("", "read");
        assert_eq!((state.as_str(), readable, writable), ("warning", Some(false), None), "{url}");
        assert!(hint.contains("it wants to know who we are"), "{url}: {hint}");
        let (state, readable, _, hint) = looked("other-SECRET", "read-write");
        assert_eq!((state.as_str(), readable), ("warning", Some(false)), "{url}");
        assert!(hint.contains("does not accept what it was shown"), "{url}: {hint}");
        let (state, readable, writable, hint) = looked("reader-SECRET", "read-write");
        assert_eq!((state.as_str(), readable, writable), ("warning", Some(true), Some(false)), "{url}");
        assert!(hint.contains("the right to read alone"), "{url}: {hint}");
        let (state, readable, writable, _) = looked("reader-SECRET", "read");
        assert_eq!((state.as_str(), readable, writable), ("ok", Some(true), None), "{url}");
        let (state, readable, writable, _) = looked("writer-SECRET", "read-write");
        assert_eq!((state.as_str(), readable, writable), ("ok", Some(true), Some(true)), "{url}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_told() {
    let space = TestSpace::new();
    let project = project(&space, "");
    let port = answering(
        "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n",
    );
    let found = doctor(&project, &["--remote", &format!("http://127.0.0.1:{port}")]);
    assert_eq!(found[0]["state"], "warning", "{found:#?}");
    assert!(found[0]["notes"].to_string().contains("behind this machine"), "{found:#?}");
    assert!(found[0]["hints"].to_string().contains("NTP"), "{found:#?}");
}

#[test]
fn whose_keys_are_trusted_is_told() {
    let space = TestSpace::new();
    let folder = space.path("share");
    fs::create_dir(&folder).expect("a folder");
    let key = "relgraph-key-1:ci:8CQcK0AOJWY0+MlrDt7KBpegkxIMHMSfGFAxXHb4F10";
    let cache =
        format!("cache:\n  remotes: [\"file://{}\"]\n  trusted_keys: [\"{key}\"]\n", folder.display());
    let project = project(&space, &cache);
    let found = doctor(&project, &[]);
    let trust = found.last().expect("trust");
    assert_eq!((&trust["state"], &trust["trust"]["trusted"][0]), (&"ok".into(), &key.into()), "{trust:#}");
    let found = doctor(&project, &["--remote-access", "read-write"]);
    assert!(found.last().expect("trust")["notes"].to_string().contains("is not signed"), "{found:#?}");
    let nothing = doctor(&project, &["--no-remote"]);
    assert_eq!((nothing.len(), &nothing[0]["state"]), (1, &"unused".into()), "{nothing:#?}");
}

#[test]
fn what_is_configured_wrongly_ends_a_build_with_its_place() {
    let space = TestSpace::new();
    let project = project(&space, "cache:\n  remotes:\n    - url: https://a\n      token: SECRET\n");
    let told = project.refused(2);
    for part in ["release.yaml:6:14", "`${CACHE_TOKEN}`", "token:"] {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    assert!(!told.contains("SECRET"), "{told}");
    project.write("release.yaml", "release: tiny\nversion: \"1\"\n");
    let bad = project.clone().with("RELGRAPH_REMOTE", "https://a;access=writ");
    let told = bad.refused(2);
    assert!(told.contains("`RELGRAPH_REMOTE`") && told.contains("read-write"), "{told}");
    // The user's own file: what is wrong in it, and that others can read its secrets.
    let config = space.path("config");
    let project = project.with("XDG_CONFIG_HOME", config.to_str().expect("UTF-8"));
    project.write("../config/relgraph/config.yaml", "cache:\n  remots: []\n");
    let told = project.refused(2);
    assert!(told.contains("config.yaml:2:3") && told.contains("did you mean `remotes`?"), "{told}");
    let text = "cache:\n  credentials:\n    - url: https://a\n      token: SECRET\n";
    project.write("../config/relgraph/config.yaml", text);
    let file = config.join("relgraph/config.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("permissions");
    let found = doctor(&project, &[]);
    assert!(
        found[0]["hints"].to_string().contains("chmod 600") && found[0]["state"] == "warning",
        "{found:#?}"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permissions");
    assert_eq!(doctor(&project, &[])[0]["state"], "unused");
}
