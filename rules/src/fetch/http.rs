//! One download: streamed to a file, bounded, tried again where that may help.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use relgraph_engine::StepError;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use super::settings::{Secret, Settings};

/// How often something is tried that may go well the next time.
const TRIES: u32 = 3;
/// How long is waited before the second try; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(250);
/// A server that sends, but slowly, gets this many times the time that one read may take.
const PATIENCE: u32 = 20;

/// Why there is no file.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The server answered with this status.
    Status(u16),
    /// The server could not be asked, or did not go on: what happened.
    Unreachable(String),
    /// There is more than there may be.
    TooLarge,
    /// The file could not be written, or the build is over.
    Step(StepError),
}

/// An address, without what it says of a user.
pub(super) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.find('/').unwrap_or(rest.len());
    let host = rest[..authority].rfind('@').map_or(0, |at| at + 1);
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    format!("{scheme}{}", &rest[host..])
}

/// User and password of an address, as the header `authorization` wants them.
fn basic(url: &str) -> Option<Secret> {
    let rest = url.split_once("://")?.1;
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    let user = authority.rsplit_once('@')?.0;
    Some(Secret(format!("Basic {}", BASE64_STANDARD.encode(decoded(user)))))
}

/// With `%41` read as `A`.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        let digits = more.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(value) => {
                out.push(value);
                rest = &more[2..];
            }
            None => {
                out.push(byte);
                rest = more;
            }
        }
    }
    out
}

/// What asks servers.
pub(super) fn agent(settings: &Settings, url: &str) -> Result<Agent, StepError> {
    let mut tls = TlsConfig::builder().disable_verification(settings.unsafe_https);
    if let Some(path) = &settings.cacerts {
        let pem = std::fs::read(path).map_err(|e| StepError::io("read", path, &e))?;
        let certs: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certs.is_empty() {
            let message = format!("{} holds no certificates", path.display());
            return Err(
                StepError::input(message).with_hint("HEX_CACERTS_PATH names a file of PEM certificates")
            );
        }
        tls = tls.root_certs(RootCerts::Specific(Arc::new(certs)));
    }
    let proxy = if url.starts_with("https:") { &settings.https_proxy } else { &settings.http_proxy };
    Ok(Agent::config_builder()
        .tls_config(tls.build())
        .proxy(proxy.as_ref().map(|proxy| through(proxy, &settings.no_proxy)).transpose()?)
        .user_agent(concat!("relgraph/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(3)
        .timeout_resolve(Some(settings.timeout))
        .timeout_connect(Some(settings.timeout))
        .timeout_recv_response(Some(settings.timeout))
        .timeout_per_read(Some(settings.timeout))
        .timeout_global(Some(settings.timeout.saturating_mul(PATIENCE)))
        .build()
        .new_agent())
}

fn through(proxy: &Secret, not: &[String]) -> Result<Proxy, StepError> {
    let wrong = |_| {
        let message = "the proxy for Hex is no address of the form http://HOST:PORT";
        StepError::input(message).with_hint("correct http_proxy and https_proxy, or `mix hex.config`")
    };
    let given = Proxy::new(&proxy.0).map_err(wrong)?;
    let mut builder = Proxy::builder(given.protocol()).host(given.host()).port(given.port());
    if let Some(user) = given.username() {
        builder = builder.username(user);
    }
    if let Some(password) = given.password() {
        builder = builder.password(password);
    }
    not.iter().fold(builder, |builder, host| builder.no_proxy(host)).build().map_err(wrong)
}

/// Downloads `url` to `file`, at most `most` bytes of it. `carry_on` is asked now and then.
pub(super) fn download(
    agent: &Agent,
    url: &str,
    authorization: Option<&Secret>,
    file: &Path,
    most: u64,
    carry_on: &dyn Fn() -> Result<(), StepError>,
) -> Result<(), Refusal> {
    let mut tries = 1;
    loop {
        carry_on().map_err(Refusal::Step)?;
        match once(agent, url, authorization, file, most, carry_on) {
            Err(Refusal::Unreachable(_) | Refusal::Status(429 | 500..)) if tries < TRIES => {
                std::thread::sleep(PAUSE * (1 << (tries - 1)));
                tries += 1;
            }
            ended => return ended,
        }
    }
}

fn once(
    agent: &Agent,
    url: &str,
    authorization: Option<&Secret>,
    file: &Path,
    most: u64,
    carry_on: &dyn Fn() -> Result<(), StepError>,
) -> Result<(), Refusal> {
    let unreachable = |error: &dyn std::fmt::Display| Refusal::Unreachable(error.to_string());
    let write = |e: &std::io::Error| Refusal::Step(StepError::io("write", file, e));
    let mut request = agent.get(shown(url));
    let own = basic(url);
    if let Some(Secret(value)) = authorization.or(own.as_ref()) {
        request = request.header("authorization", value);
    }
    let mut response = request.call().map_err(|e| unreachable(&e))?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(Refusal::Status(status));
    }
    let mut out = File::create(file).map_err(|e| write(&e))?;
    let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 64 << 10];
    let mut read: u64 = 0;
    loop {
        carry_on().map_err(Refusal::Step)?;
        let count = body.read(&mut buffer).map_err(|e| unreachable(&e))?;
        if count == 0 {
            return Ok(());
        }
        read += count as u64;
        if read > most {
            return Err(Refusal::TooLarge);
        }
        out.write_all(&buffer[..count]).map_err(|e| write(&e))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_says_of_a_user_is_sent_and_not_shown() {
        assert_eq!(shown("https://me:pa@ss@host:1/x@y"), "https://host:1/x@y");
        assert_eq!(shown("https://host/x"), "https://host/x");
        assert_eq!(shown("user@host:x/y.git"), "host:x/y.git");
        assert_eq!(basic("https://me:p%40ss@host/").map(|s| s.0), Some("Basic bWU6cEBzcw==".to_owned()));
        assert_eq!(basic("https://host/a@b"), None);
    }
}
