//! Which applications the sources of another one name.
//!
//! Mix compiles dependencies one after the other and lets each see all that came before it, declared or not. An application
//! that relies on that names what it uses: the other application, or one of its modules.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use rayon::prelude::*;
use relgraph_cache::{Digest, Hasher, Node, Store};
use relgraph_engine::StepError;

use crate::source::{Entry, Snapshot};

/// The sources of an application.
#[derive(Clone, Copy)]
pub enum Code<'a> {
    /// A folder of the user's.
    Folder(&'a Snapshot),
    /// A stored tree.
    Tree(&'a Store, Digest),
}

/// For each application those that its sources name.
pub type Named = BTreeMap<String, BTreeSet<String>>;

/// Endings of files that hold code, or say how it is built.
const CODE: [&str; 12] =
    ["ex", "exs", "erl", "hrl", "xrl", "yrl", "src", "config", "script", "mk", "app", "asn1"];

/// Folders of an application that no compiler reads.
const NOT_COMPILED: [&str; 8] = ["test", "tests", "doc", "docs", "guides", "bench", "ebin", "priv"];

/// The format of what is kept of an answer, and the version of the question.
const HEAD: &str = "relgraph names 1";

/// Finds which of these applications, given with their sources, name which others, or the project's own application
/// `project`. What was found is kept in the file `kept`, and taken from there as long as no source moved.
pub fn named(
    applications: &[(&str, Code<'_>)],
    project: Option<&str>,
    kept: Option<&Path>,
) -> Result<Named, StepError> {
    let digest = digest(applications, project);
    if let Some(known) =
        kept.and_then(|path| fs::read_to_string(path).ok()).and_then(|text| read(&text, &digest))
    {
        return Ok(known);
    }
    let named = look(applications, project)?;
    if let Some(path) = kept {
        // It only saves looking again.
        let _ = fs::write(path, write(&named, &digest));
    }
    Ok(named)
}

fn digest(applications: &[(&str, Code<'_>)], project: Option<&str>) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(project.unwrap_or_default().as_bytes());
    hasher.update(b"\0");
    for (app, source) in applications {
        hasher.update(app.as_bytes());
        hasher.update(b"\0");
        let digest = match source {
            Code::Folder(files) => files.digest_below(""),
            Code::Tree(_, tree) => *tree,
        };
        hasher.update(digest.to_string().as_bytes());
    }
    hasher.finish()
}

fn write(named: &Named, digest: &Digest) -> String {
    let mut text = format!("{HEAD} {digest}\n");
    for (app, others) in named {
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        text.push_str(&format!("{app} {}\n", others.join(" ")));
    }
    text + "end\n"
}

fn read(text: &str, digest: &Digest) -> Option<Named> {
    let lines = text.strip_prefix(&format!("{HEAD} {digest}\n"))?.strip_suffix("end\n")?.lines();
    let line = |line: &str| {
        let (app, others) = line.split_once(' ')?;
        Some((app.to_owned(), others.split_whitespace().map(str::to_owned).collect()))
    };
    lines.map(line).collect()
}

/// Who defines a name, or modules below it.
#[derive(Default)]
struct Definitions<'a> {
    /// Applications by their own names, and by those of their modules.
    exact: HashMap<String, BTreeSet<&'a str>>,
    /// Applications by what their modules' names begin with (`Plug` of `Plug.Conn`).
    above: HashMap<String, BTreeSet<&'a str>>,
}

impl<'a> Definitions<'a> {
    fn add(&mut self, app: &'a str, name: &str) {
        self.exact.entry(name.to_owned()).or_default().insert(app);
        for (end, _) in name.match_indices('.') {
            self.above.entry(name[..end].to_owned()).or_default().insert(app);
        }
    }

    /// The applications that a word of a source names. `open`: the word goes on in braces (`Plug.{Conn, Router}`).
    fn of(&self, word: &str, open: bool) -> impl Iterator<Item = &'a str> {
        let word = word.strip_prefix("Elixir.").unwrap_or(word);
        // An alias may stand for what the modules have in common; one word alone says too little.
        let above = (open || word.contains('.')).then(|| self.above.get(word)).flatten();
        self.exact.get(word).into_iter().chain(above).flatten().copied()
    }
}

fn look(applications: &[(&str, Code<'_>)], project: Option<&str>) -> Result<Named, StepError> {
    let texts: Vec<Vec<(String, String)>> =
        applications.par_iter().map(|(_, source)| texts(source)).collect::<Result<_, _>>()?;
    let mut definitions = Definitions::default();
    project.into_iter().for_each(|app| definitions.add(app, app));
    for ((app, _), files) in applications.iter().zip(&texts) {
        definitions.add(app, app);
        for (path, text) in files {
            for name in defined(path, text) {
                definitions.add(app, &name);
            }
        }
    }
    let named = |((app, _), files): (&(&str, Code<'_>), &Vec<(String, String)>)| {
        let mut found = BTreeSet::new();
        for (_, text) in files {
            words(text, |word, open| found.extend(definitions.of(word, open)));
        }
        found.remove(app);
        ((*app).to_owned(), found.into_iter().map(str::to_owned).collect())
    };
    Ok(applications.par_iter().zip(&texts).map(named).collect())
}

/// The files of an application that hold code, with their text.
fn texts(code: &Code<'_>) -> Result<Vec<(String, String)>, StepError> {
    let mut texts = Vec::new();
    let mut keep = |path: &str, bytes: &[u8]| {
        texts.push((path.to_owned(), String::from_utf8_lossy(bytes).into_owned()));
    };
    match code {
        Code::Folder(files) => {
            for (path, _) in files.entries().filter(|(path, entry)| is_file(entry) && is_code(path)) {
                let real = files.root().join(path);
                match fs::read(&real) {
                    Ok(bytes) => keep(path, &bytes),
                    // Whoever compiles it finds out.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(StepError::io("read", &real, &error)),
                }
            }
        }
        Code::Tree(store, tree) => {
            for (path, node) in store.walk(tree)?.into_iter().filter(|(path, _)| is_code(path)) {
                if let Node::File { digest, .. } = node {
                    keep(&path, &store.read(&digest)?);
                }
            }
        }
    }
    Ok(texts)
}

fn is_file(entry: &Entry) -> bool {
    matches!(entry, Entry::File { .. })
}

fn is_code(path: &str) -> bool {
    let (top, name) =
        (path.split('/').next().unwrap_or_default(), path.rsplit('/').next().unwrap_or_default());
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    let file = name == "Makefile" || ending.is_some_and(|ending| CODE.contains(&ending));
    file && !NOT_COMPILED.contains(&top)
}

/// The modules that a file defines.
fn defined(path: &str, text: &str) -> Vec<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((stem, "erl" | "xrl" | "yrl")) => vec![stem.to_owned()],
        Some((_, "ex")) => text.lines().filter_map(module).collect(),
        _ => Vec::new(),
    }
}

/// The module that a line of Elixir defines. One inside of another has a longer name than what stands there.
fn module(line: &str) -> Option<String> {
    let code = line.trim_start();
    let rest = code.strip_prefix("defmodule ").or_else(|| code.strip_prefix("defprotocol "))?;
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
    let name = &rest[..end.unwrap_or(rest.len())];
    let whole = code.len() == line.len() || name.contains('.');
    (whole && name.starts_with(|c: char| c.is_ascii_uppercase())).then(|| name.to_owned())
}

/// Every word of a source: names of modules whole (`Plug.Conn`), and whether one goes on in braces.
fn words(text: &str, mut found: impl FnMut(&str, bool)) {
    let bytes = text.as_bytes();
    let inside =
        |at: usize| bytes.get(at).is_some_and(|&b| b.is_ascii_alphanumeric() || b == b'_' || b == b'@');
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let start = at;
        let alias = bytes[at].is_ascii_uppercase();
        loop {
            while inside(at) {
                at += 1;
            }
            let goes_on = bytes.get(at) == Some(&b'.')
                && bytes.get(at + 1).is_some_and(|next| next.is_ascii_uppercase());
            if !(alias && goes_on) {
                break;
            }
            at += 1;
        }
        found(&text[start..at], alias && bytes[at..].starts_with(b".{"));
    }
}

#[cfg(test)]
mod tests {
    use relgraph_cache::StatCache;

    use super::*;

    #[test]
    fn applications_are_named_by_themselves_and_by_their_modules() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write(
            "plug/lib/plug.ex",
            "defmodule Plug.Conn do\n  defmodule Conn do\n  end\nend\ndefprotocol Plug.Exception do\nend\n",
        );
        write("grid/src/grid_sort.erl", "-module(grid_sort).\n");
        write("exact/lib/a.ex", "@conn Plug.Conn");
        write("braces/lib/a.ex", "alias Plug.{Conn}");
        write("erlang/src/a.erl", "f() -> 'Elixir.Plug.Conn':x(), grid_sort:y().");
        write("by_name/rebar.config", "{x, [grid]}.");
        write("other/lib/a.ex", "Plug_Conn; Plug; plugs; Conn; grid_sorted");
        write("tested/test/a_test.exs", "Plug.Conn");
        let names = ["braces", "by_name", "erlang", "exact", "grid", "other", "plug", "tested"];
        let stat = StatCache::load(Path::new("/nonexistent"));
        let take =
            |name: &str| Snapshot::take(&dir.path().join(name), &|_| false, &stat).expect("a snapshot");
        let sources: Vec<Snapshot> = names.iter().map(|name| take(name)).collect();
        let applications: Vec<(&str, Code<'_>)> =
            names.into_iter().zip(sources.iter().map(Code::Folder)).collect();
        let kept = dir.path().join("kept");
        let first = named(&applications, None, Some(&kept)).expect("names");
        let of = |app: &str| first[app].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(of("exact"), ["plug"]);
        assert_eq!(of("braces"), ["plug"]);
        assert_eq!(of("erlang"), ["grid", "plug"]);
        assert_eq!(of("by_name"), ["grid"]);
        for app in ["other", "tested", "plug", "grid"] {
            assert_eq!(of(app), [""; 0], "{app}");
        }
        let of_project = named(&applications, Some("x"), None).expect("names");
        assert_eq!(of_project["by_name"].iter().collect::<Vec<_>>(), ["grid", "x"]);
        // What is kept is asked, and only as long as it is about these sources.
        let text = fs::read_to_string(&kept).expect("kept");
        fs::write(&kept, text.replace("exact plug", "exact grid")).expect("a file");
        assert_eq!(
            named(&applications, None, Some(&kept)).expect("names")["exact"].first().expect("one"),
            "grid"
        );
        assert_eq!(
            named(&applications[1..], None, Some(&kept)).expect("names")["exact"].first().expect("one"),
            "plug"
        );
    }
}
