//! Owns a copy of a project: editing it, and building it with the command under test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{RELGRAPH, Said, ask};

/// A project in a folder of its own.
#[derive(Clone)]
pub struct Project {
    /// Its folder.
    pub dir: PathBuf,
    /// The store that it is built with.
    pub store: PathBuf,
    /// Variables besides the few that every build gets.
    pub env: Vec<(String, String)>,
    /// What the command is started by.
    pub wrapper: Vec<String>,
    /// The command.
    pub relgraph: PathBuf,
}

impl Project {
    pub fn new(dir: PathBuf, store: &Path) -> Self {
        Project {
            dir,
            store: store.to_owned(),
            env: Vec::new(),
            wrapper: Vec::new(),
            relgraph: RELGRAPH.into(),
        }
    }

    /// With one more variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Started by another program.
    pub fn by<S: AsRef<str>>(mut self, wrapper: impl IntoIterator<Item = S>) -> Self {
        self.wrapper.extend(wrapper.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// The command, in the project's folder, in a clean environment.
    pub fn relgraph(&self, args: &[&str]) -> Command {
        let mut words: Vec<PathBuf> = self.wrapper.iter().map(PathBuf::from).collect();
        words.push(self.relgraph.clone());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(args).current_dir(&self.dir).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.join("../no-home")).env("RELGRAPH_CACHE_DIR", &self.store);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the command.
    pub fn ask(&self, args: &[&str]) -> Said {
        ask(&mut self.relgraph(args))
    }

    /// Builds, which has to succeed.
    #[track_caller]
    pub fn build(&self) -> Built {
        self.build_with(&[])
    }

    /// Builds with more arguments, which has to succeed.
    #[track_caller]
    pub fn build_with(&self, args: &[&str]) -> Built {
        let said = self.ask(&[&["build", "--format", "json"], args].concat());
        assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
        Built { json: serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}", said.out)) }
    }

    /// Builds, which has to succeed, and says which steps ran.
    #[track_caller]
    pub fn ran(&self) -> BTreeSet<String> {
        let said = self.ask(&["build"]);
        assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
        steps_that(&said.err, "ran")
    }

    /// Builds, which has to fail with that status, and returns what was said about it.
    #[track_caller]
    pub fn refused(&self, status: i32) -> String {
        let said = self.ask(&["build"]);
        assert_eq!(said.status, Some(status), "{}{}", said.out, said.err);
        assert_eq!(said.out, "", "errors go to stderr");
        said.err
    }

    /// Where the release is.
    pub fn release(&self, name: &str) -> PathBuf {
        self.dir.join("_build/relgraph/prod").join(name)
    }

    pub fn read(&self, path: &str) -> String {
        let path = self.dir.join(path);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Adds a line at the end.
    pub fn append(&self, path: &str, line: &str) {
        self.write(path, &format!("{}{line}\n", self.read(path)));
    }

    /// Replaces a text that is there.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no {from:?}");
        self.write(path, &text.replace(from, to));
    }
}

/// The steps of which lines of progress say that they ran, or failed.
pub fn steps_that(progress: &str, word: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let rest = line.trim_start().strip_prefix(word)?.strip_prefix(' ')?;
        let (name, _seconds) = rest.split(": ").next()?.strip_suffix(" s")?.rsplit_once(' ')?;
        Some(name.to_owned())
    };
    progress.lines().filter_map(name).collect()
}

/// A set of names, for comparing.
pub fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// What `build --format json` said.
#[derive(Debug)]
pub struct Built {
    pub json: Value,
}

impl Built {
    /// How many steps had an outcome.
    #[track_caller]
    pub fn count(&self, outcome: &str) -> u64 {
        self.json["steps"][outcome].as_u64().unwrap_or_else(|| panic!("no count of {outcome}: {}", self.json))
    }

    /// How many steps were executed.
    pub fn executed(&self) -> u64 {
        self.count("ran") + self.count("dup")
    }

    /// The release's digest.
    #[track_caller]
    pub fn digest(&self) -> &str {
        self.json["release"]["digest"].as_str().unwrap_or_else(|| panic!("no digest: {}", self.json))
    }

    /// Where the release lies.
    #[track_caller]
    pub fn release(&self) -> PathBuf {
        self.json["release"]["path"].as_str().unwrap_or_else(|| panic!("no path: {}", self.json)).into()
    }

    /// Where the first package lies.
    #[track_caller]
    pub fn package(&self) -> PathBuf {
        self.json["packages"][0]["path"]
            .as_str()
            .unwrap_or_else(|| panic!("no package: {}", self.json))
            .into()
    }

    #[track_caller]
    pub fn assert_nothing_to_do(&self) {
        assert_eq!(self.count("fresh"), self.count("total"), "{}", self.json);
    }
}
