//! The appup of an application that nobody wrote one for.
//!
//! What is done with a module follows from what its processes are: code that no process waits in is replaced, processes
//! with a state are suspended meanwhile, `code_change` is called where somebody wrote one, supervisors read their
//! specifications again. Where the state of processes would not fit the new code, the application is restarted.

use std::collections::{BTreeMap, BTreeSet};

use super::appup::{Appup, Origin};
use super::children::{Children, children};
use super::facts::{Changed, Difference, Extent, Facts};
use super::instruction::Instruction;
use super::released::{Application, Released};
use super::scope::{ApplicationRules, ModuleRule, Rules};
use super::script::Direction;
use crate::beam_file::supervision::{ProcessKind, is_other_process, process_kinds};
use crate::compare::migrates;

/// What is known beside the application itself.
pub(super) struct Around<'a, 's> {
    pub(super) old: &'a Released<'s>,
    pub(super) new: &'a Released<'s>,
    pub(super) rules: &'a Rules,
    /// Modules that change their application, by name: from where to where.
    pub(super) moved: BTreeMap<String, (String, String)>,
}

impl Around<'_, '_> {
    /// Protocols are replaced by consolidated ones, whatever their application has.
    fn is_consolidated(&self, module: &str) -> bool {
        self.new.consolidated.contains_key(module) && self.old.consolidated.contains_key(module)
    }

    /// Modules that run something else afterwards, or show other lines.
    pub(super) fn loaded(&self, difference: &Difference) -> BTreeSet<String> {
        let changed = difference.changed.iter().filter(|(_, changed)| changed.extent >= Extent::Lines);
        let names = changed.map(|(name, _)| name).chain(difference.added.keys());
        names.filter(|name| !self.new.consolidated.contains_key(*name)).cloned().collect()
    }

    /// Modules that are gone afterwards.
    pub(super) fn deleted(&self, difference: &Difference) -> BTreeSet<String> {
        difference.removed.keys().filter(|name| !self.moved.contains_key(*name)).cloned().collect()
    }
}

/// Kinds of process that keep a state between two messages, and can be told to change it.
const STATEFUL: [ProcessKind; 7] = [
    ProcessKind::GenServer,
    ProcessKind::GenStatem,
    ProcessKind::GenFsm,
    ProcessKind::GenEventHandler,
    ProcessKind::DynamicSupervisor,
    ProcessKind::PartitionSupervisor,
    ProcessKind::Special,
];

fn is(facts: &Facts, kinds: &[ProcessKind]) -> bool {
    let found = process_kinds(&facts.bytes).unwrap_or_default();
    kinds.iter().any(|kind| found.contains(kind))
}

/// Works out the appup.
pub(super) fn generate(
    around: &Around<'_, '_>,
    before: &Application,
    after: &Application,
    difference: &Difference,
    note: &mut dyn FnMut(String),
) -> Appup {
    let none = ApplicationRules::default();
    let rules = around.rules.applications.get(&after.name).unwrap_or(&none);
    let mut reasons = restarts(before, after, difference, rules);
    let supervised = supervised(around, before, after, difference, rules, &mut reasons);
    if !reasons.is_empty() {
        note(format!("is restarted: {}", reasons.join("; ")));
        let restart = vec![Instruction::Restart(after.name.clone())];
        return Appup { origin: Origin::Generated, up: restart.clone(), down: restart };
    }
    supervised.iter().flat_map(|children| &children.notes).for_each(|text| note(text.clone()));
    let up = one_way(around, difference, rules, Direction::Up, &supervised);
    let down = one_way(around, difference, rules, Direction::Down, &supervised);
    Appup { origin: Origin::Generated, up, down }
}

/// What becomes of the children of its supervisors.
fn supervised(
    around: &Around<'_, '_>,
    before: &Application,
    after: &Application,
    difference: &Difference,
    rules: &ApplicationRules,
    reasons: &mut Vec<String>,
) -> Vec<Children> {
    // `{mod, {Module, Arguments}}`
    let callback = after.property("mod").and_then(|pair| pair.as_tuple()?.first()?.as_atom());
    let changed = difference.changed.iter().filter(|(_, changed)| changed.extent == Extent::Code);
    let changed =
        changed.map(|(name, changed)| (name, changed.old.bytes.as_slice(), changed.new.bytes.as_slice()));
    let unchanged = unchanged_supervisors(around, before, after, difference, callback);
    let unchanged = unchanged.iter().map(|(name, bytes)| (name, bytes.as_slice(), bytes.as_slice()));
    let mut all = Vec::new();
    for (name, old, new) in changed.chain(unchanged).filter(|(name, ..)| !rules.modules.contains_key(*name)) {
        let starts_application = callback == Some(name.as_str());
        match children((around.old, around.new), &after.name, name, (old, new), starts_application) {
            Ok(children) => all.push(children),
            Err(reason) => reasons.push(format!("{} {reason}", shown(name))),
        }
    }
    all
}

fn shown(module: &str) -> &str {
    module.strip_prefix("Elixir.").unwrap_or(module)
}

/// Modules with supervisors that run the same as before. What their children are can follow from other modules: a function
/// that lists them, `child_spec/1`.
fn unchanged_supervisors(
    around: &Around<'_, '_>,
    before: &Application,
    after: &Application,
    difference: &Difference,
    callback: Option<&str>,
) -> Vec<(String, Vec<u8>)> {
    if !difference.runs() {
        return Vec::new();
    }
    let is_changed =
        |name: &String| difference.changed.get(name).is_some_and(|changed| changed.extent == Extent::Code);
    let same =
        after.modules.iter().filter(|(name, _)| before.modules.contains_key(*name) && !is_changed(name));
    same.filter_map(|(name, digest)| {
        let bytes = around.new.read_module(digest).ok()?;
        let kinds = process_kinds(&bytes).unwrap_or_default();
        let supervises = callback == Some(name.as_str()) || kinds.contains(&ProcessKind::Supervisor);
        supervises.then(|| (name.clone(), bytes))
    })
    .collect()
}

/// Why the application cannot go on.
fn restarts(
    before: &Application,
    after: &Application,
    difference: &Difference,
    rules: &ApplicationRules,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if rules.restart {
        reasons.push("release.yaml says so".to_owned());
    }
    if before.mode != after.mode {
        reasons.push(format!("it is {} instead of {}", after.mode, before.mode));
    }
    if before.property("mod") != after.property("mod") {
        reasons.push("another module or other arguments start it".to_owned());
    }
    for (key, reason) in [
        ("included_applications", "it includes other applications, which it starts itself"),
        ("start_phases", "its start phases differ, which run when it starts"),
    ] {
        let value = |application: &Application| {
            let said = application.property(key).map(ToString::to_string).unwrap_or_default();
            if said == "undefined" || said == "[]" { String::new() } else { said }
        };
        if value(before) != value(after) {
            reasons.push(reason.to_owned());
        }
    }
    if let Some(native) = difference.native().next() {
        reasons.push(format!(
            "{native} is another, and a library can be replaced only with its module unloaded"
        ));
    }
    for (name, changed) in &difference.changed {
        let shown = shown(name);
        match rules.modules.get(name) {
            Some(ModuleRule::Restart) => reasons.push(format!("release.yaml says so for {shown}")),
            Some(_) => {}
            None => reasons.extend(restart(changed).map(|reason| format!("{shown} {reason}"))),
        }
    }
    reasons
}

fn restart(changed: &Changed) -> Option<String> {
    if changed.extent < Extent::Code {
        return None;
    }
    let (old, new) = (&changed.old, &changed.new);
    if new.info.has_on_load || old.info.has_on_load {
        return Some("runs code when it is loaded (NIFs), which may not work twice".to_owned());
    }
    if old.info.vsn != new.info.vsn && is(new, &STATEFUL) && !migrates(&new.bytes) {
        let version = |facts: &Facts| facts.info.vsn.clone().unwrap_or_else(|| "none".to_owned());
        return Some(format!(
            "has states of another version ({} -> {}) and no code_change that would make one of the other",
            version(old),
            version(new)
        ));
    }
    if is_other_process(&old.bytes, &new.bytes) {
        return Some("is another kind of process".to_owned());
    }
    None
}

fn one_way(
    around: &Around<'_, '_>,
    difference: &Difference,
    rules: &ApplicationRules,
    direction: Direction,
    supervised: &[Children],
) -> Vec<Instruction> {
    let (appear, vanish) = match direction {
        Direction::Up => (&difference.added, &difference.removed),
        Direction::Down => (&difference.removed, &difference.added),
    };
    let left_out = |name: &str| around.is_consolidated(name);
    let changed: Vec<(&String, &Changed)> = difference
        .changed
        .iter()
        .filter(|(name, changed)| changed.extent >= Extent::Lines && !left_out(name))
        .collect();
    let appearing: Vec<(&String, &Facts)> = appear.iter().filter(|(name, _)| !left_out(name)).collect();
    let mut instructions = Vec::new();
    for (name, _) in &appearing {
        // What is named is worked out when the instructions of all applications are known.
        let (module, needs) = ((*name).clone(), Vec::new());
        // The application that loses it says nothing: the module is there before and afterwards.
        instructions.push(match around.moved.contains_key(*name) {
            true => Instruction::Load { module, needs },
            false => Instruction::Add { module, needs },
        });
    }
    for (name, changed) in &changed {
        let facts = match direction {
            Direction::Up => &changed.new,
            Direction::Down => &changed.old,
        };
        instructions.push(replace(name, changed, facts, rules.modules.get(*name)));
    }
    // When the modules of those that start are there, and before those of such that end go.
    for children in supervised {
        let maps = match direction {
            Direction::Up => &children.up,
            Direction::Down => &children.down,
        };
        instructions.extend(maps.iter().cloned().map(Instruction::Children));
    }
    for name in vanish.keys().filter(|name| !around.moved.contains_key(*name)) {
        instructions.push(Instruction::Delete { module: name.clone(), needs: Vec::new() });
    }
    instructions
}

fn replace(name: &str, changed: &Changed, facts: &Facts, rule: Option<&ModuleRule>) -> Instruction {
    let (module, needs) = (name.to_owned(), Vec::new());
    let update = |migrate, supervisor| Instruction::Update {
        module: module.clone(),
        migrate,
        supervisor,
        needs: needs.clone(),
    };
    match rule {
        Some(ModuleRule::Load | ModuleRule::Restart) => return Instruction::Load { module, needs },
        Some(ModuleRule::Suspend) => return update(false, false),
        Some(ModuleRule::Migrate) => return update(true, false),
        None => {}
    }
    if changed.extent < Extent::Code {
        return Instruction::Load { module, needs };
    }
    if is(facts, &[ProcessKind::Supervisor]) {
        return update(true, true);
    }
    if is(facts, &STATEFUL) {
        // Who migrates is the newer of the two, on the way back as well. A dynamic supervisor reads its flags again.
        return update(migrates(&changed.new.bytes) || is(facts, &[ProcessKind::DynamicSupervisor]), false);
    }
    Instruction::Load { module, needs }
}
