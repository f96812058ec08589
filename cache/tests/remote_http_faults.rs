//! Web servers that are ill, hostile or in the way.

#[path = "support/web/mod.rs"]
mod web;

use relgraph_cache::Digest;
use relgraph_cache::remote::{
    Access, Body, Condition, Credentials, Remote, RemoteErrorKind, RemoteSpec, Secret,
};
use relgraph_cache::remote::{Variables, connect};
use std::path::PathBuf;
use std::sync::Arc;
use web::nginx::Nginx;
use web::stub::{Answer, Stub, bytes, text};
use web::{at, blob, client, fetch, impatient, name, noise};

/// The value of an entry that speaks of some blobs, as a server has it: taken from one that was written.
fn value_for(blobs: &[Vec<u8>]) -> Vec<u8> {
    let nginx = Nginx::start();
    let writer = client(&at(&nginx.url("open")), Access::ReadWrite);
    writer.store(blobs.iter().cloned().map(blob).collect()).unwrap();
    let digests: Vec<Digest> = blobs.iter().map(|bytes| Digest::of(bytes)).collect();
    assert!(writer.put(&name("e"), b"entry", &digests, &Condition::Always).unwrap());
    std::fs::read(nginx.files("open").join("ac").join(name("e").hex())).unwrap()
}

fn impatient_client(url: &str) -> Arc<dyn Remote> {
    client(&RemoteSpec { limits: impatient(), ..at(url) }, Access::ReadWrite)
}

/// A client that knows of a blob, on a server that answers so when it is asked for it.
fn knowing(body: &[u8], answer: impl Fn() -> Answer + Send + Sync + 'static) -> (Arc<dyn Remote>, Digest) {
    let value = value_for(&[body.to_vec()]);
    let stub = Stub::start(
        move |request| {
            if request.path.contains("/ac/") { bytes("", value.clone()) } else { answer() }
        },
    );
    let remote = impatient_client(&stub.url("c"));
    assert_eq!(remote.get(&name("e")).unwrap().unwrap().bytes, b"entry");
    (remote, Digest::of(body))
}

#[test]
fn a_status_says_what_is_wrong() {
    use RemoteErrorKind::*;
    for (status, kind) in [
        ("500 Internal Server Error", Failed),
        ("503 Service Unavailable", Failed),
        ("429 Too Many Requests", Failed),
        ("401 Unauthorized", Denied),
        ("403 Forbidden", Denied),
        ("413 Content Too Large", Full),
        ("507 Insufficient Storage", Full),
        ("400 Bad Request", Refused),
        ("418 I'm a teapot", Refused),
    ] {
        let answer = text(status, "<html>no</html>");
        let (remote, digest) = knowing(b"a blob", move || answer.clone());
        assert_eq!(fetch(&*remote, &[digest]).1.unwrap_err().kind, kind, "{status}");
        assert_eq!(remote.missing(&[digest]).unwrap_err().kind, kind, "{status}");
        let again = text(status, "<html>no</html>");
        let stub = Stub::start(move |_| again.clone());
        let remote = impatient_client(&stub.url("c"));
        for error in [
            remote.get(&name("e")).unwrap_err(),
            remote.put(&name("e"), b"x", &[], &Condition::Absent).unwrap_err(),
            remote.store(vec![blob(b"small".to_vec())]).unwrap_err(),
            remote.store(vec![blob(noise(1, 300_000))]).unwrap_err(),
        ] {
            assert_eq!(error.kind, kind, "{status}: {error}");
        }
    }
}

#[test]
fn a_server_without_room_says_so_before_it_has_read_all() {
    let early = |request: &web::stub::Request| match request.method.as_str() {
        "HEAD" => text("404 Not Found", ""),
        _ => Answer::Early("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into()),
    };
    let stub = Stub::start(early);
    let nginx = Nginx::start();
    let scratch = tempfile::tempdir().unwrap();
    for url in [stub.url("c"), nginx.url("small"), nginx.tls_url("small")] {
        let authorities = Some(nginx.certificates.authority.clone());
        let remote = client(&RemoteSpec { authorities, ..at(&url) }, Access::ReadWrite);
        for body in [blob(noise(1, 3_000_000)), web::file_blob(scratch.path(), &noise(2, 20_000_000))] {
            let error = remote.store(vec![body]).unwrap_err();
            assert_eq!(error.kind, RemoteErrorKind::Full, "{url}: {error}");
        }
    }
}

#[test]
fn who_says_nothing_is_given_up() {
    let stub = Stub::start(|_| Answer::Nothing);
    let remote = impatient_client(&stub.url("c"));
    for error in [
        remote.get(&name("e")).unwrap_err(),
        remote.put(&name("e"), b"x", &[], &Condition::Always).unwrap_err(),
        remote.store(vec![blob(b"small".to_vec())]).unwrap_err(),
        remote.store(vec![blob(noise(1, 60_000))]).unwrap_err(),
        remote.describe().unwrap_err(),
    ] {
        assert_eq!(error.kind, RemoteErrorKind::Timeout, "{error}");
    }
    let (remote, digest) = knowing(b"a blob", || Answer::Nothing);
    assert_eq!(fetch(&*remote, &[digest]).1.unwrap_err().kind, RemoteErrorKind::Timeout);
    assert_eq!(remote.missing(&[digest]).unwrap_err().kind, RemoteErrorKind::Timeout);
    // A large body is not taken either.
    let stub = Stub::start(|request| match request.method.as_str() {
        "HEAD" => text("404 Not Found", ""),
        _ => Answer::Nothing,
    });
    let error = impatient_client(&stub.url("c")).store(vec![blob(noise(1, 8_000_000))]).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Timeout, "{error}");
}

#[test]
fn a_drip_is_no_transfer() {
    for size in [1000, 9_000_000] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        let (remote, digest) = knowing(&noise(1, size), move || Answer::Drip(head.clone()));
        let (brought, result) = fetch(&*remote, &[digest]);
        assert_eq!(result.unwrap_err().kind, RemoteErrorKind::Timeout);
        assert!(brought.is_empty());
    }
    let stub = Stub::start(|_| Answer::Drip("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".into()));
    let error = impatient_client(&stub.url("c")).get(&name("e")).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Timeout, "{error}");
}

#[test]
fn bytes_that_are_not_as_many_as_they_should_be_are_not_taken() {
    for size in [1000_usize, 9_000_000] {
        let body = noise(7, size);
        let close = "Connection: close\r\n\r\n";
        let half = body[..size / 2].to_vec();
        let longer = [&body[..], b"x"].concat();
        let answers = [
            (
                "cut",
                Answer::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{close}"), half.clone()),
            ),
            ("no length, cut", Answer::Bytes(format!("HTTP/1.1 200 OK\r\n{close}"), half.clone())),
            ("no length, longer", Answer::Bytes(format!("HTTP/1.1 200 OK\r\n{close}"), longer.clone())),
            ("another length", bytes("", half)),
            ("a longer one", bytes("", longer)),
            ("without end", Answer::Endless(format!("HTTP/1.1 200 OK\r\n{close}"))),
            (
                "chunks that end early",
                Answer::Bytes(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
                    b"5\r\nhello\r\n".into(),
                ),
            ),
            ("a page to log in", bytes("Content-Type: text/html\r\n", b"<html>log in</html>".into())),
        ];
        for (what, answer) in answers {
            let (remote, digest) = knowing(&body, move || answer.clone());
            let scratch = tempfile::tempdir().unwrap();
            let result = remote.fetch(&[digest], scratch.path(), &|_, _| panic!("{what}: it arrived"));
            assert_eq!(result.unwrap_err().kind, RemoteErrorKind::Broken, "{what}");
            assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "{what}: a part was left");
        }
    }
}

#[test]
fn what_is_no_entry_of_ours_is_broken() {
    let value = value_for(&[b"a blob".to_vec()]);
    let cut = value[..value.len() - 1].to_vec();
    let answers = [
        bytes("", b"<html>log in</html>".into()),
        bytes("", Vec::new()),
        bytes("", cut.clone()),
        Answer::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", value.len()), cut),
        Answer::Endless("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n".into()),
    ];
    for answer in answers {
        let stub = Stub::start(move |_| answer.clone());
        let remote = client(&at(&stub.url("c")), Access::Read);
        assert_eq!(remote.get(&name("e")).unwrap_err().kind, RemoteErrorKind::Broken);
    }
}

#[test]
fn a_blob_with_other_bytes_is_none_and_is_stored_again() {
    let nginx = Nginx::start();
    web::conform::mends(at(&nginx.url("open")), &|| {
        for file in std::fs::read_dir(nginx.files("open").join("cas")).unwrap() {
            let path = file.unwrap().path();
            std::fs::write(&path, vec![0; std::fs::metadata(&path).unwrap().len() as usize]).unwrap();
        }
    });
}

fn with_token(url: &str) -> RemoteSpec {
    let token = Some(Secret::new("token-of-the-tests"));
    RemoteSpec { credentials: Credentials { token, ..Credentials::default() }, ..at(url) }
}

/// A stub that sends everybody to another address.
fn leading_to(target: String) -> Stub {
    Stub::start(move |request| {
        let rest = request.path.split_once("/c/").map_or("", |(_, rest)| rest);
        Answer::Whole(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {target}/{rest}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    })
}

#[test]
fn credentials_stay_with_whom_they_are_for() {
    let value = value_for(&[b"a blob".to_vec()]);
    let end = Stub::start(move |_| bytes("", value.clone()));
    let stub = leading_to(end.url("other"));
    let remote = client(&with_token(&stub.url("c")), Access::ReadWrite);
    assert_eq!(remote.get(&name("e")).unwrap().unwrap().bytes, b"entry");
    assert_eq!(stub.seen()[0].header("authorization"), Some("Bearer token-of-the-tests"));
    assert_eq!(end.seen().len(), 1);
    assert_eq!(end.seen()[0].header("authorization"), None);
    // Nothing is written where another server says that it should be.
    for error in [
        remote.put(&name("e"), b"x", &[], &Condition::Always).unwrap_err(),
        remote.store(vec![blob(b"small".to_vec())]).unwrap_err(),
    ] {
        assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
        assert!(!error.message.contains("token-of-the-tests"));
    }
    assert_eq!(end.seen().len(), 1);
}

#[test]
fn a_redirect_is_followed_to_https_and_not_to_another_host_without() {
    let nginx = Nginx::start();
    let authorities = Some(nginx.certificates.authority.clone());
    let writer = client(&at(&nginx.url("open")), Access::ReadWrite);
    writer.store(vec![blob(b"a blob".to_vec())]).unwrap();
    assert!(writer.put(&name("e"), b"entry", &[Digest::of(b"a blob")], &Condition::Always).unwrap());

    let secure = leading_to(nginx.tls_url("open"));
    let remote = client(
        &RemoteSpec { authorities: authorities.clone(), ..with_token(&secure.url("c")) },
        Access::Read,
    );
    assert_eq!(remote.get(&name("e")).unwrap().unwrap().bytes, b"entry");
    assert_eq!(remote.missing(&[Digest::of(b"a blob")]).unwrap(), []);
    let (brought, result) = fetch(&*remote, &[Digest::of(b"a blob")]);
    result.unwrap();
    assert_eq!(brought[&Digest::of(b"a blob")].as_deref(), Some(&b"a blob"[..]));

    let end = Stub::start(|_| text("200 OK", "never asked"));
    let away = leading_to(format!("http://localhost:{}/x?signature=hidden", end.port));
    let error = client(&with_token(&away.url("c")), Access::Read).get(&name("e")).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
    assert!(!error.message.contains("hidden"), "{error}");
    assert!(end.seen().is_empty());
    // From TLS to none.
    let down = client(&RemoteSpec { authorities, ..at(&nginx.tls_url("down")) }, Access::Read);
    assert_eq!(down.get(&name("e")).unwrap_err().kind, RemoteErrorKind::Refused);
    // In a circle.
    let stub = Stub::start(|_| {
        Answer::Whole(
            "HTTP/1.1 302 Found\r\nLocation: /c/ac/0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .into(),
        )
    });
    let error = client(&at(&stub.url("c")), Access::Read).get(&name("e")).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
    assert!(stub.seen().len() < 10);
}

#[test]
fn a_certificate_is_asked_for_and_shown() {
    let nginx = Nginx::start();
    let url = nginx.tls_url("signed");
    let authorities = Some(nginx.certificates.authority.clone());
    let trusting = RemoteSpec { authorities, ..at(&url) };
    let stranger = client(&trusting, Access::ReadWrite);
    assert_eq!(stranger.get(&name("e")).unwrap_err().kind, RemoteErrorKind::Denied);
    let certificate = Some(nginx.certificates.client.clone());
    let known =
        RemoteSpec { credentials: Credentials { certificate, ..Credentials::default() }, ..trusting.clone() };
    let known = client(&known, Access::ReadWrite);
    known.store(vec![blob(b"a blob".to_vec())]).unwrap();
    assert!(known.put(&name("e"), b"entry", &[Digest::of(b"a blob")], &Condition::Always).unwrap());
    assert_eq!(known.get(&name("e")).unwrap().unwrap().bytes, b"entry");
    // A server that nobody vouches for is not talked to.
    let error = client(&at(&url), Access::Read).get(&name("e")).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Config, "{error}");
    assert!(error.message.contains("certificate"), "{error}");
}

#[test]
fn nobody_there_is_unreachable() {
    let remote = impatient_client(&format!("http://127.0.0.1:{}/c", web::server::free_port()));
    for error in [remote.get(&name("e")).unwrap_err(), remote.store(vec![blob(vec![1])]).unwrap_err()] {
        assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
    }
    let remote = impatient_client("http://no-such-host.invalid/c");
    let error = remote.get(&name("e")).unwrap_err();
    assert!(matches!(error.kind, RemoteErrorKind::Unreachable | RemoteErrorKind::Timeout), "{error}");
}

#[test]
fn what_would_give_a_secret_away_is_refused() {
    let config = |spec: RemoteSpec| {
        let error = connect(&spec, &Variables::new()).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Config, "{error}");
        assert!(
            !error.message.contains("token-of-the-tests") && !error.message.contains("hidden"),
            "{error}"
        );
        error.message
    };
    assert!(config(with_token("http://cache.example/c")).contains("https"));
    for url in ["http://127.0.0.1/c", "http://localhost:1/c", "http://[::1]/c", "https://cache.example/c"] {
        assert!(connect(&with_token(url), &Variables::new()).is_ok(), "{url}");
    }
    config(at("https://cache.example/c?token=hidden"));
    config(at("https://ann:hidden@cache.example/c"));
    config(at("https://"));
    let nowhere: PathBuf = "/nowhere/key.pem".into();
    let credentials = Credentials { certificate: Some((nowhere.clone(), nowhere)), ..Credentials::default() };
    config(RemoteSpec { credentials, ..at("https://cache.example/c") });
    let token = Some(Secret::new("token-of-the-tests\nX: y"));
    config(RemoteSpec { credentials: Credentials { token, ..Credentials::default() }, ..at("https://a/c") });
    let shown = format!("{:?}", client(&with_token("https://cache.example/c"), Access::Read));
    assert!(!shown.contains("token-of-the-tests"), "{shown}");
}

#[test]
fn a_blob_that_is_not_what_it_should_be_is_not_sent() {
    let nginx = Nginx::start();
    let remote = client(&at(&nginx.url("open")), Access::ReadWrite);
    let scratch = tempfile::tempdir().unwrap();
    let (digest, body) = web::file_blob(scratch.path(), b"a blob");
    let Body::File(path) = &body else { unreachable!() };
    std::fs::write(path, b"cut").unwrap();
    let error = remote.store(vec![(digest, body.clone())]).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Local, "{error}");
    std::fs::remove_file(path).unwrap();
    assert_eq!(remote.store(vec![(digest, body)]).unwrap_err().kind, RemoteErrorKind::Local);
    let error = remote.put(&name("e"), b"entry", &[digest], &Condition::Always).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Refused, "{error}");
}

#[test]
fn a_blob_that_was_torn_on_the_server_is_stored_again() {
    let nginx = Nginx::start();
    let writer = client(&at(&nginx.url("open")), Access::ReadWrite);
    let large = noise(5, 200_000);
    let digest = Digest::of(&large);
    writer.store(vec![blob(large.clone())]).unwrap();
    assert!(writer.put(&name("e"), b"entry", &[digest], &Condition::Always).unwrap());
    let file = std::fs::read_dir(nginx.files("open").join("cas")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, &large[..100]).unwrap();
    let other = client(&at(&nginx.url("open")), Access::ReadWrite);
    other.get(&name("e")).unwrap();
    assert_eq!(other.missing(&[digest]).unwrap(), [digest]);
    assert_eq!(fetch(&*other, &[digest]).1.unwrap_err().kind, RemoteErrorKind::Broken);
    other.store(vec![blob(large.clone())]).unwrap();
    assert_eq!(fetch(&*other, &[digest]).0[&digest].as_deref(), Some(&large[..]));
    // One that was evicted is none.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(fetch(&*other, &[digest]).0[&digest], None);
    assert_eq!(other.missing(&[digest]).unwrap(), [digest]);
    other.store(vec![blob(large.clone())]).unwrap();
    assert_eq!(other.missing(&[digest]).unwrap(), []);
}

#[test]
fn a_proxy_is_used_and_not_for_this_machine() {
    let proxy = Stub::start(|_| text("404 Not Found", ""));
    let variables = |more: &[(&str, &str)]| {
        let address = format!("http://ann:hidden@127.0.0.1:{}", proxy.port);
        let mut variables: Variables = [("http_proxy", &address), ("HTTPS_PROXY", &address)]
            .map(|(name, value)| (name.into(), value.clone()))
            .into();
        variables.extend(more.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        variables
    };
    let ask = |url: &str, more: &[(&str, &str)]| {
        let spec = RemoteSpec { limits: impatient(), ..at(url) };
        connect(&spec, &variables(more)).unwrap().get(&name("e"))
    };
    assert_eq!(ask("http://cache.invalid/c", &[]).unwrap(), None);
    assert!(proxy.seen()[0].path.starts_with("http://cache.invalid/c/ac/"), "{:?}", proxy.seen());
    assert!(proxy.seen()[0].header("proxy-authorization").is_some());
    let error = ask("https://cache.invalid/c", &[]).unwrap_err();
    assert!(!error.message.contains("hidden"), "{error}");
    assert_eq!(proxy.seen()[1].method, "CONNECT");
    assert!(ask("http://cache.invalid/c", &[("no_proxy", ".invalid")]).is_err());
    let direct = Stub::start(|_| text("404 Not Found", ""));
    assert_eq!(ask(&direct.url("c"), &[]).unwrap(), None);
    assert_eq!((proxy.seen().len(), direct.seen().len()), (2, 1));
    let wrong = Variables::from([("all_proxy".to_owned(), "http://ann:hidden@[".to_owned())]);
    let error = connect(&at("http://cache.invalid/c"), &wrong).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Config);
    assert!(!error.message.contains("hidden"), "{error}");
}
