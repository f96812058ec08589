//! The release is the one that `mix release` makes: the same files, modes and bytes, but for what docs/guide.md lists
//! under "What differs from mix release".

mod support;

use std::path::Path;

use support::TestSpace;
use support::files::{differences, snapshot};
use support::mix::{Mix, assert_same};

fn copy_of(project: &Path, work: &Path, at: &str) {
    support::files::copy(project, &work.join(at));
}

#[test]
fn a_plain_project_with_protocols_and_runtime_configuration() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    project.write("release.yaml", "release: sequence\n");
    let work = space.path("mix");
    copy_of(&project.dir, &work, "project");
    assert_same(&project, &Mix::new(work, "project"), "sequence", "0.1.0");
}

#[test]
fn a_project_with_path_dependencies_erlang_grammars_providers_overlays_and_templates() {
    let space = TestSpace::new();
    let project = space.shop("ours");
    let work = space.path("mix");
    space.cold_shop("mix/tree");
    assert_same(&project, &Mix::new(work, "tree/shop"), "shop", "1.2.0");
}

#[test]
fn a_release_without_a_runtime_that_is_not_stripped_and_has_a_version_of_its_own() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    project.write("release.yaml", "release: small\n");
    let releases = "releases: [small: [include_erts: false, strip_beams: false, version: \"9.9.9\", \
                    applications: [runtime_tools: :load, sequence: :transient], include_executables_for: [:unix]]],";
    project.edit("mix.exs", "version: ", &format!("{releases}\n      version: "));
    let work = space.path("mix");
    copy_of(&project.dir, &work, "project");
    assert_same(&project, &Mix::new(work, "project"), "small", "9.9.9");
}

#[test]
fn a_difference_would_be_seen() {
    let space = TestSpace::new();
    let project = space.sequence("ours");
    project.build();
    let before = snapshot(&project.release("sequence"));
    std::fs::write(project.release("sequence").join("releases/0.1.0/vm.args"), "+Q 4096\n")
        .expect("it is a file");
    assert_eq!(differences(&before, &snapshot(&project.release("sequence"))), ["releases/0.1.0/vm.args"]);
}
