//! What speaks against an upgrade, and what two releases do not give.

use super::Refusal;
use super::facts::{Difference, Extent};
use super::plan::Note;
use super::released::{Application, Protocols, Released};

/// What speaks against any upgrade between the two.
pub(super) fn refusals(old: &Released<'_>, new: &Released<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut refuse = |what: String, hint: &str| refusals.push(Refusal { what, hint: hint.to_owned() });
    if old.name != new.name {
        refuse(
            format!("the releases are called `{}` and `{}`", old.name, new.name),
            "a running node is moved between versions of one release",
        );
    }
    if old.version == new.version {
        refuse(
            format!("both are version {}", new.version),
            "give the new release a version of its own: the release handler tells releases by it",
        );
    }
    for release in [old, new] {
        if release.application("sasl").is_none() {
            refuse(
                format!(
                    "{} {} is without sasl, in which OTP has its release handler",
                    release.name, release.version
                ),
                "add `sasl` to the applications of the release",
            );
        }
    }
    refusals
}

/// What cannot be told apart by its version cannot lie beside the old.
pub(super) fn same_version(application: &Application, difference: &Difference) -> Vec<Refusal> {
    let mut what = Vec::new();
    if difference.runs() {
        let names = difference.changed.iter().filter(|(_, changed)| changed.extent == Extent::Code);
        let names: Vec<&str> = names
            .map(|(name, _)| name.as_str())
            .chain(difference.added.keys().map(String::as_str))
            .chain(difference.removed.keys().map(String::as_str))
            .collect();
        what.push(format!("other code ({})", listed(&names)));
    }
    if !difference.files.is_empty() {
        let names: Vec<&str> = difference.files.keys().map(String::as_str).collect();
        what.push(format!("other files ({})", listed(&names)));
    }
    if what.is_empty() {
        return Vec::new();
    }
    let (name, version) = (&application.name, &application.version);
    vec![Refusal {
        what: format!("{name} is version {version} in both releases, with {}", what.join(" and ")),
        hint: format!("give {name} a new version: the release handler goes by nothing else"),
    }]
}

fn listed(names: &[&str]) -> String {
    let shown: Vec<&str> =
        names.iter().take(3).map(|name| name.strip_prefix("Elixir.").unwrap_or(name)).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What the layouts of the two releases do not give.
pub(super) fn missing_layout(old: &Released<'_>, new: &Released<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |text: String| notes.push(Note { application: String::new(), text });
    if old.entries().get(&format!("releases/{}/relgraph.json", old.version)).is_none() {
        note(format!(
            "{} was not made by relgraph: put bin/{} of the new release in its place first, which knows `upgrade`",
            old.version, old.name
        ));
    }
    if !old.has_records {
        note(format!(
            "{} has no releases/RELEASES: a node that started with it cannot come back to it without a restart",
            old.version
        ));
    }
    for release in [old, new] {
        if release.protocols == Protocols::Beside {
            note(format!(
                "{} is not laid out for hot upgrades (`upgrades: hot`): its consolidated protocols are replaced by \
                 `bin/{} upgrade`, and by nothing else",
                release.version, release.name
            ));
        }
    }
    notes
}
