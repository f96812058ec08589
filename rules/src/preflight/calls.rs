//! Calls lead to functions that are there.
//!
//! Every compiled module lists the functions of other modules that it calls. Compilers complain of those that they do not
//! find; but they look at the machine that compiles, where all of Erlang and Elixir and every dependency is, and a release
//! has less. What is looked at here is the release.
//!
//! What is left out, because it says nothing about a node that runs: calls of Erlang's and Elixir's own modules; calls of Mix
//! tasks; calls that only a compiler reaches (macros and what only they call); calls behind a question whether the module is
//! there; and calls that the author said not to complain about.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use relgraph_engine::StepError;

use super::release::{Module, Part};
use super::{Finding, Kind, Release, Weight, module_name};
use crate::beam_file::{self, Call, Function};

/// Applications for those who build and test: that a dependency calls one of them is no sign of anything.
const TOOLS: [&str; 14] = [
    "mix",
    "ex_unit",
    "eunit",
    "common_test",
    "tools",
    "debugger",
    "observer",
    "wx",
    "et",
    "dialyzer",
    "edoc",
    "reltool",
    "parsetools",
    "syntax_tools",
];

pub(super) fn look(release: &Release<'_>) -> Result<Vec<Finding>, StepError> {
    let there = There::of(release);
    let findings: Result<Vec<Vec<Finding>>, StepError> = release
        .modules
        .par_iter()
        .filter_map(|module| Some((module, release.part(module.application.as_deref()?)?)))
        .filter(|(module, _)| !is_of_mix(&module.links.name))
        .map(|(module, part)| of_module(release, &there, module, part))
        .collect();
    Ok(findings?.into_iter().flatten().collect())
}

/// What calls can lead to.
struct There<'a> {
    exports: BTreeMap<&'a str, &'a BTreeSet<Function>>,
    /// Modules that come with the runtime system itself, or with applications that the machine has.
    elsewhere: BTreeSet<&'a str>,
    /// Modules of applications of the project that are left out of the release.
    left_out: BTreeMap<&'a str, &'a str>,
}

impl<'a> There<'a> {
    fn of(release: &'a Release<'a>) -> There<'a> {
        let mut exports = BTreeMap::new();
        for module in &release.modules {
            // A consolidated protocol comes first, and is the one that runs.
            exports.entry(module.links.name.as_str()).or_insert(&module.links.exports);
        }
        let mut elsewhere = BTreeSet::from(["erlang"]);
        for instruction in release.boots.values().flatten() {
            let loaded = instruction.as_tagged("preLoaded").and_then(|rest| rest.first()?.as_list());
            elsewhere.extend(loaded.unwrap_or_default().iter().filter_map(|module| module.as_atom()));
        }
        for (module, application) in &release.around.installed {
            let application = release.applications.get(application);
            if application.is_some_and(|application| application.folder.is_none()) {
                elsewhere.insert(module);
            }
        }
        let left_out = release.around.parts.iter().flat_map(|part| {
            part.left_out.iter().map(|module| (module.as_str(), part.app.as_str())).collect::<Vec<_>>()
        });
        There { exports, elsewhere, left_out: left_out.collect() }
    }

    fn has(&self, module: &str, name: &str, arity: u32) -> bool {
        if self.elsewhere.contains(module) {
            return true;
        }
        let function = Function { name: name.to_owned(), arity };
        self.exports.get(module).is_some_and(|exports| exports.contains(&function))
    }
}

fn is_of_mix(module: &str) -> bool {
    module == "Elixir.Mix" || module.starts_with("Elixir.Mix.")
}

fn of_module(
    release: &Release<'_>,
    there: &There<'_>,
    module: &Module,
    part: &Part,
) -> Result<Vec<Finding>, StepError> {
    let empty = BTreeSet::new();
    let of = |key: &str| part.excluded.get(key).unwrap_or(&empty);
    let (everywhere, here) = (of("*"), of(&module.links.name));
    let excluded = |module: &str, name: &str, arity: u32| {
        let function = format!("{module}.{name}/{arity}");
        [everywhere, here].iter().any(|set| set.contains(module) || set.contains(&function))
    };
    let missing: BTreeSet<(&str, &str, u32)> = module
        .links
        .imports
        .iter()
        .map(|(module, name, arity)| (module.as_str(), name.as_str(), *arity))
        .filter(|(module, name, arity)| !there.has(module, name, *arity) && !excluded(module, name, *arity))
        .collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = release.store.read(&module.digest)?;
    let wanted = |module: &str, name: &str, arity: u32| missing.contains(&(module, name, arity));
    let calls = beam_file::calls(&bytes, &wanted).unwrap_or_default();
    // Of one function calling another, the first place is enough.
    let mut told = BTreeSet::new();
    Ok(calls
        .iter()
        .filter(|call| !is_for_tests(call))
        .filter(|call| told.insert((&call.from, &call.module, &call.function)))
        .map(|call| finding(release, there, module, part, call))
        .collect())
}

/// What `eunit.hrl` puts into every module that includes it.
fn is_for_tests(call: &Call) -> bool {
    call.module == "eunit" && call.from.name == "test" && call.from.arity == 0
}

fn finding(release: &Release<'_>, there: &There<'_>, module: &Module, part: &Part, call: &Call) -> Finding {
    let about = format!("{}.{}", module_name(&call.module), call.function);
    let from = format!("{}.{}", module_name(&module.links.name), call.from);
    let installed = release.around.installed.get(&call.module).map(String::as_str);
    let left_out = there.left_out.get(call.module.as_str()).copied();
    let owner = left_out.or(installed);
    let known = there.exports.contains_key(call.module.as_str());
    let (message, hint) = if known {
        let near = nearest(there.exports[call.module.as_str()], &call.function);
        let hint = match near {
            Some(near) => format!("{} has {near}", module_name(&call.module)),
            None => format!("{} has no function of that name", module_name(&call.module)),
        };
        (format!("{from} calls {about}, and there is no such function"), hint)
    } else {
        let hint = match (owner, left_out) {
            (Some("mix"), _) => {
                "Mix builds and is no part of what runs: ask at compile time (`@env Mix.env()` in the module's body), or \
                 configure it"
                    .to_owned()
            }
            (Some(app), Some(_)) => format!(
                "it belongs to the dependency {app}, which is left out of the release (`runtime: false`?): add it to \
                 `applications:`, or do not call it"
            ),
            (Some(app), None) => format!(
                "it belongs to {app}: add `:{app}` to `extra_applications` in mix.exs (to `applications` in an .app.src), \
                 or to `applications:` in release.yaml"
            ),
            (None, _) => "no application that is known has it: a name written wrongly, or a dependency that is not there. \
                          If it is meant to be so, ask `Code.ensure_loaded?/1` first, or write \
                          `@compile {:no_warn_undefined, …}`"
                .to_owned(),
        };
        let message =
            format!("{from} calls {about}, and the release has no module {}", module_name(&call.module));
        (message, hint)
    };
    let app = module.application.as_deref().unwrap_or_default();
    let mut finding =
        Finding::new(Kind::MissingCalls, message).of(app).module(&module.links.name).about(about);
    finding.function = Some(call.from.to_string());
    finding.line = call.line;
    finding.file = call.file.as_ref().filter(|_| call.line.is_some()).map(|file| {
        if part.dest == "." || !part.own || file.starts_with('/') {
            file.clone()
        } else {
            format!("{}/{file}", part.dest)
        }
    });
    finding.weight = if part.own {
        Weight::Certain
    } else if known || owner.is_some_and(|owner| !TOOLS.contains(&owner)) {
        Weight::Summed
    } else {
        Weight::Aside
    };
    finding.hint(hint)
}

/// A function of the same name, or of nearly that.
fn nearest(exports: &BTreeSet<Function>, wanted: &Function) -> Option<String> {
    let same =
        exports.iter().filter(|function| function.name == wanted.name).map(|function| function.to_string());
    let same: Vec<String> = same.collect();
    if !same.is_empty() {
        return Some(same.join(", "));
    }
    let near =
        crate::diagnostic::nearest(&wanted.name, exports.iter().map(|function| function.name.as_str()))?;
    exports.iter().find(|function| function.name == near).map(|function| function.to_string())
}
