//! The order in which modules are replaced.
//!
//! A relup is one script: systools orders the modules of all applications by what their instructions name. On the way there
//! what is named comes before the one that names it, on the way back after it. So no function is called before it is there,
//! and on the way back none after it is gone, across applications as well.

use std::collections::{BTreeMap, BTreeSet};

use super::appup::{Appup, Origin};
use super::facts::{Difference, Facts};
use super::instruction::Instruction;
use super::plan::ApplicationPlan;
use super::script::Direction;

/// Has the instructions that were generated name the modules that they wait for.
pub(super) fn order(applications: &mut [ApplicationPlan], differences: &BTreeMap<&str, Difference>) {
    for direction in [Direction::Up, Direction::Down] {
        let waits = waits(applications, differences, direction);
        for appup in applications.iter_mut().filter_map(|application| application.appup.as_mut()) {
            if !is_ordered(appup) {
                continue;
            }
            for one in side(appup, direction) {
                let named = one.module().and_then(|module| waits.get(module)).cloned().unwrap_or_default();
                if let Some(needs) = needs(one) {
                    *needs = named.into_iter().collect();
                }
            }
        }
    }
}

/// Takes out the names of modules of other applications: of several old releases, not all change the same ones.
pub(super) fn within_applications(applications: &mut [ApplicationPlan]) {
    for appup in applications.iter_mut().filter_map(|application| application.appup.as_mut()) {
        for direction in [Direction::Up, Direction::Down] {
            let side = side(appup, direction);
            let own: BTreeSet<String> =
                side.iter().filter_map(|one| one.module().map(str::to_owned)).collect();
            for needs in side.iter_mut().filter_map(needs) {
                needs.retain(|module| own.contains(module));
            }
        }
    }
}

/// By module what its instruction names.
fn waits(
    applications: &mut [ApplicationPlan],
    differences: &BTreeMap<&str, Difference>,
    direction: Direction,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut known: BTreeMap<String, &Difference> = BTreeMap::new();
    for application in applications {
        let Some(difference) = differences.get(application.name.as_str()) else { continue };
        let Some(appup) = application.appup.as_mut().filter(|appup| is_ordered(appup)) else { continue };
        let replaced = side(appup, direction).iter_mut().filter_map(|one| {
            let module = one.module()?.to_owned();
            needs(one).map(|_| module)
        });
        known.extend(replaced.map(|module| (module, difference)));
    }
    let mut waits: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wait = |one: &str, other: &str| {
        if one != other {
            waits.entry(one.to_owned()).or_default().insert(other.to_owned());
        }
    };
    for (module, difference) in &known {
        // The newer code of both is what the order is about, in both directions.
        let newer = difference.changed.get(module).map(|changed| &changed.new);
        let newer = newer.or_else(|| difference.added.get(module));
        calls(newer).filter(|called| known.contains_key(*called)).for_each(|called| wait(module, called));
        // A module that is there again has to be before what calls it: on the way back it is the one that names the others.
        let old = difference.changed.get(module).map(|changed| &changed.old);
        let returns = |called: &&str| known.get(*called).is_some_and(|one| one.removed.contains_key(*called));
        if direction == Direction::Down {
            let old = old.or_else(|| difference.removed.get(module));
            calls(old).filter(returns).for_each(|called| wait(called, module));
        }
    }
    waits
}

fn calls(facts: Option<&Facts>) -> impl Iterator<Item = &str> {
    facts.into_iter().flat_map(|facts| &facts.info.imports).map(|(module, _)| module.as_str())
}

/// An application that is restarted has its modules taken out and put in, in an order of its own.
fn is_ordered(appup: &Appup) -> bool {
    let restarts = |one: &Instruction| matches!(one, Instruction::Restart(_) | Instruction::RestartEmulator);
    appup.origin == Origin::Generated && !appup.up.iter().chain(&appup.down).any(restarts)
}

fn side(appup: &mut Appup, direction: Direction) -> &mut Vec<Instruction> {
    match direction {
        Direction::Up => &mut appup.up,
        Direction::Down => &mut appup.down,
    }
}

/// What an instruction names, of those that are ordered.
fn needs(instruction: &mut Instruction) -> Option<&mut Vec<String>> {
    match instruction {
        Instruction::Load { needs, .. }
        | Instruction::Update { needs, .. }
        | Instruction::Add { needs, .. } => Some(needs),
        _ => None,
    }
}
