//! What happened since the start: [`Metrics`], and its text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::disk::{Disk, now};

/// The content type of [`Metrics::text`].
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the histogram of seconds.
const BOUNDS: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0];

/// What the holder of a token did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Person {
    /// Entries that were asked for and there.
    pub hits: u64,
    /// Entries that were asked for and not there.
    pub misses: u64,
    pub blob_hits: u64,
    pub blob_misses: u64,
    /// Entries that were stored.
    pub entries: u64,
    pub blobs: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Milliseconds that it took to make what was hit.
    pub saved: u64,
}

impl Person {
    fn add(&mut self, other: &Person) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.blob_hits += other.blob_hits;
        self.blob_misses += other.blob_misses;
        self.entries += other.entries;
        self.blobs += other.blobs;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.saved += other.saved;
    }
}

/// Counters per token: a name, what it says, and the parts that it has with how they are counted.
type Family<'a> = (&'a str, &'a str, &'a [(&'a str, fn(&Person) -> f64)]);

#[derive(Debug, Clone, Copy, Default)]
struct Timed {
    count: u64,
    seconds: f64,
    below: [u64; BOUNDS.len()],
}

#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// By kind and status.
    requests: Mutex<BTreeMap<(&'static str, String), Timed>>,
    people: Mutex<BTreeMap<Arc<str>, Person>>,
    /// Connections that are open.
    pub connections: AtomicI64,
    /// Connections that were never spoken on: handshakes that failed.
    pub failed_handshakes: AtomicU64,
    started: u64,
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics { started: now(), ..Metrics::default() }
    }

    /// Counts a request that has ended.
    pub fn request(&self, kind: &'static str, status: &str, took: Duration) {
        let mut requests = lock(&self.requests);
        let timed = requests.entry((kind, status.to_owned())).or_default();
        let seconds = took.as_secs_f64();
        timed.count += 1;
        timed.seconds += seconds;
        for (bound, below) in BOUNDS.iter().zip(&mut timed.below) {
            *below += u64::from(seconds <= *bound);
        }
    }

    /// Counts what somebody did.
    pub fn person(&self, name: &Arc<str>, count: impl FnOnce(&mut Person)) {
        let mut people = lock(&self.people);
        match people.get_mut(name) {
            Some(person) => count(person),
            None => count(people.entry(name.clone()).or_default()),
        }
    }

    /// Everybody, by name.
    pub fn people(&self) -> Vec<(Arc<str>, Person)> {
        lock(&self.people).iter().map(|(name, person)| (name.clone(), *person)).collect()
    }

    /// All of them together.
    pub fn everybody(&self) -> Person {
        let mut all = Person::default();
        for (_, person) in self.people() {
            all.add(&person);
        }
        all
    }

    /// Milliseconds since the start.
    pub fn uptime(&self) -> u64 {
        now().saturating_sub(self.started)
    }

    /// Everything, in the text format of Prometheus.
    pub fn text(&self, disk: &Disk, max: u64) -> String {
        let mut out = String::new();
        let (blobs, entries, bytes) = disk.index().totals();
        let (evicted, evicted_bytes) = disk.evictions();
        let gauges = [
            ("blobs", "Blobs in the store.", blobs as u64),
            ("entries", "Entries in the store.", entries as u64),
            ("bytes", "Bytes on disk, in blocks of 4096.", bytes),
            ("max_bytes", "The budget.", max),
            ("connections", "Open connections.", self.connections.load(Ordering::Relaxed).max(0) as u64),
            ("start_time_seconds", "When the server started, since 1970.", self.started / 1000),
        ];
        for (name, help, value) in gauges {
            head(&mut out, name, "gauge", help);
            let _ = writeln!(out, "relgraph_cache_{name} {value}");
        }
        let counters = [
            ("evictions_total", "Blobs and entries that were evicted.", evicted),
            ("evicted_bytes_total", "Bytes of the blobs among them.", evicted_bytes),
            (
                "failed_handshakes_total",
                "Connections whose TLS handshake failed.",
                self.failed_handshakes.load(Ordering::Relaxed),
            ),
        ];
        for (name, help, value) in counters {
            head(&mut out, name, "counter", help);
            let _ = writeln!(out, "relgraph_cache_{name} {value}");
        }
        self.people_text(&mut out);
        self.requests_text(&mut out);
        out
    }

    fn people_text(&self, out: &mut String) {
        let families: [Family<'_>; 6] = [
            (
                "hits_total",
                "What was asked for and there.",
                &[("entry", |p| p.hits as f64), ("blob", |p| p.blob_hits as f64)],
            ),
            (
                "misses_total",
                "What was asked for and not there.",
                &[("entry", |p| p.misses as f64), ("blob", |p| p.blob_misses as f64)],
            ),
            (
                "stored_total",
                "What was stored.",
                &[("entry", |p| p.entries as f64), ("blob", |p| p.blobs as f64)],
            ),
            ("received_bytes_total", "Bytes of request bodies.", &[("", |p| p.bytes_in as f64)]),
            ("sent_bytes_total", "Bytes of response bodies.", &[("", |p| p.bytes_out as f64)]),
            (
                "saved_seconds_total",
                "How long it took to make what was hit, as far as somebody said.",
                &[("", |p| p.saved as f64 / 1000.0)],
            ),
        ];
        let people = self.people();
        for (name, help, parts) in families {
            head(out, name, "counter", help);
            for (token, person) in &people {
                for (what, of) in parts {
                    let what = if what.is_empty() { String::new() } else { format!("what=\"{what}\",") };
                    let _ = writeln!(
                        out,
                        "relgraph_cache_{name}{{{what}token=\"{}\"}} {}",
                        label(token),
                        of(person)
                    );
                }
            }
        }
    }

    fn requests_text(&self, out: &mut String) {
        head(out, "request_seconds", "histogram", "Requests by kind and status, and how long they took.");
        for ((kind, status), timed) in &*lock(&self.requests) {
            let labels = format!("kind=\"{kind}\",status=\"{}\"", label(status));
            for (bound, below) in BOUNDS.iter().zip(timed.below) {
                let _ =
                    writeln!(out, "relgraph_cache_request_seconds_bucket{{{labels},le=\"{bound}\"}} {below}");
            }
            let Timed { count, seconds, .. } = timed;
            let _ = writeln!(out, "relgraph_cache_request_seconds_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "relgraph_cache_request_seconds_sum{{{labels}}} {seconds}");
            let _ = writeln!(out, "relgraph_cache_request_seconds_count{{{labels}}} {count}");
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP relgraph_cache_{name} {help}\n# TYPE relgraph_cache_{name} {kind}");
}

/// The value of a label, without what would end it.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
