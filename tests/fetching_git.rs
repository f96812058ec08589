//! Dependencies from git repositories: the commit of the lock, with the history that versions are computed from.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::mix::{Mix, assert_same};
use support::project::Project;
use support::small::{Files, project};
use support::{TestSpace, said};

/// Runs git as somebody.
fn git(at: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(at).args(["-c", "user.name=me", "-c", "user.email=me@example.org"]).args(args);
    said(command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_ALLOW_PROTOCOL", "file"))
}

/// A repository with these files in its first commit.
fn repository(space: &TestSpace, name: &str, files: Files<'_>) -> PathBuf {
    let at = space.path("repositories").join(name);
    for (path, text) in files {
        let path = at.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    git(&at, &["init", "--quiet", "--initial-branch=main"]);
    commit(&at, "first");
    at
}

fn commit(at: &Path, message: &str) -> String {
    git(at, &["add", "--all"]);
    git(at, &["commit", "--quiet", "--message", message]);
    git(at, &["rev-parse", "HEAD"])
}

fn url(at: &Path) -> String {
    format!("file://{}", at.display())
}

/// An Erlang application whose version is that of the last tag.
const CLOCK: Files<'_> = &[
    ("rebar.config", "{erl_opts, [debug_info]}.\n"),
    (
        "src/clock.app.src",
        "{application,clock,[{description,\"Clock\"},{vsn,git},{modules,[]},{registered,[]},{applications,[kernel,stdlib]}]}.\n",
    ),
    ("src/clock.erl", "-module(clock).\n-export([hands/0]).\nhands() -> 2.\n"),
];

/// Two applications in one repository; the version of one is read from a file above it.
const TOOLS: Files<'_> = &[
    ("VERSION", "0.3.0"),
    (
        "apps/saw/mix.exs",
        "defmodule Saw.MixProject do\n  use Mix.Project\n  @version File.read!(Path.expand(\"../../VERSION\", __DIR__))\n  def project, do: \
         [app: :saw, version: @version]\nend\n",
    ),
    ("apps/saw/lib/saw.ex", "defmodule Saw do\n  def teeth, do: 12\nend\n"),
    ("README", "tools\n"),
];

fn workshop(clock: &Path, saw: &Path, glue: &Path) -> String {
    format!(
        "defmodule Workshop.MixProject do\n  use Mix.Project\n\n  def project do\n    [app: :workshop, version: \"0.1.0\", deps: [\n      {{:clock, \
         git: \"{}\", tag: \"1.4.0\"}},\n      {{:saw, git: \"{}\", subdir: \"apps/saw\"}},\n      {{:glue, git: \"{}\", branch: \
         \"main\", submodules: true}}\n    ]]\n  end\nend\n",
        url(clock),
        url(saw),
        url(glue)
    )
}

fn assert_told(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn tags_folders_and_submodules_are_fetched_and_built_as_mix_builds_them() {
    let space = TestSpace::cold();
    let clock = repository(&space, "clock", CLOCK);
    git(&clock, &["tag", "--annotate", "1.3.0", "--message", "old"]);
    fs::write(clock.join("src/clock.erl"), "-module(clock).\n-export([hands/0]).\nhands() -> 3.\n")
        .expect("a file");
    let clock_at = commit(&clock, "a third hand");
    git(&clock, &["tag", "1.4.0"]);
    fs::write(clock.join("src/broken.erl"), "nonsense").expect("a file");
    commit(&clock, "broken since");
    let tools = repository(&space, "tools", TOOLS);
    let tools_at = git(&tools, &["rev-parse", "HEAD"]);
    let recipe = repository(&space, "recipe", &[("recipe.txt", "bones and water")]);
    let glue_files: Files<'_> = &[
        (
            "mix.exs",
            "defmodule Glue.MixProject do\n  use Mix.Project\n  def project, do: [app: :glue, version: \"1.0.0\"]\nend\n",
        ),
        (
            "lib/glue.ex",
            "defmodule Glue do\n  @external_resource \"recipe/recipe.txt\"\n  @recipe File.read!(\"recipe/recipe.txt\")\n  def recipe, do: \
             @recipe\nend\n",
        ),
    ];
    let glue = repository(&space, "glue", glue_files);
    git(&glue, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url(&recipe), "recipe"]);
    let glue_at = commit(&glue, "with a recipe");

    let lock = format!(
        "%{{\n  \"clock\": {{:git, \"{}\", \"{clock_at}\", [tag: \"1.4.0\"]}},\n  \"glue\": {{:git, \"{}\", \"{glue_at}\", \
         [branch: \"main\", submodules: true]}},\n  \"saw\": {{:git, \"{}\", \"{tools_at}\", [subdir: \"apps/saw\"]}},\n}}\n",
        url(&clock),
        url(&glue),
        url(&tools)
    );
    let mix_exs = workshop(&clock, &tools, &glue);
    let main = "defmodule Workshop do\n  def all, do: {:clock.hands(), Saw.teeth(), Glue.recipe()}\nend\n";
    let at = |place: &str| -> Project {
        let project = project(&space, place, "workshop", &[("mix.exs", &mix_exs), ("lib/workshop.ex", main)]);
        project.write("mix.lock", &lock);
        project.with("GIT_ALLOW_PROTOCOL", "file")
    };
    let ours = at("ours");
    let ran = ours.ran();
    for step in ["fetch clock", "fetch saw", "fetch glue", "compile clock", "compile saw", "compile glue"] {
        assert!(ran.contains(step), "{step}: {ran:?}");
    }
    assert!(!ours.dir.join("deps").exists());
    ours.build().assert_nothing_to_do();
    let release = ours.release("workshop");
    assert!(release.join("lib/clock-1.4.0/ebin/clock.app").is_file(), "the version is that of the tag");

    // What Mix makes of what it fetches.
    let work = space.path("mix");
    support::files::copy(&ours.dir, &work.join("project"));
    for (app, from, at) in
        [("clock", &clock, &clock_at), ("saw", &tools, &tools_at), ("glue", &glue, &glue_at)]
    {
        let to = work.join("project/deps").join(app);
        git(&space.path("repositories"), &["clone", "--quiet", &url(from), &to.display().to_string()]);
        git(&to, &["checkout", "--quiet", at]);
        git(&to, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"]);
    }
    assert_same(&ours, &Mix::new(work.clone(), "project"), "workshop", "0.1.0");

    // A colleague whose repositories are gone.
    let digest = ours.build().digest().to_owned();
    fs::rename(space.path("repositories"), space.path("gone")).expect("moved");
    let theirs = at("theirs");
    let built = theirs.build_with(&["--offline"]);
    assert_eq!((built.executed(), built.digest()), (0, digest.as_str()), "{}", built.json);

    // Somebody for whom Mix has fetched them, with an empty store: they are taken from there, history and all.
    let mut mixed = at("mixed");
    mixed.store = space.path("other-store");
    said(Command::new("cp").arg("-a").arg(work.join("project/deps")).arg(mixed.dir.join("deps")));
    said(Command::new("rm").args(["-rf", &mixed.dir.join("deps/glue").display().to_string()]));
    fs::rename(space.path("gone"), space.path("repositories")).expect("moved back");
    assert_eq!(mixed.build().digest(), digest);
    // What is edited there is what is built, as with Mix.
    mixed.edit("deps/saw/apps/saw/lib/saw.ex", "12", "13");
    let ran = mixed.ran();
    assert!(ran.contains("compile saw") && !ran.contains("compile clock"), "{ran:?}");
    assert_ne!(mixed.build().digest(), digest);
    let clock_erl = "deps/clock/src/clock.erl";
    mixed.edit(clock_erl, "3", "4");
    assert!(
        mixed.build().release().join("lib/clock-1.4.0/ebin").is_dir(),
        "its version is that of the commit still"
    );
    mixed.edit(clock_erl, "4", "3");
    // And what is another commit is not.
    git(&mixed.dir.join("deps/saw"), &["checkout", "--quiet", "--force", "--detach", "HEAD"]);
    fs::write(mixed.dir.join("deps/saw/README"), "other tools\n").expect("a file");
    commit(&mixed.dir.join("deps/saw"), "another commit");
    let said = mixed.ask(&["build"]);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert_told(&said.err, &["deps/saw is the commit", "mix.lock names", "mix deps.get"]);
    assert_eq!(mixed.build().digest(), digest);
}

#[test]
fn commits_and_repositories_that_are_not_there() {
    let space = TestSpace::new();
    let saw = repository(
        &space,
        "saw",
        &[
            (
                "mix.exs",
                "defmodule Saw.MixProject do\n  use Mix.Project\n  def project, do: [app: :saw, version: \"0.1.0\"]\nend\n",
            ),
            ("README", "saw\n"),
        ],
    );
    let commit = git(&saw, &["rev-parse", "HEAD"]);
    let mix_exs = format!(
        "defmodule Shed.MixProject do\n  use Mix.Project\n  def project, do: [app: :shed, version: \"0.1.0\", deps: [{{:saw, git: \
         \"{}\"}}]]\nend\n",
        url(&saw)
    );
    let project = project(&space, "shed", "shed", &[("mix.exs", &mix_exs)]);
    let lock = |url: &str, commit: &str| {
        project.write("mix.lock", &format!("%{{\n  \"saw\": {{:git, \"{url}\", \"{commit}\", []}},\n}}\n"));
    };
    let planned = |project: &Project| {
        let said = project.ask(&["plan", "--all"]);
        assert!(!said.err.contains("panicked") && !said.err.contains("s3cret"), "{}", said.err);
        (said.status, said.err)
    };
    let missing = "0123456789abcdef0123456789abcdef01234567";
    lock(&url(&saw), missing);
    let (status, told) = planned(&project);
    assert_eq!(status, Some(1), "{told}");
    assert_told(
        &told,
        &["there is no commit 0123456789ab", "from which `saw` is locked", "mix deps.update saw"],
    );
    lock("file:///nowhere/at/all", missing);
    let (status, told) = planned(&project);
    assert_eq!(status, Some(1), "{told}");
    assert_told(
        &told,
        &[
            "`saw` cannot be fetched from file:///nowhere/at/all",
            "does not appear to be a git",
            "git ls-remote",
        ],
    );
    lock("http://me:s3cret@127.0.0.1:1/saw.git", missing);
    let (status, told) = planned(&project);
    assert_eq!(status, Some(1), "{told}");
    assert_told(&told, &["`saw` cannot be fetched from http://127.0.0.1:1/saw.git"]);
    let (status, told) = planned(&project.clone().with("HEX_OFFLINE", "true"));
    assert_eq!(status, Some(1), "{told}");
    assert_told(&told, &["`saw` (commit 0123456789ab) is neither in deps/ nor in the store"]);
    lock(&url(&saw), &commit);
    let without = project.clone().with("PATH", &space.bare_path(&["git"]));
    let (status, told) = planned(&without);
    assert_eq!(status, Some(1), "{told}");
    assert_told(&told, &["`saw` comes from a git repository, and git is not in PATH", "install git"]);
    let (status, told) = planned(&project);
    assert_eq!(status, Some(0), "{told}");
}
