//! Which files programs have read that nobody watches: make, and what it starts.
//!
//! A file that is given an old time of access gets a new one when it is first read: file systems that are mounted with
//! `relatime`, as nearly all are, promise that much. Where one does not keep that promise, which is tried out, nobody knows
//! what was read, and everything that was in sight counts.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use relgraph_cache::{Digest, Node, Probe, Store};
use relgraph_engine::StepError;

/// The time of access of what nobody has read: seconds since 1970.
const UNREAD: u64 = 946_600_000;

/// The times of a file that nobody has read yet and that was written at a moment, in seconds since 1970.
pub fn unread(written: u64) -> FileTimes {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    FileTimes::new().set_modified(at(written)).set_accessed(at(UNREAD))
}

fn is_unread(path: &Path) -> io::Result<bool> {
    let accessed = fs::metadata(path)?.accessed()?;
    Ok(accessed == SystemTime::UNIX_EPOCH + Duration::from_secs(UNREAD))
}

/// Whether the file system of a folder tells who has read. Nothing is left in the folder.
pub fn is_told(folder: &Path) -> bool {
    tried(folder).unwrap_or(false)
}

fn tried(folder: &Path) -> io::Result<bool> {
    let [one, other] = [".read", ".cloned"].map(|name| folder.join(name));
    File::create(&one)?.write_all(b"read me")?;
    let forget = || File::options().write(true).open(&one)?.set_times(unread(UNREAD));
    forget()?;
    let kept = is_unread(&one)?;
    fs::read(&one)?;
    let read = !is_unread(&one)?;
    // Some file systems copy without reading.
    forget()?;
    let cloned = reflink_copy::reflink(&one, &other).is_err() || !is_unread(&one)?;
    let _ = fs::remove_file(&other);
    fs::remove_file(&one)?;
    Ok(kept && read && cloned)
}

/// What a step depends on that saw the stored tree `tree`, laid out at `real` with times of [`unread`], at the path `at`: the
/// content of what was read, and which names there are. `None` where that cannot be told.
pub fn probes(
    store: &Store,
    tree: &Digest,
    real: &Path,
    at: &str,
) -> Result<Option<BTreeSet<Probe>>, StepError> {
    let mut probes = BTreeSet::from([Probe::Listing(at.to_owned())]);
    for (path, node) in store.walk(tree)? {
        let inside = format!("{at}/{path}");
        match node {
            Node::Directory { .. } => probes.insert(Probe::Listing(inside)),
            // What is gone was moved, and read elsewhere.
            Node::File { .. } if is_unread(&real.join(&path)).unwrap_or(false) => {
                probes.insert(Probe::Kind(inside))
            }
            Node::File { .. } => probes.insert(Probe::Content(inside)),
            Node::Symlink { .. } => return Ok(None),
        };
    }
    Ok(Some(probes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_told_from_what_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        if !is_told(folder.path()) {
            let _ = io::stderr().write_all(b"NOT TESTED: this file system does not tell who has read\n");
            return;
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left");
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        for file in [&one, &two] {
            fs::write(file, name_of(file)).expect("a file");
            let times =
                File::options().write(true).open(file).and_then(|file| file.set_times(unread(UNREAD + 9)));
            times.expect("its times");
        }
        fs::metadata(&one).expect("it is there");
        let status = std::process::Command::new("cp").arg(&two).arg(folder.path().join("three")).status();
        assert!(status.expect("cp runs").success());
        assert!(is_unread(&one).expect("its time"), "looking at it is not reading");
        assert!(!is_unread(&two).expect("its time"));
    }

    fn name_of(path: &Path) -> Vec<u8> {
        path.display().to_string().into_bytes()
    }
}
