//! Owns what the end-to-end tests share: folders of their own, a store, copies of projects, and ways to run the command.
#![allow(dead_code)]

pub mod browser;
pub mod edited;
pub mod faults;
pub mod files;
pub mod hex;
pub mod hostile;
pub mod mix;
pub mod node;
pub mod pair;
pub mod plain_cache;
pub mod project;
pub mod rebar3;
pub mod small;
pub mod sources;
pub mod upgrade;
pub mod verified;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use project::Project;

/// The command under test.
pub const RELGRAPH: &str = env!("CARGO_BIN_EXE_relgraph");

/// Programs of Erlang and Elixir: what a machine that only runs releases does not have.
const TOOLCHAIN: [&str; 12] = [
    "ct_run", "dialyzer", "elixir", "elixirc", "epmd", "erl", "erlc", "escript", "iex", "mix", "rebar3",
    "typer",
];

/// A folder for one test, and a store.
pub struct TestSpace {
    root: PathBuf,
    store: PathBuf,
}

impl TestSpace {
    /// With the store that all tests of this program share: it knows what was built from the fixtures as they are.
    pub fn new() -> Self {
        static STORE: OnceLock<PathBuf> = OnceLock::new();
        let store = STORE.get_or_init(|| own_folder().join("store"));
        TestSpace { root: fresh(&own_folder()), store: store.clone() }
    }

    /// With an empty store of its own.
    pub fn cold() -> Self {
        let root = fresh(&own_folder());
        TestSpace { store: root.join("store"), root }
    }

    /// With a store of its own that knows examples/sequence and nothing else.
    pub fn with_sequence() -> Self {
        static KNOWING: OnceLock<TestSpace> = OnceLock::new();
        let knowing = KNOWING.get_or_init(|| {
            let space = TestSpace::cold();
            space.example("sequence", "sequence").build();
            space
        });
        let space = TestSpace::cold();
        said(Command::new("cp").arg("-a").arg(&knowing.store).arg(&space.store));
        space
    }

    /// With an empty store of its own, where every user of the machine may look.
    pub fn open_to_all() -> Self {
        let root = fresh(&std::env::temp_dir().join(format!("relgraph-test-{}", std::process::id())));
        TestSpace { store: root.join("store"), root }
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Its store.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// A copy of a project of `examples/`.
    pub fn example(&self, name: &str, at: &str) -> Project {
        let dir = self.path(at);
        files::copy(&source(&format!("examples/{name}")), &dir);
        Project::new(dir, &self.store)
    }

    /// A copy of examples/sequence, whose steps are known to the store.
    pub fn sequence(&self, at: &str) -> Project {
        static BUILT: OnceLock<()> = OnceLock::new();
        BUILT.get_or_init(|| drop(TestSpace::new().example("sequence", "sequence").build()));
        self.example("sequence", at)
    }

    /// A copy of the fixture shop, as `AT/shop`.
    pub fn cold_shop(&self, at: &str) -> Project {
        let to = self.path(at);
        said(Command::new("sh").arg(source("tests/fixtures/copy.sh")).arg(&to));
        Project::new(to.join("shop"), &self.store)
    }

    /// The same, its steps being known to the store.
    pub fn shop(&self, at: &str) -> Project {
        static BUILT: OnceLock<()> = OnceLock::new();
        BUILT.get_or_init(|| drop(TestSpace::new().cold_shop("shop").build()));
        self.cold_shop(at)
    }

    /// A value for PATH that leads to every program of the machine but those of Erlang and Elixir and `without`.
    pub fn bare_path(&self, without: &[&str]) -> String {
        let bin = fresh(&self.root);
        for dir in ["/usr/local/bin", "/usr/bin", "/bin"] {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !without.contains(&name.as_str()) && !bin.join(&name).is_symlink() {
                    std::os::unix::fs::symlink(entry.path(), bin.join(&name)).expect("a link");
                }
            }
        }
        bin.display().to_string()
    }

    /// A value for PATH as on a machine without Erlang and Elixir.
    pub fn path_without_erlang(&self) -> String {
        self.bare_path(&TOOLCHAIN)
    }
}

impl Drop for TestSpace {
    fn drop(&mut self) {
        if std::env::var_os("RELGRAPH_TEST_KEEP").is_some() {
            return;
        }
        // Nothing is left to do where it cannot be removed.
        let _ = relgraph_cache::remove_tree(&self.root);
        // Where every user may look there is nothing else; fails where there is.
        let _ = self.root.parent().map(fs::remove_dir);
    }
}

/// A file or folder of the repository.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// This program's own folder below cargo's for tests. Those of programs that ended are removed.
fn own_folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for entry in fs::read_dir(all).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let alive = name.strip_prefix("e2e-").map(|pid| Path::new("/proc").join(pid).exists());
            if alive == Some(false) {
                let _ = relgraph_cache::remove_tree(&entry.path());
            }
        }
        let folder = all.join(format!("e2e-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    };
    FOLDER.get_or_init(make).clone()
}

/// A new folder.
fn fresh(parent: &Path) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let dir = parent.join(format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&dir).expect("a folder");
    dir
}

/// What a program answered.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a program to its end.
pub fn ask(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { status: status.code(), out: text(stdout), err: text(stderr) }
}

/// Runs a program that has to succeed, and returns what it printed.
pub fn said(command: &mut Command) -> String {
    let said = ask(command);
    assert_eq!(said.status, Some(0), "{command:?}\n{}{}", said.out, said.err);
    said.out.trim_end().to_owned()
}

/// Waits until something is so, and fails where it does not come to be.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the tests run as root, who may write everywhere.
pub fn is_root() -> bool {
    said(Command::new("id").arg("-u")) == "0"
}

/// What to put before a command so that it runs as somebody without privileges.
pub fn unprivileged() -> Vec<&'static str> {
    if is_root() { vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] } else { vec![] }
}
