//! A connection between a client and a server that does not always hold.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What passes between clients and a server, until this is dropped.
pub struct Proxy {
    /// `127.0.0.1:PORT`.
    pub address: String,
    state: Arc<State>,
}

struct State {
    /// How many bytes from the server still pass.
    left: AtomicU64,
    /// What happens then: the connection ends, or nothing does.
    silent: AtomicBool,
    over: AtomicBool,
}

impl Proxy {
    /// In front of a server at `behind`.
    pub fn start(behind: &str) -> Proxy {
        Proxy::slow(behind, None)
    }

    /// Lets so many bytes pass in a second, on each connection and each way.
    pub fn slow(behind: &str, rate: Option<u32>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        if rate.is_some() {
            // A slow line is not a large one.
            let socket = socket2::SockRef::from(&listener);
            socket.set_recv_buffer_size(64 << 10).expect("a buffer");
        }
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            left: AtomicU64::new(u64::MAX),
            silent: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let (shared, behind) = (Arc::clone(&state), behind.to_owned());
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(&behind) else { continue };
                pass(&client, &server, None, rate);
                pass(&server, &client, Some(Arc::clone(&shared)), rate);
            }
        });
        Proxy { address, state }
    }

    /// Ends connections when the server has sent so many more bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.state.silent.store(false, Ordering::Relaxed);
        self.state.left.store(bytes, Ordering::Relaxed);
    }

    /// Lets nothing from the server pass any more, and tells nobody.
    pub fn fall_silent(&self) {
        self.state.silent.store(true, Ordering::Relaxed);
        self.state.left.store(0, Ordering::Relaxed);
    }

    /// On connections that are made from now on, all is well again.
    pub fn mend(&self) {
        self.state.left.store(u64::MAX, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

fn pass(from: &TcpStream, to: &TcpStream, state: Option<Arc<State>>, rate: Option<u32>) {
    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
    thread::spawn(move || {
        let mut chunk = [0; 16 << 10];
        let mut dead = false;
        while let Ok(count) = from.read(&mut chunk) {
            if count == 0 {
                break;
            }
            let mut allowed = count as u64;
            if let Some(state) = &state {
                let left = state.left.load(Ordering::Relaxed);
                if dead || left < allowed {
                    if state.silent.load(Ordering::Relaxed) {
                        dead = true;
                        continue;
                    }
                    allowed = left;
                    dead = true;
                }
                if left != u64::MAX {
                    state.left.store(left.saturating_sub(allowed), Ordering::Relaxed);
                }
            }
            if let Some(rate) = rate {
                thread::sleep(Duration::from_secs(1) * count as u32 / rate);
            }
            if to.write_all(&chunk[..allowed as usize]).is_err() || dead {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
