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

/// A project whose files are written one after the other in a text: `=== path` before each, `=== +x path` before one that may
/// be executed.
pub fn unpacked(space: &TestSpace, at: &str, release: &str, text: &str) -> Project {
    let project = Project::new(space.path(at), space.store());
    write_all(&project, text);
    if project.dir.join("mix.exs").exists() {
        project.write("release.yaml", &format!("release: {release}\n"));
    }
    project
}

/// Writes files that stand one after the other in a text into a project.
pub fn write_all(project: &Project, text: &str) {
    for file in text.strip_prefix("=== ").expect("a path").split("\n=== ") {
        let (path, content) = file.split_once('\n').unwrap_or((file, ""));
        let plain = path.strip_prefix("+x ");
        let content = content.strip_suffix('\n').unwrap_or(content);
        let content = if content.is_empty() { String::new() } else { format!("{content}\n") };
        project.write(plain.unwrap_or(path), &content);
        if let Some(path) = plain {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(project.dir.join(path), mode).expect("its mode");
        }
    }
}

/// Asserts that `relgraph verify` explains every difference from what Mix makes.
#[track_caller]
pub fn verified(project: &Project) {
    let said = project.ask(&["verify", "--against", "mix"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
}

/// Runs git in a folder.
pub fn in_git(folder: &Path, args: &[&str]) {
    let who = ["-c", "user.name=me", "-c", "user.email=me@example.com"];
    let mut git = std::process::Command::new("git");
    super::said(git.args(who).args(args).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null"));
}

/// Builds a copy of the project, as it is now, with Mix, and compares the release file by file. Its version is 0.1.0.
#[track_caller]
pub fn same_as_mix(space: &TestSpace, project: &Project, name: &str) {
    same_as_mix_at(space, project, name, "project");
}

/// The same for a project that lies elsewhere below the fixed path.
#[track_caller]
pub fn same_as_mix_at(space: &TestSpace, project: &Project, name: &str, at: &str) {
    same_as_mix_with(space, project, name, Mix::new(space.path("mix"), at));
}

/// The same where Mix builds in another folder, or has more variables.
#[track_caller]
pub fn same_as_mix_with(space: &TestSpace, project: &Project, name: &str, mix: Mix) {
    checkout(space, project, &mix.at);
    assert_same(project, &mix, name, "0.1.0");
}

/// Mix for a copy of the project as it is now.
pub fn mix_of(space: &TestSpace, project: &Project, at: &str) -> Mix {
    checkout(space, project, at);
    Mix::new(space.path("mix"), at)
}

/// Puts a copy of the project where Mix builds it.
fn checkout(space: &TestSpace, project: &Project, at: &str) {
    let to = space.path("mix").join(at);
    relgraph_cache::remove_tree(&to).expect("it can be removed");
    copy_all(&project.dir, &to);
}

/// As a checkout would be on another machine: without what builds left, but for node_modules and links as they are.
fn copy_all(from: &Path, to: &Path) {
    super::files::copy(from, to);
    assert!(fs::metadata(to.join("mix.exs")).is_ok(), "{} is no project", from.display());
}
