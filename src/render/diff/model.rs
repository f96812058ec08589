//! What every view of a comparison shows: sections of rows, in the order in which a person deploying would ask.

use relgraph_rules::compare::{CONSOLIDATED, Change, Class, Comparison, FileRole};

use super::{modules, rows};
use crate::render::count;

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
            section("runtime", "runtime", Kind::Short, rows::runtime(comparison)),
            section("applications", "applications", Kind::Short, rows::applications(comparison)),
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
            section("config", "config", Kind::Config, rows::config(comparison)),
            section(
                "native",
                "native files",
                Kind::Short,
                comparison.native.iter().map(rows::native).collect(),
            ),
            section("files", "files", Kind::Files, comparison.files.iter().map(rows::file).collect()),
            section("size", "size", Kind::Short, rows::sizes(comparison)),
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
