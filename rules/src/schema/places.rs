//! Where each key and value stands in the text.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tree::Place;
use crate::diagnostic::Span;

/// The text of the file, cut into lines as YAML does.
#[derive(Default)]
pub(super) struct Source {
    file: PathBuf,
    lines: Vec<String>,
}

impl Source {
    pub fn new(file: &Path, text: &str) -> Self {
        let unix = text.replace("\r\n", "\n").replace('\r', "\n");
        Source { file: file.to_path_buf(), lines: unix.lines().map(String::from).collect() }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The part of `place` that lies on its first line.
    pub fn span(&self, place: Place) -> Span {
        // A complaint about the end of the text belongs to its last line.
        let line = place.line.clamp(1, self.lines.len().max(1));
        let text = self.lines.get(line - 1).cloned().unwrap_or_default();
        let full = text.chars().count();
        let used = text.trim_end().chars().count();
        let start = if place.line == line { place.column.min(full) } else { full };
        let end =
            if place.line == line && place.end_line == line { place.end_column.min(full) } else { used };
        let end = end.max(start);
        Span { line, column: start + 1, end_column: end + 1, text }
    }
}

/// Where each key and value stands, by path.
#[derive(Clone, Default)]
pub(super) struct Places {
    source: Arc<Source>,
    by_path: Arc<BTreeMap<String, (Option<Place>, Place)>>,
}

/// The text may hold a cookie, so it is not shown.
impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Places({})", self.file().display())
    }
}

impl Places {
    pub fn new(source: Arc<Source>, by_path: BTreeMap<String, (Option<Place>, Place)>) -> Self {
        Places { source, by_path: Arc::new(by_path) }
    }

    pub fn file(&self) -> &Path {
        self.source.file()
    }

    pub fn value(&self, path: &str) -> Option<Span> {
        self.by_path.get(path).map(|(_, value)| self.source.span(*value))
    }

    pub fn key(&self, path: &str) -> Option<Span> {
        self.by_path.get(path).and_then(|(key, _)| key.map(|at| self.source.span(at)))
    }
}
