//! Certificates for tests, made by the `openssl` command.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::program;

/// An authority, and what it has signed: a server on this machine and a client; all in PEM files.
pub struct Certificates {
    pub authority: PathBuf,
    pub server: (PathBuf, PathBuf),
    pub client: (PathBuf, PathBuf),
}

fn openssl(folder: &Path, args: &[&str]) {
    let mut command = Command::new(program("openssl", "openssl"));
    let out = command.args(args).current_dir(folder).output().expect("openssl");
    assert!(out.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Makes certificates in a folder.
pub fn certificates(folder: &Path) -> Certificates {
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let make = |args: &[&str]| openssl(folder, &[&["req"], args, &ec[..]].concat());
    make(&["-x509", "-days", "2", "-subj", "/CN=a test authority", "-keyout", "ca.key", "-out", "ca.pem"]);
    for (name, subject, extension) in [
        ("server", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ("client", "/CN=a client", "extendedKeyUsage=clientAuth"),
    ] {
        let (key, request, pem) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        make(&["-subj", subject, "-keyout", &key, "-out", &request]);
        std::fs::write(folder.join("extensions"), extension).expect("a file");
        let mut args = vec!["x509", "-req", "-days", "2", "-in", &request, "-out", &pem];
        args.extend(["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions"]);
        openssl(folder, &args);
    }
    let pair = |name: &str| (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    Certificates { authority: folder.join("ca.pem"), server: pair("server"), client: pair("client") }
}
