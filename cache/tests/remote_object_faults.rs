//! Object stores that are ill, old or hostile, played by a stub.

#[path = "support/web/mod.rs"]
mod web;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use relgraph_cache::Digest;
use relgraph_cache::remote::{Access, Condition, Remote, RemoteErrorKind, RemoteSpec, Variables};
use web::s3::{KEY, SECRET, variables};
use web::stub::{Answer, Request, Stub, text};
use web::{Place, at, blob, fetch, impatient, name, noise};

fn place(stub: &Stub) -> Place {
    let spec = RemoteSpec { limits: impatient(), ..at("s3://bucket/p") };
    Place { spec, variables: variables(stub.port, KEY, SECRET) }
}

fn playing(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> (Stub, Arc<dyn Remote>) {
    let stub = Stub::start(answer);
    let remote = place(&stub).client(Access::ReadWrite);
    (stub, remote)
}

/// An object as S3 sends it.
fn object(more: &str, body: Vec<u8>) -> Answer {
    let head = format!(
        "HTTP/1.1 200 OK\r\nETag: \"tag\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close\r\n{more}\r\n"
    );
    Answer::Bytes(head, body)
}

fn length(size: usize) -> String {
    format!("Content-Length: {size}\r\n")
}

fn stored() -> Answer {
    Answer::Whole("HTTP/1.1 200 OK\r\nETag: \"tag\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into())
}

#[test]
fn a_status_says_what_is_wrong() {
    use RemoteErrorKind::*;
    for (status, kind) in [
        ("500 Internal Server Error", Failed),
        ("503 Slow Down", Failed),
        ("401 Unauthorized", Denied),
        ("403 Forbidden", Denied),
        ("507 Insufficient Storage", Full),
        ("301 Moved Permanently", Refused),
    ] {
        let body = format!("<Error><Code>X</Code><StringToSign>{SECRET}</StringToSign></Error>");
        let (_stub, remote) = playing(move |_| text(status, &body));
        for error in [
            remote.get(&name("e")).unwrap_err(),
            remote.put(&name("e"), b"x", &[], &Condition::Absent).unwrap_err(),
            remote.missing(&[Digest::of(b"a")]).unwrap_err(),
            fetch(&*remote, &[Digest::of(b"a")]).1.unwrap_err(),
            remote.store(vec![blob(b"small".to_vec())]).unwrap_err(),
            remote.describe().unwrap_err(),
        ] {
            assert_eq!(error.kind, kind, "{status}: {error}");
            assert!(!error.message.contains(SECRET) && !error.message.contains(KEY), "{error}");
        }
    }
    let (_stub, remote) = playing(|_| text("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>"));
    let error = remote.store(vec![blob(b"a".to_vec())]).unwrap_err();
    assert_eq!(error.kind, Refused, "{error}");
    assert!(error.message.contains("no such bucket"), "{error}");
}

#[test]
fn a_word_in_passing_is_heeded() {
    let count = AtomicUsize::new(0);
    let (_stub, remote) = playing(move |request| match request.method.as_str() {
        "PUT" if count.fetch_add(1, Ordering::Relaxed) == 0 => text("503 Slow Down", ""),
        _ => stored(),
    });
    remote.store(vec![blob(b"a".to_vec())]).unwrap();
}

#[test]
fn who_says_nothing_is_given_up() {
    let (_stub, remote) = playing(|_| Answer::Nothing);
    for error in [
        remote.get(&name("e")).unwrap_err(),
        remote.put(&name("e"), b"x", &[], &Condition::Absent).unwrap_err(),
        remote.missing(&[Digest::of(b"a")]).unwrap_err(),
        fetch(&*remote, &[Digest::of(b"a")]).1.unwrap_err(),
        remote.store(vec![blob(b"small".to_vec())]).unwrap_err(),
    ] {
        assert_eq!(error.kind, RemoteErrorKind::Timeout, "{error}");
    }
    let (_stub, remote) = playing(|request| match request.method.as_str() {
        "HEAD" => text("404 Not Found", ""),
        _ => Answer::Nothing,
    });
    let error = remote.store(vec![blob(noise(1, 8_000_000))]).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Timeout, "{error}");
}

#[test]
fn bytes_that_are_not_as_many_as_they_should_be_are_not_taken() {
    use RemoteErrorKind::*;
    for size in [1000_usize, 9_000_000] {
        let body = noise(7, size);
        let half = body[..size / 2].to_vec();
        let head = format!(
            "HTTP/1.1 200 OK\r\nETag: \"t\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n{}\r\n",
            length(size)
        );
        let answers = [
            ("cut", object(&length(size), half.clone()), vec![Broken, Unreachable]),
            ("another length", object(&length(half.len()), half.clone()), vec![Broken]),
            ("a longer one", object(&length(size + 1), [&body[..], b"x"].concat()), vec![Broken]),
            ("no length", object("", [&body[..], b"x"].concat()), vec![Broken]),
            ("a drip", Answer::Drip(head), vec![Timeout]),
        ];
        for (what, answer, kinds) in answers {
            let (_stub, remote) = playing(move |_| answer.clone());
            let scratch = tempfile::tempdir().unwrap();
            let digest = Digest::of(&body);
            let result = remote.fetch(&[digest], scratch.path(), &|_, _| panic!("{what}: it arrived"));
            let error = result.unwrap_err();
            assert!(kinds.contains(&error.kind), "{what}: {error:?}");
            assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "{what}: a part was left");
        }
    }
    let (_stub, remote) = playing(|_| object(&length(10_000_000_000), b"x".to_vec()));
    assert_eq!(remote.get(&name("e")).unwrap_err().kind, Broken);
}

#[test]
fn a_store_that_knows_no_conditions_is_asked_before() {
    for refusal in ["501 Not Implemented", "400 Bad Request"] {
        let there = Arc::new(AtomicUsize::new(0));
        let writes = there.clone();
        let (stub, remote) = playing(move |request| {
            let conditional = request.header("if-none-match").or(request.header("if-match")).is_some();
            match request.method.as_str() {
                "PUT" if conditional => text(refusal, "<Error><Code>NotImplemented</Code></Error>"),
                "PUT" => {
                    writes.fetch_add(1, Ordering::Relaxed);
                    stored()
                }
                _ if writes.load(Ordering::Relaxed) == 0 => text("404 Not Found", ""),
                _ => object(&length(5), b"first".to_vec()),
            }
        });
        assert!(remote.put(&name("e"), b"first", &[], &Condition::Absent).unwrap());
        assert!(!remote.put(&name("e"), b"again", &[], &Condition::Absent).unwrap());
        let version = remote.get(&name("e")).unwrap().unwrap().version.unwrap();
        assert!(remote.put(&name("e"), b"other", &[], &Condition::Unchanged(version)).unwrap());
        assert!(!remote.put(&name("e"), b"more", &[], &Condition::Unchanged("gone\n".into())).unwrap());
        assert_eq!(there.load(Ordering::Relaxed), 2);
        // It was asked in vain in the first call, and not again.
        let last = stub.seen().iter().rposition(|request| request.header("if-none-match").is_some()).unwrap();
        let first = stub.seen().iter().position(|request| request.header("if-none-match").is_none()).unwrap();
        assert!(last < first, "{:?}", stub.seen());
        assert!(stub.seen().iter().all(|request| request.header("if-match").is_none()));
    }
}

#[test]
fn a_store_that_ignores_conditions_overwrites() {
    let (_stub, remote) = playing(|request| match request.method.as_str() {
        "PUT" => stored(),
        _ => object(&length(5), b"first".to_vec()),
    });
    assert!(remote.put(&name("e"), b"again", &[], &Condition::Absent).unwrap());
    let facts = remote.put(&name("e"), b"again", &[], &Condition::Unchanged("x\n".into()));
    assert!(facts.unwrap());
}

#[test]
fn a_part_that_cannot_be_sent_leaves_no_parts() {
    let (stub, remote) = playing(|request| match request.method.as_str() {
        "HEAD" => text("404 Not Found", ""),
        "POST" => {
            let body =
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
            text("200 OK", body)
        }
        "DELETE" => text("204 No Content", ""),
        _ => text("403 Forbidden", ""),
    });
    let scratch = tempfile::tempdir().unwrap();
    let error = remote.store(vec![web::file_blob(scratch.path(), &noise(1, 9_000_000))]).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
    let aborted =
        stub.seen().iter().any(|request| request.method == "DELETE" && request.path.contains("uploadId=u"));
    assert!(aborted, "{:?}", stub.seen());
}

#[test]
fn without_credentials_the_question_ends_soon() {
    // A machine of a cloud would answer there; here a stub stands for one that does not know us.
    let metadata = Stub::start(|_| text("404 Not Found", ""));
    let mut place = place(&metadata);
    place.variables = Variables::from([
        ("AWS_ENDPOINT_URL".to_owned(), format!("http://127.0.0.1:{}", metadata.port)),
        ("AWS_METADATA_ENDPOINT".to_owned(), format!("http://127.0.0.1:{}", metadata.port)),
    ]);
    let error = place.client(Access::Read).get(&name("e")).unwrap_err();
    assert!(!error.kind.is_passing(), "{error:?}");
}

#[test]
fn google_and_azure_are_spoken_to_as_they_want_it() {
    let google = Stub::start(|request| {
        match (request.method.as_str(), request.header("x-goog-if-generation-match")) {
            ("PUT", Some("7")) => text("412 Precondition Failed", ""),
            ("PUT", _) => stored(),
            _ => object(&format!("{}x-goog-generation: 7\r\n", length(5)), b"entry".to_vec()),
        }
    });
    let mut place = place(&google);
    place.spec.url = "gs://bucket/p".to_owned();
    place.variables = Variables::from([
        ("GOOGLE_BASE_URL".to_owned(), format!("http://127.0.0.1:{}", google.port)),
        ("GOOGLE_BEARER_TOKEN".to_owned(), SECRET.to_owned()),
    ]);
    let remote = place.client(Access::ReadWrite);
    let entry = remote.get(&name("e")).unwrap().unwrap();
    assert_eq!(entry.bytes, b"entry");
    assert!(!remote.put(&name("e"), b"x", &[], &Condition::Unchanged(entry.version.unwrap())).unwrap());
    assert!(remote.put(&name("e"), b"x", &[], &Condition::Absent).unwrap());
    assert!(
        google
            .seen()
            .iter()
            .all(|request| request.header("authorization") == Some(&format!("Bearer {SECRET}")))
    );
    assert!(google.seen().iter().any(|request| request.header("x-goog-if-generation-match") == Some("0")));

    let azure = Stub::start(|request| match (request.method.as_str(), request.header("if-match")) {
        ("PUT", Some("\"tag\"")) => text("412 Precondition Failed", ""),
        ("PUT", _) => Answer::Whole(
            "HTTP/1.1 201 Created\r\nETag: \"tag\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
        ),
        _ => object(&length(5), b"entry".to_vec()),
    });
    place.spec.url = "az://container/p".to_owned();
    place.variables = Variables::from([
        ("AZURE_STORAGE_ENDPOINT".to_owned(), format!("http://127.0.0.1:{}/account", azure.port)),
        ("AZURE_ALLOW_HTTP".to_owned(), "true".to_owned()),
        ("AZURE_STORAGE_ACCOUNT_NAME".to_owned(), "account".to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY".to_owned(), "c2VjcmV0LW9mLXRoZS10ZXN0cw==".to_owned()),
    ]);
    let remote = place.client(Access::ReadWrite);
    let entry = remote.get(&name("e")).unwrap().unwrap();
    assert_eq!(entry.bytes, b"entry");
    assert!(!remote.put(&name("e"), b"x", &[], &Condition::Unchanged(entry.version.unwrap())).unwrap());
    assert!(remote.put(&name("e"), b"x", &[], &Condition::Absent).unwrap());
    let signed = |request: &Request| {
        request.header("authorization").is_some_and(|text| text.starts_with("SharedKey account:"))
    };
    assert!(azure.seen().iter().all(signed));
    assert!(azure.seen()[0].path.contains("/container/p/ac/"), "{:?}", azure.seen()[0]);
}
