//! `relgraph cache serve`: the cache server for a small team.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use relgraph_cache::serve::{self, Event, Partition, Rights, ServeConfig, ServeError, TlsFiles, WriteTokens};
use relgraph_rules::diagnostic::Diagnostic;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::context::Context;
use super::exit;
use super::quantity::{parse_age, parse_size};
use super::stop::Stop;
use crate::render::time::{now_ms, utc};
use crate::render::{bytes, diagnostic, say, tell};

/// How long what is running may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `cache serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where the server keeps everything; the folder is its alone [default: $XDG_CACHE_HOME/relgraph-serve]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where it listens, with HTTP and gRPC: an address and a port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9092", value_parser = parse_listen)]
    listen: SocketAddr,
    /// How much may be kept: 500MB, 20GB, 4GiB [default: 20 GiB, or a tenth of the disk when that is less]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Tokens for reading, a line `NAME TOKEN` each; without any, everybody reads
    #[arg(long, value_name = "FILE")]
    read_token_file: Vec<PathBuf>,
    /// Tokens for writing, too; with PARTITION=, they write to that partition only, and read it and the main one
    #[arg(long, value_name = "[PARTITION=]FILE", value_parser = parse_writers)]
    write_token_file: Vec<WriteTokens>,
    /// Let everybody write who may read. On an address of this machine alone that is so anyway
    #[arg(long, conflicts_with = "write_token_file")]
    allow_anonymous_writes: bool,
    /// The server's certificate (PEM), with those between it and its authority
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let in only clients with a certificate of one of these authorities (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// The largest entry that is taken
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    max_entry: u64,
    /// How long a blob is kept while the entry that needs it has not come
    #[arg(long, value_name = "AGE", default_value = "10m", value_parser = parse_age)]
    grace: Duration,
    /// How long what was just used is kept, whatever the budget
    #[arg(long, value_name = "AGE", default_value = "1m", value_parser = parse_age)]
    lease: Duration,
    /// Write a line for each request
    #[arg(long)]
    log: bool,
}

/// A host and a port. One of several addresses of a host is the first.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let wrong = "an address and a port are expected, such as 127.0.0.1:9092 or 0.0.0.0:9092";
    text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(|| wrong.to_owned())
}

fn parse_writers(text: &str) -> Result<WriteTokens, String> {
    match text.split_once('=') {
        // A path that has a `=` in it is told by how it begins.
        Some((partition, file)) if !text.starts_with(['/', '.']) => {
            let partition = Partition::parse(partition).filter(|partition| !partition.name().is_empty());
            let wrong = "the name of a partition has letters, digits, `.`, `_`, `-`, and at most three `/`";
            Ok(WriteTokens { file: file.into(), partition: Some(partition.ok_or(wrong)?) })
        }
        _ => Ok(WriteTokens { file: text.into(), partition: None }),
    }
}

/// Serves until it is told to stop.
pub fn run(context: &Context, args: &ServeArgs) -> Result<ExitCode, Stop> {
    let config = config(context, args)?;
    // With fewer files, fewer connections: no reason not to start.
    let _ = serve::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Stop::failed(Diagnostic::error(format!("cannot start: {error}"))))?;
    // Before the first line: whoever reads it may send a signal.
    let signals = {
        let _inside = runtime.enter();
        Signals::new()
    };
    let mut signals = signals
        .map_err(|error| Stop::failed(Diagnostic::error(format!("cannot watch for signals: {error}"))))?;
    let colour = context.colour;
    let on_event = Arc::new(move |event| tell(&line(&event, colour)));
    let server = serve::start(config.clone(), on_event).map_err(|error| refused(&error))?;
    warn(context, &config);
    let started = Started { config: &config, address: server.address(), server: &server };
    if context.json() {
        say(&started.json().to_string());
    } else if !context.global.quiet {
        say(&started.text());
    }
    runtime.block_on(signals.wait(|| server.reload()));
    // Whoever asks twice does not want to wait.
    let again = std::thread::spawn(move || server.stop(PATIENCE));
    let ended = runtime.block_on(async {
        tokio::select! {
            () = signals.wait(|| {}) => false,
            ended = until_done(again) => ended,
        }
    });
    // A thread that waits is not waited for.
    runtime.shutdown_background();
    if !ended {
        context.complain(&[Diagnostic::warning("some requests were not over, and were broken off")]);
    }
    Ok(exit::DONE)
}

/// Whether the server ended well.
async fn until_done(stopping: std::thread::JoinHandle<bool>) -> bool {
    tokio::task::spawn_blocking(move || stopping.join().unwrap_or(false)).await.unwrap_or(false)
}

fn config(context: &Context, args: &ServeArgs) -> Result<ServeConfig, Stop> {
    let dir = match &args.dir {
        Some(dir) => std::path::absolute(dir)
            .map_err(|error| Stop::wrong(Diagnostic::error(format!("{}: {error}", dir.display()))))?,
        None => default_dir(context)?,
    };
    let mut config = ServeConfig::new(dir, args.listen);
    config.max_size = args.max_size;
    config.max_entry = args.max_entry;
    config.readers.clone_from(&args.read_token_file);
    config.writers.clone_from(&args.write_token_file);
    config.anonymous_writes = args.allow_anonymous_writes;
    config.grace = args.grace;
    config.lease = args.lease;
    config.log_requests = args.log;
    config.tls = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(certificate, key)| TlsFiles {
        certificate,
        key,
        client_authority: args.tls_client_ca.clone(),
    });
    Ok(config)
}

fn default_dir(context: &Context) -> Result<PathBuf, Stop> {
    let from = |name: &str| context.env.get(name).map(Path::new).filter(|path| path.is_absolute());
    let base = from("XDG_CACHE_HOME").map(Path::to_owned);
    base.or_else(|| from("HOME").map(|home| home.join(".cache")))
        .map(|base| base.join("relgraph-serve"))
        .ok_or_else(|| {
            let message = "there is no place for the server's files: neither HOME nor XDG_CACHE_HOME is set";
            Stop::wrong(Diagnostic::error(message).hint("pass --dir DIR"))
        })
}

/// What whoever starts the server should know before somebody else does.
fn warn(context: &Context, config: &ServeConfig) {
    let mut warnings = Vec::new();
    let open = !config.listen.ip().is_loopback();
    let has_tokens = !config.readers.is_empty() || !config.writers.is_empty();
    if open && has_tokens && config.tls.is_none() {
        warnings.push(
            Diagnostic::warning("tokens travel unencrypted, and can be read on the way")
                .hint("pass --tls-cert and --tls-key, or put a server that speaks TLS before this one"),
        );
    }
    if open && config.write_rights() == Rights::Everybody {
        warnings.push(
            Diagnostic::warning("everybody who reaches this server may change what others get")
                .hint("pass --write-token-file FILE instead of --allow-anonymous-writes"),
        );
    }
    if config.write_rights() == Rights::Nobody {
        warnings.push(
            Diagnostic::warning("nobody may write")
                .hint("pass --write-token-file FILE, with a line `NAME TOKEN` for everybody who may"),
        );
    }
    context.complain(&warnings);
}

fn refused(error: &ServeError) -> Stop {
    let complaint = Diagnostic::error(error.to_string());
    match error {
        ServeError::Tokens { .. } => Stop::wrong(
            complaint.hint("a file of tokens has a line `NAME TOKEN` for each; `#` begins a comment"),
        ),
        ServeError::Tls { .. } => Stop::wrong(complaint.hint("certificates and keys are expected as PEM")),
        ServeError::Foreign { .. } | ServeError::Version { .. } => {
            Stop::wrong(complaint.hint("pass another folder with --dir; it is made when it is not there"))
        }
        ServeError::Busy { .. } => {
            Stop::failed(complaint.hint("stop the other server, or pass another folder with --dir"))
        }
        ServeError::Listen { .. } => Stop::failed(complaint.hint("pass another address with --listen")),
        ServeError::Io { .. } | ServeError::Threads(_) => Stop::failed(complaint),
    }
}

/// Signals that mean something to a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Until the server is to stop. Meanwhile, it may be told to read its files again.
    async fn wait(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => reload(),
            }
        }
    }
}

fn word(rights: Rights) -> &'static str {
    match rights {
        Rights::Everybody => "everybody",
        Rights::Tokens => "tokens",
        Rights::Nobody => "nobody",
    }
}

/// A server that was started, for the line that says so.
struct Started<'a> {
    config: &'a ServeConfig,
    address: SocketAddr,
    server: &'a serve::Server,
}

impl Started<'_> {
    fn urls(&self) -> (String, String) {
        let s = if self.config.tls.is_some() { "s" } else { "" };
        (format!("http{s}://{}", self.address), format!("grpc{s}://{}", self.address))
    }

    fn text(&self) -> String {
        let (http, grpc) = self.urls();
        let (_, entries, used) = self.server.totals();
        // `everybody reads`, but `tokens read`.
        let does = |rights, verb: &str| {
            let s = if rights == Rights::Tokens { "" } else { "s" };
            format!("{} {verb}{s}", word(rights))
        };
        format!(
            "serving {} at {http} and {grpc}: {}, {}; {} of {} used by {}",
            self.config.dir.display(),
            does(self.config.read_rights(), "read"),
            does(self.config.write_rights(), "write"),
            bytes(used),
            bytes(self.server.max_size()),
            if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") },
        )
    }

    fn json(&self) -> serde_json::Value {
        let (http, grpc) = self.urls();
        let (blobs, entries, used) = self.server.totals();
        json!({
            "schema": "relgraph.cache-serve/1",
            "path": self.config.dir,
            "address": self.address.to_string(),
            "http": http,
            "grpc": grpc,
            "tls": self.config.tls.is_some(),
            "read": word(self.config.read_rights()),
            "write": word(self.config.write_rights()),
            "budget_bytes": self.server.max_size(),
            "bytes": used,
            "blobs": blobs,
            "entries": entries,
        })
    }
}

/// An event, as a line.
fn line(event: &Event, colour: bool) -> String {
    match event {
        Event::Warning(text) => diagnostic::render(&Diagnostic::warning(text.clone()), colour),
        Event::Reloaded => format!("{} read tokens and certificates again", utc(now_ms())),
        Event::Request { token, target, status, took, received, sent } => format!(
            "{} {token} {target} {status} {} ms, {} in, {} out",
            utc(now_ms()),
            took.as_millis(),
            bytes(*received),
            bytes(*sent),
        ),
    }
}
