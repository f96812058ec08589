//! Code bases that no one here wrote, from the sources of Debian's packages: nothing changed, and one file changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{beside, pairs, run, said};
use crate::{mix, relgraph, source};

/// How often each of two jobs is timed.
const ROUNDS: usize = 5;

/// The sources of a package, or `None` where they cannot be fetched, which is said.
fn sources(package: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sources");
    let fetched = Command::new(source("scripts/fetch-source.sh")).arg(&folder).arg(package).output();
    match fetched {
        Ok(output) if output.status.success() => Some(folder.join(package)),
        Ok(output) => {
            println!(
                "NOT MEASURED: the sources of {package} cannot be fetched here: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            None
        }
        Err(e) => {
            println!("NOT MEASURED: the sources of {package} cannot be fetched here: {e}");
            None
        }
    }
}

/// Copies a folder with the times of its files, which make goes by.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

fn make(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("make");
    // No commit of a checkout around it is written into specifications.
    command.args(args).current_dir(dir).env_remove("MAKEFLAGS").env("GIT_DIR", "nowhere");
    command
}

/// How many files lie below a folder.
fn files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        Ok(kind) => usize::from(kind.is_file()),
        Err(_) => 0,
    };
    entries.map(count).sum()
}

/// Builds with relgraph for the first time, and says how many steps that were and over how many files.
fn first_build(what: &str, mut command: Command, files: usize) {
    command.args(["--format", "json"]);
    let text = said(&mut command);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    println!(
        "{what}: {} steps over {files} files, first built in {} s",
        json["steps"]["total"], json["seconds"]
    );
}

/// Puts another number behind a text of a source file, so that its code is another one each time.
struct Edit {
    file: PathBuf,
    before: String,
    after: String,
    number: u32,
}

impl Edit {
    fn new(file: PathBuf, text: &str) -> Edit {
        let whole = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let (before, after) =
            whole.split_once(text).unwrap_or_else(|| panic!("{} has no {text:?}", file.display()));
        Edit { before: format!("{before}{text}"), after: after.to_owned(), file, number: 0 }
    }

    fn next(&mut self) {
        self.number += 1;
        let text = format!("{} {}{}", self.before, self.number, self.after);
        fs::write(&self.file, text).unwrap_or_else(|e| panic!("{}: {e}", self.file.display()));
    }
}

/// Times the builds after an edit, the edit itself not counted, and sees to it that what is built does change.
fn after_edits(
    mut edit: Edit,
    built: PathBuf,
    mut build: impl FnMut() -> Duration,
) -> impl FnMut() -> Duration {
    move || {
        let before = fs::read(&built).unwrap_or_default();
        edit.next();
        let took = build();
        assert!(fs::read(&built).is_ok_and(|after| after != before), "{} is as before", built.display());
        took
    }
}

/// The folder of an application in a release.
fn released(release: &Path, app: &str) -> PathBuf {
    let lib = release.join("lib");
    let mut all = fs::read_dir(&lib).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.strip_prefix(app).is_some_and(|rest| rest.starts_with('-'))
    };
    all.find(named).unwrap_or_else(|| panic!("no {app} in {}", lib.display()))
}

/// RabbitMQ's seventy applications: against make.
pub fn rabbitmq(dir: &Path) {
    let Some(sources) = sources("rabbitmq-server") else { return };
    let (ours, theirs, store) = (dir.join("ours"), dir.join("theirs"), dir.join("store"));
    for project in [&ours, &theirs] {
        copy(&sources, project);
        run(&mut make(project, &["restore-hex-cache-ets-file"]));
    }
    let yaml = "release: rabbit\nversion: \"3.10.8\"\napplications:\n  rabbit: permanent\n  mnesia: load\n  \
                rabbitmq_management: load\n  rabbitmq_management_agent: load\n  rabbitmq_prometheus: load\n";
    fs::write(ours.join("release.yaml"), yaml).expect("a file");
    first_build("RabbitMQ", relgraph(&ours, &store), files(&sources));
    let took = run(&mut make(&theirs, &["deps", "app"]));
    println!("  make builds its applications in {:.1} s", took.as_secs_f64());
    let (one, other) = pairs(
        ROUNDS,
        || run(&mut relgraph(&ours, &store)),
        || run(&mut make(&theirs, &["deps", "app", "FULL=1"])),
    );
    beside("nothing changed, RabbitMQ", &one, "make deps app FULL=1", &other);
    let (one, other) =
        pairs(ROUNDS, || run(&mut relgraph(&ours, &store)), || run(&mut make(&theirs, &["deps", "app"])));
    beside("nothing changed, RabbitMQ", &one, "make deps app, which looks into no dependency", &other);
    let (file, text) = ("deps/rabbit/src/rabbit.erl", "message delivery logic ready");
    let beam = released(&ours.join("_build/relgraph/prod/rabbit"), "rabbit").join("ebin/rabbit.beam");
    let (one, other) = pairs(
        ROUNDS,
        after_edits(Edit::new(ours.join(file), text), beam, || run(&mut relgraph(&ours, &store))),
        after_edits(Edit::new(theirs.join(file), text), theirs.join("deps/rabbit/ebin/rabbit.beam"), || {
            run(&mut make(&theirs, &["deps", "app", "FULL=1"]))
        }),
    );
    beside(
        "one file of rabbit changed, RabbitMQ",
        &one,
        "make deps app FULL=1, which makes no release",
        &other,
    );
}

/// RabbitMQ's command line as a project of its own: against Mix.
pub fn rabbitmq_cli(dir: &Path) {
    let Some(sources) = sources("rabbitmq-server") else { return };
    let made = dir.join("made");
    copy(&sources, &made);
    run(&mut make(&made, &["restore-hex-cache-ets-file"]));
    // As its Makefile has it before Mix is called.
    run(&mut make(&made.join("deps/rabbit_common"), &[]));
    let (ours, theirs, store) = (dir.join("ours"), dir.join("theirs"), dir.join("store"));
    for project in [&ours, &theirs] {
        copy(&made, project);
    }
    let at = "deps/rabbitmq_cli";
    let yaml = "release: rabbitmqctl\nenv: {DEPS_DIR: \"..\", MAKE: \"true\"}\n";
    fs::write(ours.join(at).join("release.yaml"), yaml).expect("a file");
    let build = || {
        let mut command = relgraph(&ours.join(at), &store);
        command.env("HEX_HOME", ours.join("deps/.hex")).env("HEX_OFFLINE", "1");
        command
    };
    first_build("rabbitmq_cli", build(), files(&sources.join(at)));
    let task = |args: &[&str]| {
        let mut command = mix(&theirs.join(at), args);
        command.env("MIX_HOME", theirs.join("deps/.mix")).env("HEX_HOME", theirs.join("deps/.hex"));
        command.env("HEX_OFFLINE", "1").env("DEPS_DIR", "..").env("MAKE", "true");
        run(&mut command)
    };
    task(&["deps.get", "--only", "prod"]);
    let release = || task(&["release", "--quiet", "--overwrite"]);
    println!("  mix release, its dependencies fetched, takes {:.1} s", release().as_secs_f64());
    let (one, other) = pairs(ROUNDS, || run(&mut build()), release);
    beside("nothing changed, rabbitmq_cli", &one, "mix release --overwrite", &other);
    let file = "lib/rabbitmq/cli/ctl/commands/version_command.ex";
    let text = "Displays CLI tools version";
    let beam = |release: PathBuf| {
        released(&release, "rabbitmqctl").join("ebin/Elixir.RabbitMQ.CLI.Ctl.Commands.VersionCommand.beam")
    };
    let (one, other) = pairs(
        ROUNDS,
        after_edits(
            Edit::new(ours.join(at).join(file), text),
            beam(ours.join(at).join("_build/relgraph/prod/rabbitmqctl")),
            || run(&mut build()),
        ),
        after_edits(
            Edit::new(theirs.join(at).join(file), text),
            beam(theirs.join(at).join("_build/prod/rel/rabbitmqctl")),
            release,
        ),
    );
    beside("one file changed, rabbitmq_cli", &one, "mix release --overwrite", &other);
}
