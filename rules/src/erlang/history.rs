//! Versions that an application takes from git (`{vsn, git}`): steps do not see `.git`, so they are found out before, as
//! rebar3 finds them out, and are part of the key of what uses them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::terms::Value;

/// What the history of a folder gives as its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// `{vsn, git}`: the newest tag, with the number of commits since and the commit where there are any.
    pub version: String,
    /// `{vsn, {git, short}}`: the commit, abbreviated.
    pub short: String,
    /// `{vsn, {git, long}}`: the commit.
    pub long: String,
    /// Files that tell whether it moved: absolute.
    pub looked_at: Vec<PathBuf>,
}

/// Variables by which git would work somewhere else than it is told to.
const ELSEWHERE: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"];

impl History {
    /// That of a folder. Without one the versions are those that rebar3 falls back to.
    pub fn of(folder: &Path) -> History {
        let git = |args: &[&str]| git(folder, args);
        let Some(short) = git(&["log", "-n", "1", "--pretty=format:%h"]) else {
            let none = || "0".to_owned();
            return History { version: "0.0.0".into(), short: none(), long: none(), looked_at: Vec::new() };
        };
        let (tag, base) = tags(folder);
        let since = match &tag {
            Some(tag) => git(&["rev-list", "--count", &format!("{tag}..HEAD")]),
            None => git(&["rev-list", "--count", "HEAD"]),
        };
        let version = match since.as_deref() {
            None | Some("0") => base,
            Some(count) => format!("{base}+build.{count}.ref{short}"),
        };
        let head = |args: &[&str]| git(args).unwrap_or_else(|| "0".to_owned());
        History {
            version,
            short: head(&["rev-parse", "--short", "HEAD"]),
            long: head(&["rev-parse", "HEAD"]),
            looked_at: looked_at(folder),
        }
    }

    /// As a request has it.
    pub fn value(&self) -> Value {
        let named = [("version", &self.version), ("short", &self.short), ("long", &self.long)];
        Value::List(named.map(|(name, text)| Value::pair(Value::atom(name), Value::text(text))).into())
    }
}

/// Whether the specification of an application takes its version from git.
pub fn is_asked_for(specification: &str) -> bool {
    let dense: String = specification.chars().filter(|char| !char.is_whitespace()).collect();
    dense.split("{vsn,").skip(1).any(|rest| {
        ["git}", "\"git\"", "{git,", "semver}", "\"semver\""].iter().any(|word| rest.starts_with(word))
    })
}

/// The tag that the commit itself has, and the version that it names or that the newest tag before it names.
fn tags(folder: &Path) -> (Option<String>, String) {
    let lines = ["-c", "color.ui=false", "log", "--oneline", "--no-walk", "--tags", "--decorate"];
    let Some(lines) = git(folder, &lines) else { return (None, "0.0.0".into()) };
    // `(HEAD -> main, tag: v1.0.0, …)`: the tag beside HEAD is the one of this commit.
    let own = lines.match_indices("HEAD").find_map(|(at, _)| {
        let rest = lines[at..].split_once(", ").filter(|(head, _)| !head.contains(['\n', ')']))?.1;
        let tag = rest.strip_prefix("tag: ")?.split([',', ')']).next()?;
        (!tag.is_empty()).then(|| tag.to_owned())
    });
    let plain = |tag: &str| tag.strip_prefix('v').unwrap_or(tag).to_owned();
    match own {
        Some(tag) => {
            let version = plain(&tag);
            let version = version.rsplit('/').next().map(str::to_owned).unwrap_or(version);
            (Some(tag), version)
        }
        None => match git(folder, &["describe", "--tags", "--abbrev=0"]) {
            Some(tag) => (None, plain(&tag)),
            None => (None, "0.0.0".into()),
        },
    }
}

fn looked_at(folder: &Path) -> Vec<PathBuf> {
    let dir = |flag: &str| git(folder, &["rev-parse", flag]).map(|dir| folder.join(dir));
    let (Some(own), Some(common)) = (dir("--git-dir"), dir("--git-common-dir")) else { return Vec::new() };
    let mut paths = vec![own.join("HEAD"), common.join("packed-refs"), common.join("refs/tags")];
    paths.extend(git(folder, &["symbolic-ref", "-q", "HEAD"]).map(|branch| common.join(branch)));
    paths
}

fn git(folder: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args).stdin(Stdio::null()).stderr(Stdio::null());
    for name in ELSEWHERE {
        command.env_remove(name);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_comes_from_git_is_told_from_one_that_is_written() {
        for text in ["{vsn, git}", "{vsn,\n \"git\"}", "{vsn, {git, short}}", "{vsn, semver}"] {
            assert!(is_asked_for(&format!("{{application, a, [{text}]}}.")), "{text}");
        }
        for text in ["{vsn, \"1.0.0\"}", "{vsn, {cmd, \"git describe\"}}", "{description, \"git\"}"] {
            assert!(!is_asked_for(&format!("{{application, a, [{text}]}}.")), "{text}");
        }
    }
}
