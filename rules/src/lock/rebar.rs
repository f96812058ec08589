//! `rebar.lock`: `{Version, [{Name, Source, Level}]}.` and the checksums of packages, or the list alone in old ones.

use std::collections::BTreeMap;

use super::span::span;
use super::{Entry, GitCommit, HexPackage, Locked, PUBLIC, checksum, plain};
use crate::diagnostic::{Diagnostic, Span};
use crate::etf::{Term, consult};

type Read<T> = Result<T, Box<Diagnostic>>;

/// The highest version of the format whose entries mean what they mean here.
const NEWEST: &str = "1.2.0";

/// All entries, in the order of the file.
pub(super) fn entries(text: &str) -> Read<Vec<Entry>> {
    let terms = consult(text.as_bytes()).map_err(|error| {
        let line = text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default().to_owned();
        let place = Span { line: error.line, column: error.column, end_column: error.column + 1, text: line };
        let complaint = Diagnostic::error(error.message).at(place);
        Box::new(complaint.hint("`rebar3 unlock` and `rebar3 lock` write a good one"))
    })?;
    let (list, sums) = match terms.split_first() {
        None => return Ok(Vec::new()),
        Some((Term::Tuple(parts), rest)) => match &parts[..] {
            [version, list] => {
                let version = version.as_text().unwrap_or_default();
                if major(&version) > major(NEWEST) {
                    let message = format!("the lock file has version {version}, which is not known here");
                    return Err(Box::new(Diagnostic::error(message).at(span(text, 0, 0))));
                }
                (list, rest)
            }
            _ => return Err(wrong(text, "")),
        },
        Some((list, rest)) => (list, rest),
    };
    let inner = sums_of(sums, "pkg_hash");
    let outer = sums_of(sums, "pkg_hash_ext");
    let list = list.elements().ok_or_else(|| wrong(text, ""))?;
    list.iter().map(|item| entry(text, item, &inner, &outer)).collect()
}

fn major(version: &str) -> u64 {
    version.split('.').next().and_then(|part| part.parse().ok()).unwrap_or(0)
}

fn wrong(text: &str, app: &str) -> Box<Diagnostic> {
    let message = if app.is_empty() {
        "expected `{\"1.2.0\", [{Name, Source, Level}]}`".to_owned()
    } else {
        format!("expected `{{pkg, Name, Version}}` or `{{git, Url, {{ref, Commit}}}}` for `{app}`")
    };
    let hint = "`rebar3 upgrade` writes a good entry";
    let place = place(text, app).unwrap_or_else(|| span(text, 0, 0));
    Box::new(Diagnostic::error(message).at(place).hint(hint))
}

/// The line on which an entry begins.
fn place(text: &str, app: &str) -> Option<Span> {
    let mark = format!("{{<<\"{app}\">>,");
    let at = text.find(&mark).filter(|_| !app.is_empty())?;
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    Some(span(text, at, end))
}

fn sums_of(terms: &[Term], key: &str) -> BTreeMap<String, String> {
    let all = terms.iter().find_map(|term| term.property(key)).and_then(Term::elements).unwrap_or_default();
    let pair = |term: &Term| match term.as_tuple()? {
        [name, sum] => Some((name.as_text()?, checksum(&sum.as_text()?)?)),
        _ => None,
    };
    all.iter().filter_map(pair).collect()
}

fn entry(
    text: &str,
    item: &Term,
    inner: &BTreeMap<String, String>,
    outer: &BTreeMap<String, String>,
) -> Read<Entry> {
    let parts = item.as_tuple().unwrap_or_default();
    let [name, source, ..] = parts else { return Err(wrong(text, "")) };
    let app = name.as_text().or_else(|| name.as_atom().map(str::to_owned)).ok_or_else(|| wrong(text, ""))?;
    let locked = source_of(&app, source, inner, outer).ok_or_else(|| wrong(text, &app))?;
    Ok(Entry { span: place(text, &app), app, locked })
}

fn source_of(
    app: &str,
    source: &Term,
    inner: &BTreeMap<String, String>,
    outer: &BTreeMap<String, String>,
) -> Option<Locked> {
    let parts = source.as_tuple()?;
    let (kind, parts) = parts.split_first()?;
    let text = |at: usize| parts.get(at).and_then(Term::as_text);
    match kind.as_atom()? {
        "pkg" => {
            let sum = |at: usize| text(at).and_then(|text| checksum(&text));
            Some(Locked::Hex(HexPackage {
                name: text(0).filter(|name| plain(name))?,
                version: text(1).filter(|version| plain(version))?,
                inner: sum(2).or_else(|| inner.get(app).cloned()),
                outer: sum(3).or_else(|| outer.get(app).cloned()),
                managers: None,
                children: None,
                repo: PUBLIC.to_owned(),
            }))
        }
        kind @ ("git" | "git_subdir") => {
            let url = text(0).filter(|url| !url.is_empty() && !url.starts_with('-'))?;
            let reference = parts.get(1)?.as_tuple()?;
            let [tag, value] = reference else { return None };
            let commit = value.as_text().filter(|_| tag.as_atom() == Some("ref"))?;
            let whole = (40..=64).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit());
            whole.then_some(())?;
            Some(Locked::Git(GitCommit {
                url,
                commit: commit.to_ascii_lowercase(),
                branch: None,
                tag: None,
                sparse: None,
                subdir: if kind == "git_subdir" { Some(text(2)?) } else { None },
                submodules: true,
            }))
        }
        other => Some(Locked::Other(other.to_owned())),
    }
}
