//! Which pull request is built, by the variables of the services that build them.

use std::collections::BTreeMap;

use super::variable;

/// A pull request that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullRequest {
    /// The one with this number.
    Numbered(u64),
    /// One whose number cannot be found.
    Unknown,
}

/// Variables that hold the number of a pull request, or nothing or `false` where none is built: GitLab, Azure, Bitbucket,
/// Buildkite, Circle, Drone and Woodpecker, Jenkins, Semaphore, Travis, AppVeyor, Cirrus.
const NUMBERS: [&str; 14] = [
    "CI_MERGE_REQUEST_IID",
    "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER",
    "SYSTEM_PULLREQUEST_PULLREQUESTID",
    "BITBUCKET_PR_ID",
    "BUILDKITE_PULL_REQUEST",
    "CIRCLE_PR_NUMBER",
    "CIRCLE_PULL_REQUEST",
    "CI_COMMIT_PULL_REQUEST",
    "DRONE_PULL_REQUEST",
    "CHANGE_ID",
    "SEMAPHORE_GIT_PR_NUMBER",
    "TRAVIS_PULL_REQUEST",
    "APPVEYOR_PULL_REQUEST_NUMBER",
    "CIRRUS_PR",
];

/// The pull request that is built, if one is.
pub fn pull_request(env: &BTreeMap<String, String>) -> Option<PullRequest> {
    if let Some(event) = variable(env, "GITHUB_EVENT_NAME") {
        let number = variable(env, "GITHUB_REF").and_then(|name| {
            let (number, _) = name.strip_prefix("refs/pull/")?.split_once('/')?;
            number.parse().ok()
        });
        if let Some(number) = number {
            return Some(PullRequest::Numbered(number));
        }
        // Here the branch is that which it is to be merged into, and the number is in a file.
        if event.starts_with("pull_request") {
            return Some(of_event(env).map_or(PullRequest::Unknown, PullRequest::Numbered));
        }
    }
    NUMBERS.iter().find_map(|name| {
        let value = variable(env, name)?;
        // Some give its address.
        value.rsplit('/').next()?.parse().ok().map(PullRequest::Numbered)
    })
}

fn of_event(env: &BTreeMap<String, String>) -> Option<u64> {
    let bytes = std::fs::read(variable(env, "GITHUB_EVENT_PATH")?).ok()?;
    let event: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    event.get("number").or_else(|| event.get("pull_request")?.get("number"))?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(env: &[(&str, &str)], number: Option<u64>) {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(pull_request(&env), number.map(PullRequest::Numbered));
    }

    #[test]
    fn the_number_is_found_where_the_service_puts_it() {
        finds(&[("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_REF", "refs/pull/17/merge")], Some(17));
        finds(&[("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/heads/main")], None);
        finds(&[("CI_MERGE_REQUEST_IID", "4")], Some(4));
        finds(&[("CI_MERGE_REQUEST_IID", "")], None);
        finds(&[("TRAVIS_PULL_REQUEST", "false")], None);
        finds(&[("BUILDKITE_PULL_REQUEST", "12")], Some(12));
        finds(&[("CIRCLE_PULL_REQUEST", "https://github.com/a/b/pull/9")], Some(9));
        finds(&[], None);
    }

    #[test]
    fn a_build_on_the_side_of_the_target_finds_it_in_the_event() {
        let file = std::env::temp_dir().join(format!("relgraph-event-{}", std::process::id()));
        std::fs::write(&file, r#"{"action":"opened","pull_request":{"number":23}}"#).unwrap();
        let env = |path: &str| {
            let pairs = [
                ("GITHUB_EVENT_NAME", "pull_request_target"),
                ("GITHUB_REF", "refs/heads/main"),
                ("GITHUB_EVENT_PATH", path),
            ];
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        };
        assert_eq!(pull_request(&env(file.to_str().unwrap())), Some(PullRequest::Numbered(23)));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(pull_request(&env(file.to_str().unwrap())), Some(PullRequest::Unknown));
    }
}
