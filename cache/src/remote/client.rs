//! The HTTP client of remotes that speak HTTP: TLS, certificates, proxies and times, from a [`RemoteSpec`].

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use reqwest::{NoProxy, Proxy, redirect};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use super::{RemoteError, RemoteErrorKind, RemoteSpec, Variables};

/// Whom the server is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// Us, with our certificate.
    Ours,
    /// Somebody: for addresses that another server led to.
    Nobody,
}

/// Which versions of HTTP are offered to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    /// HTTP/2 and HTTP/1.1.
    All,
    /// HTTP/1.1: each transfer has a connection, which is what object stores are made for.
    One,
}

fn config(path: &Path, why: &dyn std::fmt::Display) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Config, format!("{}: {why}", path.display()))
}

/// Certificates in a PEM file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RemoteError> {
    let text = fs::read(path).map_err(|error| config(path, &error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(config(path, &"is not a certificate in PEM form")),
    }
}

/// The authorities that the system trusts: read once, for that takes milliseconds.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// TLS as *ring* does it, with the system's authorities and the ones that were named.
fn tls(spec: &RemoteSpec, identity: Identity, versions: Versions) -> Result<ClientConfig, RemoteError> {
    // A machine without any can still reach a server whose authority was named, and tells why when it cannot.
    let mut roots = system_roots().clone();
    if let Some(path) = &spec.authorities {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| config(path, &error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| RemoteError::new(RemoteErrorKind::Config, error.to_string()))?
        .with_root_certificates(roots);
    let mut tls = match &spec.credentials.certificate {
        Some((certificate, key)) if identity == Identity::Ours => {
            let chain = certificates(certificate)?;
            let text = fs::read(key).map_err(|error| config(key, &error))?;
            // What a parser says of a private key may quote it.
            let private = PrivateKeyDer::from_pem_slice(&text)
                .map_err(|_| config(key, &"is not a private key in PEM form"))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|_| config(key, &format!("does not belong to {}", certificate.display())))?
        }
        _ => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = match versions {
        Versions::All => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Versions::One => vec![b"http/1.1".to_vec()],
    };
    Ok(tls)
}

/// A client that follows no redirects and sends no credentials of its own accord.
pub(super) fn client(
    spec: &RemoteSpec,
    variables: &Variables,
    identity: Identity,
    versions: Versions,
) -> Result<reqwest::Client, RemoteError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(spec, identity, versions)?)
        .user_agent(concat!("relgraph/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(spec.limits.connect)
        .pool_max_idle_per_host(spec.limits.parallel.max(1))
        .http2_adaptive_window(true)
        .no_proxy();
    if versions == Versions::One {
        builder = builder.http1_only();
    }
    for proxy in proxies(variables)? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| {
        RemoteError::new(RemoteErrorKind::Config, format!("no HTTP client can be made: {error}"))
    })
}

/// The proxies of the user's environment, as curl reads them: `https_proxy`, `http_proxy` (small letters alone, for a web
/// server sets the other for its scripts), `all_proxy`, `no_proxy`. This machine is reached without.
fn proxies(variables: &Variables) -> Result<Vec<Proxy>, RemoteError> {
    let get = |names: &[&str]| {
        names.iter().filter_map(|name| variables.get(*name)).find(|text| !text.is_empty()).cloned()
    };
    let all = get(&["all_proxy", "ALL_PROXY"]);
    let except = get(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    let except = NoProxy::from_string(&format!("localhost,127.0.0.0/8,::1,{except}"));
    let mut proxies = Vec::new();
    for (https, address) in
        [(true, get(&["https_proxy", "HTTPS_PROXY"]).or(all.clone())), (false, get(&["http_proxy"]).or(all))]
    {
        let Some(address) = address else { continue };
        let made = if https { Proxy::https(&address) } else { Proxy::http(&address) };
        // The address may hold a password.
        let made = made.map_err(|_| {
            RemoteError::new(RemoteErrorKind::Config, "a proxy of the environment has no valid address")
        })?;
        proxies.push(made.no_proxy(except.clone()));
    }
    Ok(proxies)
}

/// Whether an address is on this machine, so that nobody can listen.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// What went wrong before there was an answer, or while it came. Says nothing of the address.
pub(super) fn trouble(error: reqwest::Error) -> RemoteError {
    let error = error.without_url();
    let (mut text, mut kind) = (error.to_string(), None);
    let mut source = std::error::Error::source(&error);
    while let Some(found) = source {
        kind = kind.or(in_tls(found));
        let next = found.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = found.source();
    }
    let kind = kind.unwrap_or(if error.is_timeout() {
        RemoteErrorKind::Timeout
    } else if error.is_decode() || error.is_body() {
        RemoteErrorKind::Broken
    } else if error.is_builder() {
        RemoteErrorKind::Config
    } else {
        RemoteErrorKind::Unreachable
    });
    RemoteError::new(kind, text)
}

/// Whether a server said that it did not look at a request: it closes a connection of HTTP/2 that has served its time, and
/// what was on the way is to be sent again on another one.
pub(super) fn was_not_taken(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(found) = source {
        if let Some(error) = found.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            return error.is_remote()
                && (error.is_go_away() && reason == Some(h2::Reason::NO_ERROR)
                    || error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM));
        }
        source = found.source();
    }
    false
}

/// What kind of trouble with TLS an error is or wraps. One of input and output does not name what it wraps as its source.
fn in_tls(error: &(dyn std::error::Error + 'static)) -> Option<RemoteErrorKind> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_kind(tls));
    }
    let io = error.downcast_ref::<std::io::Error>()?;
    in_tls(io.get_ref()?)
}

fn tls_kind(error: &rustls::Error) -> RemoteErrorKind {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            RemoteErrorKind::Config
        }
        rustls::Error::AlertReceived(_) => RemoteErrorKind::Denied,
        _ => RemoteErrorKind::Unreachable,
    }
}
