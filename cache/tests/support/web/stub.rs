//! A server of HTTP/1.1 that does what real ones do not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request, without its body.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn length(&self) -> usize {
        self.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// What is sent, and when.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The body is read, and this is sent.
    Whole(String),
    /// The same, with bytes after it.
    Bytes(String, Vec<u8>),
    /// This is sent at once, and the body is not read.
    Early(String),
    /// Nothing is ever sent.
    Nothing,
    /// The head, and then a byte now and then.
    Drip(String),
    /// The head, and then bytes without end.
    Endless(String),
}

/// An answer of a status and a text, that ends the connection.
pub fn text(status: &str, body: &str) -> Answer {
    Answer::Whole(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ))
}

/// An answer of some bytes.
pub fn bytes(more: &str, body: Vec<u8>) -> Answer {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n", body.len());
    Answer::Bytes(head, body)
}

/// A stub that listens until the test ends.
pub struct Stub {
    pub port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let all = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, answer) = (all.clone(), answer.clone());
                thread::spawn(move || serve(stream, &all, &*answer));
            }
        });
        Stub { port, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("the lock").clone()
    }
}

/// One request on a connection is enough.
fn serve(stream: TcpStream, all: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Request { method: words.next()?, path: words.next()?, headers: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        request.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    all.lock().expect("the lock").push(request.clone());
    let mut out = stream;
    let read_body = |reader: &mut BufReader<TcpStream>| {
        std::io::copy(&mut reader.take(request.length() as u64), &mut std::io::sink()).ok()
    };
    match answer(&request) {
        Answer::Whole(text) => {
            read_body(&mut reader)?;
            out.write_all(text.as_bytes()).ok()?;
        }
        Answer::Bytes(head, body) => {
            read_body(&mut reader)?;
            out.write_all(head.as_bytes()).ok()?;
            out.write_all(&body).ok()?;
        }
        Answer::Early(text) => {
            out.write_all(text.as_bytes()).ok()?;
            // As servers do, so that the answer is not lost with the connection.
            let _ = out.shutdown(std::net::Shutdown::Write);
            let _ = out.set_read_timeout(Some(Duration::from_secs(2)));
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
        }
        Answer::Nothing => thread::sleep(Duration::from_secs(3600)),
        Answer::Drip(head) => {
            out.write_all(head.as_bytes()).ok()?;
            loop {
                out.write_all(b"x").ok()?;
                thread::sleep(Duration::from_millis(50));
            }
        }
        Answer::Endless(head) => {
            out.write_all(head.as_bytes()).ok()?;
            loop {
                out.write_all(&[b'x'; 8192]).ok()?;
            }
        }
    }
    Some(())
}
