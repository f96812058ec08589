//! Libraries and programs of the machine that differ.

use rayon::prelude::*;

use crate::native::{Format, Libc, NativeFile, looks_native};

use super::CompareError;
use super::applications::owner;
use super::classes::{Judged, judged, of_runtime};
use super::files::role;
use super::pair::Pair;
use super::report::{Change, Class, FileRole, NativeChange, NativeParts};
use super::side::{Placed, Side};
use super::walk::Difference;

pub(super) fn native(pair: &Pair<'_>) -> Result<Vec<NativeChange>, CompareError> {
    let found: Vec<Option<NativeChange>> = pair
        .differences
        .par_iter()
        .filter(|one| may_be_native(&one.path))
        .map(|one| look(pair, one))
        .collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// What the name alone tells.
fn may_be_native(path: &str) -> bool {
    const TEXTS: [&str; 12] = [
        ".beam", ".app", ".appup", ".hrl", ".erl", ".ex", ".exs", ".config", ".script", ".boot", ".rel",
        ".args",
    ];
    let inside = matches!(role(path), FileRole::Application | FileRole::Other | FileRole::Script);
    inside && !TEXTS.iter().any(|ending| path.ends_with(ending))
}

fn look(pair: &Pair<'_>, one: &Difference) -> Result<Option<NativeChange>, CompareError> {
    let old = read(pair.old.side, one.old.as_ref())?;
    let new = read(pair.new.side, one.new.as_ref())?;
    if old.is_none() && new.is_none() {
        return Ok(None);
    }
    // What the virtual machine starts with is not stopped for it.
    let stops = owner(pair, &one.path).is_some_and(|application| of_runtime(application).is_none());
    let judged = class(one.change(), old.as_ref(), new.as_ref(), stops);
    let needed = |one: &Option<NativeFile>, other: &Option<NativeFile>| {
        let Some(one) = one else { return Vec::new() };
        let had = other.as_ref().map(|other| &other.needed);
        one.needed.iter().filter(|name| had.is_none_or(|had| !had.contains(*name))).cloned().collect()
    };
    Ok(Some(NativeChange {
        path: one.path.clone(),
        application: owner(pair, &one.path).map(str::to_owned),
        change: one.change(),
        needed_added: needed(&new, &old),
        needed_removed: needed(&old, &new),
        old: old.as_ref().map(parts),
        new: new.as_ref().map(parts),
        class: judged.class,
        reason: judged.reason,
    }))
}

pub(super) fn read(side: &Side<'_>, file: Option<&Placed>) -> Result<Option<NativeFile>, CompareError> {
    let Some(file) = file.filter(|file| file.is_file() && file.size() >= 4) else { return Ok(None) };
    let bytes = side.read(file)?;
    Ok(if looks_native(&bytes[..bytes.len().min(4)]) { NativeFile::read(&bytes) } else { None })
}

fn parts(file: &NativeFile) -> NativeParts {
    let format = match file.format {
        Format::Elf => "elf",
        Format::MachO => "macho",
        Format::Pe => "pe",
    };
    let libc = file.libc.map(|libc| match libc {
        Libc::Gnu => "gnu",
        Libc::Musl => "musl",
    });
    NativeParts {
        format: format.to_owned(),
        architectures: file.architectures.iter().cloned().collect(),
        shared: file.shared,
        libc: libc.map(str::to_owned),
        glibc: file.glibc.map(|version| version.to_string()),
    }
}

fn class(change: Change, old: Option<&NativeFile>, new: Option<&NativeFile>, stops: bool) -> Judged {
    match (change, old, new) {
        (_, Some(old), Some(new)) if old.format != new.format || old.architectures != new.architectures => {
            judged(Class::Cold, "it is built for another machine")
        }
        (Change::Changed, Some(old), Some(_)) if old.shared && stops => judged(
            Class::RestartApplication,
            "a library is surely loaded anew only when its modules are, for which the application is restarted",
        ),
        (Change::Changed, Some(old), Some(_)) if old.shared => judged(
            Class::RestartVm,
            "the virtual machine may hold the old library, and whether it takes the new one cannot be seen",
        ),
        (Change::Added, ..) => judged(Class::Hot, "nothing has loaded it yet"),
        (Change::Removed, Some(old), _) if old.shared && stops => judged(
            Class::RestartApplication,
            "its modules are loaded without it, for which the application is restarted",
        ),
        (Change::Removed, ..) => judged(Class::Hot, "who holds it keeps it until the virtual machine ends"),
        _ => judged(Class::Hot, "the new program runs when it is started the next time"),
    }
}
