//! What mix.exs may say of dependencies, and of where things lie: each project is compared with what `mix release` makes.

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use support::TestSpace;
use support::mix::Mix;
use support::node::Node;
use support::small::{Files, in_git, project, same_as_mix_with, unpacked, verified};

#[test]
fn every_option_of_a_dependency_and_folders_with_other_names() {
    let space = TestSpace::new();
    let project = unpacked(&space, "main", "main", include_str!("projects/dependencies.txt"));
    // Left by Mix where mix.exs has it build: links that lead to sources, and modules.
    project.write("out/build/prod/lib/macros/ebin/Elixir.Macros.beam", "left by Mix\n");
    fs::create_dir_all(project.dir.join("out/build/prod/lib/right")).expect("a folder");
    symlink("../../../../../libs/right/priv", project.dir.join("out/build/prod/lib/right/priv"))
        .expect("a link");
    let mix = || Mix::new(space.path("mix"), "project").building_in("project/out/build");
    project.build();
    fs::remove_dir_all(project.dir.join("out")).expect("it is there");
    project.build().assert_nothing_to_do();
    same_as_mix_with(&space, &project, "main", mix());
    let lib = |name: &str| project.release("main").join("lib").join(name).is_dir();
    for (name, is_there) in [
        ("only_prod-0.1.0", true),
        ("only_many-0.1.0", true),
        ("for_host-0.1.0", true),
        ("there-0.1.0", true),
        ("third-0.3.0", true),
        ("deeper-0.1.0", true),
        ("inc-0.1.0", true),
        ("only_test-0.1.0", false),
        ("for_board-0.1.0", false),
        ("absent-0.1.0", false),
        ("macros-0.1.0", false),
        ("behind-0.1.0", false),
    ] {
        assert_eq!(lib(name), is_there, "{name}");
    }
    // For a target: another dependency, another folder of sources, and another folder that Mix builds in.
    project.write("release.yaml", "release: main\ntarget: board\n");
    same_as_mix_with(&space, &project, "main", mix().aiming_at("board"));
    assert!(lib("for_board-0.1.0") && !lib("for_host-0.1.0"));
}

/// As people have it who keep builds out of a folder that is shared with a virtual machine; with a name that is not ASCII.
#[test]
fn a_build_folder_outside_of_all_that_a_step_sees() {
    let space = TestSpace::new();
    let mix_exs = |module: &str, says: &str| {
        format!(
            "defmodule {module}.MixProject do\n  use Mix.Project\n  def project, do: [version: \"0.1.0\", {says}]\nend\n"
        )
    };
    let says = "app: :far, build_path: \"/tmp/relgraph-test/build\", deps: [{:nähe, path: \"near\"}]";
    let files: Files<'_> = &[
        ("mix.exs", &mix_exs("Far", says)),
        ("lib/far.ex", "defmodule Far do\n  @near Near.x()\n  def x, do: @near\nend\n"),
        ("priv/far.txt", "far\n"),
        ("near/mix.exs", &mix_exs("Near", "app: :nähe")),
        ("near/lib/near.ex", "defmodule Near do\n  def x, do: 1\nend\n"),
    ];
    let project = project(&space, "far", "far", files);
    project.build();
    verified(&project);
    project.build().assert_nothing_to_do();
}

/// A project in a folder of a repository, with path dependencies, configuration, dependencies and the lock elsewhere in it.
#[test]
fn a_part_of_a_repository_with_all_that_teams_put_into_theirs() {
    let space = TestSpace::new();
    let whole = unpacked(&space, "repo", "web", include_str!("projects/monorepo.txt"));
    let project = support::project::Project::new(whole.dir.join("services/web"), space.store());
    project.write("release.yaml", "release: web\n");
    let priv_ = |path: &str| project.dir.join("priv").join(path);
    symlink("../../../assets", priv_("assets")).expect("a link");
    symlink("favicon.ico", priv_("static/link.ico")).expect("a link");
    fs::create_dir(priv_("empty")).expect("a folder");
    for args in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "one"], &["tag", "v3.2.1"]] {
        in_git(&whole.dir, args);
    }
    project.build();
    let release = project.release("web");
    assert!(release.join("lib/lager_like-3.2.1").is_dir(), "its version is the tag");
    assert!(release.join("lib/web-0.1.0/priv/assets/shared.css").is_file());
    verified(&project);
    project.build().assert_nothing_to_do();
    let node = Node::new(&space, &release, "web").with("RELEASE_DISTRIBUTION", "none");
    let asked = "for app <- [:web, :opentele], do: Application.ensure_all_started(app); Logger.configure(level: :error)
        IO.inspect({Web.Endpoint.call(:get, \"/\"), Web.Endpoint.call(:get, \"/posts/7\"), Opentele.add(40, 2), %Web.User{},
        Application.get_env(:web, :provider), Phx.json(), :lager_like.who()})";
    let said = node.says(&["eval", asked]);
    let answer =
        said.split_once("{{").map(|(_, answer)| answer.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(
        answer.as_deref(),
        Some(
            "{:conn, \"<h1>Hello ü at /</h1>\\n<i>1</i><i>2</i>\"}, {:conn, :show, %{\"id\" => \"7\"}}, 42, \
             %Web.User{id: nil, name: nil, age: 0, posts: []}, [inited: true, path: \"/etc/web.json\"], Jason, :nobody}"
        )
        .map(|text| text.trim_start_matches('{')),
        "{said}"
    );
    whole.edit("csrc/native/native.c", "a + b", "a - b");
    let ran = project.ran();
    assert!(ran.contains("compile native") && !ran.contains("compile opentele"), "{ran:?}");
    // Nobody but the one whose version it gives asked for the commit.
    in_git(&whole.dir, &["commit", "-q", "--allow-empty", "-m", "two"]);
    let ran = project.ran();
    assert!(ran.contains("compile lager_like") && !ran.contains("compile phx"), "{ran:?}");
}
