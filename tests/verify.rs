//! `relgraph verify`: the release is the one that the project's own tool makes, and where it is not, the place is named.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::project::{Project, set};
use support::verified::{at, reasons, text, unexplained, verify};
use support::{TestSpace, said};

/// A copy of a release to change.
fn copy(space: &TestSpace, release: &Path, name: &str) -> PathBuf {
    let to = space.path(name);
    said(Command::new("cp").arg("-a").arg(release).arg(&to));
    to
}

const PURPOSE: [&str; 3] = ["cookie", "launcher", "record"];

#[test]
fn the_release_is_the_one_of_mix_and_what_was_changed_in_it_is_named() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    project.write("release.yaml", "release: sequence\n");
    // Checked out with another umask.
    project.write("priv/open.txt", "for the group\n");
    project.write("priv/run.sh", "#!/bin/sh\n");
    for (file, mode) in [("priv/open.txt", 0o664), ("priv/run.sh", 0o775)] {
        fs::set_permissions(project.dir.join(file), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let json = verify(&project, 0, &["--against", "mix", "--keep"]);
    assert_eq!(reasons(&json), set(&[&PURPOSE[..], &["mode"]].concat()));
    assert!(json["files"]["same"].as_u64() > Some(600), "{}", json["files"]);
    let theirs = Path::new(text(&json["kept"])).join("theirs");
    tampered(&space, &project, &theirs);
    keys_of_release_yaml(&project, &theirs);
    another_source(&project, &theirs);
}

/// One change of each kind, each in a file of its own.
fn tampered(space: &TestSpace, project: &Project, theirs: &Path) {
    let other = copy(space, theirs, "tampered");
    let edit = |path: &str, from: &str, to: &str| {
        let text = fs::read_to_string(other.join(path)).expect("a text");
        assert!(text.contains(from), "{path} has no {from}: {text}");
        fs::write(other.join(path), text.replace(from, to)).expect("a file");
    };
    let ebin = "lib/sequence-0.1.0/ebin";
    edit(&format!("{ebin}/sequence.app"), "'Elixir.Sequence.Stash'", "'Elixir.Sequence.Stush'");
    edit("releases/0.1.0/sys.config", "{step,1}", "{step,2},{api_token,\"hush\"}");
    edit("releases/0.1.0/sequence.rel", "permanent", "transient");
    fs::write(other.join("releases/0.1.0/vm.args"), "+P 5\n").expect("a file");
    fs::remove_file(other.join(ebin).join("Elixir.Sequence.Label.beam")).expect("it is there");
    fs::write(other.join("lib/extra.txt"), "x").expect("a file");
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(other.join("releases/0.1.0/elixir"), mode).expect("a mode");
    fs::remove_file(other.join("releases/0.1.0/env.sh")).expect("it is there");
    std::os::unix::fs::symlink("vm.args", other.join("releases/0.1.0/env.sh")).expect("a link");
    let cut = other.join(ebin).join("Elixir.Sequence.Server.beam");
    let bytes = fs::read(&cut).expect("a module");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("a file");
    said(Command::new("erl").current_dir(&other).args(["-noshell", "-eval"]).arg(
        "F = \"releases/0.1.0/start.boot\", {ok, B} = file:read_file(F), {script, N, [A, C | R]} = binary_to_term(B), \
         ok = file:write_file(F, term_to_binary({script, N, [C, A | R]})), halt().",
    ));
    let other = other.display().to_string();
    let json = verify(project, 1, &["--against", &other]);
    let expected = [
        "lib/extra.txt: ",
        "lib/sequence-0.1.0/ebin/Elixir.Sequence.Label.beam: ",
        "lib/sequence-0.1.0/ebin/Elixir.Sequence.Server.beam: ",
        "lib/sequence-0.1.0/ebin/sequence.app: modules[5]",
        "releases/0.1.0/elixir: ",
        "releases/0.1.0/env.sh: ",
        "releases/0.1.0/start.boot: instructions[0]",
        "releases/0.1.0/sys.config: sequence.api_token",
        "releases/0.1.0/sys.config: sequence.step",
        "releases/0.1.0/vm.args: 1",
    ];
    let found: BTreeSet<String> = unexplained(&json).into_iter().collect();
    for line in expected {
        assert!(found.contains(line), "no {line}: {found:#?}");
    }
    let app = at(&json, "lib/sequence-0.1.0/ebin/sequence.app");
    assert_eq!((text(&app["application"]), text(&app["theirs"])), ("sequence", "'Elixir.Sequence.Stush'"));
    assert_eq!(at(&json, "releases/0.1.0/elixir")["part"], "mode");
    assert_eq!(at(&json, "releases/0.1.0/env.sh")["part"], "kind");
    let page = project.ask(&["verify", "--against", &other]);
    assert_eq!(page.status, Some(1));
    assert!(page.out.starts_with("sequence is not the release of"), "{}", page.out);
    assert!(page.out.contains("sequence.step: 1, theirs 2"), "{}", page.out);
    assert!(!page.out.contains("hush") && !json.to_string().contains("hush"), "{}", page.out);
}

/// What release.yaml asks for explains what it does, and nothing else.
fn keys_of_release_yaml(project: &Project, theirs: &Path) {
    let against = theirs.display().to_string();
    project.write("more/etc/motd", "hello\n");
    let keys = "upgrades: hot\nversion: \"9.9.9\"\nstrip: false\nruntime: false\noverlays: [more]\n\
                applications: {runtime_tools: permanent}\nexecutables_for: [unix]\n";
    project.write("release.yaml", &format!("release: sequence\n{keys}"));
    let json = verify(project, 0, &["--against", &against]);
    assert_eq!(reasons(&json), set(&[&PURPOSE[..], &["hot_layout", "mode", "release_yaml"]].concat()));
    for path in ["etc/motd", "erts-", "bin/sequence.bat", "releases/9.9.9/sequence.rel"] {
        let all = json["differences"].as_array().expect("a list");
        assert!(all.iter().any(|one| text(&one["path"]).starts_with(path)), "nothing of {path}");
    }
    project.write("release.yaml", "release: sequence\n");
}

/// Another constant, and a function less.
fn another_source(project: &Project, theirs: &Path) {
    project.edit("lib/sequence/label.ex", "number #{number}", "nr. #{number}");
    project.edit(
        "lib/sequence/stash.ex",
        "@spec get() :: integer()\n  def get, do: Agent.get(__MODULE__, & &1)\n",
        "",
    );
    let json = verify(project, 1, &["--against", &theirs.display().to_string()]);
    let found = |module: &str, function: &str| {
        let all = json["differences"].as_array().expect("a list").iter();
        let of = |one: &&Value| one["module"] == module && one["function"] == function;
        all.filter(of)
            .map(|one| format!("{} {}", text(&one["ours"]), text(&one["theirs"])))
            .collect::<Vec<_>>()
    };
    let constant = found("Elixir.Sequence.Label.Integer", "label/1");
    assert!(constant.contains(&"<<\"nr. \">> <<\"number \">>".to_owned()), "{constant:?}");
    assert_eq!(found("Elixir.Sequence.Stash", "get/0").len(), 1, "{:#?}", unexplained(&json));
    let exported = |one: &&Value| one["part"] == "chunk ExpT" && one["place"] == "get/0";
    assert_eq!(
        json["differences"].as_array().expect("a list").iter().filter(exported).count(),
        1,
        "{json:#}"
    );
}

/// A module with what no two builds make alike.
const ODD: &str = r#"defmodule Sequence.Odd do
  @built System.system_time()
  @at DateTime.utc_now()
  @file_name __ENV__.file
  @lot :crypto.strong_rand_bytes(8)
  def built, do: {@built, @at}
  def file_name, do: @file_name
  def lot, do: @lot
end
"#;

#[test]
fn the_clock_the_path_and_what_the_tool_does_not_make_twice_alike_are_explained() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    project.write("release.yaml", "release: sequence\n");
    project.write("lib/sequence/odd.ex", ODD);
    // Mix makes a package as well, and puts in what a link leads to.
    project.edit(
        "mix.exs",
        "version: ",
        "releases: [sequence: [steps: [:assemble, :tar]]],\n      version: ",
    );
    project.write("rel/overlays/doc/one.txt", "one\n");
    std::os::unix::fs::symlink("one.txt", project.dir.join("rel/overlays/doc/two.txt")).expect("a link");
    let json = verify(&project, 0, &["--keep"]);
    assert_eq!(reasons(&json), set(&["cookie", "launcher", "packing", "record", "time", "unsteady"]));
    let package = |place: &str| {
        let all = json["differences"].as_array().expect("a list").iter();
        let found = all.filter(|one| one["part"] == "package" && text(&one["place"]) == place);
        found.map(|one| text(&one["path"]).to_owned()).collect::<Vec<_>>()
    };
    for place in ["order", "times"] {
        assert_eq!(package(place), ["sequence-0.1.0.tar.gz"], "{place}");
    }
    assert_eq!(package("theirs has what a link leads to"), ["sequence-0.1.0.tar.gz/doc/two.txt"]);
    assert!(
        package("theirs has no entry for it").contains(&"sequence-0.1.0.tar.gz/lib".to_owned()),
        "{json:#}"
    );
    assert!(Path::new(text(&json["kept"])).join("theirs.tar.gz").is_file());
    // Mix itself, somewhere else, without a sandbox.
    let other = space.path("elsewhere/app");
    support::files::copy(&project.dir, &other);
    let mut mix = Command::new("mix");
    mix.args(["release", "--quiet"]).current_dir(&other).env("MIX_ENV", "prod").env("LANG", "C.UTF-8");
    said(mix.env("HOME", space.path("no-home")));
    let theirs = other.join("_build/prod/rel/sequence").display().to_string();
    let json = verify(&project, 1, &["--against", &theirs]);
    assert_eq!(reasons(&json), set(&["cookie", "launcher", "path", "record", "time"]));
    // Nobody can tell chance from a difference where there is no tool to ask twice.
    let left = unexplained(&json);
    assert!(
        left.iter().all(|line| line.starts_with("lib/sequence-0.1.0/ebin/Elixir.Sequence.Odd.beam: ")),
        "{left:?}"
    );
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_release_of_rebar3_is_compared_with_what_rebar3_makes() {
    let space = TestSpace::new();
    let project = Project::new(space.path("hi"), space.store());
    project.write(
        "rebar.config",
        "{erl_opts, [debug_info]}.\n{relx, [{release, {hi, \"0.3.0\"}, [hi, sasl]}, {sys_config, \"config/sys.config\"}, \
         {dev_mode, false}, {include_erts, true}, {extended_start_script, true}]}.\n",
    );
    project.write("config/sys.config", "[{hi, [{a, 1}]}].\n");
    project.write(
        "apps/hi/src/hi.app.src",
        "{application, hi, [{description, \"hi\"}, {vsn, \"0.3.0\"}, {registered, []}, {applications, [kernel, stdlib]}]}.\n",
    );
    project.write("apps/hi/src/hi.erl", "-module(hi).\n-export([hi/0]).\nhi() -> {hi, 1}.\n");
    project.write("release.yaml", "release: hi\n");
    let json = verify(&project, 0, &["--against", "rebar3", "--keep"]);
    assert_eq!(json["against"], "rebar3 release");
    assert!(json["files"]["same"].as_u64() > Some(40), "{}", json["files"]);
    assert!(reasons(&json).is_subset(&set(&["packing", "record"])), "{:?}", reasons(&json));
    let theirs = Path::new(text(&json["kept"])).join("theirs").display().to_string();
    project.edit("apps/hi/src/hi.erl", "{hi, 1}", "{hi, 2}");
    project.edit("config/sys.config", "{a, 1}", "{a, 3}");
    let json = verify(&project, 1, &["--against", &theirs]);
    let left = unexplained(&json);
    assert!(left.iter().any(|line| line == "releases/0.3.0/sys.config: hi.a"), "{left:?}");
    let beam = at(&json, "lib/hi-0.3.0/ebin/hi.beam");
    assert_eq!((text(&beam["application"]), text(&beam["function"])), ("hi", "hi/0"), "{left:?}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    project.write("release.yaml", "release: sequence\n");
    let refused = |status: i32, args: &[&str], words: &[&str]| {
        let said = project.ask(&[&["verify"], args].concat());
        assert_eq!((said.status, said.out.as_str()), (Some(status), ""), "{}", said.err);
        for word in words {
            assert!(said.err.contains(word), "no {word:?} in {}", said.err);
        }
    };
    refused(2, &["--against", "nothing"], &["there is no tool and no release `nothing`"]);
    refused(2, &["--against", "rebar3"], &["rebar3 does not build this project"]);
    refused(2, &["--against", "lib"], &["lib is not a release"]);
    let bomb = space.path("bomb.tar.gz");
    bomb_at(&bomb);
    refused(2, &["--against", &bomb.display().to_string()], &["larger than any"]);
    project.write("release.yaml", "release: other\n");
    refused(2, &[], &["mix.exs declares no release `other`", "call it `sequence`"]);
    project.edit(
        "mix.exs",
        "version: ",
        "releases: [sequence: [steps: [:assemble, :tar, &__MODULE__.no/1]]],\n      version: ",
    );
    project.edit("mix.exs", "def application", "def no(_), do: raise(\"no such luck\")\n\n  def application");
    project.write("release.yaml", "release: sequence\n");
    // What comes after `:tar` only Mix runs.
    refused(1, &[], &["mix itself cannot build this release", "no such luck"]);
    let custom = Project::new(space.path("custom"), space.store());
    fs::create_dir_all(&custom.dir).expect("a folder");
    custom.write(
        "release.yaml",
        "release: x\nversion: \"1\"\nsteps: {make: {run: ['mkdir -p a', 'echo 1 > a/b'], outputs: [a]}}\n",
    );
    let said = custom.ask(&["verify"]);
    assert_eq!(said.status, Some(2), "{}", said.err);
    assert!(said.err.contains("no tool builds this project"), "{}", said.err);
}

/// An archive that says that a file in it is larger than any disk.
fn bomb_at(path: &Path) {
    let mut header = tar::Header::new_gnu();
    header.set_path("releases/x").expect("a path");
    header.set_size(1 << 46);
    header.set_mode(0o644);
    header.set_cksum();
    let file = fs::File::create(path).expect("a file");
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gzip.write_all(header.as_bytes()).expect("it is written");
    gzip.write_all(&vec![0; 1 << 20]).expect("it is written");
    gzip.finish().expect("it is written");
}
