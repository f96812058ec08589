//! What the benchmarks share: timing two jobs turn by turn, and saying how they compare.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// The command that is measured.
pub const RELGRAPH: &str = env!("CARGO_BIN_EXE_relgraph");

/// Runs a command to its end, which has to be a good one, and says how long it took.
pub fn run(command: &mut Command) -> Duration {
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let took = began.elapsed();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}\n{}", said.concat());
    took
}

/// The largest memory of any child process so far, in MB: to be asked before a larger one runs.
pub fn peak_mb() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the system counts");
    usage.max_rss() as f64 / 1024.0
}

/// Runs two jobs turn by turn, `rounds` times each, and returns the times of both.
pub fn pairs(
    rounds: usize,
    mut one: impl FnMut() -> Duration,
    mut other: impl FnMut() -> Duration,
) -> (Vec<Duration>, Vec<Duration>) {
    (0..rounds).map(|_| (one(), other())).unzip()
}

/// Runs a command to its end, which has to be a good one, and returns what it printed.
pub fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}\n{out}{err}");
    out
}

/// Says how two compare: the middle of each, the least and the most, and the ratio of the middles, which is returned.
pub fn beside(what: &str, ours: &[Duration], name: &str, theirs: &[Duration]) -> f64 {
    let ratio = middle(ours) / middle(theirs);
    println!("{what}");
    println!("  relgraph {}", spread(ours));
    println!("  {name} {}", spread(theirs));
    println!("  ratio {ratio:.3}");
    ratio
}

/// Says how two compare, and whether the ratio is what it should be.
pub fn report(what: &str, ours: &[Duration], name: &str, theirs: &[Duration], target: f64) {
    let ratio = beside(what, ours, name, theirs);
    println!("  target at most {target:.3}: {}", if ratio <= target { "met" } else { "missed" });
}

fn middle(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2].as_secs_f64() * 1e3
}

fn spread(times: &[Duration]) -> String {
    let ms = |time: Option<&Duration>| time.map_or(0.0, |t| t.as_secs_f64() * 1e3);
    format!(
        "{:.1} ms (least {:.1}, most {:.1})",
        middle(times),
        ms(times.iter().min()),
        ms(times.iter().max())
    )
}

/// A folder with nothing in it.
pub fn empty(path: &Path) {
    if path.exists() {
        relgraph_cache::remove_tree(path).expect("it can be removed");
    }
    std::fs::create_dir_all(path).expect("a folder");
}
