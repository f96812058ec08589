//! nginx as a team would put it in front of a server of gRPC: encrypted, and with a look at who comes.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Server;
use super::certificates::Certificates;

/// Who is let through.
pub enum Guard<'a> {
    /// Whoever shows this `Authorization`.
    Header(&'a str),
    /// Whoever has a certificate of the authority.
    Certificate,
}

/// Starts one in front of a server at `behind` (`127.0.0.1:PORT`).
pub fn nginx(behind: &str, certificates: &Certificates, guard: &Guard<'_>) -> Server {
    Server::start(|port, folder| {
        let config = folder.join("nginx.conf");
        fs::write(&config, configuration(port, folder, behind, certificates, guard))
            .expect("a configuration");
        let mut command = Command::new(program());
        command.arg("-p").arg(folder).arg("-c").arg(config).arg("-e").arg(folder.join("log"));
        command
    })
}

/// It lies in a folder for administrators, which not everybody's path has.
fn program() -> String {
    let all = std::env::var("PATH").unwrap_or_default();
    let found = all.split(':').chain(["/usr/sbin"]).map(|folder| format!("{folder}/nginx"));
    let found = found.into_iter().find(|path| Path::new(path).exists());
    found.expect("nginx is not there: the Debian package nginx-light has it")
}

fn configuration(
    port: u16,
    folder: &Path,
    behind: &str,
    certificates: &Certificates,
    guard: &Guard<'_>,
) -> String {
    let guard = match guard {
        Guard::Header(value) => format!("if ($http_authorization != \"{value}\") {{ return 401; }}"),
        Guard::Certificate => {
            format!("ssl_client_certificate {}; ssl_verify_client on;", certificates.authority().display())
        }
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {}/{what};\n", folder.display()))
        .collect();
    format!(
        "daemon off;
master_process off;
pid {}/pid;
events {{ worker_connections 1024; }}
http {{
access_log off;
{temporary}
server {{
  listen 127.0.0.1:{port} ssl http2;
  ssl_certificate {};
  ssl_certificate_key {};
  client_max_body_size 0;
  {guard}
  location / {{ grpc_pass grpc://{behind}; grpc_read_timeout 60s; grpc_send_timeout 60s; }}
}}
}}
",
        folder.display(),
        certificates.server().display(),
        certificates.server_key().display(),
    )
}
