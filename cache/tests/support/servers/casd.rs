//! buildbox-casd: blobs and entries in a folder, named by SHA-256.

use std::path::Path;
use std::process::Command;

use super::{Server, installed};

/// Starts one with an empty folder. Its only instance has no name.
pub fn casd() -> Server {
    Server::start(|port, folder| command(port, &folder.join("cas")))
}

/// Starts one on a folder that another had, which must have ended.
pub fn casd_at(folder: &Path) -> Server {
    Server::start(|port, _| command(port, &folder.join("cas")))
}

fn command(port: u16, folder: &Path) -> Command {
    let program = installed("buildbox/ready/buildbox-casd");
    let here = program.parent().expect("a folder").to_owned();
    let mut command = Command::new(program);
    command
        .arg(format!("--bind=127.0.0.1:{port}"))
        .arg(format!("--buildbox-run={}", here.join("buildbox-run").display()))
        .arg("--cache-failures=false")
        .arg(folder)
        .env("PATH", format!("{}:/usr/bin:/bin", here.display()));
    command
}
