//! A server for one test, and clients that are nobody's but the protocols'.
#![allow(dead_code)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use relgraph_cache::remote::runtime::wait;
use relgraph_cache::serve::{self, Event, ServeConfig, Server};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use sha2::Digest as _;
use tempfile::TempDir;

pub struct Served {
    pub folder: TempDir,
    pub config: ServeConfig,
    pub events: Arc<Mutex<Vec<Event>>>,
    server: Option<Server>,
}

/// Starts a server on a free port, in a folder of its own.
pub fn serve(change: impl FnOnce(&mut ServeConfig, &Path)) -> Served {
    let folder = tempfile::tempdir().expect("a folder");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = ServeConfig::new(folder.path().join("cache"), listen);
    change(&mut config, folder.path());
    let mut served = Served { folder, config, events: Arc::default(), server: None };
    served.start();
    served
}

impl Served {
    pub fn start(&mut self) {
        let events = self.events.clone();
        let on_event = Arc::new(move |event| events.lock().expect("events").push(event));
        self.server = Some(serve::start(self.config.clone(), on_event).expect("it starts"));
    }

    /// Stops it. True: all that was running could end.
    pub fn stop(&mut self) -> bool {
        self.server.take().expect("it runs").stop(Duration::from_secs(20))
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    pub fn address(&self) -> SocketAddr {
        self.server().address()
    }

    pub fn dir(&self) -> PathBuf {
        self.config.dir.clone()
    }

    /// A request over HTTP.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = client().request(method, format!("http://{}{path}", self.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        wait(answer(request.body(body.to_vec())))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn put(&self, path: &str, body: &[u8]) -> u16 {
        self.ask("PUT", path, &[], body).status
    }

    /// A number of the metrics.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    pub fn warnings(&self) -> Vec<String> {
        let events = self.events.lock().expect("events");
        events
            .iter()
            .filter_map(|event| match event {
                Event::Warning(text) => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    /// The files of blobs or entries: `cas`, `ac`; and of uploads: `tmp`.
    pub fn files(&self, part: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.dir().join(part)];
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let is_folder = entry.file_type().expect("its type").is_dir();
                if is_folder { todo.push(entry.path()) } else { found.push(entry.path()) }
            }
        }
        found.sort();
        found
    }
}

/// A client without anything of its own.
pub fn client() -> reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let make = || {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().expect("a client")
    };
    CLIENT.get_or_init(make).clone()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().expect("text")
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let body = response.bytes().await.expect("the body").to_vec();
    Answer { status: status.as_u16(), headers, body }
}

pub fn sha256(bytes: &[u8]) -> String {
    let hash: [u8; 32] = sha2::Sha256::digest(bytes).into();
    blake3::Hash::from_bytes(hash).to_hex().to_string()
}

pub fn blake3_hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Bytes that nothing compresses, and that are others for another seed.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A file that only its owner may read.
pub fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    path
}

/// Waits until something is so, and fails where it does not come to be.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
