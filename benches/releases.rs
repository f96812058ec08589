//! How fast, measured beside the tool that people would use instead (docs/benchmarks.md).
//!
//! `cargo bench --bench releases` runs all; `-- noop`, `-- graph`, `-- cold`, `-- warm`, `-- diff`, `-- pull`, `-- fresh`, `-- rabbitmq`,
//! `-- rabbitmq_cli` one. The machine should have nothing else to do. All but `graph` need Elixir, `graph` needs ninja; those
//! of RabbitMQ fetch its sources, and need what scripts/test-real.sh installs.

#[path = "compared/mod.rs"]
mod compared;
#[path = "real/mod.rs"]
mod real;
#[path = "../cache/tests/support/servers/mod.rs"]
mod servers;
#[path = "shared/mod.rs"]
mod shared;
#[path = "support.rs"]
mod support;
#[path = "../cache/tests/support/web/mod.rs"]
mod web;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::{RELGRAPH, empty, pairs, peak_mb, report, run};

fn main() {
    if let (Ok(project), Ok(store)) =
        (std::env::var("RELGRAPH_BENCH_PEAK"), std::env::var("RELGRAPH_BENCH_STORE"))
    {
        run(&mut relgraph(Path::new(&project), Path::new(&store)));
        println!("{}", peak_mb());
        return;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    let measure = |name: &str, bench: fn(&Path)| {
        if is_wanted(name) {
            let dir = all.join(name);
            empty(&dir);
            bench(&dir);
            empty(&dir);
        }
    };
    measure("graph", graph);
    measure("noop", noop);
    measure("cold", cold);
    measure("warm", warm);
    measure("diff", compared::diff);
    measure("pull", shared::pull);
    measure("fresh", shared::fresh);
    measure("rabbitmq_cli", real::rabbitmq_cli);
    measure("rabbitmq", real::rabbitmq);
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-R").arg(from).arg(to));
}

fn relgraph(dir: &Path, store: &Path) -> Command {
    let mut command = Command::new(RELGRAPH);
    command.args(["build", "--quiet", "--cache-dir"]).arg(store).current_dir(dir);
    command
}

fn mix(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("mix");
    command.args(args).current_dir(dir).env("MIX_ENV", "prod").env("LANG", "C.UTF-8");
    command
}

/// Nothing changed: against `mix release --overwrite`.
fn noop(dir: &Path) {
    let (ours, theirs, store) = (dir.join("ours"), dir.join("theirs"), dir.join("store"));
    for project in [&ours, &theirs] {
        copy(&source("examples/sequence"), project);
    }
    run(&mut relgraph(&ours, &store));
    run(&mut mix(&theirs, &["release", "--quiet", "--overwrite"]));
    let (ours, theirs) = pairs(
        15,
        || run(&mut relgraph(&ours, &store)),
        || run(&mut mix(&theirs, &["release", "--quiet", "--overwrite"])),
    );
    report("nothing changed, examples/sequence", &ours, "mix release --overwrite", &theirs, 1.0 / 50.0);
}

/// Nothing changed in a graph of 10,000 steps over 20,000 files: against ninja.
fn graph(dir: &Path) {
    const STEPS: usize = 10_000;
    let (project, store) = (dir.join("project"), dir.join("store"));
    let mut yaml = String::from("release: wide\nversion: \"1\"\nsandbox: off\nsteps:\n");
    let mut ninja = String::from("rule join\n  command = cat $in > $out\n");
    for step in 0..STEPS {
        let folder = format!("in/{:03}", step / 100);
        fs::create_dir_all(project.join(&folder)).expect("a folder");
        let inputs = [format!("{folder}/{step}.a"), format!("{folder}/{step}.b")];
        for input in &inputs {
            fs::write(project.join(input), input).expect("a file");
        }
        let out = format!("out/{:03}/{step}", step / 100);
        let [a, b] = &inputs;
        let _ =
            writeln!(yaml, "  s{step}: {{run: cat {a} {b} > {out}, inputs: [{a}, {b}], outputs: [{out}]}}");
        let _ = writeln!(ninja, "build {out}: join {a} {b}");
    }
    fs::write(project.join("release.yaml"), yaml).expect("a file");
    fs::write(project.join("build.ninja"), ninja).expect("a file");
    let began = Instant::now();
    run(&mut relgraph(&project, &store));
    println!("first build of 10,000 steps: {:.1} s", began.elapsed().as_secs_f64());
    run(&mut relgraph(&project, &store));
    // A process of its own is the only child that counts for its memory.
    let memory = peak_of_noop(&project, &store);
    run(Command::new("ninja").arg("--quiet").current_dir(&project));
    let (ours, theirs) = pairs(
        31,
        || run(&mut relgraph(&project, &store)),
        || run(Command::new("ninja").arg("--quiet").current_dir(&project)),
    );
    report("nothing changed, 10,000 steps over 20,000 files", &ours, "ninja", &theirs, 1.0);
    let mut sorted = ours.clone();
    sorted.sort();
    let per_file = sorted[sorted.len() / 2].as_secs_f64() * 1e6 / 20_000.0;
    println!("  {per_file:.2} µs per file, peak memory {memory:.1} MB");
}

fn peak_of_noop(project: &Path, store: &Path) -> f64 {
    let exe = std::env::current_exe().expect("this program has a path");
    let output = Command::new(exe)
        .arg("--peak")
        .env("RELGRAPH_BENCH_PEAK", project)
        .env("RELGRAPH_BENCH_STORE", store)
        .output()
        .expect("it starts");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("it says a number")
}

/// Everything from nothing, a project with a dozen dependencies: against Mix.
fn cold(dir: &Path) {
    let made = dir.join("made");
    run(Command::new("sh").arg(source("tests/fixtures/dozen/generate.sh")).arg(&made));
    fs::write(made.join("release.yaml"), "release: dozen\n").expect("a file");
    let round = |name: &str| {
        let at = dir.join(name);
        empty(&at);
        fs::remove_dir(&at).expect("it is empty");
        copy(&made, &at);
        at
    };
    let ours = || {
        let project = round("ours");
        let store = dir.join("store");
        empty(&store);
        run(&mut relgraph(&project, &store))
    };
    let theirs = || {
        let project = round("theirs");
        let steps: [&[&str]; 3] = [&["deps.compile"], &["compile"], &["release", "--quiet"]];
        steps.iter().map(|args| run(&mut mix(&project, args))).sum::<Duration>()
    };
    let (ours, theirs) = pairs(3, ours, theirs);
    report("from nothing, a dozen dependencies", &ours, "mix deps.compile + compile + release", &theirs, 0.9);
}

/// Everything known, in a new checkout: against copying the release.
fn warm(dir: &Path) {
    let (made, store) = (dir.join("made"), dir.join("store"));
    copy(&source("examples/sequence"), &made);
    run(&mut relgraph(&made, &store));
    let release = made.join("_build/relgraph/prod/sequence");
    let clean = dir.join("clean");
    copy(&source("examples/sequence"), &clean);
    let mut round = 0;
    let ours = || {
        round += 1;
        let at = dir.join(format!("checkout-{round}"));
        copy(&clean, &at);
        let took = run(&mut relgraph(&at, &store));
        relgraph_cache::remove_tree(&at).expect("it can be removed");
        took
    };
    let theirs = || {
        let at = dir.join("copied");
        let took = run(Command::new("cp").arg("-r").arg(&release).arg(&at));
        relgraph_cache::remove_tree(&at).expect("it can be removed");
        took
    };
    let (ours, theirs) = pairs(15, ours, theirs);
    report(
        "everything known, a new checkout of examples/sequence",
        &ours,
        "cp -r of the release",
        &theirs,
        2.5,
    );
}
