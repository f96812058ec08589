//! Owns a Hex repository on 127.0.0.1 and the packages that it serves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// A package as it is published: its contents, and what its metadata say.
#[derive(Clone)]
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    pub tools: &'static [&'static str],
    /// Names and requirements of packages that it depends on.
    pub needs: &'static [(&'static str, &'static str)],
    pub files: &'static [(&'static str, &'static str)],
    pub repo: &'static str,
}

impl Package {
    fn metadata(&self) -> Vec<u8> {
        let texts =
            |items: &[&str]| items.iter().map(|item| format!("<<\"{item}\">>")).collect::<Vec<_>>().join(",");
        let needs = self.needs.iter().map(|(name, requirement)| {
            format!(
                "{{<<\"{name}\">>,[{{<<\"app\">>,<<\"{name}\">>}},{{<<\"optional\">>,false}},{{<<\"requirement\">>,<<\"{requirement}\">>}}]}}"
            )
        });
        let files: Vec<&str> = self.files.iter().map(|(path, _)| *path).collect();
        format!(
            "{{<<\"name\">>,<<\"{}\">>}}.\n{{<<\"version\">>,<<\"{}\">>}}.\n{{<<\"app\">>,<<\"{}\">>}}.\n\
             {{<<\"build_tools\">>,[{}]}}.\n{{<<\"files\">>,[{}]}}.\n{{<<\"requirements\">>,[{}]}}.\n\
             {{<<\"licenses\">>,[<<\"apache 2.0\">>,<<\"Bakers only\">>]}}.\n",
            self.name,
            self.version,
            self.name,
            texts(self.tools),
            texts(&files),
            needs.collect::<Vec<_>>().join(",")
        )
        .into_bytes()
    }

    fn contents(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (path, text) in self.files {
            append(&mut tar, path, text.as_bytes());
        }
        tar.into_inner().and_then(GzEncoder::finish).expect("a gzip")
    }

    /// The checksum of version, metadata and contents.
    pub fn inner(&self) -> String {
        sum(&[&b"3"[..], &self.metadata(), &self.contents()].concat())
    }

    /// The tarball as Hex publishes it.
    pub fn tarball(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "VERSION", b"3");
        append(&mut tar, "CHECKSUM", self.inner().to_uppercase().as_bytes());
        append(&mut tar, "metadata.config", &self.metadata());
        append(&mut tar, "contents.tar.gz", &self.contents());
        tar.into_inner().expect("a tar")
    }

    /// The checksum of the tarball.
    pub fn outer(&self) -> String {
        sum(&self.tarball())
    }

    /// Where the repository has it.
    pub fn path(&self) -> String {
        let folder = self.repo.strip_prefix("hexpm:").map_or(String::new(), |org| format!("/repos/{org}"));
        format!("{folder}/tarballs/{}-{}.tar", self.name, self.version)
    }

    /// Its line of a `mix.lock`.
    pub fn locked(&self) -> String {
        let tools = self.tools.iter().map(|tool| format!(":{tool}")).collect::<Vec<_>>().join(", ");
        let needs = self.needs.iter().map(|(name, requirement)| {
            format!("{{:{name}, \"{requirement}\", [hex: :{name}, repo: \"hexpm\", optional: false]}}")
        });
        format!(
            "  \"{0}\": {{:hex, :{0}, \"{1}\", \"{2}\", [{tools}], [{3}], \"{4}\", \"{5}\"}},\n",
            self.name,
            self.version,
            self.inner(),
            needs.collect::<Vec<_>>().join(", "),
            self.repo,
            self.outer()
        )
    }

    /// Puts its files where `mix deps.get` would.
    pub fn unpack(&self, to: &Path) {
        for (path, text) in self.files {
            let path = to.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
    }
}

fn append<W: Write>(tar: &mut tar::Builder<W>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    // As it is: the library would refuse to write a path that leads out.
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    tar.append(&header, bytes).expect("an entry");
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A `mix.lock` of these packages.
pub fn lock(packages: &[Package]) -> String {
    format!("%{{\n{}}}\n", packages.iter().map(Package::locked).collect::<String>())
}

/// What is answered at a path.
#[derive(Clone)]
pub enum Reply {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, to whoever brings this key.
    Keyed(&'static str, Vec<u8>),
    /// A status and nothing else.
    Status(u16),
    /// A status to the first who ask, so many times, then these bytes.
    AtFirst(u16, usize, Vec<u8>),
    /// Half of these bytes, then the end.
    Half(Vec<u8>),
    /// Nothing, for as long as somebody waits.
    Silence,
    /// Another address.
    Moved(String),
}

/// A server on 127.0.0.1 that ends with the test.
pub struct Server {
    /// Its address.
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<BTreeMap<String, Reply>>,
    /// Paths that were asked for, each with the key that came with it.
    asked: Mutex<Vec<(String, Option<String>)>>,
}

impl Server {
    pub fn new() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                // Whoever hangs up is no trouble of the server's.
                thread::spawn(move || drop(answer(stream, &shared)));
            }
        });
        Server { url, shared }
    }

    /// One that has these packages.
    pub fn with(packages: &[Package]) -> Server {
        let server = Server::new();
        for package in packages {
            server.reply(&package.path(), Reply::Bytes(package.tarball()));
        }
        server
    }

    pub fn reply(&self, path: &str, reply: Reply) {
        self.shared.replies.lock().expect("a lock").insert(path.to_owned(), reply);
    }

    /// What was asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self.shared.asked.lock().expect("a lock");
        let mut paths: Vec<String> = asked.drain(..).map(|(path, _)| path).collect();
        paths.sort();
        paths
    }

    /// The keys that came, with the paths that they were for, since the last time.
    pub fn keys(&self) -> BTreeMap<String, Option<String>> {
        self.shared.asked.lock().expect("a lock").drain(..).collect()
    }
}

fn answer(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut key = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("authorization") {
                key = Some(value.trim().to_owned());
            }
        }
        // A proxy is asked for whole addresses.
        let path = match target.strip_prefix("http://") {
            Some(rest) => rest[rest.find('/').unwrap_or(rest.len())..].to_owned(),
            None => target,
        };
        shared.asked.lock().expect("a lock").push((path.clone(), key.clone()));
        let reply = shared.replies.lock().expect("a lock").get(&path).cloned();
        let whole = |out: &mut TcpStream, bytes: &[u8]| -> std::io::Result<()> {
            write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len())?;
            out.write_all(bytes)
        };
        let status = |out: &mut TcpStream, status: u16| {
            write!(out, "HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n")
        };
        match reply {
            None => status(&mut out, 404)?,
            Some(Reply::Bytes(bytes)) => whole(&mut out, &bytes)?,
            Some(Reply::Keyed(wanted, bytes)) if key.as_deref() == Some(wanted) => whole(&mut out, &bytes)?,
            Some(Reply::Keyed(..)) => status(&mut out, 401)?,
            Some(Reply::Status(code)) => status(&mut out, code)?,
            Some(Reply::AtFirst(code, times, bytes)) => {
                let next = match times {
                    0 | 1 => Reply::Bytes(bytes),
                    more => Reply::AtFirst(code, more - 1, bytes),
                };
                shared.replies.lock().expect("a lock").insert(path, next);
                status(&mut out, code)?;
            }
            Some(Reply::Half(bytes)) => {
                write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len())?;
                return out.write_all(&bytes[..bytes.len() / 2]);
            }
            Some(Reply::Silence) => {
                // Until the other side is tired of it.
                let mut rest = Vec::new();
                return reader.read_to_end(&mut rest).map(drop);
            }
            Some(Reply::Moved(to)) => {
                write!(out, "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")?;
            }
        }
    }
}
