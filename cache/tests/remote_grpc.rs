//! Servers of the Remote Execution API that teams run, as remotes.

#[path = "support/blobs.rs"]
mod blobs;
#[path = "support/servers/mod.rs"]
mod servers;

use relgraph_cache::Digest;
use relgraph_cache::remote::{Access, Condition, Credentials, RemoteErrorKind, RemoteSpec, Secret};

use blobs::{at, blob, client, digests, fetch, fetch_all, file_blob, name, noise};
use servers::certificates::Certificates;
use servers::{Door, Guard};

/// Small, many, large, empty; what was stored is found by somebody who only reads the entry.
fn round_trip(spec: &RemoteSpec, many: u64) {
    let scratch = tempfile::tempdir().unwrap();
    let mut all = vec![blob(Vec::new()), blob(b"small".to_vec()), blob(noise(3, 3_000_000))];
    all.push(file_blob(scratch.path(), &noise(2, 50_000_000)));
    all.push(file_blob(scratch.path(), &noise(4, 70_000)));
    all.push(blob(vec![7; 5_000_000]));
    all.extend((0..many).map(|n| blob(noise(1000 + n, 200 + 3 * n as usize))));
    let (known, absent) = (digests(&all), Digest::of(b"never stored"));

    let writer = client(spec);
    assert_eq!(writer.missing(&known).unwrap().len(), known.len() - 1, "all but the empty blob");
    writer.store(all.clone()).unwrap();
    assert_eq!(writer.missing(&[&known[..], &[absent]].concat()).unwrap(), [absent]);
    writer.store(all).unwrap();
    let entry = name("an entry");
    assert_eq!(writer.get(&entry).unwrap(), None);
    assert!(writer.put(&entry, b"what it says", &known, &Condition::Absent).unwrap());

    let reader = client(&RemoteSpec { access: Access::Read, ..spec.clone() });
    assert_eq!(reader.get(&entry).unwrap().unwrap().bytes, b"what it says");
    assert_eq!(reader.missing(&[&known[..], &[absent]].concat()).unwrap(), [absent]);
    fetch_all(&*reader, &known);
    let (brought, result) = fetch(&*reader, &[absent, known[1]]);
    result.unwrap();
    assert_eq!(brought[&absent], None);
    assert_eq!(brought[&known[1]].as_deref(), Some(&b"small"[..]));
}

fn entries(spec: &RemoteSpec) {
    let remote = client(spec);
    let this = name("changing");
    assert!(remote.put(&this, b"first", &[], &Condition::Absent).unwrap());
    assert!(!remote.put(&this, b"second", &[], &Condition::Absent).unwrap());
    assert_eq!(remote.get(&this).unwrap().unwrap().bytes, b"first");
    assert!(remote.put(&this, b"", &[], &Condition::Always).unwrap());
    assert_eq!(remote.get(&this).unwrap().unwrap().bytes, b"");
    for (n, size) in [100_000, 2_000_000, 9_000_000].into_iter().enumerate() {
        let (this, bytes) = (name(&format!("large {n}")), noise(n as u64, size));
        assert!(remote.put(&this, &bytes, &[], &Condition::Always).unwrap());
        assert!(client(spec).get(&this).unwrap().unwrap().bytes == bytes);
    }
    let elsewhere = client(&RemoteSpec { namespace: Some("pr-7".to_owned()), ..spec.clone() });
    assert_eq!(elsewhere.get(&this).unwrap(), None);
    assert!(elsewhere.put(&this, b"theirs", &[], &Condition::Absent).unwrap());
    assert_eq!(remote.get(&this).unwrap().unwrap().bytes, b"");
    let stray = remote.put(&this, b"x", &[Digest::of(b"never stored")], &Condition::Always).unwrap_err();
    assert_eq!(stray.kind, RemoteErrorKind::Refused);
    let reader = client(&RemoteSpec { access: Access::Read, ..spec.clone() });
    assert_eq!(reader.put(&this, b"x", &[], &Condition::Always).unwrap_err().kind, RemoteErrorKind::Denied);
    assert_eq!(reader.store(vec![blob(b"x".to_vec())]).unwrap_err().kind, RemoteErrorKind::Denied);
}

#[test]
fn casd_keeps_what_it_is_given() {
    let server = servers::casd();
    let spec = at(format!("grpc://{}", server.address));
    round_trip(&spec, 3000);
    entries(&spec);
    let facts = client(&spec).describe().unwrap().join("\n");
    for fact in
        ["Remote Execution API 2.1 to 2.12", "SHA-256", "no limit for a batch", "entries may be written"]
    {
        assert!(facts.contains(fact), "{facts}");
    }
}

#[test]
fn buildgrid_keeps_what_it_is_given() {
    let server = servers::buildgrid(&Door::Open, true);
    let spec = at(format!("grpc://{}/main", server.address));
    round_trip(&spec, 3000);
    entries(&spec);
    assert!(client(&spec).describe().unwrap().contains(&"instance `main`".to_owned()));
}

#[test]
fn an_unknown_instance_is_refused() {
    let grid = servers::buildgrid(&Door::Open, true);
    let casd = servers::casd();
    for address in [&grid.address, &casd.address] {
        let remote = client(&at(format!("grpc://{address}/nowhere")));
        let error = remote.get(&name("x")).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
        assert!(error.message.contains("nowhere"), "{error}");
    }
}

#[test]
fn a_server_may_take_no_entries() {
    let server = servers::buildgrid(&Door::Open, false);
    let remote = client(&at(format!("grpc://{}", server.address)));
    assert_eq!(remote.get(&name("x")).unwrap(), None);
    let error = remote.put(&name("x"), b"x", &[], &Condition::Always).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
    assert!(error.message.contains("update_enabled"), "{error}");
}

fn with_token(spec: RemoteSpec, token: &str) -> RemoteSpec {
    let credentials = Credentials { token: Some(Secret::new(token)), ..spec.credentials };
    RemoteSpec { credentials, ..spec }
}

#[test]
fn tokens_are_shown_to_buildgrid() {
    let secret = "one that is long enough for HS256";
    let server = servers::buildgrid(&Door::Tokens(secret), true);
    let spec = at(format!("grpc://{}", server.address));
    let right = client(&with_token(spec.clone(), &servers::token(secret)));
    assert!(right.put(&name("x"), b"x", &[], &Condition::Always).unwrap());
    let wrong = servers::token("another, which is not the server's");
    for spec in [with_token(spec.clone(), &wrong), with_token(spec.clone(), "nonsense"), spec] {
        let error = client(&spec).get(&name("x")).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
        assert!(!error.message.contains(&wrong) && !error.message.contains("nonsense"), "{error}");
    }
}

fn with_certificate(spec: &RemoteSpec, pair: (std::path::PathBuf, std::path::PathBuf)) -> RemoteSpec {
    let credentials = Credentials { certificate: Some(pair), ..spec.credentials.clone() };
    RemoteSpec { credentials, ..spec.clone() }
}

#[test]
fn certificates_are_shown_to_buildgrid() {
    let certificates = Certificates::new();
    let server = servers::buildgrid(&Door::Certificates(&certificates), true);
    let port = server.address.split_once(':').unwrap().1;
    let authorities = Some(certificates.authority());
    let spec = RemoteSpec { authorities, ..at(format!("grpcs://localhost:{port}/main")) };
    let right = client(&with_certificate(&spec, certificates.client()));
    assert!(right.put(&name("x"), b"x", &[], &Condition::Always).unwrap());
    assert_eq!(right.get(&name("x")).unwrap().unwrap().bytes, b"x");
    for spec in [with_certificate(&spec, certificates.stranger()), spec] {
        let error = client(&spec).get(&name("x")).unwrap_err();
        assert!(matches!(error.kind, RemoteErrorKind::Denied | RemoteErrorKind::Unreachable), "{error}");
        assert!(error.message.contains("ertificate"), "{error}");
    }
}

#[test]
fn nginx_asks_for_a_token_and_is_known_by_its_certificate() {
    let (casd, certificates) = (servers::casd(), Certificates::new());
    let server = servers::nginx(&casd.address, &certificates, &Guard::Header("Bearer s3cret"));
    let url = format!("grpcs://{}", server.address);
    let authorities = Some(certificates.authority());
    let spec = RemoteSpec { authorities, ..at(&url) };
    round_trip(&with_token(spec.clone(), "s3cret"), 300);
    for spec in [with_token(spec.clone(), "s3cre"), spec] {
        let error = client(&spec).get(&name("x")).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
        assert!(!error.message.contains("s3cre"), "{error}");
    }
    let stranger = RemoteSpec { authorities: Some(certificates.other_authority()), ..at(&url) };
    for spec in [stranger, at(&url)] {
        let error = client(&spec).get(&name("x")).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Config, "{error}");
        assert!(error.message.contains("certificate"), "{error}");
    }
}

#[test]
fn nginx_asks_for_a_certificate_or_a_password() {
    let (casd, certificates) = (servers::casd(), Certificates::new());
    let authorities = Some(certificates.authority());
    let server = servers::nginx(&casd.address, &certificates, &Guard::Certificate);
    let spec = RemoteSpec { authorities: authorities.clone(), ..at(format!("grpcs://{}", server.address)) };
    let right = client(&with_certificate(&spec, certificates.client()));
    assert_eq!(right.get(&name("x")).unwrap(), None);
    for spec in [with_certificate(&spec, certificates.stranger()), spec] {
        let error = client(&spec).get(&name("x")).unwrap_err();
        assert!(!error.kind.is_passing(), "{error}");
    }

    // `Aladdin:open sesame`, as in RFC 7617.
    let server =
        servers::nginx(&casd.address, &certificates, &Guard::Header("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    let with_password = |password: &str| {
        let basic = Some(("Aladdin".to_owned(), Secret::new(password)));
        let credentials = Credentials { basic, ..Credentials::default() };
        let url = format!("grpcs://{}", server.address);
        RemoteSpec { authorities: authorities.clone(), credentials, ..at(url) }
    };
    assert_eq!(client(&with_password("open sesame")).get(&name("x")).unwrap(), None);
    let error = client(&with_password("close")).get(&name("x")).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
}

#[test]
fn many_may_use_it_at_once() {
    let server = servers::casd();
    let spec = at(format!("grpc://{}", server.address));
    let (shared, sizes) = (client(&spec), [100, 40_000, 1_500_000, 9_000_000]);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (shared, spec) = (&shared, &spec);
            scope.spawn(move || {
                // Some of it is the same for all.
                let own = sizes.iter().map(|size| blob(noise(n, *size)));
                let all: Vec<_> = own.chain(sizes.iter().map(|size| blob(noise(100, *size)))).collect();
                let this = name(&n.to_string());
                shared.store(all.clone()).unwrap();
                assert!(shared.put(&this, b"x", &digests(&all), &Condition::Absent).unwrap());
                let reader = client(spec);
                assert!(reader.get(&this).unwrap().is_some());
                fetch_all(&*reader, &digests(&all));
                fetch_all(&**shared, &digests(&all));
            });
        }
    });
}

#[test]
fn what_a_server_lost_is_missing() {
    let mut server = servers::casd();
    let spec = at(format!("grpc://{}", server.address));
    let (remote, all) = (client(&spec), vec![blob(noise(1, 5000)), blob(noise(2, 9_000_000))]);
    remote.store(all.clone()).unwrap();
    assert!(remote.put(&name("x"), b"x", &digests(&all), &Condition::Always).unwrap());
    server.kill();
    let error = remote.get(&name("x")).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
    assert_eq!(remote.store(all.clone()).unwrap_err().kind, RemoteErrorKind::Unreachable);

    let empty = servers::casd();
    let other = client(&at(format!("grpc://{}", empty.address)));
    assert_eq!(other.get(&name("x")).unwrap(), None);
    // Nobody has told what they are called there.
    let (brought, result) = fetch(&*other, &digests(&all));
    result.unwrap();
    assert!(brought.len() == 2 && brought.values().all(Option::is_none));

    let again = servers::casd_at(server.folder.path());
    let back = client(&at(format!("grpc://{}", again.address)));
    assert_eq!(back.get(&name("x")).unwrap().unwrap().bytes, b"x");
    fetch_all(&*back, &digests(&all));
}
