//! What goes wrong with servers of the Remote Execution API: no wrong byte is used, and no more time is lost than is allowed.

#[path = "support/blobs.rs"]
mod blobs;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/stub/mod.rs"]
mod stub;

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use relgraph_cache::Digest;
use relgraph_cache::remote::{Body, Condition, Limits, RemoteErrorKind, RemoteSpec};

use blobs::{at, blob, client, digests, fetch, fetch_all, file_blob, name, noise};
use proxy::Proxy;
use stub::{Fault, Manners, Stub};

/// Does not wait for long.
fn hasty(url: &str) -> RemoteSpec {
    let limits = Limits {
        connect: Duration::from_secs(3),
        call: Duration::from_secs(3),
        idle: Duration::from_secs(3),
        parallel: 4,
    };
    RemoteSpec { limits, ..at(url) }
}

/// A small blob and a large one on a server, known to a client; nothing went wrong yet.
fn stored(manners: Manners) -> (Stub, RemoteSpec, Vec<Digest>) {
    let stub = Stub::start(manners);
    let all = vec![blob(vec![3; 5000]), blob(vec![4; 12_000_000])];
    let writer = client(&at(stub.url()));
    writer.store(all.clone()).unwrap();
    assert!(writer.put(&name("x"), b"x", &digests(&all), &Condition::Always).unwrap());
    let spec = hasty(&stub.url());
    (stub, spec, digests(&all))
}

#[test]
fn no_more_bytes_are_taken_than_a_digest_says() {
    let zstd = Manners::new(|cache| cache.supported_compressors = vec![1]);
    for manners in [Manners::plain(), zstd] {
        let (stub, spec, known) = stored(manners);
        for (fault, kind) in
            [(Fault::TooMany, RemoteErrorKind::Broken), (Fault::Truncated, RemoteErrorKind::Broken)]
        {
            stub.fail(fault);
            for blob in &known {
                let reader = client(&spec);
                reader.get(&name("x")).unwrap();
                let (brought, result) = fetch(&*reader, &[*blob]);
                assert_eq!(result.unwrap_err().kind, kind);
                assert!(brought.is_empty());
            }
        }
        // As many as there should be: whoever asked looks at what they are.
        stub.fail(Fault::Wrong);
        let reader = client(&spec);
        reader.get(&name("x")).unwrap();
        let (brought, result) = fetch(&*reader, &known);
        result.unwrap();
        for (blob, bytes) in brought {
            assert_ne!(Digest::of(&bytes.unwrap()), blob);
        }
    }
}

#[test]
fn a_silent_server_costs_no_more_than_the_time_allowed() {
    let (stub, spec, known) = stored(Manners::plain());
    let remote = client(&spec);
    remote.get(&name("x")).unwrap();
    stub.fail(Fault::Silent);
    let timeout = |result: Result<(), relgraph_cache::remote::RemoteError>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Timeout, "{error}");
    };
    timeout(remote.get(&name("x")).map(drop));
    timeout(remote.missing(&known).map(drop));
    timeout(fetch(&*remote, &known[..1]).1);
    timeout(fetch(&*remote, &known[1..]).1);
    timeout(remote.put(&name("y"), b"y", &[], &Condition::Always).map(drop));
    timeout(remote.store(vec![blob(noise(1, 100))]));
    stub.fail(Fault::None);
    fetch_all(&*remote, &known);
}

#[test]
fn a_slow_server_is_waited_for_while_something_moves() {
    let (stub, spec, known) = stored(Manners::plain());
    let remote = client(&spec);
    remote.get(&name("x")).unwrap();
    stub.fail(Fault::Slow);
    fetch_all(&*remote, &known);
    remote.store(vec![blob(noise(1, 12_000_000))]).unwrap();
}

#[test]
fn a_slow_line_is_waited_for_while_something_moves() {
    let stub = Stub::start(Manners::plain());
    let proxy = Proxy::slow(&stub.address, Some(400_000));
    let limits = Limits { parallel: 16, call: Duration::from_secs(60), ..hasty("").limits };
    let remote = client(&RemoteSpec { limits, ..at(format!("grpc://{}", proxy.address)) });
    let all: Vec<_> = (0..4).flat_map(|n| [blob(noise(n, 1_000_000)), blob(noise(n, 1_500_000))]).collect();
    remote.store(all.clone()).unwrap();
    assert!(remote.put(&name("x"), b"x", &digests(&all), &Condition::Always).unwrap());
    fetch_all(&*remote, &digests(&all));
}

#[test]
fn whoever_takes_his_time_with_what_arrives_loses_nothing() {
    let stub = Stub::start(Manners::new(|cache| cache.max_batch_total_size_bytes = 65536));
    let remote = client(&hasty(&stub.url()));
    let all: Vec<_> = (0..40).map(|n| blob(noise(n, 2_000_000))).collect();
    remote.store(all.clone()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let arrived = AtomicUsize::new(0);
    let slow = |_: &Digest, body: Option<Body>| {
        assert!(body.is_some());
        std::thread::sleep(Duration::from_millis(200));
        arrived.fetch_add(1, Ordering::Relaxed);
    };
    remote.fetch(&digests(&all), scratch.path(), &slow).unwrap();
    assert_eq!(arrived.into_inner(), 40);
}

#[test]
fn a_full_server_says_so() {
    let (stub, spec, _) = stored(Manners::plain());
    let remote = client(&spec);
    stub.fail(Fault::Full);
    for size in [100, 5_000_000] {
        let error = remote.store(vec![blob(noise(1, size))]).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Full, "{error}");
        assert!(error.message.contains("the disk is full"), "{error}");
    }
    let error = remote.put(&name("y"), b"y", &[], &Condition::Always).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Full, "{error}");
}

#[test]
fn somebody_else_may_be_faster() {
    let zstd = Manners::new(|cache| cache.supported_compressors = vec![1]);
    for manners in [Manners::plain(), zstd] {
        let stub = Stub::start(manners.with(Fault::Late));
        let (remote, scratch) = (client(&hasty(&stub.url())), tempfile::tempdir().unwrap());
        let mut all = vec![blob(vec![1; 100]), blob(noise(1, 7_000_000)), blob(vec![2; 7_000_000])];
        all.push(file_blob(scratch.path(), &noise(2, 40_000_000)));
        all.push(file_blob(scratch.path(), &[3; 40_000_000]));
        for _ in 0..3 {
            remote.store(all.clone()).unwrap();
        }
        assert_eq!(stub.count(), all.len());
        fetch_all(&*remote, &digests(&all));
    }
}

#[test]
fn answers_that_are_not_complete_are_noticed() {
    let (stub, spec, known) = stored(Manners::plain());
    let remote = client(&spec);
    remote.get(&name("x")).unwrap();
    stub.fail(Fault::Forgetful);
    assert_eq!(fetch(&*remote, &known[..1]).1.unwrap_err().kind, RemoteErrorKind::Broken);
    assert_eq!(remote.store(vec![blob(noise(1, 100))]).unwrap_err().kind, RemoteErrorKind::Broken);
    stub.fail(Fault::Truncated);
    assert_eq!(remote.store(vec![blob(noise(1, 2_000_000))]).unwrap_err().kind, RemoteErrorKind::Broken);
}

#[test]
fn blobs_that_are_gone_are_told_one_by_one() {
    let (stub, spec, known) = stored(Manners::plain());
    let remote = client(&spec);
    stub.lose_blobs();
    remote.get(&name("x")).unwrap();
    assert_eq!(remote.missing(&known).unwrap(), known);
    let (brought, result) = fetch(&*remote, &known);
    result.unwrap();
    assert!(brought.len() == 2 && brought.values().all(Option::is_none));
}

#[test]
fn a_connection_may_be_cut_or_fall_silent() {
    let (stub, spec, known) = stored(Manners::plain());
    let proxy = Proxy::start(&stub.address);
    let remote = client(&RemoteSpec { url: format!("grpc://{}", proxy.address), ..spec });
    remote.get(&name("x")).unwrap();
    proxy.cut_after(3_000_000);
    let (brought, result) = fetch(&*remote, &known[1..]);
    let error = result.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
    assert!(brought.is_empty());
    proxy.mend();
    fetch_all(&*remote, &known);

    // A machine that went to sleep: the next connection is a new one.
    proxy.fall_silent();
    let error = fetch(&*remote, &known[1..]).1.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Timeout, "{error}");
    proxy.mend();
    fetch_all(&*remote, &known);
}

#[test]
fn nobody_there_and_nobody_who_answers() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client(&hasty(&format!("grpc://{free}"))).get(&name("x")).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("refused"), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = client(&hasty(&format!("grpc://{}", listener.local_addr().unwrap())));
    assert_eq!(mute.get(&name("x")).unwrap_err().kind, RemoteErrorKind::Timeout);
    let mute = client(&hasty(&format!("grpcs://{}", listener.local_addr().unwrap())));
    let error = mute.get(&name("x")).unwrap_err();
    assert!(matches!(error.kind, RemoteErrorKind::Timeout | RemoteErrorKind::Unreachable), "{error}");
    // What is there does not speak gRPC.
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("grpc://{}", web.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let _ = std::io::Write::write_all(&mut stream.unwrap(), b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = client(&hasty(&url)).get(&name("x")).unwrap_err();
    assert!(error.kind.is_passing(), "{error}");
}

#[test]
fn files_that_change_are_not_sent() {
    let stub = Stub::start(Manners::plain());
    let (remote, scratch) = (client(&at(stub.url())), tempfile::tempdir().unwrap());
    for size in [1000, 3_000_000] {
        let (digest, body) = file_blob(scratch.path(), &noise(1, size));
        let Body::File(path) = &body else { panic!("a file was made") };
        std::fs::write(path, noise(1, size + 1)).unwrap();
        let error = remote.store(vec![(digest, body.clone())]).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Local, "{error}");
        std::fs::remove_file(path).unwrap();
        assert_eq!(remote.store(vec![(digest, body)]).unwrap_err().kind, RemoteErrorKind::Local);
    }
    assert_eq!(stub.count(), 0);
}
