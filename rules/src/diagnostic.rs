//! The shape of everything that the rules complain about: what is wrong, where, and what to do.
//!
//! Nothing here knows of terminals or colours; the command renders a [`Diagnostic`].

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The request cannot be carried out.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// A stretch of one line of a text file. What runs over several lines is cut at the end of the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// First column, from 1, in characters.
    pub column: usize,
    /// The column after the last one; equal to `column` for a place between two characters.
    pub end_column: usize,
    /// The whole line, without its end.
    pub text: String,
}

impl Span {
    /// The stretch as a range of bytes in [`Span::text`], always on character boundaries.
    pub fn bytes(&self) -> std::ops::Range<usize> {
        let at = |column: usize| {
            let skip = column.saturating_sub(1);
            self.text.char_indices().nth(skip).map_or(self.text.len(), |(byte, _)| byte)
        };
        let start = at(self.column);
        start..at(self.end_column).max(start)
    }
}

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, one line, no full stop.
    pub message: String,
    /// The file it is about, as the user named it.
    pub file: Option<PathBuf>,
    /// Where in the file.
    pub span: Option<Span>,
    /// What to write beside the marked place.
    pub label: Option<String>,
    /// Facts that help to understand it.
    pub notes: Vec<String>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// An error with nothing but its message.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message.into())
    }

    /// A warning with nothing but its message.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message.into())
    }

    fn new(severity: Severity, message: String) -> Self {
        Diagnostic { severity, message, file: None, span: None, label: None, notes: vec![], hints: vec![] }
    }

    /// Names the file.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Points at a place, if one is known.
    #[must_use]
    pub fn at(mut self, span: impl Into<Option<Span>>) -> Self {
        self.span = span.into();
        self
    }

    /// Writes something beside the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// One line, `FILE:LINE:COLUMN: MESSAGE`, for logs and for `Display` of errors.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(span) = &self.span {
                write!(f, "{}:{}:", span.line, span.column)?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// A text that the user wrote, fit for one line of a message: no control characters, not endless.
pub fn shown(text: &str) -> String {
    shown_up_to(text, 60)
}

/// The same with another length, in characters.
pub fn shown_up_to(text: &str, longest: usize) -> String {
    let mut line = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == longest {
            line.push('…');
            break;
        }
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// The nearest of `known` to `word`, when it is near enough to have been meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 200 {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, name), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(3) / 3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_turned_into_bytes_on_character_boundaries() {
        let span = |column, end_column| Span { line: 1, column, end_column, text: "é: ü".into() };
        assert_eq!(span(1, 2).bytes(), 0..2);
        assert_eq!(span(4, 5).bytes(), 4..6);
        assert_eq!(span(4, 90).bytes(), 4..6);
        assert_eq!(span(90, 3).bytes(), 6..6);
        assert_eq!(span(0, 0).bytes(), 0..0);
    }

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let known = ["package", "project", "env", "steps"];
        assert_eq!(nearest("packge", known), Some("package"));
        assert_eq!(nearest("Project", known), Some("project"));
        assert_eq!(nearest("step", known), Some("steps"));
        assert_eq!(nearest("evn", known), Some("env"));
        assert_eq!(nearest("cookie", known), None);
        assert_eq!(nearest("x", known), None);
    }

    #[test]
    fn what_the_user_wrote_cannot_break_a_message() {
        assert_eq!(shown("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\nb");
        assert_eq!(shown(&"x".repeat(61)), format!("{}…", "x".repeat(60)));
    }

    #[test]
    fn one_line_says_where() {
        let span = Span { line: 3, column: 1, end_column: 7, text: "packge: 1".into() };
        let diagnostic = Diagnostic::error("unknown key `packge`").in_file("release.yaml").at(span);
        assert_eq!(diagnostic.to_string(), "release.yaml:3:1: unknown key `packge`");
        assert_eq!(Diagnostic::warning("hm").to_string(), "hm");
    }
}
