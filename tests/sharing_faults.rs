//! A remote that is refused, hangs, is slow, breaks, lies or means harm costs nothing but time: the release is the same, one
//! warning is said, and nothing is written where nothing should be.

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use relgraph_cache::{Digest, Directory, Node};
use serde_json::Value;
use support::TestSpace;
use support::faults::{Fault, Proxy};
use support::hostile::with_root;
use support::plain_cache::{Lie, PlainCache};
use support::project::Project;

/// Attempts that a remote which fails may cost: three, and one more for each of the others that were on their way by then.
const FEW: usize = 16;

/// What a build that shares its results stores, and what it makes.
struct Honest {
    files: BTreeMap<String, Vec<u8>>,
    release: String,
    package: Vec<u8>,
}

/// Made once, without any remote to read from.
fn honest() -> &'static Honest {
    static HONEST: OnceLock<Honest> = OnceLock::new();
    HONEST.get_or_init(|| {
        let (space, cache) = (TestSpace::cold(), PlainCache::new());
        let url = format!("{};access=read-write", cache.url());
        let built = space.example("sequence", "publisher").with("RELGRAPH_REMOTE", &url).build();
        let paths = cache.paths("/");
        let files = paths.into_iter().map(|path| (path.clone(), cache.file(&path).expect("a file")));
        Honest {
            files: files.collect(),
            release: built.digest().to_owned(),
            package: fs::read(built.package()).expect("a package"),
        }
    })
}

/// A colleague who has nothing yet, a cache that has everything, and a proxy between them.
struct Scene {
    space: TestSpace,
    project: Project,
    cache: PlainCache,
    proxy: Proxy,
}

/// What a build said.
struct Outcome {
    json: Value,
    warnings: Vec<String>,
}

impl Scene {
    fn new() -> Scene {
        let cache = PlainCache::new();
        for (path, bytes) in &honest().files {
            cache.put(path, bytes.clone());
        }
        let proxy = Proxy::new(cache.port());
        let space = TestSpace::cold();
        fs::create_dir(space.path("outside")).expect("a folder");
        fs::write(space.path("outside/kept"), "as it was").expect("a file");
        let project = space.example("sequence", "colleague");
        Scene { space, project, cache, proxy }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy.port())
    }

    /// Builds with the cache to read from, and checks what has to be so whatever the cache does.
    #[track_caller]
    fn reads(&self) -> Outcome {
        self.builds(&self.url(), &[])
    }

    /// The same, and what is made is stored in the cache.
    #[track_caller]
    fn shares(&self) -> Outcome {
        self.builds(&format!("{};access=read-write", self.url()), &[])
    }

    #[track_caller]
    fn builds(&self, remote: &str, env: &[(&str, &str)]) -> Outcome {
        let before = self.surroundings();
        let mut project = self.project.clone().with("RELGRAPH_REMOTE", remote);
        project.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        // As many look-ups at once on every machine.
        let said = project.ask(&["build", "--format", "json", "-j", "2"]);
        assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
        let json: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}", said.out));
        assert_eq!(json["release"]["digest"], honest().release.as_str(), "{}", said.err);
        let package = json["packages"][0]["path"].as_str().expect("a path");
        assert!(fs::read(package).expect("a package") == honest().package, "another package");
        assert_eq!(self.surroundings(), before, "something was written outside");
        let warnings = said.err.lines().filter(|line| line.starts_with("warning")).map(str::to_owned);
        Outcome { json, warnings: warnings.collect() }
    }

    /// Everything but what a build may write: the store, and `_build` of the project.
    fn surroundings(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        walk(&self.space.path(""), "", &mut found);
        found
    }
}

fn walk(dir: &Path, at: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = format!("{at}/{}", path.file_name().expect("a name").to_string_lossy());
        if ["/store", "/colleague/_build"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            found.insert(format!("{name}/"), Vec::new());
            walk(&path, &name, found);
        } else {
            found.insert(name, fs::read(&path).unwrap_or_default());
        }
    }
}

impl Outcome {
    fn count(&self, outcome: &str) -> u64 {
        self.json["steps"][outcome].as_u64().unwrap_or_else(|| panic!("no {outcome}: {}", self.json))
    }

    /// One line about it, and everything was made here.
    #[track_caller]
    fn warns_and_makes_all(&self) {
        self.warns();
        assert_eq!(self.count("hit_remote"), 0, "{}", self.json);
    }

    /// One line about it.
    #[track_caller]
    fn warns(&self) {
        assert_eq!(self.warnings.len(), 1, "{:#?}", self.warnings);
    }

    /// Nothing to say, and nothing was made here.
    #[track_caller]
    fn takes_all(&self) {
        assert_eq!(self.warnings, [""; 0]);
        assert_eq!(self.count("hit_remote"), self.count("total"), "{}", self.json);
    }
}

#[test]
fn without_a_fault_everything_is_taken() {
    Scene::new().reads().takes_all();
}

#[test]
fn nobody_is_asked_where_nobody_is_to_be() {
    for flag in ["--offline", "--no-remote"] {
        let scene = Scene::new();
        let url = scene.url();
        let said =
            scene.project.clone().with("RELGRAPH_REMOTE", &url).ask(&["build", "--format", "json", flag]);
        assert_eq!((said.status, said.err.as_str()), (Some(0), ""), "{}", said.out);
        assert!(said.out.contains("\"hit_remote\":0"), "{}", said.out);
        assert_eq!(scene.proxy.connections(), 0, "{flag}");
    }
}

#[test]
fn refused() {
    let mut scene = Scene::new();
    scene.proxy.set(Fault::Refuse);
    scene.reads().warns_and_makes_all();
}

#[test]
fn broken_off() {
    let mut scene = Scene::new();
    scene.proxy.set(Fault::Reset);
    scene.reads().warns_and_makes_all();
    let connections = scene.proxy.connections();
    assert!(connections <= FEW, "{connections}");
}

#[test]
fn broken_off_while_it_should_be_written() {
    let mut scene = Scene::new();
    scene.proxy.set(Fault::Reset);
    scene.shares().warns_and_makes_all();
    let connections = scene.proxy.connections();
    assert!(connections <= FEW, "{connections}");
    // What was not written then is written by the next build that has something to do.
    scene.cache.lose("/");
    fs::remove_dir_all(scene.project.dir.join("_build")).expect("what was built");
    scene.proxy.set(Fault::None);
    assert_eq!(scene.shares().warnings, [""; 0]);
    scene.project.store = scene.space.path("store/other");
    scene.reads().takes_all();
}

#[test]
fn hanging() {
    let mut scene = Scene::new();
    scene.proxy.set(Fault::Hang);
    scene
        .project
        .append("release.yaml", &format!("cache:\n  remotes:\n    - url: {}\n      timeout: 1", scene.url()));
    scene.builds("", &[]).warns_and_makes_all();
    let connections = scene.proxy.connections();
    assert!(connections <= FEW, "{connections}");
}

#[test]
fn slow() {
    let mut scene = Scene::new();
    scene.proxy.set(Fault::Slow(2 << 20));
    scene.reads().takes_all();
}

#[test]
fn cut_in_the_middle_of_each_connection() {
    let mut scene = Scene::new();
    scene.proxy.set(Fault::CutAfter(200_000));
    scene.reads().warns();
    // What arrived whole before a cut is not asked for again, so each connection that is used up has brought something.
    let (connections, passed) = (scene.proxy.connections() as u64, scene.proxy.passed());
    assert!(connections <= passed / 200_000 + 3 * FEW as u64, "{connections}, {passed}");
}

#[test]
fn cut_once() {
    let mut scene = Scene::new();
    for after in [0, 100, 20_000, 500_000] {
        scene.project.store = scene.space.path("store").join(after.to_string());
        scene.proxy.set(Fault::CutOnceAfter(after));
        scene.reads().takes_all();
    }
}

#[test]
fn wrong_bytes() {
    for part in ["/ac/", "/cas/"] {
        let scene = Scene::new();
        scene.cache.lie("GET", part, Lie::Wrong);
        scene.reads().warns();
    }
}

#[test]
fn one_wrong_byte_on_the_way() {
    let mut scene = Scene::new();
    scene.proxy.set(Fault::FlipAfter(100_000));
    scene.reads().warns();
}

#[test]
fn truncated() {
    for part in ["/ac/", "/cas/"] {
        let scene = Scene::new();
        scene.cache.lie("GET", part, Lie::Truncated(100));
        scene.reads().warns();
        let requests = scene.cache.requests().len();
        assert!(requests <= 4 * FEW, "{requests}");
    }
}

#[test]
fn it_fails_or_denies_everything() {
    for status in [500, 401] {
        let scene = Scene::new();
        scene.cache.lie("*", "/", Lie::Status(status));
        scene.shares().warns_and_makes_all();
        let requests = scene.cache.requests().len();
        assert!(requests <= FEW, "{status}: {requests}");
    }
}

#[test]
fn it_takes_nothing() {
    for status in [403, 500, 507] {
        let scene = Scene::new();
        scene.cache.lose("/");
        scene.cache.lie("PUT", "/", Lie::Status(status));
        scene.shares().warns_and_makes_all();
        let puts = scene.cache.requests().into_iter().filter(|it| it.starts_with("PUT")).count();
        assert!(puts <= 4 * FEW, "{status}: {puts}");
    }
}

#[test]
fn blobs_that_are_gone_are_made_again_and_the_entries_mended() {
    let scene = Scene::new();
    scene.cache.lose("/cas/");
    scene.shares().warns();
    let other = Scene::new();
    other.cache.lose("/");
    for path in scene.cache.paths("/") {
        other.cache.put(&path, scene.cache.file(&path).expect("a file"));
    }
    other.reads().takes_all();
}

#[test]
fn entries_in_the_places_of_others() {
    let scene = Scene::new();
    scene.cache.exchange("/ac/");
    scene.reads().warns_and_makes_all();
}

#[test]
fn entries_that_nobody_signed_or_a_stranger() {
    let mut scene = Scene::new();
    let key = |name: &str| {
        let made = scene.project.ask(&["cache", "key", "new", name]);
        assert_eq!(made.status, Some(0), "{}{}", made.out, made.err);
        let secret = scene.space.path("no-home/.config/relgraph/keys").join(format!("{name}.secret"));
        let public = made.out.split_whitespace().find(|word| word.starts_with("relgraph-key-1:"));
        (public.expect("a key").to_owned(), fs::read_to_string(secret).expect("a secret").trim().to_owned())
    };
    let ((ours, _), (theirs, their_secret)) = (key("ours"), key("theirs"));
    scene.builds(&scene.url(), &[("RELGRAPH_TRUSTED_KEYS", &ours)]).warns_and_makes_all();

    scene.cache.lose("/");
    scene.project.store = scene.space.path("store/stranger");
    let url = format!("{};access=read-write", scene.url());
    let signed = scene.builds(&url, &[("RELGRAPH_SIGNING_KEY", &their_secret)]);
    assert_eq!(signed.warnings, [""; 0]);
    for (at, trusted) in [("one", &ours), ("both", &format!("{ours} {theirs}"))] {
        scene.project.store = scene.space.path("store").join(at);
        let outcome = scene.builds(&scene.url(), &[("RELGRAPH_TRUSTED_KEYS", trusted)]);
        if at == "both" {
            outcome.takes_all();
            continue;
        }
        outcome.warns_and_makes_all();
        let counted = outcome.warnings[0].split_once(" entries are not used: ");
        let entries: Option<u64> = counted.and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
        assert!(entries.is_some_and(|entries| entries >= outcome.count("total")), "{:?}", outcome.warnings);
    }
}

/// Builds with a cache whose trees were changed by somebody who can write to it.
#[track_caller]
fn with_other_trees(change: &dyn Fn(&Scene, &mut Directory)) -> Scene {
    let scene = Scene::new();
    let mut changed = 0;
    for path in scene.cache.paths("/ac/") {
        let value = scene.cache.file(&path).expect("a file");
        if let Some(other) = with_root(&value, &|root| change(&scene, root)) {
            scene.cache.put(&path, other);
            changed += 1;
        }
    }
    assert!(changed > 3, "{changed}");
    scene
}

fn file(content: &[u8]) -> Node {
    Node::File { digest: Digest::of(content), executable: true }
}

#[test]
fn trees_that_lead_out() {
    // Each entry tries another way.
    let next = Cell::new(0);
    let scene = with_other_trees(&|scene, root| {
        let absolute = scene.space.path("outside/new").display().to_string();
        let ways = ["../outside/new", "..", &absolute, "a/../../../outside/new", "", "."];
        let way = ways[next.replace(next.get() + 1) % ways.len()];
        root.entries.insert(way.to_owned(), file(b"x"));
    });
    scene.reads().warns();
}

#[test]
fn a_tree_with_a_file_of_ten_gigabytes() {
    let huge = Node::File { digest: Digest { hash: [7; 32], size: 10 << 30 }, executable: false };
    let scene = with_other_trees(&|_, root| drop(root.entries.insert("0".to_owned(), huge.clone())));
    scene.reads().warns();
}

#[test]
fn ten_gigabytes_of_zeros() {
    for (part, lie) in [("/ac/", Lie::Announces(10 << 30)), ("/ac/", Lie::Endless), ("/cas/", Lie::Endless)] {
        let scene = Scene::new();
        scene.cache.lie("GET", part, lie);
        scene.reads().warns();
        let passed = scene.proxy.passed();
        assert!(passed < 500 << 20, "{passed}");
    }
}

#[test]
fn directories_that_are_links_to_the_outside() {
    let scene = with_other_trees(&|scene, root| {
        let target = scene.space.path("outside").display().to_string();
        let names: Vec<String> = root.entries.keys().cloned().collect();
        for name in names {
            root.entries.insert(name, Node::Symlink { target: target.clone() });
        }
    });
    // Who names no keys believes what is in the cache, so the release may be another one, or none.
    let before = scene.surroundings();
    scene.project.clone().with("RELGRAPH_REMOTE", &scene.url()).ask(&["build"]);
    assert_eq!(scene.surroundings(), before);
}
