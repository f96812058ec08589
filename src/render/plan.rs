//! What a build would do, as text and as `relgraph.plan/1`.

use std::collections::BTreeMap;

use relgraph_engine::Graph;
use serde_json::{Value, json};

use super::table::{Column, table};
use super::{Paint, harmless, reason, time};
use crate::cli::{Expected, Prospect};

/// The schema of `plan --format json`.
const SCHEMA: &str = "relgraph.plan/1";

/// What a build would do.
pub struct Plan {
    /// The name of the release.
    pub release: String,
    /// `MIX_ENV`.
    pub environment: String,
    /// The steps, each after those it needs.
    pub steps: Vec<Expected>,
}

/// The word for a prospect in JSON.
pub fn word(prospect: &Prospect) -> &'static str {
    match prospect {
        Prospect::Fresh => "fresh",
        Prospect::Hit(_) => "hit",
        Prospect::Run(_) => "run",
        Prospect::MayRun(_) => "may_run",
        Prospect::Fails(_) => "fails",
        Prospect::Asked(_) => "asked",
    }
}

/// Prospects in the order in which they are told, with their words for people.
const TOLD: [(&str, &str); 6] = [
    ("run", "would run"),
    ("may_run", "may run"),
    ("fails", "cannot run"),
    ("asked", "ran just now"),
    ("hit", "from the store"),
    ("fresh", "fresh"),
];

impl Plan {
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<&'static str, usize> = TOLD.iter().map(|(word, _)| (*word, 0)).collect();
        for step in &self.steps {
            *counts.entry(word(&step.prospect)).or_default() += 1;
        }
        counts
    }

    /// For programs.
    pub fn json(&self, graph: &Graph) -> Value {
        let step = |expected: &Expected| {
            let (why, after, error) = match &expected.prospect {
                Prospect::Hit(reason) | Prospect::Asked(reason) => (reason.as_ref(), None, None),
                Prospect::Run(reason) => (Some(reason), None, None),
                Prospect::MayRun(after) => (None, Some(after), None),
                Prospect::Fails(message) => (None, None, Some(message)),
                Prospect::Fresh => (None, None, None),
            };
            json!({
                "step": expected.step,
                "rule": graph.step(&expected.step).map(|step| step.rule.name),
                "planned": word(&expected.prospect),
                "reason": why.map(reason::json),
                "after": after,
                "error": error,
                "expected_ms": expected.expected_ms,
                "needs": graph.needs(&expected.step).map(|need| need.name.as_str()).collect::<Vec<_>>(),
            })
        };
        json!({
            "schema": SCHEMA,
            "release": { "name": self.release, "environment": self.environment },
            "counts": self.counts(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn text(&self, all: bool, colour: bool) -> String {
        let paint = Paint(colour);
        let counts = self.counts();
        let counted: Vec<String> = TOLD
            .iter()
            .filter(|(word, _)| counts.get(word).is_some_and(|count| *count > 0))
            .map(|(word, words)| format!("{} {words}", counts[word]))
            .collect();
        let mut out = paint.bold(&format!(
            "{} ({}): {} steps: {}",
            harmless(&self.release),
            harmless(&self.environment),
            self.steps.len(),
            counted.join(", ")
        ));
        out.push('\n');
        let shown = self.steps.iter().filter(|step| all || step.prospect != Prospect::Fresh);
        let rows: Vec<Vec<String>> = shown.map(row).collect();
        out.push_str(&table(&rows, &[Column::Left, Column::Left, Column::Right, Column::Left]));
        if self.steps.iter().any(|step| matches!(step.prospect, Prospect::Asked(_))) {
            out.push_str(
                "the project's tool was asked what the project is: the steps follow from its answer\n",
            );
        }
        out
    }
}

fn row(expected: &Expected) -> Vec<String> {
    let words = match &expected.prospect {
        Prospect::Run(_) => "run",
        Prospect::MayRun(_) => "may run",
        Prospect::Fails(_) => "fails",
        Prospect::Asked(_) => "ran",
        Prospect::Hit(_) => "store",
        Prospect::Fresh => "fresh",
    };
    let why = match &expected.prospect {
        Prospect::Run(reason) | Prospect::Hit(Some(reason)) | Prospect::Asked(Some(reason)) => {
            reason::told(reason).to_string()
        }
        Prospect::MayRun(after) => format!("after {}", listed(after)),
        Prospect::Fails(message) => message.clone(),
        Prospect::Fresh | Prospect::Hit(None) | Prospect::Asked(None) => String::new(),
    };
    let runs = matches!(expected.prospect, Prospect::Run(_) | Prospect::MayRun(_));
    let estimate = expected.expected_ms.filter(|_| runs).map(|ms| format!("~{}", time::took(ms)));
    vec![format!("  {words}"), harmless(&expected.step), estimate.unwrap_or_default(), harmless(&why)]
}

/// Names of steps in one line: the first few.
fn listed(names: &[String]) -> String {
    let more = if names.len() > 3 { format!(" and {} more", names.len() - 3) } else { String::new() };
    let names: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use relgraph_engine::Reason;

    use super::*;

    #[test]
    fn steps_that_are_not_fresh_are_told_with_their_reasons() {
        let step = |name: &str, prospect, expected_ms| Expected { step: name.into(), prospect, expected_ms };
        let plan = Plan {
            release: "demo".into(),
            environment: "prod".into(),
            steps: vec![
                step("describe", Prospect::Fresh, Some(900)),
                step("compile demo", Prospect::Run(Reason::InputChanged("lib/demo.ex".into())), Some(1420)),
                step("assemble", Prospect::MayRun(vec!["compile demo".into()]), None),
            ],
        };
        assert_eq!(
            plan.text(false, false),
            "demo (prod): 3 steps: 1 would run, 1 may run, 1 fresh\n\
             \x20 run      compile demo  ~1.42 s  lib/demo.ex changed\n\
             \x20 may run  assemble               after compile demo\n"
        );
        assert!(plan.text(true, false).contains("  fresh    describe\n"));
    }
}
