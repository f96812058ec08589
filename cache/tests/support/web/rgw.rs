//! Ceph's S3 gateway, whose conditions hold when several write at the same moment.

use std::path::Path;
use std::process::Command;

use super::s3::{KEY, SECRET, variables};
use super::server::{Server, folder, free_port, program};
use super::{Place, at};

/// A gateway with the bucket `bucket`. Starting it takes a quarter of a minute.
pub struct Gateway {
    server: Server,
    dir: tempfile::TempDir,
    port: u16,
}

impl Gateway {
    pub fn start() -> Gateway {
        for (name, package) in
            [("radosgw", "radosgw"), ("ceph-mon", "ceph-mon"), ("ceph-osd", "ceph-osd"), ("curl", "curl")]
        {
            program(name, package);
        }
        let (dir, port) = (folder(), free_port());
        let mut command =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/web/rgw.sh"));
        command.arg(dir.path()).args([free_port(), free_port(), port].map(|port| port.to_string()));
        command.args([KEY, SECRET]);
        let mut server = Server::start(&mut command, &dir.path().join("log"), &[]);
        server.wait_for_file(&dir.path().join("ready"));
        Gateway { server, dir, port }
    }

    /// A prefix of its bucket.
    pub fn place(&self, prefix: &str) -> Place {
        Place { spec: at(&format!("s3://bucket/{prefix}")), variables: variables(self.port, KEY, SECRET) }
    }
}
