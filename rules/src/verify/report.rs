//! What a comparison with the project's own tool finds: each difference in its place, and why it is there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reason::Reason;
use crate::etf::Term;

/// The schema of the report.
pub const SCHEMA: &str = "relgraph.verify/1";

/// Which part of a file differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Only one side has it.
    Presence,
    /// A file, a folder or a symlink: not the same on both sides.
    Kind,
    /// Permissions.
    Mode,
    /// The target of a symlink.
    Link,
    /// Where it lies.
    Place,
    /// A chunk of a module.
    Chunk(String),
    /// A term.
    Term,
    /// A line of text.
    Line,
    /// A section of a native file.
    Section,
    /// How a package holds it.
    Package,
    /// Bytes of which no more is known.
    Content,
}

impl Part {
    /// The word for it in reports.
    pub fn word(&self) -> String {
        match self {
            Part::Presence => "presence".to_owned(),
            Part::Kind => "kind".to_owned(),
            Part::Mode => "mode".to_owned(),
            Part::Link => "link".to_owned(),
            Part::Place => "place".to_owned(),
            Part::Chunk(id) => format!("chunk {id}"),
            Part::Term => "term".to_owned(),
            Part::Line => "line".to_owned(),
            Part::Section => "section".to_owned(),
            Part::Package => "package".to_owned(),
            Part::Content => "content".to_owned(),
        }
    }
}

/// What stands on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A term.
    Term(Term),
    /// Text.
    Text(String),
}

/// Why a difference is there, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The reason.
    pub reason: Reason,
    /// What shows it, in words; empty when the reason says all.
    pub detail: String,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, in our release; in theirs where only they have it.
    pub path: String,
    /// The application that the file belongs to.
    pub application: Option<String>,
    /// The module that the file holds.
    pub module: Option<String>,
    /// The function in it.
    pub function: Option<String>,
    /// Which part differs.
    pub part: Part,
    /// Where in that part: a path into a term, an instruction, a line.
    pub place: String,
    /// What our release has; none: nothing.
    pub ours: Option<Value>,
    /// What theirs has.
    pub theirs: Option<Value>,
    /// Whether this is where two lists of the same elements begin to have another order.
    pub order: bool,
    /// Why it is none to worry about.
    pub explained: Option<Explanation>,
}

impl Finding {
    /// A difference in a file.
    pub fn new(path: &str, part: Part) -> Finding {
        Finding {
            path: path.to_owned(),
            application: None,
            module: None,
            function: None,
            part,
            place: String::new(),
            ours: None,
            theirs: None,
            order: false,
            explained: None,
        }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Finding {
        self.place = place.into();
        self
    }

    /// Says in which function.
    #[must_use]
    pub fn in_function(mut self, function: impl Into<String>) -> Finding {
        self.function = Some(function.into());
        self
    }

    /// What both sides have, as text.
    #[must_use]
    pub fn texts(mut self, ours: Option<String>, theirs: Option<String>) -> Finding {
        (self.ours, self.theirs) = (ours.map(Value::Text), theirs.map(Value::Text));
        self
    }

    /// What both sides have, as terms.
    #[must_use]
    pub fn terms(mut self, ours: Option<&Term>, theirs: Option<&Term>) -> Finding {
        self.ours = ours.cloned().map(Value::Term);
        self.theirs = theirs.cloned().map(Value::Term);
        self
    }

    /// Explains it, unless it is explained already.
    pub fn explain(&mut self, reason: Reason, detail: impl Into<String>) {
        if self.explained.is_none() {
            self.explained = Some(Explanation { reason, detail: detail.into() });
        }
    }

    /// Explained from the start.
    #[must_use]
    pub fn because(mut self, reason: Reason, detail: impl Into<String>) -> Finding {
        self.explain(reason, detail);
        self
    }

    /// What tells whether two findings are about the same place.
    pub(super) fn spot(&self) -> (&str, &Part, Option<&str>) {
        (&self.path, &self.part, self.function.as_deref())
    }
}

/// How many files of each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Equal in content, kind and mode.
    pub same: usize,
    /// Every difference is explained.
    pub explained: usize,
    /// A difference is not.
    pub unexplained: usize,
}

/// What came of a comparison.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Files, folders and links that both sides or one of them has.
    pub counts: Counts,
    /// Every difference, by path.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Counts the files by verdict. `total`: of both sides.
    pub fn count(&mut self, total: usize) {
        let mut files: BTreeMap<&str, bool> = BTreeMap::new();
        for finding in &self.findings {
            *files.entry(&finding.path).or_insert(true) &= finding.explained.is_some();
        }
        let explained = files.values().filter(|explained| **explained).count();
        self.counts = Counts { same: total - files.len(), explained, unexplained: files.len() - explained };
    }

    /// Whether nothing is left unexplained.
    pub fn is_explained(&self) -> bool {
        self.findings.iter().all(|finding| finding.explained.is_some())
    }

    /// The differences that nothing explains.
    pub fn unexplained(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.explained.is_none())
    }
}
