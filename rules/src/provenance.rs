//! Who builds, and from which commit: what the repository and the environment say, for the record of a release.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// Who built a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// A name: what was given, the account that started a CI job, or git's `user.name`.
    pub name: String,
    /// An address: git's `user.email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The CI service that it was built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The job there: an address, or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// The commit that was checked out when a release was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its id, in hexadecimal.
    pub id: String,
    /// The branch, where one was checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The first tag on it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether files of the project, or of what lies beside it and belongs to it, were not as that commit has them.
    pub dirty: bool,
}

/// The variable by which somebody says who builds. Empty: nobody's name is kept.
pub const BUILDER: &str = "RELGRAPH_BUILDER";

/// A CI service: its name, the variable that is set on it, who started a job, and which job it is.
struct Service {
    name: &'static str,
    mark: &'static str,
    actor: &'static str,
    job: &'static str,
}

const SERVICES: [Service; 9] = [
    service("github", "GITHUB_ACTIONS", "GITHUB_ACTOR", "GITHUB_RUN_ID"),
    service("gitlab", "GITLAB_CI", "GITLAB_USER_LOGIN", "CI_JOB_URL"),
    service("circleci", "CIRCLECI", "CIRCLE_USERNAME", "CIRCLE_BUILD_URL"),
    service("buildkite", "BUILDKITE", "BUILDKITE_BUILD_CREATOR", "BUILDKITE_BUILD_URL"),
    service("azure", "TF_BUILD", "BUILD_REQUESTEDFOR", "BUILD_BUILDID"),
    service("bitbucket", "BITBUCKET_BUILD_NUMBER", "BITBUCKET_STEP_TRIGGERER_UUID", "BITBUCKET_BUILD_NUMBER"),
    service("drone", "DRONE", "DRONE_BUILD_TRIGGER", "DRONE_BUILD_LINK"),
    service("woodpecker", "CI_PIPELINE_FORGE_URL", "CI_PIPELINE_AUTHOR", "CI_PIPELINE_URL"),
    service("jenkins", "JENKINS_URL", "BUILD_USER_ID", "BUILD_URL"),
];

const fn service(name: &'static str, mark: &'static str, actor: &'static str, job: &'static str) -> Service {
    Service { name, mark, actor, job }
}

/// Who builds the project in `root`, by the environment of the command and the configuration of git.
pub fn builder(root: &Path, env: &BTreeMap<String, String>) -> Option<Builder> {
    let said = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    if env.contains_key(BUILDER) {
        let name = said(BUILDER)?.to_owned();
        return Some(Builder { name, email: None, service: None, job: None });
    }
    if let Some(service) = SERVICES.iter().find(|service| said(service.mark).is_some()) {
        let job = said(service.job).map(without_credentials);
        return Some(Builder {
            name: said(service.actor).unwrap_or(service.name).to_owned(),
            email: None,
            service: Some(service.name.to_owned()),
            job: job.map(|job| match (said("GITHUB_SERVER_URL"), said("GITHUB_REPOSITORY")) {
                (Some(server), Some(repository)) if service.name == "github" => {
                    format!("{}/{repository}/actions/runs/{job}", without_credentials(server))
                }
                _ => job,
            }),
        });
    }
    let name = git(root, env, &["config", "--get", "user.name"])?;
    let email = git(root, env, &["config", "--get", "user.email"]);
    Some(Builder { name, email, service: None, job: None })
}

/// What is checked out in `root`, the project's folder. A repository that leaves the project out says nothing of it.
pub fn commit(root: &Path, env: &BTreeMap<String, String>) -> Option<Commit> {
    if git(root, env, &["check-ignore", "."]).is_some() {
        return None;
    }
    let id = git(root, env, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
    let branch = git(root, env, &["symbolic-ref", "--quiet", "--short", "HEAD"]);
    let tag = git(root, env, &["tag", "--points-at", "HEAD"]);
    let tag = tag.and_then(|tags| tags.lines().next().map(str::to_owned));
    Some(Commit { id, branch, tag, dirty: is_edited(root, env) })
}

/// Whether files in a folder are not as the commit has them. What is built there is not what it is built from.
pub fn is_edited(folder: &Path, env: &BTreeMap<String, String>) -> bool {
    let all_but_built = [".", ":(exclude,glob)**/_build/**"];
    let mut args = vec!["status", "--porcelain", "--untracked-files=normal", "--"];
    args.extend(all_but_built);
    git(folder, env, &args).is_some()
}

/// What git answers; none where it has nothing to say, is not there, or refuses.
fn git(at: &Path, env: &BTreeMap<String, String>, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // A file system monitor is a program of the repository's choice.
    command.args(["-c", "core.fsmonitor=false"]).args(args).current_dir(at).env_clear();
    command.envs(env.iter().filter(|(name, _)| !name.starts_with("GIT_") || name.starts_with("GIT_CONFIG")));
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    let asked = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    (asked.status.success() && !text.is_empty()).then_some(text)
}

/// An address without what only its owner should know: names and passwords in front of the host, and what follows `?` or
/// `#`. The name in an address for SSH is no secret.
pub fn without_credentials(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let authority = match authority.rsplit_once('@') {
        None => authority.to_owned(),
        Some((user, host)) if scheme.ends_with("ssh") => match user.split(':').next() {
            Some(user) if !user.is_empty() => format!("{user}@{host}"),
            _ => host.to_owned(),
        },
        Some((_, host)) => host.to_owned(),
    };
    format!("{scheme}://{authority}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_credentials() {
        for (from, to) in [
            ("https://me:word@host:8443/a/b.git", "https://host:8443/a/b.git"),
            ("https://token@host/a?private_token=x#y", "https://host/a"),
            ("ssh://git:word@host/a", "ssh://git@host/a"),
            ("git@host:a/b.git", "git@host:a/b.git"),
            ("https://host", "https://host"),
            ("../a", "../a"),
        ] {
            assert_eq!(without_credentials(from), to);
        }
    }

    #[test]
    fn a_job_says_who_started_it_and_a_name_that_is_given_wins() {
        let folder = tempfile::tempdir().unwrap();
        let env = |pairs: &[(&str, &str)]| {
            let path = std::env::var("PATH").unwrap_or_default();
            let own = [("PATH", path.as_str()), ("HOME", folder.path().to_str().unwrap())];
            own.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let who = |pairs: &[(&str, &str)]| builder(folder.path(), &env(pairs));
        assert_eq!(who(&[]), None);
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTOR", "ada"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_SERVER_URL", "https://x:y@forge.example"),
            ("GITHUB_REPOSITORY", "a/b"),
        ];
        let found = who(&github).unwrap();
        assert_eq!((found.name.as_str(), found.service.as_deref()), ("ada", Some("github")));
        assert_eq!(found.job.as_deref(), Some("https://forge.example/a/b/actions/runs/7"));
        assert_eq!(who(&[("JENKINS_URL", "x")]).unwrap().name, "jenkins");
        assert_eq!(who(&[(BUILDER, "Grace"), github[0]]).unwrap().name, "Grace");
        assert_eq!(who(&[(BUILDER, ""), github[0]]), None);
    }
}
