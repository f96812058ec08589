//! The step `upgrade`: appups, the relup, and the tree of the package.

use std::collections::{BTreeMap, BTreeSet};

use relgraph_cache::{Digest, TreeBuilder};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use super::appup::{Appup, Origin};
use super::package;
use super::plan::{Plan, Way, plan};
use super::released::Released;
use super::scope::{Purge, Rules};
use super::script::{self, Direction};
use super::summary::{ApplicationSummary, FACTS, NoteSummary, Summary, WaySummary};
use super::{Refusal, UpgradeError};
use crate::etf::{Term, consult_one};
use crate::layout::Layout;
use crate::steps::assemble::conflict;
use crate::steps::driver::UPGRADE_OUTPUT;
use crate::terms::Value;
use crate::vm::{Common, DRIVER, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "upgrade", version: 2 };
/// The name of this step.
pub const STEP: &str = "upgrade";

/// Makes what moves nodes from any of some old releases to a new one.
pub struct Upgrade {
    /// What it shares with the others.
    pub common: Common,
    /// The trees of the old releases.
    pub olds: Vec<Digest>,
    /// That of the new one.
    pub new: Digest,
    /// What the user says about it.
    pub rules: Rules,
}

impl From<UpgradeError> for StepError {
    fn from(error: UpgradeError) -> Self {
        match error {
            UpgradeError::Store(error) => error.into(),
            UpgradeError::Refused { ref reasons, .. } => {
                let lines: Vec<String> = reasons.iter().map(|reason| format!("  {}", reason.what)).collect();
                let mut hints: Vec<&str> = reasons.iter().map(|reason| reason.hint.as_str()).collect();
                hints.dedup();
                StepError::input(format!("{error}:\n{}", lines.join("\n"))).with_hint(hints.join("\n"))
            }
            UpgradeError::Unreadable { .. } => StepError::input(error.to_string()),
        }
    }
}

impl Upgrade {
    /// The releases, the ways, and what the user could know before the relup is made.
    fn plans<'s>(&self, cx: &StepContext<'s>) -> Result<Planned<'s>, StepError> {
        let new = Released::open(cx.store, self.new)?;
        let olds: Vec<Released<'s>> =
            self.olds.iter().map(|tree| Released::open(cx.store, *tree)).collect::<Result<_, _>>()?;
        let mut plans: Vec<Plan> =
            olds.iter().map(|old| plan(old, &new, &self.rules)).collect::<Result<_, _>>()?;
        if plans.len() > 1 {
            plans.iter_mut().for_each(|plan| super::order::within_applications(&mut plan.applications));
        }
        Ok(Planned { olds, new, plans })
    }

    /// Lays out what systools reads, and has it make the relup.
    fn relup(
        &self,
        cx: &StepContext<'_>,
        planned: &Planned<'_>,
        appups: &package::Made,
    ) -> Result<Term, StepError> {
        let mut vm = Vm::new(cx, &self.common)?;
        let layout = Layout::new(std::path::Path::new("/upgrade"), 0, &|_| false);
        vm.write(&format!("{}/.keep", layout.project()), b"")?;
        let mut names = Vec::new();
        let mut paths = BTreeSet::new();
        for (index, release) in planned.olds.iter().chain([&planned.new]).enumerate() {
            let name = format!("releases/{index}/{}", release.name);
            let rel = release.file(&release.rel_path())?.unwrap_or_default();
            vm.write(&format!("{name}.rel"), &rel)?;
            names.push(vm.inside(&name));
            for application in &release.applications {
                let ebin = format!("{}/ebin", application.folder);
                let resource = format!("{ebin}/{}.app", application.name);
                vm.write(&resource, &release.file(&resource)?.unwrap_or_default())?;
                paths.insert(vm.inside(&ebin));
            }
        }
        for (path, bytes) in appups {
            vm.write(path, bytes)?;
        }
        let new = names.pop().unwrap_or_default();
        let pairs = vec![
            ("new", Value::text(new)),
            ("old", Value::texts(names)),
            ("paths", Value::texts(paths)),
            ("out", Value::text(vm.inside("relup"))),
        ];
        let said = vm.request("relup", &layout, pairs)?;
        let expected = planned.plans.iter().any(|plan| plan.way == Way::RestartVm);
        let warnings: Vec<&str> = said.answer["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|text| text.as_str())
            .collect();
        if !warnings.is_empty() && !expected {
            return Err(StepError::internal(format!("systools warns: {}", warnings.join("; "))));
        }
        let path = vm.real("relup");
        let bytes = std::fs::read(&path).map_err(|e| StepError::io("read", &path, &e))?;
        consult_one(&bytes).map_err(|e| StepError::internal(format!("the relup cannot be read: {e}")))
    }
}

struct Planned<'s> {
    olds: Vec<Released<'s>>,
    new: Released<'s>,
    plans: Vec<Plan>,
}

impl Planned<'_> {
    /// The appups of the new release that it has not itself: their paths and texts.
    fn appups(&self, rules: &Rules) -> package::Made {
        let mut ways: BTreeMap<&str, Vec<(String, Appup)>> = BTreeMap::new();
        for plan in &self.plans {
            for application in &plan.applications {
                if let (Some(old), Some(appup)) = (&application.old_version, &application.appup) {
                    let ways = ways.entry(&application.name).or_default();
                    if ways.iter().all(|(known, _)| known != old) {
                        ways.push((old.clone(), appup.clone()));
                    }
                }
            }
        }
        let protocols = self.new.protocols_name();
        if self.new.application(&protocols).is_some() {
            let empty = || Appup { origin: Origin::Generated, up: Vec::new(), down: Vec::new() };
            let with = self.olds.iter().filter(|old| old.application(&protocols).is_some());
            ways.insert(&protocols, with.map(|old| (old.version.clone(), empty())).collect());
        }
        let mut made = Vec::new();
        for (name, ways) in ways {
            let Some(application) = self.new.application(name) else { continue };
            let term = Appup::file(&application.version, &ways, rules);
            let path = format!("{}/ebin/{name}.appup", application.folder);
            made.push((path, format!("%% coding: utf-8\n{term}.\n").into_bytes()));
        }
        made
    }

    /// Completes the scripts of the relup, and checks them.
    fn complete(&self, relup: &Term, purge: Purge) -> Result<Term, StepError> {
        let Some([version, ups, downs]) = relup.as_tuple() else {
            return Err(StepError::internal("systools made something that is no relup"));
        };
        let mut wrong = Vec::new();
        let mut side = |entries: &Term, direction: Direction| -> Result<Term, StepError> {
            let mut all = Vec::new();
            for entry in entries.as_list().unwrap_or_default() {
                let found = entry.as_tuple().and_then(|parts| match parts {
                    [other, description, script] => Some((other.as_text()?, description, script)),
                    _ => None,
                });
                let found = found.and_then(|(other, description, script)| {
                    let at = self.olds.iter().position(|old| old.version == other)?;
                    Some((at, description, script))
                });
                let Some((at, description, script)) = found else {
                    return Err(StepError::internal("the relup is about a release that was not asked for"));
                };
                let (plan, old) = (&self.plans[at], &self.olds[at]);
                let (from, to) = match direction {
                    Direction::Up => (old, &self.new),
                    Direction::Down => (&self.new, old),
                };
                let script =
                    script::complete(script.as_list().unwrap_or_default(), plan, from, to, direction, purge);
                for what in script::check(&script, plan, from, to, direction) {
                    wrong.push(Refusal {
                        what: format!("{} -> {}: {what}", from.version, to.version),
                        hint: "an appup of the project or of a dependency is not complete: add the instruction, or \
                               take the appup away so that one is made"
                            .to_owned(),
                    });
                }
                let parts = vec![
                    entry.as_tuple().unwrap_or_default()[0].clone(),
                    description.clone(),
                    Term::list(script),
                ];
                all.push(Term::Tuple(parts));
            }
            Ok(Term::list(all))
        };
        let (up, down) = (side(ups, Direction::Up)?, side(downs, Direction::Down)?);
        if wrong.is_empty() {
            return Ok(Term::Tuple(vec![version.clone(), up, down]));
        }
        let old = self.olds.first().map(|old| old.version.clone()).unwrap_or_default();
        Err(UpgradeError::Refused { old, new: self.new.version.clone(), reasons: wrong }.into())
    }

    fn summary(&self, relup: &Term, rules: &Rules) -> Summary {
        let script = |version: &str| {
            let entries = relup.as_tuple().and_then(|parts| parts.get(1)?.as_list()).unwrap_or_default();
            let of = |entry: &&Term| {
                entry
                    .as_tuple()
                    .and_then(|parts| parts.first()?.as_text())
                    .is_some_and(|text| text == version)
            };
            let found = entries.iter().find(of).and_then(|entry| entry.as_tuple()?.get(2)?.as_list());
            found.map_or(0, <[Term]>::len)
        };
        let ways = self.plans.iter().map(|plan| {
            let applications = plan.applications.iter().map(|application| {
                let texts = |side: fn(&Appup) -> &Vec<super::Instruction>| -> Vec<String> {
                    let all = application.appup.iter().flat_map(side);
                    all.map(|one| one.term(rules.purge, rules.timeout).to_string()).collect()
                };
                ApplicationSummary {
                    name: application.name.clone(),
                    old_version: application.old_version.clone(),
                    new_version: application.new_version.clone(),
                    appup: application.appup.as_ref().map(|appup| match &appup.origin {
                        Origin::Application => "application".to_owned(),
                        Origin::Project(file) => file.clone(),
                        Origin::Generated => "generated".to_owned(),
                    }),
                    steps: application
                        .appup
                        .iter()
                        .flat_map(|appup| &appup.up)
                        .map(super::Instruction::text)
                        .collect(),
                    up: texts(|appup| &appup.up),
                    down: texts(|appup| &appup.down),
                }
            });
            WaySummary {
                from: plan.old_version.clone(),
                way: plan.way.word().to_owned(),
                applications: applications.collect(),
                protocols: plan.protocols_up.iter().cloned().collect(),
                notes: plan.notes.iter().map(NoteSummary::from).collect(),
                instructions: script(&plan.old_version),
            }
        });
        Summary {
            name: self.new.name.clone(),
            version: self.new.version.clone(),
            ways: ways.collect(),
            is_relx: self.new.entries().contains_key("bin/install_upgrade.escript"),
        }
    }
}

impl Action for Upgrade {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        for (index, old) in self.olds.iter().enumerate() {
            parts.digest(format!("old release {index}"), old);
        }
        parts.digest("new release", &self.new);
        self.rules.parts(&mut parts);
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let planned = self.plans(cx)?;
        let mut made = planned.appups(&self.rules);
        let relup = self.relup(cx, &planned, &made)?;
        let relup = planned.complete(&relup, self.rules.purge)?;
        let folder = format!("releases/{}", planned.new.version);
        let text = format!("%% coding: utf-8\n{relup}.\n");
        made.push((format!("{folder}/relup"), text.into_bytes()));
        // Those of this relgraph take the place of those that the new release was built with: they know this relup.
        for (name, node) in cx.store.walk(&cx.need(DRIVER)?.output(UPGRADE_OUTPUT)?)? {
            if let relgraph_cache::Node::File { digest, .. } = node {
                made.push((format!("{folder}/{name}"), cx.store.read(&digest)?));
            }
        }
        let olds: Vec<&Released<'_>> = planned.olds.iter().collect();
        let tree = package::tree(cx.store, &olds, &planned.new, &made)?;
        let summary = serde_json::to_vec(&planned.summary(&relup, &self.rules))
            .map_err(|e| StepError::internal(format!("the facts of the upgrade cannot be written: {e}")))?;
        let mut facts = TreeBuilder::new();
        facts.file(FACTS, cx.store.put_bytes(&summary)?, false).map_err(conflict)?;
        let outputs =
            BTreeMap::from([("upgrade".to_owned(), tree), ("facts".to_owned(), facts.finish(cx.store)?)]);
        Ok(Ran { outputs, ..Ran::default() })
    }
}

impl Rules {
    /// What of it goes into a key.
    pub(super) fn parts(&self, parts: &mut KeyParts) {
        parts.text("purge", self.purge.word());
        parts.text("timeout", self.timeout.map_or_else(|| "default".to_owned(), |ms| ms.to_string()));
        for (name, rules) in &self.applications {
            for given in &rules.appups {
                parts.digest(format!("{} of {name}", given.file), &Digest::of(&given.text));
            }
            if rules.restart {
                parts.text(format!("restart {name}"), "yes");
            }
            for (module, rule) in &rules.modules {
                parts.text(format!("module {module} of {name}"), format!("{rule:?}"));
            }
        }
    }
}
