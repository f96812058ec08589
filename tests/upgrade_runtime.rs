//! Releases that are moved to another version while they run, by the commands of their scripts.

mod support;

use std::fs;

use support::node::Node;
use support::upgrade::{Upgrade, sequence_appup, text};
use support::{Said, TestSpace, files, said, unprivileged, wait_until};

const SERVES: &str = "is_pid(Process.whereis(Sequence.Server))";

/// What must not change where an upgrade is called off: processes, the number, what modules do, and the environment.
const STATE: &str = "IO.inspect {Process.whereis(Sequence.Server), Process.whereis(Sequence.Stash), :sys.get_state(Sequence.Server), \
    Sequence.Stash.get(), Sequence.Label.label(1), Enum.sort(:application.get_all_env(:sequence)), :code.is_loaded(Sequence.Server), \
    Code.ensure_loaded?(Sequence.Label.List), Application.spec(:sequence, :vsn), :code.get_path() |> Enum.sort() |> :erlang.phash2()}, limit: :infinity";

#[track_caller]
fn refused(said: &Said, words: &[&str]) {
    assert_eq!((said.status, said.out.as_str()), (Some(1), ""), "{said:?}");
    for word in words {
        assert!(said.err.contains(word), "no {word:?} in {}", said.err);
    }
}

/// An upgrade fails, and nothing has changed.
#[track_caller]
fn called_off(node: &Node, upgrade: &Upgrade, words: &[&str]) {
    let before = node.rpc(STATE);
    refused(&node.ask(&["upgrade", upgrade.package()]), words);
    assert_eq!(node.rpc(STATE), before);
    assert_eq!(node.rpc("IO.inspect Enum.map([Sequence.Server, Sequence.Stash, Sequence.Supervisor], &elem(:sys.get_status(&1), 3) |> Enum.at(1))"), "[:running, :running, :running]");
    let releases = node.says(&["releases"]);
    assert!(releases.contains("0.1.0 permanent"), "{releases}");
    assert!(!releases.contains("current"), "{releases}");
    let left: Vec<_> = fs::read_dir(upgrade.release.join("releases"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().into_string().expect("a name"))
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "nothing stays");
}

#[test]
fn a_release_goes_up_and_down_under_load_and_stays_there() {
    let space = TestSpace::new();
    let upgrade = Upgrade::sequence(&space, |_| {}, &sequence_appup("", ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    assert_eq!(node.says(&["releases"]), "sequence 0.1.0 permanent");
    let pid = node.rpc("IO.inspect Process.whereis(Sequence.Server)");
    // Every call is answered, and each number comes once.
    node.rpc(
        "pid = spawn(fn -> f = fn f, n -> receive do {:stop, to} -> send(to, {:called, n}) after 0 -> Sequence.next(); f.(f, n + 1) end end; f.(f, 0) end); \
         Process.register(pid, :client)",
    );
    let count = "send(:client, {:stop, self()}); receive do {:called, n} -> IO.inspect Sequence.next() == 40 + n after 5000 -> IO.puts(\"gone\") end";
    let up = node.says(&["upgrade", upgrade.package()]);
    assert!(up.starts_with("sequence 0.1.0 -> 0.2.0: 6 modules, 1 process migrated, "), "{up}");
    assert!(up.contains(" ms; permanent"), "{up}");
    assert_eq!(node.rpc(count), "true");
    assert_eq!(node.says(&["releases"]), "sequence 0.2.0 permanent\nsequence 0.1.0 old");
    assert_eq!(node.rpc("IO.inspect Process.whereis(Sequence.Server)"), pid);
    assert_eq!(
        node.rpc(
            "IO.inspect {Application.get_env(:sequence, :keep), Application.get_env(:sequence, :start)}"
        ),
        "{10, 40}"
    );
    assert_eq!(
        node.rpc(
            "IO.inspect Sequence.recent_label() == Enum.map_join(Sequence.recent(), \", \", &\"##{&1}\")"
        ),
        "true"
    );
    assert_eq!(node.says(&["upgrade", "0.2.0"]), "sequence 0.2.0 runs already and is permanent");
    node.stop();

    node.daemon(SERVES);
    assert_eq!(
        node.rpc("IO.inspect {Sequence.next(), Sequence.recent()}"),
        "{40, ~c\"(\"}".replace("~c\"(\"", "'('")
    );
    assert_eq!(node.says(&["version"]), "sequence 0.2.0");
    let down = node.says(&["downgrade", "0.1.0"]);
    assert!(down.starts_with("sequence 0.2.0 -> 0.1.0: 6 modules, 1 process migrated, "), "{down}");
    assert_eq!(
        node.rpc(
            "IO.inspect {Sequence.next(), function_exported?(Sequence, :recent, 0), Sequence.Label.label(1)}"
        ),
        "{41, false, \"number 1\"}"
    );
    assert_eq!(node.rpc("IO.inspect Application.fetch_env(:sequence, :keep)"), ":error");

    let installed = node.says(&["install", "0.2.0"]);
    assert!(installed.ends_with("; not permanent: a restart brings back 0.1.0"), "{installed}");
    refused(&node.ask(&["remove", "0.2.0"]), &["0.2.0 is current and cannot be removed"]);
    node.stop();
    node.daemon(SERVES);
    assert_eq!(node.says(&["releases"]), "sequence 0.2.0 old\nsequence 0.1.0 permanent");
    node.says(&["install", "0.2.0"]);
    assert_eq!(node.says(&["commit"]), "sequence 0.2.0 is permanent");
    assert_eq!(node.says(&["remove", "0.1.0"]), "sequence 0.1.0 is removed, with 2 applications");
    assert!(
        !upgrade.release.join("lib/sequence-0.1.0").exists()
            && !upgrade.release.join("releases/0.1.0").exists()
    );
    assert!(
        upgrade.release.join("lib/sequence-0.2.0").exists()
            && upgrade.release.join("lib/kernel-8.5.3").parent().is_some()
    );
    refused(&node.ask(&["downgrade", "0.1.0"]), &["there is no version 0.1.0 here (there are: 0.2.0)"]);
    node.stop();
}

#[test]
fn a_migration_that_raises_changes_nothing() {
    let space = TestSpace::new();
    let raises = |project: &support::project::Project| {
        project.edit(
            "lib/sequence/server.ex",
            "do: {:ok, {number, step, []}}",
            "do: raise(\"no room for #{number} and #{step}\")",
        );
    };
    let upgrade = Upgrade::sequence(&space, raises, &sequence_appup("", ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    node.rpc("Sequence.next()");
    let words = ["Sequence.Server:code_change(", "RuntimeError: no room for 4", "0.1.0 goes on as before"];
    called_off(&node, &upgrade, &words);
    assert_eq!(node.rpc("IO.puts Sequence.next()"), "41");
    // The second attempt finds the system as the first did.
    called_off(&node, &upgrade, &words);
    node.stop();
}

#[test]
fn what_fails_late_is_undone_with_what_happened_meanwhile() {
    let space = TestSpace::new();
    // The server goes on with its new state, hands out a number, and then a call of the script fails.
    let up = ",{apply,{'Elixir.Sequence',next,[]}},{apply,{erlang,error,[too_late]}}";
    let upgrade = Upgrade::sequence(&space, |_| {}, &sequence_appup(up, ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    node.rpc("Sequence.next()");
    let pid = node.rpc("IO.inspect Process.whereis(Sequence.Server)");
    refused(&node.ask(&["upgrade", upgrade.package()]), &["too_late", "0.1.0 goes on as before"]);
    assert_eq!(node.rpc("IO.inspect {:sys.get_state(Sequence.Server), Sequence.next()}"), "{{42, 1}, 42}");
    assert_eq!(node.rpc("IO.inspect Process.whereis(Sequence.Server)"), pid);
    node.stop();
}

#[test]
fn a_configuration_that_cannot_be_evaluated_changes_nothing() {
    let space = TestSpace::new();
    let fails = |project: &support::project::Project| {
        project
            .append("config/runtime.exs", "config :sequence, secret: System.fetch_env!(\"SEQUENCE_SECRET\")");
    };
    let upgrade = Upgrade::sequence(&space, fails, &sequence_appup("", ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    called_off(&node, &upgrade, &["SEQUENCE_SECRET", "the configuration of 0.2.0 could not be evaluated"]);
    node.stop();
    let node = node.with("SEQUENCE_SECRET", "s3cret");
    node.daemon(SERVES);
    node.says(&["upgrade", "0.2.0"]);
    assert_eq!(node.rpc("IO.puts Application.get_env(:sequence, :secret)"), "s3cret");
    node.stop();
}

#[test]
fn a_process_that_does_not_answer_calls_the_upgrade_off() {
    let space = TestSpace::new();
    let upgrade = Upgrade::sequence(&space, |_| {}, &sequence_appup("", ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    node.rpc("spawn(fn -> :sys.replace_state(Sequence.Server, fn s -> receive do :go -> s end end, :infinity) end)");
    refused(
        &node.ask(&["upgrade", upgrade.package()]),
        &["Sequence.Server", "does not answer within 5000 ms", "0.1.0 goes on as before"],
    );
    node.rpc("send(Sequence.Server, :go)");
    assert_eq!(node.rpc("IO.puts Sequence.next()"), "40");
    let up = node.says(&["upgrade", "0.2.0"]);
    assert!(up.contains("1 process migrated"), "{up}");
    node.stop();
}

#[test]
fn applications_are_told_once_of_values_that_changed() {
    let space = TestSpace::new();
    let told = |project: &support::project::Project| {
        project.edit(
            "lib/sequence/application.ex",
            "  @impl true\n  def start(",
            "  @impl true\n  def config_change(changed, new, removed) do\n    told = :persistent_term.get(:told, [])\n    :persistent_term.put(:told, [{changed, new, removed} | told])\n  end\n\n  @impl true\n  def start(",
        );
        project.edit("config/config.exs", "step: 1", "step: 2");
    };
    let upgrade = Upgrade::sequence(&space, told, &sequence_appup("", ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    node.says(&["upgrade", upgrade.package()]);
    assert_eq!(node.rpc("IO.inspect :persistent_term.get(:told, [])"), "[{[step: 2], [keep: 10], []}]");
    node.stop();
}

#[test]
fn one_upgrade_at_a_time() {
    let space = TestSpace::new();
    let slow = |project: &support::project::Project| {
        let wait = "Enum.find(Stream.repeatedly(fn -> Process.sleep(50) end), fn _ -> not File.exists?(System.fetch_env!(\"GATE\")) end)";
        project.append("config/runtime.exs", wait);
    };
    let upgrade = Upgrade::sequence(&space, slow, &sequence_appup("", ""));
    let gate = space.path("gate");
    fs::write(&gate, "").expect("a file");
    let node = upgrade.node(&space).with("GATE", text(&gate));
    node.daemon(SERVES);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| node.ask(&["upgrade", upgrade.package()]));
        wait_until("the first has begun", || {
            node.rpc("IO.puts is_pid(Process.whereis(:relgraph_upgrade))") == "true"
        });
        refused(&node.ask(&["upgrade", upgrade.package()]), &["another command changes the versions"]);
        fs::remove_file(&gate).expect("removed");
        let first = first.join().expect("it ended");
        assert_eq!(first.status, Some(0), "{first:?}");
    });
    assert!(node.says(&["releases"]).contains("0.2.0 permanent"));
    node.stop();
}

#[test]
fn children_of_a_supervisor_become_those_of_the_new_version() {
    let space = TestSpace::new();
    let more = |project: &support::project::Project| {
        project.edit(
            "lib/sequence/application.ex",
            "      {Sequence.Stash, Application.fetch_env!(:sequence, :start)},\n",
            "      {Agent, fn -> :first end},\n      {Sequence.Stash, Application.fetch_env!(:sequence, :start)},\n",
        );
        project.edit(
            "lib/sequence/application.ex",
            "strategy: :rest_for_one",
            "strategy: :one_for_all, max_restarts: 7",
        );
    };
    let stash = "{tuple,[{term,'Elixir.Sequence.Stash'},{call,'Elixir.Application','fetch_env!',[{term,sequence},{term,start}]}]}";
    let server = "{tuple,[{term,'Elixir.Sequence.Server'},{call,'Elixir.Application','fetch_env!',[{term,sequence},{term,step}]}]}";
    let agent = "{tuple,[{term,'Elixir.Agent'},{function,'Elixir.Sequence.Label.List',first,0}]}";
    let flags =
        |strategy: &str| format!("{{term,[{{strategy,{strategy}}},{{name,'Elixir.Sequence.Supervisor'}}]}}");
    let up = format!(
        ",{{apply,{{relgraph_upgrade,children,[#{{supervisor => {{application,sequence}}, children => {{list,[{agent},{stash},{server}]}}, flags => {{term,[{{strategy,one_for_all}},{{max_restarts,7}}]}}, start => ['Elixir.Agent'], stop => []}}]}}}}"
    );
    let down = format!(
        "{{apply,{{relgraph_upgrade,children,[#{{supervisor => 'Elixir.Sequence.Supervisor', children => {{list,[{stash},{server}]}}, flags => {}, stop => ['Elixir.Agent']}}]}}}},",
        flags("rest_for_one")
    );
    let with_first = |project: &support::project::Project| {
        more(project);
        // OTP's release handler alone knows no runtime.exs.
        project.edit("config/config.exs", "step: 1", "step: 1, start: 40");
        project.edit(
            "lib/sequence/label.ex",
            "  def label([]), do: \"none\"",
            "  def first, do: :first\n  def label([]), do: \"none\"",
        );
    };
    let upgrade = Upgrade::sequence(&space, with_first, &sequence_appup(&up, &down));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    node.rpc("Sequence.next()");
    let shape = "IO.puts inspect({Enum.map(Supervisor.which_children(Sequence.Supervisor), fn {id, pid, _, _} -> {id, is_pid(pid)} end), elem(:sys.get_state(Sequence.Supervisor), 2), elem(:sys.get_state(Sequence.Supervisor), 5)}, width: :infinity)";
    let pids =
        "IO.inspect Enum.map([Sequence.Server, Sequence.Stash, Sequence.Supervisor], &Process.whereis/1)";
    let (before, old_pids) = (node.rpc(shape), node.rpc(pids));
    node.says(&["upgrade", upgrade.package()]);
    let changed = "{[{Sequence.Server, true}, {Sequence.Stash, true}, {Agent, true}], :one_for_all, 7}";
    assert_eq!(node.rpc(shape), changed);
    assert_eq!(node.rpc(pids), old_pids);
    assert_eq!(node.rpc("IO.puts Sequence.next()"), "41");
    node.says(&["downgrade", "0.1.0"]);
    assert_eq!((node.rpc(shape), node.rpc(pids)), (before.clone(), old_pids.clone()));

    // OTP's release handler alone runs the same script.
    let load = "Path.wildcard(Path.join([:code.root_dir(), \"releases/0.2.0/relgraph_upgrade*.beam\"])) |> Enum.each(&(:code.load_abs(String.to_charlist(Path.rootname(&1)))))";
    let install = "IO.inspect :release_handler.install_release('0.2.0', [])";
    node.stop();
    node.daemon(SERVES);
    node.rpc("Sequence.next()");
    assert_eq!(node.rpc(&format!("{load}; {install}")), "{:ok, '0.1.0', []}");
    assert_eq!(node.rpc(shape), changed);
    node.stop();

    // The same, and then something fails: the children are as they were.
    let fails = format!("{up},{{apply,{{erlang,error,[after_children]}}}}");
    let space = TestSpace::new();
    let upgrade = Upgrade::sequence(&space, with_first, &sequence_appup(&fails, ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    let old_pids = node.rpc(pids);
    called_off(&node, &upgrade, &["after_children"]);
    assert_eq!((node.rpc(shape), node.rpc(pids)), (before, old_pids));
    node.stop();
}

#[test]
fn packages_that_are_none_and_versions_that_are_not_there_are_refused() {
    let space = TestSpace::new();
    let upgrade = Upgrade::sequence(&space, |_| {}, &sequence_appup("", ""));
    let node = upgrade.node(&space);
    let stopped = upgrade.node(&space).with("RELEASE_COOKIE", "c");
    refused(&stopped.ask(&["upgrade", upgrade.package()]), &["does not answer: it is not running"]);
    node.daemon(SERVES);
    let package = space.path("old/_build/relgraph/prod/sequence-0.1.0.tar.gz");
    refused(&node.ask(&["upgrade", text(&package)]), &["no upgrade package", "relgraph upgrade"]);
    let text_file = space.path("text.tar.gz");
    fs::write(&text_file, "no archive").expect("a file");
    refused(&node.ask(&["upgrade", text(&text_file)]), &["text.tar.gz cannot be read"]);
    refused(&node.ask(&["upgrade", "0.9.0"]), &["there is no 0.9.0"]);
    refused(&node.ask(&["downgrade", "0.9.0"]), &["there is no version 0.9.0 here (there are: 0.1.0)"]);
    refused(&node.ask(&["remove", "0.1.0"]), &["0.1.0 is permanent and cannot be removed"]);
    refused(&node.ask(&["upgrade"]), &["usage: upgrade FILE|VERSION"]);
    assert_eq!(node.says(&["unpack", upgrade.package()]), "sequence 0.2.0 is unpacked");
    assert_eq!(node.says(&["unpack", upgrade.package()]), "sequence 0.2.0 is unpacked");
    fs::remove_file(upgrade.release.join("releases/0.2.0/relup")).expect("removed");
    refused(&node.ask(&["upgrade", "0.2.0"]), &["nothing says how to get from 0.1.0 to 0.2.0"]);
    assert_eq!(node.says(&["remove", "0.2.0"]), "sequence 0.2.0 is removed, with 2 applications");
    // As Distillery's users have it.
    fs::create_dir_all(upgrade.release.join("releases/0.2.0")).expect("a folder");
    fs::copy(&upgrade.package, upgrade.release.join("releases/0.2.0/sequence.tar.gz")).expect("copied");
    let up = node.says(&["upgrade", "0.2.0"]);
    assert!(up.contains("permanent"), "{up}");
    node.stop();
}

#[test]
fn who_still_runs_the_code_from_before_goes_on_and_is_named() {
    let space = TestSpace::new();
    let (old, new) = (space.sequence("old"), space.example("sequence-0.2.0", "new"));
    for project in [&old, &new] {
        project.edit(
            "lib/sequence.ex",
            "  @doc \"\"\"\n  The next number.\n",
            "  def wait, do: receive(do: (:stop -> :ok))\n\n  @doc \"\"\"\n  The next number.\n",
        );
    }
    let upgrade = Upgrade::new(&space, &old, &new, "sequence", "sequence", &sequence_appup("", ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    node.rpc("Process.register(spawn(Sequence, :wait, []), :waiter)");
    let up = node.says(&["upgrade", upgrade.package()]);
    assert!(up.ends_with("\nSequence: waiter still runs the code from before"), "{up}");
    assert_eq!(node.rpc("IO.puts Sequence.next(); IO.puts Sequence.recent_label()"), "40\n#40");
    let refusal = "Sequence cannot be replaced: waiter still runs the code from before the last upgrade";
    refused(&node.ask(&["downgrade", "0.1.0"]), &[refusal]);
    assert_eq!(
        node.rpc("IO.inspect {:sys.get_state(Sequence.Server), Process.alive?(Process.whereis(:waiter))}"),
        "{{41, 1, '('}, true}"
    );
    node.rpc("send(:waiter, :stop)");
    node.says(&["downgrade", "0.1.0"]);
    assert_eq!(node.rpc("IO.puts Sequence.next_label()"), "number 41");
    node.stop();
}

#[test]
fn a_module_that_cannot_be_loaded_changes_nothing() {
    let space = TestSpace::new();
    let fails = |project: &support::project::Project| {
        project.edit(
            "lib/sequence.ex",
            "  alias Sequence.{Label, Server}\n",
            "  alias Sequence.{Label, Server}\n\n  @on_load :load\n  def load, do: if(System.get_env(\"NO_LIBRARY\"), do: :no_library, else: :ok)\n",
        );
    };
    let upgrade = Upgrade::sequence(&space, fails, &sequence_appup("", ""));
    let node = upgrade.node(&space).with("NO_LIBRARY", "1");
    node.daemon(SERVES);
    node.rpc("Sequence.next()");
    called_off(&node, &upgrade, &["Sequence could not be loaded: on_load_failure"]);
    assert_eq!(node.rpc("IO.puts Sequence.next_label()"), "number 41");
    node.stop();
}

/// A system that boots a second time with what its providers made goes up, and is restarted without ending its process.
fn restarted(reboots: bool) {
    let space = TestSpace::new();
    let (old, new) = (space.sequence("old"), space.example("sequence-0.2.0", "new"));
    for project in [&old, &new] {
        if reboots {
            let releases = "deps: [], releases: [sequence: [reboot_system_after_config: true]]";
            project.edit("mix.exs", "deps: []", releases);
            project.append("config/runtime.exs", "config :kernel, of_runtime: 1");
        }
    }
    let upgrade = Upgrade::new(&space, &old, &new, "sequence", "sequence", &sequence_appup("", ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    node.says(&["upgrade", upgrade.package()]);
    let values = "IO.inspect {Application.get_env(:kernel, :of_runtime), Application.get_env(:elixir, :config_provider_booted), Application.get_env(:sequence, :start)}";
    assert_eq!(node.rpc("IO.puts Sequence.next()"), "40");
    let of_now = node.rpc(values);
    assert_eq!(of_now, if reboots { "{1, {:booted, nil}, 40}" } else { "{nil, nil, 40}" });
    let pid = node.rpc("IO.inspect Process.whereis(Sequence.Server)");
    node.says(&["restart"]);
    wait_until("the system began anew", || {
        let said = node.ask(&["rpc", "IO.inspect Process.whereis(Sequence.Server)"]);
        said.status == Some(0) && said.out.starts_with("#PID") && said.out.trim() != pid
    });
    assert_eq!(node.rpc("IO.puts Sequence.next(); IO.puts Sequence.recent_label()"), "40\n#40");
    assert_eq!(node.rpc(values), of_now);
    node.stop();
}

#[test]
fn a_restart_is_one_of_the_version_that_was_made_permanent() {
    restarted(false);
}

#[test]
fn a_system_that_boots_twice_keeps_its_configuration() {
    restarted(true);
}

#[test]
fn another_runtime_takes_effect_at_the_next_start() {
    let space = TestSpace::new();
    let appup = "{\"0.2.0\",[{\"0.1.0\",[restart_new_emulator]}],[{\"0.1.0\",[restart_emulator]}]}.\n";
    let upgrade = Upgrade::sequence(&space, |_| {}, appup);
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    node.says(&["unpack", upgrade.package()]);
    refused(&node.ask(&["install", "0.2.0"]), &["the system has to be restarted"]);
    let said = node.says(&["upgrade", "0.2.0"]);
    assert!(said.contains("takes effect at the next start"), "{said}");
    assert_eq!(node.rpc("IO.inspect {Sequence.next(), Sequence.Label.label(1)}"), "{40, \"number 1\"}");
    assert_eq!(node.says(&["releases"]), "sequence 0.2.0 permanent\nsequence 0.1.0 current");
    // Thought better of, and then not.
    assert_eq!(node.says(&["downgrade", "0.1.0"]), "sequence 0.1.0 is permanent");
    assert_eq!(node.says(&["version"]), "sequence 0.1.0");
    let said = node.says(&["upgrade", "0.2.0", "--restart"]);
    assert!(said.contains("heart does not watch this system: stop it and start it again"), "{said}");
    node.stop();
    node.daemon(SERVES);
    assert_eq!(node.rpc("IO.inspect {Sequence.next(), Sequence.Label.label(1)}"), "{40, \"#1\"}");
    assert_eq!(node.says(&["releases"]), "sequence 0.2.0 permanent\nsequence 0.1.0 old");
    let said = node.says(&["downgrade", "0.1.0"]);
    assert!(said.contains("takes effect at the next start"), "{said}");
    node.stop();
    node.daemon(SERVES);
    assert_eq!(node.rpc("IO.inspect Sequence.Label.label(1)"), "\"number 1\"");
    node.stop();
}

#[test]
fn values_that_were_set_while_it_ran_stay() {
    let space = TestSpace::new();
    let upgrade = Upgrade::sequence(&space, |_| {}, &sequence_appup("", ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    node.rpc("Application.put_env(:sequence, :by_hand, {:value, self()})");
    let mine = "IO.inspect {match?({:ok, {:value, pid}} when is_pid(pid), Application.fetch_env(:sequence, :by_hand)), Application.fetch_env(:sequence, :keep)}";
    node.says(&["upgrade", upgrade.package()]);
    assert_eq!(node.rpc(mine), "{true, {:ok, 10}}");
    node.says(&["downgrade", "0.1.0"]);
    assert_eq!(node.rpc(mine), "{true, :error}");
    node.stop();
}

#[test]
fn a_release_in_the_layout_of_mix_is_upgraded_with_its_protocols() {
    let space = TestSpace::new();
    let (old, new) = (space.sequence("old"), space.example("sequence-0.2.0", "new"));
    // What upgrades it comes with the package.
    let beams = space.path("beams");
    said(
        std::process::Command::new("cp")
            .arg("-r")
            .arg(new.build().release().join("releases/0.2.0"))
            .arg(&beams),
    );
    for project in [&old, &new] {
        project.write("release.yaml", "release: sequence\n");
        project.edit("mix.exs", "extra_applications: [:logger]", "extra_applications: [:logger, :sasl]");
    }
    let upgrade =
        Upgrade::with(&space, &old, &new, "sequence", "sequence", &sequence_appup("", ""), Some(&beams));
    assert!(upgrade.release.join("releases/0.1.0/consolidated").is_dir());
    // Mix has no such file.
    fs::remove_file(upgrade.release.join("releases/RELEASES")).expect("removed");
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    refused(&node.ask(&["releases"]), &["no version of sequence here can be upgraded while it runs"]);
    node.says(&["upgrade", upgrade.package()]);
    assert_eq!(node.rpc("IO.puts Sequence.next(); IO.puts Sequence.recent_label()"), "40\n#40");
    assert_eq!(
        node.rpc(
            "IO.inspect Enum.count(:code.get_path(), &(Path.basename(to_string(&1)) == \"consolidated\"))"
        ),
        "1"
    );
    node.says(&["downgrade", "0.1.0"]);
    assert_eq!(node.rpc("IO.puts Sequence.next_label()"), "number 41");
    node.says(&["upgrade", "0.2.0"]);
    node.stop();
    node.daemon(SERVES);
    assert_eq!(node.rpc("IO.puts Sequence.next(); IO.puts Sequence.recent_label()"), "40\n#40");
    node.stop();
}

#[test]
fn a_release_that_may_not_be_written_to_is_left_alone() {
    if unprivileged().is_empty() {
        // Who is not root cannot own files that it may not write, and run as their owner all the same.
        return;
    }
    let space = TestSpace::open_to_all();
    let upgrade = Upgrade::sequence(&space, |_| {}, &sequence_appup("", ""));
    let tmp = space.path("tmp");
    fs::create_dir(&tmp).expect("a folder");
    fs::set_permissions(&tmp, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("its mode");
    let node = upgrade
        .node(&space)
        .with("RELEASE_COOKIE", "c")
        .with("RELEASE_TMP", text(&tmp))
        .with("HOME", text(&tmp))
        .by(&unprivileged());
    node.daemon(SERVES);
    let before = files::snapshot(&upgrade.release);
    refused(
        &node.ask(&["upgrade", upgrade.package()]),
        &["cannot be written to by the user that the system runs as"],
    );
    files::assert_same(&before, &files::snapshot(&upgrade.release), "nothing was written");
    node.stop();
}

#[test]
fn a_package_that_was_made_again_is_taken() {
    let space = TestSpace::new();
    let raises = |project: &support::project::Project| {
        project.edit(
            "lib/sequence/server.ex",
            "do: {:ok, {number, step, []}}",
            "do: {:error, {number, step}}",
        );
    };
    let upgrade = Upgrade::sequence(&space, raises, &sequence_appup("", ""));
    let node = upgrade.node(&space);
    node.daemon(SERVES);
    called_off(&node, &upgrade, &["{error,{40,1}}"]);
    let again = TestSpace::new();
    let better = Upgrade::sequence(&again, |_| {}, &sequence_appup("", ""));
    node.says(&["upgrade", better.package()]);
    assert_eq!(node.rpc("IO.puts Sequence.next(); IO.puts Sequence.recent_label()"), "40\n#40");
    refused(&node.ask(&["unpack", better.package()]), &["0.2.0 is permanent"]);
    assert_eq!(node.says(&["upgrade", better.package()]), "sequence 0.2.0 runs already and is permanent");

    // The same version of an application with other code.
    let lib = upgrade.release.join("lib/sequence-0.2.0/ebin/Elixir.Sequence.beam");
    fs::write(
        &lib,
        fs::read(upgrade.release.join("lib/sequence-0.1.0/ebin/Elixir.Sequence.beam")).expect("a file"),
    )
    .expect("written");
    let mut rel = fs::read_to_string(upgrade.release.join("releases/0.2.0/sequence.rel")).expect("a file");
    rel = rel.replace("{\"sequence\",\"0.2.0\"}", "{\"sequence\",\"0.3.0\"}");
    let made = space.path("made");
    said(
        std::process::Command::new("mkdir").arg("-p").arg(made.join("releases/0.3.0")).arg(made.join("lib")),
    );
    said(std::process::Command::new("tar").arg("-xzf").arg(&better.package).arg("-C").arg(&made).arg("lib"));
    fs::write(made.join("releases/sequence-0.3.0.rel"), rel).expect("written");
    let odd = space.path("odd.tar.gz");
    said(
        std::process::Command::new("tar")
            .arg("-czf")
            .arg(&odd)
            .arg("-C")
            .arg(&made)
            .args(["lib", "releases"]),
    );
    refused(
        &node.ask(&["unpack", text(&odd)]),
        &["another lib/sequence-0.2.0", "an application that changed needs a new version"],
    );
    assert_eq!(node.says(&["releases"]), "sequence 0.2.0 permanent\nsequence 0.1.0 old");
    node.stop();
}
