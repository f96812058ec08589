//! What rebar3 goes by when it asks a Hex repository: its own variables, and files that are not Hex's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::settings::{Repo, Secret, Settings};
use crate::etf::{Term, consult};
use crate::lock::PUBLIC;

/// The settings of Hex, with what rebar3 knows besides: `HEX_CDN`, keys in its `hex.config`, repositories that its
/// `rebar.config` and that of the project name, and the packages that it has downloaded.
pub(super) fn more(
    mut settings: Settings,
    env: &BTreeMap<String, String>,
    root: &Path,
) -> Result<Settings, String> {
    settings.any_repo = true;
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    settings.mirror = settings.mirror.or_else(|| set("HEX_CDN").cloned());
    let home = set("HOME").map(PathBuf::from);
    let cache = set("REBAR_CACHE_DIR").map(PathBuf::from);
    let cache = cache.or_else(|| Some(home.clone()?.join(".cache/rebar3")));
    settings.caches.extend(cache.map(|folder| folder.join("hex")));
    let folder = set("REBAR_GLOBAL_CONFIG_DIR").map(PathBuf::from).or(home);
    let folder = folder.map(|folder| folder.join(".config/rebar3"));
    let global = folder.iter().map(|folder| folder.join("rebar.config"));
    for file in global.chain([root.join("rebar.config")]) {
        // Its own tool says what is wrong with it.
        let terms = std::fs::read(&file).ok().and_then(|bytes| consult(&bytes).ok()).unwrap_or_default();
        named(&Term::list(terms), &mut settings.repos);
    }
    if let Some(path) = folder.map(|folder| folder.join("hex.config"))
        && let Ok(bytes) = std::fs::read(&path)
    {
        // Without the line itself: it may hold a key.
        let terms = consult(&bytes).map_err(|error| {
            format!("{} cannot be read: line {}: {}", path.display(), error.line, error.message)
        })?;
        keys(terms.first(), &mut settings.repos);
    }
    Ok(settings)
}

/// `{hex, [{repos, [#{name => <<"hexpm:acme">>}, #{name => <<"own">>, repo_url => …}]}]}`.
fn named(config: &Term, repos: &mut BTreeMap<String, Repo>) {
    let options = config.property("hex").and_then(Term::elements).unwrap_or_default();
    for option in &options {
        let listed = match option.as_tuple() {
            Some([key, .., list]) if key.as_atom() == Some("repos") => list.elements().unwrap_or_default(),
            _ => continue,
        };
        for repo in &listed {
            let text = |key: &str| repo.get(key).and_then(Term::as_text).filter(|text| !text.is_empty());
            if let Some(name) = text("name") {
                let known = repos.entry(name.clone()).or_default();
                known.url = known.url.take().or_else(|| text("repo_url").filter(|_| name != PUBLIC));
                known.key = known.key.take().or_else(|| text("repo_key").map(Secret));
            }
        }
    }
}

/// `#{<<"hexpm:acme">> => #{repo_key => <<"…">>}}`.
fn keys(config: Option<&Term>, repos: &mut BTreeMap<String, Repo>) {
    for (name, repo) in config.and_then(Term::as_map).unwrap_or_default() {
        let text = |key: &str| repo.get(key).and_then(Term::as_text).filter(|text| !text.is_empty());
        if let Some(name) = name.as_text() {
            let known = repos.entry(name).or_default();
            let key = text("repo_key").or_else(|| text("auth_key")).or_else(|| text("read_key"));
            known.key = known.key.take().or_else(|| key.map(Secret));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organisations_of_the_project_get_the_keys_that_rebar3_keeps() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str, text: &str| {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, text).expect("a file");
        };
        at(
            "project/rebar.config",
            "{hex, [{repos, [#{name => <<\"hexpm:acme\">>}, #{name => <<\"own\">>, repo_url => <<\"http://own/\">>}]}]}.",
        );
        at(
            "home/.config/rebar3/hex.config",
            "%% coding: utf-8\n#{<<\"hexpm:acme\">> => #{repo_key => <<\"org\">>},<<\"own\">> => #{repo_key => <<\"mine\">>}}.",
        );
        let env =
            [("HOME", folder.path().join("home").display().to_string()), ("HEX_CDN", "http://m".into())];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let plain = Settings::read(&env).expect("settings");
        let settings = more(plain, &env, &folder.path().join("project")).expect("settings");
        assert_eq!(settings.sources("hexpm"), ["hexpm", "hexpm:acme", "own"]);
        let asked = |repo: &str| {
            let found = settings.repository(repo).expect("a repository");
            (found.url, found.authorization.map(|secret| secret.0))
        };
        assert_eq!(asked("hexpm"), ("http://m".to_owned(), None));
        assert_eq!(asked("hexpm:acme"), ("http://m/repos/acme".to_owned(), Some("org".to_owned())));
        assert_eq!(asked("own"), ("http://own".to_owned(), Some("mine".to_owned())));
    }
}
