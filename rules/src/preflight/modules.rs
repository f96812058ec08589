//! Every module of a boot script and of an application is there, and once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Kind, Release, module_name};
use crate::etf::Term;

pub(super) fn look(release: &Release<'_>) -> Vec<Finding> {
    let mut findings = twice(release);
    findings.extend(listed(release));
    findings.extend(booted(release));
    findings
}

/// Modules that two applications have. Erlang's own are not compared with each other.
fn twice(release: &Release<'_>) -> Vec<Finding> {
    let mut places: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for module in &release.modules {
        if let Some(application) = module.application.as_deref()
            && !release.is_of_protocols(application)
        {
            places.entry(&module.links.name).or_default().insert(application, &module.path);
        }
    }
    let mut findings = Vec::new();
    for (module, places) in places {
        let applications: Vec<&str> = places.keys().copied().collect();
        let Some(mine) = applications.iter().find(|app| release.part(app).is_some()) else { continue };
        if applications.len() > 1 {
            let message = format!(
                "the module {} is in the applications {}",
                module_name(module),
                applications.join(" and ")
            );
            findings.push(
                Finding::new(Kind::Modules, message)
                    .of(mine)
                    .module(module)
                    .file(places[mine])
                    .about(applications.join(" "))
                    .hint("rename one of them, or take one of the applications out: a node loads only one"),
            );
        }
    }
    findings
}

/// Modules that a specification names and that are not there.
fn listed(release: &Release<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, application) in &release.applications {
        let (Some(folder), Some(spec)) = (&application.folder, &application.spec) else { continue };
        for module in &spec.modules {
            let path = format!("{folder}/ebin/{module}.beam");
            if !release.nodes.contains_key(&path) {
                let message = format!(
                    "the application {name} names the module {} in {name}.app, and does not have it",
                    module_name(module)
                );
                let hint =
                    format!("nodes look for {path} when they start: compile it, or take it out of the list");
                findings.push(
                    Finding::new(Kind::Modules, message).of(name).module(module).file(&path).hint(hint),
                );
            }
        }
    }
    findings
}

/// Modules that a boot script loads and that are in none of the folders that it looks into at that moment.
fn booted(release: &Release<'_>) -> Vec<Finding> {
    let runtime = release.has_runtime();
    let mut findings = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (script, instructions) in &release.boots {
        // `None`: a folder outside of the release.
        let mut folders: Vec<Option<String>> = Vec::new();
        for instruction in instructions {
            let Some([Term::Atom(what), Term::List(values)]) = instruction.as_tuple() else { continue };
            match what.as_str() {
                "path" => {
                    let place =
                        |path: String| inside(&path).filter(|_| runtime || !path.starts_with("$ROOT"));
                    folders = values.iter().filter_map(Term::as_text).map(place).collect();
                }
                "primLoad" if folders.iter().all(Option::is_some) => {
                    for module in values.iter().filter_map(Term::as_atom) {
                        let is_there =
                            |folder: &String| release.nodes.contains_key(&format!("{folder}/{module}.beam"));
                        if folders.iter().flatten().any(is_there) || !seen.insert(module.to_owned()) {
                            continue;
                        }
                        let owner = folders.iter().flatten().find_map(|folder| release.owner(folder));
                        let listed = owner.as_ref().and_then(|app| release.applications[app].spec.as_ref());
                        if listed.is_some_and(|spec| spec.modules.iter().any(|listed| listed == module)) {
                            // Said already.
                            continue;
                        }
                        let message =
                            format!("{script} loads the module {}, which is not there", module_name(module));
                        let mut finding = Finding::new(Kind::Modules, message).module(module).file(script);
                        finding.application = owner;
                        findings.push(finding.hint("the node ends when it does not find it"));
                    }
                }
                _ => {}
            }
        }
    }
    findings
}

/// A path of a boot script, seen from the release's folder; `None` where only the node knows where it leads.
fn inside(path: &str) -> Option<String> {
    let path = match path.strip_prefix("$RELEASE_LIB") {
        Some(rest) => format!("lib{rest}"),
        None => path.strip_prefix("$ROOT/")?.to_owned(),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}
