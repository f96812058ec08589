//! What cannot be fetched, or may not be: said in a sentence, with what to do. Nothing here is compiled: `plan` fetches what
//! Mix has to see, and runs nothing else.

mod support;

use std::fs;
use std::path::PathBuf;

use support::hex::{Package, Reply, Server, lock};
use support::project::Project;
use support::small::project;
use support::{Said, TestSpace};

/// A package of which every test needs one that no other test has fetched: the store is shared.
fn salt(version: &'static str) -> Package {
    Package {
        name: "salt",
        version,
        tools: &["mix"],
        needs: &[],
        files: &[
            ("mix.exs", "defmodule Salt.MixProject do\nend\n"),
            ("lib/salt.ex", "defmodule Salt do\nend\n"),
        ],
        repo: "hexpm",
    }
}

/// A project that needs salt and nothing else.
fn kitchen(space: &TestSpace, locked: &str) -> Project {
    kitchen_with(space, "{:salt, \"~> 1.0\"}", locked)
}

fn kitchen_with(space: &TestSpace, dependency: &str, locked: &str) -> Project {
    let mix = format!(
        "defmodule Kitchen.MixProject do\n  use Mix.Project\n\n  def project do\n    [app: :kitchen, version: \"0.1.0\", deps: \
         [{dependency}]]\n  end\nend\n"
    );
    let kitchen = project(space, "kitchen", "kitchen", &[("mix.exs", &mix)]);
    kitchen.write("mix.lock", locked);
    kitchen
}

fn planned(project: &Project) -> Said {
    project.ask(&["plan", "--all"])
}

#[track_caller]
fn assert_fetched(project: &Project) {
    let said = planned(project);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(said.out.contains("fetch salt"), "{}", said.out);
}

#[track_caller]
fn assert_refused(said: &Said, status: i32, parts: &[&str]) {
    assert_eq!(said.status, Some(status), "{}{}", said.out, said.err);
    for part in parts {
        assert!(said.err.contains(part), "{part:?} is not in:\n{}", said.err);
    }
    for never in ["panicked", "/relgraph/", "s3cret"] {
        assert!(!said.err.contains(never), "{never:?} is in:\n{}", said.err);
    }
}

#[test]
fn servers_that_have_it_not_or_not_right() {
    let space = TestSpace::new();
    let server = Server::new();
    let package = salt("1.0.1");
    let project = kitchen(&space, &lock(std::slice::from_ref(&package)))
        .with("HEX_MIRROR_URL", &server.url)
        .with("HEX_HTTP_TIMEOUT", "1");
    let address = format!("{}/tarballs/salt-1.0.1.tar", server.url);
    let there_is_none = format!("there is no salt 1.0.1 at {address}");
    assert_refused(&planned(&project), 1, &["step `fetch salt` failed", &there_is_none, "hint"]);
    let other = salt("1.0.2");
    server.reply(&package.path(), Reply::Bytes(other.tarball()));
    let not_it = ["the package salt 1.0.1 is not the one that was locked", &other.outer(), &package.outer()];
    assert_refused(&planned(&project), 1, &not_it);
    server.reply(&package.path(), Reply::Half(package.tarball()));
    assert_refused(&planned(&project), 1, &["step `fetch salt` failed", &address]);
    server.asked();
    server.reply(&package.path(), Reply::Silence);
    assert_refused(&planned(&project), 1, &["cannot be fetched", "timeout", "HEX_HTTP_TIMEOUT"]);
    assert_eq!(server.asked().len(), 3, "it is tried again");
    server.reply(&package.path(), Reply::Status(500));
    assert_refused(&planned(&project), 1, &["answered with status 500"]);
    server.reply(&package.path(), Reply::AtFirst(503, 2, package.tarball()));
    assert_fetched(&project);
    server.asked();
    assert_fetched(&project);
    assert!(server.asked().is_empty(), "what is in the store is not fetched again");
}

#[test]
fn servers_that_are_not_there_and_proxies_that_are() {
    let space = TestSpace::new();
    let package = salt("1.1.0");
    let project = kitchen(&space, &lock(std::slice::from_ref(&package)));
    let nowhere = project.clone().with("HEX_MIRROR", "http://me:s3cret@127.0.0.1:1/");
    assert_refused(
        &planned(&nowhere),
        1,
        &["http://127.0.0.1:1/tarballs/salt-1.1.0.tar cannot be fetched", "--offline"],
    );
    let server = Server::with(&[package]);
    let proxied = nowhere.clone().with("http_proxy", &server.url).with("no_proxy", "127.0.0.1");
    assert_refused(&planned(&proxied), 1, &["cannot be fetched"]);
    let moved = Server::new();
    moved.reply("/tarballs/salt-1.1.0.tar", Reply::Moved(format!("{}/tarballs/salt-1.1.0.tar", server.url)));
    assert_fetched(&project.with("HEX_MIRROR", &moved.url));
}

#[test]
fn offline_means_that_nothing_is_asked() {
    let space = TestSpace::new();
    let package = salt("1.2.0");
    let server = Server::with(std::slice::from_ref(&package));
    let project = kitchen(&space, &lock(std::slice::from_ref(&package))).with("HEX_MIRROR", &server.url);
    let said = project.ask(&["build", "--offline"]);
    let missing = "`salt` (salt 1.2.0) is neither in deps/ nor in the store, and --offline was given";
    assert_refused(&said, 1, &[missing, "run `mix deps.get`"]);
    let by_hex = project.clone().with("HEX_OFFLINE", "1");
    assert_refused(&planned(&by_hex), 1, &["neither in deps/ nor in the store", "HEX_OFFLINE"]);
    assert!(server.asked().is_empty());
    // What Hex has downloaded before is there.
    let home = space.path("hex-home");
    let kept = home.join("packages/hexpm/salt-1.2.0.tar");
    fs::create_dir_all(kept.parent().expect("a folder")).expect("a folder");
    fs::write(&kept, b"something else").expect("a file");
    let with_cache = by_hex.with("HEX_HOME", &home.display().to_string());
    assert_refused(&planned(&with_cache), 1, &["neither in deps/ nor in the store"]);
    fs::write(&kept, package.tarball()).expect("a file");
    assert_fetched(&with_cache);
    assert!(server.asked().is_empty());
}

#[test]
fn private_packages_want_a_key_that_nobody_sees() {
    let space = TestSpace::new();
    let mut package = salt("1.3.0");
    package.repo = "hexpm:acme";
    let server = Server::new();
    server.reply(&package.path(), Reply::Keyed("s3cret", package.tarball()));
    assert_eq!(package.path(), "/repos/acme/tarballs/salt-1.3.0.tar");
    let project = kitchen_with(
        &space,
        "{:salt, \"~> 1.0\", organization: \"acme\"}",
        &lock(std::slice::from_ref(&package)),
    );
    let mirror = project.clone().with("HEX_MIRROR", &server.url);
    let wants = ["salt 1.3.0 cannot be fetched", "wants a key", "mix hex.organization auth acme"];
    assert_refused(&planned(&mirror), 1, &wants);
    // A mirror that is not said to be trusted gets no key of the user's.
    assert_refused(&planned(&mirror.clone().with("HEX_REPOS_KEY", "s3cret")), 1, &["wants a key"]);
    assert!(server.keys().values().all(Option::is_none));
    let trusted = project.with("HEX_TRUSTED_MIRROR", &server.url);
    let wrong = trusted.clone().with("HEX_REPOS_KEY", "s3cret-but-wrong");
    assert_refused(&planned(&wrong), 1, &["does not accept the key"]);
    // The organisation's own key, as Hex stores it, goes with the package wherever that is.
    let home = space.path("hex-home");
    fs::create_dir_all(&home).expect("a folder");
    let config = "{'$repos',#{<<\"hexpm:acme\">> => #{auth_key => <<\"s3cret\">>}}}.\n";
    fs::write(home.join("hex.config"), config).expect("a file");
    assert_fetched(&mirror.with("HEX_HOME", &home.display().to_string()));
    for file in support::files::all_files(space.store()) {
        let bytes = fs::read(&file).expect("a file");
        assert!(!bytes.windows(6).any(|window| window == b"s3cret"), "{}", file.display());
    }
}

#[test]
fn repositories_of_the_users_own() {
    let space = TestSpace::new();
    let mut package = salt("1.4.0");
    package.repo = "pantry";
    let server = Server::with(std::slice::from_ref(&package));
    let project = kitchen_with(&space, "{:salt, \"~> 1.0\", repo: \"pantry\"}", &lock(&[package]));
    let unknown = ["salt 1.4.0 is locked to come from `pantry`", "not known", "mix hex.repo add"];
    assert_refused(&planned(&project), 1, &unknown);
    let home = space.path("hex-home");
    fs::create_dir_all(&home).expect("a folder");
    let config = format!("{{'$repos',#{{<<\"pantry\">> => #{{url => <<\"{}\">>}}}}}}.\n", server.url);
    fs::write(home.join("hex.config"), config).expect("a file");
    let project = project.with("HEX_HOME", &home.display().to_string());
    assert_fetched(&project);
    fs::write(home.join("hex.config"), "{'$repos',#{<<\"pantry\">> => s3cret").expect("a file");
    let mut other = salt("1.4.1");
    other.repo = "pantry";
    project.write("mix.lock", &lock(&[other]));
    assert_refused(&planned(&project), 1, &["hex.config cannot be read: line 1", "mix hex.config"]);
}

#[test]
fn locks_that_say_too_little_or_something_else() {
    let space = TestSpace::new();
    let package = salt("1.5.0");
    let server = Server::with(std::slice::from_ref(&package));
    let project = kitchen(&space, "%{}\n").with("HEX_MIRROR", &server.url);
    let unlocked =
        ["dependency `salt`", "mix.lock does not name it", "run `mix deps.get` to lock and fetch it"];
    assert_refused(&planned(&project), 2, &unlocked);
    fs::remove_file(project.dir.join("mix.lock")).expect("removed");
    assert_refused(&planned(&project), 2, &["there is no mix.lock", "mix deps.get"]);
    let mix = project.read("mix.exs");
    project.edit("mix.exs", "{:salt,", "{:pepper, \"~> 1.0\"}, {:salt,");
    let both = planned(&project);
    assert_refused(&both, 2, &["2 dependencies are not there: `pepper`, `salt`"]);
    assert_eq!(both.err.matches("error:").count(), 1, "{}", both.err);
    project.write("mix.exs", &mix);
    project.write("mix.lock", "%{\n  \"salt\": {:hex, :salt, \"1.5.0\"},\n}\n");
    assert_refused(&planned(&project), 1, &["no checksum for `salt` (salt 1.5.0)", "mix deps.get"]);
    project.write("mix.lock", "%{\n<<<<<<< HEAD\n=======\n>>>>>>> other\n}\n");
    assert_refused(&planned(&project), 2, &["mix.lock:2:1", "conflicts that were not resolved"]);
    project.write("mix.lock", "%{\n  \"salt\": {:hex, :salt, \"1.5.0\",\n");
    assert_refused(&planned(&project), 2, &["mix.lock:3", "end of the file"]);
    project.write("mix.lock", "%{\n  \"salt\": {:svn, \"somewhere\"},\n}\n");
    assert_refused(&planned(&project), 1, &["locked as `svn`", "mix deps.get"]);
    // A lock that older versions of Hex wrote has the inner checksum only.
    let old =
        format!("%{{\n  \"salt\": {{:hex, :salt, \"1.5.0\", \"{}\", [:mix], []}},\n}}\n", package.inner());
    project.write("mix.lock", &old);
    assert_fetched(&project);
    project.write("mix.lock", &lock(&[package]));
    project.edit("mix.exs", "~> 1.0", "~> 2.0");
    let requires =
        ["mix.lock:2:3", "~> 2.0", "1.5.0", "does not match the requirement", "mix deps.update salt"];
    assert_refused(&planned(&project), 2, &requires);
}

#[test]
fn what_lies_in_deps_is_built_only_when_it_is_what_is_locked() {
    let space = TestSpace::new();
    let (old, new) = (salt("1.6.0"), salt("1.6.1"));
    let server = Server::with(&[old.clone(), new.clone()]);
    let project = kitchen(&space, &lock(std::slice::from_ref(&old))).with("HEX_MIRROR", &server.url);
    let fetched = |name: &str, package: &Package| -> PathBuf {
        let folder = project.dir.join(name);
        package.unpack(&folder);
        let said = |version: &str| format!("salt,{version},{},hexpm\nmix\n", package.inner());
        fs::write(folder.join(".hex"), said(package.version)).expect("a file");
        folder
    };
    let folder = fetched("deps/salt", &old);
    let said = planned(&project);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(!said.out.contains("fetch salt") && !said.err.contains("warning"), "{}{}", said.out, said.err);
    project.write("mix.lock", &lock(&[new]));
    let said = planned(&project);
    assert_eq!(said.status, Some(0), "{}", said.err);
    let warned = "deps/salt is salt 1.6.0, and mix.lock names 1.6.1: that is what is built";
    for part in [warned, "mix.lock:2:3", "mix deps.get"] {
        assert!(said.err.contains(part), "{part:?} is not in:\n{}", said.err);
    }
    assert!(said.out.contains("fetch salt"), "{}", said.out);
    assert_eq!(server.asked(), ["/tarballs/salt-1.6.1.tar"]);
    assert!(
        fs::read_to_string(folder.join(".hex")).expect("a file").contains("1.6.0"),
        "deps/ is the user's"
    );
}

#[test]
fn packages_that_mean_no_good() {
    let space = TestSpace::new();
    let server = Server::new();
    let outside = space.path("outside");
    for (version, entry, part) in [
        ("1.7.0", "../../outside", "lies outside"),
        ("1.7.1", "/outside", "lies outside"),
        ("1.7.2", "a/../../outside", "lies outside"),
    ] {
        let files = vec![("mix.exs", "x"), (entry, "x")];
        let package = Package { files: Box::leak(files.into_boxed_slice()), ..salt(version) };
        server.reply(&package.path(), Reply::Bytes(package.tarball()));
        let project = kitchen(&space, &lock(&[package])).with("HEX_MIRROR", &server.url);
        assert_refused(&planned(&project), 1, &["cannot be unpacked", part]);
        assert!(!outside.exists() && !space.path("kitchen/outside").exists());
    }
}

#[test]
fn a_lock_and_dependencies_that_lie_elsewhere_and_the_commands_that_look_at_them() {
    let space = TestSpace::cold();
    let package = salt("1.8.0");
    let server = Server::with(std::slice::from_ref(&package));
    let mix = "defmodule Kitchen.MixProject do\n  use Mix.Project\n\n  def project do\n    [app: :kitchen, version: \"0.1.0\", lockfile: \
               \"locks/here.lock\", deps_path: \"../libs\", deps: [{:salt, \"~> 1.0\"}]]\n  end\nend\n";
    let project = project(&space, "home/kitchen", "kitchen", &[("mix.exs", mix)]);
    let project = project.with("HEX_MIRROR", &server.url);
    let unlocked = ["there is no locks/here.lock", "mix deps.get"];
    assert_refused(&planned(&project), 2, &unlocked);
    project.write("locks/here.lock", &lock(std::slice::from_ref(&package)));
    assert_fetched(&project);
    assert!(!space.path("home/libs").exists());
    let why = project.ask(&["why", "fetch salt"]);
    assert_eq!(why.status, Some(0), "{}", why.err);
    assert!(why.out.contains("fetch salt"), "{}", why.out);
    let graph = project.ask(&["graph", "--view", "json"]);
    assert_eq!(graph.status, Some(0), "{}", graph.err);
    let graph: serde_json::Value = serde_json::from_str(&graph.out).expect("JSON");
    let steps = graph["steps"].as_array().expect("steps");
    let needs = |name: &str| {
        let step =
            steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no {name}: {graph}"));
        step["needs"].to_string()
    };
    assert!(
        needs("compile salt").contains("fetch salt") && needs("describe").contains("fetch salt"),
        "{graph}"
    );
    assert_eq!(needs("fetch salt"), "[]");
    // What was collected is fetched again, and offline that is said. Ages are in whole seconds.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let collected = project.ask(&["cache", "gc", "--max-size", "0", "--min-age", "0m"]);
    assert_eq!(collected.status, Some(0), "{}", collected.err);
    assert_refused(
        &project.ask(&["plan", "--offline"]),
        1,
        &["neither in deps/ nor in the store, and --offline was given"],
    );
    assert_fetched(&project);
    // Fetched by Mix: what lies there is built.
    package.unpack(&space.path("home/libs/salt"));
    let said = planned(&project);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(said.err.contains("nothing says that ../libs/salt is"), "{}", said.err);
}
