//! Asking a Hex repository for a package.

use std::path::Path;

use relgraph_engine::{StepContext, StepError, StepErrorKind};

use super::http::{self, Refusal};
use super::package;
use super::settings::Settings;
use crate::lock::{HexPackage, PUBLIC};

/// Downloads the tarball of a package to `file`.
pub(super) fn download(
    cx: &StepContext<'_>,
    settings: &Settings,
    package: &HexPackage,
    file: &Path,
) -> Result<(), StepError> {
    let HexPackage { name, version, repo, .. } = package;
    let repository = settings.repository(repo).map_err(|message| {
        StepError::input(format!("{name} {version} is locked to come from `{repo}`: {message}"))
            .with_hint("`mix hex.repo add` makes a repository known to Hex, and to relgraph")
    })?;
    let url = format!("{}/tarballs/{name}-{version}.tar", repository.url);
    let carry_on = || if cx.cancel.is_cancelled() { Err(StepError::cancelled()) } else { Ok(()) };
    let agent = http::agent(settings, &url)?;
    let key = repository.authorization.as_ref();
    http::download(&agent, &url, key, file, package::LARGEST, &carry_on).map_err(|refusal| {
        let from = http::shown(&url);
        let failed = |message: String, hint: &str| StepError::new(StepErrorKind::Exit, message).with_hint(hint);
        match refusal {
            Refusal::Step(error) => error,
            Refusal::TooLarge => failed(
                format!("{from} is larger than {} MB, which no package is", package::LARGEST >> 20),
                "look at what answers there: it may be no Hex repository",
            ),
            Refusal::Unreachable(what) => failed(
                format!("{from} cannot be fetched: {what}"),
                "is the network there? HEX_MIRROR names another server, HEX_HTTP_TIMEOUT how many seconds to wait; \
                 with --offline nothing is fetched",
            ),
            Refusal::Status(401 | 403) => {
                let said = if key.is_some() { "does not accept the key it was sent" } else { "wants a key" };
                failed(format!("{name} {version} cannot be fetched: {from} {said}"), &rights(repo))
            }
            Refusal::Status(404) => failed(
                format!("there is no {name} {version} at {from}"),
                "is the package private, or gone, or not on this mirror? `mix hex.info` and `mix deps.update` tell more",
            ),
            Refusal::Status(status) => failed(
                format!("{from} answered with status {status}"),
                "try again later, or name another server with HEX_MIRROR",
            ),
        }
    })
}

fn rights(repo: &str) -> String {
    match repo.split_once(':') {
        Some((PUBLIC, organisation)) => {
            format!("`mix hex.organization auth {organisation}` stores a key, or set HEX_REPOS_KEY")
        }
        _ if repo == PUBLIC => "`mix hex.user auth` stores a key, or set HEX_REPOS_KEY".to_owned(),
        _ => format!("`mix hex.repo set {repo} --auth-key KEY` stores a key"),
    }
}
