//! s3s-fs: S3 over a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use relgraph_cache::remote::{RemoteSpec, Variables};

use super::server::{Server, folder, free_port};
use super::{Place, at};

pub const KEY: &str = "a-key-of-the-tests";
pub const SECRET: &str = "a-secret-of-the-tests";

/// An S3 server with the bucket `bucket`.
pub struct S3 {
    server: Server,
    dir: tempfile::TempDir,
    port: u16,
}

impl S3 {
    pub fn start() -> S3 {
        let (dir, port) = (folder(), free_port());
        fs::create_dir_all(dir.path().join("files/bucket")).expect("a folder");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools/s3s-fs-0.14.1/bin/s3s-fs");
        assert!(program.is_file(), "s3s-fs is not installed; scripts/s3s-fs.sh does it");
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--access-key", KEY, "--secret-key", SECRET]).arg(dir.path().join("files"));
        let server = Server::start(&mut command, &dir.path().join("log"), &[port]);
        S3 { server, dir, port }
    }

    /// The variables that lead to it.
    pub fn variables(&self) -> Variables {
        variables(self.port, KEY, SECRET)
    }

    /// A prefix of its bucket.
    pub fn place(&self, prefix: &str) -> Place {
        let spec: RemoteSpec = at(&format!("s3://bucket/{prefix}"));
        Place { spec, variables: self.variables() }
    }

    /// The files of a prefix.
    pub fn files(&self, prefix: &str) -> PathBuf {
        self.dir.path().join("files/bucket").join(prefix)
    }
}

/// The variables for an S3 server on this machine.
pub fn variables(port: u16, key: &str, secret: &str) -> Variables {
    [
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", key.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
