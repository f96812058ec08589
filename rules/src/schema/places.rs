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
        Source { file: file.to_path_buf(), lines: unix.lines().map(masked).collect() }
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

/// A line as it may be shown: secrets are made of stars. Every character keeps its column.
fn masked(line: &str) -> String {
    let mut shown = line.to_owned();
    for key in ["token", "password"] {
        let Some(at) = shown.find(&format!("{key}:")) else { continue };
        let before = shown[..at].chars().next_back();
        let value = at + key.len() + 1;
        let rest = &shown[value..];
        let reference = rest.trim_start().trim_start_matches(['"', '\'']).starts_with("${");
        if before.is_none_or(|c| " {,-\t".contains(c)) && !reference {
            let end = rest.find([',', '}', '#']).unwrap_or(rest.len());
            stars(&mut shown, value, value + end);
        }
    }
    let mut from = 0;
    while let Some(at) = shown[from..].find("://") {
        let start = from + at + 3;
        let rest = &shown[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "/,\"'".contains(c)).unwrap_or(rest.len());
        if let Some(user) = rest[..end].rfind('@') {
            stars(&mut shown, start, start + user);
        }
        from = start;
    }
    if let Some(at) = shown.find(SECRET_KEY) {
        let start = at + SECRET_KEY.len();
        let end = shown[start..].find(|c: char| c.is_whitespace() || ",\"'".contains(c));
        let end = end.map_or(shown.len(), |end| start + end);
        stars(&mut shown, start, end);
    }
    shown
}

/// What the line of a secret key begins with.
const SECRET_KEY: &str = "relgraph-secret-1:";

/// Puts a star in the place of every character that is no space.
fn stars(line: &mut String, start: usize, end: usize) {
    let hidden: String = line[start..end].chars().map(|c| if c.is_whitespace() { c } else { '*' }).collect();
    line.replace_range(start..end, &hidden);
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn secrets_are_not_shown() {
        for (line, shown) in [
            ("    token: abc def", "    token: *** ***"),
            ("  - {url: x, token: \"abc\", access: rw}", "  - {url: x, token: *****, access: rw}"),
            ("token: ${CACHE_TOKEN}", "token: ${CACHE_TOKEN}"),
            ("      - https://me:pässe@host/x", "      - https://********@host/x"),
            ("- relgraph-secret-1:ci:abc", "- relgraph-secret-1:******"),
            ("token_file: a", "token_file: a"),
            ("my_token: a", "my_token: a"),
            ("run: curl https://a@b/ https://c@d", "run: curl https://*@b/ https://*@d"),
        ] {
            assert_eq!(masked(line), shown);
            assert_eq!(masked(line).chars().count(), line.chars().count());
        }
    }
}
