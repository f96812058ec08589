//! `relgraph cache serve` under load: two hundred clients at once, more bytes than memory should hold, and a server that is killed.

#[path = "support/serving.rs"]
mod serving;
mod support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{ReadRequest, WriteRequest};
use prost::Message;
use reapi::action_cache_client::ActionCacheClient;
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use serving::{Cache, answer, noise, request, sha256};
use support::TestSpace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::codegen::tokio_stream;
use tonic::transport::Channel;
use tonic::{Code, Status};

const CLIENTS: u64 = 200;
/// How many different results there are: more than the budget holds.
const RESULTS: u64 = 400;
/// What is used is kept so long. A client that was slower than this between an entry and its blobs may miss them.
const LEASE: Duration = Duration::from_secs(3);

/// Bytes that are sent in a message.
const PIECE: usize = 64 << 10;

/// What a client hears.
#[derive(Debug)]
enum Heard {
    Yes,
    /// It is not there.
    No,
    /// There is no room.
    Full,
    /// A blob that the entry needs went in the meantime.
    Incomplete,
    /// The server is gone.
    Gone,
}

/// The blobs of a result, and what names it.
fn result(seed: u64) -> (Vec<Vec<u8>>, String, reapi::ActionResult) {
    let large = if seed % 40 == 7 { 4 << 20 } else { 100_000 + seed as usize * 700 };
    let blobs = vec![noise(seed, 300), noise(seed + 10_000, 30_000), noise(seed + 20_000, large)];
    let files = blobs.iter().map(|bytes| reapi::OutputFile {
        path: "file".into(),
        digest: Some(digest(bytes)),
        ..Default::default()
    });
    let result = reapi::ActionResult { output_files: files.collect(), ..Default::default() };
    (blobs, sha256(&seed.to_le_bytes()), result)
}

fn digest(bytes: &[u8]) -> reapi::Digest {
    reapi::Digest { hash: sha256(bytes), size_bytes: bytes.len() as i64 }
}

/// One of the two hundred.
#[derive(Clone)]
enum Client {
    Http(SocketAddr),
    Grpc(Channel),
}

impl Client {
    async fn new(address: SocketAddr, grpc: bool) -> Client {
        if !grpc {
            return Client::Http(address);
        }
        Client::Grpc(Channel::from_shared(format!("http://{address}")).expect("an address").connect_lazy())
    }

    async fn entry(&self, name: &str) -> (Heard, Option<reapi::ActionResult>) {
        match self {
            Client::Http(address) => match http(*address, "GET", &format!("/ac/{name}"), b"").await {
                (Heard::Yes, body) => {
                    (Heard::Yes, Some(reapi::ActionResult::decode(&body[..]).expect("a result")))
                }
                (heard, _) => (heard, None),
            },
            Client::Grpc(channel) => {
                let message = reapi::GetActionResultRequest {
                    action_digest: Some(reapi::Digest { hash: name.into(), size_bytes: 8 }),
                    ..Default::default()
                };
                match ActionCacheClient::new(channel.clone()).get_action_result(message).await {
                    Ok(result) => (Heard::Yes, Some(result.into_inner())),
                    Err(status) => (heard(&status), None),
                }
            }
        }
    }

    async fn put_entry(&self, name: &str, result: &reapi::ActionResult) -> Heard {
        match self {
            Client::Http(address) => {
                http(*address, "PUT", &format!("/ac/{name}"), &result.encode_to_vec()).await.0
            }
            Client::Grpc(channel) => {
                let message = reapi::UpdateActionResultRequest {
                    action_digest: Some(reapi::Digest { hash: name.into(), size_bytes: 8 }),
                    action_result: Some(result.clone()),
                    ..Default::default()
                };
                let put = ActionCacheClient::new(channel.clone()).update_action_result(message).await;
                put.map_or_else(|status| heard(&status), |_| Heard::Yes)
            }
        }
    }

    async fn blob(&self, digest: &reapi::Digest) -> (Heard, Vec<u8>) {
        match self {
            Client::Http(address) => http(*address, "GET", &format!("/cas/{}", digest.hash), b"").await,
            Client::Grpc(channel) => {
                let resource_name = format!("blobs/{}/{}", digest.hash, digest.size_bytes);
                let message = ReadRequest { resource_name, ..Default::default() };
                let mut bytes = Vec::new();
                let read = async {
                    let mut client = ByteStreamClient::new(channel.clone());
                    let mut pieces = client.read(message).await?.into_inner();
                    while let Some(piece) = pieces.message().await? {
                        bytes.extend(piece.data);
                    }
                    Ok::<_, Status>(())
                };
                match read.await {
                    Ok(()) => (Heard::Yes, bytes),
                    Err(status) => (heard(&status), Vec::new()),
                }
            }
        }
    }

    async fn put_blob(&self, bytes: &[u8]) -> Heard {
        let digest = digest(bytes);
        match self {
            Client::Http(address) => http(*address, "PUT", &format!("/cas/{}", digest.hash), bytes).await.0,
            Client::Grpc(channel) => {
                let message = reapi::FindMissingBlobsRequest {
                    blob_digests: vec![digest.clone()],
                    ..Default::default()
                };
                let mut client = ContentAddressableStorageClient::new(channel.clone());
                match client.find_missing_blobs(message).await {
                    Ok(missing) if missing.get_ref().missing_blob_digests.is_empty() => return Heard::Yes,
                    Ok(_) => {}
                    Err(status) => return heard(&status),
                }
                let stored = ByteStreamClient::new(channel.clone())
                    .write(tokio_stream::iter(messages(bytes, &digest)))
                    .await;
                stored.map_or_else(|status| heard(&status), |_| Heard::Yes)
            }
        }
    }
}

fn messages(bytes: &[u8], digest: &reapi::Digest) -> Vec<WriteRequest> {
    let count = bytes.chunks(PIECE).count();
    let messages = bytes.chunks(PIECE).enumerate().map(|(at, piece)| WriteRequest {
        resource_name: format!("uploads/u/blobs/{}/{}", digest.hash, digest.size_bytes),
        write_offset: (at * PIECE) as i64,
        finish_write: at + 1 == count,
        data: piece.to_vec(),
    });
    messages.collect()
}

fn heard(status: &Status) -> Heard {
    match status.code() {
        Code::NotFound => Heard::No,
        Code::ResourceExhausted => Heard::Full,
        Code::FailedPrecondition => Heard::Incomplete,
        Code::Unavailable | Code::Unknown | Code::Cancelled => Heard::Gone,
        Code::Internal if status.message().contains("h2") => Heard::Gone,
        _ => panic!("{status:?}"),
    }
}

async fn http(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> (Heard, Vec<u8>) {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&request(method, path, "", body)).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    let Some((status, body)) = ask.await.ok().and_then(|bytes| answer(&bytes)) else {
        return (Heard::Gone, Vec::new());
    };
    let heard = match status {
        200 | 201 | 204 => Heard::Yes,
        404 => Heard::No,
        507 => Heard::Full,
        409 => Heard::Incomplete,
        _ => panic!("{method} {path}: {status} {}", String::from_utf8_lossy(&body)),
    };
    (heard, body)
}

#[derive(Default)]
struct Tally {
    whole: AtomicU64,
    stored: AtomicU64,
    full: AtomicU64,
    late: AtomicU64,
}

fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

/// Uses a result as a build does: fetches it, or stores it. False: the server is gone.
async fn round(client: &Client, seed: u64, tally: &Tally) -> bool {
    let (blobs, name, expected) = result(seed);
    let (hit, found) = client.entry(&name).await;
    match hit {
        Heard::Yes => {
            assert_eq!(found.as_ref(), Some(&expected));
            let began = Instant::now();
            for bytes in &blobs {
                match client.blob(&digest(bytes)).await {
                    (Heard::Yes, got) => assert!(got == *bytes, "wrong bytes"),
                    (Heard::No, _) if began.elapsed() >= LEASE => return count_late(tally),
                    (Heard::Gone, _) => return false,
                    (other, _) => panic!("a broken result after {:?}: {other:?}", began.elapsed()),
                }
            }
            count(&tally.whole);
        }
        Heard::No => {
            for bytes in &blobs {
                match client.put_blob(bytes).await {
                    Heard::Yes => {}
                    Heard::Full => {
                        count(&tally.full);
                        return true;
                    }
                    Heard::Gone => return false,
                    other => panic!("{other:?}"),
                }
            }
            match client.put_entry(&name, &expected).await {
                Heard::Yes => count(&tally.stored),
                Heard::Full => count(&tally.full),
                Heard::Gone => return false,
                // Within the grace, which is longer than the test, that must not be.
                other => panic!("{other:?}"),
            }
        }
        Heard::Gone => return false,
        other => panic!("{other:?}"),
    }
    true
}

fn count_late(tally: &Tally) -> bool {
    count(&tally.late);
    true
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads")
}

/// Numbers that look random, and are the same each time.
fn pick(client: u64, round: u64) -> u64 {
    let hash = blake3::hash(&[client.to_le_bytes(), round.to_le_bytes()].concat());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight")) % RESULTS
}

#[test]
fn two_hundred_clients_and_no_room() {
    let space = TestSpace::cold();
    // About a third of what all results take.
    let cache =
        Cache::start(&space.path("serve"), &["--max-size", "60MB", "--grace", "10m", "--lease", "3s"]);
    let tally = Arc::new(Tally::default());
    runtime().block_on(async {
        let mut all = JoinSet::new();
        for number in 0..CLIENTS {
            let (tally, address) = (tally.clone(), cache.address);
            all.spawn(async move {
                let client = Client::new(address, number % 2 == 0).await;
                for count in 0..20 {
                    assert!(round(&client, pick(number, count), &tally).await, "the server is gone");
                }
            });
        }
        while let Some(done) = all.join_next().await {
            done.expect("no client found anything wrong");
        }
    });
    let [whole, stored, full, late] =
        [&tally.whole, &tally.stored, &tally.full, &tally.late].map(|number| number.load(Ordering::Relaxed));
    let evicted = cache.metric("relgraph_cache_evictions_total");
    let peak = cache.peak_memory();
    println!("whole {whole}, stored {stored}, refused {full}, late {late}, evicted {evicted}, {peak} MiB");
    assert!(whole > 100 && stored > 100, "whole {whole}, stored {stored}, refused {full}, late {late}");
    assert!(evicted > 300.0, "{evicted}");
    assert!(cache.metric("relgraph_cache_bytes ") <= 60e6);
    assert!(peak < 400, "{peak} MiB");
    assert!(!cache.err().contains("panicked"), "{}", cache.err());
    assert_eq!(cache.stop().code(), Some(0));
    // What is left is whole.
    let cache = Cache::start(&space.path("serve"), &["--max-size", "60MB"]);
    assert!(everything_is_whole(&cache) > 20);
    assert_eq!(cache.err(), "");
}

/// Reads all results. How many there are.
fn everything_is_whole(cache: &Cache) -> usize {
    let mut whole = 0;
    for seed in 0..RESULTS {
        let (blobs, name, expected) = result(seed);
        let (status, value) = cache.get(&format!("/ac/{name}"));
        if status == 404 {
            continue;
        }
        assert_eq!(reapi::ActionResult::decode(&value[..]).expect("a result"), expected);
        for bytes in blobs {
            assert!(cache.get(&format!("/cas/{}", sha256(&bytes))) == (200, bytes), "{seed} is broken");
        }
        whole += 1;
    }
    whole
}

#[test]
fn bodies_are_not_held_in_memory() {
    const SIZE: usize = 8 << 20;
    let space = TestSpace::cold();
    let cache = Cache::start(&space.path("serve"), &["--max-size", "20GB"]);
    let address = cache.address;
    runtime().block_on(async {
        // Everybody has sent half before anybody sends the rest: 800 MiB.
        let barrier = Arc::new(Barrier::new(CLIENTS as usize));
        let mut all = JoinSet::new();
        for number in 0..CLIENTS {
            let barrier = barrier.clone();
            all.spawn(async move {
                let bytes = noise(number, SIZE);
                let digest = digest(&bytes);
                if number % 2 == 0 {
                    let all = request("PUT", &format!("/cas/{}", digest.hash), "", &bytes);
                    drop(bytes);
                    let mut stream = TcpStream::connect(address).await.expect("a connection");
                    stream.write_all(&all[..SIZE / 2]).await.expect("sent");
                    barrier.wait().await;
                    stream.write_all(&all[SIZE / 2..]).await.expect("sent");
                    let mut said = Vec::new();
                    stream.read_to_end(&mut said).await.expect("an answer");
                    assert_eq!(answer(&said).expect("an answer").0, 201);
                } else {
                    let Client::Grpc(channel) = Client::new(address, true).await else { return };
                    let (sender, receiver) = tokio::sync::mpsc::channel(1);
                    let sending = tokio::spawn(async move {
                        for (count, message) in messages(&bytes, &digest).into_iter().enumerate() {
                            if count == SIZE / PIECE / 2 {
                                barrier.wait().await;
                            }
                            sender.send(message).await.expect("taken");
                        }
                    });
                    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
                    let stored = ByteStreamClient::new(channel).write(stream).await.expect("stored");
                    assert_eq!(stored.get_ref().committed_size, SIZE as i64);
                    sending.await.expect("sent");
                }
            });
        }
        while let Some(done) = all.join_next().await {
            done.expect("stored");
        }
        // Everybody reads a little and waits, then the rest.
        let barrier = Arc::new(Barrier::new(CLIENTS as usize));
        for number in 0..CLIENTS {
            let barrier = barrier.clone();
            all.spawn(async move {
                let expected = digest(&noise(number, SIZE));
                let mut stream = TcpStream::connect(address).await.expect("a connection");
                let ask = request("GET", &format!("/cas/{}", expected.hash), "", b"");
                stream.write_all(&ask).await.expect("sent");
                let mut said = vec![0; 1000];
                stream.read_exact(&mut said).await.expect("a beginning");
                barrier.wait().await;
                stream.read_to_end(&mut said).await.expect("the rest");
                assert_eq!(digest(&answer(&said).expect("an answer").1), expected);
            });
        }
        while let Some(done) = all.join_next().await {
            done.expect("read");
        }
    });
    let peak = cache.peak_memory();
    println!("{peak} MiB");
    assert!(peak < 400, "{peak} MiB");
    assert!(!cache.err().contains("panicked"), "{}", cache.err());
}

#[test]
fn a_server_that_is_killed_comes_back_whole() {
    let space = TestSpace::cold();
    let runtime = runtime();
    let mut kept = 0;
    let mut killed_while = HashSet::new();
    for life in 0..5_u64 {
        let mut cache =
            Cache::start(&space.path("serve"), &["--max-size", "60MB", "--grace", "10m", "--lease", "3s"]);
        assert!(everything_is_whole(&cache) >= kept / 2, "it lost what it had");
        let tally = Arc::new(Tally::default());
        let mut all = JoinSet::new();
        for number in 0..60 {
            let (tally, address) = (tally.clone(), cache.address);
            all.spawn_on(
                async move {
                    let client = Client::new(address, number % 2 == 0).await;
                    let mut count = life * 1000;
                    while round(&client, pick(number, count), &tally).await {
                        count += 1;
                    }
                },
                runtime.handle(),
            );
        }
        // At another point of the work each time.
        support::wait_until("much was stored", || tally.stored.load(Ordering::Relaxed) >= 20 + life * 17);
        let temps = std::fs::read_dir(space.path("serve").join("cache/tmp")).expect("a folder").count();
        cache.child.kill().expect("killed");
        cache.child.wait().expect("it ended");
        killed_while.insert(temps > 0);
        runtime.block_on(async {
            while let Some(done) = all.join_next().await {
                done.expect("no client found anything wrong");
            }
        });
        drop(cache);
        let again = Cache::start(&space.path("serve"), &["--max-size", "60MB"]);
        assert_eq!(std::fs::read_dir(space.path("serve").join("cache/tmp")).expect("a folder").count(), 0);
        kept = everything_is_whole(&again);
        assert!(kept > 5, "{kept}");
        assert!(!again.err().contains("panicked") && !again.err().contains("not whole"), "{}", again.err());
        assert_eq!(again.stop().code(), Some(0));
    }
    assert!(killed_while.contains(&true), "nothing was on its way in any life");
}
