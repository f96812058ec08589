//! Protocols of Elixir and their implementations.

use std::collections::{BTreeMap, BTreeSet};

use super::CompareError;
use super::classes::{judged, of_runtime};
use super::files::consolidated;
use super::modules::{self, Modules, One};
use super::pair::{CONSOLIDATED, Pair};
use super::report::{Change, Class, How, ImplementationChange, ProtocolChange};

pub(super) fn protocols(pair: &Pair<'_>, modules: &Modules) -> Result<Vec<ProtocolChange>, CompareError> {
    let mut found: BTreeMap<String, ProtocolChange> = BTreeMap::new();
    let mut loose = BTreeSet::new();
    for one in modules.all.iter().filter(|one| runs_differently(one)) {
        if one.application == CONSOLIDATED || pair.is_protocols(&one.application) {
            loose.insert(one.module.as_str());
            continue;
        }
        let Some(info) = one.new.as_ref().or(one.old.as_ref()) else { continue };
        if info.protocol {
            let entry = entry(&mut found, &one.module);
            entry.change = Some(one.change);
            entry.application = Some(one.application.clone());
        }
        // One module may implement for another type than before under the same name.
        let (old, new) = (
            one.old.as_ref().and_then(|info| info.implements.clone()),
            one.new.as_ref().and_then(|info| info.implements.clone()),
        );
        let mut add = |implemented: crate::beam_file::Implementation, change| {
            entry(&mut found, &implemented.protocol).implementations.push(ImplementationChange {
                target: implemented.target,
                module: one.module.clone(),
                application: one.application.clone(),
                change,
            });
        };
        match (old, new) {
            (Some(old), Some(new)) if old == new => add(new, one.change),
            (old, new) => {
                old.into_iter().for_each(|old| add(old, Change::Removed));
                new.into_iter().for_each(|new| add(new, Change::Added));
            }
        }
    }
    // Where the layouts differ, all consolidated protocols came and went; those with other implementations are listed anyway.
    if pair.old.release.hot_layout == pair.new.release.hot_layout {
        for protocol in loose {
            entry(&mut found, protocol);
        }
    }
    let mut protocols: Vec<ProtocolChange> = found.into_values().collect();
    // Most likely it is one of those that differ.
    let likely: BTreeSet<&str> = modules.all.iter().map(|one| one.application.as_str()).collect();
    for protocol in &mut protocols {
        finish(pair, protocol, &likely)?;
    }
    Ok(protocols)
}

fn entry<'f>(found: &'f mut BTreeMap<String, ProtocolChange>, protocol: &str) -> &'f mut ProtocolChange {
    found
        .entry(protocol.to_owned())
        .or_insert_with(|| ProtocolChange { protocol: protocol.to_owned(), ..ProtocolChange::default() })
}

fn runs_differently(one: &One) -> bool {
    one.detail.as_ref().is_none_or(|detail| detail.how == How::Code)
}

fn finish(
    pair: &Pair<'_>,
    protocol: &mut ProtocolChange,
    likely: &BTreeSet<&str>,
) -> Result<(), CompareError> {
    protocol.implementations.sort();
    protocol.consolidated = consolidated(pair, &protocol.protocol).is_some();
    if protocol.application.is_none() {
        protocol.application = match pair.new.application_of(&protocol.protocol, likely)? {
            Some(application) => Some(application),
            None => pair.old.application_of(&protocol.protocol, likely)?,
        };
    }
    let owner = protocol.application.as_deref().and_then(of_runtime);
    let judged = match owner {
        Some(owner) if protocol.change.is_some() => {
            judged(Class::RestartVm, format!("it belongs to {owner}, which the virtual machine starts with"))
        }
        _ if protocol.consolidated => modules::consolidated(pair),
        _ => judged(Class::Hot, "it is loaded with its application"),
    };
    (protocol.class, protocol.reason) = (judged.class, judged.reason);
    Ok(())
}
