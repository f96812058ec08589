//! Files that are neither modules nor configuration, and how much an upgrade carries.

use std::collections::BTreeSet;

use rayon::prelude::*;
use relgraph_cache::Digest;

use super::CompareError;
use super::classes::{self, judged};
use super::config::{RUNTIME, is_sys_config};
use super::pair::{CONSOLIDATED, Pair, Place};
use super::report::{ApplicationSize, Change, FileChange, FileRole, NativeChange, Sizes, Upgrade};
use super::side::{Kind, Placed};
use super::walk::Difference;

/// The other files that differ. Modules and configuration have their own places, and so have applications that only one side
/// has.
pub(super) fn files(pair: &Pair<'_>, native: &[NativeChange]) -> Vec<FileChange> {
    let mut files = Vec::new();
    for one in &pair.differences {
        let application = match pair.place(&one.path) {
            Place::Module { .. } => continue,
            Place::Application { application, .. } if !pair.both_have(application) => continue,
            Place::Application { application, .. } => Some(application.to_owned()),
            Place::Release => None,
        };
        if is_sys_config(&one.path) || one.path == RUNTIME {
            continue;
        }
        let role = role(&one.path);
        let native = native.iter().find(|native| native.path == one.path);
        let judged = match native {
            Some(native) => judged(native.class, native.reason.clone()),
            None => classes::file(&one.path, role),
        };
        files.push(FileChange {
            path: one.path.clone(),
            role,
            application,
            change: one.change(),
            old_size: one.old.as_ref().map(Placed::size),
            new_size: one.new.as_ref().map(Placed::size),
            class: judged.class,
            reason: judged.reason,
            waits: judged.waits,
        });
    }
    files
}

pub(super) fn role(path: &str) -> FileRole {
    let parts: Vec<&str> = path.split('/').collect();
    let ends = |endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));
    match parts[..] {
        ["releases", "COOKIE"] => FileRole::Cookie,
        ["releases", "RELEASES" | "start_erl.data"] => FileRole::Boot,
        ["releases", ..] if ends(&[".boot", ".script", ".rel"]) => FileRole::Boot,
        ["releases", "VSN", "relup" | "relgraph_upgrade.beam"] => FileRole::Boot,
        ["releases", "VSN", "libexec" | "hooks" | "commands", ..] => FileRole::Script,
        ["releases", "VSN", _] if ends(&[".sh", ".bat", ".ps1", ".args", ".args.src", "/elixir", "/iex"]) => {
            FileRole::Script
        }
        ["bin", ..] if ends(&[".boot"]) => FileRole::Boot,
        ["bin", ..] => FileRole::Script,
        ["erts-VSN", ..] => FileRole::Erts,
        ["lib", _, "ebin", _] if ends(&[".app", ".appup"]) => FileRole::Resource,
        ["lib", ..] => FileRole::Application,
        _ => FileRole::Other,
    }
}

pub(super) fn sizes(pair: &Pair<'_>) -> Result<Sizes, CompareError> {
    let (old, new) = (&pair.old.applications, &pair.new.applications);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let application = |name: &String| ApplicationSize {
        application: name.clone(),
        old: old.get(name).map(|found| found.sum.bytes),
        new: new.get(name).map(|found| found.sum.bytes),
    };
    Ok(Sizes {
        old: pair.old.total().bytes,
        new: pair.new.total().bytes,
        upgrade: upgrade(pair)?,
        applications: names.into_iter().map(application).collect(),
    })
}

fn upgrade(pair: &Pair<'_>) -> Result<Upgrade, CompareError> {
    let mut upgrade = Upgrade::default();
    for (name, found) in &pair.new.applications {
        let known = pair.old.applications.get(name);
        if known.is_none_or(|known| known.version != found.version) {
            upgrade.package_files += found.sum.files;
            upgrade.package_bytes += found.sum.bytes;
        }
    }
    let mut count = |prefix: &str, moved: bool| -> Result<(), CompareError> {
        if moved && let Some(folder) = pair.new.find(prefix)? {
            let sum = super::walk::Summaries::default().of(pair.new.side, &folder)?;
            upgrade.package_files += sum.files;
            upgrade.package_bytes += sum.bytes;
        }
        Ok(())
    };
    count("releases/VSN", pair.old.release.version != pair.new.release.version)?;
    count("erts-VSN", pair.old.release.erts != pair.new.release.erts)?;
    let had = contents(pair)?;
    let carried = |one: &Difference| -> Result<Option<u64>, CompareError> {
        let Some(new) = &one.new else { return Ok(None) };
        let Kind::File { size, .. } = new.kind else { return Ok(None) };
        let known = had.sizes.contains(&size)
            && pair.new.side.digest(new)?.is_some_and(|digest| had.digests.contains(&digest));
        Ok((!known).then_some(size))
    };
    let carried: Vec<Option<u64>> = pair.differences.par_iter().map(carried).collect::<Result<_, _>>()?;
    for size in carried.into_iter().flatten() {
        upgrade.content_files += 1;
        upgrade.content_bytes += size;
    }
    Ok(upgrade)
}

/// The contents that only the old release has where the releases differ.
struct Contents {
    sizes: BTreeSet<u64>,
    digests: BTreeSet<Digest>,
}

fn contents(pair: &Pair<'_>) -> Result<Contents, CompareError> {
    let wanted: BTreeSet<u64> =
        pair.differences.iter().filter_map(|one| Some(one.new.as_ref()?.size())).collect();
    let old = |one: &Difference| -> Result<Option<Digest>, CompareError> {
        match &one.old {
            Some(old) if old.is_file() && wanted.contains(&old.size()) => pair.old.side.digest(old),
            _ => Ok(None),
        }
    };
    let digests: Vec<Option<Digest>> = pair.differences.par_iter().map(old).collect::<Result<_, _>>()?;
    let digests: BTreeSet<Digest> = digests.into_iter().flatten().collect();
    Ok(Contents { sizes: digests.iter().map(|digest| digest.size).collect(), digests })
}

/// What happened to the runtime system's own files.
pub(super) fn erts_differs(files: &[FileChange]) -> bool {
    files.iter().any(|file| file.role == FileRole::Erts)
}

/// Whether consolidated protocols came, went or changed.
pub(super) fn consolidated(pair: &Pair<'_>, protocol: &str) -> Option<Change> {
    let find = |one: &&Difference| match pair.place(&one.path) {
        Place::Module { application, module } => {
            module == protocol && (application == CONSOLIDATED || pair.is_protocols(application))
        }
        _ => false,
    };
    pair.differences.iter().find(find).map(Difference::change)
}
