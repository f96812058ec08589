//! The one verdict about all that differs.

use super::applications::Known;
use super::classes::{judged, of_runtime};
use super::pair::Pair;
use super::report::{
    Applications, BootChange, Class, Config, FileRole, ProtocolChange, Reason, RuntimeChange, Verdict,
};

/// All that the verdict looks at, beside what is known of modules, files and native files.
pub(super) struct Items<'a> {
    pub(super) runtime: &'a [RuntimeChange],
    pub(super) boot: Option<&'a BootChange>,
    pub(super) applications: &'a Applications,
    pub(super) protocols: &'a [ProtocolChange],
    pub(super) config: &'a Config,
    /// What applications are asked for by themselves, and not by what is in them.
    pub(super) own: Vec<Reason>,
}

pub(super) fn verdict(pair: &Pair<'_>, known: &Known<'_>, items: Items<'_>) -> Verdict {
    let mut waiting = Vec::new();
    let mut reasons = releases(pair);
    reasons.extend(items.own);
    for change in items.runtime {
        let part = serde_json::to_value(change.part).ok();
        let part = part.as_ref().and_then(|part| part.as_str()).unwrap_or_default();
        reasons.push(reason(change.class, None, part, &change.reason));
    }
    reasons.extend(items.boot.map(|boot| reason(boot.class, None, "boot order", &boot.reason)));
    for one in items.applications.added.iter().chain(&items.applications.removed) {
        if let (Some(class), Some(why)) = (one.class, &one.reason) {
            reasons.push(reason(class, Some(&one.name), &one.name, why));
        }
    }
    for one in known.modules.all.iter().filter(|one| of_runtime(&one.application).is_none()) {
        if let Some(detail) = &one.detail {
            let module = super::shown(&detail.module);
            reasons.push(reason(detail.class, Some(&one.application), module, &detail.reason));
        }
    }
    for protocol in items.protocols {
        let name = super::shown(&protocol.protocol);
        reasons.push(reason(protocol.class, protocol.application.as_ref(), name, &protocol.reason));
    }
    for native in known.native {
        reasons.push(reason(native.class, native.application.as_ref(), &native.path, &native.reason));
    }
    for key in &items.config.keys {
        let item = format!("{} {}", super::shown(&key.application), key.key.join("."));
        let list = if key.waits { &mut waiting } else { &mut reasons };
        list.push(reason(key.class, Some(&key.application), &item, &key.reason));
    }
    if let (Some(class), Some(why)) = (items.config.runtime_class, &items.config.runtime_reason) {
        let list = if class == Class::RestartVm { &mut waiting } else { &mut reasons };
        list.push(reason(class, None, "runtime.exs", why));
    }
    if let Some(providers) = &items.config.providers {
        let list = if providers.class == Class::RestartVm { &mut waiting } else { &mut reasons };
        list.push(reason(providers.class, None, "configuration providers", &providers.reason));
    }
    for file in known.files.iter().filter(|file| file.role != FileRole::Erts) {
        let list = if file.waits { &mut waiting } else { &mut reasons };
        list.push(reason(file.class, file.application.as_ref(), &file.path, &file.reason));
    }
    let class = reasons.iter().map(|reason| reason.class).max().unwrap_or_default();
    reasons.retain(|reason| reason.class == class && class > Class::Hot);
    for list in [&mut reasons, &mut waiting] {
        list.sort();
        list.dedup();
    }
    Verdict { class, reasons, waiting }
}

pub(super) fn reason(class: Class, application: Option<&String>, item: &str, why: &str) -> Reason {
    Reason { class, application: application.cloned(), item: item.to_owned(), reason: why.to_owned() }
}

/// What the releases themselves say.
fn releases(pair: &Pair<'_>) -> Vec<Reason> {
    let (old, new) = (&pair.old.release, &pair.new.release);
    let mut reasons = Vec::new();
    let mut cold = |why: &str| {
        let judged = judged(Class::Cold, why);
        reasons.push(reason(judged.class, None, "release", &judged.reason));
    };
    if old.name != new.name {
        cold("the releases have different names");
    } else if old.version == new.version && !pair.differences.is_empty() {
        cold("both have the same version: a running system takes only another one");
    }
    let mut own = pair.old.applications.keys().filter(|name| of_runtime(name).is_none()).peekable();
    let any = own.peek().is_some();
    if !pair.differences.is_empty() && (!any || !own.any(|name| pair.new.applications.contains_key(name))) {
        cold("they have no application in common but those of the runtime");
    }
    reasons
}
