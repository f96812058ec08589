//! From folders to trees and back, checkouts, and swapping a finished folder in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, Link, Node, StatCache, Store, StoreError, TreeBuilder, swap_in};

fn setup() -> (tempfile::TempDir, Store, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(&root.path().join("store")).unwrap();
    let source = root.path().join("source");
    fs::create_dir_all(source.join("lib/app/empty")).unwrap();
    fs::write(source.join("lib/app/a.beam"), "abc").unwrap();
    fs::write(source.join("lib/app/same"), "abc").unwrap();
    fs::write(source.join("run"), "abc").unwrap();
    fs::set_permissions(source.join("run"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(source.join("lib/app/a.beam"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(source.join("big"), vec![1; 9 << 20]).unwrap();
    symlink("../../outside", source.join("lib/away")).unwrap();
    (root, store, source)
}

fn all(_: &str) -> bool {
    true
}

/// Every path with its kind, permissions and content.
fn picture(root: &Path) -> BTreeMap<String, String> {
    fn below(root: &Path, folder: &Path, out: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let mode = entry.metadata().unwrap().mode() & 0o7777;
            let text = if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_dir() {
                below(root, &path, out);
                format!("folder {mode:o}")
            } else {
                format!("{mode:o} {}", Digest::of_file(&path).unwrap())
            };
            out.insert(path.strip_prefix(root).unwrap().display().to_string(), text);
        }
    }
    let mut out = BTreeMap::new();
    below(root, root, &mut out);
    out
}

#[test]
fn a_folder_comes_back_as_it_was() {
    let (root, store, source) = setup();
    let tree = store.ingest(&source, &all).unwrap();
    assert!(store.complete(&tree).unwrap());
    let dest = root.path().join("dest");
    store.materialize(&tree, &dest, Link::Copy).unwrap();
    let abc = Digest::of(b"abc");
    let picture = picture(&dest);
    let expected = [
        ("big", format!("644 {}", Digest::of(&vec![1; 9 << 20]))),
        ("lib", "folder 755".to_owned()),
        ("lib/app", "folder 755".to_owned()),
        ("lib/app/a.beam", format!("644 {abc}")),
        ("lib/app/empty", "folder 755".to_owned()),
        ("lib/app/same", format!("644 {abc}")),
        ("lib/away", "-> ../../outside".to_owned()),
        ("run", format!("755 {abc}")),
    ];
    assert_eq!(picture, expected.map(|(path, text)| (path.to_owned(), text)).into());
    assert_eq!(store.ingest(&dest, &all).unwrap(), tree);
    assert!(matches!(store.materialize(&tree, &dest, Link::Copy), Err(StoreError::Exists { .. })));
    fs::write(dest.join("run"), "edited").unwrap();
    assert_eq!(store.read(&abc).unwrap(), b"abc", "editing a copy reached the store");
}

#[test]
fn hard_links_share_the_blob() {
    let (root, store, source) = setup();
    let tree = store.ingest(&source, &all).unwrap();
    let dest = root.path().join("dest");
    store.materialize(&tree, &dest, Link::Hard).unwrap();
    let ino = |path: PathBuf| fs::metadata(path).unwrap().ino();
    let abc = Digest::of(b"abc");
    assert_eq!(ino(dest.join("lib/app/same")), ino(store.blob_path(&abc, false)));
    assert_eq!(ino(dest.join("run")), ino(store.blob_path(&abc, true)));
    assert_eq!(fs::metadata(dest.join("run")).unwrap().mode() & 0o7777, 0o555);
}

#[test]
fn the_filter_prunes_and_symlinks_can_be_followed() {
    let (_root, store, source) = setup();
    let asked = std::cell::RefCell::new(Vec::new());
    let filter = |path: &str| {
        asked.borrow_mut().push(path.to_owned());
        path != "lib/app" && path != "big"
    };
    let tree = store.ingest(&source, &filter).unwrap();
    assert_eq!(store.lookup(&tree, "lib/app").unwrap(), None);
    assert!(!asked.borrow().iter().any(|path| path.starts_with("lib/app/")));

    assert!(store.ingest_dereferenced(&source, &all).is_err(), "a symlink to nothing was followed");
    fs::create_dir(source.join("../outside")).unwrap();
    fs::write(source.join("../outside/file"), "there").unwrap();
    fs::remove_file(source.join("lib/away")).unwrap();
    symlink("../../outside", source.join("lib/away")).unwrap();
    let tree = store.ingest_dereferenced(&source, &all).unwrap();
    assert!(matches!(store.lookup(&tree, "lib/away/file").unwrap(), Some(Node::File { .. })));
    symlink("..", source.join("lib/up")).unwrap();
    assert!(matches!(store.ingest_dereferenced(&source, &all), Err(StoreError::Loop { .. })));
}

#[test]
fn the_stat_cache_changes_nothing_but_time() {
    let (root, store, source) = setup();
    let stats = StatCache::load(&root.path().join("stats"));
    std::thread::sleep(std::time::Duration::from_millis(40));
    let plain = store.ingest(&source, &all).unwrap();
    assert_eq!(store.ingest_cached(&source, &all, &stats).unwrap(), plain);
    assert_eq!(stats.len(), 4);
    let gone = store.blob_path(&Digest::of(b"abc"), false);
    fs::remove_file(&gone).unwrap();
    assert_eq!(store.ingest_cached(&source, &all, &stats).unwrap(), plain);
    assert!(gone.exists(), "a blob that is not in the store was believed to be there");
    fs::write(source.join("run"), "abd").unwrap();
    assert_ne!(store.ingest_cached(&source, &all, &stats).unwrap(), plain);
}

#[test]
fn nothing_is_left_of_a_tree_that_lacks_a_blob() {
    let (root, store, source) = setup();
    let tree = store.ingest(&source, &all).unwrap();
    fs::remove_file(store.blob_path(&Digest::of(b"abc"), false)).unwrap();
    assert!(!store.complete(&tree).unwrap());
    for how in [Link::Copy, Link::Hard] {
        let dest = root.path().join("dest");
        assert!(store.materialize(&tree, &dest, how).unwrap_err().is_missing());
        assert!(!dest.exists());
    }
}

#[test]
fn a_symlink_in_a_tree_leads_nothing_outside() {
    let (root, store, _) = setup();
    let outside = root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let mut builder = TreeBuilder::new();
    builder.symlink("a", outside.to_str().unwrap()).unwrap();
    builder.file("a/file", Digest::of(b"abc"), false).unwrap_err();
    // The same with a name that sorts so that the symlink is made first.
    builder.file("b", store.put_bytes(b"abc").unwrap(), false).unwrap();
    let tree = builder.finish(&store).unwrap();
    store.materialize(&tree, &root.path().join("dest"), Link::Copy).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_checkout_is_made_anew_when_anything_in_it_moved() {
    let (_root, store, source) = setup();
    let tree = store.ingest(&source, &all).unwrap();
    let path = store.checkout(&tree).unwrap();
    let first = picture(&path);
    let ino = || fs::metadata(&path).unwrap().ino();
    let before = ino();
    assert_eq!(
        (store.checkout(&tree).unwrap(), ino()),
        (path.clone(), before),
        "it was made anew for nothing"
    );
    let damages: [(&str, &dyn Fn()); 6] = [
        ("removed", &|| fs::remove_file(path.join("run")).unwrap()),
        ("added", &|| fs::write(path.join("lib/new"), "").unwrap()),
        ("emptied", &|| fs::remove_dir(path.join("lib/app/empty")).unwrap()),
        ("replaced", &|| {
            fs::remove_file(path.join("lib/away")).unwrap();
            symlink("elsewhere", path.join("lib/away")).unwrap();
        }),
        ("mode", &|| {
            fs::remove_file(path.join("run")).unwrap();
            fs::hard_link(path.join("lib/app/same"), path.join("run")).unwrap();
        }),
        ("written through", &|| {
            fs::set_permissions(path.join("big"), fs::Permissions::from_mode(0o644)).unwrap();
            fs::write(path.join("big"), vec![2; 9 << 20]).unwrap();
        }),
    ];
    for (name, damage) in damages {
        damage();
        if name == "written through" {
            assert!(
                store.checkout(&tree).unwrap_err().is_missing(),
                "a blob that was overwritten is still used"
            );
            store.put_file(&source.join("big")).unwrap();
        }
        assert_eq!(store.checkout(&tree).unwrap(), path);
        assert_eq!(picture(&path), first, "{name}");
    }
}

fn folder(path: &Path, content: &str) {
    fs::create_dir(path).unwrap();
    fs::write(path.join("file"), content).unwrap();
}

#[test]
fn swapping_replaces_exactly_and_keeps_the_old_one_on_failure() {
    let root = tempfile::tempdir().unwrap();
    let (staging, dest) = (root.path().join("staging"), root.path().join("dest"));
    let content = || fs::read_to_string(dest.join("file")).unwrap();
    folder(&staging, "one");
    swap_in(&staging, &dest).unwrap();
    assert_eq!(content(), "one");
    fs::write(dest.join("stray"), "").unwrap();
    folder(&staging, "two");
    swap_in(&staging, &dest).unwrap();
    assert_eq!((content().as_str(), dest.join("stray").exists(), staging.exists()), ("two", false, false));
    assert!(swap_in(&staging, &dest).is_err());
    assert_eq!(content(), "two", "a staging folder that is not there took the old one away");
    let missing = root.path().join("no/such/dest");
    folder(&staging, "three");
    assert!(swap_in(&staging, &missing).is_err());
    assert!(staging.join("file").exists());
    fs::remove_dir_all(&dest).unwrap();
    symlink(root.path(), &dest).unwrap();
    swap_in(&staging, &dest).unwrap();
    assert_eq!(content(), "three");
    assert!(root.path().exists(), "removing the old symlink followed it");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_is_shown_as_it_is_read_remembered_or_not() {
    let (_root, store, source) = setup();
    let tree = store.ingest(&source, &all).unwrap();
    let shown = |store: &Store| {
        let mut entries = BTreeMap::new();
        store
            .each_entry(&tree, &mut |name, node| drop(entries.insert(name.to_owned(), node.clone())))
            .unwrap();
        entries
    };
    let fresh = shown(&store);
    assert_eq!(fresh, store.directory(&tree).unwrap().entries);
    assert_eq!(fresh, shown(&store));
    let blob = store.put_bytes(b"no directory").unwrap();
    assert!(matches!(store.each_entry(&blob, &mut |_, _| {}), Err(StoreError::NotDirectory { .. })));
}
