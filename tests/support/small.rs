//! Owns small projects that are written by the tests that need them.

use std::fs;
use std::path::Path;

use super::TestSpace;
use super::mix::{Mix, assert_same};
use super::project::Project;

/// Files of a project, by path.
pub type Files<'a> = &'a [(&'a str, &'a str)];

/// A project of these files, in a folder of its own, with a release.yaml of one line unless one is given.
pub fn project(space: &TestSpace, at: &str, release: &str, files: Files<'_>) -> Project {
    let project = Project::new(space.path(at), space.store());
    project.write("release.yaml", &format!("release: {release}\n"));
    for (path, text) in files {
        project.write(path, text);
    }
    project
}

/// Builds a copy of the project, as it is now, with Mix, and compares the release file by file. Its version is 0.1.0.
#[track_caller]
pub fn same_as_mix(space: &TestSpace, project: &Project, name: &str) {
    same_as_mix_at(space, project, name, "project");
}

/// The same for a project that lies elsewhere below the fixed path.
#[track_caller]
pub fn same_as_mix_at(space: &TestSpace, project: &Project, name: &str, at: &str) {
    assert_same(project, &mix_of(space, project, at), name, "0.1.0");
}

/// Mix for a copy of the project as it is now.
pub fn mix_of(space: &TestSpace, project: &Project, at: &str) -> Mix {
    let work = space.path("mix");
    relgraph_cache::remove_tree(&work.join(at)).expect("it can be removed");
    copy_all(&project.dir, &work.join(at));
    Mix::new(work, at)
}

/// As a checkout would be on another machine: without what builds left, but for node_modules and links as they are.
fn copy_all(from: &Path, to: &Path) {
    super::files::copy(from, to);
    assert!(fs::metadata(to.join("mix.exs")).is_ok(), "{} is no project", from.display());
}
