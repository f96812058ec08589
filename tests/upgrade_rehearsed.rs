//! `relgraph upgrade --rehearse`: what passes, and what it finds that no comparison of files could.

mod support;

use support::pair::{Pair, application};
use support::project::Project;
use support::{Said, TestSpace};

const SERVER: &str = "defmodule Stage.Server do
  use GenServer
  def start_link(_), do: GenServer.start_link(__MODULE__, 0, name: __MODULE__)
  def next, do: GenServer.call(__MODULE__, :next)
  def init(n), do: {:ok, n}
  def handle_call(:next, _from, n), do: {:reply, n, n + 1}
end
";

fn stage(space: &TestSpace, more: &[(&str, &str)], change: impl FnOnce(&Project)) -> Pair {
    let callback = application("stage", "Stage.Server");
    let mut files = vec![("lib/server.ex", SERVER), ("lib/application.ex", callback.as_str())];
    files.retain(|(path, _)| more.iter().all(|(other, _)| other != path));
    files.extend_from_slice(more);
    Pair::new(space, "stage", &files, change)
}

#[track_caller]
fn fails(pair: &Pair, words: &[&str]) -> Said {
    let asked = pair.ask(&["--rehearse"]);
    assert_eq!(asked.status, Some(1), "{}{}", asked.out, asked.err);
    for word in words {
        assert!(asked.err.contains(word), "no {word:?} in {}", asked.err);
    }
    assert!(!pair.package().exists(), "a package was made nevertheless");
    asked
}

/// Processes of this machine that have this in a variable.
fn with_in_their_environment(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let marked = processes.filter(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environ).contains(text)
    });
    marked.map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default()).collect()
}

#[test]
fn one_that_passes_is_known_afterwards_and_told_by_the_history() {
    let space = TestSpace::cold();
    let pair = stage(&space, &[], |project| project.edit("lib/server.ex", "n + 1", "n + 2"));
    let mark = format!("rehearsed-by-{}", std::process::id());
    let settings = format!(
        "release: stage\nupgrades:\n  layout: hot\n  rehearse:\n    env: {{REHEARSAL_MARK: {mark}}}\n"
    );
    pair.project.write("release.yaml", &settings);
    let asked = pair.project.ask(&["upgrade", "0.1.0", "0.2.0", "--rehearse", "--format", "json"]);
    assert_eq!(asked.status, Some(0), "{}{}", asked.out, asked.err);
    let upgrade: serde_json::Value = serde_json::from_str(&asked.out).expect("JSON");
    let rehearsal = &upgrade["rehearsals"][0];
    assert_eq!((&rehearsal["from"], &rehearsal["to"]), (&"0.1.0".into(), &"0.2.0".into()));
    assert!(
        rehearsal["modules"].as_u64() > Some(300) && rehearsal["processes"].as_u64() > Some(10),
        "{rehearsal}"
    );
    assert!(pair.package().exists());
    let log = pair.project.ask(&["log"]);
    assert!(log.out.contains("upgrade from 0.1.0 rehearsed, and back"), "{}", log.out);
    // No node and no epmd is left of it, and nothing has to be done again.
    assert_eq!(with_in_their_environment(&mark), Vec::<String>::new());
    let again = pair.project.ask(&["upgrade", "0.1.0", "0.2.0", "--rehearse"]);
    assert_eq!(again.status, Some(0), "{}{}", again.out, again.err);
    assert!(!again.err.contains("ran rehearse"), "{}", again.err);
}

#[test]
fn a_configuration_that_depends_on_what_was_there_before_is_found() {
    // A process that writes its own configuration: what stays of it differs from what a boot makes.
    let space = TestSpace::new();
    let pair = stage(&space, &[], |project| {
        project.edit(
            "lib/server.ex",
            "def init(n), do: {:ok, n}",
            "def init(n), do: {Application.put_env(:stage, :made, 1), n}",
        );
    });
    fails(&pair, &["after the upgrade: the configuration stage made is missing"]);
}

#[test]
fn a_process_that_should_go_on_and_does_not_is_named() {
    let space = TestSpace::new();
    let pair = stage(&space, &[], |project| {
        project.edit(
            "lib/server.ex",
            "n + 1}",
            "n + 1}\n  @vsn 2\n  def code_change(_, n, _), do: {:ok, spawn_later(n)}\n  \
             defp spawn_later(n) do\n    me = self()\n    spawn(fn -> Process.sleep(100); Process.exit(me, :kill) end)\n    n\n  end",
        );
    });
    fails(&pair, &["after the upgrade: the process Stage.Server was ended or restarted"]);
}

#[test]
fn a_migration_that_raises_is_found_with_the_process_and_the_reason() {
    let space = TestSpace::new();
    let pair = stage(&space, &[], |project| {
        project.edit(
            "lib/server.ex",
            "n + 1}",
            "n + 1}\n  @vsn 2\n  def code_change(_, n, _), do: raise(\"not #{n}\")",
        );
    });
    fails(&pair, &["the upgrade failed", "Stage.Server", "not 0", "code_change"]);
}

#[test]
fn a_way_back_that_raises_is_found() {
    let space = TestSpace::new();
    let pair = stage(&space, &[], |project| {
        let change = "n + 1}\n  @vsn 2\n  def code_change({:down, _}, _, _), do: raise(\"no way back\")\n  \
                      def code_change(_, n, _), do: {:ok, n}";
        project.edit("lib/server.ex", "n + 1}", change);
    });
    fails(&pair, &["the way back failed", "Stage.Server", "no way back"]);
}

#[test]
fn a_release_that_does_not_boot_is_not_upgraded_to() {
    let space = TestSpace::new();
    let pair = stage(&space, &[], |project| {
        project.write(
            "config/runtime.exs",
            "import Config\nconfig :stage, key: System.fetch_env!(\"STAGE_KEY\")\n",
        );
    });
    fails(&pair, &["0.2.0 ended with status 1 while it started", "STAGE_KEY"]);
    // With what it needs it passes.
    let settings =
        "release: stage\nupgrades:\n  layout: hot\n  rehearse:\n    env:\n      STAGE_KEY: opensesame\n";
    pair.project.write("release.yaml", settings);
    let asked = pair.ask(&["--rehearse"]);
    assert_eq!(asked.status, Some(0), "{}{}", asked.out, asked.err);
}

#[test]
fn a_script_uses_the_node_meanwhile_and_fails_the_rehearsal_where_it_fails() {
    let space = TestSpace::new();
    let pair = stage(&space, &[], |project| project.edit("lib/server.ex", "n + 1", "n + 2"));
    let with = |script: &str| {
        let settings = format!(
            "release: stage\nupgrades:\n  layout: hot\n  rehearse:\n    inputs: [clients/*]\n    run: |\n      {script}\n"
        );
        pair.project.write("release.yaml", &settings);
    };
    pair.project.write(
        "clients/client.sh",
        "while \"$RELEASE_BIN\" rpc 'IO.puts(Stage.Server.next())'; do :; done\n",
    );
    with("exec sh clients/client.sh");
    let asked = pair.ask(&["--rehearse"]);
    assert_eq!(asked.status, Some(0), "{}{}", asked.out, asked.err);
    pair.without_package();
    with("echo before; exit 3");
    let said = fails(&pair, &["the script failed (status 3)"]);
    assert!(said.err.contains("before"), "{}", said.err);
}
