//! Which Erlang and Elixir build a project: those that release.yaml names, those of `.tool-versions`, those in PATH.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use support::mix::installed;
use support::project::Project;
use support::{TestSpace, said};

/// A project, and a home in which asdf has installed the machine's Elixir, which is nowhere else to be found.
struct Managed {
    project: Project,
    elixir: PathBuf,
    version: String,
}

fn managed(space: &TestSpace) -> Managed {
    let version = said(Command::new("elixir").args(["-e", "IO.write(System.version())"]));
    let home = space.path("home");
    let elixir = home.join(format!(".asdf/installs/elixir/{version}-otp-0"));
    fs::create_dir_all(elixir.parent().expect("a folder")).expect("a folder");
    said(Command::new("cp").arg("-rL").arg(installed("elixir")).arg(&elixir));
    let project = space.sequence("managed").with("HOME", home.to_str().expect("UTF-8"));
    let path = space.bare_path(&["elixir", "elixirc", "mix", "iex"]);
    project.write("release.yaml", "release: sequence\n");
    Managed { project: project.with("PATH", &path), elixir, version }
}

#[test]
fn tool_versions_lead_to_what_a_version_manager_has_installed() {
    let space = TestSpace::new();
    let Managed { project, elixir, version } = managed(&space);
    let said = project.refused(2);
    assert!(said.contains("`elixir` is not in PATH"), "{said}");
    // The nearest file that speaks of a program counts, in folders above as well.
    fs::write(project.dir.join("../.tool-versions"), format!("elixir {version}-otp-0\n")).expect("a file");
    project.write(".tool-versions", "# nothing of Elixir\nnodejs 20.1.0\n");
    project.build();
    project.build().assert_nothing_to_do();
    let doctor = project.ask(&["doctor"]);
    assert!(doctor.out.contains(elixir.to_str().expect("UTF-8")), "{}", doctor.out);
    fs::remove_file(project.dir.join("../.tool-versions")).expect("it is there");
    assert!(project.refused(2).contains("`elixir` is not in PATH"));
}

#[test]
fn release_yaml_names_a_version_or_a_folder() {
    let space = TestSpace::new();
    let Managed { project, elixir, version } = managed(&space);
    project.write(".tool-versions", "elixir 0.0.1\n");
    project
        .write("release.yaml", &format!("release: sequence\ntoolchain:\n  elixir: {}\n", elixir.display()));
    project.build();
    let minor = version.rsplit_once('.').expect("three parts").0;
    project.write("release.yaml", &format!("release: sequence\ntoolchain: {{elixir: {minor}}}\n"));
    assert_eq!(project.build().executed(), 0, "it is the same Elixir");
    project.write("release.yaml", "release: sequence\ntoolchain:\n  elixir: 9.9.9\n");
    let said = project.refused(2);
    assert!(said.contains("there is no Elixir 9.9.9 on this machine"), "{said}");
    assert!(said.contains("release.yaml:3:") && said.contains("asdf install elixir"), "{said}");
}

#[test]
fn mise_is_understood_and_so_is_every_form_of_a_version() {
    let space = TestSpace::new();
    let Managed { project, elixir, version } = managed(&space);
    let found = |text: &str| {
        let doctor = project.ask(&["doctor"]);
        assert!(doctor.out.contains(elixir.to_str().expect("UTF-8")), "{text}: {}{}", doctor.out, doctor.err);
    };
    // The first parts of a version, and the newest one, without what is said of the Erlang that it was compiled with.
    let (minor, _) = version.rsplit_once('.').expect("three parts");
    for wish in [
        format!("{minor}-otp-0"),
        version.clone(),
        "latest".to_owned(),
        format!("prefix:{minor}"),
        format!("0.0.1 {version}"),
    ] {
        project.write(".tool-versions", &format!("elixir {wish}\n"));
        found(&wish);
    }
    // A path is seen from the folder of the file; what mise.toml says counts before `.tool-versions`.
    std::os::unix::fs::symlink(&elixir, project.dir.join("../elixir-link")).expect("a link");
    project.write(".tool-versions", "elixir 0.0.1\n");
    project.write("mise.toml", "[tools]\nnode = \"20\"\nelixir = \"path:../elixir-link\" # ours\n");
    let doctor = project.ask(&["doctor"]);
    assert!(doctor.out.contains("elixir-link"), "{}{}", doctor.out, doctor.err);
    project.write("mise.toml", &format!("[tools]\nelixir = [\"9.9.9\", \"{version}-otp-0\"]\n"));
    found("mise.toml");
    // In vain: what is there is said, and what would help.
    project.write("mise.toml", "[tools]\nelixir = { version = \"1.99.1-otp-27\" }\n");
    let said = project.refused(2);
    for part in [
        "mise.toml asks for Elixir 1.99.1-otp-27, which is not installed",
        &format!("line 2; installed by version managers: {version}-otp-0"),
        "`asdf install elixir 1.99.1-otp-27`, `mise install elixir@1.99.1-otp-27`",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn what_tool_versions_ask_for_in_vain_is_a_warning_where_path_has_another() {
    let space = TestSpace::new();
    let project = space.sequence("unmanaged");
    project.write("release.yaml", "release: sequence\n");
    project.write(".tool-versions", "erlang 1.2.3\nelixir 0.0.1 system\n");
    let said = project.ask(&["build"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    assert!(said.err.contains("asks for Erlang 1.2.3, which is not installed"), "{}", said.err);
    assert!(!said.err.contains("asks for Elixir"), "`system` is what PATH leads to: {}", said.err);
}

#[test]
fn the_same_erlang_and_elixir_elsewhere_hit() {
    let space = TestSpace::new();
    let Managed { project, .. } = managed(&space);
    project.write("release.yaml", "release: sequence\n");
    let usual = space.sequence("usual");
    usual.write("release.yaml", "release: sequence\n");
    let first = usual.build();
    let elsewhere = space.path("elsewhere");
    said(Command::new("cp").arg("-r").arg(installed("elixir")).arg(&elsewhere));
    project.write(
        "release.yaml",
        &format!("release: sequence\ntoolchain: {{elixir: {}}}\n", elsewhere.display()),
    );
    let built = project.build();
    assert_eq!((built.executed(), built.digest()), (0, first.digest()), "{}", built.json);
}
