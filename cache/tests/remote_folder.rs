//! A shared folder as a remote.

#[path = "support/web/mod.rs"]
mod web;

use relgraph_cache::remote::{Access, RemoteErrorKind, RemoteSpec, Variables, connect};
use web::conform::{Conditions, conforms};
use web::{at, client};

#[test]
fn a_folder_does_what_every_remote_does() {
    let root = tempfile::tempdir().unwrap();
    let spec = at(&format!("file://{}/shared%20folder", root.path().display()));
    conforms(spec, Conditions::Kept);
    assert!(root.path().join("shared folder/VERSION").is_file());
}

#[test]
fn an_address_names_a_folder_of_this_machine() {
    let kind = |url: &str| connect(&at(url), &Variables::new()).map(|_| ()).map_err(|error| error.kind);
    for url in ["file:///srv/cache", "file://localhost/srv/cache"] {
        assert_eq!(kind(url), Ok(()), "{url}");
    }
    for url in ["file://server/srv", "file://srv", "file:///", "file:///srv?x=1", "file:///srv#1"] {
        assert_eq!(kind(url), Err(RemoteErrorKind::Config), "{url}");
    }
}

#[test]
fn a_mount_that_is_missing_is_not_filled_on_this_disk() {
    let root = tempfile::tempdir().unwrap();
    let spec: RemoteSpec = at(&format!("file://{}/mnt/cache", root.path().display()));
    for access in [Access::Read, Access::ReadWrite] {
        let remote = client(&spec, access);
        let error = remote.get(&web::name("any")).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
        let stored = remote.store(vec![web::blob(b"a".to_vec())]).unwrap_err();
        assert!(matches!(stored.kind, RemoteErrorKind::Unreachable | RemoteErrorKind::Denied), "{stored}");
    }
    assert!(!root.path().join("mnt").exists());
}
