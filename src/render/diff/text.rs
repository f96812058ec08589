//! A comparison on a terminal: a verdict, then what a person deploying would ask about, on one screen unless lists are opened.

use std::fmt::Write;

use relgraph_rules::compare::{Change, Class, Comparison, Reason};

use super::model::{COMES_WITH_A_VERSION, Kind, Row, Section, View, class_word, short, verdict};
use super::modules::sign;
use crate::render::{Paint, count, cut, harmless};

/// How many lines lists share: with what stands above them, a screen.
const SCREEN: usize = 40;
/// How many lines of one list are shown at most, before it is cut.
const SHOWN: usize = 12;
/// How many are shown in any case.
const LEAST: usize = 2;
/// The modules of so many applications are listed.
const APPLICATIONS: usize = 6;
/// How many reasons and warnings are shown.
const REASONS: usize = 5;
/// No value is shown with more characters.
const VALUE: usize = 48;
/// The longest line of a reason.
const SENTENCE: usize = 160;

/// Lists that are shown to their end, with whole values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Open {
    /// The modules of applications.
    pub modules: bool,
    /// Their functions.
    pub functions: bool,
    /// The configuration.
    pub config: bool,
    /// The files.
    pub files: bool,
}

impl Open {
    fn is(self, kind: Kind) -> bool {
        match kind {
            Kind::Modules => self.modules || self.functions,
            Kind::Short => self.modules,
            Kind::Config => self.config,
            Kind::Files => self.files,
        }
    }
}

/// The text of a comparison, with a line end behind every line.
pub fn text(comparison: &Comparison, colour: bool, open: Open) -> String {
    let view = View::of(comparison);
    let mut page = Page { out: String::new(), paint: Paint(colour) };
    if comparison.same {
        page.put(&format!("{}: nothing differs", view.title), "1");
        return page.out;
    }
    page.head(comparison, &view);
    let (sections, others) = listed(&view, open);
    let shown = share(&sections, open);
    for section in sections {
        page.section(section, open, shown);
    }
    if others.0 > 0 {
        page.put("", "");
        let (modules, applications) = (count(others.1, "module"), count(others.0, "application"));
        page.put(&format!("and {modules} of {applications} more: --modules lists them"), "2");
    }
    page.out
}

/// The sections that are listed, and how many others, with how many rows, are not.
fn listed(view: &View, open: Open) -> (Vec<&Section>, (usize, usize)) {
    let of_application = |section: &&Section| section.of.is_some();
    let mut ranked: Vec<&Section> = view.sections.iter().filter(of_application).collect();
    // Those whose change matters most, and then those of which most differs.
    let rank = |section: &Section| {
        let class = section.rows.iter().map(|row| row.class).max();
        (std::cmp::Reverse(class), std::cmp::Reverse(loud(section).count()))
    };
    ranked.sort_by_key(|section| rank(section));
    let keep = if open.is(Kind::Modules) { usize::MAX } else { APPLICATIONS };
    let hidden: Vec<&str> = ranked.iter().skip(keep).filter_map(|section| section.of.as_deref()).collect();
    let is_hidden = |section: &Section| section.of.as_deref().is_some_and(|name| hidden.contains(&name));
    let rows = ranked.iter().skip(keep).map(|section| section.rows.len()).sum();
    (view.sections.iter().filter(|section| !is_hidden(section)).collect(), (hidden.len(), rows))
}

fn loud(section: &Section) -> impl Iterator<Item = &Row> {
    section.rows.iter().filter(|row| row.quiet.is_none())
}

/// How many lines each list gets, so that all of them fit.
fn share(sections: &[&Section], open: Open) -> usize {
    // Whoever opens one list up scrolls anyway, and wants to see where the others are.
    let lines = |most: usize| -> usize {
        sections
            .iter()
            .filter(|section| !open.is(section.kind))
            .map(|section| 2 + section.rows.len().min(most + 1))
            .sum()
    };
    (LEAST..=SHOWN).rev().find(|most| lines(*most) <= SCREEN).unwrap_or(LEAST)
}

struct Page {
    out: String,
    paint: Paint,
}

impl Page {
    fn put(&mut self, text: &str, style: &str) {
        let text = harmless(text);
        let style = if text.is_empty() { "" } else { style };
        let _ = writeln!(self.out, "{}", self.paint.with(&text, style));
    }

    fn head(&mut self, comparison: &Comparison, view: &View) {
        let class = comparison.verdict.class;
        self.put(&format!("{}: {}", view.title, view.counts), "1");
        self.put(&format!("  {}", verdict(class)), style_of(class));
        self.reasons("    ", &comparison.verdict.reasons);
        if !comparison.verdict.waiting.is_empty() {
            self.put("  waits until the virtual machine is next started:", "33");
            self.reasons("    ", &comparison.verdict.waiting);
        }
        let warnings = &comparison.warnings;
        for warning in warnings.iter().take(REASONS) {
            self.put(&format!("  warning: {}", cut(&warning.text, SENTENCE)), "33");
            self.put(&format!("    {}", cut(&warning.advice, SENTENCE)), "2");
        }
        if warnings.len() > REASONS {
            let more = count(warnings.len() - REASONS, "more warning");
            self.put(&format!("  {more}: --format json, markdown and html have all"), "33");
        }
    }

    fn reasons(&mut self, indent: &str, reasons: &[Reason]) {
        for reason in reasons.iter().take(REASONS) {
            let item = short(&reason.item);
            self.put(&cut(&format!("{indent}{item}: {}", reason.reason), SENTENCE), "");
        }
        if reasons.len() > REASONS {
            self.put(&format!("{indent}and {} more", reasons.len() - REASONS), "2");
        }
    }

    fn section(&mut self, section: &Section, open: Open, shown: usize) {
        let whole = open.is(section.kind);
        let mut rows: Vec<&Row> = section.rows.iter().filter(|row| whole || row.quiet.is_none()).collect();
        let mut counted: Vec<(&str, Vec<&Row>)> = Vec::new();
        for row in section.rows.iter().filter(|_| !whole) {
            // What every version brings is not worth a line.
            let Some(what) = row.quiet.filter(|what| !COMES_WITH_A_VERSION.contains(what)) else { continue };
            match counted.iter_mut().find(|(known, _)| *known == what) {
                Some((_, rows)) => rows.push(row),
                None => counted.push((what, vec![row])),
            }
        }
        if rows.is_empty() && counted.is_empty() {
            return;
        }
        self.put("", "");
        self.put(&section.title, "1");
        // What matters most is not cut.
        rows.sort_by_key(|row| std::cmp::Reverse(if whole { Class::Hot } else { row.class }));
        let hidden = if !whole && rows.len() > shown + 1 { rows.len() - shown } else { 0 };
        for row in &rows[..rows.len() - hidden] {
            self.row(row, section.kind, open);
        }
        if hidden > 0 {
            self.put(&format!("    and {hidden} more"), "2");
        }
        for (what, rows) in counted {
            match rows[..] {
                [row] => self.row(row, section.kind, open),
                _ => self.put(&format!("  ~ {}", plural(rows.len(), what)), ""),
            }
        }
    }

    fn row(&mut self, row: &Row, kind: Kind, open: Open) {
        let whole = open.is(kind);
        let mut line = format!("  {} {}", sign(row.change), row.name);
        let longest = if whole { usize::MAX } else { VALUE };
        if kind == Kind::Config && row.told.len() == 2 {
            let _ = write!(line, ": {} -> {}", cut(&row.told[0], longest), cut(&row.told[1], longest));
        } else if kind == Kind::Config && !row.told.is_empty() {
            let _ = write!(line, ": {}", cut(&row.told[0], longest));
        } else if !row.told.is_empty() {
            let _ = write!(line, "  {}", row.told.join(", "));
        }
        if row.class > Class::Hot {
            let waits = if row.waits { ", waits" } else { "" };
            let _ = write!(line, "  [{}{waits}]", class_word(row.class));
        }
        let style = match row.change {
            Change::Added => "32",
            Change::Removed => "31",
            Change::Changed => "",
        };
        self.put(&line, style);
        if !whole {
            return;
        }
        if !row.reason.is_empty() && (row.class > Class::Hot || kind == Kind::Modules && open.modules) {
            self.put(&format!("      {}", row.reason), "2");
        }
        for (what, told) in &row.more {
            self.put(&format!("      {what}: {told}"), "2");
        }
        if open.functions {
            for (what, names) in &row.functions {
                self.put(&format!("      {what}: {}", names.join(" ")), "2");
            }
        }
    }
}

/// The first word is that which is counted.
fn plural(number: usize, what: &str) -> String {
    match what.split_once(' ') {
        Some((first, rest)) => format!("{} {rest}", count(number, first)),
        None => count(number, what),
    }
}

fn style_of(class: Class) -> &'static str {
    match class {
        Class::Hot => "32",
        Class::RestartApplication => "33",
        Class::RestartVm | Class::Cold => "31",
    }
}
