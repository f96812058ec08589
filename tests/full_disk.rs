//! A disk that is full, and files that may not grow: the release and the store stay.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::edited::{CHANGE, Edited, edited, expected};
use support::files::{assert_same, snapshot};
use support::project::Project;
use support::{TestSpace, ask, is_root};

/// A small file system that ends with this value: a tmpfs in a mount namespace of its own.
struct SmallDisk {
    keeper: Child,
    dir: PathBuf,
}

impl SmallDisk {
    /// `None`: this machine lets nobody mount.
    fn new(dir: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(dir).expect("a folder");
        let script = format!(
            "mount -t tmpfs -o size={megabytes}m,mode=755 small \"$0\" && echo ready && exec sleep 3600"
        );
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
        Path::new("/proc")
            .join(self.keeper.id().to_string())
            .join("root")
            .join(inside.strip_prefix("/").expect("absolute"))
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
        assert!(
            (said.err.contains("o space left") || said.err.contains("the disk is full"))
                && !said.err.contains("panicked"),
            "{left}: {}",
            said.err
        );
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
    let space = TestSpace::with_sequence();
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
