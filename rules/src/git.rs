//! The repository that a step asks git about. It is no source: a step that was seen to start git, or to look into `.git`, is
//! shown the repository, and depends on what its questions can be about.

use std::fs;
use std::path::{Path, PathBuf};

use relgraph_cache::Probe;

use crate::reach::Reach;

/// Questions whose answer follows from the commit that is checked out, tags, and the repository's configuration.
const OF_THE_COMMIT: [&str; 10] = [
    "--version",
    "cat-file",
    "config",
    "describe",
    "log",
    "rev-list",
    "rev-parse",
    "show",
    "symbolic-ref",
    "version",
];
/// Words that make them questions about the working tree.
const OF_THE_TREE: [&str; 5] = ["--", "--broken", "--cached", "--dirty", "--show-prefix"];
/// Words that make them questions about other branches.
const OF_ALL: [&str; 6] = ["--all", "--branches", "--contains", "--exclude-existing", "--glob", "--remotes"];

/// What git is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The commit, and tags.
    Commit,
    /// All branches.
    References,
    /// The working tree.
    Tree,
}

/// What a command line is about, if it starts git. `words`: the program and its arguments; a shell's line is one word.
pub fn about(words: &[String]) -> Option<About> {
    let (program, args) = words.split_first()?;
    if is_git(program) {
        return Some(question(args));
    }
    // A line for a shell, whose quoting nobody undoes here: that it speaks of git is enough.
    let speaks =
        |text: &String| text.split(|c: char| !c.is_alphanumeric() && !"-_/.".contains(c)).any(is_git);
    words.iter().any(speaks).then_some(About::Tree)
}

/// Whether nothing but git was started.
pub fn only(words: &[String]) -> bool {
    words.first().is_some_and(|program| is_git(program))
}

fn is_git(program: &str) -> bool {
    program.rsplit('/').next() == Some("git")
}

fn question(args: &[String]) -> About {
    let mut rest = args.iter().map(String::as_str).peekable();
    while let Some(option) = rest.next_if(|arg| arg.starts_with('-') && *arg != "--version") {
        if ["-C", "-c"].contains(&option) {
            rest.next();
        }
    }
    let verb = rest.next().unwrap_or_default();
    let rest: Vec<&str> = rest.collect();
    let says = |words: &[&str]| rest.iter().any(|arg| words.iter().any(|w| arg.split('=').next() == Some(w)));
    if !OF_THE_COMMIT.contains(&verb) || says(&OF_THE_TREE) {
        About::Tree
    } else if says(&OF_ALL) || rest.iter().any(|arg| arg.contains('/') || arg.contains('@')) {
        About::References
    } else {
        About::Commit
    }
}

/// A repository as a step is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// `.git` inside the sandbox, seen from the prefix.
    pub at: String,
    /// Where it is.
    pub real: PathBuf,
    /// Where it keeps what all its working trees share, and what is this one's own, where `.git` is a file.
    pub elsewhere: Option<(PathBuf, PathBuf)>,
    /// Whether its working tree begins above the project: what git says of files is about other paths.
    pub above: bool,
}

impl Repository {
    /// The repository that a folder (seen from the prefix) lies in.
    pub fn of(reach: &Reach, folder: &str) -> Option<Repository> {
        let start = fs::canonicalize(reach.real(folder)?).ok()?;
        let project = fs::canonicalize(reach.real(&reach.project())?).ok()?;
        let top = start.ancestors().find(|dir| dir.join(".git").exists())?;
        let (at, above) = match top.strip_prefix(&project) {
            Ok(rest) => (format!("{}/{}", reach.project(), rest.display()), false),
            Err(_) if start.starts_with(&project) => (reach.project(), true),
            Err(_) => (folder.to_owned(), top != start),
        };
        let real = top.join(".git");
        let elsewhere = if real.is_file() { Some(linked(top, &real)?) } else { None };
        Some(Repository { at: format!("{}/.git", at.trim_end_matches('/')), real, elsewhere, above })
    }

    /// What answers to such questions follow from.
    pub fn probes(&self, about: About) -> Vec<Probe> {
        let (common, own) = match &self.elsewhere {
            Some((common, own)) => (common.display().to_string(), own.display().to_string()),
            None => (self.at.clone(), self.at.clone()),
        };
        let mut probes = vec![
            Probe::Content(self.at.clone()),
            Probe::Content(format!("{own}/HEAD")),
            Probe::Content(format!("{common}/packed-refs")),
            Probe::Content(format!("{common}/shallow")),
            Probe::Content(format!("{common}/config")),
            Probe::Tree(format!("{common}/refs/tags")),
        ];
        let head = fs::read_to_string(match &self.elsewhere {
            Some((_, own)) => own.join("HEAD"),
            None => self.real.join("HEAD"),
        });
        if let Some(branch) = head.unwrap_or_default().trim().strip_prefix("ref: ") {
            probes.push(Probe::Content(format!("{common}/{branch}")));
        }
        if about > About::Commit {
            probes.push(Probe::Tree(format!("{common}/refs")));
        }
        if about == About::Tree {
            probes.push(Probe::Content(format!("{own}/index")));
        }
        probes
    }
}

/// The folders behind a `.git` that is a file (a working tree of its own, a submodule): what is shared, what is its own.
fn linked(top: &Path, file: &Path) -> Option<(PathBuf, PathBuf)> {
    let text = fs::read_to_string(file).ok()?;
    let own = fs::canonicalize(top.join(text.trim().strip_prefix("gitdir: ")?)).ok()?;
    let common = match fs::read_to_string(own.join("commondir")) {
        Ok(text) => fs::canonicalize(own.join(text.trim())).ok()?,
        Err(_) => own.clone(),
    };
    Some((common, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_apart() {
        let about = |line: &str| about(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(about("/usr/bin/git rev-parse --short HEAD"), Some(About::Commit));
        assert_eq!(about("git -C . describe --tags --always"), Some(About::Commit));
        assert_eq!(about("git describe --dirty=-d"), Some(About::Tree));
        assert_eq!(about("git rev-parse origin/main"), Some(About::References));
        assert_eq!(about("git status"), Some(About::Tree));
        assert_eq!(about("make all"), None);
        assert_eq!(super::about(&["sh -c 'exec git log'".to_owned()]), Some(About::Tree));
        assert_eq!(super::about(&["sh".to_owned(), "-c".into(), "cat .gitignore".into()]), None);
    }
}
