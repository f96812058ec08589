//! The graph of steps as a picture: what all its notations share, and the one for programs, `relgraph.graph/1`.

pub mod dot;
mod layout;
pub mod mermaid;
pub mod svg;

use relgraph_engine::Reason;
use serde_json::{Value, json};

use super::{reason, time};

/// The schema of `graph --view json`.
const SCHEMA: &str = "relgraph.graph/1";

/// A graph of steps.
pub struct View {
    /// The name of the release.
    pub release: String,
    /// `MIX_ENV`.
    pub environment: String,
    /// The last build, when there was one.
    pub run: Option<String>,
    /// The steps, each after those it needs.
    pub nodes: Vec<Node>,
}

/// One step.
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its rule.
    pub rule: &'static str,
    /// The places of the steps that it needs.
    pub needs: Vec<usize>,
    /// What the last build did with it.
    pub outcome: Option<String>,
    /// Why.
    pub reason: Option<Reason>,
    /// How long that took.
    pub duration_ms: Option<u64>,
}

impl Node {
    /// The word for its looks: an outcome, or `unknown`.
    fn class(&self) -> &str {
        self.outcome.as_deref().unwrap_or("unknown")
    }

    /// What there is to say of it.
    fn title(&self) -> String {
        let mut title = format!("{}: {}", self.name, self.class());
        if let Some(ms) = self.duration_ms {
            title.push_str(&format!(", {}", time::took(ms)));
        }
        if let Some(reason) = &self.reason {
            title.push_str(&format!(", {}", reason::told(reason)));
        }
        title
    }
}

/// The looks of an outcome: fill and line on light ground, fill and line on dark ground.
const LOOKS: [(&str, [&str; 4]); 8] = [
    ("unknown", ["#ffffff", "#6e7781", "#161b22", "#8b949e"]),
    ("fresh", ["#eaf6ec", "#4a8f5c", "#13281a", "#5fae74"]),
    ("local", ["#e4f3f1", "#2f8a80", "#0f2927", "#4fb3a8"]),
    ("remote", ["#e4eef9", "#3f74b5", "#10233a", "#6aa1e0"]),
    ("ran", ["#fdf3dc", "#b07b14", "#33270c", "#d9a441"]),
    ("dup", ["#f5ecf9", "#8957a8", "#281a32", "#b98ad6"]),
    ("failed", ["#fce8e6", "#c5352c", "#3a1513", "#f2726a"]),
    ("skipped", ["#f1f2f4", "#9aa1a9", "#1f2329", "#6b737c"]),
];

impl View {
    /// For programs: all edges.
    pub fn json(&self) -> Value {
        let step = |node: &Node| {
            json!({
                "step": node.name,
                "rule": node.rule,
                "needs": node.needs.iter().map(|need| self.nodes[*need].name.as_str()).collect::<Vec<_>>(),
                "outcome": node.outcome,
                "reason": node.reason.as_ref().map(reason::json),
                "duration_ms": node.duration_ms,
            })
        };
        json!({
            "schema": SCHEMA,
            "release": { "name": self.release, "environment": self.environment },
            "run": self.run,
            "steps": self.nodes.iter().map(step).collect::<Vec<_>>(),
        })
    }

    /// The edges to draw, per step: those that do not follow from others.
    fn reduced(&self) -> Vec<Vec<usize>> {
        let words = self.nodes.len().div_ceil(64);
        let mut below = vec![vec![0_u64; words]; self.nodes.len()];
        let mut kept = Vec::with_capacity(self.nodes.len());
        for (at, node) in self.nodes.iter().enumerate() {
            let mut needs = node.needs.clone();
            needs.sort_unstable();
            needs.dedup();
            let mut reached = vec![0_u64; words];
            let mut edges = Vec::new();
            // A need that another need stands on comes before that one.
            for need in needs.into_iter().rev() {
                if reached[need / 64] & (1 << (need % 64)) != 0 {
                    continue;
                }
                edges.push(need);
                reached[need / 64] |= 1 << (need % 64);
                for (word, more) in reached.iter_mut().zip(&below[need]) {
                    *word |= more;
                }
            }
            edges.reverse();
            below[at] = reached;
            kept.push(edges);
        }
        kept
    }

    /// The outcomes that occur, with their looks.
    fn looks(&self) -> Vec<(&'static str, [&'static str; 4])> {
        LOOKS.into_iter().filter(|(name, _)| self.nodes.iter().any(|node| node.class() == *name)).collect()
    }
}

#[cfg(test)]
mod tests;
