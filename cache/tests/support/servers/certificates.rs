//! An authority, a server's certificate for `localhost` and 127.0.0.1, a client's, and a client's of a stranger.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

/// Certificates and keys, as files (PEM).
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Makes all of them.
    pub fn new() -> Certificates {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = authority("the authority");
        let stranger = self::authority("a stranger");
        let at = folder.path();
        fs::write(at.join("authority.pem"), &authority.0).expect("a file");
        fs::write(at.join("other-authority.pem"), &stranger.0).expect("a file");
        signed(at, "server", &["localhost", "127.0.0.1"], &authority.1);
        signed(at, "client", &["client.example"], &authority.1);
        signed(at, "stranger", &["client.example"], &stranger.1);
        Certificates { folder }
    }

    /// What the server's and the client's certificates are signed with.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// An authority that signed neither.
    pub fn other_authority(&self) -> PathBuf {
        self.folder.path().join("other-authority.pem")
    }

    pub fn server(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    pub fn server_key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// A client's certificate and its key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        self.pair("client")
    }

    /// One that the other authority signed.
    pub fn stranger(&self) -> (PathBuf, PathBuf) {
        self.pair("stranger")
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        let at = self.folder.path();
        (at.join(format!("{name}.pem")), at.join(format!("{name}.key")))
    }
}

fn parameters(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut parameters = CertificateParams::new(hosts).expect("names");
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = parameters(name, &[]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).expect("a certificate");
    (certificate.pem(), Issuer::new(parameters, key))
}

fn signed(folder: &Path, name: &str, hosts: &[&str], by: &Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters(name, hosts).signed_by(&key, by).expect("a certificate");
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("a file");
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("a file");
}
