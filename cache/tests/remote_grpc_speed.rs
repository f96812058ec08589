//! How fast blobs travel to a server on this machine and back: to be looked at, not asserted.
//!
//! `cargo test -p relgraph-cache --release --test remote_grpc_speed -- --ignored --nocapture`

#[path = "support/blobs.rs"]
mod blobs;
#[path = "support/servers/mod.rs"]
mod servers;

use std::time::Instant;

use relgraph_cache::remote::Condition;

use blobs::{at, blob, client, digests, fetch_all, name, noise};

fn timed<T>(what: &str, bytes: usize, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    let took = began.elapsed();
    let rate = bytes as f64 / took.as_secs_f64() / 1e6;
    println!("{what}: {:.0} ms, {rate:.0} MB/s", took.as_secs_f64() * 1e3);
    result
}

#[test]
#[ignore = "a measurement"]
fn casd() {
    let server = servers::casd();
    let spec = at(format!("grpc://{}", server.address));
    for (what, count, size) in
        [("3,000 of 10 KB", 3000, 10_000), ("100 of 1 MB", 100, 1_000_000), ("2 of 50 MB", 2, 50_000_000)]
    {
        let (remote, bytes) = (client(&spec), count * size);
        let all: Vec<_> = (0..count).map(|n| blob(noise((size + n) as u64, size))).collect();
        let known = digests(&all);
        timed(&format!("{what}: up"), bytes, || remote.store(all.clone()).unwrap());
        timed(&format!("{what}: up again"), bytes, || remote.store(all).unwrap());
        timed(&format!("{what}: entry up"), 1000, || {
            remote.put(&name(what), b"x", &known, &Condition::Absent).unwrap()
        });
        let reader = client(&spec);
        timed(&format!("{what}: entry down"), 1000, || reader.get(&name(what)).unwrap());
        timed(&format!("{what}: down"), bytes, || fetch_all(&*reader, &known));
    }
}
