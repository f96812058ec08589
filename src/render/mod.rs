//! What people see: diagnostics, progress, summaries.

pub mod bill;
pub mod cache;
pub mod diagnostic;
pub mod diff;
pub mod doctor;
pub mod export;
pub mod failure;
pub mod graph;
pub mod keys;
pub mod log;

pub mod made;

pub mod patch;

pub mod plan;
pub mod preflight;
pub mod progress;
pub mod reason;
pub mod show;
pub mod summary;
pub mod table;
pub mod time;
pub mod upgrade;
pub mod verify;
pub mod why;

use std::io::Write as _;
use std::path::Path;

/// Prints a line. A reader that went away is no failure.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints text that has its line ends.
pub fn page(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a line beside the report. Unlike `eprintln`, it does not mind that nobody listens.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A path as seen from where the user stands, when that is shorter.
pub fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

/// A number of bytes for people: `12.3 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Colours, where they are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    /// What a report is about.
    pub fn bold(self, text: &str) -> String {
        self.with(text, "1")
    }

    /// Text in the style of an escape sequence (`32`: green); as it is when the style is empty.
    pub fn with(self, text: &str, style: &str) -> String {
        if self.0 && !style.is_empty() { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Without what could move a terminal's cursor: names and values come from other people's files.
pub fn harmless(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// At most `longest` characters of a text.
pub fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A number of things: `1 file`, `2 files`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
