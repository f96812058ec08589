//! Two releases of 10,000 files, compared: against `diff -rq` of their folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::support::{RELGRAPH, pairs, report, run};
use super::{copy, relgraph, source};

/// How many files each release has, and how many of them an application.
const FILES: usize = 10_000;
const OF_AN_APPLICATION: usize = 200;

/// examples/sequence and examples/sequence-0.2.0 with as many applications beside them as make up the number of files. Their
/// modules are those of Elixir over and over, as large as modules are. Both releases are in the store, and each is named as
/// its user would; the page that is printed is the whole answer.
pub fn diff(dir: &Path) {
    let store = dir.join("store");
    let folders = ["examples/sequence", "examples/sequence-0.2.0"].map(|example| {
        let project = dir.join(example.replace('/', "-"));
        copy(&source(example), &project);
        run(&mut relgraph(&project, &store));
        let release = project.join("_build/relgraph/prod/sequence");
        fill(&release, &project.join("filler"));
        let yaml = project.join("release.yaml");
        let declared = fs::read_to_string(&yaml).expect("a file").replace("package: [tar.gz]\n", "");
        fs::write(&yaml, format!("{declared}overlays: [filler]\n")).expect("a file");
        run(&mut relgraph(&project, &store));
        println!("{}: {} files", release.display(), count(&release));
        release
    });
    let ours = || {
        run(Command::new(RELGRAPH)
            .args(["diff", "sequence@0.1.0", "sequence@0.2.0", "--cache-dir"])
            .arg(&store)
            .current_dir(dir))
    };
    let theirs = || differing(Command::new("diff").arg("-rq").args(&folders));
    ours();
    theirs();
    let (ours, theirs) = pairs(31, ours, theirs);
    report(
        "two stored releases of 10,000 files compared",
        &ours,
        "diff -rq of their folders",
        &theirs,
        1.0 / 20.0,
    );
}

/// Makes as many applications as a release lacks files.
fn fill(release: &Path, filler: &Path) {
    let elixir = fs::read_dir(release.join("lib"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("elixir-")))
        .expect("a release with Elixir");
    let mut modules: Vec<PathBuf> = fs::read_dir(elixir.join("ebin"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "beam"))
        .collect();
    modules.sort();
    let missing = FILES.saturating_sub(count(release));
    for (at, module) in modules.iter().cycle().take(missing).enumerate() {
        let name = format!("filler{:02}", at / OF_AN_APPLICATION);
        let ebin = filler.join(format!("lib/{name}-1.0/ebin"));
        fs::create_dir_all(&ebin).expect("a folder");
        if at % OF_AN_APPLICATION == 0 {
            let resource = format!("{{application,{name},[{{vsn,\"1.0\"}}]}}.\n");
            fs::write(ebin.join(format!("{name}.app")), resource).expect("a file");
        } else {
            fs::copy(module, ebin.join(format!("m{at:05}.beam"))).expect("a file");
        }
    }
}

/// How many files are in a folder.
pub fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| if entry.file_type().expect("a kind").is_dir() { count(&entry.path()) } else { 1 })
        .sum()
}

/// How long a command takes that ends with 1, as `diff` does.
fn differing(command: &mut Command) -> Duration {
    let began = Instant::now();
    let output = command.output().expect("it starts");
    let took = began.elapsed();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    took
}
