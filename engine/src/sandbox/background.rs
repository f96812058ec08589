//! A program that is started before its work is known, and waits for it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::stat::Mode;

use super::Sandboxer;
use super::spec::{Finished, SandboxError, SandboxSpec, Stream};
use crate::cancel::Cancel;

/// How often it is seen whether the build is being stopped.
const TICK: Duration = Duration::from_millis(25);

/// A program that runs on a thread of its own and waits at a gate. Dropped before it was let through, it is ended.
#[derive(Debug)]
pub struct Background {
    gate: File,
    lines: Receiver<(Stream, String)>,
    cancel: Cancel,
    thread: Option<JoinHandle<Result<Finished, SandboxError>>>,
}

impl Sandboxer {
    /// Starts a program that will read one byte from the FIFO `gate`, which is made in its work folder, before it looks
    /// at anything else there.
    pub fn start(self: &Arc<Self>, spec: SandboxSpec, gate: &Path) -> Result<Background, SandboxError> {
        let failed =
            |action: &'static str| move |source| SandboxError::Io { action, path: gate.to_owned(), source };
        nix::unistd::mkfifo(gate, Mode::from_bits_truncate(0o600)).map_err(|e| failed("make")(e.into()))?;
        // Open for both, so that opening does not wait for the program, and what is written waits for it.
        let file = File::options().read(true).write(true).open(gate).map_err(failed("open"))?;
        let (sender, lines) = channel();
        let cancel = Cancel::new();
        let thread = {
            let (sandboxer, cancel) = (Arc::clone(self), cancel.clone());
            std::thread::Builder::new()
                .name("relgraph-waiting".into())
                .spawn(move || run(&sandboxer, &spec, &cancel, &sender))
                .map_err(|e| SandboxError::Start(format!("cannot start a thread: {e}")))?
        };
        Ok(Background { gate: file, lines, cancel, thread: Some(thread) })
    }
}

fn run(
    sandboxer: &Sandboxer,
    spec: &SandboxSpec,
    cancel: &Cancel,
    sender: &Sender<(Stream, String)>,
) -> Result<Finished, SandboxError> {
    sandboxer.run(spec, cancel, &|stream, line| {
        // Nobody listens when it was dropped.
        let _ = sender.send((stream, line.to_owned()));
    })
}

impl Background {
    /// Whether it ended without being let through.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets it through and waits for its end. `on_line` is called on this thread.
    pub fn finish(
        mut self,
        cancel: &Cancel,
        on_line: &dyn Fn(Stream, &str),
    ) -> Result<Finished, SandboxError> {
        // When it ended already, its end tells more than a gate that nobody reads.
        let _ = self.gate.write_all(b"\n");
        loop {
            match self.lines.recv_timeout(TICK) {
                Ok((stream, line)) => on_line(stream, &line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if cancel.is_cancelled() {
                self.cancel.cancel();
            }
        }
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_else(|| {
            Err(SandboxError::Start("the thread that watched the program panicked".into()))
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
