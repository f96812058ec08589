//! The key `cache`: where results are shared, in release.yaml and in the user's own file.

use std::path::PathBuf;

use relgraph_cache::remote::{Access, Secret};
use serde::{Deserialize, Deserializer};

use super::address::takes_credentials;
use super::shape::{Key, Shape, Word};
use super::text::Text;

/// What one file says about sharing. What it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// The remotes, in the order in which they are asked; an empty list is one as well.
    pub remotes: Option<Vec<RemoteSettings>>,
    /// Whose results are taken, as lines of text.
    pub trusted_keys: Option<Vec<String>>,
    /// The file of the key that results are signed with.
    pub signing_key_file: Option<PathBuf>,
    /// Seconds that the end of a build waits for uploads.
    pub upload_wait: Option<u64>,
    /// What is shown to be let in, by address: in the user's file alone.
    #[serde(default)]
    pub credentials: Vec<RemoteSettings>,
}

impl CacheSettings {
    /// Whether a secret is written in it, and not only where one is found.
    pub fn holds_secrets(&self) -> bool {
        let entries = self.remotes.iter().flatten().chain(&self.credentials);
        entries.flat_map(|entry| [&entry.token, &entry.password]).flatten().any(|it| variable(it).is_none())
    }

    /// The variables of the environment that secrets are taken from.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let entries = self.remotes.iter().flatten().chain(&self.credentials);
        entries.flat_map(|entry| [&entry.token, &entry.password]).flatten().filter_map(variable)
    }
}

/// The name in `${NAME}`.
pub fn variable(secret: &Secret) -> Option<&str> {
    secret.expose().strip_prefix("${")?.strip_suffix('}')
}

/// What is said about one remote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub struct RemoteSettings {
    /// Its address. Only in the user's file are there credentials in it.
    pub url: Address,
    /// What is done with it.
    pub access: Option<Access>,
    /// The part of the entries that is used.
    pub namespace: Option<String>,
    /// The instance name of the Remote Execution API.
    pub instance: Option<String>,
    /// A bearer token, or `${NAME}` for the variable that holds it.
    pub token: Option<Secret>,
    /// The file of the token.
    pub token_file: Option<PathBuf>,
    /// A user's name.
    pub user: Option<String>,
    /// The user's password, or `${NAME}`.
    pub password: Option<Secret>,
    /// The file of a client's certificate.
    pub certificate: Option<PathBuf>,
    /// The file of its key.
    pub key: Option<PathBuf>,
    /// The file of further authorities.
    pub authorities: Option<PathBuf>,
    /// Seconds that an answer may take.
    pub timeout: Option<u64>,
    /// Seconds to reach the remote.
    pub connect_timeout: Option<u64>,
}

impl RemoteSettings {
    /// Whether it says what is shown to be let in, certificates aside.
    pub fn is_authorized(&self) -> bool {
        self.token.is_some() || self.token_file.is_some() || self.user.is_some()
    }

    /// Takes that away.
    pub fn forget_authorization(&mut self) {
        (self.token, self.token_file, self.user, self.password) = (None, None, None, None);
    }
}

/// The text of an address, which may have a password in it: `Debug` shows nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Address(pub String);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Address(String),
    Map(Box<RawMap>),
}

#[derive(Deserialize)]
struct RawMap {
    url: String,
    #[serde(default, deserialize_with = "access")]
    access: Option<Access>,
    namespace: Option<String>,
    instance: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    token: Option<Secret>,
    token_file: Option<PathBuf>,
    user: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    password: Option<Secret>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    authorities: Option<PathBuf>,
    timeout: Option<u64>,
    connect_timeout: Option<u64>,
}

impl From<Raw> for RemoteSettings {
    fn from(raw: Raw) -> Self {
        match raw {
            Raw::Address(url) => RemoteSettings { url: Address(url), ..RemoteSettings::default() },
            Raw::Map(map) => {
                let RawMap {
                    url,
                    access,
                    namespace,
                    instance,
                    token,
                    token_file,
                    user,
                    password,
                    certificate,
                    key,
                    authorities,
                    timeout,
                    connect_timeout,
                } = *map;
                RemoteSettings {
                    url: Address(url),
                    access,
                    namespace,
                    instance,
                    token,
                    token_file,
                    user,
                    password,
                    certificate,
                    key,
                    authorities,
                    timeout,
                    connect_timeout,
                }
            }
        }
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.map(Secret::new))
}

fn access<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Access>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.map(|word| if word == "read-write" { Access::ReadWrite } else { Access::Read }))
}

/// A place in the settings, what is wrong there, and what to do.
type Contradiction = (String, String, &'static str);

/// What is good by itself and wrong together.
pub(super) fn contradictions(settings: &CacheSettings) -> Vec<Contradiction> {
    let mut found = Vec::new();
    for (list, entries) in
        [("remotes", settings.remotes.as_deref().unwrap_or_default()), ("credentials", &settings.credentials)]
    {
        for (index, entry) in entries.iter().enumerate() {
            let at = format!("cache.{list}[{index}]");
            found.extend(of_remote(entry).into_iter().map(|(key, what, hint)| {
                let key = if key.is_empty() { at.clone() } else { format!("{at}.{key}") };
                (key, what, hint)
            }));
            if entries[..index].iter().any(|other| same_place(&other.url.0, &entry.url.0)) {
                let what = "this address is listed twice".to_owned();
                found.push((at, what, "one entry says all about an address"));
            }
        }
    }
    found
}

fn same_place(one: &str, other: &str) -> bool {
    let url = |text| super::RemoteAddress::parse(text).ok().map(|address| address.url);
    url(one).is_some_and(|one| Some(one) == url(other))
}

fn of_remote(entry: &RemoteSettings) -> Vec<(&'static str, String, &'static str)> {
    let mut found = Vec::new();
    let mut both = |one: bool, other: bool, key, what: &str, hint| {
        if one && other {
            found.push((key, what.to_owned(), hint));
        }
    };
    let token = entry.token.is_some() || entry.token_file.is_some();
    both(
        entry.token.is_some(),
        entry.token_file.is_some(),
        "token_file",
        "there is a `token` already",
        "one of both is enough",
    );
    both(token, entry.user.is_some(), "user", "a remote is shown a token or a user's name, not both", "");
    both(
        entry.user.is_some(),
        entry.password.is_none(),
        "user",
        "there is no `password` beside it",
        "add a line `password: …`",
    );
    both(
        entry.password.is_some(),
        entry.user.is_none(),
        "password",
        "there is no `user` beside it",
        "add a line `user: …`",
    );
    both(
        entry.certificate.is_some(),
        entry.key.is_none(),
        "certificate",
        "there is no `key` beside it",
        "add a line `key: …`",
    );
    both(
        entry.key.is_some(),
        entry.certificate.is_none(),
        "key",
        "there is no `certificate` beside it",
        "add a line `certificate: …`",
    );
    let url = super::RemoteAddress::parse(&entry.url.0).map(|address| address.url).unwrap_or_default();
    let known = !url.is_empty();
    let plain = known && !takes_credentials(&url);
    let first = |keys: &[(&'static str, bool)]| keys.iter().find(|(_, there)| *there).map(|(key, _)| *key);
    let shown = first(&[
        ("token", entry.token.is_some()),
        ("token_file", entry.token_file.is_some()),
        ("user", entry.user.is_some()),
        ("certificate", entry.certificate.is_some()),
    ]);
    if let (true, Some(key)) = (plain, shown) {
        let hint = if url.starts_with("file:") {
            "the file system says who may do what"
        } else {
            "buckets take the variables of their cloud: `AWS_ACCESS_KEY_ID` and so on"
        };
        found.push((key, format!("`{key}` has no meaning for this address"), hint));
    }
    let grpc = url.starts_with("grpc:") || url.starts_with("grpcs:");
    if entry.instance.is_some() && known {
        if !grpc {
            found.push((
                "instance",
                "only remotes at `grpc://` and `grpcs://` have instances".into(),
                "elsewhere the path of the address says the same",
            ));
        } else if url.split_once("://").is_some_and(|(_, rest)| rest.contains('/')) {
            found.push((
                "instance",
                "the path of the address is the name of the instance already".into(),
                "write one of both",
            ));
        }
    }
    found
}

const ACCESS: &[Word] = &[
    Word { name: "read", meaning: "what others made is used" },
    Word { name: "read-write", meaning: "and what is made here is stored there" },
];

/// The shape of the key in release.yaml, which is committed.
pub(super) const SHAPE: Shape = Shape::Record {
    keys: KEYS,
    what: "a map with the keys `remotes`, `trusted_keys`, `signing_key_file` and `upload_wait`",
};

/// The whole file of the user.
pub(super) const USER_FILE: Shape =
    Shape::Record { keys: USER_FILE_KEYS, what: "a map with the key `cache`" };

const USER_FILE_KEYS: &[Key] = &[Key {
    name: "cache",
    shape: Shape::Record {
        keys: USER_KEYS,
        what: "a map with the keys `remotes`, `credentials`, `trusted_keys`, `signing_key_file` and `upload_wait`",
    },
    required: false,
    default: "nothing",
    meaning: "Where results are shared.",
    example: "cache:\n  remotes: [file:///srv/cache]",
    also: &[],
}];

const KEYS: &[Key] = &[REMOTES, TRUSTED_KEYS, SIGNING_KEY_FILE, UPLOAD_WAIT];

const USER_KEYS: &[Key] = &[
    Key {
        shape: Shape::List {
            of: &Shape::Either(&[
                Shape::Text(Text::PrivateRemote),
                Shape::Record { keys: USER_REMOTE_KEYS, what: "a map with the key `url`" },
            ]),
            single: false,
        },
        ..REMOTES
    },
    Key {
        name: "credentials",
        shape: Shape::List {
            of: &Shape::Record { keys: CREDENTIAL_KEYS, what: "a map with the key `url`" },
            single: false,
        },
        required: false,
        default: "none",
        meaning: "What is shown to remotes at these addresses and below, wherever they are listed.",
        example: "cache:\n  credentials:\n    - url: https://cache.example.com\n      token: …",
        also: &["auth"],
    },
    TRUSTED_KEYS,
    SIGNING_KEY_FILE,
    UPLOAD_WAIT,
];

const REMOTES: Key = Key {
    name: "remotes",
    shape: Shape::List {
        of: &Shape::Either(&[
            Shape::Text(Text::Remote),
            Shape::Record { keys: REMOTE_KEYS, what: "a map with the key `url`" },
        ]),
        single: false,
    },
    required: false,
    default: "none",
    meaning: "Where results of others are looked for, in this order. An entry that is an address alone is read only.",
    example: "cache:\n  remotes:\n    - grpcs://cache.example.com/main\n    - url: s3://builds/relgraph\n      \
              access: read-write",
    also: &["remote", "url", "urls"],
};

const TRUSTED_KEYS: Key = Key {
    name: "trusted_keys",
    shape: Shape::List { of: &Shape::Text(Text::PublicKey), single: false },
    required: false,
    default: "none: everything that a remote holds is taken, as far as its transport and its tokens are trusted",
    meaning: "Public keys (`relgraph cache key new` makes them). Where there are any, only results that were signed with \
              one of them are taken; others are misses.",
    example: "cache:\n  trusted_keys:\n    - relgraph-key-1:ci:8CQcK0AOJWY0+MlrDt7KBpegkxIMHMSfGFAxXHb4F10",
    also: &["keys", "public_keys", "trusted-public-keys"],
};

const SIGNING_KEY_FILE: Key = Key {
    name: "signing_key_file",
    shape: Shape::Text(Text::File),
    required: false,
    default: "none; `RELGRAPH_SIGNING_KEY` holds the key itself",
    meaning: "The file of the secret key that results are signed with before they are stored in a remote, seen from the \
              folder of this file. Where it does not exist, nothing is signed.",
    example: "cache:\n  signing_key_file: /run/secrets/relgraph-key",
    also: &["signing_key", "secret_key_file"],
};

const UPLOAD_WAIT: Key = Key {
    name: "upload_wait",
    shape: Shape::Seconds,
    required: false,
    default: "10; 300 where the variable `CI` is set",
    meaning: "Seconds that the end of a build waits for what is still to be stored in remotes. What is left then is stored \
              by the next build.",
    example: "cache:\n  upload_wait: 60",
    also: &["upload_timeout"],
};

const URL: Key = Key {
    name: "url",
    shape: Shape::Text(Text::Remote),
    required: true,
    default: "",
    meaning: "The address: `grpc://HOST:PORT/INSTANCE` and `grpcs://` (Remote Execution API), `http://` and `https://`, \
              `s3://BUCKET/PREFIX`, `gs://`, `az://`, or `file:///FOLDER`. No credentials are written in it.",
    example: "cache:\n  remotes:\n    - url: https://cache.example.com/relgraph",
    also: &["address", "endpoint"],
};

const ACCESS_KEY: Key = Key {
    name: "access",
    shape: Shape::OneOf(ACCESS),
    required: false,
    default: "`read`",
    meaning: "What is done with it. A remote whose token is to come from a variable or a file that is not there is only \
              read.",
    example: "cache:\n  remotes:\n    - url: file:///srv/cache\n      access: read-write",
    also: &["mode"],
};

const NAMESPACE: Key = Key {
    name: "namespace",
    shape: Shape::Text(Text::Namespace),
    required: false,
    default: "`auto`",
    meaning: "The part of the remote that results are stored in; `main` is always read as well. `auto`: `main`, and \
              `pr/NUMBER` for what is built and stored for a pull request.",
    example: "cache:\n  remotes:\n    - url: file:///srv/cache\n      access: read-write\n      namespace: nightly",
    also: &["scope"],
};

const INSTANCE: Key = Key {
    name: "instance",
    shape: Shape::Text(Text::Instance),
    required: false,
    default: "the path of the address",
    meaning: "The instance name of the Remote Execution API.",
    example: "cache:\n  remotes:\n    - url: grpcs://cache.example.com\n      instance: main",
    also: &["instance_name"],
};

const TOKEN: Key = Key {
    name: "token",
    shape: Shape::Text(Text::SecretVariable),
    required: false,
    default: "what the user's own file, netrc or `RELGRAPH_REMOTE_TOKEN` says",
    meaning: "The variable that holds a bearer token, as `${NAME}`. The token itself has no place in a file that is \
              committed. Steps do not see the variable.",
    example: "cache:\n  remotes:\n    - url: https://cache.example.com\n      token: ${CACHE_TOKEN}",
    also: &["bearer", "auth"],
};

const TOKEN_FILE: Key = Key {
    name: "token_file",
    shape: Shape::Text(Text::File),
    required: false,
    default: "as for `token`",
    meaning: "A file that holds the token, seen from the folder of this file, or from your home with `~/`.",
    example: "cache:\n  remotes:\n    - url: https://cache.example.com\n      token_file: ~/.cache-token",
    also: &[],
};

const USER: Key = Key {
    name: "user",
    shape: Shape::Text(Text::Instance),
    required: false,
    default: "as for `token`",
    meaning: "The user's name, for remotes that ask for one and a password.",
    example: "cache:\n  remotes:\n    - url: https://cache.example.com\n      user: ci\n      password: ${CACHE_PASSWORD}",
    also: &["username", "login"],
};

const PASSWORD: Key = Key {
    name: "password",
    shape: Shape::Text(Text::SecretVariable),
    required: false,
    default: "as for `token`",
    meaning: "The variable that holds the user's password, as `${NAME}`.",
    example: "cache:\n  remotes:\n    - url: https://cache.example.com\n      user: ci\n      password: ${CACHE_PASSWORD}",
    also: &[],
};

const CERTIFICATE: Key = Key {
    name: "certificate",
    shape: Shape::Text(Text::File),
    required: false,
    default: "none",
    meaning: "The certificate (PEM) that we show, for remotes that ask for one, seen from the folder of this file.",
    example: "cache:\n  remotes:\n    - url: grpcs://cache.example.com\n      certificate: ~/.certs/me.pem\n      \
              key: ~/.certs/me.key",
    also: &["cert", "client_certificate"],
};

const KEY: Key = Key {
    name: "key",
    shape: Shape::Text(Text::File),
    required: false,
    default: "none",
    meaning: "The key (PEM) of the certificate that we show.",
    example: "cache:\n  remotes:\n    - url: grpcs://cache.example.com\n      certificate: ~/.certs/me.pem\n      \
              key: ~/.certs/me.key",
    also: &["client_key"],
};

const AUTHORITIES: Key = Key {
    name: "authorities",
    shape: Shape::Text(Text::File),
    required: false,
    default: "those of the system",
    meaning: "Certificates (PEM) of authorities that are trusted beside the system's.",
    example: "cache:\n  remotes:\n    - url: https://cache.example.com\n      authorities: ca.pem",
    also: &["ca", "ca_file", "cacert"],
};

const TIMEOUT: Key = Key {
    name: "timeout",
    shape: Shape::Seconds,
    required: false,
    default: "5",
    meaning: "Seconds that an answer to a small question may take. A transfer may stand still twice as long.",
    example: "cache:\n  remotes:\n    - url: https://cache.example.com\n      timeout: 20",
    also: &[],
};

const CONNECT_TIMEOUT: Key = Key {
    name: "connect_timeout",
    shape: Shape::Seconds,
    required: false,
    default: "1",
    meaning: "Seconds to reach the remote. One that cannot be reached is left alone for a while.",
    example: "cache:\n  remotes:\n    - url: https://cache.example.com\n      connect_timeout: 3",
    also: &[],
};

pub(super) const REMOTE_KEYS: &[Key] = &[
    URL,
    ACCESS_KEY,
    NAMESPACE,
    INSTANCE,
    TOKEN,
    TOKEN_FILE,
    USER,
    PASSWORD,
    CERTIFICATE,
    KEY,
    AUTHORITIES,
    TIMEOUT,
    CONNECT_TIMEOUT,
];

const USER_REMOTE_KEYS: &[Key] = &[
    Key { shape: Shape::Text(Text::PrivateRemote), ..URL },
    ACCESS_KEY,
    NAMESPACE,
    INSTANCE,
    Key { shape: Shape::Text(Text::Secret), ..TOKEN },
    TOKEN_FILE,
    USER,
    Key { shape: Shape::Text(Text::Secret), ..PASSWORD },
    CERTIFICATE,
    KEY,
    AUTHORITIES,
    TIMEOUT,
    CONNECT_TIMEOUT,
];

const CREDENTIAL_KEYS: &[Key] = &[
    URL,
    Key { shape: Shape::Text(Text::Secret), ..TOKEN },
    TOKEN_FILE,
    USER,
    Key { shape: Shape::Text(Text::Secret), ..PASSWORD },
    CERTIFICATE,
    KEY,
    AUTHORITIES,
];
