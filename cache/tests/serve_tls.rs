//! The cache server with certificates: both protocols, clients that need one, and certificates that change.

mod serving;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use reapi::capabilities_client::CapabilitiesClient;
use relgraph_cache::remote::runtime::wait;
use relgraph_cache::serve::{self, ServeError, TlsFiles};
use reqwest::{Certificate, Identity, Version};
use serving::{Served, serve, sha256, wait_until};
use tonic::transport::{Certificate as Pem, Channel, ClientTlsConfig, Identity as Pair};

fn openssl(folder: &Path, args: &[&str]) {
    let output = Command::new("openssl").args(args).current_dir(folder).output();
    let output = output.expect("openssl has to be installed: Debian's package openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority and certificates of it: for the server, and for a client.
fn certificates(folder: &Path) {
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    for (authority, names) in [("ca", ["server", "client"]), ("other", ["again", "stranger"])] {
        let (key, pem) = (format!("{authority}.key"), format!("{authority}.pem"));
        let subject = format!("/CN={authority}");
        let own = ["req", "-x509", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &pem];
        openssl(folder, &[&own[..], &curve].concat());
        for name in names {
            let (own_key, own_pem) = (format!("{name}.key"), format!("{name}.pem"));
            let (own_csr, extensions) = (format!("{name}.csr"), format!("{name}.ext"));
            let subject = format!("/CN={name}");
            let request = ["req", "-subj", &subject, "-keyout", &own_key, "-out", &own_csr];
            openssl(folder, &[&request[..], &curve].concat());
            fs::write(folder.join(&extensions), "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
                .expect("written");
            openssl(
                folder,
                &[
                    "x509",
                    "-req",
                    "-days",
                    "2",
                    "-in",
                    &own_csr,
                    "-CA",
                    &pem,
                    "-CAkey",
                    &key,
                    "-CAcreateserial",
                    "-extfile",
                    &extensions,
                    "-out",
                    &own_pem,
                ],
            );
        }
    }
}

fn files(folder: &Path, client_authority: Option<&str>) -> TlsFiles {
    TlsFiles {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
        client_authority: client_authority.map(|name| folder.join(name)),
    }
}

fn serve_tls(client_authority: Option<&str>) -> Served {
    serve(|config, folder| {
        certificates(folder);
        config.tls = Some(files(folder, client_authority));
    })
}

fn pem(served: &Served, names: &[&str]) -> Vec<u8> {
    let read = |name: &&str| fs::read(served.folder.path().join(name)).expect("a file");
    names.iter().map(read).collect::<Vec<_>>().concat()
}

/// What a client over HTTP gets to hear.
fn http(
    served: &Served,
    authority: &str,
    who: Option<&str>,
    plain: bool,
) -> Result<(u16, Version), reqwest::Error> {
    // For the provider.
    serving::client();
    let authority = Certificate::from_pem(&pem(served, &[authority])).expect("a certificate");
    let mut client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]);
    if let Some(who) = who {
        let identity = pem(served, &[&format!("{who}.pem"), &format!("{who}.key")]);
        client = client.identity(Identity::from_pem(&identity).expect("an identity"));
    }
    if plain {
        client = client.http1_only();
    }
    let url = format!("https://{}/cas/{}", served.address(), sha256(b""));
    let client = client.build().expect("a client");
    wait(async {
        let response = client.get(url).send().await?;
        Ok((response.status().as_u16(), response.version()))
    })
}

/// What a client over gRPC gets to hear.
fn grpc(served: &Served, who: Option<&str>) -> Result<(), String> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Pem::from_pem(pem(served, &["ca.pem"])));
    if let Some(who) = who {
        let (certificate, key) =
            (pem(served, &[&format!("{who}.pem")]), pem(served, &[&format!("{who}.key")]));
        tls = tls.identity(Pair::from_pem(certificate, key));
    }
    let address = format!("https://{}", served.address());
    wait(async {
        let endpoint = Channel::from_shared(address).expect("an address").tls_config(tls).expect("settings");
        let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
        let mut client = CapabilitiesClient::new(channel);
        let asked = client.get_capabilities(reapi::GetCapabilitiesRequest::default()).await;
        asked.map(drop).map_err(|error| error.to_string())
    })
}

#[test]
fn both_protocols_are_spoken() {
    let served = serve_tls(None);
    assert_eq!(http(&served, "ca.pem", None, false).unwrap(), (200, Version::HTTP_2));
    assert_eq!(http(&served, "ca.pem", None, true).unwrap(), (200, Version::HTTP_11));
    grpc(&served, None).unwrap();
    assert!(http(&served, "other.pem", None, false).is_err(), "the certificate is another's");
    let plain = serving::client().get(format!("http://{}/", served.address()));
    assert!(wait(plain.send()).is_err());
    // The server is still there.
    assert!(http(&served, "ca.pem", None, false).is_ok());
}

#[test]
fn clients_may_need_a_certificate() {
    let served = serve_tls(Some("ca.pem"));
    assert_eq!(http(&served, "ca.pem", Some("client"), false).unwrap().0, 200);
    grpc(&served, Some("client")).unwrap();
    for who in [None, Some("stranger")] {
        assert!(http(&served, "ca.pem", who, false).is_err(), "{who:?}");
        assert!(grpc(&served, who).is_err(), "{who:?}");
    }
}

#[test]
fn certificates_are_read_again_when_they_change() {
    let served = serve_tls(None);
    let copy = |from: &str, to: &str| {
        fs::copy(served.folder.path().join(from), served.folder.path().join(to)).expect("copied");
    };
    // Half of a change: the key does not go with the certificate, and the old ones stay.
    copy("again.pem", "server.pem");
    wait_until("there is a warning", || served.warnings().iter().any(|text| text.contains("still counts")));
    assert!(http(&served, "ca.pem", None, false).is_ok());
    copy("again.key", "server.key");
    wait_until("the new one is shown", || http(&served, "other.pem", None, false).is_ok());
    assert!(http(&served, "ca.pem", None, false).is_err());
}

#[test]
fn what_is_no_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::write(path("empty.pem"), "").unwrap();
    let wrong = [
        ("server.key", "server.key"),
        ("server.pem", "client.key"),
        ("server.pem", "server.pem"),
        ("empty.pem", "server.key"),
        ("no.pem", "server.key"),
    ];
    for (certificate, key) in wrong {
        let mut config = serve::ServeConfig::new(path("cache"), ([127, 0, 0, 1], 0).into());
        config.tls =
            Some(TlsFiles { certificate: path(certificate), key: path(key), client_authority: None });
        let error = serve::start(config, std::sync::Arc::new(|_| {})).expect_err("refused");
        assert!(matches!(error, ServeError::Tls { .. }), "{certificate} {key}: {error}");
    }
}
