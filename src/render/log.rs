//! The history of builds: who built what from which commit, and what differed; as text and as `relgraph.log/1` and `relgraph.run/1`.

use std::collections::BTreeMap;

use relgraph_engine::{Outcome, Reason, Run, RunStep};
use relgraph_rules::record::{Rehearsal, ReleaseRecord};
use serde_json::{Value, json};

use super::table::{Column, table};
use super::{Paint, count, harmless, made, reason, time};

/// The schema of `log --format json`.
const LIST: &str = "relgraph.log/1";
/// The schema of `log RUN --format json`.
const RUN: &str = "relgraph.run/1";

fn outcome(run: &Run) -> &'static str {
    match (run.cancelled, run.success) {
        (true, _) => "interrupted",
        (false, true) => "done",
        (false, false) => "failed",
    }
}

/// How many steps had which outcome, in words.
fn counted(run: &Run) -> String {
    let words = |outcome: &Outcome| {
        let number = run.counts.get(outcome.word()).filter(|number| **number > 0)?;
        Some(format!("{number} {}", outcome.word()))
    };
    Outcome::ALL.iter().filter_map(words).collect::<Vec<_>>().join(", ")
}

/// What a run made, where that was written down.
fn made(run: &Run) -> Option<ReleaseRecord> {
    serde_json::from_value(run.made.clone()?).ok()
}

/// The rehearsals of what a run made.
fn of_made<'a>(record: &ReleaseRecord, rehearsals: &'a [Rehearsal]) -> Vec<&'a Rehearsal> {
    made::rehearsed(rehearsals, &record.tree)
}

fn summary(run: &Run, rehearsals: &[Rehearsal]) -> Value {
    let made = made(run).map(|record| made::json(&record, &of_made(&record, rehearsals)));
    json!({
        "id": run.id,
        "release": run.name,
        "started": time::utc(run.started_ms),
        "duration_ms": run.duration_ms,
        "outcome": outcome(run),
        "counts": run.counts,
        "made": made,
    })
}

/// A list of runs for programs. `rehearsals` are all that are known.
pub fn list_json(runs: &[Run], short: &BTreeMap<String, String>, rehearsals: &[Rehearsal]) -> Value {
    let entry = |run: &Run| {
        let mut entry = summary(run, rehearsals);
        entry["short"] = short.get(&run.id).cloned().into();
        entry
    };
    json!({ "schema": LIST, "runs": runs.iter().map(entry).collect::<Vec<_>>() })
}

/// A list of runs for people; `names` says whether they are of several releases.
pub fn list_text(
    runs: &[Run],
    short: &BTreeMap<String, String>,
    names: bool,
    rehearsals: &[Rehearsal],
) -> String {
    if runs.is_empty() {
        return "no builds yet\n".to_owned();
    }
    let now = time::now_ms();
    let made: Vec<Option<ReleaseRecord>> = runs.iter().map(made).collect();
    let row = |(run, made): (&Run, &Option<ReleaseRecord>)| {
        let version = made.as_ref().map(|record| record.version.as_str()).unwrap_or_default();
        vec![
            short.get(&run.id).unwrap_or(&run.id).clone(),
            time::ago(run.started_ms, now),
            if names { harmless(&run.name) } else { String::new() },
            harmless(version),
            outcome(run).to_owned(),
            time::took(run.duration_ms),
            counted(run),
        ]
    };
    let columns =
        [Column::Left, Column::Left, Column::Left, Column::Left, Column::Left, Column::Right, Column::Left];
    let rows: Vec<Vec<String>> = runs.iter().zip(&made).map(row).collect();
    let mut out = String::new();
    for (line, made) in table(&rows, &columns).lines().zip(&made) {
        out.push_str(&format!("{line}\n"));
        for told in made.iter().flat_map(|record| trail(record, rehearsals)) {
            out.push_str(&format!("      {told}\n"));
        }
    }
    out
}

/// Who made it from what and with what; what differs; what was rehearsed: a line each.
fn trail(record: &ReleaseRecord, rehearsals: &[Rehearsal]) -> Vec<String> {
    let mut from: Vec<String> = record.commit.iter().map(made::commit).collect();
    from.extend(record.builder.iter().map(|builder| format!("by {}", made::builder(builder))));
    from.push(format!("with {}", made::toolchain(record)));
    let mut lines = vec![from.join(", ")];
    lines.extend(made::since(record));
    lines.extend(of_made(record, rehearsals).into_iter().map(made::rehearsal));
    lines
}

/// The steps of a run, those that took longest first.
fn by_duration(run: &Run) -> Vec<(&String, &RunStep)> {
    let mut steps: Vec<(&String, &RunStep)> = run.steps.iter().collect();
    steps.sort_by(|a, b| b.1.duration_ms.cmp(&a.1.duration_ms).then_with(|| a.0.cmp(b.0)));
    steps
}

fn why(step: &RunStep) -> Option<Reason> {
    Reason::from_word(step.reason.as_deref()?, step.subject.as_deref())
}

/// One run for programs.
pub fn run_json(run: &Run, rehearsals: &[Rehearsal]) -> Value {
    let mut object = json!({ "schema": RUN });
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), summary(run, rehearsals)) {
        object.extend(fields);
    }
    let step = |(name, step): (&String, &RunStep)| {
        json!({
            "step": name,
            "outcome": step.outcome,
            "reason": why(step).as_ref().map(reason::json),
            "duration_ms": step.duration_ms,
            "result": step.result,
            "error": step.error,
        })
    };
    object["steps"] = by_duration(run).into_iter().map(step).collect();
    object
}

/// One run for people.
pub fn run_text(run: &Run, rehearsals: &[Rehearsal], colour: bool) -> String {
    let paint = Paint(colour);
    let title = format!("run {}: {}, {} in {}", run.id, run.name, outcome(run), time::took(run.duration_ms));
    let row = |(name, step): (&String, &RunStep)| {
        let why = match (&step.error, why(step)) {
            (Some(error), _) => error.clone(),
            (None, Some(why)) => reason::told(&why).to_string(),
            (None, None) => String::new(),
        };
        vec![
            format!("  {}", time::took(step.duration_ms)),
            harmless(&step.outcome),
            harmless(name),
            harmless(why.lines().next().unwrap_or_default()),
        ]
    };
    let rows: Vec<Vec<String>> = by_duration(run).into_iter().map(row).collect();
    let mut trail_of = String::new();
    if let Some(record) = made(run) {
        let title = format!("{} {} ({})", record.name, record.version, record.environment);
        trail_of = format!("  made {}, {}\n", harmless(&title), record.tree);
        for told in trail(&record, rehearsals) {
            trail_of.push_str(&format!("  {told}\n"));
        }
        if let Some(job) = record.builder.as_ref().and_then(|builder| builder.job.as_ref()) {
            trail_of.push_str(&format!("  job {}\n", harmless(job)));
        }
    }
    format!(
        "{}\n  {} ({}); {}: {}\n{trail_of}{}",
        paint.bold(&harmless(&title)),
        time::utc(run.started_ms),
        time::ago(run.started_ms, time::now_ms()),
        count(run.steps.len(), "step"),
        counted(run),
        table(&rows, &[Column::Right, Column::Left, Column::Left, Column::Left])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let step = |outcome: &str, reason: Option<&str>, duration_ms, error: Option<&str>| RunStep {
            outcome: outcome.into(),
            reason: reason.map(str::to_owned),
            subject: reason.map(|_| "lib/a.ex".to_owned()),
            duration_ms,
            result: None,
            error: error.map(str::to_owned),
        };
        Run {
            id: "00112233aabbccdd".into(),
            started_ms: 0,
            name: "demo".into(),
            duration_ms: 2500,
            success: false,
            cancelled: false,
            counts: [("ran".to_owned(), 1), ("failed".to_owned(), 1)].into(),
            steps: [
                ("fast".to_owned(), step("failed", None, 10, Some("it said no\nat length"))),
                ("slow".to_owned(), step("ran", Some("input_changed"), 2490, None)),
            ]
            .into(),
            made: None,
        }
    }

    #[test]
    fn one_run_is_told_slowest_first() {
        let text = run_text(&run(), &[], false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "run 00112233aabbccdd: demo, failed in 2.50 s");
        assert!(lines[1].ends_with("2 steps: 1 ran, 1 failed"), "{}", lines[1]);
        assert_eq!(lines[2], "  2.49 s  ran     slow  lib/a.ex changed");
        assert_eq!(lines[3], "  0.01 s  failed  fast  it said no");
        assert_eq!(run_json(&run(), &[])["steps"][0]["reason"]["subject"], "lib/a.ex");
    }

    #[test]
    fn a_list_names_releases_only_where_there_are_several() {
        let short = BTreeMap::from([("00112233aabbccdd".to_owned(), "0011".to_owned())]);
        assert!(list_text(&[run()], &short, true, &[]).starts_with("0011  "));
        assert!(list_text(&[run()], &short, true, &[]).contains("  demo  failed  2.50 s  1 ran, 1 failed"));
        assert!(!list_text(&[run()], &short, false, &[]).contains("demo"));
        assert_eq!(list_text(&[], &short, false, &[]), "no builds yet\n");
        assert_eq!(list_json(&[run()], &short, &[])["runs"][0]["short"], "0011");
    }
}
