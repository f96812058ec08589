//! Native files of a release: what they are built for and what they need, held against the machines that it is for.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::TestSpace;
use support::project::Project;
use support::small::{Files, project};

const WINCH: Files<'_> = &[
    (
        "mix.exs",
        "defmodule Winch.MixProject do\n  use Mix.Project\n  def project, do: [app: :winch, version: \"0.1.0\", deps: [{:rope, \"~> 1.0\"}]]\nend\n",
    ),
    ("lib/winch.ex", "defmodule Winch do\nend\n"),
    (
        "deps/rope/mix.exs",
        "defmodule Rope.MixProject do\n  use Mix.Project\n  def project, do: [app: :rope, version: \"1.0.0\"]\nend\n",
    ),
    ("deps/rope/lib/rope.ex", "defmodule Rope do\nend\n"),
    ("mix.lock", "%{}\n"),
];

/// A project whose dependency has a library at `priv/rope.so`.
fn winch(space: &TestSpace) -> (Project, std::path::PathBuf) {
    let project = project(space, "winch", "winch", WINCH);
    let folder = project.dir.join("deps/rope/priv");
    fs::create_dir_all(&folder).expect("a folder");
    let library = folder.join("rope.so");
    compile(space, &library, "int rope(void) { return 1; }\n", &[]);
    (project, library)
}

/// A shared library of this machine.
fn compile(space: &TestSpace, to: &Path, text: &str, more: &[&str]) {
    let source = space.path("library.c");
    fs::write(&source, text).expect("written");
    support::said(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(to).arg(source).args(more));
}

/// The same file for another architecture, by its header.
fn for_machine(library: &Path, machine: u16) {
    let mut bytes = fs::read(library).expect("a library");
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    fs::write(library, bytes).expect("written");
}

const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// The other of two architectures than that of this machine: its number, its name, and the name of this one's.
fn other() -> (u16, &'static str, &'static str) {
    if std::env::consts::ARCH == "x86_64" {
        (AARCH64, "aarch64", "x86_64")
    } else {
        (X86_64, "x86_64", "aarch64")
    }
}

#[track_caller]
fn told(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// The findings about files of the dependency: kind, weight, what it is about.
fn findings(project: &Project) -> Vec<(String, String, String)> {
    let built = project.build();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    built.json["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|finding| finding["application"] == "rope")
        .map(|finding| (text(&finding["kind"]), text(&finding["weight"]), text(&finding["about"])))
        .collect()
}

#[test]
fn a_library_for_another_architecture() {
    let space = TestSpace::new();
    let (project, library) = winch(&space);
    assert_eq!(findings(&project), []);
    let (machine, name, own) = other();
    for_machine(&library, machine);
    let ended = project.refused(1);
    told(
        &ended,
        &[
            &format!(
                "error: the native file priv/rope.so of the application rope is for {name}, and the release is for {own} (erts-"
            ),
            "names a cross compiler",
            "the last good release is as it was",
        ],
    );
    // A release for such machines may have it; and then the runtime that comes with it is wrong.
    project.append("release.yaml", &format!("runtime: {{target: {name}-linux-gnu}}"));
    let ended = project.refused(1);
    told(&ended, &["bin/beam.smp is for", "(`runtime.target`)"]);
    assert!(!ended.contains("rope.so"), "{ended}");
    // Without a runtime of its own, it is as it should be.
    project.edit("release.yaml", "runtime: {", "runtime: {include: false, ");
    assert_eq!(findings(&project), []);
    // A package may bring the library for several machines, and for other systems.
    project.edit("release.yaml", "runtime: {include: false, ", "# runtime: {");
    let second = library.with_file_name("rope-other.so");
    fs::copy(&library, &second).expect("copied");
    compile(&space, &library, "int rope(void) { return 1; }\n", &[]);
    fs::write(library.with_file_name("rope.dylib"), mach_o()).expect("written");
    let of = |kind: &str, about: &str| (kind.to_owned(), "aside".to_owned(), about.to_owned());
    assert_eq!(findings(&project), [of("native", name), of("native", "macOS")]);
    // But not for others alone.
    fs::write(&library, mach_o()).expect("written");
    fs::remove_file(&second).expect("removed");
    fs::remove_file(library.with_file_name("rope.dylib")).expect("removed");
    told(
        &project.refused(1),
        &["priv/rope.so of the application rope is for macOS, and the release is for Linux"],
    );
}

/// A library of macOS without anything in it: the header alone.
fn mach_o() -> Vec<u8> {
    let header: [u32; 8] = [0xfeed_facf, 0x0100_000c, 0, 6, 0, 0, 0, 0];
    header.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn a_library_for_a_newer_or_another_c_library() {
    let space = TestSpace::new();
    let (project, library) = winch(&space);
    // Any C library has `getauxval` since 2.16, and asks for that version by name.
    let text = "unsigned long getauxval(unsigned long); unsigned long rope(void) { return getauxval(6); }\n";
    compile(&space, &library, text, &[]);
    project.append("release.yaml", "runtime: {include: false, target: linux-gnu-2.4}");
    let ended = project.refused(1);
    told(
        &ended,
        &[
            "error: the native file priv/rope.so of the application rope asks for the GNU C library 2.",
            "and the release is for 2.4",
            "build it on a system with the GNU C library 2.4 or older",
        ],
    );
    project.edit("release.yaml", "linux-gnu-2.4", "debian13");
    assert_eq!(findings(&project), []);
    project.edit("release.yaml", "debian13", "alpine");
    told(
        &project.refused(1),
        &[
            "is for machines with the GNU C library, and the release is for machines with musl (`runtime.target`)",
        ],
    );
    project.edit("release.yaml", "alpine", "debain12");
    let wrong = project.refused(2);
    told(&wrong, &["`debain12` is no target", "`debian12` is", "release.yaml:2:"]);
}

#[test]
fn a_library_that_is_not_there() {
    let space = TestSpace::new();
    let (project, library) = winch(&space);
    let folder = space.path("elsewhere");
    fs::create_dir_all(&folder).expect("a folder");
    compile(
        &space,
        &folder.join("libknot.so"),
        "int knot(void) { return 1; }\n",
        &["-Wl,-soname,libknot.so.3"],
    );
    let at = format!("-L{}", folder.display());
    compile(&space, &library, "int knot(void); int rope(void) { return knot(); }\n", &[&at, "-lknot", "-lm"]);
    let needs = ("libraries".to_owned(), "certain".to_owned(), "libknot.so.3".to_owned());
    assert_eq!(findings(&project), [needs]);
    told(
        &project.ask(&["build"]).err,
        &[
            "warning: the native file priv/rope.so of the application rope needs libknot.so.3, which is not in the release",
        ],
    );
    fs::copy(folder.join("libknot.so"), library.with_file_name("libknot.so.3")).expect("copied");
    assert_eq!(findings(&project), []);
}
