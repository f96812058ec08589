//! What each application needs to come from one version to the other.

use std::collections::{BTreeMap, BTreeSet};

use super::appup::{Appup, Origin};
use super::facts::{Difference, Extent, difference};
use super::generate::{Around, generate};
use super::instruction::Instruction;
use super::obstacles::{missing_layout, refusals, same_version};
use super::order::order;
use super::released::{Application, Released};
use super::scope::{GivenAppup, Rules};
use super::{Refusal, UpgradeError};
use crate::etf::{Term, consult_one};

/// How much of a running node goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// All of it.
    Hot,
    /// All but applications that are restarted.
    RestartApplication,
    /// The runtime system is restarted.
    RestartVm,
}

/// Something that whoever upgrades should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Note {
    /// The application that it is about; empty: the release.
    pub application: String,
    /// What it is.
    pub text: String,
}

/// What one application needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationPlan {
    /// Its name.
    pub name: String,
    /// The version that runs; none: it is new.
    pub old_version: Option<String>,
    /// The version that is wanted; none: it goes.
    pub new_version: Option<String>,
    /// What is done; none for one that appears or goes: the release handler knows what to do.
    pub appup: Option<Appup>,
    /// Modules that are there afterwards and were not, or run something else.
    pub loaded: BTreeSet<String>,
    /// Modules that are gone afterwards.
    pub deleted: BTreeSet<String>,
}

/// The way from one release to another, and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The version that runs.
    pub old_version: String,
    /// The version that is wanted.
    pub new_version: String,
    /// How much of the node goes on.
    pub way: Way,
    /// The applications that change, in the order of the new release.
    pub applications: Vec<ApplicationPlan>,
    /// Consolidated protocols of the new release that are not those of the old.
    pub protocols_up: BTreeSet<String>,
    /// Consolidated protocols of the old release that are not those of the new.
    pub protocols_down: BTreeSet<String>,
    /// What whoever upgrades should know.
    pub notes: Vec<Note>,
}

/// OTP applications that the runtime system is restarted for.
const BASE: [&str; 3] = ["kernel", "stdlib", "sasl"];

/// Finds the way from `old` to `new`, or all that speaks against it.
pub fn plan(old: &Released<'_>, new: &Released<'_>, rules: &Rules) -> Result<Plan, UpgradeError> {
    let mut refusals = refusals(old, new);
    let mut differences: BTreeMap<&str, Difference> = BTreeMap::new();
    let mut notes = Vec::new();
    for after in &new.applications {
        let Some(before) = old.application(&after.name) else { continue };
        if after.name == new.protocols_name() {
            continue;
        }
        let difference = difference((old, before), (new, after))?;
        if before.version == after.version {
            refusals.extend(same_version(after, &difference));
            if difference.changed.values().any(|changed| changed.extent == Extent::Lines) {
                notes.push(Note {
                    application: after.name.clone(),
                    text: format!(
                        "its version is {} in both, and lines in stack traces stay those of the old release",
                        after.version
                    ),
                });
            }
            continue;
        }
        differences.insert(&after.name, difference);
    }
    if !refusals.is_empty() {
        refusals.sort();
        return Err(UpgradeError::Refused {
            old: old.version.clone(),
            new: new.version.clone(),
            reasons: refusals,
        });
    }
    let around = Around { old, new, rules, moved: moved(old, new) };
    for (module, (from, to)) in &around.moved {
        notes.push(Note { application: to.clone(), text: format!("`{module}` comes from {from}") });
    }
    let emulator = restarts_emulator(old, new);
    let mut applications = Vec::new();
    for after in &new.applications {
        if after.name == new.protocols_name() {
            continue;
        }
        let Some(before) = old.application(&after.name) else {
            applications.push(appears(after));
            continue;
        };
        let Some(difference) = differences.get(after.name.as_str()) else { continue };
        let appup = appup(&around, before, after, difference, emulator.as_deref(), &mut notes)?;
        applications.push(ApplicationPlan {
            name: after.name.clone(),
            old_version: Some(before.version.clone()),
            new_version: Some(after.version.clone()),
            appup: Some(appup),
            loaded: around.loaded(difference),
            deleted: around.deleted(difference),
        });
    }
    for before in &old.applications {
        if new.application(&before.name).is_none() && before.name != old.protocols_name() {
            applications.push(goes(before));
        }
    }
    order(&mut applications, &differences);
    notes.extend(missing_layout(old, new));
    notes.sort();
    notes.dedup();
    let changed = |one: &Released<'_>, other: &Released<'_>| -> BTreeSet<String> {
        let differs = |(name, digest): &(&String, &_)| other.consolidated.get(*name) != Some(*digest);
        one.consolidated.iter().filter(differs).map(|(name, _)| name.clone()).collect()
    };
    Ok(Plan {
        old_version: old.version.clone(),
        new_version: new.version.clone(),
        // systools restarts the runtime system where it is another, whatever appups say.
        way: if old.erts == new.erts { way(&applications) } else { Way::RestartVm },
        applications,
        protocols_up: changed(new, old),
        protocols_down: changed(old, new),
        notes,
    })
}

/// Modules that one application has in the old release and another in the new.
fn moved(old: &Released<'_>, new: &Released<'_>) -> BTreeMap<String, (String, String)> {
    let owners = |release: &Released<'_>| -> BTreeMap<String, String> {
        let own =
            release.applications.iter().filter(|application| application.name != release.protocols_name());
        own.flat_map(|application| {
            application.modules.keys().map(|module| (module.clone(), application.name.clone()))
        })
        .collect()
    };
    let before = owners(old);
    let after = owners(new).into_iter();
    after
        .filter_map(|(module, to)| {
            let from = before.get(&module)?;
            (*from != to).then(|| (module, (from.clone(), to)))
        })
        .collect()
}

/// Why everything is restarted.
fn restarts_emulator(old: &Released<'_>, new: &Released<'_>) -> Option<String> {
    if old.erts != new.erts {
        return Some(format!("the runtime system is another: {} -> {}", old.erts, new.erts));
    }
    for name in BASE.into_iter().chain(["elixir"]) {
        let version = |release: &Released<'_>| release.application(name).map(|found| found.version.clone());
        let (before, after) = (version(old), version(new));
        if before != after {
            let text = |version: Option<String>| version.unwrap_or_else(|| "none".to_owned());
            return Some(format!("{name} {} -> {}", text(before), text(after)));
        }
    }
    None
}

fn appup(
    around: &Around<'_, '_>,
    before: &Application,
    after: &Application,
    difference: &Difference,
    emulator: Option<&str>,
    notes: &mut Vec<Note>,
) -> Result<Appup, UpgradeError> {
    let mut note = |text: String| notes.push(Note { application: after.name.clone(), text });
    let rules = around.rules.applications.get(&after.name);
    for given in rules.iter().flat_map(|rules| &rules.appups) {
        if let Some(appup) = written(around, given, before, after)? {
            return Ok(appup);
        }
    }
    if let Some(term) = &after.appup {
        // One that stayed behind, as those of another version do, says nothing even where it is about any version.
        let version = term.as_tuple().and_then(|parts| parts.first()?.as_text());
        let is_for = version.as_deref() == Some(&after.version);
        match Appup::given(term, Origin::Application, &before.version).filter(|_| is_for) {
            Some(appup) => return Ok(appup),
            None if is_for => {
                note(format!(
                    "its appup says nothing about {}: what changed is looked at instead",
                    before.version
                ));
            }
            None => note(format!(
                "its appup is for {}, and it is {}: what changed is looked at instead",
                version.as_deref().unwrap_or("no version"),
                after.version
            )),
        }
    }
    let generated = |up, down| Appup { origin: Origin::Generated, up, down };
    if let Some(why) = emulator {
        if BASE.contains(&after.name.as_str()) {
            let restart = vec![Instruction::Given(Term::atom("restart_new_emulator"))];
            return Ok(generated(restart.clone(), restart));
        }
        if after.name == "elixir" {
            return Ok(generated(vec![Instruction::RestartEmulator], vec![Instruction::RestartEmulator]));
        }
        note(format!("is replaced when the runtime system is restarted ({why})"));
        return Ok(generated(Vec::new(), Vec::new()));
    }
    Ok(generate(around, before, after, difference, &mut note))
}

/// What an appup of the project says. One that is for other versions says nothing, unless it was named for these.
fn written(
    around: &Around<'_, '_>,
    given: &GivenAppup,
    before: &Application,
    after: &Application,
) -> Result<Option<Appup>, UpgradeError> {
    let refuse = |what: String| UpgradeError::Refused {
        old: around.old.version.clone(),
        new: around.new.version.clone(),
        reasons: vec![Refusal {
            what,
            hint: format!(
                "write it as `{{\"{}\", [{{\"{1}\", […]}}], [{{\"{1}\", […]}}]}}.`, or take the file away",
                after.version, before.version
            ),
        }],
    };
    let file = &given.file;
    let term = consult_one(&given.text).map_err(|error| refuse(format!("{file} cannot be read: {error}")))?;
    let version = term.as_tuple().and_then(|parts| parts.first()?.as_text());
    let appup = match version.as_deref() == Some(&after.version) {
        true => Appup::given(&term, Origin::Project(file.clone()), &before.version),
        false => None,
    };
    if appup.is_none() && given.must {
        let (name, old, new) = (&after.name, &before.version, &after.version);
        return Err(refuse(format!("{file} says nothing about {name} {old} -> {new} and back")));
    }
    Ok(appup)
}

fn appears(application: &Application) -> ApplicationPlan {
    ApplicationPlan {
        name: application.name.clone(),
        old_version: None,
        new_version: Some(application.version.clone()),
        appup: None,
        loaded: application.listed(),
        deleted: BTreeSet::new(),
    }
}

fn goes(application: &Application) -> ApplicationPlan {
    ApplicationPlan {
        name: application.name.clone(),
        old_version: Some(application.version.clone()),
        new_version: None,
        appup: None,
        loaded: BTreeSet::new(),
        deleted: application.listed(),
    }
}

fn way(applications: &[ApplicationPlan]) -> Way {
    let instructions =
        || applications.iter().filter_map(|plan| plan.appup.as_ref()).flat_map(|appup| &appup.up);
    let emulator = |one: &Instruction| match one {
        Instruction::RestartEmulator => true,
        Instruction::Given(term) => {
            matches!(term.as_atom(), Some("restart_new_emulator" | "restart_emulator"))
        }
        _ => false,
    };
    if instructions().any(emulator) {
        Way::RestartVm
    } else if instructions().any(|one| matches!(one, Instruction::Restart(_))) {
        Way::RestartApplication
    } else {
        Way::Hot
    }
}
