//! Watching a child to its end: what it prints, how long it may run, and ending its whole process group.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::capture::{Capped, Lines};
use super::spec::{SandboxError, Stream};
use crate::cancel::Cancel;
use crate::secret::{Redaction, Secrets};

/// How long a process group has between being asked to end and being ended.
const GRACE: Duration = Duration::from_secs(2);
/// How often a child is looked at that prints nothing.
const TICK: Duration = Duration::from_millis(25);
/// How long what a program left behind may keep its output open.
const LEFTOVERS: Duration = Duration::from_millis(500);

/// A child that ended by itself.
pub(super) struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub duration: Duration,
}

type Chunk = (Stream, Vec<u8>);

/// Starts `command` as the leader of a process group, gives it `input`, and watches it until it ends.
pub(super) fn supervise(
    mut command: Command,
    input: Vec<u8>,
    timeout: Option<Duration>,
    cancel: &Cancel,
    secrets: Option<&Arc<Secrets>>,
    on_line: &dyn Fn(Stream, &str),
) -> Result<Ended, SandboxError> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let program = command.get_program().to_string_lossy().into_owned();
    let cannot_start =
        |error: std::io::Error| SandboxError::Start(format!("cannot start {program}: {error}"));
    let began = Instant::now();
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(cannot_start)?;

    let (sender, chunks) = channel();
    let stdin = child.stdin.take();
    let pumps = [
        child.stdout.take().map(|pipe| pump(pipe, Stream::Stdout, sender.clone())),
        child.stderr.take().map(|pipe| pump(pipe, Stream::Stderr, sender.clone())),
        // On a thread as well: a child that does not read must not stop us from watching it.
        stdin.map(|mut pipe| {
            spawn(move || {
                // A child that ends early says why in other ways.
                let _ = pipe.write_all(&input);
            })
        }),
    ];
    drop(sender);
    let mut watched = Watched { group: Pid::from_raw(child.id().cast_signed()), child, reaped: false };
    for pump in pumps.into_iter().flatten() {
        pump.map_err(cannot_start)?;
    }
    let secrets = secrets.map(Arc::as_ref).filter(|secrets| !secrets.is_empty());
    let mut output = Output { on_line, secrets, stdout: Stored::default(), stderr: Stored::default() };
    let why = watched.watch(&chunks, &mut output, timeout.map(|t| (began + t, t)), cancel);
    let status = watched.reap()?;
    output.drain(&chunks);
    let (stdout, stderr) = output.finish();
    let duration = began.elapsed();
    match why {
        None => Ok(Ended { status, stdout, stderr, duration }),
        Some(Stop::Cancelled) => Err(SandboxError::Cancelled),
        Some(Stop::TimedOut(limit)) => Err(SandboxError::TimedOut { limit, stdout, stderr }),
    }
}

#[derive(Clone, Copy)]
enum Stop {
    Cancelled,
    TimedOut(Duration),
}

/// A child whose process group ends when this is dropped, however that comes about.
struct Watched {
    child: Child,
    group: Pid,
    reaped: bool,
}

impl Watched {
    /// Returns when the child has ended and its output is closed (or held open by nothing but leftovers). `Some`: it was
    /// ended by us, and why.
    fn watch(
        &self,
        chunks: &Receiver<Chunk>,
        output: &mut Output<'_>,
        deadline: Option<(Instant, Duration)>,
        cancel: &Cancel,
    ) -> Option<Stop> {
        let mut stop: Option<(Stop, Instant)> = None;
        let mut ended: Option<Instant> = None;
        let mut open = true;
        let mut tick = Duration::from_millis(1);
        loop {
            if open {
                match chunks.recv_timeout(TICK) {
                    Ok(chunk) => output.take(chunk),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => open = false,
                }
            } else if ended.is_none() {
                // It closed its output: most likely it is about to end.
                std::thread::sleep(tick);
                tick = (tick * 2).min(TICK);
            }
            if ended.is_none() && self.has_ended() {
                ended = Some(Instant::now());
                // What it left running would hold the output open, or write to a folder that is being collected.
                self.signal(Signal::SIGKILL);
            }
            if ended.is_some_and(|at| !open || at.elapsed() > LEFTOVERS) {
                return stop.map(|(why, _)| why);
            }
            match stop {
                None if ended.is_some() => {}
                None => {
                    let why = match deadline {
                        _ if cancel.is_cancelled() => Stop::Cancelled,
                        Some((at, limit)) if Instant::now() >= at => Stop::TimedOut(limit),
                        _ => continue,
                    };
                    self.signal(Signal::SIGTERM);
                    stop = Some((why, Instant::now()));
                }
                Some((_, since)) if since.elapsed() > GRACE => self.signal(Signal::SIGKILL),
                Some(_) => {}
            }
        }
    }

    /// Whether the child has ended. It is not reaped: its id, which is also its group's, must not be given to others.
    fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        match waitid(Id::Pid(self.group), flags) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => false,
            Ok(_) => true,
            // Nothing to wait for: somebody else has reaped it.
            Err(_) => true,
        }
    }

    fn signal(&self, signal: Signal) {
        // The group may be empty already.
        let _ = killpg(self.group, signal);
    }

    fn reap(&mut self) -> Result<ExitStatus, SandboxError> {
        let status = self.child.wait();
        self.reaped = true;
        status.map_err(|e| SandboxError::Setup(format!("cannot wait for the program: {e}")))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name("relgraph-pipe".into()).spawn(work).map(drop)
}

fn pump(mut pipe: impl Read + Send + 'static, stream: Stream, sender: Sender<Chunk>) -> std::io::Result<()> {
    spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    if sender.send((stream, buffer[..count].to_vec())).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    })
}

#[derive(Default)]
struct Stored {
    redaction: Redaction,
    bytes: Capped,
    lines: Lines,
}

/// What the child printed: kept, and passed on by lines.
struct Output<'a> {
    on_line: &'a dyn Fn(Stream, &str),
    /// Cut out before anything is kept or passed on.
    secrets: Option<&'a Secrets>,
    stdout: Stored,
    stderr: Stored,
}

impl Output<'_> {
    fn take(&mut self, (stream, chunk): Chunk) {
        let stored = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let chunk = match self.secrets {
            Some(secrets) => stored.redaction.push(secrets, &chunk),
            None => chunk,
        };
        stored.bytes.push(&chunk);
        stored.lines.push(&chunk, |line| (self.on_line)(stream, line));
    }

    /// Takes what had arrived.
    fn drain(&mut self, chunks: &Receiver<Chunk>) {
        while let Ok(chunk) = chunks.try_recv() {
            self.take(chunk);
        }
    }

    fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        if let Some(secrets) = self.secrets {
            for (stream, stored) in [(Stream::Stdout, &mut self.stdout), (Stream::Stderr, &mut self.stderr)] {
                let rest = std::mem::take(&mut stored.redaction).finish(secrets);
                stored.bytes.push(&rest);
                stored.lines.push(&rest, |line| (self.on_line)(stream, line));
            }
        }
        self.stdout.lines.finish(|line| (self.on_line)(Stream::Stdout, line));
        self.stderr.lines.finish(|line| (self.on_line)(Stream::Stderr, line));
        (self.stdout.bytes.finish(), self.stderr.bytes.finish())
    }
}
