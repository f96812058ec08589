//! What others built, fetched: against fetching the same bytes in one file, and against building them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::support::{RELGRAPH, empty, pairs, report, run};
use super::{copy, mix, source};
use crate::servers::casd;
use crate::web::nginx::Nginx;

/// How many files the release has.
const FILES: usize = 3_000;

/// A fresh checkout with an empty store, whose release is with a remote.
struct Checkout {
    project: PathBuf,
    store: PathBuf,
    remote: String,
}

impl Checkout {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(RELGRAPH);
        command.args(words).arg("--cache-dir").arg(&self.store).arg("--remote").arg(&self.remote);
        command.current_dir(&self.project);
        command
    }
}

/// A release of 3,000 files, pulled from nginx and over gRPC: against `curl` of the same bytes in one file and `cp -r`.
pub fn pull(dir: &Path) {
    let project = dir.join("made");
    copy(&source("examples/sequence"), &project);
    fill(&project.join("filler"));
    let yaml = project.join("release.yaml");
    let declared = fs::read_to_string(&yaml).expect("a file").replace("package: [tar.gz]\n", "");
    fs::write(&yaml, format!("{declared}overlays: [filler]\n")).expect("a file");
    let web = Nginx::start();
    let grpc = casd();
    let remotes = [("nginx", web.url("open")), ("gRPC (buildbox-casd)", format!("grpc://{}", grpc.address))];
    let store = dir.join("store");
    for (_, remote) in &remotes {
        let writer = Checkout {
            project: project.clone(),
            store: store.clone(),
            remote: format!("{remote};access=read-write"),
        };
        run(&mut writer.command(&["build", "--quiet", "--upload-wait", "10m"]));
        let _ = fs::remove_dir_all(project.join("_build"));
        empty(&store);
    }
    let writer = Checkout { project: project.clone(), store, remote: remotes[0].1.clone() };
    run(&mut writer.command(&["build", "--quiet"]));
    let release = project.join("_build/relgraph/prod/sequence");
    println!("{}: {} files", release.display(), super::compared::count(&release));
    let whole = web.files("open").join("release.tar");
    run(Command::new("tar").arg("-cf").arg(&whole).arg("-C").arg(&release).arg("."));
    let address = format!("{}/release.tar", web.url("plain"));
    for (name, remote) in &remotes {
        // Nothing is removed in between: file systems are slow to give again what was freed a moment ago.
        let rounds = dir.join(name.split(' ').next().unwrap_or(name));
        fs::create_dir_all(&rounds).expect("a folder");
        let mut round = 0;
        let ours = || {
            round += 1;
            let project = rounds.join(format!("ours-{round}"));
            fs::create_dir_all(&project).expect("a folder");
            let store = rounds.join(format!("store-{round}"));
            let puller = Checkout { project, store, remote: remote.clone() };
            let mut command = puller.command(&["run", "--release", "sequence@0.1.0"]);
            run(command.args(["--", "version"]))
        };
        let mut copies = 0;
        let theirs = || {
            copies += 1;
            let (file, tree) = (rounds.join(format!("{copies}.tar")), rounds.join(copies.to_string()));
            run(Command::new("curl").args(["-sSf", "-o"]).arg(&file).arg(&address))
                + run(Command::new("cp").arg("-r").arg(&release).arg(&tree))
        };
        let (ours, theirs) = pairs(11, ours, theirs);
        let what = format!(
            "a release of {FILES} files pulled into an empty store and put in its place, from {name}"
        );
        report(&what, &ours, "curl of the same bytes in one file, and cp -r", &theirs, 1.5);
    }
}

/// A project with a dozen dependencies in a new checkout, with an empty store and everything with nginx: against Mix, which
/// builds it.
pub fn fresh(dir: &Path) {
    let made = dir.join("made");
    run(Command::new("sh").arg(source("tests/fixtures/dozen/generate.sh")).arg(&made));
    fs::write(made.join("release.yaml"), "release: dozen\n").expect("a file");
    let web = Nginx::start();
    let checkout = |name: &str, access: &str| {
        let checkout = Checkout {
            project: dir.join(name),
            store: dir.join(format!("{name}-store")),
            remote: format!("{}{access}", web.url("open")),
        };
        empty(&checkout.project);
        fs::remove_dir(&checkout.project).expect("it is empty");
        copy(&made, &checkout.project);
        empty(&checkout.store);
        checkout
    };
    run(&mut checkout("writer", ";access=read-write").command(&["build", "--quiet", "--upload-wait", "10m"]));
    let ours = || run(&mut checkout("ours", "").command(&["build", "--quiet"]));
    let theirs = || {
        let project = checkout("theirs", "").project;
        let steps: [&[&str]; 3] = [&["deps.compile"], &["compile"], &["release", "--quiet"]];
        steps.iter().map(|args| run(&mut mix(&project, args))).sum::<Duration>()
    };
    let (ours, theirs) = pairs(3, ours, theirs);
    report(
        "everything with nginx, a dozen dependencies, a new checkout and an empty store",
        &ours,
        "mix deps.compile + compile + release",
        &theirs,
        1.0 / 20.0,
    );
}

/// As many files as the release lacks, as large as modules are, and no two of them alike.
fn fill(filler: &Path) {
    let elixir =
        super::support::said(Command::new("elixir").args(["-e", "IO.write(:code.lib_dir(:elixir))"]));
    let mut modules: Vec<PathBuf> = fs::read_dir(Path::new(&elixir).join("ebin"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "beam"))
        .collect();
    modules.sort();
    // The example itself has some 630.
    for (at, module) in modules.iter().cycle().take(FILES - 630).enumerate() {
        let folder = filler.join(format!("data/{:02}", at / 100));
        fs::create_dir_all(&folder).expect("a folder");
        let mut bytes = fs::read(module).expect("a file");
        bytes.extend_from_slice(format!("{at}").as_bytes());
        fs::write(folder.join(format!("m{at:05}")), bytes).expect("a file");
    }
}
