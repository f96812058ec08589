//! Real servers of the Remote Execution API, started by tests on 127.0.0.1 and ended with them.
//!
//! `scripts/install-servers.sh` installs them; `scripts/test.sh` calls it.
#![allow(dead_code)]

mod buildgrid;
mod casd;
pub mod certificates;
mod nginx;

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[allow(unused_imports)]
pub use buildgrid::{Door, buildgrid, token};
#[allow(unused_imports)]
pub use casd::{casd, casd_at};
#[allow(unused_imports)]
pub use nginx::{Guard, nginx};

/// A server that runs until this is dropped.
pub struct Server {
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// What it keeps, and its log.
    pub folder: tempfile::TempDir,
    process: Child,
}

impl Server {
    /// Starts a server and waits until it answers the phone. `command` is told the port and the folder; what it says is kept in
    /// `log` there.
    fn start(command: impl Fn(u16, &Path) -> Command) -> Server {
        let folder = folder();
        let port = free_port();
        let log = folder.path().join("log");
        let file = File::create(&log).expect("a log");
        let mut command = command(port, folder.path());
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("the log")).stderr(file);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let address = format!("127.0.0.1:{port}");
        let began = Instant::now();
        while TcpStream::connect(&address).is_err() {
            let ended = process.try_wait().expect("the state of a child");
            if ended.is_some() || began.elapsed() > Duration::from_secs(120) {
                let _ = process.kill();
                let said = fs::read_to_string(&log).unwrap_or_default();
                panic!("{command:?} does not answer ({ended:?}):\n{said}");
            }
            sleep(Duration::from_millis(20));
        }
        Server { address, folder, process }
    }

    /// Ends it at once, as a power cut would; its folder stays.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Politely, for some have children of their own.
        if let Ok(None) = self.process.try_wait() {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_child(&self.process),
                rustix::process::Signal::TERM,
            );
            let began = Instant::now();
            while let Ok(None) = self.process.try_wait() {
                if began.elapsed() > Duration::from_secs(5) {
                    self.kill();
                    return;
                }
                sleep(Duration::from_millis(10));
            }
        }
    }
}

/// In memory where there is plenty of it: some servers write in a way that waits for the disk at each blob.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let made = if free > 4 << 30 { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder")
}

/// A port on which nobody listens.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A program that `scripts/install-servers.sh` installed.
fn installed(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers").join(program);
    let name = program.split('/').next().unwrap_or(program);
    assert!(
        path.exists(),
        "{} is not there: scripts/install-servers.sh {} {name} installs it",
        path.display(),
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers").display(),
    );
    path
}
