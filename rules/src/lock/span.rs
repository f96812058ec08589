//! Places in a text.

use crate::diagnostic::Span;

/// The place of the bytes `start..end`, cut at the end of the first line.
pub(super) fn span(text: &str, start: usize, end: usize) -> Span {
    let start = start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let count = |part: &str| part.chars().count();
    let column = count(&text[line_start..start]) + 1;
    Span {
        line: text[..start].matches('\n').count() + 1,
        column,
        end_column: column + count(&text[start..end.clamp(start, line_end)]),
        text: text[line_start..line_end].trim_end_matches('\r').to_owned(),
    }
}
