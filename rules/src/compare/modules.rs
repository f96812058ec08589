//! Which modules differ, and in what.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use crate::beam_file::supervision::is_other_process;
use crate::beam_file::{self, BeamFile, ModuleInfo};

use super::CompareError;
use super::classes::{Judged, judged, of_runtime};
use super::facts::Facts;
use super::functions::{self, macro_of, split_macros};
use super::pair::{CONSOLIDATED, Pair, Place};
use super::report::{
    ApplicationModules, Change, Class, CodeChange, How, ModuleChange, MovedModule, ProcessKind, StructChange,
};
use super::supervisors::supervisors;
use super::walk::Difference;

/// What was found out about modules.
pub(super) struct Modules {
    pub(super) applications: Vec<ApplicationModules>,
    pub(super) moved: Vec<MovedModule>,
    /// All that differ, those of applications that only one side has included, with what they say about themselves.
    pub(super) all: Vec<One>,
}

/// A module that differs.
pub(super) struct One {
    pub(super) application: String,
    pub(super) module: String,
    pub(super) change: Change,
    pub(super) old: Option<ModuleInfo>,
    pub(super) new: Option<ModuleInfo>,
    pub(super) detail: Option<ModuleChange>,
}

pub(super) fn modules(pair: &Pair<'_>) -> Result<Modules, CompareError> {
    let look = |one: &Difference| -> Option<Result<One, CompareError>> {
        let Place::Module { application, module } = pair.place(&one.path) else { return None };
        Some(look(pair, one, application, module))
    };
    let all: Vec<One> = pair.differences.par_iter().filter_map(look).collect::<Result<_, _>>()?;
    let mut applications: BTreeMap<&str, ApplicationModules> = BTreeMap::new();
    for one in all.iter().filter(|one| pair.both_have(&one.application)) {
        let entry = applications.entry(&one.application).or_insert_with(|| ApplicationModules {
            application: one.application.clone(),
            ..ApplicationModules::default()
        });
        match (one.change, &one.detail) {
            (Change::Added, _) => entry.added.push(one.module.clone()),
            (Change::Removed, _) => entry.removed.push(one.module.clone()),
            (Change::Changed, Some(detail)) => entry.changed.push(detail.clone()),
            (Change::Changed, None) => {}
        }
    }
    let applications = applications.into_values().collect();
    Ok(Modules { applications, moved: moved(pair, &all)?, all })
}

fn look(pair: &Pair<'_>, one: &Difference, application: &str, module: &str) -> Result<One, CompareError> {
    let (old, new) = pair.read_both(one)?;
    let mut found = One {
        application: application.to_owned(),
        module: module.to_owned(),
        change: one.change(),
        old: None,
        new: None,
        detail: None,
    };
    if found.change == Change::Changed {
        let how = how(&old, &new);
        let (supervision, restart) = match how {
            How::Code => supervisors(pair, module, &old, &new),
            _ => (Vec::new(), None),
        };
        let other = how == How::Code && is_other_process(&old, &new);
        let other = other.then(|| judged(Class::RestartApplication, "it is another kind of process"));
        let restart = restart.or(other);
        let (old, new) = (Facts::of(&old), Facts::of(&new));
        let mut detail = compare(module, how, &old, &new);
        detail.supervision = supervision;
        let mut judged = class(pair, application, &detail, [&old, &new]);
        if let Some(restart) = restart.filter(|restart| restart.class > judged.class) {
            judged = restart;
        }
        (detail.class, detail.reason) = (judged.class, judged.reason);
        found.detail = Some(detail);
        (found.old, found.new) = (old.info, new.info);
    } else {
        let info = |bytes: &[u8]| beam_file::info(bytes).ok();
        (found.old, found.new) = (info(&old), info(&new));
    }
    Ok(found)
}

/// In what two modules differ that are not equal byte by byte. One that cannot be read counts as other code.
pub fn how(old: &[u8], new: &[u8]) -> How {
    let running = |bytes| beam_file::running_digest(bytes).ok();
    let lines = |bytes| BeamFile::parse(bytes).ok()?.chunk("Line").map(<[u8]>::to_vec);
    match (running(old), running(new)) {
        (Some(one), Some(other)) if one == other => {
            if lines(old) == lines(new) {
                How::OnlyDebug
            } else {
                How::OnlyLines
            }
        }
        _ => How::Code,
    }
}

fn compare(module: &str, how: How, old: &Facts, new: &Facts) -> ModuleChange {
    let mut functions = match (&old.functions, &new.functions) {
        (Some(old), Some(new)) if how == How::Code => functions::compare(old, new),
        _ => functions::Changed::default(),
    };
    // What a struct is has a place of its own.
    if old.structure.is_some() || new.structure.is_some() {
        for list in [&mut functions.added, &mut functions.removed, &mut functions.changed] {
            list.retain(|function| function.name != "__struct__");
        }
    }
    let (functions_added, mut macros_added) = split_macros(functions.added);
    let (functions_removed, mut macros_removed) = split_macros(functions.removed);
    let (functions_changed, macros_changed) = split_macros(functions.changed);
    let (exports_added, exports_removed) = difference(old, new, |info| &info.exports);
    // Macros of a module whose code cannot be read are still seen among its exports.
    let exported = |list: &[beam_file::Function], macros: &mut Vec<beam_file::Function>| {
        macros.extend(list.iter().filter_map(macro_of));
        macros.sort();
        macros.dedup();
    };
    exported(&exports_added, &mut macros_added);
    exported(&exports_removed, &mut macros_removed);
    let (behaviours_added, behaviours_removed) = difference(old, new, |info| &info.behaviours);
    let info = new.info.as_ref().or(old.info.as_ref());
    ModuleChange {
        module: module.to_owned(),
        how,
        protocol: info.is_some_and(|info| info.protocol),
        exports_added: split_macros(exports_added).0,
        exports_removed: split_macros(exports_removed).0,
        functions_added,
        functions_removed,
        functions_changed,
        macros_added,
        macros_removed,
        macros_changed,
        behaviours_added,
        behaviours_removed,
        structure: (old.structure != new.structure)
            .then(|| StructChange { old: old.structure.clone(), new: new.structure.clone() }),
        process: new.process.or(old.process),
        old_vsn: old.info.as_ref().and_then(|info| info.vsn.clone()),
        new_vsn: new.info.as_ref().and_then(|info| info.vsn.clone()),
        old_code_change: old.code_change,
        new_code_change: new.code_change,
        ..ModuleChange::default()
    }
}

fn difference<T: Clone + Ord>(
    old: &Facts,
    new: &Facts,
    set: fn(&ModuleInfo) -> &BTreeSet<T>,
) -> (Vec<T>, Vec<T>) {
    let (Some(old), Some(new)) = (&old.info, &new.info) else { return (Vec::new(), Vec::new()) };
    let only = |one, other| set(one).difference(set(other)).cloned().collect();
    (only(new, old), only(old, new))
}

/// What a changed module takes.
fn class(pair: &Pair<'_>, application: &str, module: &ModuleChange, [old, new]: [&Facts; 2]) -> Judged {
    if module.how != How::Code {
        return judged(Class::Hot, "it runs the same");
    }
    if application == CONSOLIDATED || pair.is_protocols(application) {
        return consolidated(pair);
    }
    if let Some(owner) = of_runtime(application) {
        return judged(
            Class::RestartVm,
            format!("it belongs to {owner}, which the virtual machine starts with"),
        );
    }
    if old.loads_native || new.loads_native {
        let reason =
            "it loads a native library, which is surely loaded anew only when its application is restarted";
        return judged(Class::RestartApplication, reason);
    }
    if moved_state(module) {
        return if module.new_code_change == CodeChange::Real {
            judged(Class::Hot, "code_change brings the state along")
        } else {
            let reason = format!(
                "the version of its state moved from {} to {}, and no code_change brings the state along",
                vsn(&module.old_vsn),
                vsn(&module.new_vsn)
            );
            judged(Class::RestartApplication, reason)
        };
    }
    match module.process {
        Some(ProcessKind::Supervisor) => {
            judged(Class::Hot, "the supervisor takes the new specifications of its children")
        }
        Some(_) => judged(Class::Hot, "its processes keep their state"),
        None if is_application(new.info.as_ref()) && starts_differently(module) => judged(
            Class::Hot,
            "it is loaded; start/2 does not run again, its children are started and stopped",
        ),
        None => judged(Class::Hot, "it is loaded"),
    }
}

pub(super) fn consolidated(pair: &Pair<'_>) -> Judged {
    if pair.protocols_go_hot() {
        judged(Class::Hot, "the consolidated protocol is loaded")
    } else {
        let reason =
            "consolidated protocols are replaced in a running system only where both releases are relgraph's";
        judged(Class::RestartVm, reason)
    }
}

fn is_application(info: Option<&ModuleInfo>) -> bool {
    info.is_some_and(|info| {
        info.behaviours.iter().any(|name| name == "application" || name == "Elixir.Application")
    })
}

fn starts_differently(module: &ModuleChange) -> bool {
    module.functions_changed.iter().any(|function| function.name == "start" && function.arity == 2)
}

/// Whether the version of a state that processes hold moved.
pub(super) fn moved_state(module: &ModuleChange) -> bool {
    let holds = module.process.is_some_and(|process| process != ProcessKind::Supervisor);
    holds && module.how == How::Code && module.old_vsn != module.new_vsn
}

pub(super) fn vsn(vsn: &Option<String>) -> &str {
    vsn.as_deref().unwrap_or("none")
}

/// Modules that one application lost and another one got.
fn moved(pair: &Pair<'_>, all: &[One]) -> Result<Vec<MovedModule>, CompareError> {
    let of = |change: Change| {
        let wanted = move |one: &&One| {
            one.change == change && one.application != CONSOLIDATED && !pair.is_protocols(&one.application)
        };
        all.iter().filter(wanted).map(|one| (one.module.as_str(), one)).collect::<BTreeMap<&str, &One>>()
    };
    let (removed, added) = (of(Change::Removed), of(Change::Added));
    let mut found = Vec::new();
    for (module, from) in removed {
        let Some(to) = added.get(module) else { continue };
        let path = |one: &One| format!("lib/{}-VSN/ebin/{module}.beam", one.application);
        let old = pair.at(&path(from)).map_or(Ok(Vec::new()), |one| pair.read(one.old.as_ref(), false))?;
        let new = pair.at(&path(to)).map_or(Ok(Vec::new()), |one| pair.read(one.new.as_ref(), true))?;
        let changed = old != new && how(&old, &new) == How::Code;
        let runtime = of_runtime(&from.application).or(of_runtime(&to.application));
        let judged = match runtime {
            Some(owner) => judged(Class::RestartVm, format!("it belongs to {owner}")),
            None => {
                judged(Class::Hot, "one application gives it up and the other one takes it in one upgrade")
            }
        };
        found.push(MovedModule {
            module: module.to_owned(),
            from: from.application.clone(),
            to: to.application.clone(),
            changed,
            class: judged.class,
            reason: judged.reason,
        });
    }
    Ok(found)
}
