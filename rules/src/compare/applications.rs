//! Which applications differ, and what each of them takes.

use std::collections::{BTreeMap, BTreeSet};

use crate::etf::{Term, consult_one};

use super::CompareError;
use super::classes::{Judged, judged, of_runtime};
use super::modules::Modules;
use super::pair::{Pair, Place};
use super::release::Found;
use super::report::{
    Application, ApplicationChange, Applications, Callback, Change, Class, FileChange, How, NativeChange,
    Reason,
};
use super::verdict::reason;

/// What else is known of what differs.
pub(super) struct Known<'a> {
    pub(super) modules: &'a Modules,
    pub(super) files: &'a [FileChange],
    pub(super) native: &'a [NativeChange],
}

/// One application of a release by itself.
pub(super) fn of(name: &str, found: &Found) -> Application {
    Application {
        name: name.to_owned(),
        version: found.version.clone(),
        mode: found.mode.clone(),
        modules: found.sum.modules,
        size: found.sum.bytes,
        ..Application::default()
    }
}

/// The applications that differ, and what they ask for by themselves.
pub(super) fn applications(
    pair: &Pair<'_>,
    known: &Known<'_>,
) -> Result<(Applications, Vec<Reason>), CompareError> {
    let mut applications = Applications::default();
    let mut reasons = Vec::new();
    let touched = touched(pair);
    for (name, old) in &pair.old.applications {
        let Some(new) = pair.new.applications.get(name) else {
            let judged = judged(Class::Hot, "it is stopped and unloaded");
            applications.removed.push(one_sided(name, old, judged));
            continue;
        };
        if old.version != new.version || old.mode != new.mode || touched.contains_key(name.as_str()) {
            let files = touched.get(name.as_str());
            applications.changed.push(change(pair, known, name, [old, new], files, &mut reasons)?);
        } else {
            applications.unchanged += 1;
        }
    }
    for (name, new) in &pair.new.applications {
        if !pair.old.applications.contains_key(name) {
            let started = new.mode.as_deref().is_some_and(starts);
            let judged =
                judged(Class::Hot, if started { "it is loaded and started" } else { "it is loaded" });
            applications.added.push(one_sided(name, new, judged));
        }
    }
    Ok((applications, reasons))
}

fn one_sided(name: &str, found: &Found, judged: Judged) -> Application {
    Application { class: Some(judged.class), reason: Some(judged.reason), ..of(name, found) }
}

/// Whether applications of this mode are started.
fn starts(mode: &str) -> bool {
    !matches!(mode, "load" | "none")
}

/// Files of applications that differ, by application. An appup says how to change an application and is no part of it.
fn touched<'p>(pair: &'p Pair<'_>) -> BTreeMap<&'p str, Vec<(&'p str, Change)>> {
    let mut touched: BTreeMap<&str, Vec<(&str, Change)>> = BTreeMap::new();
    for one in &pair.differences {
        // By the path, so that the protocols that Distillery puts into an application belong to it.
        let inside = one.path.strip_prefix("lib/").and_then(|path| path.split_once('/'));
        let Some((application, rest)) =
            inside.and_then(|(folder, rest)| Some((folder.strip_suffix("-VSN")?, rest)))
        else {
            continue;
        };
        if pair.both_have(application) && !rest.ends_with(".appup") {
            touched.entry(application).or_default().push((rest, one.change()));
        }
    }
    touched
}

/// The properties of an application on both sides.
struct Resources {
    old: Option<Term>,
    new: Option<Term>,
}

impl Resources {
    fn read(pair: &Pair<'_>, name: &str) -> Result<Resources, CompareError> {
        Ok(Resources { old: pair.old.resource(name)?, new: pair.new.resource(name)? })
    }

    fn both<T>(&self, get: impl Fn(&Term) -> T) -> (Option<T>, Option<T>) {
        (self.old.as_ref().map(&get), self.new.as_ref().map(&get))
    }

    /// Names that only the new one has in a list, and those that only the old one has.
    fn lists(&self, key: &str) -> (Vec<String>, Vec<String>) {
        let (old, new) = self.both(|properties| names(properties, key));
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        (new.difference(&old).cloned().collect(), old.difference(&new).cloned().collect())
    }
}

fn names(properties: &Term, key: &str) -> BTreeSet<String> {
    let list = properties.property(key).and_then(Term::as_list).unwrap_or_default();
    list.iter().filter_map(|name| name.as_atom().map(str::to_owned)).collect()
}

/// `{Module, Arguments}` as text, where the application has a callback module.
fn callback(properties: &Term) -> Option<String> {
    let started = properties.property("mod")?;
    (started.as_list().is_none_or(|list| !list.is_empty())).then(|| started.to_string())
}

fn change(
    pair: &Pair<'_>,
    known: &Known<'_>,
    name: &str,
    [old, new]: [&Found; 2],
    touched: Option<&Vec<(&str, Change)>>,
    reasons: &mut Vec<Reason>,
) -> Result<ApplicationChange, CompareError> {
    let resources = Resources::read(pair, name)?;
    let (old_callback, new_callback) = resources.both(callback);
    let (old_callback, new_callback) = (old_callback.flatten(), new_callback.flatten());
    let callback =
        (old_callback != new_callback).then_some(Callback { old: old_callback, new: new_callback });
    let (registered_added, registered_removed) = resources.lists("registered");
    let (needs_added, needs_removed) = resources.lists("applications");
    let moved_version = old.version != new.version;
    let mut change = ApplicationChange {
        name: name.to_owned(),
        old_version: old.version.clone(),
        new_version: new.version.clone(),
        old_mode: old.mode.clone(),
        new_mode: new.mode.clone(),
        of_runtime: of_runtime(name).is_some(),
        callback,
        registered_added,
        registered_removed,
        needs_added,
        needs_removed,
        appup: moved_version.then_some(has_appup(pair, name, &old.version)?),
        ..ApplicationChange::default()
    };
    let mut judgements = own(&change, &resources);
    if !moved_version && touched.is_some_and(|files| matters(known, name, files)) {
        judgements.push(judged(
            Class::Cold,
            format!(
                "it differs and is still {}: the release handler sees no change; give it a new version",
                new.version
            ),
        ));
    }
    reasons.extend(
        judgements.iter().map(|judged| reason(judged.class, Some(&change.name), name, &judged.reason)),
    );
    judgements.extend(inside(known, name));
    // The first of the highest class.
    let highest = judgements.iter().map(|judged| judged.class).max().unwrap_or_default();
    let why = judgements.into_iter().find(|judged| judged.class == highest).map(|judged| judged.reason);
    change.class = highest;
    change.reason = why.unwrap_or_else(|| "the release handler changes it in the running system".to_owned());
    Ok(change)
}

/// What its version, mode and resource file say.
fn own(change: &ApplicationChange, resources: &Resources) -> Vec<Judged> {
    let mut judgements = Vec::new();
    if let Some(owner) = of_runtime(&change.name)
        && change.old_version != change.new_version
    {
        let reason = format!("it belongs to {owner}, which the virtual machine starts with");
        judgements.push(judged(Class::RestartVm, reason));
    }
    let restart = |reason: &str| judged(Class::RestartApplication, reason);
    if change.callback.is_some() {
        judgements.push(restart("its callback module or start arguments differ, which count when it starts"));
    }
    for (key, reason) in [
        ("included_applications", "it includes other applications, which it starts itself"),
        ("start_phases", "its start phases differ, which run when it starts"),
    ] {
        let value = |properties: &Term| {
            properties
                .property(key)
                .filter(|term| !matches!(term.to_string().as_str(), "[]" | "undefined"))
                .cloned()
        };
        let (old, new) = resources.both(value);
        if old.flatten() != new.flatten() {
            judgements.push(restart(reason));
        }
    }
    let started = |mode: &Option<String>| mode.as_deref().is_some_and(starts);
    match (started(&change.old_mode), started(&change.new_mode)) {
        (false, true) => judgements.push(restart("it was not started, and is now")),
        (true, false) => judgements.push(restart("it was started, and is not any more")),
        (true, true) if change.old_mode != change.new_mode => {
            judgements.push(restart("what its end means for the system is set when it starts"));
        }
        _ => {}
    }
    judgements
}

/// What its modules and native files say.
fn inside(known: &Known<'_>, name: &str) -> Vec<Judged> {
    let modules = known.modules.all.iter().filter(|one| one.application == name);
    let modules = modules
        .filter_map(|one| one.detail.as_ref())
        .map(|detail| judged(detail.class, format!("{}: {}", super::shown(&detail.module), detail.reason)));
    let native = known.native.iter().filter(|native| native.application.as_deref() == Some(name));
    let native = native.map(|native| judged(native.class, format!("{}: {}", native.path, native.reason)));
    modules.chain(native).filter(|judged| judged.class > Class::Hot).collect()
}

/// Whether anything of it that differs is more than debug data or lines.
fn matters(known: &Known<'_>, name: &str, files: &[(&str, Change)]) -> bool {
    let quiet = |(rest, change): &(&str, Change)| {
        let Some(module) = rest.strip_prefix("ebin/").and_then(|rest| rest.strip_suffix(".beam")) else {
            return false;
        };
        let found = known.modules.all.iter().find(|one| one.application == name && one.module == module);
        *change == Change::Changed
            && found.and_then(|one| one.detail.as_ref()).is_some_and(|detail| detail.how != How::Code)
    };
    !files.iter().all(quiet)
}

/// Whether the new release has an appup of the application that knows the way from a version.
fn has_appup(pair: &Pair<'_>, name: &str, from: &str) -> Result<bool, CompareError> {
    let bytes = pair.new.text(&format!("lib/{name}-VSN/ebin/{name}.appup"))?;
    let Some(Ok(appup)) = bytes.map(|bytes| consult_one(&bytes)) else { return Ok(false) };
    let Some([_, up, ..]) = appup.as_tuple() else { return Ok(false) };
    let knows = |entry: &Term| match entry.as_tuple() {
        // A binary is a regular expression that has to fit all of the version.
        Some([Term::Binary(pattern), ..]) => std::str::from_utf8(pattern)
            .ok()
            .and_then(|pattern| regex_lite::Regex::new(&format!("^(?:{pattern})$")).ok())
            .is_some_and(|pattern| pattern.is_match(from)),
        Some([version, ..]) => version.as_text().as_deref() == Some(from),
        _ => false,
    };
    Ok(up.as_list().unwrap_or_default().iter().any(knows))
}

/// The application that a path belongs to.
pub(super) fn owner<'p>(pair: &Pair<'_>, path: &'p str) -> Option<&'p str> {
    match pair.place(path) {
        Place::Application { application, .. } | Place::Module { application, .. } => Some(application),
        Place::Release => None,
    }
}
