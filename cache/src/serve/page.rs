//! The page for people: what is in the cache, who hits, what it saved.

use std::fmt::Write as _;

use super::disk::Disk;
use super::metrics::{Metrics, Person};

/// What a browser may do with the page: show it.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
td,th{padding:.25rem .75rem .25rem 0;text-align:right;border-bottom:1px solid #8884}\
td:first-child,th:first-child{text-align:left}th{font-weight:600}\
.bar{height:.6rem;background:#8883;border-radius:.3rem;overflow:hidden}.bar i{display:block;height:100%;background:#3a7}\
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}";

/// The page, as HTML that needs nothing else.
pub(super) fn html(metrics: &Metrics, disk: &Disk, max: u64) -> String {
    let (blobs, entries, used) = disk.index().totals();
    let mut partitions: Vec<(String, usize, u64)> = disk
        .index()
        .partitions()
        .into_iter()
        .map(|(name, (count, bytes))| (name.to_owned(), count, bytes))
        .collect();
    partitions.sort();
    let (evicted, evicted_bytes) = disk.evictions();
    let percent = (used as f64 / (max.max(1)) as f64 * 100.0).min(100.0);
    let all = metrics.everybody();
    let mut out = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>relgraph cache</title><style>{STYLE}</style><h1>relgraph cache</h1>\
         <p>{} of {} used</p><div class=bar><i style=\"width:{percent:.1}%\"></i></div>\
         <p>Entries: {entries}. Blobs: {blobs}. Evicted since the start: {evicted} ({} of blobs). Up for {}.</p>",
        bytes(used),
        bytes(max),
        bytes(evicted_bytes),
        span(metrics.uptime()),
    );
    let _ = write!(
        out,
        "<h2>What it saved</h2><p>{} of {} entries asked for were there ({}); {} were sent instead of being made \
         again{}.</p>",
        all.hits,
        all.hits + all.misses,
        rate(&all),
        bytes(all.bytes_out),
        if all.saved > 0 {
            format!(", which would have taken {} of work", span(all.saved))
        } else {
            String::new()
        },
    );
    out.push_str(
        "<h2>Who hits</h2><table><tr><th>token<th>hit rate<th>hits<th>misses<th>stored<th>sent<th>received<th>saved",
    );
    for (name, person) in metrics.people() {
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            escape(&name),
            rate(&person),
            person.hits,
            person.misses,
            person.entries,
            bytes(person.bytes_out),
            bytes(person.bytes_in),
            span(person.saved),
        );
    }
    out.push_str("</table><h2>Partitions</h2><table><tr><th>partition<th>entries<th>bytes");
    for (name, count, size) in partitions {
        let name = if name.is_empty() { "(main)".to_owned() } else { escape(&name) };
        let _ = write!(out, "<tr><td>{name}<td>{count}<td>{}", bytes(size));
    }
    out.push_str("</table><p><a href=metrics>metrics</a></p></html>\n");
    out
}

fn rate(person: &Person) -> String {
    match person.hits + person.misses {
        0 => "–".to_owned(),
        asked => format!("{:.0}%", person.hits as f64 / asked as f64 * 100.0),
    }
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.95 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// A span of time for people, of milliseconds.
fn span(millis: u64) -> String {
    match millis / 1000 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{:.1} h", seconds as f64 / 3600.0),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
