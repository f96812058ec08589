//! The runtime of another installation, made for another machine: the release is Mix's with `include_erts: PATH`, and its native
//! files are held against that machine.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::TestSpace;
use support::mix::{Mix, assert_same, installed};
use support::project::Project;
use support::sources::foreign;

/// The other of two architectures than that of this machine, as Debian calls it and as others do, its number in ELF files, and
/// the name of this one.
fn other() -> (&'static str, &'static str, u16, &'static str) {
    match std::env::consts::ARCH {
        "x86_64" => ("arm64", "aarch64", 183, "x86_64"),
        _ => ("amd64", "x86_64", 62, "aarch64"),
    }
}

#[track_caller]
fn told(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// The architectures of the native files below a folder, by their headers.
fn machines(folder: &Path) -> Vec<u16> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let bytes = fs::read(entry.path()).expect("a file");
        if bytes.starts_with(b"\x7fELF") {
            found.push(u16::from_le_bytes([bytes[18], bytes[19]]));
        }
    }
    found
}

#[test]
fn a_release_for_another_machine() {
    let (debian, name, number, own) = other();
    let packages = ["erlang-base", "erlang-crypto", "erlang-runtime-tools"];
    let Some(root) = foreign(debian, &packages) else { return };
    let root = root.join("usr/lib/erlang");
    let erts = fs::read_dir(installed("erl")).expect("OTP").flatten();
    let erts = erts.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let erts = erts.filter(|name| name.starts_with("erts-")).max().expect("a runtime");
    if !root.join(&erts).is_dir() {
        eprintln!("NOT TESTED: what is installed is not the {erts} of the distribution");
        return;
    }
    let space = TestSpace::new();
    let project = space.sequence("ours");
    let at = root.join(&erts).display().to_string();
    project.edit(
        "mix.exs",
        "version: ",
        &format!("releases: [sequence: [include_erts: \"{at}\"]],\n      version: "),
    );
    project.write("release.yaml", "release: sequence\n");
    let work = space.path("mix");
    support::files::copy(&project.dir, &work.join("project"));
    assert_same(&project, &Mix::new(work, "project").seeing(&root), "sequence", "0.1.0");
    let release = project.release("sequence");
    let programs = machines(&release.join(&erts).join("bin"));
    assert!(programs.len() > 5 && programs.iter().all(|machine| *machine == number), "{programs:?}");
    // What release.yaml says is the same; and nothing has to be looked up on this machine for it.
    let digest = project.build().digest().to_owned();
    project.edit("mix.exs", &format!("include_erts: \"{at}\""), "quiet: true");
    project.write("release.yaml", &format!("release: sequence\nruntime: {}\n", root.display()));
    assert_eq!(project.build().digest(), digest);
    held_against_its_machines(&project, &root, name, own);
}

/// The target and a library of the project.
fn held_against_its_machines(project: &Project, root: &Path, name: &str, own: &str) {
    let runtime = |target: &str| {
        let folder = root.display();
        project.write(
            "release.yaml",
            &format!("release: sequence\nruntime: {{include: {folder}, target: {target}}}\n"),
        );
    };
    runtime(&format!("{name}-linux-gnu"));
    project.build();
    // Older machines than the runtime was made for, and others.
    runtime(&format!("{name}-linux-gnu-2.17"));
    told(&project.refused(1), &["beam.smp asks for the GNU C library 2.", "and the release is for 2.17"]);
    runtime(&format!("{own}-linux-gnu"));
    told(
        &project.refused(1),
        &[&format!("beam.smp is for {name}, and the release is for {own} (`runtime.target`)")],
    );
    // A library for the machine that builds, in the application itself.
    project.write("release.yaml", &format!("release: sequence\nruntime: {}\n", root.display()));
    let library = project.dir.join("priv/fast.so");
    fs::create_dir_all(project.dir.join("priv")).expect("a folder");
    let source = project.dir.join("fast.c");
    fs::write(
        &source,
        "unsigned long getauxval(unsigned long); unsigned long fast(void) { return getauxval(6); }\n",
    )
    .expect("written");
    support::said(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source));
    told(
        &project.refused(1),
        &[&format!(
            "the native file priv/fast.so of the application sequence is for {own}, and the release is for {name}"
        )],
    );
}
