//! From findings and the levels of release.yaml to errors and warnings.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Finding, Kind, Weight};
use crate::diagnostic::{Diagnostic, Span};
use crate::schema::{Level, Preflight};

/// What becomes of a build.
#[derive(Debug, Default)]
pub struct Judged {
    /// What ends it.
    pub errors: Vec<Diagnostic>,
    /// What is said.
    pub warnings: Vec<Diagnostic>,
}

/// No more are shown one by one: the command that shows all is named instead.
const MOST: usize = 10;

/// Holds findings against the levels that release.yaml gives. `root` is the project's folder, for lines of its sources.
pub fn judge(findings: &[Finding], levels: &Preflight, root: &Path) -> Judged {
    let mut judged = Judged::default();
    let Preflight::On(levels) = levels else { return judged };
    let level = |kind: Kind| levels.get(kind.word()).copied().unwrap_or(kind.usual());
    let (mut errors, mut warnings) = (0, 0);
    for finding in findings {
        match (level(finding.kind), finding.weight) {
            (Level::Off, _) | (_, Weight::Summed | Weight::Aside) => {}
            (Level::Error, Weight::Certain) => {
                errors += 1;
                if errors <= MOST {
                    judged.errors.push(diagnostic(finding, Diagnostic::error(&finding.message), root));
                }
            }
            _ => {
                warnings += 1;
                if warnings <= MOST {
                    judged.warnings.push(diagnostic(finding, Diagnostic::warning(&finding.message), root));
                }
            }
        }
    }
    for (count, list) in [(errors, &mut judged.errors), (warnings, &mut judged.warnings)] {
        if let Some(last) = list.last_mut()
            && count > MOST
        {
            *last = last.clone().hint(format!("`relgraph preflight` shows {} more", count - MOST));
        }
    }
    if level(Kind::MissingCalls) != Level::Off {
        judged.warnings.extend(sum(findings));
    }
    if let Some(first) = judged.errors.last_mut() {
        let word = findings.iter().find(|f| level(f.kind) == Level::Error && f.weight == Weight::Certain);
        let word = word.map_or("modules", |finding| finding.kind.word());
        *first = first.clone().hint(format!(
            "if it is meant to be so, `preflight: {{{word}: warn}}` in release.yaml lets the build go on"
        ));
    }
    judged
}

/// One finding as a complaint.
fn diagnostic(finding: &Finding, complaint: Diagnostic, root: &Path) -> Diagnostic {
    let complaint = match &finding.hint {
        Some(hint) => complaint.hint(hint.clone()),
        None => complaint,
    };
    at(complaint, finding.file.as_deref(), finding.line, root)
}

/// A complaint with the line that it is about, when both file and line are known. The file is seen from `root`; where it is not
/// there, its name has to do.
pub fn at(complaint: Diagnostic, file: Option<&str>, line: Option<u32>, root: &Path) -> Diagnostic {
    let (Some(file), Some(line)) = (file, line) else { return complaint };
    let text = fs::read_to_string(root.join(file)).ok();
    let text = text.as_deref().and_then(|text| text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?));
    match text {
        Some(text) => {
            let column = text.chars().take_while(|c| c.is_whitespace()).count() + 1;
            let end_column = text.trim_end().chars().count() + 1;
            let line = usize::try_from(line).unwrap_or_default();
            complaint.in_file(file).at(Span { line, column, end_column, text: text.to_owned() })
        }
        None => complaint.note(format!("{file}:{line}")),
    }
}

/// What is in the code of others, in one line.
fn sum(findings: &[Finding]) -> Option<Diagnostic> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.weight == Weight::Summed) {
        *counts.entry(finding.application.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    if total == 0 {
        return None;
    }
    let mut parts: Vec<String> = counts.iter().take(5).map(|(app, count)| format!("{app} {count}")).collect();
    if counts.len() > 5 {
        parts.push("…".to_owned());
    }
    let calls = if total == 1 { "1 call".to_owned() } else { format!("{total} calls") };
    let message = format!(
        "{calls} in dependencies lead to functions that the release does not have ({})",
        parts.join(", ")
    );
    Some(
        Diagnostic::warning(message)
            .hint("`relgraph preflight` lists them, with the application that each belongs to"),
    )
}
