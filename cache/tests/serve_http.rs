//! The cache server over HTTP: what is stored is there, what is wrong is not, and nobody gets where he may not.

mod serving;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use relgraph_cache::serve::{self, DURATION_HEADER, Event, Partition, ServeConfig, ServeError, WriteTokens};
use serving::{Served, blake3_hex, noise, secret, serve, sha256, wait_until};

const ENTRY: &str = "/ac/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn plain() -> Served {
    serve(|_, _| {})
}

#[test]
fn blobs_have_either_name_and_come_in_parts() {
    let served = plain();
    for bytes in [b"hello".to_vec(), noise(1, 3 << 20)] {
        for name in [sha256(&bytes), blake3_hex(&bytes)] {
            let path = format!("/cas/{name}");
            assert_eq!(served.get(&path).status, 404);
            assert_eq!(served.put(&path, &bytes), 201);
            assert_eq!(served.put(&path, &bytes), 204, "it is there");
            let got = served.get(&path);
            assert_eq!((got.status, got.header("content-length")), (200, &*bytes.len().to_string()));
            assert!(got.body == bytes);
            assert_eq!(got.header("etag"), format!("\"{name}\""));
            let head = served.ask("HEAD", &path, &[], b"");
            assert_eq!((head.status, head.header("content-length")), (200, &*bytes.len().to_string()));
            let part = served.ask("GET", &path, &[("range", "bytes=1-3")], b"");
            assert_eq!((part.status, &part.body[..]), (206, &bytes[1..4]));
            assert_eq!(part.header("content-range"), format!("bytes 1-3/{}", bytes.len()));
            let rest = served.ask("GET", &path, &[("range", "bytes=2-")], b"");
            assert!(rest.status == 206 && rest.body == bytes[2..]);
            assert_eq!(served.ask("GET", &path, &[("range", "bytes=99999999-")], b"").status, 416);
            let known = served.ask("GET", &path, &[("if-none-match", &format!("\"{name}\""))], b"");
            assert_eq!((known.status, known.body.len()), (304, 0));
            // Another partition has the same blobs.
            assert_eq!(served.get(&format!("/pr/7{path}")).status, 200);
        }
    }
    assert_eq!(served.files("cas").len(), 4);
    assert_eq!(served.files("tmp").len(), 0);
}

#[test]
fn nothing_is_always_there() {
    let served = plain();
    for name in [sha256(b""), blake3_hex(b"")] {
        let path = format!("/cas/{name}");
        let got = served.get(&path);
        assert_eq!((got.status, got.body.len(), got.header("content-length")), (200, 0, "0"));
        assert_eq!(served.put(&path, b""), 204);
        assert_eq!(served.put(&path, b"x"), 400);
    }
    assert_eq!(served.files("cas").len(), 0);
}

#[test]
fn wrong_bytes_get_no_name() {
    let served = plain();
    let right = noise(2, 1 << 20);
    let path = format!("/cas/{}", sha256(&right));
    let mut wrong = right.clone();
    wrong[500_000] ^= 1;
    for bytes in [&wrong[..], &right[1..], b"", &[&right[..], b"x"].concat()] {
        let answer = served.ask("PUT", &path, &[], bytes);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(served.get(&path).status, 404);
    }
    assert_eq!(served.put(&path, &right), 201);
    assert_eq!(served.files("tmp").len(), 0);
}

#[test]
fn what_breaks_off_leaves_nothing() {
    let served = plain();
    let bytes = noise(3, 1 << 20);
    for path in [format!("/cas/{}", sha256(&bytes)), ENTRY.to_owned()] {
        let mut stream = TcpStream::connect(served.address()).unwrap();
        write!(stream, "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", bytes.len()).unwrap();
        stream.write_all(&bytes[..800_000]).unwrap();
        wait_until("it is being written", || !served.files("tmp").is_empty());
        drop(stream);
        wait_until("it is swept", || served.files("tmp").is_empty());
        assert_eq!(served.get(&path).status, 404);
    }
}

#[test]
fn entries_have_conditions() {
    let served = plain();
    let ask = |headers: &[(&str, &str)], body: &[u8]| served.ask("PUT", ENTRY, headers, body);
    assert_eq!(served.get(ENTRY).status, 404);
    assert_eq!(ask(&[("if-match", "*")], b"0").status, 412);
    assert_eq!(ask(&[("if-none-match", "*")], b"1").status, 201);
    assert_eq!(ask(&[("if-none-match", "*")], b"2").status, 412);
    let first = served.get(ENTRY);
    assert_eq!((first.status, &first.body[..], first.header("content-length")), (200, &b"1"[..], "1"));
    let tag = first.header("etag").to_owned();
    let second = ask(&[("if-match", &tag)], b"22");
    assert_eq!((second.status, served.get(ENTRY).body), (204, b"22".to_vec()));
    assert_eq!(second.header("etag"), served.get(ENTRY).header("etag"));
    for old in [&tag, "W/\"x\"", "nonsense"] {
        assert_eq!(ask(&[("if-match", old)], b"333").status, 412);
    }
    assert_eq!(ask(&[], b"").status, 204);
    assert_eq!(served.get(ENTRY).body, b"");
    let known = served.ask("GET", ENTRY, &[("if-none-match", served.get(ENTRY).header("etag"))], b"");
    assert_eq!(known.status, 304);
    // Partitions are apart.
    let other = format!("/pr/7{ENTRY}");
    assert_eq!(served.get(&other).status, 404);
    assert_eq!(served.put(&other, b"4"), 201);
    assert_eq!((served.get(&other).body, served.get(ENTRY).body), (b"4".to_vec(), b"".to_vec()));
}

#[test]
fn what_is_too_large_is_refused() {
    let served = serve(|config, _| {
        config.max_entry = 1000;
        config.max_size = Some(1 << 20);
    });
    assert_eq!(served.put(ENTRY, &[7; 1000]), 201);
    assert_eq!(served.put(ENTRY, &[7; 1001]), 413);
    let large = noise(4, (1 << 19) + 1);
    assert_eq!(served.put(&format!("/cas/{}", sha256(&large)), &large), 413);
    assert_eq!(served.files("tmp").len(), 0);
    // Without saying before how much it is.
    let mut stream = TcpStream::connect(served.address()).unwrap();
    write!(
        stream,
        "PUT {ENTRY} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    for _ in 0..20 {
        write!(stream, "64\r\n{}\r\n", "x".repeat(100)).unwrap();
    }
    write!(stream, "0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn no_path_leads_anywhere_else() {
    let served = plain();
    fs::write(served.folder.path().join("secret"), "s3cret").unwrap();
    let hash = "ab".repeat(32);
    let paths = [
        "/../secret".to_owned(),
        "/cas/../../secret".to_owned(),
        "/cas/..%2f..%2fsecret".to_owned(),
        format!("/../../ac/{hash}"),
        format!("/%2e%2e/ac/{hash}"),
        format!("/.../ac/{hash}"),
        format!("/.hidden/ac/{hash}"),
        format!("/a//ac/{hash}"),
        format!("/a/b/c/d/e/ac/{hash}"),
        format!("/{}/ac/{hash}", "x".repeat(300)),
        format!("/ac/{}", hash.to_uppercase()),
        format!("/ac/{hash}0"),
        format!("/ac/{hash}/"),
        format!("/cas/{hash}.5"),
        format!("/tmp/{hash}"),
        "/VERSION".to_owned(),
        "http://elsewhere/ac/x".to_owned(),
    ];
    let before = served.files(".");
    for path in paths {
        for method in ["GET", "PUT"] {
            let mut stream = TcpStream::connect(served.address()).unwrap();
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx"
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"),
                "{path}: {answer}"
            );
        }
    }
    assert_eq!(served.files("."), before);
    for method in ["DELETE", "POST", "PATCH"] {
        assert_eq!(served.ask(method, ENTRY, &[], b"").status, 405);
    }
}

#[test]
fn a_token_opens_what_it_is_for() {
    let served = serve(|config, folder| {
        config.readers = vec![secret(folder, "r", "ann annstoken\n")];
        let pr = Some(Partition::parse("pr").unwrap());
        config.writers = vec![
            WriteTokens { file: secret(folder, "w", "# CI\nci cistoken\n"), partition: None },
            WriteTokens { file: secret(folder, "p", "pr prtoken\n"), partition: pr },
        ];
        config.log_requests = true;
    });
    let blob = format!("/cas/{}", sha256(b"x"));
    let (pr, other) = (format!("/pr{ENTRY}"), format!("/other{ENTRY}"));
    let ask = |token: &str, method: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        served.ask(method, path, &[("authorization", &bearer)], b"x").status
    };
    for path in [ENTRY, &pr, &other, &blob, "/", "/metrics"] {
        let answer = served.ask("GET", path, &[], b"");
        assert_eq!((answer.status, answer.text()), (401, "a token is needed\n".to_owned()));
        assert!(answer.header("www-authenticate").starts_with("Basic"));
        assert_eq!(ask("annstoke", "GET", path), 401);
    }
    assert_eq!(served.get("/healthz").status, 200);
    assert_eq!(served.put(ENTRY, b"x"), 401);
    for path in [ENTRY, &pr, &other, &blob] {
        assert_eq!(ask("annstoken", "PUT", path), 403, "{path}");
    }
    for path in [ENTRY, &other] {
        assert_eq!(ask("prtoken", "PUT", path), 403, "{path}");
        assert_eq!(ask("cistoken", "PUT", path), 201, "{path}");
    }
    assert_eq!(ask("prtoken", "PUT", &pr), 201);
    assert_eq!(ask("prtoken", "PUT", &blob), 201);
    assert_eq!(ask("prtoken", "GET", ENTRY), 200);
    assert_eq!(ask("prtoken", "GET", &pr), 200);
    assert_eq!(ask("prtoken", "GET", &other), 403);
    for path in [ENTRY, &pr, &other, &blob, "/metrics", "/"] {
        assert_eq!(ask("annstoken", "GET", path), 200, "{path}");
    }
    // As a password, with any name.
    let basic = [("authorization", "Basic YW55OmFubnN0b2tlbg==")];
    assert_eq!(served.ask("GET", ENTRY, &basic, b"").status, 200);

    // Another token, in the same file.
    secret(served.folder.path(), "r", "bob bobstoken\n");
    served.server().reload();
    wait_until("tokens are read again", || ask("bobstoken", "GET", ENTRY) == 200);
    assert_eq!(ask("annstoken", "GET", ENTRY), 401);
    // What cannot be read leaves the old ones.
    secret(served.folder.path(), "r", "");
    served.server().reload();
    wait_until("there is a warning", || served.warnings().iter().any(|text| text.contains("still counts")));
    assert_eq!(ask("bobstoken", "GET", ENTRY), 200);

    let page = served.ask("GET", "/", &[("authorization", "Bearer bobstoken")], b"").text();
    assert!(page.contains("<td>ann<td>") && page.contains("<td>pr<td>") && page.contains("(main)"), "{page}");
    let events = format!("{:?}", served.events.lock().unwrap());
    assert!(events.contains("PUT /pr/ac/") && events.contains("\"ci\""));
    for text in [events, page] {
        assert!(!text.contains("stoken") && !text.contains("prtoken") && !text.contains("YW55"), "{text}");
    }
}

#[test]
fn without_tokens_only_this_machine_writes() {
    let everywhere = |config: &mut ServeConfig| config.listen = ([0, 0, 0, 0], 0).into();
    let served = serve(|config, _| everywhere(config));
    assert_eq!((served.get(ENTRY).status, served.put(ENTRY, b"x")), (404, 403));
    let served = serve(|config, _| {
        everywhere(config);
        config.anonymous_writes = true;
    });
    assert_eq!(served.put(ENTRY, b"x"), 201);
    // Whoever reads writes, where nobody has a token for it.
    let served = serve(|config, folder| config.readers = vec![secret(folder, "r", "annstoken")]);
    assert_eq!(served.put(ENTRY, b"x"), 401);
    let ann = [("authorization", "Bearer annstoken")];
    assert_eq!(served.ask("PUT", ENTRY, &ann, b"x").status, 201);
}

#[test]
fn tokens_that_others_may_read_are_warned_of() {
    let served = serve(|config, folder| {
        let path = secret(folder, "r", "annstoken");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        config.readers = vec![path];
    });
    assert!(served.warnings()[0].contains("chmod 600"), "{:?}", served.warnings());
}

#[test]
fn what_is_done_is_counted() {
    let served = serve(|config, _| config.log_requests = true);
    served.get(ENTRY);
    served.ask("PUT", ENTRY, &[(DURATION_HEADER, "90500")], b"value");
    served.get(ENTRY);
    served.get(ENTRY);
    let metric = |name: &str| served.metric(&format!("relgraph_cache_{name}"));
    assert_eq!(metric("entries"), 1.0);
    assert_eq!(metric("bytes"), 4096.0);
    assert_eq!(metric("hits_total{what=\"entry\",token=\"anonymous\"}"), 2.0);
    assert_eq!(metric("misses_total{what=\"entry\",token=\"anonymous\"}"), 1.0);
    assert_eq!(metric("stored_total{what=\"entry\",token=\"anonymous\"}"), 1.0);
    assert_eq!(metric("saved_seconds_total{token=\"anonymous\"}"), 181.0);
    assert_eq!(metric("received_bytes_total{token=\"anonymous\"}"), 5.0);
    assert_eq!(metric("request_seconds_count{kind=\"GET ac\",status=\"200\"}"), 2.0);
    assert_eq!(metric("request_seconds_count{kind=\"GET ac\",status=\"404\"}"), 1.0);
    let page = served.get("/");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(
        page.text().contains("2 of 3 entries") && page.text().contains("3 min of work"),
        "{}",
        page.text()
    );
    let events = served.events.lock().unwrap();
    assert!(
        events.iter().any(|event| matches!(event, Event::Request { target, status, received: 5, .. }
            if target == &format!("PUT {ENTRY}") && status == "201")),
        "{events:?}"
    );
}

#[test]
fn a_server_stops_when_what_runs_has_ended() {
    let mut served = plain();
    let mut stream = TcpStream::connect(served.address()).unwrap();
    write!(stream, "PUT {ENTRY} HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").unwrap();
    wait_until("it is let in", || served.metric("relgraph_cache_connections") >= 2.0);
    // So that the head was read before the server is told to stop.
    std::thread::sleep(Duration::from_millis(300));
    let rest = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(b"def").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(served.stop());
    let answer = rest.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    served.start();
    assert_eq!(served.get(ENTRY).body, b"abcdef");
}

#[test]
fn a_folder_has_one_server_and_nothing_else() {
    let served = plain();
    let start = |config: &ServeConfig| serve::start(config.clone(), std::sync::Arc::new(|_| {}));
    assert!(matches!(start(&served.config), Err(ServeError::Busy { .. })));
    let mut config = served.config.clone();
    config.dir = served.folder.path().to_owned();
    assert!(matches!(start(&config), Err(ServeError::Foreign { .. })));
    config.dir = served.folder.path().join("other");
    fs::create_dir(&config.dir).unwrap();
    fs::write(config.dir.join("VERSION"), "relgraph serve 2\n").unwrap();
    assert!(matches!(start(&config), Err(ServeError::Version { found, .. }) if found == "relgraph serve 2"));
    config.listen = served.address();
    assert!(matches!(start(&config), Err(ServeError::Listen { .. })));
}
