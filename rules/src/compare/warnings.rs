//! What a person should look at before going to the new release.

use super::applications::Known;
use super::classes::of_runtime;
use super::modules::{moved_state, vsn};
use super::pair::Pair;
use super::report::{
    ApplicationChange, Applications, Class, CodeChange, How, ModuleChange, ProcessKind, Warning, WarningKind,
};
use super::{CompareError, holders, shown};

pub(super) fn warnings(
    pair: &Pair<'_>,
    known: &Known<'_>,
    applications: &Applications,
) -> Result<Vec<Warning>, CompareError> {
    let mut found = Vec::new();
    for one in &known.modules.all {
        if let Some(detail) = &one.detail
            && of_runtime(&one.application).is_none()
            && pair.both_have(&one.application)
        {
            found.extend(of_state(&one.application, detail));
        }
    }
    found.extend(holders::warnings(pair, known.modules)?);
    let (old, new) = (&pair.old.release, &pair.new.release);
    if old.version == new.version && old.name == new.name && !pair.differences.is_empty() {
        found.push(warning(
            WarningKind::SameVersion,
            None,
            None,
            format!("both releases are version {} and differ", new.version),
            "give the new release another version".to_owned(),
        ));
    }
    found.extend(applications.changed.iter().flat_map(|change| of_application(pair, change)));
    for moved in &known.modules.moved {
        found.push(warning(
            WarningKind::MovedModule,
            Some(&moved.to),
            Some(&moved.module),
            format!("{} moved from {} to {}", shown(&moved.module), moved.from, moved.to),
            "take both applications into one upgrade, and delete the module in the one before it is added in the other"
                .to_owned(),
        ));
    }
    found.sort();
    Ok(found)
}

pub(super) fn warning(
    kind: WarningKind,
    application: Option<&str>,
    module: Option<&str>,
    text: String,
    advice: String,
) -> Warning {
    Warning {
        kind,
        application: application.map(str::to_owned),
        module: module.map(str::to_owned),
        text,
        advice,
    }
}

/// Whether the `code_change` of a module came or changed between the releases.
pub(super) fn migration_moved(module: &ModuleChange) -> bool {
    let touched = module.functions_added.iter().chain(&module.functions_changed);
    module.new_code_change == CodeChange::Real
        && touched
            .into_iter()
            .any(|function| matches!(function.name.as_str(), "code_change" | "system_code_change"))
}

fn of_state(application: &str, module: &ModuleChange) -> Option<Warning> {
    let holds = module.process.is_some_and(|process| process != ProcessKind::Supervisor);
    if !holds || module.how != How::Code {
        return None;
    }
    let name = shown(&module.module);
    let (old, new) = (vsn(&module.old_vsn), vsn(&module.new_vsn));
    let (kind, text, advice) = match (moved_state(module), module.new_code_change) {
        (true, CodeChange::Real) if !migration_moved(module) => (
            WarningKind::VersionWithoutMigration,
            format!(
                "the state of {name} moved from version {old} to {new}, and its code_change is that of before"
            ),
            format!("see that code_change knows version {old}"),
        ),
        (true, CodeChange::Real) => return None,
        (true, _) => (
            WarningKind::VersionWithoutMigration,
            format!(
                "the state of {name} moved from version {old} to {new}, and no code_change brings it along"
            ),
            format!("write a code_change in {name} that makes the new state of one of version {old}"),
        ),
        (false, CodeChange::Real) if migration_moved(module) => (
            WarningKind::MigrationWithoutVersion,
            format!("{name} has a new code_change, and the version of its state did not move (it is {new})"),
            format!(
                "give {name} another version (@vsn, -vsn), so that code_change can tell old states from new ones"
            ),
        ),
        (false, _) => return None,
    };
    Some(warning(kind, Some(application), Some(&module.module), text, advice))
}

fn of_application(pair: &Pair<'_>, change: &ApplicationChange) -> Vec<Warning> {
    let mut found = Vec::new();
    let name = &change.name;
    if change.old_version == change.new_version && change.class == Class::Cold {
        found.push(warning(
            WarningKind::SameVersion,
            Some(name),
            None,
            format!("{name} differs and is still version {}", change.new_version),
            format!(
                "give {name} another version: the release handler changes applications by their versions"
            ),
        ));
    }
    if change.of_runtime || is_own(pair, change) || change.old_version == change.new_version {
        return found;
    }
    let (old, new) = (&change.old_version, &change.new_version);
    if let (Some(one), Some(other)) = (breaking(old), breaking(new))
        && one != other
    {
        found.push(warning(
            WarningKind::MajorVersion,
            Some(name),
            None,
            format!("{name} moved from {old} to {new}"),
            format!("read what {name} says about {new}: such a step may change what it does and the states it holds"),
        ));
    }
    if change.appup == Some(false) {
        found.push(warning(
            WarningKind::NoAppup,
            Some(name),
            None,
            format!("{name} moved from {old} to {new} and brings no appup for {old}"),
            format!("look at the appup that is made for {name}: those who wrote it did not say how to change it while it runs"),
        ));
    }
    found
}

/// Whether an application is the project's own, as far as a release tells: it is named like the release, or has its version.
fn is_own(pair: &Pair<'_>, change: &ApplicationChange) -> bool {
    let release = &pair.new.release;
    change.name == release.name
        || change.name.strip_prefix(&release.name).is_some_and(|rest| rest.starts_with('_'))
        || (change.new_version == release.version && change.old_version == pair.old.release.version)
}

/// The part of a version that moves when something breaks: the first number, or the second one below 1.0.
fn breaking(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u64>);
    let major = numbers.next()?.ok()?;
    if major > 0 {
        return Some((major, 0));
    }
    Some((0, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_steps_break() {
        assert_eq!(breaking("1.2.3"), breaking("1.9.0-rc.1"));
        assert_ne!(breaking("1.2.3"), breaking("2.0.0"));
        assert_ne!(breaking("0.1.3"), breaking("0.2.0"));
        assert_eq!(breaking("0.1.3"), breaking("0.1.4"));
        assert_eq!(breaking("git"), None);
    }
}
