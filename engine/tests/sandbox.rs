//! The sandbox in each of its modes, as this user and (run by root) as `nobody`.
//!
//! This executable is its own helper: called as `EXE sandbox-exec FILE` it confines itself and becomes the program.

use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use relgraph_engine::sandbox::{PREFIX, SUBCOMMAND, helper_main};
use relgraph_engine::*;

/// Set in the run that root starts as `nobody`.
const AS_NOBODY: &str = "RELGRAPH_TEST_AS_NOBODY";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, file] = arguments.as_slice()
        && first == SUBCOMMAND
    {
        return helper_main(Path::new(file));
    }
    let filter = arguments.iter().find(|a| !a.starts_with('-')).cloned().unwrap_or_default();
    let mut failed = 0;
    for mode in [SandboxMode::Namespaces, SandboxMode::Bwrap, SandboxMode::Plain] {
        for (name, case) in CASES {
            let name = format!("{mode}::{name}");
            if !name.contains(&filter) {
                continue;
            }
            let began = Instant::now();
            let passed = catch_unwind(AssertUnwindSafe(|| case(&Bench::new(mode)))).is_ok();
            println!("{name} ... {} ({:?})", if passed { "ok" } else { "FAILED" }, began.elapsed());
            failed += usize::from(!passed);
        }
    }
    if nix::unistd::geteuid().is_root() && !run_as_nobody(&arguments) {
        failed += 1;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_as_nobody(arguments: &[String]) -> bool {
    println!("as nobody:");
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let exe = folder.path().join("sandbox-test");
    std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    let status = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&exe)
        .args(arguments)
        .env("TMPDIR", folder.path())
        .env(AS_NOBODY, "1")
        .current_dir("/")
        .status();
    status.is_ok_and(|s| s.success())
}

type Case = (&'static str, fn(&Bench));

const CASES: &[Case] = &[
    ("the_mode_is_what_was_asked", |b| assert_eq!(b.sandboxer.mode(), b.mode)),
    ("fixed_path", fixed_path),
    ("mounts", mounts),
    ("mounts_inside_mounts", mounts_inside_mounts),
    ("undeclared_files_are_invisible", undeclared_files_are_invisible),
    ("no_network", no_network),
    ("the_environment_is_whole", the_environment_is_whole),
    ("what_is_written_belongs_to_the_user", what_is_written_belongs_to_the_user),
    ("status_and_output", status_and_output),
    ("huge_output_is_capped", huge_output_is_capped),
    ("what_cannot_start_is_said", what_cannot_start_is_said),
    ("the_group_ends_with_the_leader", the_group_ends_with_the_leader),
    ("time_runs_out", time_runs_out),
    ("a_stopped_build_ends_the_group", a_stopped_build_ends_the_group),
    ("a_program_waits_for_its_work", a_program_waits_for_its_work),
    ("a_program_that_waits_in_vain_is_ended", a_program_that_waits_in_vain_is_ended),
    ("a_stopped_build_ends_what_was_let_through", a_stopped_build_ends_what_was_let_through),
];

struct Bench {
    mode: SandboxMode,
    sandboxer: Arc<Sandboxer>,
    dir: tempfile::TempDir,
    work: PathBuf,
}

impl Bench {
    fn new(mode: SandboxMode) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        std::fs::create_dir(&work).unwrap();
        let helper = std::env::current_exe().unwrap();
        let sandboxer = match mode {
            // Found by trying, as a build does.
            SandboxMode::Namespaces => Sandboxer::new(helper, SandboxPolicy::Preferred),
            SandboxMode::Plain => Sandboxer::new(helper, SandboxPolicy::Off),
            SandboxMode::Bwrap => Sandboxer::with_mode(helper, mode),
        };
        Bench { mode, sandboxer: Arc::new(sandboxer), dir, work }
    }

    fn confined(&self) -> bool {
        self.mode != SandboxMode::Plain
    }

    fn prefix(&self) -> String {
        self.sandboxer.prefix(&self.work)
    }

    fn spec(&self, script: &str) -> SandboxSpec {
        SandboxSpec {
            work: self.work.clone(),
            argv: vec!["sh".into(), "-c".into(), script.into()],
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            ..SandboxSpec::default()
        }
    }

    fn run(&self, spec: &SandboxSpec) -> Result<Finished, SandboxError> {
        self.sandboxer.run(spec, &Cancel::new(), &|_, _| {})
    }

    fn output(&self, spec: &SandboxSpec) -> String {
        let finished = self.run(spec).unwrap();
        let stderr = String::from_utf8_lossy(&finished.stderr);
        assert!(finished.status.success(), "{} {stderr}", finished.status);
        String::from_utf8(finished.stdout).unwrap()
    }
}

fn fixed_path(b: &Bench) {
    let expected = if b.confined() { PREFIX.to_owned() } else { b.work.display().to_string() };
    assert_eq!(b.prefix(), expected);
    assert_eq!(b.output(&b.spec("pwd -P")).trim(), expected);
    std::fs::create_dir(b.work.join("sub")).unwrap();
    let spec = SandboxSpec { cwd: format!("{}/sub", b.prefix()), ..b.spec("pwd -P; touch here") };
    assert_eq!(b.output(&spec).trim(), format!("{expected}/sub"));
    assert!(b.work.join("sub/here").exists());
}

fn mounts(b: &Bench) {
    let (source, keep) = (b.dir.path().join("source"), b.dir.path().join("keep"));
    for folder in [&source, &keep] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::write(source.join("a.txt"), "declared").unwrap();
    let at = |name: &str| format!("{}/{name}", b.prefix());
    let mut spec = b.spec("cat src/a.txt one.txt; echo kept > keep/new; echo made > made");
    spec.mounts = vec![
        Mount::read_only(&source, at("src")),
        Mount::read_only(source.join("a.txt"), at("one.txt")),
        Mount::writable(&keep, at("keep")),
    ];
    assert_eq!(b.output(&spec), "declareddeclared");
    assert_eq!(std::fs::read_to_string(keep.join("new")).unwrap(), "kept\n");
    assert_eq!(std::fs::read_to_string(b.work.join("made")).unwrap(), "made\n");
    if b.confined() {
        spec.argv[2] = "echo x > src/a.txt".into();
        let finished = b.run(&spec).unwrap();
        assert!(!finished.status.success(), "a read-only mount was written to");
        assert_eq!(std::fs::read_to_string(source.join("a.txt")).unwrap(), "declared");
        spec.argv[2] = "touch /usr/x || touch /etc/x || touch /x".into();
        assert!(!b.run(&spec).unwrap().status.success(), "the system was written to");
        spec.mounts.push(Mount::read_only(&source, "/toolchain/v1"));
        spec.argv[2] = "cat /toolchain/v1/a.txt".into();
        assert_eq!(b.output(&spec), "declared");
    }
}

fn mounts_inside_mounts(b: &Bench) {
    let (outer, inner) = (b.dir.path().join("outer"), b.dir.path().join("inner"));
    std::fs::create_dir_all(outer.join("deps")).unwrap();
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(outer.join("mix.exs"), "outer").unwrap();
    std::fs::write(inner.join("x"), "inner").unwrap();
    let mut spec = b.spec("cat src/mix.exs src/deps/x");
    spec.mounts = vec![
        Mount::read_only(&outer, format!("{}/src", b.prefix())),
        Mount::read_only(&inner, format!("{}/src/deps", b.prefix())),
    ];
    assert_eq!(b.output(&spec), "outerinner");
    assert_eq!(std::fs::read_dir(outer.join("deps")).unwrap().count(), 0, "the source was touched");
}

fn undeclared_files_are_invisible(b: &Bench) {
    let secret = b.dir.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    let script = format!("test -e {} && echo seen; ls / | tr '\\n' ' '; ls /tmp", secret.display());
    let text =
        b.output(&SandboxSpec { hide: vec!["/usr/share".into(), "/etc/passwd".into()], ..b.spec(&script) });
    assert_eq!(text.contains("seen"), !b.confined());
    if b.confined() {
        for folder in ["home", "root", "var", "work", ".old-root"] {
            assert!(!text.split_whitespace().any(|w| w == folder), "/{folder} is there: {text}");
        }
        assert!(text.split_whitespace().any(|w| w == "relgraph"));
        let hide = vec!["/usr/share".to_owned(), "/etc/passwd".to_owned()];
        let text = b.output(&SandboxSpec { hide, ..b.spec("ls -A /usr/share | wc -l; wc -c < /etc/passwd") });
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["0", "0"]);
    }
}

fn no_network(b: &Bench) {
    if !b.confined() {
        return;
    }
    // A listener outside: reachable with the network, refused without.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let mut spec = b.spec("");
    spec.argv = vec!["bash".into(), "-c".into(), connect];
    let finished = b.run(&spec).unwrap();
    let stderr = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(!finished.status.success());
    assert!(stderr.contains("Connection refused"), "loopback is down: {stderr}");
    spec.network = true;
    assert!(b.run(&spec).unwrap().status.success(), "the network was asked for");
}

fn the_environment_is_whole(b: &Bench) {
    let mut spec = b.spec("");
    spec.argv = vec!["env".into()];
    spec.env.insert("MIX_ENV".into(), "prod".into());
    let text = b.output(&spec);
    // bwrap says where it starts the program.
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("PWD=")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines.contains(&"MIX_ENV=prod"));
    assert_eq!(b.output(&b.spec("umask")).trim(), "0022");
}

fn what_is_written_belongs_to_the_user(b: &Bench) {
    use std::os::unix::fs::MetadataExt;
    b.output(&b.spec("mkdir d; echo x > d/f; id -u > uid"));
    let meta = std::fs::metadata(b.work.join("d/f")).unwrap();
    assert_eq!(meta.uid(), nix::unistd::geteuid().as_raw());
    assert_eq!(meta.mode() & 0o777, 0o644);
    let inside = std::fs::read_to_string(b.work.join("uid")).unwrap();
    assert_eq!(inside.trim(), nix::unistd::geteuid().to_string());
    assert_eq!(std::env::var_os(AS_NOBODY).is_some(), meta.uid() == 65534);
}

fn status_and_output(b: &Bench) {
    let lines = Mutex::new(Vec::new());
    let spec = b.spec("echo one; echo two >&2; printf 'caf\\351\\nend'; exit 7");
    let finished = b
        .sandboxer
        .run(&spec, &Cancel::new(), &|stream, line| lines.lock().unwrap().push((stream, line.to_owned())))
        .unwrap();
    assert_eq!(finished.status.code(), Some(7));
    assert_eq!(finished.mode, b.mode);
    assert_eq!(finished.stdout, b"one\ncaf\xe9\nend");
    let lines = lines.into_inner().unwrap();
    assert!(lines.contains(&(Stream::Stderr, "two".into())));
    let stdout: Vec<&str> =
        lines.iter().filter(|(s, _)| *s == Stream::Stdout).map(|(_, line)| line.as_str()).collect();
    assert_eq!(stdout, ["one", "caf\u{fffd}", "end"]);
    let error = finished.check("mix compile").unwrap_err();
    assert_eq!(error.message, "mix compile exited with status 7");
    assert_eq!(error.stderr, "two\n");
}

fn huge_output_is_capped(b: &Bench) {
    let script = "echo first; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo last";
    let finished = b.run(&b.spec(script)).unwrap();
    let text = String::from_utf8(finished.stdout).unwrap();
    assert!(text.len() < (1 << 20) + 200, "{} bytes", text.len());
    assert!(text.starts_with("first\n") && text.ends_with("\nlast\n"));
    assert!(text.contains(" bytes left out]"));
}

fn what_cannot_start_is_said(b: &Bench) {
    let mut spec = b.spec("");
    spec.argv = vec!["no-such-program".into()];
    let error = b.run(&spec).unwrap_err();
    assert!(error.to_string().contains("no-such-program"), "{error}");
    let mut spec = b.spec("true");
    spec.mounts = vec![Mount::read_only("/no/such/folder", format!("{}/x", b.prefix()))];
    let error = b.run(&spec).unwrap_err();
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
    let mut spec = b.spec("true");
    spec.mounts = vec![Mount::read_only("/usr", "relative")];
    assert!(matches!(b.run(&spec), Err(SandboxError::Spec(_))));
}

/// A background child writes a file every 50 ms; true when that has stopped.
fn has_stopped(b: &Bench) -> bool {
    std::thread::sleep(Duration::from_millis(200));
    let read = || std::fs::read_to_string(b.work.join("beat")).unwrap_or_default().len();
    let before = read();
    std::thread::sleep(Duration::from_millis(300));
    assert!(before > 0, "it never ran");
    read() == before
}

const BEAT: &str = "sh -c 'while :; do printf x >> beat; sleep 0.05; done'";

fn the_group_ends_with_the_leader(b: &Bench) {
    let began = Instant::now();
    b.output(&b.spec(&format!("{BEAT} & sleep 0.2")));
    assert!(began.elapsed() < Duration::from_secs(2), "waited for what was left behind");
    assert!(has_stopped(b));
}

fn time_runs_out(b: &Bench) {
    let spec = SandboxSpec {
        timeout: Some(Duration::from_millis(300)),
        ..b.spec(&format!("echo hi; {BEAT} & wait"))
    };
    let error = b.run(&spec).unwrap_err();
    assert!(matches!(&error, SandboxError::TimedOut { stdout, .. } if stdout == b"hi\n"), "{error:?}");
    assert!(has_stopped(b));
}

fn a_stopped_build_ends_the_group(b: &Bench) {
    let cancel = Cancel::new();
    let later = cancel.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        later.cancel();
    });
    // It does not want to go.
    let spec = b.spec(&format!("trap '' TERM; {BEAT} & while :; do sleep 1; done"));
    let began = Instant::now();
    let error = b.sandboxer.run(&spec, &cancel, &|_, _| {}).unwrap_err();
    assert!(matches!(error, SandboxError::Cancelled), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    thread.join().unwrap();
    assert!(has_stopped(b));
}

const WAIT: &str = "head -c 1 go > /dev/null";

fn start(b: &Bench, script: &str) -> Background {
    b.sandboxer.start(b.spec(script), &b.work.join("go")).unwrap()
}

fn a_program_waits_for_its_work(b: &Bench) {
    let program = start(b, &format!("{WAIT}; cat work; echo said >&2; exit 3"));
    assert!(!program.is_over());
    std::fs::write(b.work.join("work"), "late\n").unwrap();
    let lines = Mutex::new(Vec::new());
    let finished =
        program.finish(&Cancel::new(), &|_, line| lines.lock().unwrap().push(line.to_owned())).unwrap();
    assert_eq!((finished.status.code(), &finished.stdout[..]), (Some(3), &b"late\n"[..]));
    let mut lines = lines.into_inner().unwrap();
    lines.sort();
    assert_eq!(lines, ["late", "said"]);
    // One that does not wait is not waited for.
    std::fs::remove_file(b.work.join("go")).unwrap();
    let program = start(b, "exit 4");
    while !program.is_over() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(program.finish(&Cancel::new(), &|_, _| {}).unwrap().status.code(), Some(4));
    // A gate that cannot be made.
    let error = b.sandboxer.start(b.spec(WAIT), &b.work.join("go")).unwrap_err().to_string();
    assert!(error.contains("go"), "{error}");
}

fn a_program_that_waits_in_vain_is_ended(b: &Bench) {
    let program = start(b, &format!("{BEAT} & {WAIT}; sleep 60"));
    while std::fs::metadata(b.work.join("beat")).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(program);
    assert!(has_stopped(b));
}

fn a_stopped_build_ends_what_was_let_through(b: &Bench) {
    let cancel = Cancel::new();
    let program = start(b, &format!("{WAIT}; touch through; {BEAT} & sleep 60"));
    let error = std::thread::scope(|scope| {
        let ended = scope.spawn(|| program.finish(&cancel, &|_, _| {}));
        while std::fs::metadata(b.work.join("beat")).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        cancel.cancel();
        ended.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, SandboxError::Cancelled), "{error:?}");
    assert!(has_stopped(b));
}
