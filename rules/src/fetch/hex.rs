//! Asking a Hex repository for a package.

use std::path::Path;

use relgraph_engine::{StepContext, StepError, StepErrorKind};

use super::Whose;
use super::http::{self, Refusal};
use super::package;
use super::settings::Settings;
use crate::lock::{HexPackage, PUBLIC};
use crate::tool::Tool;

/// Downloads the tarball of a package to `file`, from the first of the repositories that has it.
pub(super) fn download(
    cx: &StepContext<'_>,
    whose: &Whose,
    settings: &Settings,
    package: &HexPackage,
    file: &Path,
) -> Result<(), StepError> {
    let mut first: Option<StepError> = None;
    for repo in settings.sources(&package.repo) {
        let package = HexPackage { repo, ..package.clone() };
        match download_from(cx, whose, settings, &package, file) {
            Ok(()) => return Ok(()),
            Err((true, error)) => drop(first.get_or_insert(error)),
            Err((false, error)) => return Err(first.unwrap_or(error)),
        }
    }
    Err(first.unwrap_or_else(|| StepError::internal("a package comes from no repository")))
}

/// The error says whether another repository may have it.
fn download_from(
    cx: &StepContext<'_>,
    whose: &Whose,
    settings: &Settings,
    package: &HexPackage,
    file: &Path,
) -> Result<(), (bool, StepError)> {
    let HexPackage { name, version, repo, .. } = package;
    let repository = settings.repository(repo).map_err(|message| {
        let known = "`mix hex.repo add` makes a repository known to Hex, and to relgraph";
        let message = format!("{name} {version} is locked to come from `{repo}`: {message}");
        (true, StepError::input(message).with_hint(known))
    })?;
    let url = format!("{}/tarballs/{name}-{version}.tar", repository.url);
    let carry_on = || if cx.cancel.is_cancelled() { Err(StepError::cancelled()) } else { Ok(()) };
    let agent = http::agent(settings, &url).map_err(|error| (false, error))?;
    let key = repository.authorization.as_ref();
    http::download(&agent, &url, key, file, package::LARGEST, &carry_on).map_err(|refusal| {
        let from = http::shown(&url);
        let failed = |message: String, hint: &str| StepError::new(StepErrorKind::Exit, message).with_hint(hint);
        let absent = matches!(refusal, Refusal::Status(401 | 403 | 404));
        let error = match refusal {
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
                failed(format!("{name} {version} cannot be fetched: {from} {said}"), &rights(whose, repo))
            }
            Refusal::Status(404) => failed(
                format!("there is no {name} {version} at {from}"),
                &format!(
                    "is the package private, or gone, or not on this mirror? `{}` and `{}` tell more",
                    if whose.tool == Tool::Rebar3 { "rebar3 pkgs" } else { "mix hex.info" },
                    whose.update()
                ),
            ),
            Refusal::Status(status) => failed(
                format!("{from} answered with status {status}"),
                "try again later, or name another server with HEX_MIRROR",
            ),
        };
        (absent, error)
    })
}

fn rights(whose: &Whose, repo: &str) -> String {
    if whose.tool == Tool::Rebar3 {
        return format!(
            "`rebar3 hex {}` stores a key, or set HEX_REPOS_KEY",
            match repo.split_once(':') {
                Some((PUBLIC, organisation)) => format!("organization auth {PUBLIC}:{organisation}"),
                _ => "user auth".to_owned(),
            }
        );
    }
    match repo.split_once(':') {
        Some((PUBLIC, organisation)) => {
            format!("`mix hex.organization auth {organisation}` stores a key, or set HEX_REPOS_KEY")
        }
        _ if repo == PUBLIC => "`mix hex.user auth` stores a key, or set HEX_REPOS_KEY".to_owned(),
        _ => format!("`mix hex.repo set {repo} --auth-key KEY` stores a key"),
    }
}
