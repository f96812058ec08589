//! Object stores as remotes.

#[path = "support/web/mod.rs"]
mod web;

use relgraph_cache::Digest;
use relgraph_cache::remote::{Access, Condition, RemoteErrorKind, RemoteSpec, Variables, connect};
use web::conform::{Conditions, conforms};
use web::rgw::Gateway;
use web::s3::{KEY, S3, SECRET, variables};
use web::server::free_port;
use web::{Place, at, blob, fetch, name};

#[test]
fn s3_does_what_every_remote_does() {
    let s3 = S3::start();
    conforms(s3.place("a/prefix"), Conditions::Kept);
    conforms(s3.place(""), Conditions::Kept);
    assert!(s3.place("").client(Access::Read).clock().unwrap().is_some());
}

#[test]
fn ceph_does_what_every_remote_does_and_lets_one_of_many_win() {
    let ceph = Gateway::start();
    conforms(ceph.place("a/prefix"), Conditions::Kept);
    let remote = ceph.place("races").client(Access::ReadWrite);
    let winners = |entry: &str, condition: &Condition| {
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|n| {
                    let remote = &remote;
                    scope.spawn(move || {
                        remote.put(&name(entry), format!("{entry} {n}").as_bytes(), &[], condition).unwrap()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).filter(|won| *won).count()
        })
    };
    for round in 0..5 {
        let entry = format!("race {round}");
        assert_eq!(winners(&entry, &Condition::Absent), 1);
        let version = remote.get(&name(&entry)).unwrap().unwrap().version.unwrap();
        assert!(remote.put(&name(&entry), b"other", &[], &Condition::Unchanged(version)).unwrap());
        let version = remote.get(&name(&entry)).unwrap().unwrap().version.unwrap();
        assert_eq!(winners(&entry, &Condition::Unchanged(version)), 1);
    }
    // It says so when there is no such bucket.
    let mut place = ceph.place("p");
    place.spec.url = "s3://another-bucket/p".to_owned();
    let error = place.client(Access::ReadWrite).store(vec![blob(b"a".to_vec())]).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
    assert!(error.message.contains("no such bucket"), "{error}");
}

#[test]
fn a_blob_with_other_bytes_is_none_and_is_stored_again() {
    let s3 = S3::start();
    web::conform::mends(s3.place("p"), &|| {
        for folder in std::fs::read_dir(s3.files("p/cas")).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                std::fs::write(&path, vec![0; std::fs::metadata(&path).unwrap().len() as usize]).unwrap();
            }
        }
    });
}

#[test]
fn who_is_not_known_is_refused_and_nothing_secret_is_said() {
    let s3 = S3::start();
    let ours = s3.place("p").client(Access::ReadWrite);
    assert!(ours.put(&name("e"), b"entry", &[], &Condition::Always).unwrap());
    for (key, secret) in [("AWS_SECRET_ACCESS_KEY", "another secret"), ("AWS_ACCESS_KEY_ID", "another key")] {
        let mut place = s3.place("p");
        place.variables.insert(key.to_owned(), secret.to_owned());
        let remote = place.client(Access::ReadWrite);
        for error in [
            remote.get(&name("e")).unwrap_err(),
            remote.put(&name("e"), b"mine", &[], &Condition::Absent).unwrap_err(),
            remote.missing(&[Digest::of(b"a")]).unwrap_err(),
            fetch(&*remote, &[Digest::of(b"a")]).1.unwrap_err(),
            remote.store(vec![blob(b"a".to_vec())]).unwrap_err(),
            remote.store(vec![blob(web::noise(1, 9_000_000))]).unwrap_err(),
            remote.describe().unwrap_err(),
        ] {
            assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
            for hidden in [KEY, SECRET, secret, "Signature", "X-Amz"] {
                assert!(!error.message.contains(hidden), "{error}");
            }
        }
        let shown = format!("{remote:?} {}", remote.url());
        assert!(!shown.contains(SECRET) && !shown.contains(secret), "{shown}");
    }
    assert_eq!(ours.get(&name("e")).unwrap().unwrap().bytes, b"entry");
}

#[test]
fn a_bucket_that_is_not_there_is_told() {
    let s3 = S3::start();
    let place = Place { spec: at("s3://another-bucket/p"), variables: s3.variables() };
    let error = place.client(Access::Read).describe().unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
    assert!(error.message.contains("no such bucket"), "{error}");
}

#[test]
fn nobody_there_is_unreachable() {
    let place = Place { spec: at("s3://bucket/p"), variables: variables(free_port(), KEY, SECRET) };
    let remote = place.client(Access::ReadWrite);
    for error in [
        remote.get(&name("e")).unwrap_err(),
        remote.store(vec![blob(vec![1])]).unwrap_err(),
        remote.clock().unwrap_err(),
    ] {
        assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
    }
}

#[test]
fn what_is_described_wrongly_is_told() {
    let kind = |url: &str, variables: &[(&str, &str)]| {
        let variables: Variables =
            variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        connect(&at(url), &variables).map(|_| ()).map_err(|error| error.kind)
    };
    for url in ["s3://", "s3:///prefix", "s3://bucket/p?x=1", "s3://bucket/p#x", "gs://", "az://"] {
        assert_eq!(kind(url, &[]), Err(RemoteErrorKind::Config), "{url}");
    }
    let plain = ("AWS_ENDPOINT_URL", "http://cache.example");
    assert_eq!(kind("s3://bucket", &[plain]), Err(RemoteErrorKind::Config));
    assert_eq!(kind("s3://bucket", &[plain, ("AWS_ALLOW_HTTP", "true")]), Ok(()));
    assert_eq!(kind("s3://bucket", &[("AWS_ENDPOINT_URL", "https://cache.example")]), Ok(()));
    assert_eq!(kind("s3://bucket", &[("AWS_ACCESS_KEY_ID", "k")]), Err(RemoteErrorKind::Config));
    assert_eq!(kind("az://container", &[]), Err(RemoteErrorKind::Config));
    let account = [("AZURE_STORAGE_ACCOUNT_NAME", "a"), ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")];
    assert_eq!(kind("az://container/p", &account), Ok(()));
    let spec = RemoteSpec { authorities: Some("/nowhere/ca.pem".into()), ..at("s3://bucket") };
    assert_eq!(connect(&spec, &Variables::new()).unwrap_err().kind, RemoteErrorKind::Config);
}
