//! What every remote must do.

use std::collections::BTreeSet;

use relgraph_cache::Digest;
use relgraph_cache::remote::{Access, Condition, RemoteErrorKind};

use super::{Place, blob, fetch, file_blob, name, noise};

/// Whether a server keeps to the conditions under which an entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    Kept,
    /// Two do not both write the first, but a change may be lost.
    KeptForNew,
    Ignored,
}

/// What every remote must do; `place` says where it is, and it must be empty.
pub fn conforms(place: impl Into<Place>, conditions: Conditions) {
    let place = place.into();
    entries(&place, conditions);
    blobs(&place);
    reading_only(&place);
}

fn entries(place: &Place, conditions: Conditions) {
    let remote = place.client(Access::ReadWrite);
    let this = name("an entry");
    assert_eq!(remote.get(&this).unwrap(), None);
    assert!(remote.put(&this, b"first", &[], &Condition::Absent).unwrap());
    let first = remote.get(&this).unwrap().unwrap();
    assert_eq!(first.bytes, b"first");

    let other = remote.put(&this, b"second", &[], &Condition::Absent).unwrap();
    let found = remote.get(&this).unwrap().unwrap();
    match conditions {
        Conditions::Kept | Conditions::KeptForNew => {
            assert_eq!((other, &found.bytes), (false, &first.bytes));
        }
        Conditions::Ignored => assert!(other == (found.bytes == b"second")),
    }
    if let Some(version) = found.version.clone() {
        let unchanged = Condition::Unchanged(version);
        assert!(remote.put(&this, b"third, which is longer", &[], &unchanged).unwrap());
        let third = remote.get(&this).unwrap().unwrap();
        assert_eq!(third.bytes, b"third, which is longer");
        if conditions == Conditions::Kept {
            assert_ne!(third.version, found.version);
            assert!(!remote.put(&this, b"fourth", &[], &unchanged).unwrap());
            assert_eq!(remote.get(&this).unwrap().unwrap(), third);
            assert!(!remote.put(&name("never"), b"fifth", &[], &unchanged).unwrap());
            assert_eq!(remote.get(&name("never")).unwrap(), None);
        }
    } else {
        assert_ne!(conditions, Conditions::Kept, "a version is what conditions are about");
    }
    assert!(remote.put(&this, b"", &[], &Condition::Always).unwrap());
    assert_eq!(remote.get(&this).unwrap().unwrap().bytes, b"");
    let large = noise(1, 3 << 20);
    assert!(remote.put(&name("large"), &large, &[], &Condition::Always).unwrap());
    assert_eq!(place.client(Access::Read).get(&name("large")).unwrap().unwrap().bytes, large);
}

fn blobs(place: &Place) {
    let remote = place.client(Access::ReadWrite);
    let scratch = tempfile::tempdir().unwrap();
    let large = noise(2, 50_000_000);
    let mut all = vec![blob(Vec::new()), blob(b"small".to_vec()), file_blob(scratch.path(), &large)];
    all.push(blob(noise(3, 1_000_000)));
    all.extend((0..3000).map(|n| blob(noise(1000 + n, 200 + n as usize))));
    let digests: Vec<Digest> = all.iter().map(|(digest, _)| *digest).collect();
    let absent = Digest::of(b"never stored");

    assert_eq!(remote.missing(&[]).unwrap(), []);
    remote.store(Vec::new()).unwrap();
    assert_eq!(fetch(&*remote, &[]).1, Ok(()));
    assert_eq!(remote.missing(&digests).unwrap().len(), digests.len());
    remote.store(all.clone()).unwrap();
    assert_eq!(remote.missing(&[&digests[..], &[absent]].concat()).unwrap(), [absent]);
    remote.store(all[..100].to_vec()).unwrap();
    assert!(remote.put(&name("result"), b"a result", &digests, &Condition::Absent).unwrap());

    // Somebody else, who knows what the entry says.
    let reader = place.client(Access::Read);
    assert_eq!(reader.get(&name("result")).unwrap().unwrap().bytes, b"a result");
    assert_eq!(reader.missing(&[&digests[..], &[absent]].concat()).unwrap(), [absent]);
    let (brought, result) = fetch(&*reader, &[&[absent], &digests[..]].concat());
    result.unwrap();
    assert_eq!(brought.len(), digests.iter().collect::<BTreeSet<_>>().len() + 1);
    for (digest, bytes) in &brought {
        match bytes {
            None => assert_eq!(*digest, absent),
            Some(bytes) => assert_eq!(Digest::of(bytes), *digest),
        }
    }
    assert!(!remote.describe().unwrap().is_empty());
    assert!(!reader.describe().unwrap().is_empty());
}

fn reading_only(place: &Place) {
    let reader = place.client(Access::Read);
    let denied = |result: Result<(), relgraph_cache::remote::RemoteError>| {
        assert_eq!(result.unwrap_err().kind, RemoteErrorKind::Denied);
    };
    denied(reader.put(&name("an entry"), b"mine", &[], &Condition::Always).map(|_| ()));
    denied(reader.store(vec![blob(b"mine".to_vec())]));
    assert_eq!(place.client(Access::Read).get(&name("an entry")).unwrap().unwrap().bytes, b"");
    assert_eq!(place.client(Access::ReadWrite).missing(&[Digest::of(b"mine")]).unwrap().len(), 1);
}

/// Blobs that `damage` gives other bytes of the same length are none, and are there again when they are stored again.
pub fn mends(place: impl Into<Place>, damage: &dyn Fn()) {
    let place = place.into();
    let writer = place.client(Access::ReadWrite);
    let all: Vec<_> = [10, 200_000, 9_000_000].map(|size| blob(noise(size, size as usize))).into();
    let digests: Vec<Digest> = all.iter().map(|(digest, _)| *digest).collect();
    writer.store(all.clone()).unwrap();
    assert!(writer.put(&name("result"), b"a result", &digests, &Condition::Always).unwrap());
    damage();
    let other = place.client(Access::ReadWrite);
    other.get(&name("result")).unwrap();
    let (brought, result) = fetch(&*other, &digests);
    result.unwrap();
    assert!(brought.len() == 3 && brought.values().all(Option::is_none));
    assert_eq!(other.missing(&digests).unwrap(), digests);
    other.store(all).unwrap();
    assert_eq!(other.missing(&digests).unwrap(), []);
    for remote in [&writer, &other] {
        assert!(fetch(&**remote, &digests).0.values().all(Option::is_some));
    }
}
