//! BuildGrid: blobs in a folder and entries in memory, named by SHA-256, with certificates and tokens.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use sha2::{Digest, Sha256};

use super::certificates::Certificates;
use super::{Server, installed};

/// Who is let in.
pub enum Door<'a> {
    /// Everybody.
    Open,
    /// Whoever has a token that was signed with this secret: see [`token`].
    Tokens(&'a str),
    /// Whoever has a certificate of this authority.
    Certificates(&'a Certificates),
}

/// Starts one with an empty folder, whose instances are `main` and the one without a name. `updates`: entries may be written.
pub fn buildgrid(door: &Door<'_>, updates: bool) -> Server {
    Server::start(|port, folder| {
        let config = folder.join("config.yml");
        fs::write(&config, configuration(port, folder, door, updates)).expect("a configuration");
        let mut command = Command::new(installed("buildgrid/ready/bin/bgd"));
        command.args(["server", "start", "-v"]).arg(config);
        command
    })
}

fn configuration(port: u16, folder: &Path, door: &Door<'_>, updates: bool) -> String {
    let (channel, authorization) = match door {
        Door::Open => ("insecure-mode: true".to_owned(), String::new()),
        Door::Tokens(secret) => {
            let file = folder.join("secret");
            fs::write(&file, secret).expect("a secret");
            let authorization =
                format!("authorization:\n  method: jwt\n  algorithm: hs256\n  secret: {}\n", file.display());
            ("insecure-mode: true".to_owned(), authorization)
        }
        Door::Certificates(certificates) => {
            let channel = format!(
                "insecure-mode: false
    credentials:
      tls-server-key: {}
      tls-server-cert: {}
      tls-client-certs: {}",
                certificates.server_key().display(),
                certificates.server().display(),
                certificates.authority().display(),
            );
            (channel, String::new())
        }
    };
    format!(
        "server:
  - !channel
    address: 127.0.0.1:{port}
    {channel}
{authorization}
storages:
  - !disk-storage &blobs
    path: {}
caches:
  - !lru-action-cache &entries
    storage: *blobs
    max-cached-refs: 10000
    allow-updates: {updates}
instances:
  - name: ['', main]
    services:
      - !cas
        storage: *blobs
      - !bytestream
        storage: *blobs
      - !action-cache
        cache: *entries
thread-pool-size: 50
",
        folder.join("cas").display()
    )
}

/// A JSON Web Token (RFC 7519) that holds until the year 2100, signed with HS256.
pub fn token(secret: &str) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let text =
        format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(r#"{"sub":"test","exp":4102444800}"#));
    let signature = hmac(secret.as_bytes(), text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// HMAC-SHA-256 (RFC 2104) with a key of at most 64 bytes.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}
