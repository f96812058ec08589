//! The folder of the cache server: what goes when there is too much, and what a start finds.

mod serving;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use relgraph_cache::serve::ServeConfig;
use serving::{Served, blake3_hex, noise, serve, sha256, wait_until};

/// A small budget, and nothing that stays because of the time.
fn small(config: &mut ServeConfig) {
    config.max_size = Some(1 << 20);
    config.grace = Duration::ZERO;
    config.lease = Duration::ZERO;
}

/// A value that needs these blobs.
fn result(blobs: &[&[u8]]) -> Vec<u8> {
    let file = |bytes: &&[u8]| reapi::OutputFile {
        path: "a".into(),
        digest: Some(reapi::Digest { hash: sha256(bytes), size_bytes: bytes.len() as i64 }),
        ..Default::default()
    };
    let files = blobs.iter().map(file).collect();
    reapi::ActionResult { output_files: files, ..Default::default() }.encode_to_vec()
}

/// A value as relgraph stores it over HTTP.
fn listing(blobs: &[&[u8]]) -> Vec<u8> {
    let mut value = b"relgraph http entry 1\n".to_vec();
    value.extend((blobs.len() as u32).to_le_bytes());
    value.extend(8_u64.to_le_bytes());
    for bytes in blobs {
        value.extend(blake3::hash(bytes).as_bytes());
        value.extend((bytes.len() as u64).to_le_bytes());
        let hex = sha256(bytes);
        value.extend((0..32).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).expect("hex")));
    }
    value.extend(b"an entry");
    value
}

fn blob(bytes: &[u8]) -> String {
    format!("/cas/{}", sha256(bytes))
}

fn entry(name: &str) -> String {
    format!("/ac/{}", sha256(name.as_bytes()))
}

#[test]
fn results_go_whole_and_the_oldest_first() {
    for wrap in [result as fn(&[&[u8]]) -> Vec<u8>, listing] {
        let served = serve(|config, _| small(config));
        let shared = noise(0, 1000);
        let mut kept = 0;
        for count in 1..60_u64 {
            let (a, b) = (noise(count, 20_000), noise(count + 1000, 30_000));
            for bytes in [&a, &b, &shared] {
                assert!(served.put(&blob(bytes), bytes) < 300);
            }
            assert_eq!(served.put(&entry(&format!("{count}")), &wrap(&[&a, &b, &shared])), 201);
            assert_eq!(served.get(&entry("1")).status, 200, "it is in use all the time");
            assert!(served.metric("relgraph_cache_bytes") <= f64::from(1 << 20));
        }
        let mut gone = 0;
        for count in 1..60_u64 {
            let there = served.get(&entry(&format!("{count}"))).status == 200;
            for bytes in [noise(count, 20_000), noise(count + 1000, 30_000), shared.clone()] {
                let got = served.get(&blob(&bytes));
                assert!(!there || got.body == bytes, "{count} is broken");
            }
            // What was used last is there, but for the one that is used all the time.
            assert!(there || kept == 0 || count == 2, "{count} went before an older one");
            if there && count > 1 {
                kept += 1;
            }
            gone += usize::from(!there);
        }
        assert!(kept > 10 && gone > 30, "{kept} {gone}");
        assert!(served.metric("relgraph_cache_evictions_total") > 60.0);
        assert_eq!(served.files("tmp").len(), 0);
    }
}

#[test]
fn blobs_wait_for_their_entry_even_when_there_is_no_room() {
    let served = serve(|config, _| {
        small(config);
        config.grace = Duration::from_secs(3600);
    });
    let blobs: Vec<Vec<u8>> = (0..20).map(|seed| noise(seed, 100_000)).collect();
    let stored: Vec<&Vec<u8>> =
        blobs.iter().take_while(|bytes| served.put(&blob(bytes), bytes) == 201).collect();
    assert!(stored.len() >= 9 && stored.len() < 12, "{}", stored.len());
    let one_more = served.ask("PUT", &blob(&blobs[19]), &[], &blobs[19]);
    assert_eq!((one_more.status, one_more.text()), (507, "there is no room left\n".to_owned()));
    assert_eq!(served.files("tmp").len(), 0);
    for bytes in &stored {
        assert_eq!(served.get(&blob(bytes)).status, 200);
    }
    // A small one fits. With its entry, what an entry needs may go.
    let all: Vec<&[u8]> = stored.iter().map(|bytes| &bytes[..]).collect();
    assert_eq!(served.put(&entry("a"), &result(&all)), 201);
    wait_until("there is room again", || served.put(&blob(&blobs[19]), &blobs[19]) == 201);
    assert_eq!(served.get(&entry("a")).status, 404);
}

#[test]
fn what_was_just_used_stays() {
    let served = serve(|config, _| {
        small(config);
        config.lease = Duration::from_secs(3600);
    });
    let bytes: Vec<Vec<u8>> = (0..20).map(|seed| noise(seed, 100_000)).collect();
    let first: Vec<&[u8]> = bytes[..5].iter().map(|bytes| &bytes[..]).collect();
    for one in &first {
        assert_eq!(served.put(&blob(one), one), 201);
    }
    assert_eq!(served.put(&entry("a"), &result(&first)), 201);
    let stored = bytes[5..].iter().take_while(|one| served.put(&blob(one), one) == 201).count();
    assert!((3..8).contains(&stored), "{stored}");
    assert_eq!(served.get(&entry("a")).status, 200);
    for one in first {
        assert_eq!(served.get(&blob(one)).body, one);
    }
}

#[test]
fn what_is_evicted_while_it_is_read_is_read_to_its_end() {
    let served = serve(|config, _| {
        small(config);
        config.max_size = Some(40 << 20);
    });
    let bytes = noise(1, 16 << 20);
    assert_eq!(served.put(&blob(&bytes), &bytes), 201);
    let mut stream = TcpStream::connect(served.address()).unwrap();
    write!(stream, "GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", blob(&bytes)).unwrap();
    let mut begin = vec![0; 10_000];
    stream.read_exact(&mut begin).unwrap();
    for seed in 2..5 {
        let other = noise(seed, 16 << 20);
        assert_eq!(served.put(&blob(&other), &other), 201);
    }
    assert_eq!(served.get(&blob(&bytes)).status, 404);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let all = [begin, rest].concat();
    let head = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(all[head..] == bytes);
}

fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

fn file_of(served: &Served, part: &str, name: &str) -> PathBuf {
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(name);
    served.files(part).into_iter().find(is_it).unwrap_or_else(|| panic!("no {name} in {part}"))
}

#[test]
fn the_order_of_use_outlives_the_server() {
    let mut served = serve(|config, _| {
        small(config);
        config.max_size = Some(100 << 20);
    });
    let blobs: Vec<Vec<u8>> = (0..4).map(|seed| noise(seed, 400_000)).collect();
    for (count, bytes) in blobs.iter().enumerate() {
        served.put(&blob(bytes), bytes);
        assert_eq!(served.put(&entry(&format!("{count}")), &result(&[bytes])), 201);
        age(&file_of(&served, "cas", &sha256(bytes)), 90_000);
        // The first was used last, the last first.
        age(&file_of(&served, "ac", &sha256(format!("{count}").as_bytes())), 1000 * (count as u64 + 1));
    }
    assert_eq!(served.get(&entry("2")).status, 200);
    assert!(served.stop());
    served.config.max_size = Some(1 << 20);
    served.start();
    let there = |count: usize| served.get(&entry(&format!("{count}"))).status == 200;
    assert_eq!([there(0), there(1), there(2), there(3)], [true, false, true, false]);
    assert_eq!(served.files("cas").len(), 2);
}

#[test]
fn a_start_finds_what_is_not_whole() {
    let mut served = serve(|_, _| {});
    let blobs: Vec<Vec<u8>> = (0..6).map(|seed| noise(seed, 50_000)).collect();
    for (count, bytes) in blobs.iter().enumerate() {
        served.put(&blob(bytes), bytes);
        assert_eq!(served.put(&entry(&format!("{count}")), &result(&[bytes])), 201);
    }
    served.put(&entry("opaque"), b"opaque");
    served.put(&entry("flipped"), b"opaque");
    assert!(served.stop());
    let change = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(path).unwrap();
        change(&mut bytes);
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let cas = |count: usize| file_of(&served, "cas", &sha256(&blobs[count]));
    let ac = |name: &str| file_of(&served, "ac", &sha256(name.as_bytes()));
    change(&cas(0), &|bytes| bytes.truncate(100));
    change(&cas(1), &|bytes| bytes.clear());
    change(&cas(2), &|bytes| bytes[30_000] ^= 1);
    change(&ac("3"), &|bytes| bytes.truncate(20));
    change(&ac("4"), &|bytes| bytes.clear());
    change(&ac("flipped"), &|bytes| bytes[1] ^= 1);
    fs::write(served.dir().join("tmp/7"), "half").unwrap();
    fs::write(served.dir().join("cas/sha256/00/stray"), "stray").unwrap();
    served.start();
    assert_eq!(served.files("tmp").len(), 0);
    assert!(served.warnings()[0].contains("6 files were not whole"), "{:?}", served.warnings());
    // A flipped bit does not show before it is read; then it is gone, with what needs it.
    assert_eq!(served.get(&entry("2")).status, 200);
    assert_eq!(served.get(&blob(&blobs[2])).status, 404);
    for name in ["0", "1", "2", "3", "4", "flipped"] {
        assert_eq!(served.get(&entry(name)).status, 404, "{name}");
    }
    for bytes in &blobs[..3] {
        assert_eq!(served.get(&blob(bytes)).status, 404);
        assert_eq!(served.put(&blob(bytes), bytes), 201);
    }
    for bytes in &blobs {
        assert!(served.get(&blob(bytes)).body == *bytes);
    }
    assert_eq!(served.get(&entry("5")).status, 200);
    assert_eq!(served.get(&entry("opaque")).body, b"opaque");
}

#[test]
fn the_page_about_the_format_is_right() {
    let served = serve(|_, _| {});
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/serve.md")).unwrap();
    let golden = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    served.put(&blob(b"abc"), b"abc");
    served.put(&format!("/cas/{}", blake3_hex(b"abc")), b"abc");
    assert_eq!(served.put(&format!("/pr/7{}", entry("abc")), &result(&[b"abc"])), 201);
    for name in ["sha256", "blake3", "entry"] {
        assert!(
            served.dir().join(golden(name)).is_file(),
            "{:?} {:?}",
            served.files("cas"),
            served.files("ac")
        );
    }
    let bytes = fs::read(served.dir().join(golden("entry"))).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden("bytes"));
    assert_eq!(fs::read_to_string(served.dir().join("VERSION")).unwrap(), format!("{}\n", golden("version")));
}
