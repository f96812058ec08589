//! The relup that `systools` made: completed for consolidated protocols, and checked against what changed.
//!
//! Instructions are those of relup(4) (<https://www.erlang.org/doc/apps/sasl/relup.html>).

use std::collections::{BTreeMap, BTreeSet};

use super::appup::Origin;
use super::instruction::Instruction;
use super::plan::{Plan, Way};
use super::released::{Protocols, Released};
use super::scope::Purge;
use crate::beam_file;
use crate::etf::Term;

/// One direction of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the new release.
    Up,
    /// Back to the old.
    Down,
}

/// Completes the script of one direction. `from` and `to` are the releases in this direction.
pub fn complete(
    script: &[Term],
    plan: &Plan,
    from: &Released<'_>,
    to: &Released<'_>,
    direction: Direction,
    purge: Purge,
) -> Vec<Term> {
    if restarts_first(script) {
        return script.to_vec();
    }
    let changed = match direction {
        Direction::Up => &plan.protocols_up,
        Direction::Down => &plan.protocols_down,
    };
    let mut script = keep_moved(script, to);
    if purge == Purge::Soft {
        script = without_kills(&script, plan, direction);
    }
    match to.protocols {
        Protocols::Application => script = with_protocols(&script, changed, to),
        Protocols::Beside => {
            let mut all: BTreeSet<String> = changed.clone();
            all.extend(loaded(&script).into_iter().filter(|module| to.consolidated.contains_key(module)));
            if !all.is_empty() || from.protocols == Protocols::Beside {
                let modules = Term::list(all.iter().map(Term::atom).collect());
                let arguments = Term::list(vec![string(&to.version), modules]);
                let call =
                    Term::Tuple(vec![Term::atom("relgraph_upgrade"), Term::atom("protocols"), arguments]);
                let at = protocols_place(&script, to);
                script.insert(at, Term::Tuple(vec![Term::atom("apply"), call]));
            }
        }
        Protocols::None => {}
    }
    super::carried::with_modules(script, &plan.new_version)
}

/// systools knows one way for modules that go: all processes that run them are killed. With `soft` they go on.
fn without_kills(script: &[Term], plan: &Plan, direction: Direction) -> Vec<Term> {
    let generated = plan.applications.iter().filter_map(|application| application.appup.as_ref());
    let gone: BTreeSet<&str> = generated
        .filter(|appup| appup.origin == Origin::Generated)
        .flat_map(|appup| match direction {
            Direction::Up => &appup.up,
            Direction::Down => &appup.down,
        })
        .filter_map(|one| match one {
            Instruction::Delete { module, .. } => Some(module.as_str()),
            _ => None,
        })
        .collect();
    let soft = || Term::atom("soft_purge");
    let mut out = Vec::new();
    for one in script {
        match module(one, "remove") {
            Some(name) if gone.contains(name) => {
                let what = Term::Tuple(vec![Term::atom(name), soft(), soft()]);
                out.push(Term::Tuple(vec![Term::atom("remove"), what]));
            }
            _ => out.push(one.clone()),
        }
    }
    out.retain(|one| match one.as_tagged("purge") {
        Some([Term::List(names)]) => {
            !names.iter().all(|name| name.as_atom().is_some_and(|name| gone.contains(name)))
        }
        _ => true,
    });
    out
}

/// Whether the runtime system is restarted before anything else.
fn restarts_first(script: &[Term]) -> bool {
    script.iter().any(|one| matches!(one.as_atom(), Some("restart_new_emulator" | "restart_emulator")))
}

fn string(text: &str) -> Term {
    Term::list(text.chars().map(|c| Term::Integer(i64::from(u32::from(c)))).collect())
}

/// `{load, {Module, PrePurge, PostPurge}}` and `{remove, …}`: the module.
fn module<'t>(instruction: &'t Term, what: &str) -> Option<&'t str> {
    instruction.as_tagged(what)?.first()?.as_tuple()?.first()?.as_atom()
}

/// The modules that a script loads.
fn loaded(script: &[Term]) -> BTreeSet<String> {
    script.iter().filter_map(|one| module(one, "load")).map(str::to_owned).collect()
}

/// A module that only changes its application is loaded by the one and must not be removed by the other.
fn keep_moved(script: &[Term], to: &Released<'_>) -> Vec<Term> {
    let there: BTreeSet<&String> =
        to.applications.iter().flat_map(|application| application.modules.keys()).collect();
    let stays = |name: &str| there.contains(&name.to_owned()) || to.consolidated.contains_key(name);
    let loaded = loaded(script);
    let mut seen_load: BTreeSet<&str> = BTreeSet::new();
    let mut kept = Vec::new();
    for one in script {
        if let Some(name) = module(one, "load") {
            seen_load.insert(name);
        }
        // Removed after it was loaded: only an application that goes does that to a module that stays.
        if let Some(name) = module(one, "remove")
            && stays(name)
            && loaded.contains(name)
            && seen_load.contains(name)
        {
            continue;
        }
        if let Some([Term::List(modules)]) = one.as_tagged("purge") {
            let rest: Vec<Term> = modules
                .iter()
                .filter(|name| name.as_atom().is_none_or(|name| !(stays(name) && seen_load.contains(name))))
                .cloned()
                .collect();
            if !rest.is_empty() {
                kept.push(Term::Tuple(vec![Term::atom("purge"), Term::list(rest)]));
            }
            continue;
        }
        kept.push(one.clone());
    }
    kept
}

/// Protocols come out of the application that holds the consolidated ones, and not out of that which defines them.
fn with_protocols(script: &[Term], changed: &BTreeSet<String>, to: &Released<'_>) -> Vec<Term> {
    let there = loaded(script);
    let wanted: BTreeSet<&String> =
        changed.iter().chain(there.iter().filter(|name| to.consolidated.contains_key(*name))).collect();
    if wanted.is_empty() {
        return script.to_vec();
    }
    let mut out = Vec::new();
    for one in script {
        let Some([application, version, modules]) = one.as_tagged("load_object_code").and_then(tuple_of_one)
        else {
            out.push(one.clone());
            continue;
        };
        let modules = modules.as_list().unwrap_or_default();
        let rest: Vec<Term> = modules
            .iter()
            .filter(|name| name.as_atom().is_none_or(|name| !wanted.contains(&name.to_owned())))
            .cloned()
            .collect();
        if !rest.is_empty() || modules.is_empty() {
            out.push(load_object_code(application.clone(), version.clone(), rest));
        }
    }
    let modules = wanted.iter().map(|name| Term::atom(name.as_str())).collect();
    let code = load_object_code(Term::atom(to.protocols_name()), string(&to.version), modules);
    let at = out.iter().position(|one| one.as_atom() == Some("point_of_no_return"));
    match at {
        Some(at) => out.insert(at, code),
        None => {
            out.insert(0, Term::atom("point_of_no_return"));
            out.insert(0, code);
        }
    }
    let at = protocols_place(&out, to);
    let soft = || Term::atom("soft_purge");
    let loads = wanted.iter().filter(|name| !there.contains(**name)).map(|name| {
        let what = Term::Tuple(vec![Term::atom(name.as_str()), soft(), soft()]);
        Term::Tuple(vec![Term::atom("load"), what])
    });
    out.splice(at..at, loads.collect::<Vec<_>>());
    out
}

fn tuple_of_one(parts: &[Term]) -> Option<&[Term]> {
    parts.first()?.as_tuple()
}

fn load_object_code(application: Term, version: Term, modules: Vec<Term>) -> Term {
    let what = Term::Tuple(vec![application, version, Term::list(modules)]);
    Term::Tuple(vec![Term::atom("load_object_code"), what])
}

/// Where protocols are replaced: when the implementations that are new are there, and those that go still are.
fn protocols_place(script: &[Term], to: &Released<'_>) -> usize {
    let ponr =
        script.iter().position(|one| one.as_atom() == Some("point_of_no_return")).map_or(0, |at| at + 1);
    let suspends = script[ponr..].iter().take_while(|one| one.as_tagged("suspend").is_some()).count();
    let implements = |name: &str| {
        let digest = to.applications.iter().find_map(|application| application.modules.get(name));
        let bytes = digest.and_then(|digest| to.read_module(digest).ok());
        bytes.and_then(|bytes| beam_file::info(&bytes).ok()).is_some_and(|info| info.implements.is_some())
    };
    let last =
        script.iter().rposition(|one| module(one, "load").is_some_and(implements)).map_or(0, |at| at + 1);
    let first_removed = script.iter().position(|one| module(one, "remove").is_some()).unwrap_or(script.len());
    // An application that is restarted removes all modules and loads all: then the implementations matter more.
    let place = (ponr + suspends).max(last);
    if first_removed >= ponr + suspends && last <= first_removed { place.min(first_removed) } else { place }
}

/// What is in a script and should not be, and what should be and is not. Empty: it is complete.
pub fn check(
    script: &[Term],
    plan: &Plan,
    from: &Released<'_>,
    to: &Released<'_>,
    direction: Direction,
) -> Vec<String> {
    if plan.way == Way::RestartVm || restarts_first(script) {
        // Everything is loaded anew.
        return Vec::new();
    }
    let mut wrong = Vec::new();
    let there = loaded(script);
    let removed: BTreeSet<String> =
        script.iter().filter_map(|one| module(one, "remove")).map(str::to_owned).collect();
    let protocols = match direction {
        Direction::Up => &plan.protocols_up,
        Direction::Down => &plan.protocols_down,
    };
    let mut expected: BTreeMap<String, &str> = BTreeMap::new();
    if to.protocols == Protocols::Application {
        expected.extend(protocols.iter().map(|name| (name.clone(), "the consolidated protocols")));
    }
    let mut may: BTreeSet<String> = to.consolidated.keys().cloned().collect();
    let mut gone: BTreeSet<String> = BTreeSet::new();
    for application in &plan.applications {
        let name = application.name.as_str();
        let instructions = application.appup.as_ref().map(|appup| match direction {
            Direction::Up => &appup.up,
            Direction::Down => &appup.down,
        });
        let is_restarted = instructions
            .is_some_and(|all| all.iter().any(|one| matches!(one, Instruction::Restart(app) if app == name)));
        let (loads, deletes) = match direction {
            Direction::Up => (application.loaded.clone(), application.deleted.clone()),
            Direction::Down => (back(application, from, to), application.loaded.clone()),
        };
        expected.extend(loads.iter().map(|module| (module.clone(), name)));
        may.extend(loads);
        gone.extend(deletes);
        if is_restarted {
            for release in [from, to] {
                may.extend(release.application(name).into_iter().flat_map(|found| found.listed()));
            }
        }
    }
    for (name, application) in &expected {
        if !there.contains(name) && !to.consolidated.contains_key(name) {
            wrong.push(format!("`{name}` of {application} changed and is not replaced"));
        } else if !there.contains(name) && to.protocols == Protocols::Application && protocols.contains(name)
        {
            wrong.push(format!("the protocol `{name}` changed and is not replaced"));
        }
    }
    for name in &there {
        if !may.contains(name) {
            wrong.push(format!("`{name}` did not change and is replaced"));
        }
    }
    let stays =
        |name: &String| to.applications.iter().any(|application| application.modules.contains_key(name));
    for name in &removed {
        if stays(name) && !there.contains(name) {
            wrong.push(format!("`{name}` is removed, and the release has it"));
        }
    }
    wrong
}

/// Modules that the way back has to load.
fn back(
    application: &super::plan::ApplicationPlan,
    from: &Released<'_>,
    to: &Released<'_>,
) -> BTreeSet<String> {
    let old = to.application(&application.name);
    let in_old = |name: &&String| old.is_some_and(|old| old.modules.contains_key(*name));
    let mut loads: BTreeSet<String> = application.loaded.iter().filter(in_old).cloned().collect();
    loads.extend(application.deleted.iter().filter(in_old).cloned());
    // A module that had moved comes back.
    if let Some(old) = old {
        let now = from.application(&application.name);
        let absent = |name: &&String| now.is_none_or(|now| !now.modules.contains_key(*name));
        loads.extend(old.listed().iter().filter(absent).cloned());
    }
    loads.retain(|name| !to.consolidated.contains_key(name));
    loads
}
