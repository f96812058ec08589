//! The cache server over gRPC, with the clients that are made from the protocol's own description.

mod serving;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{QueryWriteStatusRequest, ReadRequest, WriteRequest};
use futures_util::{StreamExt, stream};
use prost::Message;
use reapi::action_cache_client::ActionCacheClient;
use reapi::capabilities_client::CapabilitiesClient;
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use reapi::{ActionResult, compressor, digest_function};
use relgraph_cache::remote::runtime::wait;
use relgraph_cache::serve::{DURATION_HEADER, Partition, WriteTokens};
use serving::{Served, blake3_hex, noise, secret, serve, sha256, wait_until};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const SHA256: i32 = digest_function::Value::Sha256 as i32;
const BLAKE3: i32 = digest_function::Value::Blake3 as i32;
const ZSTD: i32 = compressor::Value::Zstd as i32;

fn channel(served: &Served) -> Channel {
    let address = format!("http://{}", served.address());
    wait(async { Channel::from_shared(address).expect("an address").connect().await.expect("a connection") })
}

fn digest(bytes: &[u8], function: i32) -> reapi::Digest {
    let hash = if function == BLAKE3 { blake3_hex(bytes) } else { sha256(bytes) };
    reapi::Digest { hash, size_bytes: bytes.len() as i64 }
}

struct Client {
    channel: Channel,
    token: Option<String>,
}

impl Client {
    fn new(served: &Served) -> Client {
        Client { channel: channel(served), token: None }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse::<MetadataValue<_>>().expect("a header");
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    fn cas(&self) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel.clone()).max_decoding_message_size(8 << 20)
    }

    fn capabilities(&self, instance: &str) -> Result<reapi::CacheCapabilities, Status> {
        let message = reapi::GetCapabilitiesRequest { instance_name: instance.into() };
        let mut client = CapabilitiesClient::new(self.channel.clone());
        let answer = wait(client.get_capabilities(self.request(message)))?.into_inner();
        Ok(answer.cache_capabilities.expect("a cache"))
    }

    fn missing(&self, digests: &[reapi::Digest], function: i32) -> Vec<reapi::Digest> {
        let message = reapi::FindMissingBlobsRequest {
            blob_digests: digests.to_vec(),
            digest_function: function,
            ..Default::default()
        };
        let answer = wait(self.cas().find_missing_blobs(self.request(message))).expect("an answer");
        answer.into_inner().missing_blob_digests
    }

    fn update(&self, blobs: Vec<(reapi::Digest, Vec<u8>, i32)>, function: i32) -> Result<Vec<i32>, Status> {
        let requests = blobs.into_iter().map(|(digest, data, compressor)| {
            reapi::batch_update_blobs_request::Request { digest: Some(digest), data, compressor }
        });
        let message = reapi::BatchUpdateBlobsRequest {
            requests: requests.collect(),
            digest_function: function,
            ..Default::default()
        };
        let answer = wait(self.cas().batch_update_blobs(self.request(message)))?.into_inner();
        Ok(answer.responses.into_iter().map(|one| one.status.expect("a status").code).collect())
    }

    fn store(&self, bytes: &[u8], function: i32) -> reapi::Digest {
        let digest = digest(bytes, function);
        let codes = self.update(vec![(digest.clone(), bytes.to_vec(), 0)], function).expect("stored");
        assert_eq!(codes, [0]);
        digest
    }

    fn read(&self, name: &str, offset: i64, limit: i64) -> Result<Vec<u8>, Status> {
        let message = ReadRequest { resource_name: name.into(), read_offset: offset, read_limit: limit };
        wait(async {
            let mut client = ByteStreamClient::new(self.channel.clone());
            let mut stream = client.read(self.request(message)).await?.into_inner();
            let mut bytes = Vec::new();
            while let Some(piece) = stream.message().await? {
                bytes.extend(piece.data);
            }
            Ok(bytes)
        })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<i64, Status> {
        let pieces: Vec<&[u8]> = if bytes.is_empty() { vec![b""] } else { bytes.chunks(100_000).collect() };
        let last = pieces.len() - 1;
        let messages = pieces.iter().enumerate().map(|(count, piece)| WriteRequest {
            resource_name: if count == 0 { name.into() } else { String::new() },
            write_offset: count as i64 * 100_000,
            finish_write: count == last,
            data: piece.to_vec(),
        });
        self.write_all(messages.collect())
    }

    fn write_all(&self, messages: Vec<WriteRequest>) -> Result<i64, Status> {
        let mut client = ByteStreamClient::new(self.channel.clone());
        let answer = wait(client.write(self.request(stream::iter(messages))))?;
        Ok(answer.into_inner().committed_size)
    }

    fn put(&self, instance: &str, action: &reapi::Digest, result: ActionResult) -> Result<(), Status> {
        let message = reapi::UpdateActionResultRequest {
            instance_name: instance.into(),
            action_digest: Some(action.clone()),
            action_result: Some(result),
            digest_function: SHA256,
            ..Default::default()
        };
        let mut request = self.request(message);
        request.metadata_mut().insert(DURATION_HEADER, MetadataValue::from_static("5000"));
        let mut client = ActionCacheClient::new(self.channel.clone());
        wait(client.update_action_result(request)).map(drop)
    }

    fn get(&self, instance: &str, action: &reapi::Digest, inline: &[&str]) -> Result<ActionResult, Status> {
        let message = reapi::GetActionResultRequest {
            instance_name: instance.into(),
            action_digest: Some(action.clone()),
            inline_output_files: inline.iter().map(|path| (*path).to_owned()).collect(),
            inline_stdout: !inline.is_empty(),
            ..Default::default()
        };
        let mut client = ActionCacheClient::new(self.channel.clone());
        wait(client.get_action_result(self.request(message))).map(tonic::Response::into_inner)
    }
}

fn file(path: &str, digest: &reapi::Digest) -> reapi::OutputFile {
    reapi::OutputFile { path: path.into(), digest: Some(digest.clone()), ..Default::default() }
}

fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.expect_err("refused").code()
}

#[test]
fn it_says_what_it_can_do() {
    let served = serve(|_, _| {});
    let capabilities = Client::new(&served).capabilities("").unwrap();
    assert_eq!(capabilities.digest_functions, [SHA256, BLAKE3]);
    assert_eq!(capabilities.max_batch_total_size_bytes, 4 << 20);
    assert_eq!(capabilities.supported_compressors, [0, ZSTD]);
    assert!(capabilities.action_cache_update_capabilities.unwrap().update_enabled);
}

#[test]
fn batches() {
    let served = serve(|_, _| {});
    let client = Client::new(&served);
    for function in [SHA256, BLAKE3] {
        let (small, large) = (noise(1, 10), vec![7; 100_000]);
        let names = [digest(&small, function), digest(&large, function), digest(b"", function)];
        assert_eq!(client.missing(&names, function), names[..2]);
        let packed = zstd::bulk::compress(&large, 3).unwrap();
        let wrong = digest(b"wrong", function);
        let longer = reapi::Digest { size_bytes: 11, ..names[0].clone() };
        let bomb = zstd::bulk::compress(&vec![0; 50 << 20], 3).unwrap();
        let codes = client.update(
            vec![
                (names[0].clone(), small.clone(), 0),
                (names[1].clone(), packed, ZSTD),
                (names[2].clone(), vec![], 0),
                (wrong.clone(), b"right".to_vec(), 0),
                (longer, small.clone(), 0),
                (digest(&[0; 1000], function), bomb, ZSTD),
                (wrong.clone(), b"wrong".to_vec(), ZSTD),
                (reapi::Digest { hash: "../../x".into(), size_bytes: 1 }, vec![1], 0),
            ],
            function,
        );
        let bad = Code::InvalidArgument as i32;
        assert_eq!(codes.unwrap(), [0, 0, 0, bad, bad, bad, bad, bad]);
        assert_eq!(client.missing(&names, function), []);
        // The size is part of the name.
        let resized = reapi::Digest { size_bytes: 1, ..names[0].clone() };
        assert_eq!(client.missing(std::slice::from_ref(&resized), function), [resized]);
        for acceptable in [vec![], vec![ZSTD]] {
            let message = reapi::BatchReadBlobsRequest {
                digests: [&names[..], std::slice::from_ref(&wrong)].concat(),
                acceptable_compressors: acceptable.clone(),
                digest_function: function,
                ..Default::default()
            };
            let answer = wait(client.cas().batch_read_blobs(message)).unwrap().into_inner();
            let read: Vec<(i32, Vec<u8>)> = answer
                .responses
                .into_iter()
                .map(|one| {
                    let data = if one.compressor == ZSTD {
                        assert!(!acceptable.is_empty());
                        zstd::bulk::decompress(&one.data, 1 << 20).unwrap()
                    } else {
                        one.data
                    };
                    (one.status.unwrap().code, data)
                })
                .collect();
            let absent = (Code::NotFound as i32, vec![]);
            assert_eq!(read, [(0, small.clone()), (0, large.clone()), (0, vec![]), absent]);
        }
    }
    let many = vec![(digest(b"", SHA256), vec![0; 3 << 20], 0); 2];
    assert_eq!(code(client.update(many, SHA256)), Code::InvalidArgument);
    assert_eq!(code(client.update(vec![], digest_function::Value::Md5 as i32)), Code::InvalidArgument);
}

#[test]
fn streams() {
    let served = serve(|_, _| {});
    let client = Client::new(&served);
    let bytes = [noise(5, 700_000), vec![3; 700_000]].concat();
    let size = bytes.len();
    let packed = zstd::bulk::compress(&bytes, 3).unwrap();
    for (way, sent) in [("blobs", &bytes), ("compressed-blobs/zstd", &packed)] {
        for (function, hash) in [("", sha256(&bytes)), ("blake3/", blake3_hex(&bytes))] {
            let served = serve(|_, _| {});
            let client = Client::new(&served);
            let upload = format!("x/uploads/some-uuid/{way}/{function}{hash}/{size}");
            let query = QueryWriteStatusRequest { resource_name: upload.clone() };
            let ask = || {
                let mut client = ByteStreamClient::new(client.channel.clone());
                let answer = wait(client.query_write_status(query.clone())).unwrap().into_inner();
                (answer.committed_size, answer.complete)
            };
            assert_eq!(ask(), (0, false));
            assert_eq!(client.write(&upload, sent).unwrap(), sent.len() as i64);
            assert_eq!(ask(), (size as i64, true));
            let again = client.write(&upload, sent).unwrap();
            assert_eq!(again, if way == "blobs" { size as i64 } else { -1 });
            let name = format!("blobs/{function}{hash}/{size}");
            assert!(client.read(&name, 0, 0).unwrap() == bytes);
            assert!(client.read(&name, 650_000, 100_000).unwrap() == bytes[650_000..750_000]);
            assert!(client.read(&name, size as i64 - 3, 0).unwrap() == bytes[size - 3..]);
            assert!(client.read(&name, size as i64, 0).unwrap().is_empty());
            assert_eq!(code(client.read(&name, size as i64 + 1, 0)), Code::OutOfRange);
            assert_eq!(code(client.read(&name, -1, 0)), Code::OutOfRange);
            let name = format!("compressed-blobs/zstd/{function}{hash}/{size}");
            let unpack = |read: Vec<u8>| zstd::stream::decode_all(&read[..]).unwrap();
            let read = client.read(&name, 0, 0).unwrap();
            assert!(read.len() < size * 2 / 3);
            assert!(unpack(read) == bytes);
            assert!(unpack(client.read(&name, 650_000, 0).unwrap()) == bytes[650_000..]);
            assert_eq!(code(client.read(&name, 0, 5)), Code::InvalidArgument);
            let other_size = format!("blobs/{function}{hash}/{}", size - 1);
            assert_eq!(code(client.read(&other_size, 0, 0)), Code::NotFound);
        }
    }
    let hash = sha256(&bytes);
    let name = |size: usize| format!("uploads/u/blobs/{hash}/{size}");
    assert_eq!(code(client.write(&name(size), &bytes[1..])), Code::InvalidArgument);
    assert_eq!(code(client.write(&name(size), &[&bytes[..], b"x"].concat())), Code::InvalidArgument);
    assert_eq!(code(client.write(&name(size + 1), &bytes)), Code::InvalidArgument);
    assert_eq!(code(client.write("uploads/u/blobs/../../x/1", b"x")), Code::InvalidArgument);
    let zstd = format!("uploads/u/compressed-blobs/zstd/{hash}/{size}");
    assert_eq!(code(client.write(&zstd, &bytes)), Code::InvalidArgument);
    assert_eq!(code(client.write(&zstd, &packed[..packed.len() / 2])), Code::InvalidArgument);
    let message = |offset: i64, finish_write| WriteRequest {
        resource_name: name(size),
        write_offset: offset,
        finish_write,
        data: bytes[..10].to_vec(),
    };
    assert_eq!(code(client.write_all(vec![message(5, false)])), Code::InvalidArgument);
    assert_eq!(code(client.write_all(vec![message(0, false), message(0, true)])), Code::InvalidArgument);
    assert_eq!(code(client.write_all(vec![message(0, false)])), Code::Aborted);
    assert_eq!(code(client.write_all(vec![])), Code::Aborted);
    assert_eq!(code(client.read(&format!("blobs/{hash}/{size}"), 0, 0)), Code::NotFound);
    assert_eq!(served.files("cas").len(), 0);
    wait_until("nothing is left of uploads", || served.files("tmp").is_empty());
    // No bytes at all.
    let empty = sha256(b"");
    assert_eq!(client.write(&format!("uploads/u/blobs/{empty}/0"), b"").unwrap(), 0);
    assert_eq!(client.read(&format!("blobs/{empty}/0"), 0, 0).unwrap(), b"");
    let read = client.read(&format!("compressed-blobs/zstd/{empty}/0"), 0, 0).unwrap();
    assert_eq!(zstd::stream::decode_all(&read[..]).unwrap(), b"");
}

#[test]
fn many_write_the_same_blob_at_once() {
    let served = serve(|_, _| {});
    let bytes = noise(6, 2 << 20);
    let name = format!("blobs/{}/{}", sha256(&bytes), bytes.len());
    std::thread::scope(|scope| {
        for count in 0..16 {
            let (served, name, bytes) = (&served, &name, &bytes);
            scope.spawn(move || {
                let client = Client::new(served);
                let mut sent = bytes.clone();
                // One in four is wrong.
                if count % 4 == 0 {
                    sent[count] ^= 1;
                }
                match client.write(&format!("uploads/{count}/{name}"), &sent) {
                    Ok(committed) => assert_eq!(committed, bytes.len() as i64),
                    Err(status) => {
                        assert!(count % 4 == 0 && status.code() == Code::InvalidArgument, "{status}")
                    }
                }
                if count % 4 > 0 {
                    assert!(client.read(name, 0, 0).expect("there") == *bytes);
                }
            });
        }
    });
    assert_eq!(served.files("cas").len(), 1);
    wait_until("nothing is left of uploads", || served.files("tmp").is_empty());
}

#[test]
fn an_entry_is_whole_or_not_there() {
    let served = serve(|_, _| {});
    let client = Client::new(&served);
    let action = digest(b"an action", SHA256);
    assert_eq!(code(client.get("", &action, &[])), Code::NotFound);
    let (out, log, deep) = (b"output".to_vec(), b"log".to_vec(), noise(7, 5000));
    let tree = reapi::Tree {
        root: Some(reapi::Directory::default()),
        children: vec![reapi::Directory {
            files: vec![reapi::FileNode {
                name: "deep".into(),
                digest: Some(digest(&deep, SHA256)),
                ..Default::default()
            }],
            ..Default::default()
        }],
    }
    .encode_to_vec();
    let result = ActionResult {
        output_files: vec![file("a", &digest(&out, SHA256)), file("empty", &digest(b"", SHA256))],
        stdout_digest: Some(digest(&log, SHA256)),
        output_directories: vec![reapi::OutputDirectory {
            path: "d".into(),
            tree_digest: Some(digest(&tree, SHA256)),
            ..Default::default()
        }],
        ..Default::default()
    };
    for bytes in [&tree, &out, &log, &deep] {
        assert_eq!(code(client.put("", &action, result.clone())), Code::FailedPrecondition);
        client.store(bytes, SHA256);
    }
    client.put("", &action, result.clone()).unwrap();
    assert_eq!(client.get("", &action, &[]).unwrap(), result);
    assert_eq!(code(client.get("pr/1", &action, &[])), Code::NotFound);
    let inlined = client.get("", &action, &["a", "nothing"]).unwrap();
    assert_eq!((inlined.stdout_raw, &inlined.output_files[0].contents), (log, &out));
    assert_eq!(served.metric("relgraph_cache_saved_seconds_total{token=\"anonymous\"}"), 10.0);
    // The same entry over HTTP.
    let path = format!("/ac/{}", action.hash);
    assert_eq!(ActionResult::decode(&served.get(&path).body[..]).unwrap(), result);
    let other = format!("/ac/{}", sha256(b"another"));
    assert_eq!(served.put(&other, &result.encode_to_vec()), 201);
    assert_eq!(client.get("", &digest(b"another", SHA256), &[]).unwrap(), result);
    let mut lacking = result.clone();
    lacking.output_files.push(file("b", &digest(b"nowhere", SHA256)));
    assert_eq!(served.put(&other, &lacking.encode_to_vec()), 409);
    // What is no result is none over gRPC.
    assert_eq!(served.put(&other, b"cCrS opaque"), 204);
    assert_eq!(code(client.get("", &digest(b"another", SHA256), &[])), Code::NotFound);
    assert_eq!(served.get(&other).body, b"cCrS opaque");
    // A blob that somebody took away, deep in the tree.
    let gone = served.files("cas").into_iter().find(|path| path.ends_with(format!("{}.5000", sha256(&deep))));
    std::fs::remove_file(gone.unwrap()).unwrap();
    assert_eq!(code(client.get("", &action, &[])), Code::NotFound);
    assert_eq!(served.get(&path).status, 404);
    assert_eq!(client.missing(&[digest(&deep, SHA256)], SHA256).len(), 1);
    assert_eq!(served.files("ac").len(), 1);
}

#[test]
fn entries_with_either_hash_function_and_directories() {
    let served = serve(|_, _| {});
    let client = Client::new(&served);
    let leaf = client.store(b"leaf", BLAKE3);
    let below = reapi::Directory {
        files: vec![reapi::FileNode { name: "leaf".into(), digest: Some(leaf), ..Default::default() }],
        ..Default::default()
    };
    let below_digest = client.store(&below.encode_to_vec(), BLAKE3);
    let twice = |name: &str| reapi::DirectoryNode { name: name.into(), digest: Some(below_digest.clone()) };
    let root = reapi::Directory { directories: vec![twice("a"), twice("b")], ..Default::default() };
    let root_digest = client.store(&root.encode_to_vec(), BLAKE3);
    let message = reapi::GetTreeRequest {
        root_digest: Some(root_digest.clone()),
        digest_function: BLAKE3,
        ..Default::default()
    };
    let pages: Vec<_> =
        wait(async { client.cas().get_tree(message.clone()).await.unwrap().into_inner().collect().await });
    let directories: Vec<reapi::Directory> =
        pages.into_iter().flat_map(|page| page.unwrap().directories).collect();
    assert_eq!(directories, [root, below]);
    let absent = reapi::GetTreeRequest { root_digest: Some(digest(b"no", BLAKE3)), ..message };
    assert_eq!(code(wait(client.cas().get_tree(absent))), Code::NotFound);

    let action = digest(b"an action", BLAKE3);
    let result = ActionResult {
        output_directories: vec![reapi::OutputDirectory {
            path: "d".into(),
            root_directory_digest: Some(root_digest),
            ..Default::default()
        }],
        ..Default::default()
    };
    let update = |function| reapi::UpdateActionResultRequest {
        action_digest: Some(action.clone()),
        action_result: Some(result.clone()),
        digest_function: function,
        ..Default::default()
    };
    let mut entries = ActionCacheClient::new(client.channel.clone());
    assert_eq!(code(wait(entries.update_action_result(update(SHA256)))), Code::FailedPrecondition);
    wait(entries.update_action_result(update(BLAKE3))).unwrap();
    assert_eq!(client.get("", &action, &[]).unwrap(), result);
    let gone =
        served.files("cas").into_iter().find(|path| path.ends_with(format!("{}.4", blake3_hex(b"leaf"))));
    std::fs::remove_file(gone.unwrap()).unwrap();
    assert_eq!(code(client.get("", &action, &[])), Code::NotFound);
}

#[test]
fn tokens_and_partitions() {
    let served = serve(|config, folder| {
        config.readers = vec![secret(folder, "r", "ann annstoken\n")];
        let pr = Some(Partition::parse("pr/1").unwrap());
        config.writers = vec![
            WriteTokens { file: secret(folder, "w", "ci cistoken\n"), partition: None },
            WriteTokens { file: secret(folder, "p", "pr prtoken\n"), partition: pr },
        ];
    });
    let with = |token: &str| Client { channel: channel(&served), token: Some(token.into()) };
    let (nobody, ann, ci, pr) = (Client::new(&served), with("annstoken"), with("cistoken"), with("prtoken"));
    let action = digest(b"an action", SHA256);
    for stranger in [nobody, with("annstoke")] {
        assert_eq!(code(stranger.capabilities("")), Code::Unauthenticated);
        assert_eq!(code(stranger.get("", &action, &[])), Code::Unauthenticated);
        assert_eq!(
            code(stranger.write(&format!("uploads/u/blobs/{}/1", sha256(b"x")), b"x")),
            Code::Unauthenticated
        );
    }
    let updates = |client: &Client, instance: &str| {
        client.capabilities(instance).unwrap().action_cache_update_capabilities.unwrap().update_enabled
    };
    assert_eq!(
        [updates(&ann, ""), updates(&ci, ""), updates(&pr, ""), updates(&pr, "pr/1")],
        [false, true, false, true]
    );
    let result = ActionResult { exit_code: 7, ..Default::default() };
    let denied = Code::PermissionDenied;
    assert_eq!(code(ann.update(vec![], SHA256)), denied);
    assert_eq!(code(ann.write(&format!("uploads/u/blobs/{}/1", sha256(b"x")), b"x")), denied);
    for instance in ["", "pr/1", "x"] {
        assert_eq!(code(ann.put(instance, &action, result.clone())), denied);
    }
    for instance in ["", "x"] {
        assert_eq!(code(pr.put(instance, &action, result.clone())), denied);
        ci.put(instance, &action, result.clone()).unwrap();
    }
    assert_eq!(code(pr.get("pr/1", &action, &[])), Code::NotFound);
    pr.put("pr/1", &action, result.clone()).unwrap();
    pr.store(b"blob", SHA256);
    for instance in ["", "pr/1"] {
        assert_eq!(pr.get(instance, &action, &[]).unwrap(), result);
    }
    assert_eq!(code(pr.get("x", &action, &[])), denied);
    assert_eq!(ann.get("x", &action, &[]).unwrap(), result);
    assert_eq!(code(ci.get("../x", &action, &[])), Code::InvalidArgument);
}

#[test]
fn what_is_no_service_is_said_to_be_none() {
    let served = serve(|_, _| {});
    let mut client = reapi::execution_client::ExecutionClient::new(channel(&served));
    assert_eq!(code(wait(client.execute(reapi::ExecuteRequest::default())).map(|_| ())), Code::Unimplemented);
}
