//! Apache with mod_dav as a cache, configured as the guide says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::server::{Server, folder, free_port, program};

/// One Apache with two caches: `open`, and `private` with the password `secret` of `ann`.
pub struct Apache {
    server: Server,
    dir: tempfile::TempDir,
    port: u16,
}

impl Apache {
    pub fn start() -> Apache {
        let (dir, port) = (folder(), free_port());
        for cache in ["open", "private"] {
            // mod_dav makes no folders on the way to a file.
            for part in ["ac", "cas"] {
                open_folder(&dir.path().join("files").join(cache).join(part));
            }
        }
        open_folder(&dir.path().join("locks"));
        let mut openssl = Command::new(program("openssl", "openssl"));
        let hash = openssl.args(["passwd", "-apr1", "secret"]).output().expect("openssl").stdout;
        let password = format!("ann:{}", String::from_utf8_lossy(&hash));
        fs::write(dir.path().join("passwords"), password).expect("a file");
        let config = dir.path().join("apache.conf");
        fs::write(&config, configuration(dir.path(), port)).expect("a file");
        let mut command = Command::new(program("apache2", "apache2"));
        command.arg("-DFOREGROUND").arg("-f").arg(&config);
        let server = Server::start(&mut command, &dir.path().join("log"), &[port]);
        Apache { server, dir, port }
    }

    /// The address of one of the caches.
    pub fn url(&self, cache: &str) -> String {
        format!("http://127.0.0.1:{}/{cache}", self.port)
    }
}

/// Apache works as somebody else when it is started by root.
fn open_folder(path: &Path) {
    fs::create_dir_all(path).expect("a folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("a mode");
}

fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    let modules: String =
        ["mpm_event", "dav", "dav_fs", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic"]
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .concat();
    let user = if rustix::process::geteuid().is_root() { "User www-data\nGroup www-data" } else { "" };
    format!(
        "{modules}\n{user}\nServerRoot {dir}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {dir}/pid\n\
         DefaultRuntimeDir {dir}\nErrorLog {dir}/log\nDocumentRoot {dir}/files\nDavLockDB {dir}/locks/db\n\
         <Directory {dir}/files>\nRequire all granted\nDav On\n</Directory>\n\
         <Location /private>\nAuthType Basic\nAuthName cache\nAuthUserFile {dir}/passwords\n\
         Require valid-user\n</Location>\n"
    )
}
