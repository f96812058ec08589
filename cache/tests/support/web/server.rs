//! Starting and ending real servers.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(180);

/// A process that listens, and ends with this value, or with the test.
pub struct Server {
    child: Child,
    /// What it writes when it complains.
    log: PathBuf,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

/// Where a program is; `package` is what brings it.
pub fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("`{name}` is not installed; scripts/test.sh does it (Debian package {package})")
    })
}

/// A folder for a server, that other users can enter.
pub fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    dir
}

impl Server {
    /// Starts a command, and waits until it listens on these ports.
    pub fn start(command: &mut Command, log: &Path, ports: &[u16]) -> Server {
        let mut ending = Command::new(program("setpriv", "util-linux"));
        ending.args(["--pdeathsig", "TERM"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => ending.env(name, value),
                None => ending.env_remove(name),
            };
        }
        let out = fs::File::options().create(true).append(true).open(log).expect("a log");
        ending.stdin(Stdio::null()).stdout(out.try_clone().expect("a log")).stderr(out);
        let child = ending.spawn().expect("a server");
        let mut server = Server { child, log: log.to_owned() };
        for port in ports {
            server.wait_for(*port);
        }
        server
    }

    fn wait_for(&mut self, port: u16) {
        self.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// Waits until it has made a file.
    pub fn wait_for_file(&mut self, path: &Path) {
        self.wait_until(|| path.exists());
    }

    fn wait_until(&mut self, ready: impl Fn() -> bool) {
        let start = Instant::now();
        while !ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the server ended ({status}): {}", self.said());
            }
            assert!(start.elapsed() < START, "the server does not start: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
