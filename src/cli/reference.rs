//! Releases as the user names them: `latest`, a version, `NAME@VERSION`, a digest, a folder, a package, `git:REV`.

use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, RecordKind, ReleaseRow, Store};
use relgraph_rules::compare::Side;
use relgraph_rules::deliver::ReleaseRecord;
use relgraph_rules::diagnostic::{Diagnostic, nearest, shown};

use super::context::Context;
use super::revision;
use super::sharing;
use super::stop::Stop;

/// How many digits of a digest are enough to look for it.
const DIGITS: usize = 4;

/// A release that was named.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The row of the release, where one was built.
    pub row: Option<ReleaseRow>,
    /// Where it is.
    pub place: Place,
    /// What is known of a release that was built for this command alone.
    built: Option<Box<ReleaseRecord>>,
}

/// Where a release is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the store.
    Tree(Digest),
    /// In a folder or a package.
    Path(PathBuf),
}

impl Reference {
    /// Finds what is meant, here or in a remote. `own` is the name of the release that the user stands at.
    pub fn find(context: &Context, store: &Store, own: Option<&str>, text: &str) -> Result<Reference, Stop> {
        let rows = store.index().releases(None);
        let picked = pick(&rows, own, text, &|path| Path::new(path).exists());
        let reference = match picked {
            Ok(reference) => reference,
            Err(complaint) => match far(context, own, text) {
                Some(record) => return Ok(Reference::of(record)),
                None => return Err(Stop::Wrong(vec![*complaint])),
            },
        };
        if let Some(row) = &reference.row
            && !store.whole(&row.tree).is_ok_and(|whole| whole)
        {
            // Somebody else may have all of what is not all here.
            let version = format!("{}@{}", row.name, row.version);
            far(context, None, &version).filter(|record| record.tree == row.tree);
        }
        if let Place::Tree(tree) = &reference.place
            && let Err(error) = store.directory(tree)
        {
            if !error.is_missing() {
                return Err(Stop::store(store.root(), &error));
            }
            let message = format!("the release `{}` is not in the store", shown(text));
            return Err(Stop::failed(Diagnostic::error(message).hint("`relgraph build` makes it again")));
        }
        Ok(reference)
    }

    /// The same, and of `git:REV` what its commit builds to. That is no release that was built here: it takes no other's place
    /// as `latest` or as a version.
    pub fn find_or_build(
        context: &Context,
        store: &Store,
        own: Option<&str>,
        text: &str,
    ) -> Result<Reference, Stop> {
        let Some(revision) = text.strip_prefix("git:") else {
            return Reference::find(context, store, own, text);
        };
        Ok(Reference::of(revision::release(context, store, revision)?.record))
    }

    /// A release that was not built here.
    fn of(record: ReleaseRecord) -> Reference {
        let row = ReleaseRow {
            key: String::new(),
            name: record.name.clone(),
            version: record.version.clone(),
            tree: record.tree,
            created: record.built_at,
        };
        let place = Place::Tree(record.tree);
        Reference { row: Some(row), place, built: Some(Box::new(record)) }
    }

    /// Its record, where there is one.
    pub fn record(&self, store: &Store) -> Option<ReleaseRecord> {
        if let Some(record) = &self.built {
            return Some((**record).clone());
        }
        let bytes = store.peek_record(RecordKind::Release, &self.row.as_ref()?.key).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// For looking into it. A package is unpacked into the store.
    pub fn side<'a>(&self, store: &'a Store) -> Result<Side<'a>, Stop> {
        match (&self.place, &self.row) {
            // One of the user's own steps need not be a release of Erlang.
            (Place::Tree(tree), Some(row)) => {
                Ok(Side::Named { store, tree: *tree, name: row.name.clone(), version: row.version.clone() })
            }
            (Place::Tree(tree), None) => Ok(Side::Tree { store, tree: *tree }),
            (Place::Path(path), _) => Ok(Side::open(store, path)?),
        }
    }
}

/// The release of that name in a remote. Its tree is promised to the store.
pub fn far(context: &Context, own: Option<&str>, text: &str) -> Option<ReleaseRecord> {
    let shared = context.shared()?;
    let key = match (text, own) {
        (text, _) if text.contains('@') => text.to_owned(),
        (version, Some(own)) if version != own => format!("{own}@{version}"),
        ("latest", None) => return None,
        (name, _) => format!("{name}@latest"),
    };
    let record = sharing::release(&shared, &key).or_else(|| match own {
        Some(_) => sharing::release(&shared, &format!("{text}@latest")),
        None => None,
    })?;
    // Whoever can write an entry under another name has not thereby made this release.
    let (name, version) = key.rsplit_once('@')?;
    let right =
        |name: &str, version: &str| record.name == name && (version == "latest" || record.version == version);
    (right(name, version) || right(text, "latest")).then_some(record)
}

/// The name of the release that the current folder's release.yaml describes.
pub fn own_release() -> Option<String> {
    Some(sharing::here()?.release)
}

type Picked = Result<Reference, Box<Diagnostic>>;

/// `rows` are the releases that were built, newest first.
fn pick(rows: &[ReleaseRow], own: Option<&str>, text: &str, exists: &dyn Fn(&str) -> bool) -> Picked {
    let built = |row: &ReleaseRow| {
        Ok(Reference { row: Some(row.clone()), place: Place::Tree(row.tree), built: None })
    };
    let tree = |tree: Digest| {
        let row = rows.iter().find(|row| row.tree == tree).cloned();
        Ok(Reference { row, place: Place::Tree(tree), built: None })
    };
    let path = || Ok(Reference { row: None, place: Place::Path(PathBuf::from(text)), built: None });
    if let Ok(digest) = text.parse::<Digest>() {
        return tree(digest);
    }
    if text == "latest" {
        let newest = rows.iter().find(|row| own.is_none_or(|own| row.name == own));
        return newest.map_or_else(|| Err(Box::new(nothing_built(own))), built);
    }
    if let Some(revision) = text.strip_prefix("git:") {
        let message = format!("`git:{}` is built by `diff` and `show`, and not here", shown(revision));
        return Err(Box::new(Diagnostic::error(message)));
    }
    if text.contains('/') || text == "." || text == ".." {
        let complaint = || Box::new(Diagnostic::error(format!("there is nothing at {}", shown(text))));
        return if exists(text) { path() } else { Err(complaint()) };
    }
    if let Some((name, version)) = text.rsplit_once('@') {
        let found =
            rows.iter().find(|row| row.name == name && (version == "latest" || row.version == version));
        return found.map_or_else(|| Err(Box::new(unknown(rows, Some(name), text))), built);
    }
    if let Some(row) = rows.iter().find(|row| own == Some(&row.name) && row.version == text) {
        return built(row);
    }
    if exists(text) {
        return path();
    }
    if let Some(row) = rows.iter().find(|row| row.name == text) {
        return built(row);
    }
    let same: Vec<&ReleaseRow> = rows.iter().filter(|row| row.version == text).collect();
    if let Some(first) = same.first() {
        if same.iter().all(|row| row.name == first.name) {
            return built(first);
        }
        let mut names: Vec<String> = same.iter().map(|row| format!("{}@{}", row.name, row.version)).collect();
        names.sort();
        names.dedup();
        let message = format!("several releases have the version `{}`", shown(text));
        return Err(Box::new(
            Diagnostic::error(message).hint(format!("say which one: {}", names.join(", "))),
        ));
    }
    let digits = text.len() >= DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut trees: Vec<Digest> =
        rows.iter().map(|row| row.tree).filter(|t| t.hex().starts_with(text)).collect();
    trees.sort_unstable();
    trees.dedup();
    match trees[..] {
        [only] if digits => tree(only),
        [_, _, ..] if digits => {
            let message = format!("several releases have a digest that starts with `{}`", shown(text));
            Err(Box::new(Diagnostic::error(message).hint("give more of its digits")))
        }
        _ => Err(Box::new(unknown(rows, own, text))),
    }
}

/// Nothing was built yet.
pub fn nothing_built(own: Option<&str>) -> Diagnostic {
    Diagnostic::error(match own {
        Some(own) => format!("no release of `{own}` has been built"),
        None => "no release has been built".to_owned(),
    })
    .hint("`relgraph build` makes one")
}

fn unknown(rows: &[ReleaseRow], own: Option<&str>, text: &str) -> Diagnostic {
    let complaint = Diagnostic::error(format!("there is no release `{}`", shown(text)))
        .note("a release is a version, NAME@VERSION, `latest`, a digest, a folder, a .tar.gz or git:REV");
    let mut names: Vec<String> = rows.iter().map(|row| format!("{}@{}", row.name, row.version)).collect();
    names.dedup();
    let versions = rows.iter().filter(|row| own == Some(&row.name)).map(|row| row.version.as_str());
    let known: Vec<&str> = versions
        .chain(names.iter().map(String::as_str))
        .chain(rows.iter().map(|row| row.name.as_str()))
        .collect();
    if let Some(nearest) = nearest(text, known.iter().copied()) {
        return complaint.hint(format!("did you mean `{nearest}`?"));
    }
    if known.is_empty() {
        return complaint.hint("no release has been built; `relgraph build` makes one");
    }
    let mut listed: Vec<&str> = known.into_iter().filter(|name| name.contains('@')).take(5).collect();
    listed.dedup();
    complaint.hint(format!("built before: {}", listed.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<ReleaseRow> {
        let row = |name: &str, version: &str, at: u8| ReleaseRow {
            key: format!("{at:04x}"),
            name: name.into(),
            version: version.into(),
            tree: Digest { hash: [at; 32], size: 7 },
            created: i64::from(at),
        };
        vec![
            row("b", "1.0.0", 0xab),
            row("a", "2.0.0", 0x22),
            row("a", "1.0.0", 0x11),
            row("c", "3.0.0", 0x21),
        ]
    }

    #[track_caller]
    fn finds(own: Option<&str>, text: &str) -> Place {
        pick(&rows(), own, text, &|path| ["old.tar.gz", "./b", "2.0.0", "dist/x"].contains(&path))
            .unwrap()
            .place
    }

    #[track_caller]
    fn refuses(own: Option<&str>, text: &str) -> String {
        let complaint = pick(&rows(), own, text, &|_| false).unwrap_err();
        format!("{}; {}", complaint.message, complaint.hints.join(" "))
    }

    fn tree(at: u8) -> Place {
        Place::Tree(Digest { hash: [at; 32], size: 7 })
    }

    #[test]
    fn a_release_is_found_by_each_of_its_names() {
        assert_eq!(finds(None, "latest"), tree(0xab));
        assert_eq!(finds(Some("a"), "latest"), tree(0x22));
        assert_eq!(finds(Some("a"), "1.0.0"), tree(0x11));
        assert_eq!(finds(None, "b@1.0.0"), tree(0xab));
        assert_eq!(finds(None, "a@latest"), tree(0x22));
        assert_eq!(finds(None, "a"), tree(0x22));
        assert_eq!(finds(Some("a"), "3.0.0"), tree(0x21));
        assert_eq!(finds(None, "abab"), tree(0xab));
        let digest = Digest { hash: [0x33; 32], size: 9 };
        assert_eq!(finds(None, &digest.to_string()), Place::Tree(digest));
    }

    #[test]
    fn paths_are_those_with_a_slash_and_what_lies_there_under_no_version_of_ones_own() {
        assert_eq!(finds(None, "old.tar.gz"), Place::Path("old.tar.gz".into()));
        assert_eq!(finds(Some("b"), "./b"), Place::Path("./b".into()));
        assert_eq!(finds(Some("a"), "2.0.0"), tree(0x22));
        assert_eq!(finds(Some("b"), "2.0.0"), Place::Path("2.0.0".into()));
    }

    #[test]
    fn what_is_not_there_or_not_clear_is_refused_with_advice() {
        assert_eq!(
            refuses(None, "1.0.0"),
            "several releases have the version `1.0.0`; say which one: a@1.0.0, b@1.0.0"
        );
        assert_eq!(refuses(Some("a"), "2.0.1"), "there is no release `2.0.1`; did you mean `2.0.0`?");
        assert_eq!(
            refuses(None, "a@9"),
            "there is no release `a@9`; built before: b@1.0.0, a@2.0.0, a@1.0.0, c@3.0.0"
        );
        assert_eq!(refuses(None, "dist/x"), "there is nothing at dist/x; ");
        assert!(refuses(Some("z"), "latest").starts_with("no release of `z` has been built; "));
        assert!(refuses(None, "ffff").starts_with("there is no release `ffff`; "));
    }
}
