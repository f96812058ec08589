//! Fills in `sys.config.src` and `vm.args.src` as the start script of a release in Erlang alone does, with the variables of an
//! environment file and no others, and reads what comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use relgraph_cache::{Digest, Node, Store};
use relgraph_engine::StepError;

use super::config;
use super::environment::Environment;
use super::start::{Problem, Start};
use crate::etf::{self, Term};
use crate::project::BootFacts;

/// What a start script does with templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    /// It fills them in, once. relgraph's own.
    Once,
    /// It fills them in, and what a value asks for as well, until nothing is asked for. That of relx.
    Again,
    /// It knows nothing of them.
    Never,
}

/// How often a value may lead to another one: relx's script would go on for ever.
const MOST: usize = 64;

/// By how many bytes a text may grow on the way.
const LARGEST: usize = 1 << 16;

/// What is asked for in a text.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    name: String,
    default: Option<String>,
    line: usize,
    /// It stands in a comment: nothing depends on it.
    comment: bool,
}

/// Says what keeps a node of the release `tree` from starting. `root` is the project's folder, in which the templates are looked
/// for, so that their lines can be shown.
pub fn templates(
    store: &Store,
    tree: &Digest,
    facts: &BootFacts,
    environment: &Environment,
    root: &Path,
) -> Result<Start, StepError> {
    let file = |path: &str| -> Result<Option<String>, StepError> {
        match store.lookup(tree, path)? {
            Some(Node::File { digest, .. }) => {
                Ok(Some(String::from_utf8_lossy(&store.read(&digest)?).into_owned()))
            }
            _ => Ok(None),
        }
    };
    let launcher = format!("bin/{}", facts.name);
    let script = match file(&launcher)?.unwrap_or_default() {
        text if text.contains("replace_os_vars") => Script::Again,
        text if text.contains("replaced ()") => Script::Once,
        _ => Script::Never,
    };
    let scripts = scripts(store, tree, &facts.version)?;
    let mut filling = Filling {
        environment,
        set: scripts.iter().flat_map(|text| exported(text)).collect(),
        asked: scripts.iter().flat_map(|text| mentioned(text)).collect(),
        told: BTreeSet::new(),
        start: Start::default(),
    };
    // relx's script reads the files themselves as templates when it is told to.
    let plain = script == Script::Again && environment.variables().contains_key("RELX_REPLACE_OS_VARS");
    for name in ["sys.config", "vm.args"] {
        let path = format!("releases/{}/{name}", facts.version);
        let source = format!("{path}.src");
        let (at, text) = match (file(&source)?, plain) {
            (Some(text), _) => (source, text),
            (None, true) => match file(&path)? {
                Some(text) => (path.clone(), text),
                None => continue,
            },
            (None, false) => continue,
        };
        if script == Script::Never {
            filling.start.problems.push(Problem {
                message: format!("{launcher} does not fill in {at}, and a node starts without it"),
                file: None,
                line: None,
                variable: None,
                hint: Some("`{extended_start_script, true}` in the relx section makes one that does".into()),
            });
            continue;
        }
        let place = source_of(root, name, &text).unwrap_or_else(|| at.clone());
        let filled = filling.fill(script, &place, &text);
        if name == "sys.config" {
            filling.read_back(&path, &place, &text, &filled);
        }
    }
    Ok(filling.done())
}

/// Templates that are being filled in.
struct Filling<'a> {
    environment: &'a Environment,
    /// Variables that the start scripts set.
    set: BTreeSet<String>,
    /// Variables that something asks for.
    asked: BTreeSet<String>,
    /// Those that were said to be missing.
    told: BTreeSet<String>,
    start: Start,
}

/// Variables that every machine has, whatever the file says.
const USUAL: [&str; 9] = ["PATH", "HOME", "HOSTNAME", "LANG", "LC_ALL", "PWD", "SHELL", "TZ", "USER"];

impl Filling<'_> {
    fn fill(&mut self, script: Script, place: &str, text: &str) -> String {
        for asked in asked(text) {
            self.look_up(place, &asked);
        }
        let mut filled = replaced(text, self.environment.variables());
        let mut rounds = 0;
        let asks = |filled: &str| script == Script::Again && pieces(filled).next().is_some();
        while asks(&filled) && rounds < MOST && filled.len() < text.len() + LARGEST {
            for asked in asked(&filled) {
                self.look_up(place, &asked);
            }
            filled = replaced(&filled, self.environment.variables());
            rounds += 1;
        }
        if asks(&filled) {
            self.start.problems.push(Problem {
                message: format!(
                    "{place} is never filled in: the values that it asks for ask for one another"
                ),
                file: None,
                line: None,
                variable: None,
                hint: Some("the start script puts values into values until none asks for another".into()),
            });
        }
        filled
    }

    /// One place that asks for a variable.
    fn look_up(&mut self, place: &str, asked: &Asked) {
        let name = &asked.name;
        self.asked.insert(name.clone());
        // A value that is empty counts as none, and the default is taken.
        let known = self.environment.variables().get(name).is_some_and(|value| !value.is_empty());
        if name.is_empty()
            || known
            || asked.comment
            || self.set.contains(name)
            || name.starts_with("RELEASE_")
        {
            return;
        }
        if let Some(default) = &asked.default {
            let default = self.environment.hide(default);
            self.start.absent.insert(name.clone(), Some(default));
            return;
        }
        let meant = self.environment.variables().contains_key(name) || USUAL.contains(&name.as_str());
        if meant || !self.told.insert(name.clone()) {
            return;
        }
        self.start.problems.push(Problem {
            message: format!("the variable {name} is asked for and not set"),
            file: Some(place.to_owned()),
            line: u32::try_from(asked.line).ok(),
            variable: Some(name.clone()),
            hint: Some(format!(
                "add a line `{name}=…` to the environment file (`{name}=` where it is meant to be empty), or give it a \
                 default: `${{{name}:-…}}`"
            )),
        });
    }

    /// What comes of the template `text` is a `sys.config`.
    fn read_back(&mut self, path: &str, place: &str, text: &str, filled: &str) {
        // Without the values that are missing, it says nothing that is not said already.
        if !self.told.is_empty() {
            return;
        }
        let Some(finding) = config::check(path, filled.as_bytes()) else { return };
        let lines = self.environment.variables().values().all(|value| !value.contains('\n'));
        let line = finding.line.filter(|_| lines);
        // What follows the colon shows a part of the text, which may be one of a secret.
        let mut message = format!("filled in, {}", finding.message.split(": ").next().unwrap_or_default());
        let there = asked(text).into_iter().filter(|one| u32::try_from(one.line).ok() == line);
        let names: BTreeSet<String> = there.map(|one| one.name).collect();
        if !names.is_empty() {
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            message.push_str(&format!(": look at the value of {names}"));
        }
        self.start.problems.push(Problem {
            message,
            file: Some(place.to_owned()).filter(|_| line.is_some()),
            line,
            variable: None,
            hint: finding.hint,
        });
    }

    fn done(mut self) -> Start {
        let told: Vec<&String> = self.start.problems.iter().filter_map(|p| p.variable.as_ref()).collect();
        self.start.absent.retain(|name, _| !told.contains(&name));
        let of_scripts = |name: &str| {
            ["RELEASE_", "RELX_", "ERL_"].iter().any(|prefix| name.starts_with(prefix))
                || USUAL.contains(&name)
        };
        let known = self.environment.variables().keys();
        self.start.unused =
            known.filter(|name| !self.asked.contains(*name) && !of_scripts(name)).cloned().collect();
        self.start
    }
}

/// Where a text has `${NAME}` and `${NAME:-default}`.
fn pieces(text: &str) -> impl Iterator<Item = (std::ops::Range<usize>, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text.get(from..)?.find("${")?;
        // As awk does it: on one line.
        let rest = text.get(start + 2..)?;
        match rest.find(['}', '\n']) {
            Some(length) if rest.as_bytes()[length] == b'}' => {
                from = start + 2 + length + 1;
                Some((start..from, &rest[..length]))
            }
            _ => {
                from = start + 2;
                Some((start..start, ""))
            }
        }
    })
    .filter(|(range, _)| !range.is_empty())
}

fn asked(text: &str) -> Vec<Asked> {
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    let comment = |at: usize| {
        let line = text[..at].rsplit('\n').next().unwrap_or_default();
        line.trim_start().starts_with(['%', '#'])
    };
    let one = |(range, inside): (std::ops::Range<usize>, &str)| {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (inside, None),
        };
        Asked { name: name.to_owned(), default, line: line_of(range.start), comment: comment(range.start) }
    };
    pieces(text).map(one).collect()
}

fn replaced(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut from = 0;
    for (range, inside) in pieces(text) {
        out.push_str(&text[from..range.start]);
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        let value = variables.get(name).filter(|value| !value.is_empty());
        out.push_str(value.map_or(default, String::as_str));
        from = range.end;
    }
    out.push_str(&text[from..]);
    out
}

/// The texts of scripts that run when a node starts: those of `bin`, with the hooks in folders of it, and `env.sh`.
fn scripts(store: &Store, tree: &Digest, version: &str) -> Result<Vec<String>, StepError> {
    let mut found = Vec::new();
    if let Some(Node::Directory { digest }) = store.lookup(tree, "bin")? {
        let files = store.walk(&digest)?.into_iter().filter_map(|(_, node)| match node {
            Node::File { digest, .. } => Some(digest),
            _ => None,
        });
        found.extend(files);
    }
    if let Some(Node::File { digest, .. }) = store.lookup(tree, &format!("releases/{version}/env.sh"))? {
        found.push(digest);
    }
    let mut texts = Vec::new();
    for digest in found {
        texts.extend(String::from_utf8(store.read(&digest)?).ok());
    }
    Ok(texts)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Variables that a script hands on to what it starts.
fn exported(script: &str) -> BTreeSet<String> {
    let lines = script.lines().filter_map(|line| line.trim_start().strip_prefix("export "));
    lines.flat_map(|line| words(line.split('=').next().unwrap_or_default())).map(str::to_owned).collect()
}

/// Variables that a script asks for.
fn mentioned(script: &str) -> BTreeSet<String> {
    let after = script.split('$').skip(1).map(|rest| rest.strip_prefix('{').unwrap_or(rest));
    let name = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    after.map(name).filter(|name| !name.is_empty()).collect()
}

/// The file of the project that a template came from: one of the usual places, or one that the configuration of rebar3 names,
/// with the same text.
fn source_of(root: &Path, name: &str, text: &str) -> Option<String> {
    let mut candidates: Vec<String> = Vec::new();
    for folder in ["config", "rel", "rel/files"] {
        candidates.extend([format!("{folder}/{name}.src"), format!("{folder}/{name}")]);
    }
    for file in ["rebar.config", "relx.config"] {
        let terms = fs::read(root.join(file)).ok().and_then(|bytes| etf::consult(&bytes).ok());
        terms.iter().flatten().for_each(|term| paths(term, &mut candidates));
    }
    let same = |path: &String| fs::read(root.join(path)).is_ok_and(|bytes| bytes == text.as_bytes());
    candidates.into_iter().find(same)
}

/// The texts in a term that can be the name of a file.
fn paths(term: &Term, found: &mut Vec<String>) {
    if let Some(text) = term.as_text().filter(|text| text.contains(['.', '/']) && !text.contains('\n')) {
        found.push(text);
        return;
    }
    let inside = term.as_tuple().or_else(|| term.as_list()).unwrap_or_default();
    inside.iter().for_each(|term| paths(term, found));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_defaults_and_lines_are_found_as_awk_finds_them() {
        let text = "[{a, ${PORT:-80}},\n {b, \"${HOST}\"}, ${} ${OPEN\n%% ${OFF}\n {c, ${A:-x:-y}}].\n";
        let found: Vec<(String, Option<String>, usize, bool)> =
            asked(text).into_iter().map(|a| (a.name, a.default, a.line, a.comment)).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("PORT".to_owned(), some("80"), 1, false),
                ("HOST".to_owned(), None, 2, false),
                (String::new(), None, 2, false),
                ("OFF".to_owned(), None, 3, true),
                ("A".to_owned(), some("x:-y"), 4, false),
            ]
        );
        let variables =
            BTreeMap::from([("HOST".to_owned(), "a&b".to_owned()), ("PORT".to_owned(), String::new())]);
        let filled = replaced(text, &variables);
        assert!(filled.starts_with("[{a, 80},\n {b, \"a&b\"},  ${OPEN\n%% \n {c, x:-y}]."), "{filled}");
    }

    #[test]
    fn scripts_set_some_variables_and_ask_for_others() {
        let script =
            "export REL_NAME=\"shop\"\nexport EMU PROGNAME\nexec \"$BINDIR/erl\" -name ${NODE_NAME:-x}\n";
        assert_eq!(exported(script), ["EMU", "PROGNAME", "REL_NAME"].map(str::to_owned).into());
        assert_eq!(mentioned(script), ["BINDIR", "NODE_NAME"].map(str::to_owned).into());
    }
}
