//! What became of the children of supervisors, read from the code of both sides.

use std::collections::BTreeSet;

use super::classes::{Judged, judged};
use super::pair::Pair;
use super::release::Opened;
use super::report::Class;
use crate::beam_file::supervision::{self, Supervision, SupervisionChange};

/// The supervisors that a module starts or is the callback module of, where they differ; and what that takes, where it is more
/// than loading the module.
pub(super) fn supervisors(
    pair: &Pair<'_>,
    module: &str,
    old: &[u8],
    new: &[u8],
) -> (Vec<SupervisionChange>, Option<Judged>) {
    let (before, after) = (read(&pair.old, old), read(&pair.new, new));
    let changes = supervision::compare(module, &before, &after);
    let unreadable = before.iter().chain(&after).any(|one| !is_known(one));
    let judged = unreadable.then(|| {
        let reason = "it starts children that do not follow from its code alone";
        judged(Class::RestartApplication, reason)
    });
    (changes, judged)
}

fn read(side: &Opened<'_>, bytes: &[u8]) -> Vec<Supervision> {
    let module = |name: &str| {
        let application = side.application_of(name, &BTreeSet::new()).ok()??;
        side.text(&format!("lib/{application}-VSN/ebin/{name}.beam")).ok()?
    };
    supervision::supervisions(bytes, &module).unwrap_or_default()
}

/// Whether it is known which children there are.
fn is_known(supervision: &Supervision) -> bool {
    supervision.children.as_ref().is_some_and(|children| children.iter().all(|child| child.id.is_some()))
}
