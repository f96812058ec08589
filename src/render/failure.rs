//! Failed steps, as complaints: what the program said, then what it means.

use relgraph_engine::{Outcome, RunReport, StepError, StepErrorKind, StepReport};
use relgraph_rules::diagnostic::Diagnostic;

/// One complaint per failed step, and one about what was not started.
pub fn diagnostics(report: &RunReport) -> Vec<Diagnostic> {
    let mut complaints: Vec<Diagnostic> = report.failed().map(failed).collect();
    let skipped: Vec<&str> = report
        .steps
        .values()
        .filter(|step| step.outcome == Outcome::Skipped)
        .map(|step| step.name.as_str())
        .collect();
    if let (Some(first), false) = (complaints.first_mut(), skipped.is_empty()) {
        let more = if skipped.len() > 4 { format!(" and {} more", skipped.len() - 4) } else { String::new() };
        let names: Vec<&str> = skipped.into_iter().take(4).collect();
        *first = first.clone().note(format!("not started: {}{more}", names.join(", ")));
    }
    complaints
}

fn failed(step: &StepReport) -> Diagnostic {
    let Some(error) = &step.error else { return Diagnostic::error(format!("step `{}` failed", step.name)) };
    told(format!("step `{}` failed: {}", step.name, error.message), error)
}

/// A complaint with what the program said that failed.
pub fn told(message: String, error: &StepError) -> Diagnostic {
    let mut complaint = Diagnostic::error(message);
    for text in [&error.stdout, &error.stderr] {
        if !text.trim().is_empty() {
            complaint = complaint.note(text.trim_end().to_owned());
        }
    }
    // A VM says it as Erlang does, everybody else in the system's words.
    let full = ["No space left on device", "no space left on device", "enospc"];
    if [&error.message, &error.stdout, &error.stderr].into_iter().any(|t| full.iter().any(|w| t.contains(w)))
    {
        complaint = complaint.hint(
            "the disk is full: make room and build again (`relgraph cache gc` frees what the store can do without); \
             the last good release is as it was",
        );
    }
    if error.kind == StepErrorKind::Panic || error.kind == StepErrorKind::Internal {
        complaint = complaint.hint("this is a bug in relgraph; please report it with what you did");
    }
    match &error.hint {
        Some(hint) => complaint.hint(hint.clone()),
        None => complaint,
    }
}
