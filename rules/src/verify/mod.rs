//! Comparing relgraph's release with the one that the project's own tool makes: file by file, chunk by chunk, term by
//! term, with a checked reason for each difference, or none.

pub mod clock;
mod explain;
mod facts;
mod files;
mod gather;
mod listing;
pub mod make;
mod module;
mod names;
mod native;
pub mod packed;
mod paths;
mod reason;
mod report;
mod terms;
mod text;
pub mod tool;

use std::collections::BTreeSet;

use crate::compare::CompareError;

pub use facts::{Asked, Cookie, Facts, Laid};
pub use files::{bytes, value_text};
pub use gather::facts as gather;
pub use listing::{Entry, Listing, Source};
pub use names::Names;
pub use paths::Roots;
pub use reason::Reason;
pub use report::{Counts, Explanation, Finding, Part, Report, SCHEMA, Value};

/// Compares two releases and explains what can be explained.
pub fn compare(ours: &Listing<'_>, theirs: &Listing<'_>, facts: &Facts) -> Result<Report, CompareError> {
    let (mut findings, total) = files::compare(ours, theirs, &facts.names)?;
    explain::explain(&mut findings, ours, theirs, facts);
    one_per_launcher(&mut findings);
    let mut report = Report { findings, ..Report::default() };
    report.count(total);
    Ok(report)
}

/// A launcher is another program altogether: that it differs is said once, and not line by line.
fn one_per_launcher(findings: &mut Vec<Finding>) {
    let launcher =
        |finding: &Finding| finding.explained.as_ref().is_some_and(|e| e.reason == Reason::Launcher);
    let mut seen = BTreeSet::new();
    findings.retain(|finding| !launcher(finding) || seen.insert(finding.path.clone()));
    for finding in findings.iter_mut().filter(|finding| launcher(finding)) {
        finding.part = Part::Content;
        finding.place.clear();
        (finding.ours, finding.theirs) = (None, None);
    }
}

/// Explains what the tool does not make twice alike: `again` is a second release of its own, built like `theirs`. A
/// difference counts where those two differ in the same part of the same file, and function.
pub fn explain_unsteady(
    report: &mut Report,
    theirs: &Listing<'_>,
    again: &Listing<'_>,
    facts: &Facts,
) -> Result<(), CompareError> {
    let names = Names::same(&facts.names.name, &facts.names.their_version);
    let (mut moved, _) = files::compare(theirs, again, &names)?;
    for finding in &mut moved {
        finding.path = facts.names.ours(&finding.path);
    }
    // What is told of the tables of a module follows from its code.
    let running =
        |part: &Part| matches!(part, Part::Chunk(id) if ["LitT", "AtU8", "ImpT"].contains(&id.as_str()));
    let place = |finding: &Finding| match finding.part {
        Part::Term => finding.place.clone(),
        _ => String::new(),
    };
    let spots: BTreeSet<_> = moved.iter().map(|finding| (finding.spot(), place(finding))).collect();
    let modules: BTreeSet<&str> =
        moved.iter().filter(|f| f.part == Part::Chunk("Code".into())).map(|f| f.path.as_str()).collect();
    let total = report.counts.same + report.counts.explained + report.counts.unexplained;
    for finding in report.findings.iter_mut().filter(|finding| finding.explained.is_none()) {
        let known = spots.contains(&(finding.spot(), place(finding)))
            || (running(&finding.part) && modules.contains(finding.path.as_str()));
        if known {
            finding.explain(Reason::Unsteady, "two builds by the tool itself differ here as well");
        }
    }
    report.count(total);
    Ok(())
}
