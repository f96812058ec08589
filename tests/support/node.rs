//! Owns a release that is started by its own scripts, and everything that came of starting it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Said, TestSpace, ask, said, wait_until};

/// A variable that every process of a node inherits, and nobody else has with that value.
const MARK: &str = "END_TO_END_NODE";

/// What the processes of one node inherit: a mark, by which those that run when it is dropped are killed, and an epmd of
/// their own.
pub struct Marked {
    /// The mark; a name for the node, too.
    pub name: String,
    /// The variables.
    pub env: BTreeMap<&'static str, String>,
}

impl Marked {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("e2e_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let env = BTreeMap::from([
            ("ERL_EPMD_PORT", port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            (MARK, name.clone()),
        ]);
        Marked { name, env }
    }

    fn processes(&self) -> Vec<String> {
        let wanted = format!("{MARK}={}", self.name);
        let marked = |environ: Vec<u8>| environ.split(|b| *b == 0).any(|line| line == wanted.as_bytes());
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| fs::read(entry.path().join("environ")).is_ok_and(marked))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        // Twice: one of them may have started another meanwhile.
        for _ in 0..2 {
            let processes = self.processes();
            if !processes.is_empty() {
                let _ = Command::new("kill").arg("-KILL").args(processes).stderr(Stdio::null()).status();
            }
        }
    }
}

/// A release on a machine without Erlang.
pub struct Node {
    program: PathBuf,
    marked: Marked,
    wrapper: Vec<String>,
}

impl Node {
    /// For the release `name` that lies in `folder`.
    pub fn new(space: &TestSpace, folder: &Path, name: &str) -> Self {
        let home = space.path("home");
        fs::create_dir_all(&home).expect("a folder");
        let mut marked = Marked::new();
        marked.env.extend([
            ("PATH", space.path_without_erlang()),
            ("HOME", home.display().to_string()),
            ("LANG", "C.UTF-8".to_owned()),
            ("RELEASE_DISTRIBUTION", "sname".to_owned()),
            ("RELEASE_NODE", format!("{}@localhost", marked.name)),
        ]);
        Node { program: folder.join("bin").join(name), marked, wrapper: Vec::new() }
    }

    /// With one more variable.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.marked.env.insert(name, value.to_owned());
        self
    }

    /// Started by another program.
    pub fn by(mut self, wrapper: &[&str]) -> Self {
        self.wrapper.extend(wrapper.iter().map(|&word| word.to_owned()));
        self
    }

    /// A name that no other node has.
    pub fn name(&self) -> String {
        self.marked.name.clone()
    }

    fn command(&self, args: &[&str]) -> Command {
        self.started(&self.program, args)
    }

    fn started(&self, program: &Path, args: &[&str]) -> Command {
        let mut words = self.wrapper.iter().map(Path::new).chain([program]);
        let mut command = Command::new(words.next().unwrap_or(program));
        command
            .args(words)
            .args(args)
            .env_clear()
            .envs(&self.marked.env)
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Runs one of its commands.
    pub fn ask(&self, args: &[&str]) -> Said {
        ask(&mut self.command(args))
    }

    /// Runs one of its commands, which has to succeed, and returns what it printed.
    #[track_caller]
    pub fn says(&self, args: &[&str]) -> String {
        said(&mut self.command(args))
    }

    /// Runs a program of another release, which finds this node, has to succeed, and returns what it printed.
    #[track_caller]
    pub fn says_beside(&self, program: &Path, args: &[&str]) -> String {
        said(&mut self.started(program, args))
    }

    /// Asks the running system.
    #[track_caller]
    pub fn rpc(&self, expression: &str) -> String {
        self.says(&["rpc", expression])
    }

    /// Starts it as a daemon, and waits until an expression is true in it.
    #[track_caller]
    pub fn daemon(&self, ready: &str) {
        self.says(&["daemon"]);
        self.wait(ready);
    }

    /// Starts it in the foreground, and waits until an expression is true in it.
    #[track_caller]
    pub fn foreground(&self, ready: &str) -> Child {
        self.foreground_when(&["rpc", &format!("IO.puts({ready})")])
    }

    /// Starts it in the foreground, and waits until a command answers that something is true.
    #[track_caller]
    pub fn foreground_when(&self, question: &[&str]) -> Child {
        let mut command = self.command(&["start"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a process");
        wait_until(&question.join(" "), || self.ask(question).out.trim() == "true");
        child
    }

    #[track_caller]
    fn wait(&self, ready: &str) {
        let question = format!("IO.puts({ready})");
        wait_until(ready, || self.ask(&["rpc", &question]).out.trim() == "true");
    }

    /// Stops it, and waits for its process to be gone.
    #[track_caller]
    pub fn stop(&self) {
        let pid = self.says(&["pid"]);
        self.says(&["stop"]);
        wait_until("the system stopped", || !is_alive(&pid));
    }
}

/// Whether a process runs. One that this program has started is there until it is waited for, and does not run any more.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
