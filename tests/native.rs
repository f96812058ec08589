//! Native code of Mix projects: NIFs and port programs, by make and by cargo.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use support::project::{Project, set};
use support::small::{project, same_as_mix, unpacked, verified};
use support::{TestSpace, is_root, said};

/// A NIF that a dependency builds by `make`, with a small likeness of elixir_make, and a port program of the project's own.
const MAKE: &[(&str, &str)] = &[
    (
        "mix.exs",
        r##"defmodule Machine.MixProject do
  use Mix.Project

  def project do
    [
      app: :machine,
      version: "0.1.0",
      compilers: [:elixir_make] ++ Mix.compilers(),
      deps: [{:nifty, path: "deps/nifty"}, {:elixir_make, path: "deps/elixir_make", runtime: false}]
    ]
  end
end
"##,
    ),
    (
        "lib/machine.ex",
        r##"defmodule Machine do
  def say do
    {text, 0} = System.cmd(Application.app_dir(:machine, "priv/port"), [])
    IO.puts("#{Nifty.answer()} #{text}")
  end
end
"##,
    ),
    (
        "Makefile",
        "PRIV = $(MIX_APP_PATH)/priv\nall: $(PRIV)/port\n$(PRIV)/port: c_src/port.c\n\tmkdir -p $(PRIV)\n\t\
         $(CC) $(CFLAGS) -DGREETING=\\\"$(GREETING)\\\" -o $@ c_src/port.c\n",
    ),
    ("c_src/port.c", "#include <stdio.h>\nint main(void) { printf(\"port %s\", GREETING); return 0; }\n"),
    (
        "deps/nifty/mix.exs",
        r##"defmodule Nifty.MixProject do
  use Mix.Project

  def project do
    [
      app: :nifty,
      version: "0.1.0",
      compilers: [:elixir_make] ++ Mix.compilers(),
      make_targets: ["all"],
      deps: [{:elixir_make, path: "../elixir_make", runtime: false}]
    ]
  end
end
"##,
    ),
    (
        "deps/nifty/lib/nifty.ex",
        r##"defmodule Nifty do
  @on_load :load
  def load, do: :nifty |> :code.priv_dir() |> Path.join("nifty") |> String.to_charlist() |> :erlang.load_nif(0)
  def answer, do: :erlang.nif_error(:not_loaded)
end
"##,
    ),
    (
        "deps/nifty/Makefile",
        "all: priv/nifty.so\npriv/nifty.so: c_src/nifty.c c_src/number.h\n\tmkdir -p priv\n\t\
         $(CC) $(CFLAGS) -I$(ERTS_INCLUDE_DIR) -fPIC -shared -o $@ c_src/nifty.c\n",
    ),
    ("deps/nifty/c_src/number.h", "#define NUMBER 41\n"),
    (
        "deps/nifty/c_src/nifty.c",
        r##"#include <erl_nif.h>
#include "number.h"
static ERL_NIF_TERM answer(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
  return enif_make_int(env, NUMBER + 1);
}
static ErlNifFunc functions[] = {{"answer", 0, answer}};
ERL_NIF_INIT(Elixir.Nifty, functions, NULL, NULL, NULL, NULL)
"##,
    ),
    ("deps/nifty/priv/.keep", ""),
    (
        "deps/elixir_make/mix.exs",
        r##"defmodule ElixirMake.MixProject do
  use Mix.Project
  def project, do: [app: :elixir_make, version: "0.7.0"]
end
"##,
    ),
    (
        "deps/elixir_make/lib/elixir_make.ex",
        r##"defmodule Mix.Tasks.Compile.ElixirMake do
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    config = Mix.Project.config()
    app_path = Mix.Project.app_path(config)
    root = :code.root_dir() |> List.to_string()
    version = :erlang.system_info(:version) |> List.to_string()

    env = %{
      "CC" => System.get_env("CC", "cc"),
      "MIX_APP_PATH" => app_path,
      "ERTS_INCLUDE_DIR" => Path.join([root, "erts-#{version}", "include"])
    }

    args = Keyword.get(config, :make_targets, [])

    case System.cmd("make", args, env: env, into: IO.stream(), stderr_to_stdout: true) do
      {_, 0} ->
        Mix.Project.build_structure()
        {:ok, []}

      {_, status} ->
        Mix.raise("Could not compile with \"make\" (exit status: #{status}).")
    end
  end
end
"##,
    ),
];

/// What the built release says.
fn says(project: &Project, name: &str, code: &str) -> String {
    let bin = project.release(name).join("bin").join(name);
    said(Command::new(bin).args(["eval", code]).env("RELEASE_COOKIE", "cookie"))
}

#[test]
fn a_nif_and_a_port_by_make() {
    let space = TestSpace::new();
    let plain = project(&space, "machine", "machine", MAKE);
    // Left by a build for another machine, and newer than its sources.
    plain.write("deps/nifty/priv/nifty.so", "\u{7f}ELF: of another machine");
    plain.write("deps/nifty/priv/model.bin", "\u{7f}ELF: that nobody makes");
    plain.build();
    assert_eq!(says(&plain, "machine", "Machine.say()"), "42 port");
    let release = plain.release("machine");
    assert!(
        fs::read_to_string(release.join("lib/nifty-0.1.0/priv/model.bin"))
            .is_ok_and(|t| t.contains("nobody"))
    );
    fs::remove_file(plain.dir.join("deps/nifty/priv/nifty.so")).expect("it is there");
    same_as_mix(&space, &plain, "machine");
    plain.build().assert_nothing_to_do();
    plain.edit("deps/nifty/c_src/number.h", "41", "99");
    let ran = plain.ran();
    assert!(ran.contains("compile nifty") && !ran.contains("compile elixir_make"), "{ran:?}");
    assert_eq!(says(&plain, "machine", "Machine.say()"), "100 port");
    // The Makefile of the project names the variable; the compiler knows the other one by itself.
    let greeted = plain.clone().with("GREETING", "hello");
    assert!(greeted.ran().contains("compile machine"));
    assert_eq!(says(&plain, "machine", "Machine.say()"), "100 port hello");
    let flags = greeted.clone().with("CFLAGS", "-O2");
    assert!(flags.ran().is_superset(&set(&["compile machine"])));
    assert_eq!(flags.clone().with("NOBODY_ASKS", "this").ran(), set(&[]));
    // Without a compiler.
    let broken = project(&space, "broken", "machine", MAKE).with("CC", "no-such-cc");
    let complaint = broken.refused(1);
    assert!(complaint.contains("step `compile nifty` failed"), "{complaint}");
    assert!(complaint.contains("hint: the program `no-such-cc` is missing"), "{complaint}");
}

/// A folder of the machine, as packages that are not the distribution's have theirs; only root may make one.
struct Installed(PathBuf);

impl Installed {
    fn new() -> Self {
        let folder = PathBuf::from(format!("/opt/relgraph-test-{}", std::process::id()));
        fs::create_dir_all(folder.join("include")).expect("a folder");
        Installed(folder)
    }

    fn header(&self, number: u8) {
        fs::write(self.0.join("include/number.h"), format!("#define NUMBER {number}\n")).expect("a header");
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn headers_of_the_machine_are_inputs_of_native_code() {
    if !is_root() {
        eprintln!("NOT TESTED: only root may put a header where steps see it");
        return;
    }
    let space = TestSpace::new();
    let installed = Installed::new();
    installed.header(41);
    let include = installed.0.join("include").display().to_string();
    let project = project(&space, "machine", "machine", MAKE).with("CPATH", &include);
    fs::remove_file(project.dir.join("deps/nifty/c_src/number.h")).expect("it is there");
    project.edit("deps/nifty/Makefile", " c_src/number.h", "");
    project.build();
    assert_eq!(says(&project, "machine", "Machine.say()"), "42 port");
    project.build().assert_nothing_to_do();
    installed.header(77);
    // The port is compiled with the same compiler and could have read it; it is the same.
    let ran = project.ran();
    assert!(ran.contains("compile nifty") && !ran.contains("strip machine"), "{ran:?}");
    assert_eq!(says(&project, "machine", "Machine.say()"), "78 port");
    // Somebody installs one that was not there.
    fs::write(installed.0.join("include/new.h"), "").expect("a header");
    assert!(project.ran().contains("compile nifty"));
    installed.header(41);
    fs::remove_file(installed.0.join("include/new.h")).expect("it is there");
    assert_eq!(project.build().executed(), 0, "as it was");
}

/// A program that cargo builds, with a crate that lies in the project.
const CARGO: &[(&str, &str)] = &[
    (
        "mix.exs",
        r##"defmodule Rusty.MixProject do
  use Mix.Project
  def project, do: [app: :rusty, version: "0.1.0", compilers: Mix.compilers() ++ [:crate]]
end

defmodule Mix.Tasks.Compile.Crate do
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    target = Path.join(Mix.Project.build_path(), "native")
    args = ["build", "--release", "--offline", "--target-dir", target]
    {_, 0} = System.cmd("cargo", args, cd: "native/sum", into: IO.stream(), stderr_to_stdout: true)
    File.mkdir_p!("priv/native")
    File.cp!(Path.join(target, "release/sum"), "priv/native/sum")
    Mix.Project.build_structure()
    {:ok, []}
  end
end
"##,
    ),
    (
        "lib/rusty.ex",
        r##"defmodule Rusty do
  def say do
    {text, 0} = System.cmd(Application.app_dir(:rusty, "priv/native/sum"), [])
    IO.puts(text)
  end
end
"##,
    ),
    ("priv/.keep", ""),
    (
        "native/sum/Cargo.toml",
        "[package]\nname = \"sum\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nadd = { path = \"../add\" }\n",
    ),
    ("native/sum/src/main.rs", "fn main() {\n    print!(\"{}\", add::add(40, 2));\n}\n"),
    ("native/add/Cargo.toml", "[package]\nname = \"add\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    ("native/add/src/lib.rs", "pub fn add(a: i32, b: i32) -> i32 {\n    a + b\n}\n"),
];

/// Where cargo and rustup have what is theirs: the home of whoever runs the tests, or where that says.
fn knowing_rust(mut project: Project) -> Project {
    let variables = ["HOME", "CARGO_HOME", "RUSTUP_HOME"];
    project
        .env
        .extend(variables.iter().filter_map(|name| Some((name.to_string(), std::env::var(name).ok()?))));
    project
}

#[test]
fn a_program_by_cargo() {
    let space = TestSpace::new();
    let project = knowing_rust(project(&space, "rusty", "rusty", CARGO));
    project.build();
    assert_eq!(says(&project, "rusty", "Rusty.say()"), "42");
    project.build().assert_nothing_to_do();
    project.edit("native/add/src/lib.rs", "a + b", "a - b");
    assert!(project.ran().contains("compile rusty"));
    assert_eq!(says(&project, "rusty", "Rusty.say()"), "38");
    project.append("native/sum/Cargo.toml", "no-such-crate = \"1\"");
    let complaint = project.refused(1);
    assert!(complaint.contains("hint: cargo needs crates that are not on this machine"), "{complaint}");
}

#[test]
fn a_nif_that_a_macro_builds_with_cargo_and_a_vendored_crate() {
    let space = TestSpace::new();
    let project = knowing_rust(unpacked(&space, "rusty", "rusty", include_str!("projects/rustler.txt")));
    project.build();
    let native = project.release("rusty").join("lib/rusty-0.1.0/priv/native");
    assert!(native.join("libmath.so").is_file());
    assert_eq!(says(&project, "rusty", "NativeDep.run() |> elem(0) |> IO.puts()"), "0.1.0");
    // What cargo left among the sources is nobody's source.
    project
        .write("deps/native_dep/crate/target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    project.write("deps/native_dep/crate/target/release/tool", "of another machine\n");
    project.build().assert_nothing_to_do();
    project.edit("native/math/vendor/tiny/src/lib.rs", "a + b", "a - b");
    let ran = project.ran();
    assert!(ran.contains("compile rusty") && !ran.contains("compile native_dep"), "{ran:?}");
    std::fs::remove_dir_all(project.dir.join("deps/native_dep/crate/target")).expect("it is there");
    verified(&project);
}
