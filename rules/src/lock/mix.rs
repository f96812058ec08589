//! `mix.lock`: a map of applications to tuples that begin with the name of their SCM.

use super::literal::{self, Literal, Node};
use super::span::span;
use super::{Child, Entry, GitCommit, HexPackage, Locked, PUBLIC, checksum, plain};
use crate::diagnostic::Diagnostic;

type Read<T> = Result<T, Box<Diagnostic>>;

/// All entries, in the order of the file.
pub(super) fn entries(text: &str) -> Read<Vec<Entry>> {
    if let Some((at, mark)) = conflict(text) {
        let place = span(text, at, at + mark.len());
        let complaint = Diagnostic::error("the lock file has conflicts that were not resolved").at(place);
        return Err(Box::new(complaint.hint("resolve the merge, or run `mix deps.get` on one of its sides")));
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let root = literal::read(text).map_err(|e| Box::new(e.hint("`mix deps.get` writes a good one")))?;
    let Literal::Map(pairs) = &root.value else {
        return Err(wrong(text, &root, "expected a map (`%{…}`)"));
    };
    pairs.iter().map(|(key, value)| entry(text, key, value)).collect()
}

fn conflict(text: &str) -> Option<(usize, &str)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(mark) = ["<<<<<<<", "=======", ">>>>>>>"].into_iter().find(|m| line.starts_with(m)) {
            return Some((at, &text[at..at + mark.len()]));
        }
        at += line.len();
    }
    None
}

fn wrong(text: &str, node: &Node, what: &str) -> Box<Diagnostic> {
    let complaint = Diagnostic::error(what).at(span(text, node.start, node.end));
    Box::new(complaint.hint("`mix deps.get` writes a good entry"))
}

fn entry(text: &str, key: &Node, value: &Node) -> Read<Entry> {
    let app =
        key.atom().or(key.text()).ok_or_else(|| wrong(text, key, "expected the name of a dependency"))?;
    let Some([kind, rest @ ..]) = value.tuple() else {
        return Err(wrong(text, value, "expected a tuple that says what is locked"));
    };
    let kind = kind.atom().ok_or_else(|| wrong(text, kind, "expected `:hex` or `:git`"))?;
    let locked = match kind {
        "hex" => Locked::Hex(hex(text, value, rest)?),
        "git" => Locked::Git(git(text, value, rest)?),
        other => Locked::Other(other.to_owned()),
    };
    // From the name to the end of the version or commit: what the eye looks for.
    let span = Some(span(text, key.start, rest.get(1).map_or(value.end, |node| node.end)));
    Ok(Entry { app: app.to_owned(), locked, span })
}

/// `name, version, inner checksum, managers, deps, repo, outer checksum`, of which older versions wrote fewer.
fn hex(text: &str, whole: &Node, parts: &[Node]) -> Read<HexPackage> {
    let [name, version, rest @ ..] = parts else {
        return Err(wrong(text, whole, "expected the name and the version of a package"));
    };
    let sum = |index: usize| -> Read<Option<String>> {
        let Some(node) = rest.get(index).filter(|node| node.atom() != Some("nil")) else { return Ok(None) };
        let sum = node.text().and_then(checksum);
        sum.map(Some).ok_or_else(|| wrong(text, node, "expected a checksum of 64 hexadecimal digits"))
    };
    let string = |node: &Node| {
        let found = node.atom().or(node.text()).filter(|found| plain(found));
        found.map(str::to_owned).ok_or_else(|| wrong(text, node, "expected a name or a version"))
    };
    let managers = rest.get(1).and_then(Node::list);
    let repo = rest.get(3).filter(|node| node.atom() != Some("nil"));
    Ok(HexPackage {
        name: string(name)?,
        version: string(version)?,
        inner: sum(0)?,
        outer: sum(4)?,
        managers: managers.map(|list| list.iter().filter_map(Node::atom).map(str::to_owned).collect()),
        children: rest.get(2).and_then(Node::list).map(|list| list.iter().filter_map(child).collect()),
        repo: match repo {
            None => PUBLIC.to_owned(),
            Some(node) => node
                .text()
                .filter(|repo| repo.split(':').all(plain))
                .map(str::to_owned)
                .ok_or_else(|| wrong(text, node, "expected the name of a repository"))?,
        },
    })
}

/// `{app, requirement, options}`.
fn child(node: &Node) -> Option<Child> {
    let parts = node.tuple()?;
    let optional = parts.last().and_then(|options| options.option("optional"));
    Some(Child {
        app: parts.first()?.atom()?.to_owned(),
        optional: optional.is_some_and(|value| value.atom() == Some("true")),
    })
}

/// `url, commit, options`.
fn git(text: &str, whole: &Node, parts: &[Node]) -> Read<GitCommit> {
    let [url, commit, rest @ ..] = parts else {
        return Err(wrong(text, whole, "expected the address and the commit of a repository"));
    };
    let options = rest.first();
    let option = |key: &str| {
        let value = options.and_then(|options| options.option(key))?;
        value.text().or(value.atom().filter(|name| *name != "nil")).map(str::to_owned)
    };
    let address = url.text().filter(|url| !url.is_empty() && !url.starts_with('-'));
    let id = |id: &&str| (40..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
    Ok(GitCommit {
        url: address.ok_or_else(|| wrong(text, url, "expected the address of a repository"))?.to_owned(),
        commit: commit
            .text()
            .filter(id)
            .ok_or_else(|| wrong(text, commit, "expected the whole id of a commit"))?
            .to_ascii_lowercase(),
        branch: option("branch"),
        tag: option("tag"),
        sparse: option("sparse"),
        subdir: option("subdir"),
        submodules: option("submodules").is_some_and(|value| value == "true"),
    })
}
