//! Rows about the runtime, applications, configuration, files and sizes.

use relgraph_rules::compare::{
    Change, Comparison, FileChange, FileRole, NativeChange, NativeParts, RuntimePart,
};

use super::model::{COMES_WITH_A_VERSION, Row, short};
use crate::render::{bytes, count};

fn between(old: Option<&str>, new: Option<&str>) -> String {
    format!("{} -> {}", old.unwrap_or("none"), new.unwrap_or("none"))
}

/// The parts of the runtime, and the order in which applications start.
pub fn runtime(comparison: &Comparison) -> Vec<Row> {
    let word = |part| match part {
        RuntimePart::Otp => "OTP",
        RuntimePart::Erts => "ERTS",
        RuntimePart::Elixir => "Elixir",
        RuntimePart::Architecture => "architecture",
    };
    let mut rows: Vec<Row> = comparison
        .runtime
        .iter()
        .map(|change| {
            let row = Row::new(Change::Changed, word(change.part)).classed(change.class, &change.reason);
            if change.old == change.new {
                return row.told("other files of the same version");
            }
            row.told(between(change.old.as_deref(), change.new.as_deref()))
        })
        .collect();
    if let Some(boot) = &comparison.boot {
        let moved: Vec<&str> = boot.moved.iter().map(String::as_str).collect();
        let mut row = Row::new(Change::Changed, "boot order").classed(boot.class, &boot.reason);
        if !moved.is_empty() {
            row = row.told(format!("{} start elsewhere", moved.join(", ")));
        }
        row.more.push(("old", boot.old.join(" ")));
        row.more.push(("new", boot.new.join(" ")));
        rows.push(row);
    }
    rows
}

/// Applications.
pub fn applications(comparison: &Comparison) -> Vec<Row> {
    let applications = &comparison.applications;
    let whole = |change: Change| {
        move |application: &relgraph_rules::compare::Application| {
            let (modules, size) = (count(application.modules, "module"), bytes(application.size));
            Row::new(change, format!("{} {}", application.name, application.version))
                .classed(
                    application.class.unwrap_or_default(),
                    application.reason.as_deref().unwrap_or_default(),
                )
                .told(format!("{modules}, {size}"))
        }
    };
    let mut rows: Vec<Row> = applications.added.iter().map(whole(Change::Added)).collect();
    rows.extend(applications.removed.iter().map(whole(Change::Removed)));
    for change in &applications.changed {
        let mut name = format!("{} {}", change.name, change.old_version);
        if change.old_version != change.new_version {
            name = format!("{name} -> {}", change.new_version);
        }
        let mut row = Row::new(Change::Changed, name).classed(change.class, &change.reason);
        if change.old_mode != change.new_mode {
            row = row.told(between(change.old_mode.as_deref(), change.new_mode.as_deref()));
        } else if change.old_version == change.new_version {
            row = row.told("other content");
        }
        if change.appup == Some(true) {
            row = row.told("with an appup");
        }
        if let Some(callback) = &change.callback {
            row.more.push(("callback", between(callback.old.as_deref(), callback.new.as_deref())));
        }
        row = row.names("registered", &change.registered_added, &change.registered_removed);
        rows.push(row.names("needs", &change.needs_added, &change.needs_removed));
    }
    rows
}

/// Keys of the configuration, and where it comes from.
pub fn config(comparison: &Comparison) -> Vec<Row> {
    let mut rows = Vec::new();
    for key in &comparison.config.keys {
        let names: Vec<&str> = key.key.iter().map(|name| short(name)).collect();
        let name = format!("{} {}", short(&key.application), names.join("."));
        let mut row = Row::new(key.change, name).classed(key.class, &key.reason);
        row.waits = key.waits;
        let value = |value: &Option<String>| value.clone().unwrap_or_default();
        row = match key.change {
            Change::Changed if key.masked => row.told("a secret"),
            Change::Added => row.told(value(&key.new)),
            Change::Removed => row.told(value(&key.old)),
            Change::Changed => row.told(value(&key.old)).told(value(&key.new)),
        };
        rows.push(row);
    }
    let config = &comparison.config;
    if let Some(change) = config.runtime {
        let class = config.runtime_class.unwrap_or_default();
        let row = Row::new(change, "runtime.exs");
        rows.push(row.classed(class, config.runtime_reason.as_deref().unwrap_or_default()));
    }
    if let Some(providers) = &config.providers {
        let listed = |names: &[String]| names.iter().map(|name| short(name)).collect::<Vec<_>>().join(" ");
        let row = Row::new(Change::Changed, "configuration providers").told(listed(&providers.old));
        rows.push(row.told(listed(&providers.new)).classed(providers.class, &providers.reason));
    }
    if let Some(reason) = &config.unreadable {
        rows.push(Row::new(Change::Changed, "sys.config").told(format!("cannot be read: {reason}")));
    }
    rows
}

/// A program or shared library.
pub fn native(change: &NativeChange) -> Row {
    let parts = |parts: &NativeParts| {
        let kind = if parts.shared { "library" } else { "program" };
        let glibc = parts.glibc.as_ref().map(|version| format!(", glibc {version}")).unwrap_or_default();
        format!("{} {kind} for {}{glibc}", parts.format, parts.architectures.join(" "))
    };
    let (old, new) = (change.old.as_ref().map(parts), change.new.as_ref().map(parts));
    let row = Row::new(change.change, change.path.clone()).classed(change.class, &change.reason);
    let row = match (old, new) {
        (Some(old), Some(new)) if old != new => row.told(format!("{old} -> {new}")),
        (Some(told), _) | (None, Some(told)) => row.told(told),
        (None, None) => row,
    };
    row.names("needs", &change.needed_added, &change.needed_removed)
}

/// Files that differ with every version and those of the runtime system are only counted.
pub fn file(change: &FileChange) -> Row {
    let mut row = Row::new(change.change, change.path.clone()).classed(change.class, &change.reason);
    row.waits = change.waits;
    row.quiet = match change.role {
        FileRole::Boot => Some(COMES_WITH_A_VERSION[0]),
        FileRole::Erts => Some("file of the runtime system"),
        FileRole::Resource => Some(COMES_WITH_A_VERSION[1]),
        _ => None,
    };
    match (change.old_size, change.new_size) {
        (Some(old), Some(new)) if old != new => row.told(format!("{} -> {}", bytes(old), bytes(new))),
        (None, Some(size)) | (Some(size), None) => row.told(bytes(size)),
        _ => row,
    }
}

/// How large the releases are, and what an upgrade carries.
pub fn sizes(comparison: &Comparison) -> Vec<Row> {
    let sizes = &comparison.sizes;
    let mut rows = Vec::new();
    if sizes.old != sizes.new {
        let told = format!("{} -> {}", bytes(sizes.old), bytes(sizes.new));
        rows.push(Row::new(Change::Changed, "release").told(told));
    }
    if sizes.upgrade.package_files > 0 {
        let (files, weight) =
            (count(sizes.upgrade.package_files, "file"), bytes(sizes.upgrade.package_bytes));
        let content = bytes(sizes.upgrade.content_bytes);
        let told = format!("carries {weight} in {files}; {content} of that is new content");
        rows.push(Row::new(Change::Changed, "upgrade").told(told));
    }
    let moved = |old: Option<u64>, new: Option<u64>| new.unwrap_or(0) as i64 - old.unwrap_or(0) as i64;
    let mut applications: Vec<(i64, &str)> = sizes
        .applications
        .iter()
        .map(|size| (moved(size.old, size.new), size.application.as_str()))
        .filter(|(moved, _)| *moved != 0)
        .collect();
    applications.sort_by_key(|(moved, name)| (std::cmp::Reverse(moved.unsigned_abs()), *name));
    for (moved, name) in applications.into_iter().take(3) {
        let sign = if moved > 0 { "+" } else { "-" };
        rows.push(Row::new(Change::Changed, name).told(format!("{sign}{}", bytes(moved.unsigned_abs()))));
    }
    rows
}
