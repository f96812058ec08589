//! Where a server is and how it is reached: [`Address`], of a [`RemoteSpec`].

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use tonic::codegen::http::HeaderValue;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use url::Url;

use super::super::{Credentials, Limits, RemoteError, RemoteErrorKind, RemoteSpec};

/// How much may be on its way to us before we have taken it in: of one answer, and of all on a connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A server, and what it is shown.
pub(super) struct Address {
    pub endpoint: Endpoint,
    /// The instance name; often empty.
    pub instance: String,
    /// What goes with every call.
    pub authorization: Option<HeaderValue>,
    /// Texts that are shown nowhere.
    pub secrets: Vec<String>,
}

fn wrong(text: impl Into<String>) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Config, text)
}

impl Address {
    /// Reads `grpc://HOST[:PORT][/INSTANCE]` or `grpcs://…`, and the certificates. Nothing is sent.
    pub fn read(spec: &RemoteSpec) -> Result<Address, RemoteError> {
        let shown = spec.shown();
        let url =
            Url::parse(&shown).map_err(|error| wrong(format!("`{shown}` is not an address: {error}")))?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong(format!("`{shown}` names no host")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(format!("`{shown}`: nothing is known that may follow a `?` or `#` here")));
        }
        let encrypted = url.scheme() == "grpcs";
        let port = url.port().unwrap_or(if encrypted { 443 } else { 80 });
        let scheme = if encrypted { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{host}:{port}"))
            .and_then(|endpoint| endpoint.user_agent(concat!("relgraph/", env!("CARGO_PKG_VERSION"))))
            .map_err(|error| wrong(format!("`{shown}` is not an address: {error}")))?;
        let endpoint = timed(endpoint, &spec.limits);
        let endpoint = if encrypted { with_tls(&endpoint, spec)? } else { endpoint };
        if !encrypted {
            only_in_the_open(spec, host)?;
        }
        let (authorization, secrets) = authorization(&spec.credentials)?;
        Ok(Address { endpoint, instance: instance(&url, spec)?, authorization, secrets })
    }
}

fn instance(url: &Url, spec: &RemoteSpec) -> Result<String, RemoteError> {
    let of_url = url.path().trim_matches('/');
    match (of_url, spec.instance.as_str()) {
        (of_url, "") => Ok(of_url.to_owned()),
        ("", named) => Ok(named.to_owned()),
        (of_url, named) if of_url == named => Ok(named.to_owned()),
        (of_url, named) => Err(wrong(format!(
            "the address names the instance `{of_url}`, and beside it stands the instance `{named}`"
        ))),
    }
}

fn timed(endpoint: Endpoint, limits: &Limits) -> Endpoint {
    endpoint
        .connect_timeout(limits.connect)
        // Only while something is asked, and no oftener: servers hang up on clients that do it for fun.
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(limits.idle)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

/// What must not be sent where others can read it.
fn only_in_the_open(spec: &RemoteSpec, host: &str) -> Result<(), RemoteError> {
    let shown = spec.shown();
    if spec.credentials.certificate.is_some() || spec.authorities.is_some() {
        let text = format!("certificates are of no use for `{shown}`, which is not encrypted: grpcs:// is");
        return Err(wrong(text));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let here = bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if (spec.credentials.token.is_some() || spec.credentials.basic.is_some()) && !here {
        let text = format!(
            "a token or password is not sent to `{shown}`, where everyone on the way can read it: use grpcs://"
        );
        return Err(wrong(text));
    }
    Ok(())
}

fn with_tls(endpoint: &Endpoint, spec: &RemoteSpec) -> Result<Endpoint, RemoteError> {
    let mut config = ClientTlsConfig::new().timeout(spec.limits.connect);
    if let Some((certificate, key)) = &spec.credentials.certificate {
        config = config.identity(Identity::from_pem(pem(certificate)?, pem(key)?));
    }
    if let Some(authorities) = &spec.authorities {
        config = config.ca_certificate(Certificate::from_pem(pem(authorities)?));
    }
    let made = endpoint.clone().tls_config(config.clone().with_native_roots());
    // A system without authorities of its own will do where some were named.
    let made = match made {
        Err(_) if spec.authorities.is_some() => endpoint.clone().tls_config(config),
        made => made,
    };
    made.map_err(|error| {
        let mut text = format!("TLS cannot be used for `{}`", spec.shown());
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        wrong(text)
    })
}

fn pem(path: &Path) -> Result<Vec<u8>, RemoteError> {
    fs::read(path).map_err(|error| wrong(format!("{}: {error}", path.display())))
}

/// The header, and what of it is secret.
fn authorization(credentials: &Credentials) -> Result<(Option<HeaderValue>, Vec<String>), RemoteError> {
    let (value, mut secrets) = if let Some(token) = &credentials.token {
        (format!("Bearer {}", token.expose()), vec![token.expose().to_owned()])
    } else if let Some((user, password)) = &credentials.basic {
        let encoded = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
        (format!("Basic {encoded}"), vec![encoded, password.expose().to_owned()])
    } else {
        return Ok((None, Vec::new()));
    };
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| wrong("the token has characters that no header may have"))?;
    value.set_sensitive(true);
    secrets.retain(|secret| !secret.is_empty());
    Ok((Some(value), secrets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Secret;

    fn spec(url: &str) -> RemoteSpec {
        RemoteSpec { url: url.to_owned(), ..RemoteSpec::default() }
    }

    fn refused(spec: &RemoteSpec) -> String {
        let error = Address::read(spec).err().expect("it was taken");
        assert_eq!(error.kind, RemoteErrorKind::Config);
        error.message
    }

    #[test]
    fn an_address_has_a_host_a_port_and_an_instance() {
        let read = |url: &str| {
            let address = Address::read(&spec(url)).unwrap();
            (address.endpoint.uri().to_string(), address.instance)
        };
        let pair = |uri: &str, instance: &str| (uri.to_owned(), instance.to_owned());
        assert_eq!(read("grpc://cache.example:8980"), pair("http://cache.example:8980/", ""));
        assert_eq!(read("grpc://cache.example:8980/main/x/"), pair("http://cache.example:8980/", "main/x"));
        assert_eq!(read("grpc://cache.example"), pair("http://cache.example:80/", ""));
        assert_eq!(read("grpc://[::1]:9/a"), pair("http://[::1]:9/", "a"));
        for bad in ["grpc://", "grpc:///x", "grpc://h:99999", "grpc://h/x?y", "grpc://h/#z"] {
            refused(&spec(bad));
        }
        let both = RemoteSpec { instance: "a".into(), ..spec("grpc://h/b") };
        assert!(refused(&both).contains("`a`"));
        let named = RemoteSpec { instance: "a b".into(), ..spec("grpc://h") };
        assert_eq!(Address::read(&named).unwrap().instance, "a b");
    }

    #[test]
    fn a_token_is_not_sent_in_the_open() {
        let with = |url: &str| {
            let credentials = Credentials { token: Some(Secret::new("s3cret")), ..Credentials::default() };
            RemoteSpec { credentials, ..spec(url) }
        };
        for far in
            ["grpc://cache.example", "grpc://10.0.0.1:80", "grpc://localhost.example", "grpc://[fe80::1]"]
        {
            let text = refused(&with(far));
            assert!(text.contains("grpcs://") && !text.contains("s3cret"), "{text}");
        }
        for near in ["grpc://localhost:1", "grpc://127.0.0.1:1", "grpc://127.1.2.3", "grpc://[::1]:1"] {
            let address = Address::read(&with(near)).unwrap();
            let value = address.authorization.unwrap();
            assert!(value.is_sensitive());
            assert_eq!(value.to_str().unwrap(), "Bearer s3cret");
        }
        let odd = Credentials { token: Some(Secret::new("a\nb")), ..Credentials::default() };
        let text = refused(&RemoteSpec { credentials: odd, ..spec("grpc://localhost") });
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn basic_authentication_is_encoded() {
        // RFC 7617, 2.
        let basic = Some(("Aladdin".to_owned(), Secret::new("open sesame")));
        let credentials = Credentials { basic, ..Credentials::default() };
        let address = Address::read(&RemoteSpec { credentials, ..spec("grpc://localhost") }).unwrap();
        assert_eq!(address.authorization.unwrap().to_str().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(address.secrets, ["QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "open sesame"]);
    }

    #[test]
    fn certificates_that_are_not_there_are_named() {
        let authorities = Some("/nowhere/ca.pem".into());
        assert!(refused(&RemoteSpec { authorities, ..spec("grpcs://h") }).contains("/nowhere/ca.pem"));
        let certificate = Some(("/nowhere/me.pem".into(), "/nowhere/me.key".into()));
        let credentials = Credentials { certificate, ..Credentials::default() };
        assert!(refused(&RemoteSpec { credentials, ..spec("grpc://h") }).contains("not encrypted"));
    }
}
