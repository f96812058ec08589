//! Applications have those that they need, and none waits for one that is never started.

use std::collections::BTreeSet;

use super::{Finding, Kind, Release};

/// The rule of Mix (`Mix.Release`), and of Distillery for what is included: `systools` looks at neither for Erlang.
pub(super) fn look(release: &Release<'_>) -> Vec<Finding> {
    let applications = &release.applications;
    let included: BTreeSet<&String> =
        applications.values().filter_map(|a| a.spec.as_ref()).flat_map(|spec| &spec.included).collect();
    let mut findings = Vec::new();
    for (name, application) in applications {
        let (Some(mode), Some(spec)) = (&application.mode, &application.spec) else { continue };
        if release.around.modes_of_no_concern.contains(name) {
            continue;
        }
        for needed in spec.applications.iter().chain(&spec.included) {
            let other = applications.get(needed).and_then(|other| other.mode.as_deref());
            match other {
                None if spec.optional.contains(needed) => {}
                None => {
                    let message =
                        format!("the application {name} needs {needed}, which is not part of the release");
                    let hint = format!(
                        "add {needed} to the release (`applications:`), or take it out of {name}.app"
                    );
                    findings.push(Finding::new(Kind::Modes, message).of(name).about(needed).hint(hint));
                }
                Some(idle @ ("load" | "none")) if starts(mode) && !included.contains(needed) => {
                    let done = if idle == "load" { "loaded and never started" } else { "never loaded" };
                    let message = format!(
                        "the application {name} is started ({mode}) and waits for {needed}, which is {done}: \
                         the node never comes up"
                    );
                    let hint = format!(
                        "start {needed} (`applications: {{{needed}: permanent}}`), or do not start {name} either"
                    );
                    findings.push(Finding::new(Kind::Orphaned, message).of(name).about(needed).hint(hint));
                }
                Some(_) => {}
            }
        }
    }
    findings
}

fn starts(mode: &str) -> bool {
    ["permanent", "transient", "temporary"].contains(&mode)
}
