//! Addresses of remotes as people write them, in files, variables and flags.

use url::Url;

/// What addresses begin with.
pub(super) const SCHEMES: [&str; 8] = ["grpc", "grpcs", "http", "https", "s3", "gs", "az", "file"];

/// An address, without the credentials that were written in it. Its `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    /// In one form: two addresses of one place are equal texts.
    pub url: String,
    /// The name of the host; `None` for a folder.
    pub host: Option<String>,
    /// The user's name that was written in it, and the password.
    pub user: Option<(String, Option<String>)>,
}

impl std::fmt::Debug for RemoteAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

impl RemoteAddress {
    /// Reads an address. The error says what is wrong, and holds nothing of the text but its scheme.
    pub fn parse(text: &str) -> Result<RemoteAddress, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("this is not the address of a remote: {}", expected()));
        };
        let scheme = scheme.to_ascii_lowercase();
        if !SCHEMES.contains(&scheme.as_str()) {
            let scheme = crate::diagnostic::shown(&scheme);
            return Err(format!("`{scheme}://` is not how a remote is addressed: {}", expected()));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) && scheme != "file" {
            return Err("an address has no spaces in it".to_owned());
        }
        if scheme == "file" && !rest.starts_with('/') {
            return Err(
                "the path of a folder is absolute, after three slashes: `file:///srv/cache`".to_owned()
            );
        }
        let mut url = Url::parse(text).map_err(|error| format!("this is not an address: {error}"))?;
        let host = url.host_str().filter(|host| !host.is_empty()).map(str::to_owned);
        if host.is_none() && scheme != "file" {
            let what = if matches!(scheme.as_str(), "s3" | "gs" | "az") { "bucket" } else { "host" };
            return Err(format!("the address names no {what}"));
        }
        let user = (!url.username().is_empty() || url.password().is_some())
            .then(|| (decoded(url.username()), url.password().map(decoded)));
        if user.is_some() && (url.set_password(None).is_err() || url.set_username("").is_err()) {
            return Err("an address of this kind has no user in it".to_owned());
        }
        url.set_fragment(None);
        let url = url.as_str().trim_end_matches('/');
        Ok(RemoteAddress { url: url.to_owned(), host, user })
    }

    /// What stands before `://`.
    pub fn scheme(&self) -> &str {
        self.url.split("://").next().unwrap_or_default()
    }

    /// Whether one shows a token or a password there.
    pub fn takes_credentials(&self) -> bool {
        takes_credentials(&self.url)
    }

    /// Whether this address is `other` or lies below it.
    pub fn lies_in(&self, other: &RemoteAddress) -> bool {
        let rest = self.url.strip_prefix(&other.url);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }
}

/// Whether one shows a token or a password at an address.
pub(super) fn takes_credentials(url: &str) -> bool {
    ["http://", "https://", "grpc://", "grpcs://"].iter().any(|scheme| url.starts_with(scheme))
}

fn expected() -> String {
    let known: Vec<String> = SCHEMES.iter().map(|scheme| format!("`{scheme}://`")).collect();
    format!("it begins with {}", super::shape::either(known))
}

/// `%40` is `@`. What is no UTF-8 afterwards stays as it was.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn url(text: &str) -> String {
        RemoteAddress::parse(text).unwrap().url
    }

    #[test]
    fn an_address_has_one_form() {
        assert_eq!(url("HTTPS://Cache.Example.com:443/main/"), "https://cache.example.com/main");
        assert_eq!(url("http://[::1]:8080"), "http://[::1]:8080");
        assert_eq!(url("grpc://10.0.0.7:9092/"), "grpc://10.0.0.7:9092");
        assert_eq!(url("s3://Bucket/a/b/"), "s3://Bucket/a/b");
        assert_eq!(url("file:///srv/cache/"), "file:///srv/cache");
        assert_eq!(RemoteAddress::parse("file:///srv").unwrap().host, None);
    }

    #[test]
    fn credentials_are_taken_out_of_it() {
        let address = RemoteAddress::parse("https://me:p%40ss%zz@host/x").unwrap();
        assert_eq!(address.url, "https://host/x");
        assert_eq!(address.user, Some(("me".into(), Some("p@ss%zz".into()))));
        assert!(!format!("{address:?}").contains("p@ss"));
        assert_eq!(RemoteAddress::parse("grpcs://me@host").unwrap().user, Some(("me".into(), None)));
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for text in [
            "cache.example.com",
            "ftp://me:secret@host",
            "https://",
            "s3:///x",
            "http://me:secret@ho st/",
            "file://srv/cache",
            "http://me:secret@host:port/",
            "grpc://me:secret@",
        ] {
            let error = RemoteAddress::parse(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_address_lies_in_another_by_whole_parts() {
        let at = |text: &str| RemoteAddress::parse(text).unwrap();
        assert!(at("https://h/a/b").lies_in(&at("https://h/a")));
        assert!(at("https://h").lies_in(&at("https://h/")));
        assert!(!at("https://h/ab").lies_in(&at("https://h/a")));
        assert!(!at("https://h.evil/a").lies_in(&at("https://h")));
        assert!(!at("https://h:8443/a").lies_in(&at("https://h")));
    }
}
