//! Structs with other fields that running processes may hold.

use std::collections::BTreeSet;

use rayon::prelude::*;

use crate::beam_file::{self, BeamFile};
use crate::etf::Term;

use super::classes::of_runtime;
use super::facts;
use super::modules::Modules;
use super::pair::Pair;
use super::report::{ModuleChange, ProcessKind, StructChange, Warning, WarningKind};
use super::side::Placed;
use super::warnings::{migration_moved, warning};
use super::{CompareError, shown};

/// A warning for each process module that speaks of a struct with other fields and does not bring old ones along. The modules
/// of the application that defines the struct are looked at, and those of the applications that need it.
pub(super) fn warnings(pair: &Pair<'_>, modules: &Modules) -> Result<Vec<Warning>, CompareError> {
    let mut found = Vec::new();
    for one in &modules.all {
        let shape = one.detail.as_ref().and_then(|detail| detail.structure.as_ref()).and_then(fields);
        let Some((added, removed)) = shape else { continue };
        if of_runtime(&one.application).is_some() {
            continue;
        }
        let mut change = Vec::new();
        change.extend(added.iter().map(|field| format!("+{field}")));
        change.extend(removed.iter().map(|field| format!("-{field}")));
        for (application, holder) in holders(pair, modules, &one.application, &one.module)? {
            let (holder_name, name) = (shown(&holder), shown(&one.module));
            found.push(warning(
                WarningKind::StructInProcess,
                Some(&application),
                Some(&holder),
                format!(
                    "{holder_name} runs in a process and may hold %{name}{{}}, whose fields differ ({})",
                    change.join(" ")
                ),
                format!("write a code_change in {holder_name} that gives old structs the new fields, and move its version"),
            ));
        }
    }
    Ok(found)
}

/// The names of fields that came and went, where any did: another default does no harm to what lives.
fn fields(change: &StructChange) -> Option<(Vec<&str>, Vec<&str>)> {
    let (old, new) = (change.old.as_ref()?, change.new.as_ref()?);
    let names = |fields: &'_ [super::report::StructField]| {
        fields.iter().map(|field| field.name.clone()).collect::<BTreeSet<String>>()
    };
    let (old_names, new_names) = (names(old), names(new));
    let only = |fields: &'_ [super::report::StructField], other: &BTreeSet<String>| -> Vec<usize> {
        (0..fields.len()).filter(|at| !other.contains(&fields[*at].name)).collect()
    };
    let added: Vec<&str> = only(new, &old_names).into_iter().map(|at| new[at].name.as_str()).collect();
    let removed: Vec<&str> = only(old, &new_names).into_iter().map(|at| old[at].name.as_str()).collect();
    (!added.is_empty() || !removed.is_empty()).then_some((added, removed))
}

/// Modules of both releases that run in processes, speak of a struct, and have no new migration.
fn holders(
    pair: &Pair<'_>,
    modules: &Modules,
    owner: &str,
    structure: &str,
) -> Result<Vec<(String, String)>, CompareError> {
    let mut candidates = Vec::new();
    for (application, found) in &pair.new.applications {
        let (true, Some(folder)) =
            (pair.both_have(application) && of_runtime(application).is_none(), &found.folder)
        else {
            continue;
        };
        let needs = || -> Result<bool, CompareError> {
            let resource = pair.new.resource(application)?;
            let needed = resource.as_ref().and_then(|resource| resource.property("applications")?.as_list());
            Ok(needed.unwrap_or_default().iter().any(|name| name.as_atom() == Some(owner)))
        };
        if pair.is_protocols(application) || (application != owner && !needs()?) {
            continue;
        }
        let Some(ebin) = pair.new.side.find(folder, "ebin")? else { continue };
        for (file, placed) in pair.new.side.list(&ebin)? {
            if let Some(module) = file.strip_suffix(".beam") {
                candidates.push((application.clone(), module.to_owned(), placed));
            }
        }
    }
    let holds = |(application, module, placed): &(String, String, Placed)| {
        let one = modules.all.iter().find(|one| one.application == *application && one.module == *module);
        let detail: Option<&ModuleChange> = one.and_then(|one| one.detail.as_ref());
        // What only the new release has is held by nothing yet.
        if detail.is_some_and(migration_moved) || (one.is_some() && detail.is_none()) {
            return Ok(None);
        }
        let bytes = pair.new.side.read(placed)?;
        Ok(holds(&bytes, structure).then(|| (application.clone(), module.clone())))
    };
    let found: Vec<Option<(String, String)>> =
        candidates.par_iter().map(holds).collect::<Result<_, CompareError>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn holds(bytes: &[u8], structure: &str) -> bool {
    let Ok(info) = beam_file::info(bytes) else { return false };
    if facts::process(&info).is_none_or(|process| process == ProcessKind::Supervisor) {
        return false;
    }
    let Ok(file) = BeamFile::parse(bytes) else { return false };
    let named = beam_file::atoms(&file).is_ok_and(|atoms| atoms.iter().any(|atom| atom == structure));
    let defines = info.name == structure;
    let literals = beam_file::literals(&file).unwrap_or_default();
    // A module speaks of itself all the time: of its struct only where it makes or expects one.
    let made = literals.iter().any(|literal| mentions(&literal.term, structure));
    if defines { made } else { named || made }
}

fn mentions(term: &Term, structure: &str) -> bool {
    match term {
        Term::Map(pairs) => {
            term.get("__struct__").and_then(Term::as_atom) == Some(structure)
                || pairs.iter().any(|(key, value)| mentions(key, structure) || mentions(value, structure))
        }
        Term::Tuple(terms) | Term::List(terms) => terms.iter().any(|term| mentions(term, structure)),
        Term::ImproperList(terms, tail) => {
            terms.iter().any(|term| mentions(term, structure)) || mentions(tail, structure)
        }
        _ => false,
    }
}
