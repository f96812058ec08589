//! Builds that are killed, interrupted, or not alone: the release stays, and the next build is right.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::edited::{CHANGE, Edited, edited, expected};
use support::files::{assert_same, snapshot};
use support::project::Project;
use support::{TestSpace, said, wait_until};

fn start(project: &Project) -> Child {
    project.relgraph(&["build"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process")
}

/// How many steps have a folder to work in.
fn working(space: &TestSpace) -> usize {
    let folders = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect()
    };
    folders(&space.store().join("tmp")).iter().map(|session| folders(session).len()).sum()
}

fn names_in(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn killed_at_any_moment_it_keeps_a_release_and_builds_on() {
    let expected = expected();
    let mut reached = 0;
    for moment in [
        "a step began",
        "a step ended",
        "the third step ended",
        "the release is being put",
        "the release was put",
    ] {
        let space = TestSpace::with_sequence();
        let Edited { project, good } = edited(&space, "checkout");
        let before = working(&space);
        let folder = project.dir.join("_build/relgraph/prod");
        let inode = |path: &Path| fs::metadata(path).map(|meta| meta.ino()).ok();
        let old = inode(&folder.join("sequence"));
        let mut child = start(&project);
        let mut progress = BufReader::new(child.stderr.take().expect("its progress")).lines();
        let lines = match moment {
            "a step ended" => 1,
            "the third step ended" => 3,
            _ => 0,
        };
        for _ in 0..lines {
            progress.next();
        }
        let is_now = || match moment {
            "a step began" => working(&space) > before,
            "the release is being put" => names_in(&folder).iter().any(|name| name.ends_with(".staging")),
            "the release was put" => inode(&folder.join("sequence")) != old,
            _ => true,
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !is_now() && child.try_wait().expect("its status").is_none() && Instant::now() < deadline {
            std::hint::spin_loop();
        }
        child.kill().expect("killed");
        reached += usize::from(child.wait().expect("its status").code().is_none());
        let left = snapshot(&folder.join("sequence"));
        assert!(left == good || left == expected.tree, "{moment}: neither the old release nor the new one");
        expected.assert_made(&project.build());
        project.build().assert_nothing_to_do();
    }
    assert!(reached >= 3, "only {reached} builds were killed before they ended");
}

#[test]
fn killed_again_and_again_it_comes_to_the_same_end() {
    let expected = expected();
    let space = TestSpace::cold();
    let project = space.example("sequence", "checkout");
    project.edit(CHANGE.0, CHANGE.1, CHANGE.2);
    let mut kills = 0;
    loop {
        let mut child = start(&project);
        let mut progress = BufReader::new(child.stderr.take().expect("its progress"));
        let mut line = String::new();
        let read = progress.read_line(&mut line).expect("a line");
        if read == 0 {
            assert!(child.wait().expect("its status").success());
            break;
        }
        child.kill().expect("killed");
        child.wait().expect("its status");
        kills += 1;
        assert!(kills < 40, "it makes no progress: {line}");
    }
    assert!(kills >= 3, "only {kills} kills");
    expected.assert_made(&project.build());
}

#[test]
fn an_interrupt_ends_it_with_130_and_everything_it_started() {
    let expected = expected();
    for signal in ["INT", "TERM"] {
        let space = TestSpace::with_sequence();
        let Edited { project, good } = edited(&space, "checkout");
        let project = project.with("E2E_INTERRUPT", &space.path("").display().to_string());
        let before = working(&space);
        let mut child = start(&project);
        wait_until("a step began", || working(&space) > before);
        said(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]));
        let mut told = String::new();
        child.stderr.take().expect("stderr").read_to_string(&mut told).expect("text");
        assert_eq!(child.wait().expect("its status").code(), Some(130), "{signal}: {told}");
        assert!(told.contains("interrupted"), "{told}");
        let mark = space.path("").display().to_string();
        wait_until("nothing that it started runs", || !anyone_has(&mark));
        assert_same(&good, &snapshot(&project.release("sequence")), "the last good release");
        expected.assert_made(&project.build());
    }
}

/// Whether a process has this in its environment.
fn anyone_has(value: &str) -> bool {
    let has = |bytes: Vec<u8>| bytes.windows(value.len()).any(|window| window == value.as_bytes());
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read(entry.path().join("environ")).is_ok_and(has))
}

#[test]
fn two_builds_at_once_in_one_checkout_are_both_right() {
    let expected = expected();
    let space = TestSpace::with_sequence();
    let Edited { project, .. } = edited(&space, "checkout");
    for _ in 0..2 {
        let mut both = [start(&project), start(&project), start(&project)];
        for child in &mut both {
            let mut told = String::new();
            child.stderr.take().expect("stderr").read_to_string(&mut told).expect("text");
            assert!(child.wait().expect("its status").success(), "{told}");
        }
        expected.assert_made(&project.build());
        fs::remove_dir_all(project.dir.join("_build")).expect("removed");
    }
}

#[test]
fn two_builds_at_once_in_two_checkouts_share_a_store() {
    let expected = expected();
    let space = TestSpace::cold();
    let projects = [space.example("sequence", "one"), space.example("sequence", "two/sequence")];
    for project in &projects {
        project.edit(CHANGE.0, CHANGE.1, CHANGE.2);
    }
    let children: Vec<Child> = projects.iter().map(start).collect();
    for mut child in children {
        let mut told = String::new();
        child.stderr.take().expect("stderr").read_to_string(&mut told).expect("text");
        assert!(child.wait().expect("its status").success(), "{told}");
    }
    for project in &projects {
        expected.assert_made(&project.build());
        project.build().assert_nothing_to_do();
    }
}
