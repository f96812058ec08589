//! The configurations in docs/guides/sharing/ are those of servers that work, and the guide shows them as they are.

#[path = "support/web/mod.rs"]
mod web;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use relgraph_cache::Digest;
use relgraph_cache::remote::{Access, Condition, Credentials, RemoteErrorKind, RemoteSpec, Secret};
use web::server::{Server, folder, free_port, program};
use web::tls::{Certificates, certificates};
use web::{at, blob, client, fetch, name, noise};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// A configuration of the guide, for a folder and a port of the test's own.
fn configuration(file: &str, dir: &Path, port: u16, certificates: &Certificates) -> String {
    let text = fs::read_to_string(docs().join("guides/sharing").join(file)).expect("a configuration");
    let dir = dir.display().to_string();
    [
        ("listen 443", format!("listen 127.0.0.1:{port}")),
        ("Listen 443", format!("Listen 127.0.0.1:{port}")),
        ("*:443", format!("127.0.0.1:{port}")),
        ("/etc/ssl/cache.pem", certificates.server.0.display().to_string()),
        ("/etc/ssl/cache.key", certificates.server.1.display().to_string()),
        ("/srv/cache", dir.clone()),
        ("/run/", format!("{dir}/")),
        ("/etc/nginx/", format!("{dir}/")),
        ("/etc/apache2/", format!("{dir}/")),
    ]
    .iter()
    .fold(text, |text, (from, to)| text.replace(from, to))
}

/// A folder below, where the server's user may write.
fn open_folder(dir: &Path, name: &str) {
    let path = dir.join(name);
    fs::create_dir_all(&path).expect("a folder");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("a mode");
}

fn password(user: &str, password: &str) -> String {
    let mut openssl = Command::new(program("openssl", "openssl"));
    let hash = openssl.args(["passwd", "-apr1", password]).output().expect("openssl").stdout;
    format!("{user}:{}", String::from_utf8_lossy(&hash))
}

/// A remote at this port, for a user who shows a password.
fn remote(port: u16, certificates: &Certificates, user: &str, password: &str) -> RemoteSpec {
    let basic = Some((user.to_owned(), Secret::new(password)));
    RemoteSpec {
        credentials: Credentials { basic, ..Credentials::default() },
        authorities: Some(certificates.authority.clone()),
        ..at(&format!("https://localhost:{port}"))
    }
}

/// `ci` writes, `reader` reads, and nobody else does either.
fn serves_a_team(port: u16, certificates: &Certificates) {
    let ci = client(&remote(port, certificates, "ci", "pass-ci"), Access::ReadWrite);
    let blobs = [noise(1, 100), noise(2, 10_000_000)];
    let digests = blobs.each_ref().map(|bytes| Digest::of(bytes));
    ci.store(blobs.iter().map(|bytes| blob(bytes.clone())).collect()).unwrap();
    assert!(ci.put(&name("e"), b"entry", &digests, &Condition::Always).unwrap());

    let reader = client(&remote(port, certificates, "reader", "pass-reader"), Access::ReadWrite);
    assert_eq!(reader.get(&name("e")).unwrap().unwrap().bytes, b"entry");
    assert_eq!(reader.get(&name("other")).unwrap(), None);
    assert_eq!(reader.missing(&digests).unwrap(), []);
    let (brought, fetched) = fetch(&*reader, &digests);
    fetched.unwrap();
    assert!(digests.iter().zip(&blobs).all(|(digest, bytes)| brought[digest].as_ref() == Some(bytes)));
    let denied = [
        reader.put(&name("e"), b"mine", &[], &Condition::Always).unwrap_err().kind,
        reader.store(vec![blob(noise(3, 100))]).unwrap_err().kind,
    ];
    assert_eq!(denied, [RemoteErrorKind::Denied; 2]);
    assert_eq!(ci.get(&name("e")).unwrap().unwrap().bytes, b"entry");

    for (user, password) in [("reader", "pass-ci"), ("stranger", "pass-ci")] {
        let stranger = client(&remote(port, certificates, user, password), Access::Read);
        assert_eq!(stranger.get(&name("e")).unwrap_err().kind, RemoteErrorKind::Denied);
    }
}

#[test]
fn nginx_as_in_the_guide() {
    let (dir, port) = (folder(), free_port());
    let certificates = certificates(dir.path());
    ["files", "tmp"].iter().for_each(|name| open_folder(dir.path(), name));
    let (ci, reader) = (password("ci", "pass-ci"), password("reader", "pass-reader"));
    fs::write(dir.path().join("relgraph-writers"), &ci).expect("a file");
    fs::write(dir.path().join("relgraph-readers"), ci + &reader).expect("a file");
    // What it never needs here is else where only root may write.
    let temporary: String = ["proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/tmp-{kind};\n", dir.path().display()))
        .concat();
    let text = configuration("nginx.conf", dir.path(), port, &certificates);
    let config = dir.path().join("nginx.conf");
    fs::write(&config, text.replace("http {\n", &format!("http {{\n{temporary}"))).expect("a file");
    let log = dir.path().join("log");
    let mut command = Command::new(program("nginx", "nginx-light"));
    command.arg("-p").arg(dir.path()).arg("-c").arg(&config).arg("-e").arg(&log).args(["-g", "daemon off;"]);
    let _server = Server::start(&mut command, &log, &[port]);
    serves_a_team(port, &certificates);
}

#[test]
fn apache_as_in_the_guide() {
    let (dir, port) = (folder(), free_port());
    let certificates = certificates(dir.path());
    ["files/ac", "files/cas", "locks"].iter().for_each(|name| open_folder(dir.path(), name));
    let passwords = password("ci", "pass-ci") + &password("reader", "pass-reader");
    fs::write(dir.path().join("relgraph-passwords"), passwords).expect("a file");
    // What Debian's own configuration brings.
    let modules = "mpm_event dav dav_fs ssl authn_core authn_file authz_core authz_user auth_basic";
    let modules: String = modules
        .split(' ')
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let user = if rustix::process::geteuid().is_root() { "User www-data\nGroup www-data" } else { "" };
    let own = dir.path().display();
    let log = dir.path().join("log");
    let text = format!(
        "{modules}{user}\nServerRoot {own}\nServerName localhost\nPidFile {own}/pid\nDefaultRuntimeDir {own}\n\
         ErrorLog {own}/log\n{}",
        configuration("apache.conf", dir.path(), port, &certificates)
    );
    let config = dir.path().join("apache.conf");
    fs::write(&config, text).expect("a file");
    let mut command = Command::new(program("apache2", "apache2"));
    command.arg("-DFOREGROUND").arg("-f").arg(&config);
    let _server = Server::start(&mut command, &log, &[port]);
    serves_a_team(port, &certificates);
}

#[test]
fn the_guide_shows_what_is_tested() {
    let guide = fs::read_to_string(docs().join("guides/sharing.md")).expect("the guide");
    let files = [
        "sharing/nginx.conf",
        "sharing/apache.conf",
        "../../examples/ci/github-actions.yml",
        "../../examples/ci/gitlab-ci.yml",
    ];
    for file in files {
        let text = fs::read_to_string(docs().join("guides").join(file)).expect("a file");
        assert!(guide.contains(&format!("\n{text}```\n")), "the guide does not show {file} as it is");
        assert!(guide.contains(&format!("({file})")), "the guide does not say where {file} is");
    }
}
