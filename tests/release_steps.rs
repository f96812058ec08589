//! Functions among the `steps:` of a release in mix.exs: they are run, and what they do is what it is with `mix release`.

mod support;

use std::fs;

use support::TestSpace;
use support::project::{Project, set};
use support::small::{Files, project, same_as_mix};

/// Functions before and after `:assemble`, by each way to write one; they make overlays, templates and files of `priv`,
/// change the release, and write what they see of it.
const PARCEL: Files<'_> = &[
    (
        "mix.exs",
        r##"defmodule Parcel.MixProject do
  use Mix.Project

  def project do
    [
      app: :parcel,
      version: "0.1.0",
      deps: [{:wrap, path: "deps/wrap"}],
      releases: [parcel: [label: "first", applications: [runtime_tools: :load], steps: steps()]]
    ]
  end

  def application, do: [extra_applications: [:logger]]

  defp steps do
    suffix = ".txt"

    [
      &prepare/1,
      &Wrap.modes/1,
      :assemble,
      &copy_extra_files/1,
      &Wrap.sums/1,
      fn release ->
        File.write!(Path.join(release.path, "anonymous" <> suffix), inspect(release.options[:label]))
        %{release | overlays: ["anonymous" <> suffix | release.overlays]}
      end,
      :tar,
      &announce/1
    ]
  end

  defp prepare(release) do
    Mix.shell().info("preparing #{release.name}")
    File.rm_rf!("rel/overlays/old")
    File.mkdir_p!("rel/overlays/etc")
    text = EEx.eval_file("etc/parcel.conf.eex", version: release.version, erts: release.erts_version)
    File.write!("rel/overlays/etc/parcel.conf", text)
    File.write!("rel/env.sh.eex", "export PARCEL=<%= @release.options[:label] %>\n# <%= @release.path %>\n")
    {_, 0} = System.cmd("sh", ["-c", "tr a-z A-Z < etc/motd > rel/overlays/motd && chmod 755 rel/overlays/motd"])
    Mix.Task.run("wrap.digest", ["priv/static"])
    Mix.Task.run("compile")
    File.write!(Application.app_dir(:wrap, "priv/late.txt"), "late")
    File.mkdir_p!(Path.join(release.path, "placed"))
    File.write!(Path.join(release.path, "placed/early.txt"), "early")
    File.mkdir_p!("generated")
    File.write!("generated/names.txt", "made before")
    put_in(release.options[:label], "second")
  end

  defp copy_extra_files(release) do
    extra = Path.join(release.path, "extra")
    File.mkdir_p!(extra)
    for file <- Path.wildcard("notes/*.txt"), do: File.cp!(file, Path.join(extra, Path.basename(file)))
    File.cp!("generated/names.txt", Path.join(extra, "names.txt"))
    File.cp_r!("deps/wrap/include", Path.join(extra, "headers"))
    File.write!(Path.join(extra, "label.txt"), System.get_env("PARCEL_LABEL", "none"))
    File.rm!(Path.join(release.version_path, "remote.vm.args"))
    script = Path.join(release.path, "bin/hello")
    File.write!(script, "#!/bin/sh\necho hello\n")
    File.chmod!(script, 0o755)
    File.ln_s!("hello", Path.join(release.path, "bin/hi"))

    seen = %{
      release
      | steps: Enum.map(release.steps, &if(is_atom(&1), do: &1, else: :function)),
        applications: Map.new(release.applications, fn {app, all} -> {app, all[:vsn]} end),
        overlays: Enum.sort(release.overlays)
    }

    # What the command line said.
    seen = %{seen | options: Keyword.drop(seen.options, [:quiet, :overwrite])}
    File.write!(Path.join(extra, "release.txt"), inspect(seen, limit: :infinity, pretty: true, structs: false))
    %{release | overlays: ["extra" | release.overlays]}
  end

  defp announce(release), do: release
end
"##,
    ),
    ("lib/parcel.ex", "defmodule Parcel do\n  def hello, do: :hello\nend\n"),
    ("priv/static/app.js", "alert(1)\n"),
    ("etc/parcel.conf.eex", "version = <%= version %> on <%= erts %>\n"),
    ("etc/motd", "welcome\n"),
    ("rel/overlays/old/gone.txt", "gone\n"),
    ("notes/one.txt", "one\n"),
    ("notes/two.txt", "two\n"),
    ("unread.txt", "nobody reads this\n"),
    (
        "deps/wrap/mix.exs",
        r#"defmodule Wrap.MixProject do
  use Mix.Project
  def project, do: [app: :wrap, version: "0.2.0", deps: [], compilers: [:header] ++ Mix.compilers()]
  def application, do: []
end

defmodule Mix.Tasks.Compile.Header do
  use Mix.Task.Compiler
  def run(_), do: {File.write!("include/made.hrl", "-define(MADE, 1).\n"), []}
end
"#,
    ),
    (
        "deps/wrap/lib/wrap.ex",
        r##"defmodule Wrap do
  # Read when the node starts; here it says no more than that it is there.
  defmodule Provider do
    @behaviour Config.Provider
    def init(path), do: path
    def load(config, _path), do: config
  end

  def modes(release) do
    clean = Keyword.put(release.boot_scripts.start_clean, :wrap, :load)
    start = Keyword.put(release.boot_scripts.start, :runtime_tools, :permanent)
    scripts = Map.merge(release.boot_scripts, %{start: start, wrap_clean: clean})
    %{release | boot_scripts: scripts, config_providers: [{Provider, "/etc/wrap"} | release.config_providers]}
  end

  def sums(release) do
    files = Path.wildcard(Path.join(release.path, "extra/*.txt"))
    lines = for file <- Enum.sort(files), do: "#{:erlang.crc32(File.read!(file))} #{Path.basename(file)}\n"
    File.write!(Path.join(release.version_path, "sums.txt"), lines)
    release
  end
end

defmodule Mix.Tasks.Wrap.Digest do
  use Mix.Task
  @requirements ["compile"]

  def run([folder]) do
    for file <- Path.wildcard(Path.join(folder, "*.js")) do
      sum = file |> File.read!() |> :erlang.md5() |> Base.encode16(case: :lower)
      File.write!(Path.rootname(file) <> "-" <> sum <> ".js", File.read!(file))
    end
  end
end
"##,
    ),
    ("deps/wrap/priv/wrap.txt", "wrap\n"),
    ("deps/wrap/include/wrap.hrl", "-define(WRAP, 1).\n"),
];

fn parcel(space: &TestSpace) -> Project {
    project(space, "parcel", "parcel", PARCEL)
}

#[test]
fn functions_of_mix_exs_do_what_they_do_with_mix() {
    let space = TestSpace::new();
    let project = parcel(&space);
    let said = project.ask(&["build"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    let late = "the release step &announce/1 of mix.exs is not run: it comes after `:tar`";
    assert!(said.err.contains(late) && !said.err.contains("&prepare/1"), "{}", said.err);
    same_as_mix(&space, &project, "parcel");
    let release = project.release("parcel");
    let read = |path: &str| fs::read_to_string(release.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    // What Mix made was the same; that it is what it should be is looked at once.
    assert_eq!((read("anonymous.txt"), read("motd")), ("\"second\"".into(), "WELCOME\n".into()));
    let digested = fs::read_dir(release.join("lib/parcel-0.1.0/priv/static")).expect("a folder").count();
    assert_eq!(digested, 2, "the file and its digest");
    assert!(read("lib/wrap-0.2.0/priv/late.txt") == "late" && read("placed/early.txt") == "early");
    assert!(read("releases/0.1.0/start.script").contains("runtime_tools,permanent"));
    assert!(read("extra/release.txt").contains("/relgraph/project/_build/prod/rel/parcel"));
    for path in ["rel/env.sh.eex", "generated", "rel/overlays/motd"] {
        assert!(!project.dir.join(path).exists(), "the checkout is left as it is: {path}");
    }
    project.build().assert_nothing_to_do();
}

/// One function after `:assemble`, which starts no program: what it reads is known file by file.
const CRATE: Files<'_> = &[
    (
        "mix.exs",
        r##"defmodule Crate.MixProject do
  use Mix.Project
  def project, do: [app: :crate, version: "0.1.0", releases: [crate: [steps: [&wait/1, :assemble, &pack/1]]]]
  def application, do: []

  defp pack(release) do
    note = File.read!("notes/one.txt")
    if note =~ "bad", do: raise("the note is bad")
    text = note <> System.get_env("CRATE_LABEL", "no label")
    File.write!(Path.join(release.path, "note.txt"), text)
    if note =~ "nothing", do: :nothing, else: release
  end

  defp wait(release), do: release
end
"##,
    ),
    ("lib/crate.ex", "defmodule Crate do\n  def hello, do: :hello\nend\n"),
    ("notes/one.txt", "one\n"),
    ("unread.txt", "nobody reads this\n"),
    ("rel/overlays/readme", "read me\n"),
];

#[test]
fn a_function_runs_again_when_something_that_it_read_has_changed() {
    let space = TestSpace::new();
    let project = project(&space, "crate", "crate", CRATE);
    project.write(
        "release.yaml",
        "release: crate\npackage: tar.gz\nsteps:\n  sums:\n    run: cd _build/prod/rel/crate && sha256sum note.txt \
         readme > $OLDPWD/sums.txt\n    needs: [assemble]\n    outputs: [sums.txt]\n    into: share\n  made:\n    run: \
         mkdir -p priv/made && echo made > priv/made/file\n    outputs: [priv/made]\n    before: compile crate\n",
    );
    // From somebody's own build; a function that comes first does not bring it into the release.
    project.write("priv/made/stale", "stale");
    project.build();
    let release = project.release("crate");
    let note = || fs::read_to_string(release.join("note.txt")).expect("the note");
    assert_eq!(note(), "one\nno label");
    let made = release.join("lib/crate-0.1.0/priv/made");
    assert!(made.join("file").is_file() && !made.join("stale").exists());
    let sums = fs::read_to_string(release.join("share/sums.txt")).expect("the sums");
    assert_eq!(sums.lines().count(), 2, "a step after it sees what the function made: {sums}");
    project.build().assert_nothing_to_do();
    project.append("unread.txt", "nor this");
    project.build().assert_nothing_to_do();
    project.append("lib/crate.ex", "# a comment");
    assert_eq!(project.ran(), set(&["compile crate"]));
    project.write("notes/one.txt", "two\n");
    let after = ["release steps", "sums", "finish release", "package tar.gz", "preflight"];
    assert_eq!(project.ran(), set(&after));
    let labelled = project.clone().with("CRATE_LABEL", "fragile");
    assert_eq!(labelled.ran(), set(&after));
    assert_eq!(note(), "two\nfragile");
    labelled.write("rel/overlays/readme", "read me twice\n");
    assert_eq!(labelled.ran(), set(&[&["boot", "assemble"], &after[..]].concat()));

    // One that fails says where, and the last good release stays.
    labelled.write("notes/one.txt", "bad\n");
    let said = labelled.refused(1);
    assert!(said.contains("step `release steps` failed"), "{said}");
    assert!(said.contains("the release step &pack/1 failed (mix.exs:8)"), "{said}");
    assert!(said.contains("(RuntimeError) the note is bad"), "{said}");
    labelled.write("notes/one.txt", "nothing\n");
    let said = labelled.refused(1);
    assert!(said.contains("to return a Mix.Release, got: :nothing"), "{said}");
    assert_eq!(note(), "two\nfragile");
}
