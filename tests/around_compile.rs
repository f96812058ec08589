//! Steps of the user around those of Mix: what a front end's build makes becomes part of an application.

mod support;

use std::fs;

use support::TestSpace;
use support::node::Node;
use support::project::{Project, set};
use support::small;

const MIX: &str = r#"defmodule Shelf.MixProject do
  use Mix.Project
  def project, do: [app: :shelf, version: "0.1.0", deps: []]
  def application, do: [extra_applications: [:logger]]
end
"#;

/// The names of the files that the front end's build made are part of the code.
const CODE: &str = r#"defmodule Shelf do
  @assets Path.expand("../priv/static", __DIR__)
  @names @assets |> File.ls!() |> Enum.sort()
  def names, do: @names
  def style, do: File.read!(Application.app_dir(:shelf, "priv/static/app.css"))
end
"#;

const RELEASE: &str = "\
release: shelf
steps:
  packages:
    run: mkdir -p assets/modules && tr a-z A-Z < assets/packages.txt > assets/modules/shout.txt
    inputs: [assets/packages.txt]
    outputs: [assets/modules]
  assets:
    run: |
      mkdir -p priv/static
      cat assets/modules/shout.txt assets/src/app.css > priv/static/app.css
    inputs: [assets/src/**]
    outputs: [priv/static]
    needs: [packages]
    before: compile shelf
  list:
    run: ls _build/prod/lib/shelf/priv/static > priv/list.txt
    needs: [compile shelf]
    outputs: [priv/list.txt]
    into: lib/shelf
";

fn shelf(space: &TestSpace) -> Project {
    let files = [
        ("mix.exs", MIX),
        ("lib/shelf.ex", CODE),
        ("assets/packages.txt", "button\n"),
        ("assets/src/app.css", "body {}\n"),
        ("priv/kept.txt", "kept\n"),
    ];
    let project = small::project(space, "shelf", "shelf", &files);
    project.write("release.yaml", RELEASE);
    project
}

#[test]
fn what_a_step_makes_before_an_application_is_compiled_is_part_of_it() {
    let space = TestSpace::new();
    let project = shelf(&space);
    // What lies there from somebody's own build of the front end is not what goes into the release.
    project.write("priv/static/stale.js", "old");
    project.build();
    let lib = project.release("shelf").join("lib/shelf-0.1.0");
    let style = fs::read_to_string(lib.join("priv/static/app.css")).expect("the bundle");
    assert_eq!(style, "BUTTON\nbody {}\n");
    assert!(lib.join("priv/kept.txt").is_file() && !lib.join("priv/static/stale.js").exists());
    assert_eq!(fs::read_to_string(lib.join("priv/list.txt")).expect("the list"), "app.css\n");
    assert!(!project.release("shelf").join("priv").exists(), "the bundle goes nowhere else");
    let node = Node::new(&space, &project.release("shelf"), "shelf");
    assert_eq!(
        node.says(&["eval", "IO.inspect(Shelf.names()); IO.write(Shelf.style())"]),
        "[\"app.css\"]\nBUTTON\nbody {}"
    );
    project.build().assert_nothing_to_do();
    assert_eq!(project.read("priv/static/stale.js"), "old", "the checkout is left as it is");
}

#[test]
fn a_change_of_the_front_end_runs_what_depends_on_it() {
    let space = TestSpace::new();
    let project = shelf(&space);
    project.build();
    project.write("assets/src/app.css", "body { margin: 0 }\n");
    assert_eq!(
        project.ran(),
        set(&["assets", "compile shelf", "strip shelf", "list", "assemble", "preflight"])
    );
    project.write("priv/static/stale.js", "newer");
    project.build().assert_nothing_to_do();
    project.append("lib/shelf.ex", "# a comment");
    assert_eq!(project.ran(), set(&["compile shelf"]), "the last line is a comment: the same bytes");
}

#[test]
fn what_cannot_come_before_is_said() {
    let space = TestSpace::new();
    let project = shelf(&space);
    project.edit("release.yaml", "before: compile shelf", "before: compile shelves");
    let said = project.refused(2);
    assert!(said.contains("step `assets` cannot come before `compile shelves`"), "{said}");
    assert!(said.contains("release.yaml:14:") && said.contains("did you mean `compile shelf`?"), "{said}");
    project.edit("release.yaml", "before: compile shelves", "before: compile shelf\n    into: .");
    project.edit("release.yaml", "needs: [packages]", "needs: [compile shelf]");
    let said = project.refused(2);
    assert!(said.contains("steps need each other"), "{said}");
}
