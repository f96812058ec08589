//! Secrets of steps: shown to the step and to nobody else. What is printed shows their names, keys hold a hash with a salt, and
//! what holds a secret is not kept.

mod support;

use std::fs;
use std::io::Read as _;
use std::path::Path;

use support::project::{Project, set};
use support::small::{Files, project};
use support::{TestSpace, ask};

const VALUE: &str = "s3cr3t/T0ken+value";
const OTHER: &str = "an0ther/T0ken+value";
const BASE64: &str = "czNjcjN0L1Qwa2VuK3ZhbHVl";

/// A project of steps of its own.
fn steps(space: &TestSpace, steps: &str) -> Project {
    let release = format!("own\nversion: \"1.0.0\"\nsteps:\n{steps}");
    project(space, "own", &release, &[]).with("TOKEN", VALUE)
}

/// All bytes of the literals of a module, where these are one.
fn literals(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(at) = bytes.windows(4).position(|window| window == b"LitT")
        && let Some(packed) = bytes.get(at + 12..)
    {
        let _ = flate2::read::ZlibDecoder::new(packed).read_to_end(&mut out);
    }
    out
}

/// Asserts that no file below `folder` holds the secret, nor any name.
#[track_caller]
fn assert_nowhere(folder: &Path) {
    assert_eq!(holders(folder), Vec::<String>::new());
}

/// What below `folder` holds the secret.
fn holders(folder: &Path) -> Vec<String> {
    let holds = |bytes: &[u8]| {
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        has(VALUE) || has(BASE64) || has(OTHER)
    };
    let mut folders = vec![folder.to_owned()];
    let (mut files, mut found) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let mut bad = holds(path.as_os_str().as_encoded_bytes());
            if path.is_symlink() {
                let target = fs::read_link(&path).expect("a link");
                bad |= holds(target.as_os_str().as_encoded_bytes());
            } else if path.is_dir() {
                folders.push(path.clone());
            } else if let Ok(bytes) = fs::read(&path) {
                files += 1;
                bad |= holds(&bytes) || holds(&literals(&bytes));
            }
            found.extend(bad.then(|| path.display().to_string()));
        }
    }
    assert!(files > 0, "there is nothing in {}", folder.display());
    found
}

/// Neither in the store, nor in what a build leaves beside the sources.
#[track_caller]
fn assert_kept_secret(project: &Project) {
    assert_nowhere(&project.store);
    let built = project.dir.join("_build");
    if built.exists() {
        assert_nowhere(&built);
    }
}

#[test]
fn what_a_step_prints_shows_the_name() {
    let space = TestSpace::cold();
    let script = r#"
  use:
    run: |
      echo "raw $TOKEN end"
      printf %s "user:$TOKEN" | base64
      printf %s "$TOKEN" | od -An -tx1 | tr -d ' \n'; echo
      printf 'cut s3cr3t/T0'; sleep 0.2; printf 'ken+value end\n' >&1
      echo "error $TOKEN" >&2
      printf %s "$TOKEN" | wc -c > length
    outputs: [length]
    secrets: [TOKEN]
"#;
    let own = steps(&space, script);
    let built = own.build();
    assert_eq!(fs::read_to_string(built.release().join("length")).expect("a file").trim(), "18");
    assert_kept_secret(&own);
    own.build().assert_nothing_to_do();

    // When it fails, what it printed is shown, and is in the history.
    own.edit("release.yaml", "echo \"error $TOKEN\" >&2", "echo \"error $TOKEN\" >&2; exit 3");
    for format in ["text", "json"] {
        let said = own.ask(&["build", "--format", format]);
        assert_eq!(said.status, Some(1), "{}", said.err);
        for line in ["raw [secret TOKEN] end", "cut [secret TOKEN] end", "error [secret TOKEN]"] {
            assert!(said.err.contains(line), "{line}: {}", said.err);
        }
        assert_eq!(said.err.matches("[secret TOKEN]").count(), 5, "{}", said.err);
        assert!(!said.out.contains(VALUE) && !said.err.contains(VALUE) && !said.err.contains("3t/T0"));
    }
    let log = own.ask(&["log"]);
    let run = log.out.split_whitespace().next().expect("a run").to_owned();
    let log = own.ask(&["log", &run, "--format", "json"]);
    assert!(!log.out.contains(VALUE), "{}", log.out);
    assert_kept_secret(&own);
}

#[test]
fn the_value_counts_by_a_hash_with_a_salt() {
    let space = TestSpace::cold();
    let script = "  use:\n    run: printf %s \"$TOKEN\" | wc -c > length\n    outputs: [length]\n    secrets: [TOKEN]\n";
    let own = steps(&space, script);
    assert_eq!(own.ran(), set(&["use", "assemble"]));
    own.build().assert_nothing_to_do();

    let other = own.clone().with("TOKEN", OTHER);
    assert_eq!(other.ran(), set(&["use", "assemble"]));
    let why = own.ask(&["why", "use"]);
    assert!(why.out.contains("TOKEN") && !why.out.contains(VALUE), "{}{}", why.out, why.err);
    assert!(own.ran().is_empty(), "it was made before");

    // Another checkout on this machine has the same salt; who has another salt, or another store, knows nothing of it.
    let beside = Project { dir: space.path("beside"), ..own.clone() };
    beside.write("release.yaml", &own.read("release.yaml"));
    assert_eq!(beside.ran(), set(&[]));
    let team = own.clone().with("RELGRAPH_SECRET_SALT", "a salt that a team shares");
    assert_eq!(team.ran(), set(&["use"]));
    team.build().assert_nothing_to_do();
    assert_eq!(own.ran(), set(&[]));
    let short = own.clone().with("RELGRAPH_SECRET_SALT", "too short").refused(2);
    assert!(short.contains("fewer than 16 bytes"), "{short}");

    // With one salt, two stores agree on keys.
    let elsewhere = Project { store: space.path("another store"), ..team.clone() };
    let digests = |project: &Project| {
        let plan = project.ask(&["why", "use", "--format", "json"]);
        plan.out
    };
    elsewhere.build();
    let keys = |store: &Path| {
        let mut names = Vec::new();
        for shard in fs::read_dir(store.join("ac/parts")).expect("records") {
            let shard = shard.expect("a shard").path();
            names.extend(fs::read_dir(shard).expect("records").map(|e| e.expect("a record").file_name()));
        }
        names
    };
    let known = keys(&own.store);
    assert!(keys(&elsewhere.store).iter().all(|key| known.contains(key)), "{}", digests(&elsewhere));
    assert_kept_secret(&own);
    assert_kept_secret(&elsewhere);
}

#[test]
fn a_value_that_is_in_no_key_may_change_or_be_missing() {
    let space = TestSpace::cold();
    let script = "  use:\n    run: test -n \"$TOKEN\"; echo done > done\n    outputs: [done]\n    secrets:\n      TOKEN: {key: false}\n";
    let own = steps(&space, script);
    assert_eq!(own.ran(), set(&["use", "assemble"]));
    own.build().assert_nothing_to_do();
    own.clone().with("TOKEN", OTHER).build().assert_nothing_to_do();
    let without = Project { env: Vec::new(), ..own.clone() };
    without.build().assert_nothing_to_do();
    let beside = Project { dir: space.path("beside"), ..without.clone() };
    beside.write("release.yaml", &own.read("release.yaml"));
    assert_eq!(beside.ran(), set(&[]));
    // Who has to run it needs it.
    without.edit("release.yaml", "echo done", "echo done again");
    let error = without.refused(1);
    assert!(error.contains("`use`") && error.contains("TOKEN, which is not set"), "{error}");
    assert_eq!(own.ran(), set(&["use", "assemble"]));
}

#[test]
fn what_holds_a_secret_is_not_kept() {
    let space = TestSpace::cold();
    for (script, place) in [
        ("printf 'a\\nb\\n%s\\n' \"$TOKEN\" > made/file", "secret TOKEN is in made/file, line 3"),
        ("printf %s \"$TOKEN\" | base64 > made/file", "made/file, line 1"),
        ("ln -s \"/$TOKEN\" made/link", "where the link made/link leads"),
        ("mkdir -p \"made/$TOKEN\"; touch \"made/$TOKEN/x\"", "the name of a file"),
        ("printf '%s\\n' \"$TOKEN\" | gzip > made/file.gz", "made/file.gz, compressed, at byte 0"),
    ] {
        let script =
            format!("  leak:\n    run: mkdir made; {script}\n    outputs: [made]\n    secrets: [TOKEN]\n");
        // A name with a slash in it is none.
        let value = VALUE.replace('/', "_");
        let own = steps(&space, &script);
        let own = if place.starts_with("the name") { own.with("TOKEN", &value) } else { own };
        let error = own.refused(1);
        assert!(error.contains(place), "{script}\n{error}");
        assert!(error.contains("config/runtime.exs"), "{error}");
        assert!(!error.contains(VALUE) && !error.contains(&value), "{error}");
        assert_kept_secret(&own);
        assert!(!own.release("own").exists());
        let found = ask(std::process::Command::new("grep").args(["-rl", "-e", &value]).arg(&own.store));
        assert_eq!(found.out, "", "{script}");
        assert!(own.ask(&["cache", "verify"]).out.starts_with("sound"));
    }
}

#[test]
fn a_secret_that_is_missing_or_no_secret_is_said_at_its_place() {
    let space = TestSpace::cold();
    let script = "  use:\n    run: \"true\"\n    secrets: [TOKEN]\n";
    let own = Project { env: Vec::new(), ..steps(&space, script) };
    let error = own.refused(2);
    assert!(error.contains("the secret TOKEN is not set, and goes to step `use`"), "{error}");
    assert!(error.contains("release.yaml:6:15") && error.contains("key: false"), "{error}");
    let error = own.clone().with("TOKEN", "short").refused(2);
    assert!(error.contains("fewer than 8 bytes") && !error.contains("short\n"), "{error}");
    assert_eq!(own.ask(&["plan"]).status, Some(2));
    own.edit("release.yaml", "steps:", "pass_env: [TOKEN]\nsteps:");
    let error = own.with("TOKEN", VALUE).refused(2);
    assert!(error.contains("TOKEN is a secret and a variable like others"), "{error}");
}

const MIX: Files<'_> = &[
    (
        "mix.exs",
        "defmodule Reads.MixProject do\n  use Mix.Project\n\n  def project do\n    [app: :reads, version: \"0.1.0\", \
         elixir: \"~> 1.14\", deps: []]\n  end\n\n  def application, do: [extra_applications: [:logger]]\nend\n",
    ),
    (
        "lib/reads.ex",
        "defmodule Reads do\n  @length byte_size(System.get_env(\"TOKEN\") || \"\")\n  IO.puts(\"it is \
         #{System.get_env(\"TOKEN\")}\")\n  def length, do: @length\nend\n",
    ),
    ("lib/other.ex", "defmodule Other do\n  def one, do: 1\nend\n"),
];

#[test]
fn an_application_may_read_a_secret_while_it_is_compiled() {
    let space = TestSpace::cold();
    let own = project(&space, "reads", "reads\nsecrets: [TOKEN]", MIX).with("TOKEN", VALUE);
    let eval = |project: &Project| {
        let said = project.ask(&["run", "--", "eval", "IO.puts(Reads.length())"]);
        assert_eq!(said.status, Some(0), "{}", said.err);
        said.out.trim().to_owned()
    };
    own.build();
    assert_eq!(eval(&own), "18");
    own.build().assert_nothing_to_do();
    assert_kept_secret(&own);

    let other = own.clone().with("TOKEN", OTHER);
    let ran = other.ran();
    assert!(ran.contains("compile reads") && !ran.contains("include runtime"), "{ran:?}");
    assert_eq!(eval(&other), "19");
    assert_eq!(own.ran(), set(&[]), "it was made before");
    assert_eq!(eval(&own), "18");

    // Into a module, where literals are compressed.
    own.edit(
        "lib/reads.ex",
        "def length, do: @length",
        "def length, do: @length\n  @token System.get_env(\"TOKEN\")\n  def token, do: {@token, @length}",
    );
    let error = own.refused(1);
    assert!(error.contains("`compile reads`") && error.contains("ebin/Elixir.Reads.beam, "), "{error}");
    assert!(!error.contains(VALUE), "{error}");
    assert_kept_secret(&own);
    assert_eq!(eval(&own), "18", "the last good release stays");

    // Into what a failing step says.
    own.edit("lib/reads.ex", "{@token, @length}", "raise(\"no \" <> @token)");
    own.edit(
        "lib/reads.ex",
        "defmodule Reads do",
        "raise \"no #{System.get_env(\"TOKEN\")}\"\ndefmodule Reads do",
    );
    let error = own.refused(1);
    assert!(error.contains("no [secret TOKEN]") && !error.contains(VALUE), "{error}");
    own.edit("lib/reads.ex", "raise \"no #{System.get_env(\"TOKEN\")}\"\n", "");
    own.edit("lib/reads.ex", "raise(\"no \" <> @token)", "{@token, @length}");

    // Into the configuration.
    own.edit("lib/reads.ex", "{@token, @length}", "@length");
    own.edit("lib/reads.ex", "  @token System.get_env(\"TOKEN\")\n", "");
    own.write("config/config.exs", "import Config\nconfig :reads, token: System.get_env(\"TOKEN\")\n");
    let error = own.refused(1);
    assert!(error.contains("`config`") && error.contains("secret TOKEN is in "), "{error}");
    assert_kept_secret(&own);
    // Who wants it there says that it is no secret. (And this test finds what it looks for.)
    let open = space.path("open");
    let open = Project { dir: open.clone(), store: open.join("store"), ..own.clone() };
    for (path, text) in MIX {
        open.write(path, text);
    }
    open.write(
        "lib/other.ex",
        "defmodule Other do\n  @token System.get_env(\"TOKEN\")\n  def one, do: {1, @token}\nend\n",
    );
    open.write("release.yaml", "release: reads\npass_env: [TOKEN]\n");
    open.build();
    assert!(!holders(&open.store).is_empty());
    // As it is meant.
    own.write("config/runtime.exs", "import Config\nconfig :reads, token: System.get_env(\"TOKEN\")\n");
    fs::remove_file(own.dir.join("config/config.exs")).expect("removed");
    own.build();
    assert_kept_secret(&own);
}

#[test]
fn who_is_not_given_it_does_not_see_it() {
    let space = TestSpace::cold();
    let release = "reads\nsteps:\n  use:\n    run: test ${#TOKEN} = 18; echo yes > yes\n    outputs: [yes]\n    secrets: [TOKEN]\n  not:\n    run: test -z \"${TOKEN:-}\"; echo no > no\n    outputs: [no]";
    let own = project(&space, "reads", release, MIX).with("TOKEN", VALUE);
    own.build();
    let said = own.ask(&["run", "--", "eval", "IO.puts(Reads.length())"]);
    assert_eq!(said.out.trim(), "0", "{}", said.err);
    let moved = own.clone().with("TOKEN", "an0ther/T0ken+valu").ran();
    assert!(moved.contains("use") && !moved.contains("compile reads") && !moved.contains("not"), "{moved:?}");
    let error = own.clone().with("TOKEN", OTHER).refused(1);
    assert!(error.contains("`use`") && !error.contains("`not`"), "{error}");
    assert_kept_secret(&own);
}
