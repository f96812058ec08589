//! What holds of one remote when all sources have spoken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use relgraph_cache::remote::{Access, Credentials, RemoteSpec, Secret, netrc};
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::schema::{RemoteAddress, RemoteSettings, variable as reference};

use super::ci::{PullRequest, pull_request};
use super::layer::{Layer, wrong};
use super::{Sharing, home, line_of, variable};

/// The part of a remote that everybody reads.
const MAIN: &str = "main";

/// Finds the remotes that are to be used.
pub fn remotes(
    layers: &[Layer],
    env: &BTreeMap<String, String>,
    sharing: &mut Sharing,
) -> Result<(), Vec<Diagnostic>> {
    let pull_request = pull_request(env);
    for entry in listed(layers) {
        settle(entry, env, pull_request.as_ref(), sharing)?;
    }
    Ok(())
}

/// The remotes of the last source that lists any, with what the sources before say of the same addresses and what the
/// sources after say of all.
fn listed(layers: &[Layer]) -> Vec<RemoteSettings> {
    let mut entries: Vec<RemoteSettings> = Vec::new();
    let mut credentials: Vec<&RemoteSettings> = Vec::new();
    let mut token: Option<&Secret> = None;
    // What was said of all remotes holds for those that are listed later as well.
    let (mut access, mut namespace) = (None, None);
    for layer in layers {
        access = layer.access.or(access);
        namespace = layer.namespace.clone().or(namespace);
        let own = |entry: &RemoteSettings| layer.remotes.iter().flatten().find(|it| it.url == entry.url);
        if let Some(remotes) = &layer.remotes {
            let mut next: Vec<RemoteSettings> = Vec::new();
            for entry in remotes {
                let known = entries.iter().find(|it| it.url == entry.url);
                let entry = match known {
                    Some(known) => merged(known, entry),
                    None => {
                        let new = merged(&nearest(&credentials, entry), entry);
                        RemoteSettings {
                            access: new.access.or(access),
                            namespace: new.namespace.clone().or_else(|| namespace.clone()),
                            ..new
                        }
                    }
                };
                match next.iter_mut().find(|it| it.url == entry.url) {
                    Some(there) => *there = merged(there, &entry),
                    None => next.push(entry),
                }
            }
            entries = next;
        }
        if !layer.credentials.is_empty() {
            credentials = layer.credentials.iter().collect();
            for entry in &mut entries {
                // What is said of this very address counts more than what is said of all below another.
                let found = nearest(&credentials, entry);
                *entry = match own(entry) {
                    Some(own) => merged(&merged(entry, &found), own),
                    None => merged(entry, &found),
                };
            }
        }
        token = layer.token.as_ref().or(token);
        if let Some(token) = token.filter(|_| layer.remotes.is_some() || layer.token.is_some()) {
            // It is for one host, and a remote elsewhere does not get to see it.
            let of_token = entries.iter().find_map(|entry| origin(&entry.url.0));
            for entry in &mut entries {
                let own = own(entry).is_some_and(RemoteSettings::is_authorized);
                if !own && of_token.is_some() && origin(&entry.url.0) == of_token {
                    entry.forget_authorization();
                    entry.token = Some(token.clone());
                }
            }
        }
        for entry in &mut entries {
            let own = own(entry);
            if own.is_none_or(|own| own.access.is_none()) {
                entry.access = layer.access.or(entry.access);
            }
            if own.is_none_or(|own| own.namespace.is_none()) {
                entry.namespace = layer.namespace.clone().or(entry.namespace.take());
            }
        }
    }
    entries
}

/// What is known of the innermost address that a remote lies at or below, as an entry of that remote.
fn nearest(credentials: &[&RemoteSettings], entry: &RemoteSettings) -> RemoteSettings {
    let mut found: Vec<(usize, &RemoteSettings)> = Vec::new();
    if let Ok(address) = RemoteAddress::parse(&entry.url.0) {
        for one in credentials {
            let of = RemoteAddress::parse(&one.url.0).ok();
            found.extend(of.filter(|of| address.lies_in(of)).map(|of| (of.url.len(), *one)));
        }
    }
    let innermost = found.into_iter().max_by_key(|(length, _)| *length).map(|(_, one)| one.clone());
    RemoteSettings { url: entry.url.clone(), ..innermost.unwrap_or_default() }
}

/// What `over` says, and else `under`. What is shown to be let in comes from one of them as a whole.
fn merged(under: &RemoteSettings, over: &RemoteSettings) -> RemoteSettings {
    let authorized = if over.is_authorized() { over } else { under };
    let certified = if over.certificate.is_some() { over } else { under };
    RemoteSettings {
        url: over.url.clone(),
        access: over.access.or(under.access),
        namespace: over.namespace.clone().or_else(|| under.namespace.clone()),
        instance: over.instance.clone().or_else(|| under.instance.clone()),
        token: authorized.token.clone(),
        token_file: authorized.token_file.clone(),
        user: authorized.user.clone(),
        password: authorized.password.clone(),
        certificate: certified.certificate.clone(),
        key: certified.key.clone(),
        authorities: over.authorities.clone().or_else(|| under.authorities.clone()),
        timeout: over.timeout.or(under.timeout),
        connect_timeout: over.connect_timeout.or(under.connect_timeout),
    }
}

/// Scheme, host and port, where credentials are shown.
fn origin(url: &str) -> Option<String> {
    let address = RemoteAddress::parse(url).ok().filter(RemoteAddress::takes_credentials)?;
    let (scheme, rest) = address.url.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split(['/', '?']).next().unwrap_or_default()))
}

fn settle(
    entry: RemoteSettings,
    env: &BTreeMap<String, String>,
    pull_request: Option<&PullRequest>,
    sharing: &mut Sharing,
) -> Result<(), Vec<Diagnostic>> {
    let Ok(address) = RemoteAddress::parse(&entry.url.0) else { return Ok(()) };
    let mut spec = RemoteSpec { url: entry.url.0.clone(), ..RemoteSpec::default() };
    let mut note = |text: String| sharing.notes.push((entry.url.0.clone(), text));
    spec.access = entry.access.unwrap_or_default();
    let home = home(env);
    let at = |path: &Option<PathBuf>| path.as_deref().map(|path| in_home(path, home.as_deref()));
    let shown = secrets(&entry, env, &at)?;
    spec.credentials = shown.clone().unwrap_or_default();
    if spec.credentials == Credentials::default() {
        spec.credentials.basic = netrc(env, &address);
    }
    if let (Err(absent), None) = (shown, &spec.credentials.basic) {
        let lost = if spec.access == Access::ReadWrite { ", and it is only read" } else { "" };
        note(format!("{absent}: nothing is shown to be let in{lost}"));
        spec.access = Access::Read;
    }
    spec.credentials.certificate = at(&entry.certificate).zip(at(&entry.key));
    spec.authorities = at(&entry.authorities);
    if let Some(seconds) = entry.timeout {
        spec.limits.call = Duration::from_secs(seconds);
        spec.limits.idle = Duration::from_secs(seconds.saturating_mul(2));
    }
    if let Some(seconds) = entry.connect_timeout {
        spec.limits.connect = Duration::from_secs(seconds);
    }
    if let Some(instance) = &entry.instance {
        spec.instance = instance.clone();
        // Two instances at one host are two remotes, and should be called by two names.
        if instance.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
            && !instance.contains("..")
        {
            spec.url = format!("{}/{}", spec.url, instance.trim_matches('/'));
            spec.instance = instance.trim_matches('/').to_owned();
        }
    }
    let plain = matches!(address.scheme(), "http" | "grpc") && !is_loopback(address.host.as_deref());
    if plain && (spec.credentials.token.is_some() || spec.credentials.basic.is_some()) {
        note("credentials travel unencrypted".into());
    }
    let wanted = entry.namespace.as_deref().unwrap_or("auto");
    spec.namespace = match (wanted, pull_request) {
        ("auto", Some(PullRequest::Numbered(number))) if spec.access == Access::ReadWrite => {
            Some(format!("pr/{number}"))
        }
        ("auto", Some(PullRequest::Unknown)) if spec.access == Access::ReadWrite => {
            let message =
                format!("{}: the number of the pull request is not known, and nothing is stored", spec.url);
            sharing.warnings.push(
                Diagnostic::warning(message).hint("name a namespace, such as RELGRAPH_NAMESPACE=pr/NUMBER"),
            );
            spec.access = Access::Read;
            None
        }
        ("auto" | MAIN, _) => None,
        (other, _) => Some(other.to_owned()),
    };
    if spec.namespace.is_some() {
        sharing.remotes.push(RemoteSpec { namespace: None, access: Access::Read, ..spec.clone() });
    }
    sharing.remotes.push(spec);
    Ok(())
}

/// What is shown to be let in; the inner error says which variable or file is not there.
fn secrets(
    entry: &RemoteSettings,
    env: &BTreeMap<String, String>,
    at: &dyn Fn(&Option<PathBuf>) -> Option<PathBuf>,
) -> Result<Result<Credentials, String>, Vec<Diagnostic>> {
    let mut credentials = Credentials::default();
    let value = |secret: &Secret| match reference(secret) {
        Some(name) => {
            variable(env, name).map(Secret::new).ok_or_else(|| format!("the variable `{name}` is not set"))
        }
        None => Ok(secret.clone()),
    };
    if let Some(token) = &entry.token {
        match value(token) {
            Ok(token) => credentials.token = Some(token),
            Err(absent) => return Ok(Err(absent)),
        }
    } else if let Some(file) = at(&entry.token_file) {
        match line_of(&file)? {
            Some(token) => credentials.token = Some(token),
            None => return Ok(Err(format!("there is no token in {}", file.display()))),
        }
    } else if let (Some(user), Some(password)) = (&entry.user, &entry.password) {
        match value(password) {
            Ok(password) => credentials.basic = Some((user.clone(), password)),
            Err(absent) => return Ok(Err(absent)),
        }
    }
    let secret = [&credentials.token, &credentials.basic.as_ref().map(|(_, password)| password.clone())];
    if secret.into_iter().flatten().any(|it| !it.expose().bytes().all(|b| (b' '..=b'~').contains(&b))) {
        return wrong(format!("what is to be shown to {} is not printable ASCII", entry.url.0));
    }
    Ok(Ok(credentials))
}

fn in_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn is_loopback(host: Option<&str>) -> bool {
    let host = host.unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What netrc knows of a host.
fn netrc(env: &BTreeMap<String, String>, address: &RemoteAddress) -> Option<(String, Secret)> {
    let plain = address.scheme() == "grpc" && !is_loopback(address.host.as_deref());
    // Whoever did not say that this host is to see a password in the open does not mean it.
    if !address.takes_credentials() || plain {
        return None;
    }
    let file =
        variable(env, "NETRC").map(PathBuf::from).or_else(|| home(env).map(|home| home.join(".netrc")))?;
    let text = std::fs::read_to_string(file).ok()?;
    let (user, password) = netrc::find(&text, address.host.as_deref()?)?;
    Some((user, Secret::new(password)))
}
