//! Where results are shared: what release.yaml, the user's own file, the environment and the flags say, each over the one
//! before. `docs/remotes.md` tells users how they come together.
//!
//! | file | its job |
//! |---|---|
//! | `layer` | one source and what it says |
//! | `settle` | what holds of one remote when all sources have spoken |
//! | `ci` | which pull request is built |

mod ci;
mod layer;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use relgraph_cache::remote::{Access, RemoteSpec, Secret, Trust};
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::schema::ReleaseFile;

use super::context::Context;
use super::quantity::parse_age;
use layer::{Layer, access, wrong};

/// How long the end of a build waits for uploads, where nobody says.
const UPLOAD_WAIT: Duration = Duration::from_secs(10);

/// The same on a machine that is gone afterwards.
const UPLOAD_WAIT_CI: Duration = Duration::from_secs(300);

/// Flags about remotes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Sharing")]
pub struct RemoteArgs {
    /// Use this remote, and not those of release.yaml and the configuration; may be given again
    #[arg(long = "remote", global = true, value_name = "URL[;access=read-write]")]
    pub remotes: Vec<String>,
    /// What is done with all remotes: read, or read-write
    #[arg(long, global = true, value_name = "ACCESS", value_parser = access)]
    pub remote_access: Option<Access>,
    /// Which part of the remotes results are stored in
    #[arg(long, global = true, value_name = "NAME", value_parser = namespace)]
    pub namespace: Option<String>,
    /// Use no remote
    #[arg(long, global = true)]
    pub no_remote: bool,
    /// How long the end of a build waits for uploads: 0, 30s, 5m
    #[arg(long, global = true, value_name = "SPAN", value_parser = parse_age)]
    pub upload_wait: Option<Duration>,
}

fn namespace(text: &str) -> Result<String, String> {
    relgraph_rules::schema::namespace(text).map(|()| text.to_owned())
}

/// Where results are shared, and what of it is trusted.
#[derive(Debug, Clone, Default)]
pub struct Sharing {
    /// The remotes, in the order in which they are asked. One with a namespace of its own is there twice: its main part, which
    /// is read, and the other.
    pub remotes: Vec<RemoteSpec>,
    /// Whose results are taken, and what ours are signed with.
    pub trust: Trust,
    /// How long the end of a build waits for uploads.
    pub upload_wait: Duration,
    /// What everybody should hear.
    pub warnings: Vec<Diagnostic>,
    /// What is of interest to who looks for a trouble, with the remote that it is about.
    pub notes: Vec<(String, String)>,
}

/// Everything that is asked.
struct Sources<'a> {
    /// release.yaml, and the folder that it lies in.
    release: Option<(&'a ReleaseFile, &'a Path)>,
    env: &'a BTreeMap<String, String>,
    flags: &'a RemoteArgs,
    offline: bool,
}

/// Where results are shared. `release` is release.yaml and its folder, for commands that are about one; `offline`: no remote
/// is asked for anything.
pub fn configured(
    context: &Context,
    release: Option<(&ReleaseFile, &Path)>,
    offline: bool,
) -> Result<Sharing, Vec<Diagnostic>> {
    resolve(&Sources { release, env: &context.env, flags: &context.global.sharing, offline })
}

/// The variables that hold secrets by the word of release.yaml, which steps must not see.
pub fn without_secrets(env: &BTreeMap<String, String>, release: &ReleaseFile) -> BTreeMap<String, String> {
    let mut env = env.clone();
    for name in release.cache.variables() {
        env.remove(name);
    }
    env
}

fn resolve(sources: &Sources<'_>) -> Result<Sharing, Vec<Diagnostic>> {
    let mut sharing = Sharing::default();
    let layers = [
        layer::of_release(sources.release),
        layer::of_user(sources.env, &mut sharing.warnings)?,
        layer::of_environment(sources.env, &mut sharing.warnings)?,
        layer::of_flags(sources.flags, &mut sharing.warnings)?,
    ];
    let ci = sources.env.get("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let last = |of: &dyn Fn(&Layer) -> Option<Duration>| layers.iter().rev().find_map(of);
    sharing.upload_wait =
        last(&|layer| layer.upload_wait).unwrap_or(if ci { UPLOAD_WAIT_CI } else { UPLOAD_WAIT });
    sharing.trust.trusted = layers.iter().rev().find_map(|layer| layer.trusted.clone()).unwrap_or_default();
    let key = layers.iter().rev().find_map(|layer| layer.signing_key.clone());
    sharing.trust.signer = key.map_or(Ok(None), |key| layer::signing_key(key, &mut sharing.notes))?;
    if !sources.offline {
        settle::remotes(&layers, sources.env, &mut sharing)?;
    }
    Ok(sharing)
}

/// The user's home.
fn home(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    env.get("HOME").filter(|home| Path::new(home.as_str()).is_absolute()).map(PathBuf::from)
}

/// The value of a variable; one that is empty is not there.
fn variable<'a>(env: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// A file of one line, such as a token.
fn line_of(path: &Path) -> Result<Option<Secret>, Vec<Diagnostic>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let mut lines =
                text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            match (lines.next(), lines.next()) {
                (Some(line), None) => Ok(Some(Secret::new(line))),
                (None, _) => Ok(None),
                _ => wrong(format!("{}: expected one line, found several", path.display())),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => wrong(format!("cannot read {}: {error}", path.display())),
    }
}
