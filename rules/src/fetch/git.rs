//! Git dependencies: the commit that the lock names, checked out as Mix does it.
//!
//! `git` runs as the user would run it, with all of the environment (agent, helpers for credentials, proxies), outside
//! of the sandbox, in a folder of its own. Of `.git` is kept what versions are computed from: the commits up to this one
//! and the tags on them, without any file, packed so that the same commits give the same bytes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use relgraph_cache::{Digest, TreeBuilder};
use relgraph_engine::{StepContext, StepError, StepErrorKind};

use super::{Remotes, Whose, http, missing, with_files};
use crate::lock::GitCommit;
use crate::source::LEFT_OUT;

/// How long one call of git may take.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// How often is looked whether it has ended.
const TICK: Duration = Duration::from_millis(20);

/// Variables by which git would work somewhere else than it is told to.
const ELSEWHERE: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
];

/// What the configuration of a user must not change.
const FIXED: [&str; 8] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.autocrlf=false",
    "-c",
    "advice.detachedHead=false",
    "-c",
    "gc.auto=0",
];

/// Puts a commit into the store and returns its tree. `checkout`: where `mix deps.get` may have put it already.
pub(super) fn get(
    remotes: &Remotes,
    cx: &StepContext<'_>,
    whose: &Whose,
    app: &str,
    locked: &GitCommit,
    checkout: Option<&Path>,
) -> Result<Digest, StepError> {
    let scratch = cx.store.scratch()?;
    let repository = scratch.path().join("repository");
    let git = Git { remotes, cx, whose, at: &repository, app, locked };
    git.obtain(checkout)?;
    git.check_out()?;
    let inside = |path: &str| path != ".git" && !path.ends_with("/.git");
    let tree = cx.store.ingest(&repository, &inside)?;
    let history = git.history(&scratch.path().join("history"))?;
    let mut builder = TreeBuilder::from_tree(cx.store, &tree)?;
    builder.graft(".git", history)?;
    with_files(cx.store, &builder.finish(cx.store)?, &[(".fetch", b"")])
}

/// Puts what versions are computed from into the store, without any file: the contents of a `.git`.
pub(super) fn history(
    remotes: &Remotes,
    cx: &StepContext<'_>,
    whose: &Whose,
    app: &str,
    locked: &GitCommit,
    checkout: Option<&Path>,
) -> Result<Digest, StepError> {
    let scratch = cx.store.scratch()?;
    let git = Git { remotes, cx, whose, at: &scratch.path().join("repository"), app, locked };
    git.obtain(checkout)?;
    git.history(&scratch.path().join("history"))
}

fn short(commit: &str) -> &str {
    &commit[..commit.len().min(12)]
}

/// What lies where `mix deps.get` puts a git dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkout {
    /// No repository.
    None,
    /// The commit of the lock, and nothing else.
    Clean,
    /// The commit of the lock, with files that somebody has touched.
    Edited,
    /// Another commit, or one of another repository.
    Other(String),
}

/// Looks at a checkout.
pub fn look(remotes: &Remotes, dir: &Path, locked: &GitCommit) -> Checkout {
    if !dir.join(".git").exists() {
        return Checkout::None;
    }
    let asked = |args: &[&str]| {
        let output = command(remotes, dir).args(args).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    };
    let head = asked(&["rev-parse", "--verify", "--quiet", "HEAD"]);
    let origin = asked(&["config", "remote.origin.url"]);
    let (Some(head), Some(origin)) = (head, origin) else { return Checkout::None };
    if origin != locked.url {
        return Checkout::Other(format!("a checkout of {}", http::shown(&origin)));
    }
    if head != locked.commit {
        return Checkout::Other(format!("the commit {}", short(&head)));
    }
    // What Mix and rebar3 leave there is nobody's edit.
    let left = |line: &str| {
        let path = line.strip_prefix("?? ").unwrap_or_default();
        path == ".fetch" || LEFT_OUT.contains(&path.trim_end_matches('/'))
    };
    let touched = asked(&["status", "--porcelain"]);
    match touched.map(|text| text.lines().all(left)) {
        Some(true) => Checkout::Clean,
        _ => Checkout::Edited,
    }
}

/// The commit that is checked out in a folder.
pub fn head(remotes: &Remotes, dir: &Path) -> Option<String> {
    let asked = command(remotes, dir).args(["rev-parse", "--verify", "--quiet", "HEAD"]).output().ok()?;
    asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).trim_end().to_owned())
}

fn command(remotes: &Remotes, at: &Path) -> Command {
    let mut command = Command::new("git");
    command.args(FIXED).current_dir(at).env_clear().envs(remotes.env());
    for name in ELSEWHERE {
        command.env_remove(name);
    }
    // Nobody is there to answer; words are looked for in what it says.
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

struct Git<'a> {
    remotes: &'a Remotes,
    cx: &'a StepContext<'a>,
    whose: &'a Whose,
    at: &'a Path,
    app: &'a str,
    locked: &'a GitCommit,
}

impl Git<'_> {
    /// Runs git to its end and returns what it printed.
    fn run(&self, args: &[&str]) -> Result<String, StepError> {
        self.call(args, None)
    }

    fn call(&self, args: &[&str], input: Option<&Path>) -> Result<String, StepError> {
        let log = |name: &str| self.at.with_file_name(name);
        let (out, err) = (log("out"), log("err"));
        let create = |path: &Path| File::create(path).map_err(|e| StepError::io("create", path, &e));
        let mut command = command(self.remotes, self.at);
        if let Some(input) = input {
            command.stdin(File::open(input).map_err(|e| StepError::io("read", input, &e))?);
        }
        command.args(args).stdout(create(&out)?).stderr(create(&err)?);
        let mut child = command.spawn().map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                let message = format!("`{}` comes from a git repository, and git is not in PATH", self.app);
                return StepError::input(message).with_hint("install git");
            }
            StepError::new(StepErrorKind::Io, format!("git cannot be started: {error}"))
        })?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) =
                child.try_wait().map_err(|e| StepError::io("wait for", Path::new("git"), &e))?
            {
                break status;
            }
            let cancelled = self.cx.cancel.is_cancelled();
            if cancelled || began.elapsed() > PATIENCE {
                // It may have ended by itself meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                let message = format!("git took longer than {} minutes", PATIENCE.as_secs() / 60);
                return Err(if cancelled {
                    StepError::cancelled()
                } else {
                    StepError::new(StepErrorKind::TimedOut, message)
                });
            }
            std::thread::sleep(TICK);
        };
        let text = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let said = text(&out).map_err(|e| StepError::io("read", &out, &e))?;
        if status.success() {
            return Ok(said);
        }
        // An address may hold a password.
        let complaint =
            text(&err).unwrap_or_default().replace(&self.locked.url, &http::shown(&self.locked.url));
        let verb = args.iter().find(|arg| !arg.starts_with('-')).copied().unwrap_or_default();
        Err(StepError::new(StepErrorKind::Exit, format!("git {verb} failed"))
            .with_output(b"", complaint.as_bytes()))
    }

    /// Makes a repository that has the commit.
    fn obtain(&self, checkout: Option<&Path>) -> Result<(), StepError> {
        fs::create_dir_all(self.at).map_err(|e| StepError::io("create", self.at, &e))?;
        self.run(&["init", "--quiet"])?;
        self.run(&["remote", "add", "origin", &self.locked.url])?;
        let near = checkout.filter(|checkout| checkout.join(".git").exists());
        if near.is_some_and(|near| self.take_from(near)) {
            return Ok(());
        }
        match self.remotes.offline(self.whose)? {
            Some(why) => {
                Err(missing(self.whose, self.app, &format!("commit {}", short(&self.locked.commit)), why))
            }
            None => self.fetch(),
        }
    }

    fn has_commit(&self) -> bool {
        self.run(&["cat-file", "-e", &format!("{}^{{commit}}", self.locked.commit)]).is_ok()
    }

    /// Takes the commit from a repository of this machine, if it is there.
    fn take_from(&self, near: &Path) -> bool {
        let near = near.to_string_lossy();
        let refs = ["+HEAD:refs/relgraph/head", "+refs/tags/*:refs/tags/*"];
        let args = [&["fetch", "--quiet", "--no-tags", "--force", near.as_ref()][..], &refs].concat();
        self.run(&args).is_ok() && self.has_commit()
    }

    /// Fetches branches and the tags on them, as Mix does; then the commit alone, which may be on no branch.
    fn fetch(&self) -> Result<(), StepError> {
        let url = http::shown(&self.locked.url);
        let failed = |error: StepError| {
            StepError {
            message: format!("`{}` cannot be fetched from {url}: {}", self.app, error.message),
            ..error.clone()
        }
        .with_hint("can `git ls-remote` reach it? keys and agents are those of your shell; with --offline nothing is fetched")
        };
        let mut args = vec!["fetch", "--force", "--quiet"];
        args.extend(self.locked.tag.is_some().then_some("--tags"));
        args.push("origin");
        let known = |error: &StepError| matches!(error.kind, StepErrorKind::Input | StepErrorKind::Cancelled);
        self.run(&args).map_err(|error| if known(&error) { error } else { failed(error) })?;
        if self.has_commit() {
            return Ok(());
        }
        let alone = self.run(&["fetch", "--force", "--quiet", "origin", &self.locked.commit]);
        if alone.is_ok() && self.has_commit() {
            return Ok(());
        }
        let message = format!(
            "there is no commit {} in {url}, from which `{}` is locked",
            self.locked.commit, self.app
        );
        Err(StepError::new(StepErrorKind::Exit, message).with_hint(format!(
            "it may have been removed by a forced push: `{} {}` locks another",
            self.whose.update(),
            self.app
        )))
    }

    fn check_out(&self) -> Result<(), StepError> {
        if let Some(sparse) = &self.locked.sparse {
            self.run(&["config", "core.sparsecheckout", "true"])?;
            let info = self.at.join(".git/info");
            fs::create_dir_all(&info).map_err(|e| StepError::io("create", &info, &e))?;
            let file = info.join("sparse-checkout");
            fs::write(&file, sparse).map_err(|e| StepError::io("write", &file, &e))?;
        }
        self.run(&["checkout", "--quiet", "--detach", &self.locked.commit])?;
        if self.locked.submodules && self.at.join(".gitmodules").exists() {
            if let Some(why) = self.remotes.offline(self.whose)? {
                return Err(missing(self.whose, self.app, "with its submodules", why));
            }
            self.run(&["submodule", "update", "--init", "--recursive", "--quiet"]).map_err(|error| {
                let message =
                    format!("the submodules of `{}` cannot be fetched: {}", self.app, error.message);
                StepError { message, ..error }
            })?;
        }
        Ok(())
    }

    /// The commits up to the locked one and the tags on them, as the contents of a `.git`.
    fn history(&self, to: &Path) -> Result<Digest, StepError> {
        let commit = &self.locked.commit;
        let mut objects: BTreeSet<String> =
            self.run(&["rev-list", commit])?.lines().map(str::to_owned).collect();
        let merged = format!("--merged={commit}");
        let format = "--format=%(objecttype) %(objectname) %(*objectname) %(refname)";
        let mut refs = String::from("# pack-refs with: peeled fully-peeled sorted \n");
        for line in self.run(&["for-each-ref", &merged, "--sort=refname", format, "refs/tags"])?.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["tag", tag, peeled, name] => {
                    objects.insert(tag.to_owned());
                    refs.push_str(&format!("{tag} {name}\n^{peeled}\n"));
                }
                ["commit", tagged, _, name] => refs.push_str(&format!("{tagged} {name}\n")),
                _ => {}
            }
        }
        let pack = to.join("objects/pack");
        for folder in [&pack, &to.join("objects/info"), &to.join("refs/heads"), &to.join("refs/tags")] {
            fs::create_dir_all(folder).map_err(|e| StepError::io("create", folder, &e))?;
        }
        let config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n";
        let list: String = objects.into_iter().map(|id| id + "\n").collect();
        let names = self.at.with_file_name("objects");
        let head = format!("{commit}\n");
        for (file, text) in [
            (to.join("HEAD"), head.as_str()),
            (to.join("config"), config),
            (to.join("packed-refs"), &refs),
            (names.clone(), &list),
        ] {
            fs::write(&file, text).map_err(|e| StepError::io("write", &file, &e))?;
        }
        let shallow = self.at.join(".git/shallow");
        if shallow.is_file() {
            fs::copy(&shallow, to.join("shallow")).map_err(|e| StepError::io("copy", &shallow, &e))?;
        }
        let base = pack.join("pack").to_string_lossy().into_owned();
        let alike = ["--threads=1", "--window=0", "--no-reuse-delta", "--no-reuse-object", "--compression=9"];
        let args = [&["pack-objects", "-q"][..], &alike, &[base.as_str()]].concat();
        self.call(&args, Some(&names))?;
        Ok(self.cx.store.ingest(to, &|path| !path.ends_with(".rev"))?)
    }
}
