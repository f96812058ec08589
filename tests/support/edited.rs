//! Owns the project that faults befall: built once, then edited, and what its next build has to make.

use std::collections::BTreeMap;
use std::fs;

use super::TestSpace;
use super::files::{assert_same, snapshot};
use super::project::{Built, Project};

pub type Tree = BTreeMap<String, String>;

pub const CHANGE: (&str, &str, &str) = ("lib/sequence/label.ex", "number #{number}", "no. #{number}");

/// examples/sequence at 0.1.0, built, and then edited.
pub struct Edited {
    pub project: Project,
    pub good: Tree,
}

pub fn edited(space: &TestSpace, at: &str) -> Edited {
    let project = space.example("sequence", at);
    let good = snapshot(&project.build().release());
    project.edit(CHANGE.0, CHANGE.1, CHANGE.2);
    Edited { project, good }
}

/// What a build of the edited project makes where nothing goes wrong.
pub struct Expected {
    pub tree: Tree,
    pub digest: String,
    pub package: Vec<u8>,
}

impl Expected {
    /// Asserts that a build made it, and left nothing else.
    #[track_caller]
    pub fn assert_made(&self, built: &Built) {
        assert_same(&self.tree, &snapshot(&built.release()), "the release");
        assert_eq!(built.digest(), self.digest);
        assert!(fs::read(built.package()).expect("the package") == self.package, "the package");
        let folder = built.release();
        let folder = folder.parent().expect("its folder");
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["sequence", "sequence-0.1.0.tar.gz"], "beside the release");
    }
}

pub fn expected() -> Expected {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    project.edit(CHANGE.0, CHANGE.1, CHANGE.2);
    let built = project.build();
    let package = fs::read(built.package()).expect("the package");
    Expected { tree: snapshot(&built.release()), digest: built.digest().to_owned(), package }
}
