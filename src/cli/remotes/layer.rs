//! One source of settings, and what it says.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use relgraph_cache::remote::{Access, PublicKey, Secret, SecretKey};
use relgraph_rules::diagnostic::{Diagnostic, shown};
use relgraph_rules::schema::{CacheSettings, ReleaseFile, RemoteAddress, RemoteSettings, UserFile};

use super::{RemoteArgs, home, line_of, variable};
use crate::cli::quantity::parse_age;

/// What one source says. Paths are absolute, and addresses have one form and no credentials in them.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    /// The remotes; an empty list: none.
    pub remotes: Option<Vec<RemoteSettings>>,
    /// What is shown at addresses.
    pub credentials: Vec<RemoteSettings>,
    /// What is shown to the host of the first remote.
    pub token: Option<Secret>,
    /// What is done with all remotes.
    pub access: Option<Access>,
    /// Which part of all remotes is used.
    pub namespace: Option<String>,
    /// Public keys.
    pub trusted: Option<Vec<PublicKey>>,
    /// The key to sign with.
    pub signing_key: Option<SigningKey>,
    /// How long the end of a build waits.
    pub upload_wait: Option<Duration>,
}

/// Where the key to sign with is.
#[derive(Debug, Clone)]
pub enum SigningKey {
    /// Here.
    Text(Secret),
    /// In a file, and whether it may be absent.
    File(PathBuf, bool),
}

/// The request is wrong.
pub fn wrong<T>(message: String) -> Result<T, Vec<Diagnostic>> {
    Err(vec![Diagnostic::error(message)])
}

/// `read` or `read-write`.
pub fn access(text: &str) -> Result<Access, String> {
    match text {
        "read" => Ok(Access::Read),
        "read-write" => Ok(Access::ReadWrite),
        _ => Err(format!("`{}` is no access: expected `read` or `read-write`", shown(text))),
    }
}

/// release.yaml.
pub fn of_release(release: Option<(&ReleaseFile, &Path)>) -> Layer {
    release.map_or_else(Layer::default, |(file, folder)| of_file(&file.cache, folder))
}

/// The user's own file, where there is one.
pub fn of_user(
    env: &BTreeMap<String, String>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Layer, Vec<Diagnostic>> {
    let Some(path) = user_file(env) else { return Ok(Layer::default()) };
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(Layer::default());
        }
        Err(error) => return wrong(format!("cannot read {}: {error}", path.display())),
    };
    let file = UserFile::parse(&path, &bytes)
        .map_err(|errors| errors.iter().map(|error| error.diagnostic()).collect::<Vec<_>>())?;
    let addresses = file.cache.remotes.iter().flatten();
    let holds = file.cache.holds_secrets() || addresses.into_iter().any(|entry| has_user(&entry.url.0));
    let open = std::fs::metadata(&path).is_ok_and(|meta| meta.mode() & 0o077 != 0);
    if holds && open {
        let message = format!("{} holds secrets, and others on this machine can read it", path.display());
        warnings.push(Diagnostic::warning(message).hint(format!("chmod 600 {}", path.display())));
    }
    Ok(of_file(&file.cache, path.parent().unwrap_or(Path::new("/"))))
}

/// Where the user's own file is.
pub fn user_file(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let from = variable(env, "XDG_CONFIG_HOME").filter(|value| Path::new(value).is_absolute());
    let folder = from.map(PathBuf::from).or_else(|| home(env).map(|home| home.join(".config")))?;
    Some(folder.join("relgraph/config.yaml"))
}

fn has_user(url: &str) -> bool {
    RemoteAddress::parse(url).is_ok_and(|address| address.user.is_some())
}

fn of_file(settings: &CacheSettings, folder: &Path) -> Layer {
    let entry = |entry: &RemoteSettings| absolute(plain(entry.clone()), folder);
    Layer {
        remotes: settings.remotes.as_ref().map(|remotes| remotes.iter().map(entry).collect()),
        credentials: settings.credentials.iter().map(entry).collect(),
        // They were looked at when the file was read.
        trusted: settings
            .trusted_keys
            .as_ref()
            .map(|keys| keys.iter().filter_map(|key| key.parse().ok()).collect()),
        signing_key: settings.signing_key_file.as_ref().map(|file| SigningKey::File(folder.join(file), true)),
        upload_wait: settings.upload_wait.map(Duration::from_secs),
        ..Layer::default()
    }
}

/// Paths as seen from a folder. Those in the user's home are found where the home is known.
fn absolute(mut entry: RemoteSettings, folder: &Path) -> RemoteSettings {
    for file in [&mut entry.token_file, &mut entry.certificate, &mut entry.key, &mut entry.authorities] {
        if let Some(path) = file.as_mut().filter(|path| !path.starts_with("~")) {
            *path = folder.join(&*path);
        }
    }
    entry
}

/// An entry whose address has one form; credentials in it are moved to where they belong.
fn plain(mut entry: RemoteSettings) -> RemoteSettings {
    if let Ok(address) = RemoteAddress::parse(&entry.url.0) {
        entry.url.0 = address.url;
        if let Some((user, password)) = address.user {
            // What tools write where there is a token and no user's name.
            match password {
                Some(password) => {
                    entry.user = Some(user);
                    entry.password = Some(Secret::new(password));
                }
                None => entry.token = Some(Secret::new(user)),
            }
        }
    }
    entry
}

/// Variables.
pub fn of_environment(
    env: &BTreeMap<String, String>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Layer, Vec<Diagnostic>> {
    let named = |name: &'static str| variable(env, name).map(|value| (name, value));
    let good = |name: &str, error: String| vec![Diagnostic::error(format!("`{name}`: {error}"))];
    let mut layer = Layer::default();
    if let Some((name, value)) = named("RELGRAPH_REMOTE") {
        layer.remotes = Some(if value == "none" {
            Vec::new()
        } else {
            let texts = value.split_whitespace();
            texts.map(|text| of_text(text, name, warnings)).collect::<Result<_, _>>()?
        });
    }
    if let Some((name, value)) = named("RELGRAPH_REMOTE_ACCESS") {
        layer.access = Some(access(value).map_err(|error| good(name, error))?);
    }
    if let Some((name, value)) = named("RELGRAPH_NAMESPACE") {
        relgraph_rules::schema::namespace(value).map_err(|error| good(name, error))?;
        layer.namespace = Some(value.to_owned());
    }
    layer.token = named("RELGRAPH_REMOTE_TOKEN").map(|(_, value)| Secret::new(value));
    if let Some((name, value)) = named("RELGRAPH_TRUSTED_KEYS") {
        let keys = value.split_whitespace().map(PublicKey::parse).collect::<Result<_, _>>();
        layer.trusted = Some(keys.map_err(|error| good(name, format!("a line is no public key: {error}")))?);
    }
    if let Some((_, value)) = named("RELGRAPH_SIGNING_KEY") {
        layer.signing_key = Some(SigningKey::Text(Secret::new(value)));
    } else if let Some((_, value)) = named("RELGRAPH_SIGNING_KEY_FILE") {
        let file = std::path::absolute(value).unwrap_or_else(|_| value.into());
        layer.signing_key = Some(SigningKey::File(file, false));
    }
    if let Some((name, value)) = named("RELGRAPH_UPLOAD_WAIT") {
        layer.upload_wait = Some(parse_age(value).map_err(|error| good(name, error))?);
    }
    Ok(layer)
}

/// Flags.
pub fn of_flags(flags: &RemoteArgs, warnings: &mut Vec<Diagnostic>) -> Result<Layer, Vec<Diagnostic>> {
    if flags.no_remote && !flags.remotes.is_empty() {
        return wrong("--remote and --no-remote contradict each other".into());
    }
    let texts = flags.remotes.iter();
    let remotes = texts.map(|text| of_text(text, "--remote", warnings)).collect::<Result<Vec<_>, _>>()?;
    Ok(Layer {
        remotes: (flags.no_remote || !remotes.is_empty()).then_some(remotes),
        access: flags.remote_access,
        namespace: flags.namespace.clone(),
        upload_wait: flags.upload_wait,
        ..Layer::default()
    })
}

/// `URL;access=read-write;namespace=NAME;instance=NAME`.
fn of_text(
    text: &str,
    origin: &str,
    warnings: &mut Vec<Diagnostic>,
) -> Result<RemoteSettings, Vec<Diagnostic>> {
    let complaint = |what: String| Diagnostic::error(format!("`{origin}`: {what}"));
    let mut parts = text.split(';');
    let url = parts.next().unwrap_or_default();
    let address = RemoteAddress::parse(url).map_err(|error| vec![complaint(error)])?;
    if address.user.is_some() {
        let message = format!("`{origin}`: there are credentials in the address of {}", address.url);
        warnings.push(Diagnostic::warning(message).hint(
            "others may see variables and command lines: put them into RELGRAPH_REMOTE_TOKEN, netrc or \
             ~/.config/relgraph/config.yaml",
        ));
    }
    let mut entry = RemoteSettings::default();
    entry.url.0 = url.to_owned();
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let checked = match key {
            "access" => access(value).map(|access| entry.access = Some(access)),
            "namespace" => {
                relgraph_rules::schema::namespace(value).map(|()| entry.namespace = Some(value.to_owned()))
            }
            "instance" if !matches!(address.scheme(), "grpc" | "grpcs") => {
                Err("only remotes at `grpc://` and `grpcs://` have instances".to_owned())
            }
            "instance" => {
                entry.instance = Some(value.to_owned()).filter(|value| !value.is_empty());
                Ok(())
            }
            _ => Err(format!(
                "`{}` cannot stand behind an address: `access`, `namespace` or `instance` is expected",
                shown(key)
            )),
        };
        checked.map_err(|error| vec![complaint(error)])?;
    }
    Ok(plain(entry))
}

/// The key itself.
pub fn signing_key(
    key: SigningKey,
    notes: &mut Vec<(String, String)>,
) -> Result<Option<SecretKey>, Vec<Diagnostic>> {
    let read = |text: &Secret, origin: &str| {
        let key = SecretKey::parse(text.expose());
        key.map_err(|error| vec![Diagnostic::error(format!("{origin} is no key to sign with: {error}"))])
    };
    match key {
        SigningKey::Text(text) => read(&text, "what `RELGRAPH_SIGNING_KEY` holds").map(Some),
        SigningKey::File(file, optional) => {
            let found = line_of(&file)?;
            if found.is_none() {
                let message = format!("there is no key to sign with in {}", file.display());
                if !optional {
                    return wrong(message);
                }
                notes.push((String::new(), format!("{message}: what is stored is not signed")));
            }
            found.map(|text| read(&text, &format!("what is in {}", file.display()))).transpose()
        }
    }
}
