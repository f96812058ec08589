//! Owns a proxy on 127.0.0.1 through which a server is reached, and which does to it what networks do.
//!
//! It knows nothing of protocols, so that any server may stand behind it. Uses nothing but the standard library: tests of other
//! crates take it in by its path.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the proxy does with connections. Bytes are counted on each connection, from the server to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It passes everything on.
    None,
    /// Nobody listens.
    Refuse,
    /// Each connection is accepted, and broken off at once.
    Reset,
    /// Each connection is accepted, what is sent is read, and nothing answers.
    Hang,
    /// So many bytes a second.
    Slow(usize),
    /// The connection breaks after so many bytes.
    CutAfter(u64),
    /// The same, but for one connection only.
    CutOnceAfter(u64),
    /// The byte after so many is another one.
    FlipAfter(u64),
}

/// A proxy, until it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

struct Shared {
    behind: u16,
    fault: Mutex<Fault>,
    stopped: AtomicBool,
    accepted: AtomicUsize,
    passed: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// In front of a server at a port of 127.0.0.1.
    pub fn new(behind: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            behind,
            fault: Mutex::new(Fault::None),
            stopped: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            passed: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let listening = Some(listen(listener, &shared));
        Proxy { port, shared, listening }
    }

    /// The port of 127.0.0.1 where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it does from now on. Connections that are open break, for clients would use them on.
    pub fn set(&mut self, fault: Fault) {
        *self.shared.fault.lock().expect("the lock") = fault;
        if fault == Fault::Refuse {
            self.stop();
        } else if self.listening.is_none() {
            self.listening = Some(listen(bind_again(self.port), &self.shared));
        }
        self.shared.break_all();
    }

    /// How many connections were accepted since this was asked last.
    pub fn connections(&self) -> usize {
        self.shared.accepted.swap(0, Ordering::SeqCst)
    }

    /// How many bytes passed from the server to clients since this was asked last.
    pub fn passed(&self) -> u64 {
        self.shared.passed.swap(0, Ordering::SeqCst)
    }

    /// Ends the listener.
    fn stop(&mut self) {
        if let Some(listening) = self.listening.take() {
            self.shared.stopped.store(true, Ordering::SeqCst);
            // Wakes it.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            let _ = listening.join();
            self.shared.stopped.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
        self.shared.break_all();
    }
}

/// Listens at a port where somebody listened before. What is connected from it goes away soon.
fn bind_again(port: u16) -> TcpListener {
    for _ in 0..500 {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("somebody else has taken port {port}")
}

/// Accepts connections on a thread of its own, until it is stopped.
fn listen(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for client in listener.incoming() {
            if shared.stopped.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            shared.accepted.fetch_add(1, Ordering::SeqCst);
            shared.accept(client);
        }
    })
}

impl Shared {
    fn accept(self: &Arc<Self>, client: TcpStream) {
        let fault = {
            let mut fault = self.fault.lock().expect("the lock");
            let now = *fault;
            if matches!(now, Fault::CutOnceAfter(_)) {
                *fault = Fault::None;
            }
            now
        };
        self.keep(&client);
        match fault {
            // Dropped with what was sent unread: the client gets a reset.
            Fault::Reset | Fault::Refuse => drop(client.shutdown(Shutdown::Both)),
            Fault::Hang => drop(thread::spawn(move || copy(client, &mut std::io::sink()))),
            _ => {
                let Ok(server) = TcpStream::connect(("127.0.0.1", self.behind)) else {
                    return drop(client.shutdown(Shutdown::Both));
                };
                self.keep(&server);
                let (from, mut to) =
                    (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                thread::spawn(move || {
                    copy(from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
                let shared = Arc::clone(self);
                thread::spawn(move || {
                    shared.answer(&server, &client, fault);
                    let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
                });
            }
        }
    }

    fn break_all(&self) {
        for stream in self.open.lock().expect("the lock").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn keep(&self, stream: &TcpStream) {
        self.open.lock().expect("the lock").push(stream.try_clone().expect("a socket"));
    }

    /// Passes on what the server sends, until either end is gone, or the fault says so.
    fn answer(&self, mut server: &TcpStream, mut client: &TcpStream, fault: Fault) {
        let mut chunk = vec![0; if let Fault::Slow(rate) = fault { (rate / 20).max(1) } else { 16 << 10 }];
        let mut seen = 0;
        while let Ok(count @ 1..) = server.read(&mut chunk) {
            let mut passes = count;
            match fault {
                Fault::CutAfter(after) | Fault::CutOnceAfter(after) => {
                    passes = usize::try_from(after.saturating_sub(seen)).unwrap_or(count).min(count);
                }
                Fault::FlipAfter(after) if (seen..seen + count as u64).contains(&after) => {
                    chunk[(after - seen) as usize] ^= 1;
                }
                _ => {}
            }
            if client.write_all(&chunk[..passes]).is_err() {
                return;
            }
            self.passed.fetch_add(passes as u64, Ordering::SeqCst);
            seen += passes as u64;
            if passes < count {
                return;
            }
            if let Fault::Slow(_) = fault {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn copy(mut from: TcpStream, to: &mut impl Write) {
    // It ends with either of them.
    let _ = std::io::copy(&mut from, to);
}
