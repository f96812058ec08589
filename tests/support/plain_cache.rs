//! Owns a small HTTP cache on 127.0.0.1 (`GET`, `HEAD`, `PUT` of `/ac/HEX` and `/cas/HEX`) that keeps all in memory, and can be
//! told to lie.
//!
//! Uses nothing but the standard library: tests of other crates take it in by its path.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// What is answered in place of the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lie {
    /// This status, and no more.
    Status(u16),
    /// All of it is announced, and only so many bytes come.
    Truncated(usize),
    /// Other bytes, as many.
    Wrong,
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes are announced, and zeros come as long as somebody listens.
    Announces(u64),
    /// Zeros come, without a word of how many, as long as somebody listens.
    Endless,
}

/// A cache, until it is dropped.
pub struct PlainCache {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Methods, the beginning of the path, and what is answered.
    lies: Vec<(&'static str, &'static str, Lie)>,
    requests: Vec<String>,
    open: Vec<TcpStream>,
    stopped: bool,
}

/// The head of a request.
struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

impl PlainCache {
    /// An empty one.
    pub fn new() -> PlainCache {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared: Arc<Shared> = Arc::default();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                {
                    let mut state = serving.state();
                    if state.stopped {
                        return;
                    }
                    state.open.push(stream.try_clone().expect("a socket"));
                }
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.serve(&stream));
            }
        });
        PlainCache { port, shared }
    }

    /// The port of 127.0.0.1 where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on requests by a method (`*`: any) for paths with this beginning are answered so. The last one said counts.
    pub fn lie(&self, method: &'static str, path: &'static str, lie: Lie) {
        self.shared.state().lies.insert(0, (method, path, lie));
    }

    /// From now on it is honest.
    pub fn be_honest(&self) {
        self.shared.state().lies.clear();
    }

    /// What was asked since this was asked last, as `GET /ac/HEX`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().requests)
    }

    /// The paths of what it holds, with this beginning.
    pub fn paths(&self, beginning: &str) -> Vec<String> {
        self.shared.state().files.keys().filter(|path| path.starts_with(beginning)).cloned().collect()
    }

    /// What it holds at a path.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.shared.state().files.get(path).cloned()
    }

    /// Puts something at a path.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.shared.state().files.insert(path.to_owned(), bytes);
    }

    /// Loses what lies at paths with this beginning.
    pub fn lose(&self, beginning: &str) {
        self.shared.state().files.retain(|path, _| !path.starts_with(beginning));
    }

    /// Changes each file at paths with this beginning.
    pub fn change(&self, beginning: &str, change: impl Fn(&mut Vec<u8>)) {
        let mut state = self.shared.state();
        state
            .files
            .iter_mut()
            .filter(|(path, _)| path.starts_with(beginning))
            .for_each(|(_, file)| change(file));
    }

    /// Puts each file at a path with this beginning where the next one was.
    pub fn exchange(&self, beginning: &str) {
        let mut state = self.shared.state();
        let mut files: Vec<_> =
            state.files.iter_mut().filter(|(path, _)| path.starts_with(beginning)).collect();
        for at in 1..files.len() {
            let (left, right) = files.split_at_mut(at);
            std::mem::swap(left[at - 1].1, right[0].1);
        }
    }
}

impl Drop for PlainCache {
    fn drop(&mut self) {
        let open = {
            let mut state = self.shared.state();
            state.stopped = true;
            std::mem::take(&mut state.open)
        };
        for stream in open {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the lock")
    }

    /// Answers requests on one connection, one after the other.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            if !self.answer(&request, stream).unwrap_or(false) {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    /// False: the connection is over.
    fn answer(&self, request: &Request, stream: &TcpStream) -> std::io::Result<bool> {
        let Request { method, path, body } = request;
        let (lie, held) = {
            let mut state = self.state();
            state.requests.push(format!("{method} {path}"));
            let mut lies = state.lies.iter();
            let lie = lies
                .find(|(of, beginning, _)| ["*", method].contains(of) && path.starts_with(beginning))
                .map(|(_, _, lie)| lie.clone());
            if method == "PUT" && lie.is_none() {
                state.files.insert(path.clone(), body.clone());
            }
            (lie, state.files.get(path).cloned())
        };
        let head = method == "HEAD";
        match (lie, held) {
            (Some(Lie::Status(status)), _) => send(stream, status, b"", head),
            (Some(Lie::Bytes(bytes)), _) => send(stream, 200, &bytes, head),
            (Some(Lie::Announces(size)), _) => {
                let mut stream = stream;
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n")?;
                if head { Ok(true) } else { zeros(stream, size) }
            }
            (Some(Lie::Endless), _) => {
                let mut stream = stream;
                write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
                zeros(stream, if head { 0 } else { u64::MAX })
            }
            _ if method == "PUT" => send(stream, 201, b"", head),
            (_, None) => send(stream, 404, b"", head),
            (Some(Lie::Truncated(size)), Some(bytes)) if !head && size < bytes.len() => {
                let mut stream = stream;
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len())?;
                stream.write_all(&bytes[..size])?;
                Ok(false)
            }
            (Some(Lie::Wrong), Some(mut bytes)) => {
                bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
                send(stream, 200, &bytes, head)
            }
            (_, Some(bytes)) => send(stream, 200, &bytes, head),
        }
    }
}

fn send(mut stream: &TcpStream, status: u16, body: &[u8], head: bool) -> std::io::Result<bool> {
    write!(stream, "HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", body.len())?;
    if !head {
        stream.write_all(body)?;
    }
    Ok(true)
}

/// Sends zeros until the other side has had enough.
fn zeros(mut stream: &TcpStream, size: u64) -> std::io::Result<bool> {
    let zeros = [0; 64 << 10];
    let mut left = size;
    while left > 0 {
        let count = left.min(zeros.len() as u64);
        stream.write_all(&zeros[..count as usize])?;
        left -= count;
    }
    Ok(false)
}

/// The next request; `None` when there is none, or it cannot be understood.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let first = read_line(reader)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut chunked) = (0, false);
    loop {
        let line = read_line(reader)?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        match name {
            "content-length" => length = value.trim().parse().ok()?,
            "transfer-encoding" => chunked = value.trim() == "chunked",
            _ => {}
        }
    }
    let body = if chunked { read_chunks(reader)? } else { read_bytes(reader, length)? };
    Some(Request { method, path, body })
}

fn read_line(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
}

fn read_bytes(reader: &mut BufReader<&TcpStream>, count: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; count];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn read_chunks(reader: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&read_line(reader)?, 16).ok()?;
        body.extend(read_bytes(reader, size)?);
        read_line(reader)?;
        if size == 0 {
            return Some(body);
        }
    }
}
