//! What every view of a comparison shows: sections of rows, in the order in which a person deploying would ask.

use relgraph_rules::compare::{
    CONSOLIDATED, Change, Class, Comparison, FileChange, FileRole, NativeChange, NativeParts, RuntimePart,
};

use super::modules;
use crate::render::{bytes, count};

/// A comparison as views show it.
pub struct View {
    /// What is compared: `demo 0.1.0 -> 0.2.0`.
    pub title: String,
    /// How much differs, in one line.
    pub counts: String,
    /// What differs.
    pub sections: Vec<Section>,
}

/// What can be opened up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Modules.
    Modules,
    /// Configuration.
    Config,
    /// Files.
    Files,
    /// It is short.
    Short,
}

/// A list of what differs.
pub struct Section {
    /// What it is about; unique together with `of`.
    pub id: &'static str,
    /// The application whose modules these are.
    pub of: Option<String>,
    /// Its heading.
    pub title: String,
    /// What opens it up.
    pub kind: Kind,
    /// What differs.
    pub rows: Vec<Row>,
}

/// One thing that differs.
pub struct Row {
    /// What happened to it.
    pub change: Change,
    /// What it is.
    pub name: String,
    /// In what it differs, briefly.
    pub told: Vec<String>,
    /// In what it differs, at length: what, and how.
    pub more: Vec<(&'static str, String)>,
    /// Functions and macros that differ.
    pub functions: Vec<(&'static str, Vec<String>)>,
    /// What it takes.
    pub class: Class,
    /// Why.
    pub reason: String,
    /// Whether it only counts when the virtual machine is next started.
    pub waits: bool,
    /// Whether it is counted only, unless everything is asked for: what it is counted as.
    pub quiet: Option<&'static str>,
}

impl Row {
    /// A row that says no more than its name.
    pub fn new(change: Change, name: impl Into<String>) -> Row {
        Row {
            change,
            name: name.into(),
            told: Vec::new(),
            more: Vec::new(),
            functions: Vec::new(),
            class: Class::Hot,
            reason: String::new(),
            waits: false,
            quiet: None,
        }
    }

    /// With what it takes, and why.
    pub fn classed(mut self, class: Class, reason: &str) -> Row {
        self.class = class;
        reason.clone_into(&mut self.reason);
        self
    }

    /// With something that is told of it.
    pub fn told(mut self, text: impl Into<String>) -> Row {
        self.told.push(text.into());
        self
    }

    /// With names that came and went.
    pub fn names(mut self, what: &'static str, added: &[String], removed: &[String]) -> Row {
        let sign = |sign: &'static str| move |name: &String| format!("{sign}{}", short(name));
        let all: Vec<String> = added.iter().map(sign("+")).chain(removed.iter().map(sign("-"))).collect();
        if !all.is_empty() {
            self.more.push((what, all.join(" ")));
        }
        self
    }
}

/// Files that differ whenever a version does.
pub const COMES_WITH_A_VERSION: [&str; 2] = ["file for booting", "description of an application"];

/// What a class is called.
pub fn class_word(class: Class) -> &'static str {
    match class {
        Class::Hot => "hot",
        Class::RestartApplication => "restart application",
        Class::RestartVm => "restart VM",
        Class::Cold => "cold",
    }
}

/// What the verdict means.
pub fn verdict(class: Class) -> &'static str {
    match class {
        Class::Hot => "hot: the running system takes it, and no process ends",
        Class::RestartApplication => "restart application: the system runs on, and applications start anew",
        Class::RestartVm => "restart VM: the virtual machine starts anew",
        Class::Cold => "cold: it is installed beside the old release and started by itself",
    }
}

/// Names of Elixir without what the machine puts in front.
pub fn short(name: &str) -> &str {
    name.strip_prefix("Elixir.").unwrap_or(name)
}

impl View {
    /// Of a comparison.
    pub fn of(comparison: &Comparison) -> View {
        let mut sections = vec![
            section("runtime", "runtime", Kind::Short, runtime(comparison)),
            section("applications", "applications", Kind::Short, applications(comparison)),
        ];
        for of in &comparison.modules {
            let name = if of.application == CONSOLIDATED {
                "consolidated protocols"
            } else {
                of.application.as_str()
            };
            let mut section =
                section("modules", format!("modules of {name}"), Kind::Modules, modules::rows(of));
            section.of = Some(of.application.clone());
            sections.push(section);
        }
        sections.extend([
            section("moved", "moved modules", Kind::Modules, modules::moved(comparison)),
            section("protocols", "protocols", Kind::Modules, modules::protocols(comparison)),
            section("supervision", "supervision", Kind::Short, modules::supervision(comparison)),
            section("config", "config", Kind::Config, config(comparison)),
            section("native", "native files", Kind::Short, comparison.native.iter().map(native).collect()),
            section("files", "files", Kind::Files, comparison.files.iter().map(file).collect()),
            section("size", "size", Kind::Short, sizes(comparison)),
        ]);
        sections.retain(|section| !section.rows.is_empty());
        View { title: title(comparison), counts: counts(comparison), sections }
    }
}

fn section(id: &'static str, title: impl Into<String>, kind: Kind, rows: Vec<Row>) -> Section {
    Section { id, of: None, title: title.into(), kind, rows }
}

fn title(comparison: &Comparison) -> String {
    let (old, new) = (&comparison.old, &comparison.new);
    let name = if old.name == new.name { old.name.clone() } else { format!("{} and {}", old.name, new.name) };
    if old.version == new.version {
        format!("{name} {}", old.version)
    } else {
        format!("{name} {} -> {}", old.version, new.version)
    }
}

fn counts(comparison: &Comparison) -> String {
    if comparison.same {
        return "nothing differs".to_owned();
    }
    let (code, quiet) = modules::counted(comparison);
    let mut parts = vec![match (code, quiet) {
        (0, 0) => "no module differs".to_owned(),
        (0, _) => "no code differs".to_owned(),
        _ => format!("{} with other code", count(code, "module")),
    }];
    let applications = comparison.applications.added.len() + comparison.applications.removed.len();
    if applications > 0 {
        parts.push(format!("{} added or removed", count(applications, "application")));
    }
    if !comparison.config.keys.is_empty() {
        parts.push(count(comparison.config.keys.len(), "config key"));
    }
    let other =
        !comparison.runtime.is_empty() || comparison.files.iter().any(|file| file.role == FileRole::Erts);
    parts.push(if other { "another runtime" } else { "same runtime" }.to_owned());
    parts.join(", ")
}

fn between(old: Option<&str>, new: Option<&str>) -> String {
    format!("{} -> {}", old.unwrap_or("none"), new.unwrap_or("none"))
}

fn runtime(comparison: &Comparison) -> Vec<Row> {
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

fn applications(comparison: &Comparison) -> Vec<Row> {
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

fn config(comparison: &Comparison) -> Vec<Row> {
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

fn native(change: &NativeChange) -> Row {
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
fn file(change: &FileChange) -> Row {
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

fn sizes(comparison: &Comparison) -> Vec<Row> {
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
