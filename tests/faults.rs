//! The tests' own ways to break a connection to a server, and a server that lies: each does what it says.

#[path = "support/faults.rs"]
mod faults;
#[path = "support/plain_cache.rs"]
mod plain_cache;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use faults::{Fault, Proxy};
use plain_cache::{Lie, PlainCache};

/// A connection to a port.
fn connect(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", port))
}

/// Sends a request on a connection of its own, and reads what comes until it is over: status, body, and how it ended.
fn ask(port: u16, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>, Option<ErrorKind>) {
    let mut stream = match connect(port) {
        Ok(stream) => stream,
        Err(error) => return (0, Vec::new(), Some(error.kind())),
    };
    let sent =
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len())
            .and_then(|()| stream.write_all(body));
    if let Err(error) = sent {
        return (0, Vec::new(), Some(error.kind()));
    }
    let mut all = Vec::new();
    loop {
        if let Some((status, length, from)) = head(&all)
            && (all.len() - from >= length || method == "HEAD")
        {
            return (status, all[from..].to_vec(), None);
        }
        let mut chunk = [0; 4096];
        let end = match stream.read(&mut chunk) {
            Ok(0) => ErrorKind::UnexpectedEof,
            Ok(count) => {
                all.extend(&chunk[..count]);
                continue;
            }
            Err(error) => error.kind(),
        };
        let (status, _, from) = head(&all).unwrap_or((0, 0, all.len()));
        return (status, all[from..].to_vec(), Some(end));
    }
}

/// Status, announced length, and where the body begins.
fn head(all: &[u8]) -> Option<(u16, usize, usize)> {
    let end = all.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&all[..end]).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    Some((status, length.map_or(usize::MAX, |length| length.parse().unwrap_or(usize::MAX)), end + 4))
}

/// A cache with 100,000 bytes at `/cas/a`, and a proxy in front of it.
fn scene() -> (PlainCache, Proxy) {
    let cache = PlainCache::new();
    cache.put("/cas/a", vec![7; 100_000]);
    let proxy = Proxy::new(cache.port());
    (cache, proxy)
}

#[test]
fn the_proxy_passes_on_what_it_gets() {
    let (cache, proxy) = scene();
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    assert_eq!(ask(proxy.port(), "PUT", "/cas/b", &body).0, 201);
    assert_eq!(cache.file("/cas/b"), Some(body.clone()));
    assert_eq!(ask(proxy.port(), "GET", "/cas/b", b""), (200, body, None));
    assert_eq!(proxy.connections(), 2);
    assert!(proxy.passed() > 1_000_000);
    assert_eq!((proxy.connections(), proxy.passed()), (0, 0));
}

#[test]
fn the_proxy_refuses_and_comes_back() {
    let (_cache, mut proxy) = scene();
    for _ in 0..3 {
        proxy.set(Fault::Refuse);
        assert_eq!(connect(proxy.port()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        proxy.set(Fault::None);
        assert_eq!(ask(proxy.port(), "GET", "/cas/a", b"").0, 200);
    }
}

#[test]
fn the_proxy_breaks_connections_off() {
    let (cache, mut proxy) = scene();
    proxy.set(Fault::Reset);
    let (status, body, end) = ask(proxy.port(), "GET", "/cas/a", b"");
    assert_eq!((status, body.len(), end.is_some()), (0, 0, true));
    assert_eq!((proxy.connections(), cache.requests().len()), (1, 0));
}

#[test]
fn the_proxy_hangs_until_it_is_told_otherwise() {
    let (cache, mut proxy) = scene();
    proxy.set(Fault::Hang);
    let mut stream = connect(proxy.port()).unwrap();
    stream.write_all(b"GET /cas/a HTTP/1.1\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = stream.read(&mut [0]).unwrap_err().kind();
    assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error), "{error}");
    assert_eq!((proxy.connections(), cache.requests().len()), (1, 0));
    stream.set_read_timeout(None).unwrap();
    proxy.set(Fault::None);
    // What hung is over.
    assert!(stream.read(&mut [0]).map_or(true, |count| count == 0));
}

#[test]
fn the_proxy_is_slow() {
    let (_cache, mut proxy) = scene();
    proxy.set(Fault::Slow(400_000));
    let began = Instant::now();
    assert_eq!(ask(proxy.port(), "GET", "/cas/a", b"").1.len(), 100_000);
    // At least: the machine may be slower.
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[test]
fn the_proxy_cuts_each_connection_or_the_first() {
    let (_cache, mut proxy) = scene();
    for after in [0, 10, 5000] {
        proxy.set(Fault::CutAfter(after));
        proxy.passed();
        for _ in 0..3 {
            assert!(ask(proxy.port(), "GET", "/cas/a", b"").2.is_some());
            assert_eq!(proxy.passed(), after);
        }
        proxy.set(Fault::CutOnceAfter(after));
        assert!(ask(proxy.port(), "GET", "/cas/a", b"").2.is_some());
        assert_eq!(ask(proxy.port(), "GET", "/cas/a", b""), (200, vec![7; 100_000], None));
    }
}

#[test]
fn the_proxy_changes_one_byte() {
    let (_cache, mut proxy) = scene();
    proxy.set(Fault::FlipAfter(60_000));
    let (status, body, end) = ask(proxy.port(), "GET", "/cas/a", b"");
    assert_eq!((status, body.len(), end), (200, 100_000, None));
    let other: Vec<u8> = body.into_iter().filter(|byte| *byte != 7).collect();
    assert_eq!(other, [6]);
}

#[test]
fn the_cache_keeps_what_it_is_given() {
    let cache = PlainCache::new();
    assert_eq!(ask(cache.port(), "GET", "/ac/a", b"").0, 404);
    assert_eq!(ask(cache.port(), "PUT", "/ac/a", b"first").0, 201);
    assert_eq!(ask(cache.port(), "GET", "/ac/a", b""), (200, b"first".to_vec(), None));
    assert_eq!(ask(cache.port(), "HEAD", "/ac/a", b""), (200, Vec::new(), None));
    assert_eq!(cache.requests(), ["GET /ac/a", "PUT /ac/a", "GET /ac/a", "HEAD /ac/a"]);
    cache.put("/ac/b", b"second".to_vec());
    cache.put("/ac/c", b"third".to_vec());
    cache.exchange("/ac/");
    assert_eq!(cache.paths("/ac/"), ["/ac/a", "/ac/b", "/ac/c"]);
    assert_eq!(cache.file("/ac/a").unwrap(), b"second");
    assert_eq!(cache.file("/ac/c").unwrap(), b"first");
    cache.change("/ac/c", |bytes| bytes.truncate(2));
    assert_eq!(ask(cache.port(), "GET", "/ac/c", b"").1, b"fi");
    cache.lose("/ac/b");
    assert_eq!(ask(cache.port(), "GET", "/ac/b", b"").0, 404);
}

#[test]
fn the_cache_answers_many_on_one_connection_and_in_chunks() {
    let cache = PlainCache::new();
    let mut stream = connect(cache.port()).unwrap();
    stream
        .write_all(
            b"PUT /ac/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n\
              GET /ac/a HTTP/1.1\r\n\r\n",
        )
        .unwrap();
    let expected =
        b"HTTP/1.1 201 -\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 -\r\ncontent-length: 5\r\n\r\nabcde";
    let mut answers = vec![0; expected.len()];
    stream.read_exact(&mut answers).unwrap();
    assert_eq!(answers, expected);
}

#[test]
fn the_cache_lies() {
    let (cache, _) = scene();
    let port = cache.port();
    for status in [500, 401, 507] {
        cache.lie("PUT", "/cas/", Lie::Status(status));
        assert_eq!(ask(port, "PUT", "/cas/a", b"new").0, status);
        assert_eq!(ask(port, "PUT", "/ac/a", b"new").0, 201);
    }
    assert_eq!(ask(port, "GET", "/cas/a", b""), (200, vec![7; 100_000], None));
    cache.lie("GET", "/cas/", Lie::Truncated(5000));
    assert_eq!(ask(port, "GET", "/cas/a", b""), (200, vec![7; 5000], Some(ErrorKind::UnexpectedEof)));
    cache.lie("GET", "/cas/", Lie::Wrong);
    assert_eq!(ask(port, "GET", "/cas/a", b""), (200, vec![0x52; 100_000], None));
    cache.lie("*", "/cas/", Lie::Bytes(b"other".to_vec()));
    assert_eq!(ask(port, "GET", "/cas/a", b"").1, b"other");
    cache.lie("*", "/", Lie::Status(401));
    assert_eq!(ask(port, "HEAD", "/cas/none", b"").0, 401);
    cache.be_honest();
    assert_eq!(ask(port, "HEAD", "/cas/none", b"").0, 404);
}

#[test]
fn the_cache_announces_more_than_anybody_wants() {
    let (cache, _) = scene();
    for (lie, announced) in [(Lie::Announces(10 << 30), 10 << 30), (Lie::Endless, usize::MAX)] {
        cache.lie("GET", "/cas/", lie);
        let mut stream = connect(cache.port()).unwrap();
        stream.write_all(b"GET /cas/a HTTP/1.1\r\n\r\n").unwrap();
        let mut some = vec![1; 1 << 20];
        stream.read_exact(&mut some).unwrap();
        let (status, length, from) = head(&some).unwrap();
        assert_eq!((status, length), (200, announced));
        assert!(some[from..].iter().all(|byte| *byte == 0));
    }
}
