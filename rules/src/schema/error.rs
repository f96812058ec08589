//! Everything that can be wrong with a release.yaml, as values.

use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Span};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no file.
    #[error("there is no such file")]
    Absent,
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Bytes that are no text.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// Larger than any file a person writes.
    #[error("the file is larger than {0} bytes")]
    TooLarge(usize),
    /// Nothing but white space and comments.
    #[error("the file is empty")]
    Empty,
    /// Not YAML.
    #[error("invalid YAML: {0}")]
    Syntax(String),
    /// A key that must be there is not.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A key that means nothing here.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// A key that was there before.
    #[error("duplicate key `{0}`")]
    DuplicateKey(String),
    /// An entry of a list that was there before.
    #[error("`{0}` is listed twice")]
    ListedTwice(String),
    /// A value of another kind than asked for.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The kind asked for.
        expected: String,
        /// The kind that is there.
        found: String,
    },
    /// A word that is none of those allowed.
    #[error("unknown value `{value}`, expected {allowed}")]
    UnknownValue {
        /// The word.
        value: String,
        /// Those allowed, as a sentence says them.
        allowed: String,
    },
    /// A text of the right kind that breaks a rule.
    #[error("{0}")]
    Invalid(String),
}

/// A problem, its place, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.diagnostic())]
pub struct SchemaError {
    /// What is wrong.
    pub problem: Problem,
    /// The file, as the user named it.
    pub file: PathBuf,
    /// Where in the file; `None` when it is about the whole file.
    pub span: Option<Span>,
    /// What to write beside the place.
    pub label: Option<String>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl SchemaError {
    /// The same, in the form that the command renders.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic {
            label: self.label.clone(),
            hints: self.hints.clone(),
            ..Diagnostic::error(self.problem.to_string()).in_file(&self.file).at(self.span.clone())
        }
    }
}

impl From<&SchemaError> for Diagnostic {
    fn from(error: &SchemaError) -> Self {
        error.diagnostic()
    }
}
