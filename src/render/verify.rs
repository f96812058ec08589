//! A comparison with the project's own tool: a verdict, then the reasons, then what nothing explains.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use relgraph_rules::compare::mask;
use relgraph_rules::verify::{Finding, Part, Reason, Report, SCHEMA, Value};
use serde_json::{Value as Json, json as object};

use super::{Paint, count, cut, harmless, short};

/// How many files stand for all that one thing explains.
const EXAMPLES: usize = 2;
/// How many things that show one reason are told before the list is cut.
const DETAILS: usize = 8;
/// How many unexplained differences are told before the list is cut.
const TOLD: usize = 40;
/// How many differences of one file are told before the list is cut.
const OF_A_FILE: usize = 5;
/// No value is shown with more characters.
const VALUE: usize = 100;

/// What is shown.
pub struct Shown<'a> {
    /// What was found.
    pub report: &'a Report,
    /// The release.
    pub name: &'a str,
    /// `MIX_ENV`.
    pub environment: &'a str,
    /// What it was compared with.
    pub against: &'a str,
    /// Whether that makes applications and no release of them.
    pub applications: bool,
    /// Where the scratch copy is, when it was kept.
    pub kept: Option<&'a Path>,
}

/// For people.
pub fn text(shown: &Shown<'_>, colour: bool, verbose: bool) -> String {
    let mut page = Page { out: String::new(), paint: Paint(colour) };
    let Shown { report, name, against, .. } = shown;
    let unexplained = report.counts.unexplained;
    let (is, is_not) = match shown.applications {
        true => ("has the applications that", "does not have the applications that"),
        false => ("is the release of", "is not the release of"),
    };
    let against = if shown.applications { format!("{against} builds") } else { (*against).to_owned() };
    let verdict = match (unexplained, report.counts.explained) {
        (0, 0) => format!("{name} {is} {against}: nothing differs"),
        (0, _) => format!("{name} {is} {against}: every difference is explained"),
        _ => format!(
            "{name} {is_not} {against}: {} differ{} without a known reason",
            count(unexplained, "file"),
            if unexplained == 1 { "s" } else { "" }
        ),
    };
    page.line(&verdict, "1");
    let counts = &report.counts;
    page.line(
        &format!(
            "  {} the same, {} explained, {unexplained} unexplained",
            count(counts.same, "path"),
            counts.explained
        ),
        "",
    );
    page.reasons(report, verbose);
    page.unexplained(report, verbose);
    if let Some(kept) = shown.kept {
        page.line("", "");
        page.line(&format!("the scratch copy is kept in {}", short(kept)), "");
    }
    page.out
}

struct Page {
    out: String,
    paint: Paint,
}

impl Page {
    fn line(&mut self, text: &str, style: &str) {
        let text = harmless(text);
        let _ = writeln!(self.out, "{}", self.paint.with(&text, style));
    }

    fn reasons(&mut self, report: &Report, verbose: bool) {
        let mut by_reason: BTreeMap<Reason, Vec<&Finding>> = BTreeMap::new();
        for finding in &report.findings {
            if let Some(explained) = &finding.explained {
                by_reason.entry(explained.reason).or_default().push(finding);
            }
        }
        if by_reason.is_empty() {
            return;
        }
        self.line("", "");
        self.line("explained", "1");
        for (reason, findings) in by_reason {
            let files: BTreeSet<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
            self.line(&format!("  {}: {}", reason.text(), count(files.len(), "path")), "");
            if verbose {
                for finding in findings {
                    self.finding(finding, "    ");
                }
                continue;
            }
            self.examples(&findings);
        }
    }

    /// The paths that a reason explains, by what shows it.
    fn examples(&mut self, findings: &[&Finding]) {
        let mut details: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for finding in findings {
            let detail = finding.explained.as_ref().map_or("", |explained| explained.detail.as_str());
            details.entry(detail).or_default().insert(&finding.path);
        }
        for (detail, paths) in details.iter().take(DETAILS) {
            let shown: Vec<&str> = paths.iter().take(EXAMPLES).copied().collect();
            let more = paths.len() - shown.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let detail = if detail.is_empty() { String::new() } else { format!("  ({detail})") };
            self.line(&format!("    {}{more}{detail}", shown.join(", ")), "2");
        }
        if details.len() > DETAILS {
            self.line(&format!("    and {} more; --verbose lists them", details.len() - DETAILS), "2");
        }
    }

    fn unexplained(&mut self, report: &Report, verbose: bool) {
        let mut by_file: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
        for finding in report.unexplained() {
            by_file.entry(&finding.path).or_default().push(finding);
        }
        if by_file.is_empty() {
            return;
        }
        self.line("", "");
        self.line("unexplained", "1");
        let most = if verbose { usize::MAX } else { TOLD };
        for (path, findings) in by_file.iter().take(most) {
            let owner = findings.first().and_then(|finding| finding.application.as_deref());
            let owner = owner.map(|owner| format!("  (application {owner})")).unwrap_or_default();
            self.line(&format!("  {path}{owner}"), "31");
            let of_file = if verbose { usize::MAX } else { OF_A_FILE };
            for finding in findings.iter().take(of_file) {
                self.finding(finding, "    ");
            }
            if findings.len() > of_file {
                self.line(&format!("    and {} more", findings.len() - of_file), "2");
            }
        }
        if by_file.len() > most {
            self.line(&format!("  and {} more; --verbose lists them", by_file.len() - most), "2");
        }
    }

    fn finding(&mut self, finding: &Finding, indent: &str) {
        let mut place = Vec::new();
        if finding.explained.is_some() {
            place.push(finding.path.clone());
        }
        if let Some(module) = &finding.module
            && finding.part != Part::Presence
        {
            place.push(short_module(module).to_owned());
        }
        place.extend(finding.function.clone());
        if !matches!(finding.part, Part::Content | Part::Term) {
            place.push(finding.part.word());
        }
        if !finding.place.is_empty() {
            place.push(finding.place.clone());
        }
        let detail =
            finding.explained.as_ref().map(|explained| explained.detail.as_str()).unwrap_or_default();
        let detail = if detail.is_empty() { String::new() } else { format!("  ({detail})") };
        self.line(&format!("{indent}{}: {}{detail}", place.join(", "), difference(finding)), "");
    }
}

/// Both sides on one line.
fn difference(finding: &Finding) -> String {
    let (ours, theirs) = (side(finding, &finding.ours), side(finding, &finding.theirs));
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if finding.order => {
            format!("the same elements in another order, from {ours}, theirs {theirs}")
        }
        (Some(ours), Some(theirs)) if ours == theirs => format!("{ours} on both sides, not written alike"),
        (Some(ours), Some(theirs)) => format!("{ours}, theirs {theirs}"),
        (Some(ours), None) => format!("only ours has {ours}"),
        (None, Some(theirs)) => format!("only theirs has {theirs}"),
        (None, None) if finding.part == Part::Package => "not as in the release".to_owned(),
        (None, None) => "not the same bytes".to_owned(),
    }
}

/// What stands on one side, shortened, without secrets.
fn side(finding: &Finding, value: &Option<Value>) -> Option<String> {
    Some(cut(&whole(finding, value.as_ref()?), VALUE))
}

/// What stands on one side, without secrets.
fn whole(finding: &Finding, value: &Value) -> String {
    match value {
        _ if finding.path.ends_with("COOKIE") && finding.part != Part::Presence => mask::MASK.to_owned(),
        Value::Term(term) => mask::term(&finding.place, term),
        Value::Text(text) => mask::line(text),
    }
}

fn short_module(name: &str) -> &str {
    name.strip_prefix("Elixir.").unwrap_or(name)
}

/// For programs.
pub fn json(shown: &Shown<'_>) -> Json {
    let report = shown.report;
    object!({
        "schema": SCHEMA,
        "same": report.is_explained(),
        "release": { "name": shown.name, "environment": shown.environment },
        "against": shown.against,
        "files": report.counts,
        "reasons": reasons(report),
        "differences": report.findings.iter().map(difference_json).collect::<Vec<_>>(),
        "kept": shown.kept.map(|path| path.display().to_string()),
    })
}

fn reasons(report: &Report) -> Json {
    let of = |reason: Reason| {
        let explained = |finding: &&Finding| finding.explained.as_ref().is_some_and(|e| e.reason == reason);
        let files: BTreeSet<&str> =
            report.findings.iter().filter(explained).map(|f| f.path.as_str()).collect();
        (!files.is_empty())
            .then(|| object!({ "reason": reason.word(), "text": reason.text(), "files": files.len() }))
    };
    Reason::ALL.into_iter().filter_map(of).collect::<Vec<_>>().into()
}

fn difference_json(finding: &Finding) -> Json {
    let side = |value: &Option<Value>| value.as_ref().map(|value| cut(&whole(finding, value), 2000));
    object!({
        "path": finding.path,
        "application": finding.application,
        "module": finding.module,
        "function": finding.function,
        "part": finding.part.word(),
        "place": finding.place,
        "order": finding.order,
        "ours": side(&finding.ours),
        "theirs": side(&finding.theirs),
        "verdict": if finding.explained.is_some() { "explained" } else { "unexplained" },
        "reason": finding.explained.as_ref().map(|explained| explained.reason.word()),
        "detail": finding.explained.as_ref().map(|explained| explained.detail.clone()),
    })
}
