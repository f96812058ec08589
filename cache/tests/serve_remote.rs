//! The cache server as a remote of relgraph's own, over gRPC. Over HTTP it is one of the servers of `remote_http.rs`.

#[path = "support/blobs.rs"]
mod blobs;
mod serving;

use relgraph_cache::remote::{Access, Condition, Credentials, RemoteErrorKind, RemoteSpec, Secret};
use relgraph_cache::serve::{Partition, WriteTokens};

use blobs::{at, blob, client, digests, fetch_all, file_blob, name, noise};
use serving::{secret, serve};

#[test]
fn what_is_stored_over_grpc_is_found_and_whole() {
    let served = serve(|_, _| {});
    let spec = at(format!("grpc://{}", served.address()));
    let scratch = tempfile::tempdir().unwrap();
    let mut all =
        vec![blob(Vec::new()), blob(b"small".to_vec()), blob(noise(3, 3_000_000)), blob(vec![7; 5_000_000])];
    all.push(file_blob(scratch.path(), &noise(2, 20_000_000)));
    all.extend((0..1000).map(|n| blob(noise(1000 + n, 200 + 3 * n as usize))));
    let known = digests(&all);
    let writer = client(&spec);
    assert_eq!(writer.missing(&known).unwrap().len(), known.len() - 1, "all but the empty blob");
    writer.store(all.clone()).unwrap();
    writer.store(all).unwrap();
    let entry = name("an entry");
    assert_eq!(writer.get(&entry).unwrap(), None);
    assert!(writer.put(&entry, b"what it says", &known, &Condition::Absent).unwrap());
    let reader = client(&RemoteSpec { access: Access::Read, ..spec.clone() });
    assert_eq!(reader.get(&entry).unwrap().unwrap().bytes, b"what it says");
    assert_eq!(reader.missing(&known).unwrap(), []);
    fetch_all(&*reader, &known);
    // Once a blob is gone, so is the entry.
    let gone = served.files("cas").into_iter().find(|path| path.to_string_lossy().ends_with(".20000000"));
    std::fs::remove_file(gone.unwrap()).unwrap();
    assert_eq!(client(&spec).get(&entry).unwrap(), None);
    for (count, size) in [0, 100_000, 2_000_000, 9_000_000].into_iter().enumerate() {
        let (this, bytes) = (name(&format!("large {count}")), noise(count as u64, size));
        assert!(writer.put(&this, &bytes, &[], &Condition::Always).unwrap());
        assert!(client(&spec).get(&this).unwrap().unwrap().bytes == bytes);
    }
    let facts = reader.describe().unwrap().join("\n");
    assert!(facts.contains("BLAKE3") && facts.contains("4 MiB"), "{facts}");
}

#[test]
fn a_token_of_a_partition_writes_to_its_own() {
    let served = serve(|config, folder| {
        let pr = Some(Partition::parse("pr").unwrap());
        config.readers = vec![secret(folder, "r", "ann annstoken\n")];
        config.writers = vec![
            WriteTokens { file: secret(folder, "w", "ci cistoken\n"), partition: None },
            WriteTokens { file: secret(folder, "p", "pr prtoken\n"), partition: pr },
        ];
    });
    let with = |token: &str, part: &str, access| {
        let credentials = Credentials { token: Some(Secret::new(token)), ..Credentials::default() };
        client(&RemoteSpec { credentials, access, ..at(format!("grpc://{}{part}", served.address())) })
    };
    let (this, stored) = (name("an entry"), vec![blob(b"a blob".to_vec())]);
    let main = with("cistoken", "", Access::ReadWrite);
    main.store(stored.clone()).unwrap();
    assert!(main.put(&this, b"main", &digests(&stored), &Condition::Always).unwrap());
    let reads = with("prtoken", "", Access::Read);
    assert_eq!(reads.get(&this).unwrap().unwrap().bytes, b"main");
    fetch_all(&*reads, &digests(&stored));
    let refused = with("prtoken", "", Access::ReadWrite).put(&this, b"changed", &[], &Condition::Always);
    assert!(matches!(refused.unwrap_err().kind, RemoteErrorKind::Denied | RemoteErrorKind::Refused));
    let own = with("prtoken", "/pr", Access::ReadWrite);
    assert!(own.put(&this, b"pr", &digests(&stored), &Condition::Always).unwrap());
    assert_eq!(own.get(&this).unwrap().unwrap().bytes, b"pr");
    assert_eq!(with("annstoken", "", Access::Read).get(&this).unwrap().unwrap().bytes, b"main");
    let error = with("annstoke", "", Access::Read).get(&this).unwrap_err();
    assert!(error.kind == RemoteErrorKind::Denied && !error.message.contains("annstoke"), "{error}");
}
