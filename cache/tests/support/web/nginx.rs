//! nginx as a cache, configured as the guide says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{Server, folder, free_port, program};
use super::tls::{Certificates, certificates};

/// One nginx, with several caches in it. Each has a part of the address of its own:
///
/// - `open`: everybody reads and writes;
/// - `private`: with the password `secret` of `ann`;
/// - `read`: what is in `open`, only to be read;
/// - `small`: bodies of at most 1 KiB;
/// - `down`: leads to `open` without TLS;
/// - `signed`: over TLS, with a certificate of the authority.
pub struct Nginx {
    server: Server,
    dir: tempfile::TempDir,
    port: u16,
    tls_port: u16,
    pub certificates: Certificates,
}

impl Nginx {
    pub fn start() -> Nginx {
        let (dir, port, tls_port) = (folder(), free_port(), free_port());
        let certificates = certificates(dir.path());
        fs::write(dir.path().join("passwords"), "ann:{PLAIN}secret\n").expect("a file");
        let config = dir.path().join("nginx.conf");
        fs::write(&config, configuration(dir.path(), port, tls_port, &certificates)).expect("a file");
        let log = dir.path().join("log");
        let mut command = Command::new(program("nginx", "nginx-light"));
        command.arg("-p").arg(dir.path()).arg("-c").arg(&config).arg("-e").arg(&log);
        let server = Server::start(&mut command, &log, &[port, tls_port]);
        Nginx { server, dir, port, tls_port, certificates }
    }

    /// The address of one of the caches.
    pub fn url(&self, cache: &str) -> String {
        format!("http://127.0.0.1:{}/{cache}", self.port)
    }

    /// The same, over TLS and HTTP/2.
    pub fn tls_url(&self, cache: &str) -> String {
        format!("https://localhost:{}/{cache}", self.tls_port)
    }

    /// Where the files of a cache are.
    pub fn files(&self, cache: &str) -> PathBuf {
        self.dir.path().join("files").join(cache)
    }
}

fn configuration(dir: &Path, port: u16, tls_port: u16, certificates: &Certificates) -> String {
    let dir = dir.display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/tmp-{kind};\n"))
        .concat();
    let cache = |name: &str, more: &str| {
        format!(
            "location ~ \"^/{name}/(ac|cas)/[0-9a-f]{{64}}$\" {{ \
             dav_methods PUT; create_full_put_path on; {more} }}\n"
        )
    };
    let locations = [
        cache("open", ""),
        format!("location /plain/ {{ alias {dir}/files/open/; }}\n"),
        cache("private", "auth_basic cache; auth_basic_user_file passwords;"),
        cache("small", "client_max_body_size 1k;"),
        cache("signed", "if ($ssl_client_verify != SUCCESS) { return 403; }"),
        format!("location ~ \"^/down/(.*)$\" {{ return 302 http://127.0.0.1:{port}/open/$1; }}\n"),
        "location ~ \"^/read/((ac|cas)/[0-9a-f]{64})$\" { alias files/open/$1; limit_except GET { deny all; } }\n"
            .replace("files", &format!("{dir}/files")),
    ]
    .concat();
    format!(
        "{user} daemon off; master_process off; pid {dir}/pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n access_log off; client_max_body_size 0; root {dir}/files; {temporary}\n\
         server {{ listen 127.0.0.1:{port}; {locations} }}\n\
         server {{ listen 127.0.0.1:{tls_port} ssl http2;\n\
         ssl_certificate {}; ssl_certificate_key {};\n\
         ssl_client_certificate {}; ssl_verify_client optional;\n{locations} }}\n}}\n",
        certificates.server.0.display(),
        certificates.server.1.display(),
        certificates.authority.display(),
    )
}
