//! Why differences are there. Each reason is checked against what shows it; a name alone explains nothing.

use std::collections::{BTreeMap, BTreeSet};

use relgraph_cache::Digest;

use super::clock;
use super::facts::{Cookie, Facts, Laid};
use super::listing::{Entry, Listing};
use super::paths;
use super::reason::Reason;
use super::report::{Finding, Part, Value};
use super::terms;
use crate::etf::{Term, consult, consult_one};
use crate::steps::assemble::MANIFEST_SCHEMA;
use crate::steps::describe::fingerprint;

/// Nothing that is built today says that it was built before this moment (2015).
const EARLIEST: i64 = 1_420_070_400;

/// Chunks that no running program depends on.
const DEBUG: [&str; 7] = ["CInf", "Dbgi", "Docs", "ExCk", "Abst", "LocT", "ExDp"];

/// Explains what can be explained.
pub fn explain(findings: &mut [Finding], ours: &Listing<'_>, theirs: &Listing<'_>, facts: &Facts) {
    let sides = Sides { ours, theirs, facts, added: added_applications(ours, theirs, facts) };
    for finding in findings.iter_mut().filter(|finding| finding.explained.is_none()) {
        sides.on_purpose(finding);
        sides.release_yaml(finding);
        sides.time(finding);
        if finding.part == Part::Mode {
            mode(finding);
        }
    }
    if let Some(roots) = &facts.roots {
        let moves = paths::moves(roots, findings);
        for finding in findings.iter_mut().filter(|finding| finding.explained.is_none()) {
            if let Some((root, place)) = paths::moved(roots, finding)
                && moves.get(&root) == Some(&place)
            {
                finding.explain(Reason::Path, format!("theirs was compiled at {place}"));
            }
        }
    }
    for finding in findings.iter_mut().filter(|finding| finding.explained.is_none()) {
        let both = finding.ours.is_some() && finding.theirs.is_some();
        if let Part::Chunk(id) = &finding.part
            && DEBUG.contains(&id.as_str())
            && (both || finding.place != "the chunk")
        {
            finding.explain(Reason::Debug, "no running program depends on it");
        }
    }
}

struct Sides<'a, 'b> {
    ours: &'a Listing<'b>,
    theirs: &'a Listing<'b>,
    facts: &'a Facts,
    /// Applications that only ours has, with their modules, because release.yaml names them.
    added: BTreeMap<String, BTreeSet<String>>,
}

impl Sides<'_, '_> {
    fn digest(&self, path: &str) -> Option<Digest> {
        match self.ours.entries.get(path)? {
            Entry::File { source, .. } => self.ours.digest(source).ok(),
            _ => None,
        }
    }

    /// What docs/guide.md lists under "What differs from mix release".
    fn on_purpose(&self, finding: &mut Finding) {
        let names = &self.facts.names;
        let only_ours = finding.part == Part::Presence && finding.theirs.is_none();
        let only_theirs = finding.part == Part::Presence && finding.ours.is_none();
        if let Some(known) = self.facts.launchers.get(&finding.path)
            && self.digest(&finding.path) == Some(*known)
            && !only_theirs
            && finding.part != Part::Mode
        {
            let detail = "its bytes are those of the step `scripts`";
            return finding.explain(Reason::Launcher, detail);
        }
        let version = &names.our_version;
        if only_ours && finding.path == "releases/RELEASES" && self.is_releases() {
            return finding.explain(Reason::Record, "it lists what the .rel file lists");
        }
        if only_ours && finding.path == format!("releases/{version}/relgraph.json") && self.is_manifest() {
            return finding.explain(Reason::Record, "its name and version are those of the release");
        }
        if finding.path == "releases/COOKIE" && only_theirs {
            self.cookie(finding);
        }
        if only_theirs && self.is_marker(&finding.path) {
            return finding.explain(Reason::Marker, "it is empty, and only make's own rules look for it");
        }
        if names.hot {
            self.hot(finding);
        }
    }

    /// `ebin/dep_built` of an application: what the rules of erlang.mk touch once they have built a dependency.
    fn is_marker(&self, path: &str) -> bool {
        let inside = path.strip_prefix("lib/").and_then(|rest| rest.split_once('/'));
        inside.is_some_and(|(_, inside)| inside == "ebin/dep_built")
            && matches!(self.theirs.entries.get(path), Some(Entry::File { size: 0, .. }))
    }

    /// The release of the .rel file, with the same applications.
    fn is_releases(&self) -> bool {
        let names = &self.facts.names;
        let rel = format!("releases/{}/{}.rel", names.our_version, names.name);
        let (Some(rel), Some(releases)) = (self.ours.bytes(&rel), self.ours.bytes("releases/RELEASES"))
        else {
            return false;
        };
        let (Ok(rel), Ok(releases)) = (consult_one(&rel), consult_one(&releases)) else { return false };
        let wanted = || -> Option<BTreeSet<(String, String)>> {
            let [_, _, applications] = rel.as_tagged("release")? else { return None };
            let pair = |application: &Term| {
                let parts = application.as_tuple()?;
                Some((parts.first()?.as_atom()?.to_owned(), parts.get(1)?.as_text()?))
            };
            applications.as_list()?.iter().map(pair).collect()
        };
        let listed = || -> Option<BTreeSet<(String, String)>> {
            let [name, version, _, applications, ..] = releases.as_list()?.first()?.as_tagged("release")?
            else {
                return None;
            };
            if name.as_text()? != names.name || version.as_text()? != names.our_version {
                return None;
            }
            let pair = |application: &Term| {
                let parts = application.as_tuple()?;
                Some((parts.first()?.as_atom()?.to_owned(), parts.get(1)?.as_text()?))
            };
            applications.as_list()?.iter().map(pair).collect()
        };
        matches!((wanted(), listed()), (Some(one), Some(other)) if one == other)
    }

    fn is_manifest(&self) -> bool {
        let names = &self.facts.names;
        let path = format!("releases/{}/relgraph.json", names.our_version);
        let json: Option<serde_json::Value> =
            self.ours.bytes(&path).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        json.is_some_and(|json| {
            json["schema"] == MANIFEST_SCHEMA
                && json["name"] == names.name.as_str()
                && json["version"] == names.our_version.as_str()
        })
    }

    fn cookie(&self, finding: &mut Finding) {
        match &self.facts.cookie {
            Cookie::Made => finding.explain(Reason::Cookie, "ours is made at the first start"),
            Cookie::ReleaseYaml => finding.explain(Reason::ReleaseYaml, "`cookie:` is written on delivery"),
            Cookie::Project(known) => {
                let theirs = self.theirs.bytes("releases/COOKIE").unwrap_or_default();
                if fingerprint(&String::from_utf8_lossy(&theirs)) == *known {
                    finding.explain(Reason::Cookie, "the same one is written on delivery");
                }
            }
        }
    }

    /// Consolidated protocols as an application: a place that moved, its .app file, and what speaks of both.
    fn hot(&self, finding: &mut Finding) {
        let names = &self.facts.names;
        let folder = names.protocols();
        let application = format!("{}_protocols", names.name);
        let own = [folder.clone(), format!("{folder}/ebin/{application}.app")];
        let upgrade = format!("releases/{}/relgraph_upgrade", names.our_version);
        let rest = finding.path.strip_prefix(&upgrade).and_then(|rest| rest.strip_suffix(".beam"));
        if finding.theirs.is_none() && rest.is_some_and(|rest| !rest.contains('/')) {
            return finding.explain(Reason::HotLayout, "it moves the running system to another version");
        }
        let moved = finding.part == Part::Place && finding.path.starts_with(&folder);
        if moved || (finding.theirs.is_none() && own.contains(&finding.path)) {
            return finding.explain(Reason::HotLayout, "");
        }
        let boot = [".rel", ".script", ".boot"].iter().any(|ending| finding.path.ends_with(ending));
        if !boot || finding.part != Part::Term || finding.order {
            return;
        }
        let speaks = |value: &Option<Value>, of: &[&str]| {
            value.as_ref().is_none_or(
                |value| matches!(value, Value::Term(term) if terms::any(term, &|term| speaks_of(term, of))),
            )
        };
        let theirs = [application.as_str(), "/consolidated"];
        if speaks(&finding.ours, &[&application]) && speaks(&finding.theirs, &theirs) {
            finding.explain(Reason::HotLayout, "");
        }
    }

    fn release_yaml(&self, finding: &mut Finding) {
        if finding.explained.is_some() {
            return;
        }
        let asked = &self.facts.asked;
        if let Some((key, laid)) = asked.layers.get(&finding.path)
            && self.is_laid(&finding.path, laid)
        {
            let detail = format!("`{key}`: the file is the one that it lays over the release");
            return finding.explain(Reason::ReleaseYaml, detail);
        }
        if let (Some(kept), Part::Chunk(id)) = (&asked.strip, &finding.part)
            && finding.place == "the chunk"
        {
            let keeps = kept.as_ref().is_none_or(|kept| kept.contains(id));
            if keeps == finding.ours.is_some() {
                return finding.explain(Reason::ReleaseYaml, "`strip:`");
            }
        }
        if asked.strip.is_some() && finding.part == Part::Content && finding.place == "order of chunks" {
            return finding.explain(Reason::ReleaseYaml, "`strip:`: it also puts chunks in an order");
        }
        if asked.executables_for && finding.path.ends_with(".bat") && finding.part == Part::Presence {
            return finding.explain(Reason::ReleaseYaml, "`executables_for:`");
        }
        if let Some(brought) = &asked.runtime
            && finding.part == Part::Presence
            && self.is_runtime(&finding.path, brought)
        {
            return finding.explain(Reason::ReleaseYaml, "`runtime:`");
        }
        if asked.runtime.is_some() && is_runtime_line(finding) {
            return finding.explain(Reason::ReleaseYaml, "`runtime:`");
        }
        if asked.version {
            self.version(finding);
        }
        if !asked.applications.is_empty() {
            self.applications(finding);
        }
    }

    fn is_laid(&self, path: &str, laid: &Laid) -> bool {
        match (self.ours.entries.get(path), laid) {
            (Some(Entry::Folder(_)), Laid::Folder) => true,
            (Some(Entry::Link(target)), Laid::Link(wanted)) => target == wanted,
            (Some(Entry::File { mode, source, .. }), Laid::File(digest, executable)) => {
                self.ours.digest(source).ok() == Some(*digest) && (mode & 0o100 != 0) == *executable
            }
            _ => false,
        }
    }

    /// The runtime system, or a whole application that comes with it and that only one side brings.
    fn is_runtime(&self, path: &str, brought: &BTreeSet<String>) -> bool {
        let top = path.split('/').take(if path.starts_with("lib/") { 2 } else { 1 });
        let top = top.collect::<Vec<_>>().join("/");
        let there = |side: &Listing<'_>| side.entries.contains_key(&top);
        let known = top == "lib"
            || super::files::application(path).is_some_and(|name| name == "erts" || brought.contains(name));
        known && there(self.ours) != there(self.theirs)
    }

    /// The version of the release, where it stands in a text or a path.
    fn version(&self, finding: &mut Finding) {
        let names = &self.facts.names;
        let text = |value: &Option<Value>| match value {
            Some(Value::Term(term)) => term.as_text(),
            Some(Value::Text(text)) => Some(text.clone()),
            None => None,
        };
        if finding.part == Part::Place
            && names.ours(&text(&finding.theirs).unwrap_or_default()) == finding.path
        {
            return finding.explain(Reason::ReleaseYaml, "`version:`");
        }
        let boot = finding.path.starts_with("releases/");
        if let (true, Some(ours), Some(theirs)) = (boot, text(&finding.ours), text(&finding.theirs))
            && theirs.contains(&names.their_version)
            && theirs.replace(&names.their_version, &names.our_version) == ours
        {
            finding.explain(Reason::ReleaseYaml, "`version:`");
        }
    }

    /// Applications that release.yaml adds or starts in another mode: their folders, and what boot scripts say of them.
    fn applications(&self, finding: &mut Finding) {
        let asked = &self.facts.asked.applications;
        let detail = || {
            let names: Vec<&str> = asked.iter().map(String::as_str).collect();
            format!("`applications:` names {}", names.join(", "))
        };
        if let Some(application) = super::files::application(&finding.path)
            && finding.theirs.is_none()
            && finding.part == Part::Presence
            && self.added.contains_key(application)
        {
            return finding.explain(Reason::ReleaseYaml, detail());
        }
        let boot = [".rel", ".script", ".boot"].iter().any(|ending| finding.path.ends_with(ending))
            || finding.path == "releases/RELEASES";
        if !boot || finding.part != Part::Term {
            return;
        }
        let named: BTreeSet<&str> =
            asked.iter().map(String::as_str).chain(self.added.keys().map(String::as_str)).collect();
        let modules: BTreeSet<&str> = self.added.values().flatten().map(String::as_str).collect();
        let about = |value: &Option<Value>| {
            value.as_ref().is_none_or(|value| match value {
                Value::Term(term) => {
                    let list: Vec<&str> = named.iter().copied().collect();
                    terms::any(term, &|term| speaks_of(term, &list)) || only_modules(term, &modules)
                }
                Value::Text(_) => false,
            })
        };
        let by_name = named.iter().any(|name| finding.place.split(['.', '{']).any(|part| part == *name));
        if (about(&finding.ours) && about(&finding.theirs)) || by_name {
            finding.explain(Reason::ReleaseYaml, detail());
        }
    }

    /// A moment of the time at which theirs was made, where ours has an earlier one in the same form.
    fn time(&self, finding: &mut Finding) {
        if finding.explained.is_some() || !matches!(finding.part, Part::Chunk(_) | Part::Term | Part::Line) {
            return;
        }
        let moments = |value: &Option<Value>| match value {
            Some(Value::Term(term)) => clock::moments(term),
            Some(Value::Text(text)) => {
                clock::written(text).map(|moment| ("text", moment)).into_iter().collect()
            }
            None => Vec::new(),
        };
        let (ours, theirs) = (moments(&finding.ours), moments(&finding.theirs));
        let same_but_moment = match (&finding.ours, &finding.theirs) {
            (Some(Value::Text(one)), Some(Value::Text(other))) => {
                without_digits(one) == without_digits(other)
            }
            (Some(Value::Term(one)), Some(Value::Term(other))) => match (one.as_text(), other.as_text()) {
                (Some(one), Some(other)) => without_digits(&one) == without_digits(&other),
                _ => true,
            },
            _ => false,
        };
        let made = ours.iter().find_map(|(form, moment)| {
            let (_, other) = theirs.iter().find(|(other, _)| other == form)?;
            let ours = (EARLIEST..=self.facts.now + 2).contains(moment);
            (ours && self.facts.theirs_made.holds(*other)).then_some(*form)
        });
        if let (true, Some(form)) = (same_but_moment, made) {
            finding.explain(Reason::Time, format!("{form}, of the time when theirs was made"));
        }
    }
}

/// The line of a script that says where the runtime system is, which one side looks for in the release.
fn is_runtime_line(finding: &Finding) -> bool {
    let (Some(Value::Text(ours)), Some(Value::Text(theirs))) = (&finding.ours, &finding.theirs) else {
        return false;
    };
    let name = |line: &str| line.split_once('=').map(|(name, _)| name.trim().to_owned());
    let script = finding.path.starts_with("releases/") && finding.part == Part::Line;
    let named = name(ours).is_some_and(|name| name.starts_with("ERTS_")) && name(ours) == name(theirs);
    script && named && ours.contains("/erts-") != theirs.contains("/erts-")
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|char| !char.is_ascii_digit()).collect()
}

/// Whether a term is one of these names, or a text with one of them in it.
fn speaks_of(term: &Term, names: &[&str]) -> bool {
    if let Some(atom) = term.as_atom() {
        return names.contains(&atom);
    }
    term.as_text().is_some_and(|text| {
        names.iter().any(|name| match name.strip_prefix('/') {
            Some(_) => text.contains(name),
            None => text.contains(&format!("/{name}-")) || text.contains(&format!("/{name}/")),
        })
    })
}

/// Whether a term is a list of these modules, or an instruction to load them.
fn only_modules(term: &Term, modules: &BTreeSet<&str>) -> bool {
    let list = match term.as_tuple() {
        Some([Term::Atom(tag), list]) if tag == "primLoad" => list,
        _ => term,
    };
    list.as_list().is_some_and(|list| {
        !list.is_empty() && list.iter().all(|one| one.as_atom().is_some_and(|name| modules.contains(name)))
    })
}

/// Applications of ours that theirs does not have, and the modules that their .app files name.
fn added_applications(
    ours: &Listing<'_>,
    theirs: &Listing<'_>,
    facts: &Facts,
) -> BTreeMap<String, BTreeSet<String>> {
    if facts.asked.applications.is_empty() {
        return BTreeMap::new();
    }
    let names = |side: &Listing<'_>| -> BTreeSet<String> {
        let folders = side.entries.keys().filter(|path| path.matches('/').count() == 1);
        folders
            .filter(|path| path.starts_with("lib/"))
            .filter_map(|path| Some(super::files::application(path)?.to_owned()))
            .collect()
    };
    let (ours_has, theirs_has) = (names(ours), names(theirs));
    let modules = |name: &String| {
        let path = ours.entries.keys().find(|path| {
            path.ends_with(&format!("/ebin/{name}.app")) && super::files::application(path) == Some(name)
        });
        let term = path.and_then(|path| consult(&ours.bytes(path)?).ok()?.pop());
        let modules = term.and_then(|term| {
            let list = term.as_tagged("application")?.get(1)?.property("modules")?.as_list()?.to_vec();
            Some(list.iter().filter_map(|one| one.as_atom().map(str::to_owned)).collect::<BTreeSet<_>>())
        });
        (name.clone(), modules.unwrap_or_default())
    };
    ours_has.difference(&theirs_has).map(modules).collect()
}

/// Mix copies the modes of files, which follow from the umask of whoever checked them out; a stored tree has two modes.
fn mode(finding: &mut Finding) {
    let mode = |value: &Option<Value>| match value {
        Some(Value::Text(text)) => u32::from_str_radix(text, 8).ok(),
        _ => None,
    };
    if let (Some(one), Some(other)) = (mode(&finding.ours), mode(&finding.theirs))
        && matches!(one, 0o644 | 0o755)
        && (one ^ other) & 0o7100 == 0
    {
        finding.explain(Reason::Mode, "the owner may execute both, or neither");
    }
}
