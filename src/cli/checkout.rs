//! A commit of the repository that the user stands in, and a clean checkout of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use relgraph_rules::diagnostic::{Diagnostic, nearest, shown};
use relgraph_rules::layout::normal;

use super::stop::Stop;

/// A commit, and the release.yaml in it that is meant.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its id, in full.
    pub id: String,
    /// The root of the user's checkout.
    pub repository: PathBuf,
    /// release.yaml, seen from that root.
    pub file: String,
}

impl Commit {
    /// What people call it.
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// The name of the folder that the user's checkout is.
    pub fn folder_name(&self) -> String {
        self.repository
            .file_name()
            .map_or_else(|| "project".into(), |name| name.to_string_lossy().into_owned())
    }
}

const RELEASE: &str = "release.yaml";

/// Finds the commit that `REV` or `REV:PATH` names. The path is one in the repository, or begins with `./`.
pub fn find(here: &Path, text: &str) -> Result<Commit, Stop> {
    let (revision, path) = match text.split_once(':') {
        Some((revision, path)) => (revision, Some(path)),
        None => (text, None),
    };
    if revision.is_empty() || revision.starts_with('-') {
        let message = format!("`git:{}` names no revision", shown(text));
        return Err(Stop::wrong(Diagnostic::error(message).hint("git:main, git:v1.2.0 or git:HEAD~3")));
    }
    let [top, prefix] = ["--show-toplevel", "--show-prefix"].map(|what| ask(here, &["rev-parse", what]));
    let (top, prefix) = (top?, prefix?);
    let (Some(top), Some(prefix)) = (top.done(), prefix.done()) else {
        let message =
            format!("`git:{}`: {} is in no checkout of a git repository", shown(text), here.display());
        return Err(Stop::wrong(Diagnostic::error(message)));
    };
    let object = format!("{revision}^{{commit}}");
    let Some(id) = ask(here, &["rev-parse", "--verify", "--quiet", "--end-of-options", &object])?.done()
    else {
        return Err(Stop::wrong(unknown(here, revision)?));
    };
    let file = match path {
        None => format!("{prefix}{RELEASE}"),
        Some(path) => match path.strip_prefix("./") {
            Some(rest) => format!("{prefix}{rest}"),
            None => path.to_owned(),
        },
    };
    let commit = Commit { id, repository: PathBuf::from(top), file: inside(&file, text)? };
    let kind = |file: &str| ask(here, &["cat-file", "-t", &format!("{}:{file}", commit.id)]);
    let named = match kind(&commit.file)?.done().as_deref() {
        Some("blob") => commit.file.clone(),
        Some("tree") => format!("{}/{RELEASE}", commit.file),
        _ => String::new(),
    };
    if !named.is_empty() && kind(&named)?.done().as_deref() == Some("blob") {
        return Ok(Commit { file: named, ..commit });
    }
    let message = format!("there is no {} in the commit {}", commit.file, commit.short());
    Err(Stop::wrong(
        Diagnostic::error(message).hint(format!("git:{}:PATH names another file", shown(revision))),
    ))
}

/// A path in the repository.
fn inside(file: &str, text: &str) -> Result<String, Stop> {
    let mut depth = 0i32;
    let stays = file.split('/').all(|name| {
        depth += match name {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        depth >= 0
    });
    match normal(Path::new(file)).to_str() {
        Some(path) if stays && !path.is_empty() && !file.starts_with('/') => Ok(path.to_owned()),
        _ => {
            Err(Stop::wrong(Diagnostic::error(format!("`git:{}` leads out of the repository", shown(text)))))
        }
    }
}

fn unknown(here: &Path, revision: &str) -> Result<Diagnostic, Stop> {
    let complaint = Diagnostic::error(format!("git knows no commit `{}`", shown(revision)));
    let names = ask(here, &["for-each-ref", "--format=%(refname:short)"])?.done().unwrap_or_default();
    Ok(match nearest(revision, names.lines()) {
        Some(nearest) => complaint.hint(format!("did you mean `git:{nearest}`?")),
        None => complaint.hint("a branch, a tag or a commit; `git fetch` brings those of the remote"),
    })
}

/// Checks a commit out into a folder that does not exist: a repository of its own, so that what asks git is told of this
/// commit. Objects are hard links where that is possible.
pub fn make(repository: &Path, commit: &str, to: &Path) -> Result<(), Stop> {
    let (from, dest) = (repository.display().to_string(), to.display().to_string());
    let quiet = ["-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"];
    let clone = ["clone", "--quiet", "--no-checkout", "--template=", "--", &from, &dest];
    done(ask(repository, &[&quiet[..], &clone].concat())?, "clone the repository")?;
    let checkout = ["checkout", "--quiet", "--detach", commit];
    done(ask(to, &[&quiet[..], &checkout].concat())?, &format!("check out the commit {commit}"))?;
    let listed = done(ask(to, &["ls-tree", "-r", "-z", "--full-tree", commit])?, "list the commit")?;
    for entry in listed.split('\0') {
        let Some((about, path)) = entry.split_once('\t') else { continue };
        let about: Vec<&str> = about.split(' ').collect();
        let ["160000", "commit", wanted] = about[..] else { continue };
        let module = repository.join(path);
        let object = format!("{wanted}^{{commit}}");
        if !module.join(".git").exists() || ask(&module, &["cat-file", "-e", &object])?.done().is_none() {
            let short = wanted.get(..12).unwrap_or(wanted);
            let message = format!("the submodule {} is not here at its commit {short}", shown(path));
            let hint = "`git submodule update --init --recursive` brings submodules; for a commit that is not checked \
                        out, `git fetch` in the submodule";
            return Err(Stop::failed(Diagnostic::error(message).hint(hint)));
        }
        make(&module, wanted, &to.join(path))?;
    }
    Ok(())
}

struct Answer(Output);

impl Answer {
    /// What was said, where it went well.
    fn done(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.0.stdout);
        self.0.status.success().then(|| text.trim_end_matches('\n').to_owned())
    }
}

fn done(answer: Answer, what: &str) -> Result<String, Stop> {
    answer.done().ok_or_else(|| {
        let said = String::from_utf8_lossy(&answer.0.stderr);
        let mut complaint = Diagnostic::error(format!("git could not {what}"));
        for line in said.lines().take(5) {
            complaint = complaint.note(shown(line));
        }
        Stop::failed(complaint)
    })
}

/// Runs git in a folder, whatever repository the environment names.
fn ask(folder: &Path, args: &[&str]) -> Result<Answer, Stop> {
    let mut git = Command::new("git");
    git.args(args).current_dir(folder).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_PREFIX",
        "GIT_OBJECT_DIRECTORY",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_CEILING_DIRECTORIES",
    ] {
        git.env_remove(name);
    }
    git.stdin(std::process::Stdio::null());
    git.output().map(Answer).map_err(|error| {
        Stop::failed(
            Diagnostic::error(format!("git cannot be started: {error}")).hint("`git:REV` needs git in PATH"),
        )
    })
}
