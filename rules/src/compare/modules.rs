//! In what two compiled modules of one name differ.

use std::collections::BTreeSet;

use crate::beam_file::{self, BeamFile, ModuleInfo};

use super::report::{How, ModuleChange};

/// Compares two modules that are not equal byte by byte. One that cannot be read counts as other code.
pub(super) fn compare(module: &str, old: &[u8], new: &[u8]) -> ModuleChange {
    let running = |bytes| beam_file::running_digest(bytes).ok();
    let how = match (running(old), running(new)) {
        (Some(one), Some(other)) if one == other => {
            if lines(old) == lines(new) {
                How::OnlyDebug
            } else {
                How::OnlyLines
            }
        }
        _ => How::Code,
    };
    let (old, new) = (beam_file::info(old).ok(), beam_file::info(new).ok());
    let protocol = new.as_ref().or(old.as_ref()).is_some_and(|info| info.protocol);
    let (exports_added, exports_removed) = difference(&old, &new, |info| &info.exports);
    let (behaviours_added, behaviours_removed) = difference(&old, &new, |info| &info.behaviours);
    ModuleChange {
        module: module.to_owned(),
        how,
        protocol,
        exports_added,
        exports_removed,
        behaviours_added,
        behaviours_removed,
        old_vsn: old.and_then(|info| info.vsn),
        new_vsn: new.and_then(|info| info.vsn),
        ..ModuleChange::default()
    }
}

fn lines(bytes: &[u8]) -> Option<Vec<u8>> {
    BeamFile::parse(bytes).ok()?.chunk("Line").map(<[u8]>::to_vec)
}

fn difference<T: Clone + Ord>(
    old: &Option<ModuleInfo>,
    new: &Option<ModuleInfo>,
    set: fn(&ModuleInfo) -> &BTreeSet<T>,
) -> (Vec<T>, Vec<T>) {
    let (Some(old), Some(new)) = (old, new) else { return (Vec::new(), Vec::new()) };
    let only = |one, other| set(one).difference(set(other)).cloned().collect();
    (only(new, old), only(old, new))
}
