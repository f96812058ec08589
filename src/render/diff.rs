//! A comparison of two releases as text: a verdict, then what a person deploying would ask about.

use std::fmt::Write;

use relgraph_rules::compare::{
    ApplicationModules, CONSOLIDATED, Change, Comparison, FileRole, How, ModuleChange,
};

use super::{bytes, count, cut, harmless};

/// How many lines of one list are shown before it is cut.
const SHOWN: usize = 12;
/// No value is shown with more characters.
const VALUE: usize = 48;
/// How many functions of a module are named before the list is cut.
const FUNCTIONS: usize = 3;

/// Lists that are shown to their end, with whole values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Open {
    /// The modules of applications.
    pub modules: bool,
    /// The configuration.
    pub config: bool,
    /// The files.
    pub files: bool,
}

/// The text of a comparison, with a line end behind every line.
pub fn text(comparison: &Comparison, colour: bool, open: Open) -> String {
    let mut page = Page { out: String::new(), colour };
    page.verdict(comparison);
    if comparison.same {
        return page.out;
    }
    page.section("runtime", runtime(comparison), false);
    page.section("applications", applications(comparison), false);
    for modules in &comparison.modules {
        let name =
            if modules.application == CONSOLIDATED { "consolidated protocols" } else { &modules.application };
        page.section(&format!("modules of {name}"), module_lines(modules, open.modules), open.modules);
    }
    page.section("config", config(comparison, open.config), open.config);
    page.section("files", files(comparison, open.files), open.files);
    page.section("size", sizes(comparison), false);
    page.out
}

/// One line of a list.
struct Line {
    sign: Change,
    text: String,
}

fn line(sign: Change, text: impl Into<String>) -> Line {
    Line { sign, text: text.into() }
}

struct Page {
    out: String,
    colour: bool,
}

impl Page {
    fn put(&mut self, text: &str, style: &str) {
        let text = harmless(text);
        if self.colour && !style.is_empty() {
            let _ = writeln!(self.out, "\u{1b}[{style}m{text}\u{1b}[0m");
        } else {
            let _ = writeln!(self.out, "{text}");
        }
    }

    fn section(&mut self, title: &str, lines: Vec<Line>, open: bool) {
        if lines.is_empty() {
            return;
        }
        self.put("", "");
        self.put(title, "1");
        let hidden = if !open && lines.len() > SHOWN + 1 { lines.len() - SHOWN } else { 0 };
        for line in &lines[..lines.len() - hidden] {
            let (sign, style) = match line.sign {
                Change::Added => ("+", "32"),
                Change::Removed => ("-", "31"),
                Change::Changed => ("~", ""),
            };
            self.put(&format!("  {sign} {}", line.text), style);
        }
        if hidden > 0 {
            self.put(&format!("    and {hidden} more"), "2");
        }
    }

    fn verdict(&mut self, comparison: &Comparison) {
        let (old, new) = (&comparison.old, &comparison.new);
        let name =
            if old.name == new.name { old.name.clone() } else { format!("{} and {}", old.name, new.name) };
        let versions = if old.version == new.version {
            old.version.clone()
        } else {
            format!("{} -> {}", old.version, new.version)
        };
        if comparison.same {
            return self.put(&format!("{name} {versions}: nothing differs"), "1");
        }
        let code: usize = comparison.modules.iter().map(code_changes).sum();
        let quiet: usize =
            comparison.modules.iter().map(|modules| modules.changed.len() - changed_code(modules)).sum();
        let mut parts = Vec::new();
        match (code, quiet) {
            (0, 0) => parts.push("no module differs".to_owned()),
            (0, _) => parts.push("no code differs".to_owned()),
            _ => parts.push(format!("{} with other code", count(code, "module"))),
        }
        let applications = comparison.applications.added.len() + comparison.applications.removed.len();
        if applications > 0 {
            parts.push(format!("{} added or removed", count(applications, "application")));
        }
        if !comparison.config.keys.is_empty() {
            parts.push(count(comparison.config.keys.len(), "config key"));
        }
        let same_runtime =
            old.erts == new.erts && !comparison.files.iter().any(|file| file.role == FileRole::Erts);
        parts.push(if same_runtime { "same runtime" } else { "another runtime" }.to_owned());
        self.put(&format!("{name} {versions}: {}", parts.join(", ")), "1");
    }
}

fn changed_code(modules: &ApplicationModules) -> usize {
    modules.changed.iter().filter(|module| module.how == How::Code).count()
}

fn code_changes(modules: &ApplicationModules) -> usize {
    modules.added.len() + modules.removed.len() + changed_code(modules)
}

fn runtime(comparison: &Comparison) -> Vec<Line> {
    let (old, new) = (&comparison.old, &comparison.new);
    let none = || "none".to_owned();
    let mut lines = Vec::new();
    for (what, old, new) in
        [("otp", &old.otp, &new.otp), ("erts", &old.erts, &new.erts), ("elixir", &old.elixir, &new.elixir)]
    {
        if old != new {
            let (old, new) = (old.clone().unwrap_or_else(none), new.clone().unwrap_or_else(none));
            lines.push(line(Change::Changed, format!("{what} {old} -> {new}")));
        }
    }
    let files = comparison.files.iter().filter(|file| file.role == FileRole::Erts).count();
    if files > 0 {
        lines.push(line(Change::Changed, format!("{} of the runtime system", count(files, "file"))));
    }
    lines
}

fn applications(comparison: &Comparison) -> Vec<Line> {
    let applications = &comparison.applications;
    let whole = |application: &relgraph_rules::compare::Application| {
        let (modules, size) = (count(application.modules, "module"), bytes(application.size));
        format!("{} {}  {modules}, {size}", application.name, application.version)
    };
    let mut lines: Vec<Line> =
        applications.added.iter().map(|added| line(Change::Added, whole(added))).collect();
    lines.extend(applications.removed.iter().map(|removed| line(Change::Removed, whole(removed))));
    for change in &applications.changed {
        let mut text = format!("{} {}", change.name, change.old_version);
        if change.old_version != change.new_version {
            let _ = write!(text, " -> {}", change.new_version);
        }
        if change.old_mode != change.new_mode {
            let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "not listed".to_owned());
            let _ = write!(text, "  {} -> {}", mode(&change.old_mode), mode(&change.new_mode));
        }
        lines.push(line(Change::Changed, text));
    }
    lines
}

fn module_lines(modules: &ApplicationModules, open: bool) -> Vec<Line> {
    let mut lines: Vec<Line> = modules.added.iter().map(|name| line(Change::Added, short(name))).collect();
    lines.extend(modules.removed.iter().map(|name| line(Change::Removed, short(name))));
    let code = modules.changed.iter().filter(|module| module.how == How::Code);
    lines.extend(code.map(|module| line(Change::Changed, module_text(module, open))));
    for (how, text) in [(How::OnlyLines, "only lines"), (How::OnlyDebug, "only debug data")] {
        let names: Vec<&str> = modules
            .changed
            .iter()
            .filter(|module| module.how == how)
            .map(|module| short(&module.module))
            .collect();
        match names[..] {
            [] => {}
            [name] => lines.push(line(Change::Changed, format!("{name}  {text}"))),
            _ if open => {
                lines.extend(names.iter().map(|name| line(Change::Changed, format!("{name}  {text}"))));
            }
            _ => lines.push(line(Change::Changed, format!("{}: {text}", count(names.len(), "module")))),
        }
    }
    lines
}

fn module_text(module: &ModuleChange, open: bool) -> String {
    let shown = if open { usize::MAX } else { FUNCTIONS };
    let mut parts = Vec::new();
    let mut list = |sign: &str, names: Vec<String>| {
        let hidden = names.len().saturating_sub(shown);
        let more = if hidden > 0 { format!(" and {hidden} more") } else { String::new() };
        if !names.is_empty() {
            let names: Vec<String> = names.iter().take(shown).map(|name| format!("{sign}{name}")).collect();
            parts.push(format!("{}{more}", names.join(" ")));
        }
    };
    list("+", module.exports_added.iter().map(ToString::to_string).collect());
    list("-", module.exports_removed.iter().map(ToString::to_string).collect());
    list("+@", module.behaviours_added.iter().map(|name| short(name).to_owned()).collect());
    list("-@", module.behaviours_removed.iter().map(|name| short(name).to_owned()).collect());
    if module.old_vsn != module.new_vsn {
        let vsn = |vsn: &Option<String>| vsn.clone().unwrap_or_else(|| "none".to_owned());
        parts.push(format!("vsn {} -> {}", vsn(&module.old_vsn), vsn(&module.new_vsn)));
    }
    let name = short(&module.module);
    if parts.is_empty() { name.to_owned() } else { format!("{name}  {}", parts.join(", ")) }
}

fn config(comparison: &Comparison, open: bool) -> Vec<Line> {
    let longest = if open { usize::MAX } else { VALUE };
    let mut lines = Vec::new();
    for key in &comparison.config.keys {
        let names: Vec<&str> = key.key.iter().map(|name| short(name)).collect();
        let name = format!("{} {}", short(&key.application), names.join("."));
        let value = |value: &Option<String>| cut(value.as_deref().unwrap_or_default(), longest);
        let text = match key.change {
            Change::Added => format!("{name}: {}", value(&key.new)),
            Change::Removed => format!("{name}: {}", value(&key.old)),
            Change::Changed if key.masked => format!("{name}: a secret"),
            Change::Changed => format!("{name}: {} -> {}", value(&key.old), value(&key.new)),
        };
        lines.push(line(key.change, text));
    }
    lines.extend(comparison.config.runtime.map(|change| line(change, "runtime.exs")));
    if let Some(reason) = &comparison.config.unreadable {
        lines.push(line(Change::Changed, format!("sys.config, which cannot be read: {reason}")));
    }
    lines
}

/// Files that differ with every version and those of the runtime system are counted elsewhere or not at all, unless all
/// are asked for.
fn files(comparison: &Comparison, open: bool) -> Vec<Line> {
    let told = |role| open || !matches!(role, FileRole::Boot | FileRole::Erts | FileRole::Resource);
    let text = |path: &str, old: Option<u64>, new: Option<u64>| match (old, new) {
        (Some(old), Some(new)) if old != new => format!("{path}  {} -> {}", bytes(old), bytes(new)),
        _ => path.to_owned(),
    };
    let shown = comparison.files.iter().filter(|file| told(file.role));
    shown.map(|file| line(file.change, text(&file.path, file.old_size, file.new_size))).collect()
}

fn sizes(comparison: &Comparison) -> Vec<Line> {
    let sizes = &comparison.sizes;
    if sizes.old == sizes.new {
        return Vec::new();
    }
    let mut lines = vec![line(Change::Changed, format!("{} -> {}", bytes(sizes.old), bytes(sizes.new)))];
    let moved = |old: Option<u64>, new: Option<u64>| new.unwrap_or(0) as i64 - old.unwrap_or(0) as i64;
    let mut applications: Vec<(i64, &str)> = sizes
        .applications
        .iter()
        .map(|size| (moved(size.old, size.new), size.application.as_str()))
        .collect();
    applications.retain(|(moved, _)| *moved != 0);
    applications.sort_by_key(|(moved, name)| (std::cmp::Reverse(moved.unsigned_abs()), *name));
    for (moved, name) in applications.into_iter().take(3) {
        let (sign, change) = if moved > 0 { ("+", Change::Added) } else { ("-", Change::Removed) };
        lines.push(line(change, format!("{name} {sign}{}", bytes(moved.unsigned_abs()))));
    }
    lines
}

/// Names of Elixir without what the machine puts in front.
fn short(name: &str) -> &str {
    name.strip_prefix("Elixir.").unwrap_or(name)
}

#[cfg(test)]
mod tests;
