//! The state file: what moved is found, what is in doubt is not believed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use relgraph_cache::Digest;
use relgraph_engine::state::{Freshness, State, take_stamps};
use relgraph_engine::*;

/// A root with `dirs` folders of `files` files each, and the state of it.
fn project(dirs: usize, files: usize) -> (tempfile::TempDir, State) {
    let root = tempfile::tempdir().unwrap();
    let mut paths = vec!["missing".to_owned(), "missing-folder/x".to_owned()];
    for d in 0..dirs {
        let folder = format!("lib/dir{d:03}");
        fs::create_dir_all(root.path().join(&folder)).unwrap();
        for f in 0..files {
            let path = format!("{folder}/file{f:04}.ex");
            fs::write(root.path().join(&path), "x").unwrap();
            paths.push(path);
        }
        paths.push(folder);
    }
    std::os::unix::fs::symlink("nowhere", root.path().join("link")).unwrap();
    paths.push("link".into());
    let state = stamped(root.path(), paths);
    (root, state)
}

fn stamped(root: &Path, paths: Vec<String>) -> State {
    let (taken_ns, entries) = take_stamps(root, paths).unwrap();
    let digest = Digest::of(b"");
    let env = vec![("SET".into(), Some(Digest::of(b"1"))), ("UNSET".into(), None)];
    State {
        identity: digest,
        request: digest,
        root: root.to_owned(),
        taken_ns,
        entries,
        env,
        summary: vec![],
    }
}

fn env() -> BTreeMap<String, String> {
    [("SET".to_owned(), "1".to_owned())].into()
}

fn moved(state: &State) -> Option<String> {
    match state.is_fresh(&env()) {
        Freshness::Fresh => None,
        Freshness::Moved(path) => Some(path),
    }
}

#[test]
fn files_just_written_are_believed_after_a_short_wait() {
    let (_root, state) = project(3, 5);
    assert_eq!(moved(&state), None);
    let mut hasty = state.clone();
    hasty.taken_ns = state.entries.iter().fold(0, |ns, (_, e)| match e {
        Expect::Stamp(s) | Expect::Directory(s) => ns.max(s.ctime_ns),
        Expect::Absent => ns,
    });
    assert!(moved(&hasty).is_some(), "stamps that are not older than the state prove nothing");
}

#[test]
fn every_kind_of_change_is_seen() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 10] = [
        ("lib/dir001/file0002.ex", |r| fs::write(r.join("lib/dir001/file0002.ex"), "y").unwrap()),
        ("lib/dir001/file0002.ex", |r| fs::remove_file(r.join("lib/dir001/file0002.ex")).unwrap()),
        ("lib/dir001", |r| fs::write(r.join("lib/dir001/new.ex"), "y").unwrap()),
        ("lib/dir000", |r| fs::rename(r.join("lib/dir000"), r.join("lib/moved")).unwrap()),
        ("missing", |r| fs::write(r.join("missing"), "").unwrap()),
        ("missing-folder/x", |r| {
            fs::create_dir(r.join("missing-folder")).unwrap();
            fs::write(r.join("missing-folder/x"), "").unwrap();
        }),
        ("link", |r| {
            fs::remove_file(r.join("link")).unwrap();
            std::os::unix::fs::symlink("elsewhr", r.join("link")).unwrap();
        }),
        ("lib/dir002/file0000.ex", |r| {
            // The same size and the same mtime.
            let file = fs::File::options().write(true).open(r.join("lib/dir002/file0000.ex")).unwrap();
            let times = fs::FileTimes::new().set_modified(file.metadata().unwrap().modified().unwrap());
            std::io::Write::write_all(&mut &file, b"y").unwrap();
            file.set_times(times).unwrap();
        }),
        ("lib/dir002/file0001.ex", |r| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(r.join("lib/dir002/file0001.ex"), PermissionsExt::from_mode(0o755)).unwrap();
        }),
        ("lib/dir002/file0003.ex", |r| {
            fs::remove_file(r.join("lib/dir002/file0003.ex")).unwrap();
            fs::create_dir(r.join("lib/dir002/file0003.ex")).unwrap();
        }),
    ];
    for (path, change) in changes {
        let (root, state) = project(3, 5);
        change(root.path());
        let found = moved(&state).unwrap_or_else(|| panic!("{path}: not seen"));
        // A folder whose entries changed comes first.
        assert!(path.starts_with(&found), "{path}: {found}");
    }
}

#[test]
fn the_first_of_several_is_named() {
    let (root, state) = project(40, 30);
    for path in ["lib/dir030/file0001.ex", "lib/dir007/file0003.ex", "lib/dir007/file0029.ex"] {
        fs::write(root.path().join(path), "y").unwrap();
    }
    for _ in 0..20 {
        assert_eq!(moved(&state).as_deref(), Some("lib/dir007/file0003.ex"));
    }
}

#[test]
fn the_environment_counts() {
    let (_root, state) = project(1, 1);
    let with = |name: &str, value: &str| {
        let mut env = env();
        env.insert(name.into(), value.into());
        state.is_fresh(&env)
    };
    assert_eq!(with("OTHER", "x"), Freshness::Fresh);
    assert_eq!(with("SET", "2"), Freshness::Moved("env SET".into()));
    assert_eq!(with("UNSET", ""), Freshness::Moved("env UNSET".into()));
    assert_eq!(state.is_fresh(&BTreeMap::new()), Freshness::Moved("env SET".into()));
}

#[test]
fn absolute_paths_are_looked_up_as_such() {
    let (root, _) = project(1, 1);
    let outside = tempfile::tempdir().unwrap();
    let paths: Vec<String> = (0..5).map(|n| format!("{}/f{n}", outside.path().display())).collect();
    paths.iter().for_each(|path| fs::write(path, "x").unwrap());
    let state = stamped(root.path(), paths.clone());
    assert_eq!(moved(&state), None);
    fs::write(&paths[3], "y").unwrap();
    assert_eq!(moved(&state).as_deref(), Some(paths[3].as_str()));
}

#[test]
fn a_file_from_the_future_is_no_reason_to_build_for_ever() {
    let (root, _) = project(1, 1);
    let file = fs::File::create(root.path().join("future")).unwrap();
    let later = SystemTime::now() + Duration::from_secs(86_400);
    file.set_times(fs::FileTimes::new().set_modified(later)).unwrap();
    let state = stamped(root.path(), vec!["future".into()]);
    assert_eq!(moved(&state), None);
}

#[test]
fn saved_and_loaded_and_any_doubt_is_none() {
    let (root, state) = project(2, 2);
    let path = root.path().join(".relgraph/state");
    state.save(&path).unwrap();
    assert_eq!(State::load(&path), Some(state.clone()));
    let bytes = fs::read(&path).unwrap();
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        assert_eq!(State::load(&path), None);
    }
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(State::load(&path), None);
    assert_eq!(State::load(&root.path().join("none")), None);
    state.save(&path).unwrap();
    let left = fs::read_dir(root.path().join(".relgraph")).unwrap().count();
    assert_eq!(left, 1, "temporary files stay behind");
    fs::remove_dir_all(root.path()).unwrap();
    assert!(moved(&state).is_some());
}
