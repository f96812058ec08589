//! How a remote is described: [`RemoteSpec`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The user's environment.
pub type Variables = BTreeMap<String, String>;

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text: for what sends it, and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who may do what with a remote, on our side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// Read what others made.
    #[default]
    Read,
    /// And write what is made here.
    ReadWrite,
}

/// What we show to be let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// A bearer token.
    pub token: Option<Secret>,
    /// A user's name and password, for basic authentication.
    pub basic: Option<(String, Secret)>,
    /// A client's certificate (PEM) and its key, for mTLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// To reach the remote.
    pub connect: Duration,
    /// For an answer to a small question: an entry, which blobs are missing.
    pub call: Duration,
    /// Without a byte coming or going, while blobs are transferred.
    pub idle: Duration,
    /// How many transfers at once.
    pub parallel: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(1),
            call: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            parallel: 16,
        }
    }
}

/// Where a remote is, and how it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteSpec {
    /// Its address. Credentials in it were moved to `credentials`.
    pub url: String,
    /// What is done with it.
    pub access: Access,
    /// The part of the entries that is used; `None` is the main one. Readers of one namespace do not see another.
    pub namespace: Option<String>,
    /// What is shown to be let in.
    pub credentials: Credentials,
    /// Certificates (PEM) of authorities that are trusted beside the system's.
    pub authorities: Option<PathBuf>,
    /// The instance name of the Remote Execution API.
    pub instance: String,
    /// How long calls may take.
    pub limits: Limits,
}

impl RemoteSpec {
    /// The address without credentials, should there be any left in it.
    pub fn shown(&self) -> String {
        match self.url.split_once("://") {
            Some((scheme, rest)) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let from = rest[..end].rfind('@').map_or(0, |at| at + 1);
                format!("{scheme}://{}", &rest[from..])
            }
            None => self.url.clone(),
        }
    }
}
