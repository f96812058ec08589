//! What servers of the Remote Execution API may do that none which can be installed here does.

#[path = "support/blobs.rs"]
mod blobs;
#[path = "support/stub/mod.rs"]
mod stub;

use relgraph_cache::remote::{Condition, RemoteErrorKind};

use blobs::{at, blob, client, digests, fetch_all, file_blob, name, noise};
use stub::{Manners, Stub};

fn round_trip(stub: &Stub) {
    let (writer, scratch) = (client(&at(stub.url())), tempfile::tempdir().unwrap());
    let mut all = vec![blob(Vec::new()), file_blob(scratch.path(), &noise(1, 20_000_000))];
    all.push(file_blob(scratch.path(), &[9; 20_000_000]));
    all.push(blob(vec![5; 3_000_000]));
    all.extend((0..50).map(|n| blob(noise(n, 3000))));
    all.extend((0..50).map(|n| blob(vec![n; 10_000])));
    all.push(blob(zstd::bulk::compress(&vec![4; 9_000_000], 1).unwrap()));
    all.push(blob(zstd::bulk::compress(&noise(77, 5_000_000), 1).unwrap()));
    let known = digests(&all);
    writer.store(all.clone()).unwrap();
    assert_eq!(stub.count(), all.len() - 1, "all but the empty blob");
    assert!(writer.put(&name("x"), b"says it", &known, &Condition::Absent).unwrap());
    let reader = client(&at(stub.url()));
    assert_eq!(reader.get(&name("x")).unwrap().unwrap().bytes, b"says it");
    assert_eq!(reader.missing(&known).unwrap(), []);
    fetch_all(&*reader, &known);
}

#[test]
fn blake3_is_spoken_where_it_is_known() {
    let stub = Stub::start(Manners::new(|cache| cache.digest_functions = vec![1, 9]));
    round_trip(&stub);
    let seen = stub.seen();
    assert_eq!(seen.iter().filter(|line| *line == "GetCapabilities").count(), 2, "once for each client");
    for line in seen.iter().filter(|line| line.contains("function=")) {
        assert!(line.contains("function=9") && line.contains("known=true"), "{line}");
        let small = ["GetActionResult", "UpdateActionResult", "FindMissingBlobs"];
        assert_eq!(line.contains("deadline=true"), small.iter().any(|call| line.starts_with(call)), "{line}");
    }
    // Nobody has to tell what a blob is called.
    let (writer, stranger) = (client(&at(stub.url())), client(&at(stub.url())));
    let all = vec![blob(noise(5, 1000)), blob(noise(6, 2_000_000))];
    writer.store(all.clone()).unwrap();
    fetch_all(&*stranger, &digests(&all));
}

#[test]
fn batches_are_as_small_as_the_server_wants() {
    let stub = Stub::start(Manners::new(|cache| cache.max_batch_total_size_bytes = 65536));
    round_trip(&stub);
    let mut batches = 0;
    for line in stub.seen() {
        if let Some((_, rest)) = line.split_once("bytes=") {
            let bytes: u64 = rest.split(' ').next().unwrap().parse().unwrap();
            assert!(bytes <= 65536, "{line}");
            batches += 1;
        }
    }
    assert!(batches > 20);
    let facts = client(&at(stub.url())).describe().unwrap();
    assert!(facts.contains(&"at most 64 KiB in a batch".to_owned()), "{facts:?}");
}

#[test]
fn what_is_not_compressed_is_compressed_on_the_way() {
    let stub = Stub::start(Manners::new(|cache| {
        cache.supported_compressors = vec![1];
        cache.supported_batch_update_compressors = vec![1];
    }));
    round_trip(&stub);
    let seen = stub.seen().join("\n");
    for line in ["Write zstd=true", "Write zstd=false", "Read zstd=true", "Read zstd=false", "zstd=50"] {
        assert!(seen.contains(line), "{line}:\n{seen}");
    }
    let quiet = Stub::start(Manners::plain());
    round_trip(&quiet);
    assert!(!quiet.seen().join("\n").contains("zstd=true"));
}

#[test]
fn a_server_that_announces_nothing_is_used_with_care() {
    let stub = Stub::start(Manners { capabilities: None, ..Manners::plain() });
    round_trip(&stub);
    let facts = client(&at(stub.url())).describe().unwrap().join("\n");
    assert!(facts.contains("no Capabilities service") && facts.contains("SHA-256"), "{facts}");
}

#[test]
fn an_entry_that_is_not_in_the_answer_is_read_from_the_blobs() {
    let stub = Stub::start(Manners { bare: true, ..Manners::plain() });
    let remote = client(&at(stub.url()));
    for (n, size) in [0, 10, 2_000_000, 10_000_000].into_iter().enumerate() {
        let (this, bytes) = (name(&n.to_string()), noise(1, size));
        assert!(remote.put(&this, &bytes, &[], &Condition::Always).unwrap());
        assert!(remote.get(&this).unwrap().unwrap().bytes == bytes);
    }
    stub.lose_blobs();
    assert_eq!(remote.get(&name("1")).unwrap(), None);
}

#[test]
fn limits_of_a_server_are_kept() {
    let stub = Stub::start(Manners::new(|cache| {
        cache.max_cas_blob_size_bytes = 1000;
        cache.action_cache_update_capabilities = Some(Default::default());
    }));
    let remote = client(&at(stub.url()));
    let error = remote.store(vec![blob(noise(1, 1000)), blob(noise(1, 1001))]).unwrap_err();
    assert_eq!((error.kind, stub.count()), (RemoteErrorKind::Refused, 0), "{error}");
    remote.store(vec![blob(noise(1, 1000))]).unwrap();
    let error = remote.put(&name("x"), b"x", &[], &Condition::Always).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
    assert!(error.message.contains("update_enabled"), "{error}");
    assert!(client(&at(stub.url())).describe().unwrap().contains(&"entries may not be written".to_owned()));
}
