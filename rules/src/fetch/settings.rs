//! What Hex goes by: its variables of the environment, and `hex.config` in its folder.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::etf::{Term, consult};
use crate::lock::{HexPackage, PUBLIC};

/// Where packages are that name no other repository, as long as no mirror is set.
pub const PUBLIC_URL: &str = "https://repo.hex.pm";

/// How long Hex waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What Hex goes by.
#[derive(Debug)]
pub(super) struct Settings {
    pub offline: bool,
    pub timeout: Duration,
    pub unsafe_https: bool,
    pub cacerts: Option<PathBuf>,
    pub http_proxy: Option<Secret>,
    pub https_proxy: Option<Secret>,
    pub no_proxy: Vec<String>,
    pub(super) mirror: Option<String>,
    trusted_mirror: Option<String>,
    repos_key: Option<Secret>,
    /// A token of the user, for the public repository and its organisations.
    token: Option<Secret>,
    pub(super) repos: BTreeMap<String, Repo>,
    /// Folders of downloaded tarballs, by repository.
    pub(super) caches: Vec<PathBuf>,
    /// Whether a lock does not say which repository a package comes from: any that is known may have it.
    pub(super) any_repo: bool,
}

/// A repository as `hex.config` has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Repo {
    pub url: Option<String>,
    pub key: Option<Secret>,
    token: Option<Secret>,
}

/// Where to ask for a package, and by what right.
#[derive(Debug)]
pub(super) struct Repository {
    /// Without a slash at its end.
    pub url: String,
    /// The value of the header `authorization`.
    pub authorization: Option<Secret>,
}

impl Settings {
    pub fn read(env: &BTreeMap<String, String>) -> Result<Settings, String> {
        let config_home = home(env, "XDG_CONFIG_HOME", ".config");
        let mut config = Vec::new();
        if let Some(path) = config_home.map(|home| home.join("hex.config"))
            && let Ok(bytes) = std::fs::read(&path)
        {
            // Without the line itself: it may hold a key.
            config = consult(&bytes).map_err(|error| {
                format!("{} cannot be read: line {}: {}", path.display(), error.line, error.message)
            })?;
        }
        Self::of(env, &Term::list(config))
    }

    fn of(env: &BTreeMap<String, String>, config: &Term) -> Result<Settings, String> {
        let set = |names: &[&str], key: &str| {
            let given = names.iter().find_map(|name| env.get(*name));
            let given = given.filter(|value| !value.is_empty()).cloned();
            given.or_else(|| config.property(key).and_then(Term::as_text).filter(|text| !text.is_empty()))
        };
        let flag = |name: &str, key: &str| -> Result<bool, String> {
            match env.get(name).map(String::as_str) {
                Some("1" | "true" | "TRUE") => Ok(true),
                Some("0" | "false" | "FALSE" | "") => Ok(false),
                Some(_) => Err(format!("{name} is neither `true` nor `false`")),
                None => Ok(config.property(key).and_then(Term::as_atom) == Some("true")),
            }
        };
        let secret = |names: &[&str], key: &str| set(names, key).map(Secret);
        let timeout = match env.get("HEX_HTTP_TIMEOUT").filter(|value| !value.is_empty()) {
            Some(value) => {
                Some(value.trim().parse::<u32>().map_err(|_| "HEX_HTTP_TIMEOUT is no number of seconds")?)
            }
            None => {
                config.property("http_timeout").and_then(Term::as_integer).and_then(|s| s.try_into().ok())
            }
        };
        let no_proxy = set(&["no_proxy", "NO_PROXY"], "no_proxy").unwrap_or_default();
        let repos = config.property("$repos").and_then(Term::as_map).unwrap_or_default();
        Ok(Settings {
            offline: flag("HEX_OFFLINE", "offline")?,
            timeout: timeout.filter(|s| *s > 0).map_or(TIMEOUT, |s| Duration::from_secs(s.into())),
            unsafe_https: flag("HEX_UNSAFE_HTTPS", "unsafe_https")?,
            cacerts: set(&["HEX_CACERTS_PATH"], "cacerts_path").map(PathBuf::from),
            http_proxy: secret(&["http_proxy", "HTTP_PROXY"], "http_proxy"),
            https_proxy: secret(&["https_proxy", "HTTPS_PROXY"], "https_proxy"),
            no_proxy: no_proxy
                .split(',')
                .map(|host| host.trim().to_owned())
                .filter(|h| !h.is_empty())
                .collect(),
            mirror: set(&["HEX_MIRROR_URL", "HEX_MIRROR"], "mirror_url"),
            trusted_mirror: set(&["HEX_TRUSTED_MIRROR_URL", "HEX_TRUSTED_MIRROR"], "trusted_mirror_url"),
            repos_key: secret(&["HEX_REPOS_KEY"], "repos_key"),
            token: config
                .property("$oauth_token")
                .and_then(access_token)
                .or_else(|| secret(&["HEX_API_KEY"], "api_key")),
            repos: repos.iter().filter_map(|(name, repo)| Some((name.as_text()?, Repo::of(repo)))).collect(),
            caches: home(env, "XDG_CACHE_HOME", ".cache")
                .map(|home| home.join("packages"))
                .into_iter()
                .collect(),
            any_repo: false,
        })
    }

    /// Where Hex, or rebar3, keeps the tarball of a package that it has downloaded.
    pub fn cached(&self, package: &HexPackage) -> Vec<PathBuf> {
        let file = format!("{}-{}.tar", package.name, package.version);
        let named = |folder: &PathBuf, repo: &str| match folder.ends_with("hex") {
            true => folder.join(repo).join("packages").join(&file),
            false => folder.join(repo).join(&file),
        };
        let repos = self.sources(&package.repo);
        self.caches.iter().flat_map(|folder| repos.iter().map(|repo| named(folder, repo))).collect()
    }

    /// The repositories that may have a package that is locked to come from one.
    pub fn sources(&self, repo: &str) -> Vec<String> {
        let others = self.repos.keys().filter(|name| self.any_repo && *name != repo);
        std::iter::once(repo.to_owned()).chain(others.cloned()).collect()
    }

    /// The repository of that name, as Hex finds it. An error says what is not known.
    pub fn repository(&self, name: &str) -> Result<Repository, String> {
        let own = self.repos.get(name);
        if name == PUBLIC {
            let own = own.cloned().unwrap_or_default();
            return Ok(self.public(&own, &own, None));
        }
        match (name.split_once(':'), own) {
            (Some((PUBLIC, organisation)), own) => {
                let above = self.repos.get(PUBLIC).cloned().unwrap_or_default();
                Ok(self.public(&above, &own.cloned().unwrap_or_default(), Some(organisation)))
            }
            (_, Some(Repo { url: Some(url), key, .. })) => {
                Ok(Repository { url: trimmed(url), authorization: key.clone() })
            }
            (Some((source, organisation)), own) => {
                let above = self.repository(source)?;
                let key = own.and_then(|own| own.key.clone()).or(above.authorization);
                Ok(Repository { url: format!("{}/repos/{organisation}", above.url), authorization: key })
            }
            (None, _) => Err(format!("the repository `{name}` is not known")),
        }
    }

    /// The public repository, or a part of it that belongs to an organisation. A key is sent to no mirror that the user
    /// does not trust with it, except where it is that organisation's own.
    fn public(&self, above: &Repo, own: &Repo, organisation: Option<&str>) -> Repository {
        let mirror = self.trusted_mirror.as_ref().or(self.mirror.as_ref());
        let trusted = self.trusted_mirror.is_some() || self.mirror.is_none();
        let base = trimmed(mirror.or(above.url.as_ref()).map_or(PUBLIC_URL, String::as_str));
        let url = match (organisation, &own.url) {
            (Some(_), Some(url)) => trimmed(url),
            (Some(organisation), None) => format!("{base}/repos/{organisation}"),
            (None, _) => base,
        };
        let own_key = own.key.clone().filter(|_| organisation.is_some());
        let key = own_key.or_else(|| {
            let shared = self.repos_key.clone().or_else(|| above.key.clone());
            let token = own.token.clone().or_else(|| self.token.clone());
            shared.or(token).filter(|_| trusted)
        });
        Repository { url, authorization: key }
    }
}

impl Repo {
    fn of(term: &Term) -> Repo {
        let text = |key: &str| term.get(key).and_then(Term::as_text).filter(|text| !text.is_empty());
        Repo {
            url: text("url"),
            key: text("auth_key").map(Secret),
            token: term.get("oauth_token").and_then(access_token),
        }
    }
}

fn access_token(term: &Term) -> Option<Secret> {
    let token = |key: &Term| {
        key.as_atom() == Some("access_token") || key.as_text().as_deref() == Some("access_token")
    };
    let (_, value) = term.as_map()?.iter().find(|(key, _)| token(key))?;
    Some(Secret(format!("Bearer {}", value.as_text()?)))
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// Hex's folder: `HEX_HOME`, or the one that the XDG variables name where `MIX_XDG` asks for it, or `~/.hex`.
fn home(env: &BTreeMap<String, String>, variable: &str, usual: &str) -> Option<PathBuf> {
    let user = env.get("HOME").map(PathBuf::from);
    if let Some(home) = env.get("HEX_HOME").filter(|home| !home.is_empty()) {
        return Some(PathBuf::from(home));
    }
    if matches!(env.get("MIX_XDG").map(String::as_str), Some("1" | "true")) {
        let named = env.get(variable).filter(|dir| Path::new(dir).is_absolute()).map(PathBuf::from);
        return Some(named.or_else(|| Some(user?.join(usual)))?.join("hex"));
    }
    Some(user?.join(".hex"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(env: &[(&str, &str)], config: &str) -> Settings {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::of(&env, &Term::list(consult(config.as_bytes()).expect("terms"))).expect("settings")
    }

    fn asked(settings: &Settings, repo: &str) -> (String, Option<String>) {
        let found = settings.repository(repo).expect("a repository");
        (found.url, found.authorization.map(|secret| secret.0))
    }

    fn at(url: &str, key: Option<&str>) -> (String, Option<String>) {
        (url.to_owned(), key.map(str::to_owned))
    }

    #[test]
    fn mirrors_get_a_key_only_when_they_are_trusted() {
        let config = "{'$repos',#{<<\"hexpm\">> => #{auth_key => <<\"stored\">>}}}.";
        assert_eq!(asked(&settings(&[], config), "hexpm"), at(PUBLIC_URL, Some("stored")));
        let mirror = settings(&[("HEX_MIRROR", "http://m/"), ("HEX_REPOS_KEY", "k")], config);
        assert_eq!(asked(&mirror, "hexpm"), at("http://m", None));
        assert_eq!(asked(&mirror, "hexpm:acme"), at("http://m/repos/acme", None));
        let both = settings(&[("HEX_MIRROR_URL", "http://n"), ("HEX_MIRROR", "http://m")], "");
        assert_eq!(asked(&both, "hexpm"), at("http://n", None));
        let trusted = settings(&[("HEX_TRUSTED_MIRROR", "http://t"), ("HEX_REPOS_KEY", "k")], "");
        assert_eq!(asked(&trusted, "hexpm:acme"), at("http://t/repos/acme", Some("k")));
        let written = settings(&[], "{mirror_url,<<\"http://w\">>}.");
        assert_eq!(asked(&written, "hexpm"), at("http://w", None));
    }

    #[test]
    fn organisations_and_repositories_of_the_user() {
        let config = "{'$repos',#{<<\"hexpm:acme\">> => #{auth_key => <<\"org\">>},\n\
                      <<\"own\">> => #{url => <<\"http://own/hex/\">>,auth_key => <<\"mine\">>}}}.";
        let plain = settings(&[("HEX_MIRROR", "http://m")], config);
        assert_eq!(asked(&plain, "hexpm:acme"), at("http://m/repos/acme", Some("org")));
        assert_eq!(asked(&plain, "own"), at("http://own/hex", Some("mine")));
        assert_eq!(asked(&plain, "own:team"), at("http://own/hex/repos/team", Some("mine")));
        assert_eq!(asked(&settings(&[("HEX_REPOS_KEY", "k")], ""), "hexpm:acme").1.as_deref(), Some("k"));
        assert!(plain.repository("other").is_err());
        let token = settings(&[], "{'$oauth_token',#{access_token => <<\"t\">>,expires_at => 1}}.");
        assert_eq!(asked(&token, "hexpm:acme").1.as_deref(), Some("Bearer t"));
        assert!(!format!("{plain:?}").contains("mine"));
    }

    #[test]
    fn words_and_numbers_of_the_environment() {
        let set =
            settings(&[("HEX_OFFLINE", "1"), ("HEX_HTTP_TIMEOUT", "3"), ("HEX_UNSAFE_HTTPS", "true")], "");
        assert_eq!((set.offline, set.timeout.as_secs(), set.unsafe_https), (true, 3, true));
        let env = BTreeMap::from([("HEX_OFFLINE".to_owned(), "maybe".to_owned())]);
        assert!(Settings::of(&env, &Term::list(vec![])).expect_err("a word").contains("HEX_OFFLINE"));
        let package = HexPackage {
            name: "a".into(),
            version: "1.0.0".into(),
            inner: None,
            outer: None,
            managers: None,
            children: None,
            repo: "hexpm:acme".into(),
        };
        for (env, path) in [
            (vec![("HOME", "/h")], "/h/.hex/packages/hexpm:acme/a-1.0.0.tar"),
            (vec![("HOME", "/h"), ("HEX_HOME", "/x")], "/x/packages/hexpm:acme/a-1.0.0.tar"),
            (vec![("HOME", "/h"), ("MIX_XDG", "1")], "/h/.cache/hex/packages/hexpm:acme/a-1.0.0.tar"),
        ] {
            assert_eq!(settings(&env, "").cached(&package), [PathBuf::from(path)]);
        }
    }
}
