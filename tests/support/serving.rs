//! Owns a cache server that was started by the command, and a client of a few lines.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::Digest as _;

/// A server that runs. It is killed when this is dropped.
pub struct Cache {
    pub child: Child,
    pub address: SocketAddr,
    /// What it said when it was ready.
    pub said: serde_json::Value,
    err: PathBuf,
    // So that it may say more.
    _out: BufReader<ChildStdout>,
}

impl Cache {
    /// Starts a server on a free port of this machine.
    pub fn start(dir: &Path, args: &[&str]) -> Cache {
        Cache::start_by(&[], dir, args)
    }

    /// The same, started by other words.
    pub fn start_by(by: &[&str], dir: &Path, args: &[&str]) -> Cache {
        fs::create_dir_all(dir).expect("a folder");
        let mut words: Vec<&str> = by.to_vec();
        words.extend([
            super::support::RELGRAPH,
            "cache",
            "serve",
            "--format",
            "json",
            "--listen",
            "127.0.0.1:0",
        ]);
        words.extend(args);
        let cache = dir.join("cache").display().to_string();
        words.extend(["--dir", &cache]);
        let err = dir.join("serve.err");
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::options().create(true).append(true).open(&err).expect("a file"));
        let mut child = command.spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        let said: serde_json::Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{line}{}", fs::read_to_string(&err).unwrap_or_default()));
        let address = said["address"].as_str().expect("an address").parse().expect("an address");
        Cache { child, address, said, err, _out: out }
    }

    /// What it wrote beside.
    pub fn err(&self) -> String {
        fs::read_to_string(&self.err).expect("a file")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().expect("it ends")
    }

    /// The most memory that it ever had, in MiB.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }

    /// A request over HTTP: the status and the body.
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, Vec<u8>) {
        ask(self.address, method, path, headers, body).expect("an answer")
    }

    pub fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.ask("GET", path, "", b"")
    }

    pub fn put(&self, path: &str, body: &[u8]) -> u16 {
        self.ask("PUT", path, "", body).0
    }

    /// The sum of what its metrics say in lines that begin so.
    pub fn metric(&self, begin: &str) -> f64 {
        let text = String::from_utf8(self.get("/metrics").1).expect("text");
        let values = text.lines().filter(|line| line.starts_with(begin));
        values.map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")).sum()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: cache\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The status and the body in an answer. `None`: it broke off.
pub fn answer(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body = &bytes[end + 4..];
    let whole = length.is_none_or(|length| length.parse() == Ok(body.len()));
    whole.then(|| (status, body.to_vec()))
}

fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&request(method, path, headers, body))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    answer(&bytes).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

pub fn sha256(bytes: &[u8]) -> String {
    let hash: [u8; 32] = sha2::Sha256::digest(bytes).into();
    blake3::Hash::from_bytes(hash).to_hex().to_string()
}

/// Bytes that nothing compresses, and that are others for another seed.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
