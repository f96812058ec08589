//! The four places of a step of the user: before a compilation (`around_compile.rs`), after one, among what is assembled,
//! and after that; and the order in which files come to lie over one another.

mod support;

use std::fs;

use support::TestSpace;
use support::project::{Project, set};

/// No project: what is about steps is the same for all.
const RELEASE: &str = "\
release: box
version: \"1.0.0\"
package: tar.gz
overlays: [first, second]
steps:
  a-list:
    run: echo a-list | tee all.txt > list.txt
    outputs: [all.txt, list.txt]
  b-list:
    run: echo b-list > all.txt
    outputs: [all.txt]
  checksums:
    run: |
      cd _build/prod/rel/box
      find . -type f | LC_ALL=C sort | xargs sha256sum > \"$OLDPWD/SHA256SUMS\"
    needs: [assemble]
    outputs: [SHA256SUMS]
  signature:
    run: sed s/^/signed-/ SHA256SUMS > SHA256SUMS.sig && echo later > list.txt
    needs: [checksums]
    outputs: [SHA256SUMS.sig, list.txt]
";

fn release(space: &TestSpace) -> Project {
    let project = Project::new(space.path("box"), space.store());
    project.write("first/all.txt", "first\n");
    project.write("first/both.txt", "first\n");
    project.write("second/both.txt", "second\n");
    project.write("release.yaml", RELEASE);
    project
}

#[test]
fn a_step_after_assemble_adds_to_the_release_and_to_its_package() {
    let space = TestSpace::new();
    let project = release(&space);
    // What a step makes that another one needs goes into the release where it says so.
    project.edit("release.yaml", "outputs: [SHA256SUMS]", "outputs: [SHA256SUMS]\n    into: .");
    let built = project.build();
    let read = |path: &str| fs::read_to_string(project.release("box").join(path)).expect("a file");
    assert_eq!((read("all.txt"), read("both.txt")), ("b-list\n".into(), "second\n".into()));
    assert_eq!(read("list.txt"), "later\n", "what is made of the release lies over it");
    let sums = read("SHA256SUMS");
    assert_eq!(sums.lines().count(), 3, "{sums}");
    assert!(sums.contains("  ./list.txt") && read("SHA256SUMS.sig").starts_with("signed-"), "{sums}");
    let names = support::said(std::process::Command::new("tar").arg("-tzf").arg(built.package()));
    assert!(names.contains("SHA256SUMS.sig"), "{names}");
    project.build().assert_nothing_to_do();

    project.write("second/both.txt", "twice\n");
    let ran = ["overlay second", "assemble", "checksums", "signature", "finish release", "package tar.gz"];
    assert_eq!(project.ran(), set(&ran));
    assert_ne!(read("SHA256SUMS"), sums);
}

#[test]
fn what_assemble_needs_cannot_need_it() {
    let space = TestSpace::new();
    let project = release(&space);
    project.edit(
        "release.yaml",
        "    run: echo b-list > all.txt\n",
        "    run: echo b-list > all.txt\n    needs: [assembled]\n",
    );
    let said = project.refused(2);
    assert!(said.contains("step `b-list` needs `assembled`, which does not exist"), "{said}");
    assert!(said.contains("did you mean `assemble`?"), "{said}");
    project.edit("release.yaml", "needs: [assembled]", "needs: [package tar.gz]");
    let said = project.refused(2);
    assert!(said.contains("steps need each other"), "{said}");
}
