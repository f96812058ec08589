//! The runtime and the order in which applications start.

use std::collections::BTreeSet;

use crate::etf::{self, Term};

use super::CompareError;
use super::files::erts_differs;
use super::native;
use super::pair::Pair;
use super::release::Opened;
use super::report::{
    ApplicationChange, Applications, BootChange, Class, FileChange, RuntimeChange, RuntimePart,
};

/// The versions of the runtime that differ. The architecture is only looked at where the runtime system differs.
pub(super) fn runtime(pair: &mut Pair<'_>, files: &[FileChange]) -> Result<Vec<RuntimeChange>, CompareError> {
    let mut found = Vec::new();
    let change = |part, old: &Option<String>, new: &Option<String>, class, reason: &str| RuntimeChange {
        part,
        old: old.clone(),
        new: new.clone(),
        class,
        reason: reason.to_owned(),
    };
    let differs = erts_differs(files);
    if differs {
        pair.old.release.architecture = architecture(&pair.old)?;
        pair.new.release.architecture = architecture(&pair.new)?;
    }
    let (old, new) = (&pair.old.release, &pair.new.release);
    let restart = Class::RestartVm;
    if old.otp != new.otp {
        let reason = "a running virtual machine is of one release of OTP";
        found.push(change(RuntimePart::Otp, &old.otp, &new.otp, restart, reason));
    }
    let erts = |reason| change(RuntimePart::Erts, &old.erts, &new.erts, restart, reason);
    if old.erts != new.erts {
        found.push(erts("a running virtual machine cannot be exchanged"));
    } else if old.includes_erts != new.includes_erts {
        found.push(erts(if new.includes_erts {
            "the new release brings its own runtime system along"
        } else {
            "the new release runs on the runtime system of the machine"
        }));
    } else if differs {
        found.push(erts("its files differ, although the version is the same"));
    }
    if old.elixir != new.elixir {
        let reason = "Elixir starts before the applications, and all of them run on it";
        found.push(change(RuntimePart::Elixir, &old.elixir, &new.elixir, restart, reason));
    }
    let (one, other) = (&old.architecture, &new.architecture);
    if one.is_some() && other.is_some() && one != other {
        let reason = "the releases are for different machines";
        found.push(change(RuntimePart::Architecture, one, other, Class::Cold, reason));
    }
    Ok(found)
}

fn architecture(side: &Opened<'_>) -> Result<Option<String>, CompareError> {
    for program in ["beam.smp", "erlexec"] {
        let file = side.find(&format!("erts-VSN/bin/{program}"))?;
        if let Some(file) = native::read(side.side, file.as_ref())? {
            return Ok(Some(file.architectures.into_iter().collect::<Vec<_>>().join(", ")));
        }
    }
    Ok(None)
}

/// The order in which applications of both releases start, where it differs. It follows from the order of the `.rel` file
/// and from what applications need: where neither differs, no boot script is read.
pub(super) fn boot(pair: &Pair<'_>, applications: &Applications) -> Result<Option<BootChange>, CompareError> {
    let both = |side: &Opened<'_>| -> Vec<String> {
        side.order.iter().filter(|name| pair.both_have(name)).cloned().collect()
    };
    let needs = |change: &ApplicationChange| {
        !change.needs_added.is_empty()
            || !change.needs_removed.is_empty()
            || change.old_mode != change.new_mode
    };
    if both(&pair.old) == both(&pair.new) && !applications.changed.iter().any(needs) {
        return Ok(None);
    }
    let (old, new) = (order(&pair.old)?, order(&pair.new)?);
    let common: BTreeSet<&String> = old.iter().filter(|name| new.contains(name)).collect();
    let shared = |order: &[String]| -> Vec<String> {
        order.iter().filter(|name| common.contains(name)).cloned().collect()
    };
    let moved = moved(&shared(&old), &shared(&new));
    Ok((!moved.is_empty()).then(|| BootChange {
        old,
        new,
        moved,
        class: Class::Hot,
        reason: "what runs stays started; the order counts when the virtual machine starts".to_owned(),
    }))
}

/// The applications that a boot script starts, in its order; those of the `.rel` file where there is none.
fn order(side: &Opened<'_>) -> Result<Vec<String>, CompareError> {
    for name in ["start", side.release.name.as_str()] {
        let Some(bytes) = side.text(&format!("releases/VSN/{name}.boot"))? else { continue };
        let Ok(term) = etf::decode(&bytes) else { continue };
        let Some([_, instructions]) = term.as_tagged("script") else { continue };
        let started = instructions.as_list().unwrap_or_default().iter().filter_map(started).collect();
        return Ok(started);
    }
    Ok(side.order.clone())
}

/// `{apply, {application, start_boot, [Name, Mode]}}`.
fn started(instruction: &Term) -> Option<String> {
    let [applied] = instruction.as_tagged("apply")? else { return None };
    let [Term::Atom(module), Term::Atom(function), arguments] = applied.as_tuple()? else { return None };
    let wanted = module == "application" && matches!(function.as_str(), "start_boot" | "start");
    wanted.then(|| Some(arguments.as_list()?.first()?.as_atom()?.to_owned())).flatten()
}

/// The fewest elements that have to be taken out of two lists of the same names for the rest to be in one order.
fn moved(old: &[String], new: &[String]) -> Vec<String> {
    let place: Vec<usize> =
        old.iter().filter_map(|name| new.iter().position(|other| other == name)).collect();
    // The longest run that increases, by its last element: quadratic, and there are a hundred applications.
    let mut best: Vec<(usize, Option<usize>)> = Vec::new();
    for (at, number) in place.iter().enumerate() {
        let before = (0..at).filter(|other| place[*other] < *number).max_by_key(|other| best[*other].0);
        best.push((before.map_or(1, |before| best[before].0 + 1), before));
    }
    let mut kept = BTreeSet::new();
    let mut at = (0..best.len()).max_by_key(|at| best[*at].0);
    while let Some(index) = at {
        kept.insert(index);
        at = best[index].1;
    }
    let mut moved: Vec<String> =
        (0..place.len()).filter(|at| !kept.contains(at)).map(|at| old[at].clone()).collect();
    moved.sort();
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn moves(old: &str, new: &str, expected: &str) {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(moved(&list(old), &list(new)).join(" "), expected);
    }

    #[test]
    fn as_few_as_explain_the_order() {
        moves("a b c d", "a b c d", "");
        moves("a b c d", "d a b c", "d");
        moves("a b c d", "a c b d", "b");
        moves("a b c d e", "e b c d a", "a e");
    }

    #[test]
    fn what_a_boot_script_starts() {
        let term = crate::etf::consult_one(
            b"{script,{\"a\",\"1\"},[{preLoaded,[x]},{apply,{application,load,[{application,k,[]}]}},
               {apply,{application,start_boot,[kernel,permanent]}},{apply,{other,start,[no]}}]}.",
        )
        .unwrap();
        let [_, instructions] = term.as_tagged("script").unwrap() else { panic!() };
        let names: Vec<String> = instructions.as_list().unwrap().iter().filter_map(started).collect();
        assert_eq!(names, ["kernel"]);
    }
}
