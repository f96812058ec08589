//! What goes wrong around a build: kills, full disks, flipped bits, another build. The release stays, the next build is
//! right.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::files::{all_files, assert_same, snapshot};
use support::project::{Built, Project};
use support::{TestSpace, ask, is_root, said, wait_until};

type Tree = BTreeMap<String, String>;

/// examples/sequence at 0.1.0, built, and then edited.
struct Edited {
    project: Project,
    good: Tree,
}

const CHANGE: (&str, &str, &str) = ("lib/sequence/label.ex", "number #{number}", "no. #{number}");

fn edited(space: &TestSpace, at: &str) -> Edited {
    let project = space.example("sequence", at);
    let good = snapshot(&project.build().release());
    project.edit(CHANGE.0, CHANGE.1, CHANGE.2);
    Edited { project, good }
}

/// What a build of the edited project makes where nothing goes wrong.
struct Expected {
    tree: Tree,
    digest: String,
    package: Vec<u8>,
}

fn expected() -> Expected {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    project.edit(CHANGE.0, CHANGE.1, CHANGE.2);
    let built = project.build();
    let package = fs::read(built.package()).expect("the package");
    Expected { tree: snapshot(&built.release()), digest: built.digest().to_owned(), package }
}

impl Expected {
    /// Asserts that a build made it, and left nothing else.
    #[track_caller]
    fn assert_made(&self, built: &Built) {
        assert_same(&self.tree, &snapshot(&built.release()), "the release");
        assert_eq!(built.digest(), self.digest);
        assert!(fs::read(built.package()).expect("the package") == self.package, "the package");
        let folder = built.release();
        let folder = folder.parent().expect("its folder");
        let mut names: Vec<String> =
            fs::read_dir(folder).expect("a folder").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(names, ["sequence", "sequence-0.1.0.tar.gz"], "beside the release");
    }
}

fn start(project: &Project) -> Child {
    project.relgraph(&["build"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process")
}

/// How many steps have a folder to work in.
fn working(space: &TestSpace) -> usize {
    let folders = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
    };
    folders(&space.store().join("tmp")).iter().map(|session| folders(session).len()).sum()
}

fn names_in(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn killed_at_any_moment_it_keeps_a_release_and_builds_on() {
    let expected = expected();
    let mut reached = 0;
    for moment in ["a step began", "a step ended", "the third step ended", "the release is being put", "the release was put"] {
        let space = TestSpace::cold();
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
        let space = TestSpace::cold();
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
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| fs::read(entry.path().join("environ")).is_ok_and(has))
}

#[test]
fn two_builds_at_once_in_one_checkout_are_both_right() {
    let expected = expected();
    let space = TestSpace::cold();
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

/// Flips one bit in the middle of a file, which keeps its time or not.
fn flip(path: &Path, keep_time: bool) {
    let meta = fs::metadata(path).expect("metadata");
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x10;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("a mode");
    fs::write(path, bytes).expect("written");
    if keep_time {
        let time = meta.modified().expect("a time");
        fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("a time");
    }
    fs::set_permissions(path, meta.permissions()).expect("a mode");
}

fn blob(store: &Path, digest: &str) -> PathBuf {
    store.join("cas").join(&digest[..2]).join(digest.split('/').next().expect("a hash"))
}

#[test]
fn a_flipped_bit_in_what_a_release_is_made_of_is_found() {
    let space = TestSpace::cold();
    let project = space.example("sequence", "checkout");
    let built = project.build();
    let tree = snapshot(&built.release());
    let package = fs::read(built.package()).expect("the package");
    let file = |path: &str| relgraph_cache::Digest::of_file(&built.release().join(path)).expect("a file").to_string();
    let damaged = [
        ("a module", file("lib/sequence-0.1.0/ebin/Elixir.Sequence.beam")),
        ("a boot script", file("releases/0.1.0/start.boot")),
        ("the tree", built.digest().to_owned()),
        ("the package", built.json["packages"][0]["digest"].as_str().expect("a digest").to_owned()),
    ];
    for keep_time in [false, true] {
        for (what, digest) in &damaged {
            flip(&blob(space.store(), digest), keep_time);
            fs::remove_dir_all(project.dir.join("_build")).expect("removed");
            let again = project.build();
            assert_eq!(again.digest(), built.digest(), "{what}, time kept: {keep_time}");
            assert_same(&tree, &snapshot(&again.release()), what);
            assert!(fs::read(again.package()).expect("the package") == package, "{what}, time kept: {keep_time}");
        }
    }
}

#[test]
fn a_store_full_of_flipped_bits_is_as_good_as_none() {
    let expected = expected();
    for keep_time in [false, true] {
        let space = TestSpace::cold();
        let Edited { project, good } = edited(&space, "checkout");
        for file in all_files(space.store()).iter().filter(|file| !file.ends_with("VERSION")) {
            flip(file, keep_time);
        }
        let said = project.ask(&["build"]);
        if said.status != Some(0) {
            // What is damaged may be found while it is used; what was found is gone, and is made again.
            assert!(!said.err.contains("panicked"), "{}", said.err);
            assert_same(&good, &snapshot(&project.release("sequence")), "the last good release");
            wait_until("the store is mended", || project.ask(&["build"]).status == Some(0));
        }
        expected.assert_made(&project.build());
    }
}

#[test]
fn a_flipped_bit_in_a_dependency_does_not_reach_its_dependents() {
    let space = TestSpace::cold();
    let project = space.cold_shop("checkout");
    project.build();
    project.append("vendor/money/lib/money.ex", "defmodule Money.Unseen do\n  def unseen, do: :unseen\nend");
    project.append("lib/shop/till.ex", "defmodule Shop.Unseen do\n  def unseen, do: %Money{cents: 1}\nend");
    let reference = project.build();
    let tree = snapshot(&reference.release());
    project.edit("lib/shop/till.ex", "cents: 1}", "cents: 2}");
    let beams: Vec<PathBuf> = all_files(&space.store().join("cas"))
        .into_iter()
        .filter(|file| {
            let bytes = fs::read(file).expect("a blob");
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            bytes.starts_with(b"FOR1") && holds(b"Elixir.Money") && !holds(b"Elixir.Shop") && !holds(b"Elixir.Pricing")
        })
        .collect();
    assert!(beams.len() > 1, "{beams:?}");
    for beam in &beams {
        flip(beam, true);
    }
    let said = project.ask(&["build"]);
    assert!(!said.err.contains("panicked"), "{}", said.err);
    project.edit("lib/shop/till.ex", "cents: 2}", "cents: 1}");
    let back = project.build();
    assert_eq!(back.digest(), reference.digest());
    assert_same(&tree, &snapshot(&back.release()), "the release");
}

#[test]
fn lost_and_garbled_parts_of_the_store_are_made_again() {
    let expected = expected();
    let space = TestSpace::cold();
    let Edited { project, .. } = edited(&space, "checkout");
    project.build();
    for lost in ["ac", "trees", "cas", "tmp", "index.sqlite", "VERSION"] {
        relgraph_cache::remove_tree(&space.store().join(lost)).expect("removed");
        fs::remove_dir_all(project.dir.join("_build")).expect("removed");
        expected.assert_made(&project.build());
    }
    fs::write(space.store().join("index.sqlite"), "this is no database, however long one looks at it").expect("written");
    fs::remove_dir_all(project.dir.join("_build")).expect("removed");
    let again = project.build();
    assert_eq!(again.executed(), 0, "the index mirrors what the files say");
    expected.assert_made(&again);
    for kept in all_files(&project.dir.join("_build/relgraph/.state")) {
        flip(&kept, false);
        expected.assert_made(&project.build());
    }
}

/// A small file system that ends with this value: a tmpfs in a mount namespace of its own.
struct SmallDisk {
    keeper: Child,
    dir: PathBuf,
}

impl SmallDisk {
    /// `None`: this machine lets nobody mount.
    fn new(dir: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(dir).expect("a folder");
        let script = format!("mount -t tmpfs -o size={megabytes}m,mode=755 small \"$0\" && echo ready && exec sleep 3600");
        let flags = if is_root() { "-m" } else { "-Urm" };
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", &script]).arg(dir).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = command.spawn().ok()?;
        let mut line = String::new();
        let mut out = BufReader::new(keeper.stdout.take()?);
        if out.read_line(&mut line).is_ok() && line == "ready\n" {
            return Some(SmallDisk { keeper, dir: dir.to_owned() });
        }
        let _ = keeper.wait();
        None
    }

    /// A path in it, as everybody else sees it.
    fn path(&self, name: &str) -> PathBuf {
        let inside = self.dir.join(name);
        Path::new("/proc").join(self.keeper.id().to_string()).join("root").join(inside.strip_prefix("/").expect("absolute"))
    }

    /// What starts a command so that it sees the disk, in a folder of it.
    fn enter(&self, name: &str) -> Vec<String> {
        let pid = self.keeper.id().to_string();
        let mut words: Vec<&str> = vec!["nsenter", "-t", &pid, "-m"];
        if !is_root() {
            words.extend(["-U", "--preserve-credentials"]);
        }
        let folder = self.dir.join(name).display().to_string();
        words.extend(["sh", "-c", "cd \"$0\" && exec \"$@\"", &folder]);
        words.into_iter().map(str::to_owned).collect()
    }

    /// Fills it but for so many bytes.
    fn fill(&self, left: usize) {
        let filler = self.path("filler");
        let mut zeros = fs::File::open("/dev/zero").expect("zeros");
        // It ends where the disk does.
        let _ = std::io::copy(&mut zeros, &mut fs::File::create(&filler).expect("the filler"));
        let full = fs::metadata(&filler).expect("the filler").len();
        let file = fs::File::options().write(true).open(&filler).expect("the filler");
        file.set_len(full.saturating_sub(left as u64)).expect("shorter");
    }

    fn free(&self) {
        fs::remove_file(self.path("filler")).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

#[test]
fn a_full_disk_keeps_the_release_and_the_store() {
    let space = TestSpace::cold();
    let Some(disk) = SmallDisk::new(&space.path("disk"), 300) else { return files_that_may_not_grow() };
    let expected = expected();
    let outside = disk.path("checkout");
    support::files::copy(&support::source("examples/sequence"), &outside);
    let mut project = Project::new(outside, &disk.dir.join("store")).by(disk.enter("checkout"));
    project.env.push(("HOME".into(), disk.dir.display().to_string()));
    project.build();
    let release = project.release("sequence");
    let good = snapshot(&release);
    project.edit(CHANGE.0, CHANGE.1, CHANGE.2);
    // Room for less and less of: nothing, a step, the steps, the steps and half of the release.
    let mut failed = 0;
    for left in [0, 64 << 10, 512 << 10, 8 << 20, 16 << 20] {
        disk.fill(left);
        let said = project.ask(&["build"]);
        disk.free();
        if said.status == Some(0) {
            break;
        }
        failed += 1;
        assert_eq!(said.status, Some(1), "{left}: {}", said.err);
        assert!((said.err.contains("o space left") || said.err.contains(":enospc")) && !said.err.contains("panicked"), "{left}: {}", said.err);
        assert_same(&good, &snapshot(&release), &format!("the last good release, {left} bytes left"));
    }
    assert!(failed >= 2, "the disk was never full");
    let built = project.build();
    assert_eq!(built.digest(), expected.digest);
    assert_same(&expected.tree, &snapshot(&release), "the release");
    project.build().assert_nothing_to_do();
}

#[test]
fn files_that_may_not_grow() {
    let expected = expected();
    let space = TestSpace::cold();
    let Edited { project, good } = edited(&space, "checkout");
    for blocks in ["0", "2", "64", "2048"] {
        let limited = project.clone().by(["sh", "-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", blocks]);
        let said = ask(&mut limited.relgraph(&["build"]));
        assert!(matches!(said.status, Some(0..=2)) && !said.err.contains("panicked"), "{blocks}: {said:?}");
        if said.status != Some(0) {
            assert_same(&good, &snapshot(&project.release("sequence")), "the last good release");
        }
    }
    expected.assert_made(&project.build());
}
