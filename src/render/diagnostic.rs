//! Diagnostics as text: the message, the line that it is about with the place marked, and what to do.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use relgraph_rules::diagnostic::{Diagnostic, Severity};

/// The text of one diagnostic, without a line end after it; `colour` is for the caller to know.
pub fn render(diagnostic: &Diagnostic, colour: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let file = diagnostic.file.as_ref().map(|file| harmless(&file.display().to_string()));
    let title = match (&diagnostic.span, &file) {
        (None, Some(file)) => format!("{file}: {}", harmless(&diagnostic.message)),
        _ => harmless(&diagnostic.message),
    };
    let mut main = Group::with_title(level.primary_title(title));
    if let Some(span) = &diagnostic.span {
        let mark =
            AnnotationKind::Primary.span(span.bytes()).label(diagnostic.label.as_deref().map(harmless));
        let snippet = Snippet::source(span.text.as_str()).line_start(span.line).path(file.as_deref());
        main = main.element(snippet.annotation(mark));
    }
    for note in &diagnostic.notes {
        main = main.element(Level::NOTE.message(harmless(note)));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut parts = vec![renderer.render(&[main])];
    // Reports of their own: together, the renderer ties them to the snippet with an empty `|` line.
    for hint in &diagnostic.hints {
        let title = Level::HELP.with_name("hint").primary_title(harmless(hint));
        parts.push(renderer.render(&[Group::with_title(title)]));
    }
    parts.join("\n")
}

/// Without what could move a terminal's cursor; the renderer does this for the source line alone.
fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use relgraph_rules::diagnostic::Span;
    use relgraph_rules::schema::ReleaseFile;

    use super::*;

    #[track_caller]
    fn renders(text: &str, expected: &str) {
        let errors = ReleaseFile::parse(Path::new("release.yaml"), text.as_bytes()).unwrap_err();
        let rendered: Vec<String> = errors.iter().map(|error| render(&error.diagnostic(), false)).collect();
        assert_eq!(rendered.join("\n"), expected.trim_matches('\n'));
    }

    #[test]
    fn an_unknown_key() {
        renders(
            "release: a\n\npackge: tar.gz\n",
            "
error: unknown key `packge`
 --> release.yaml:3:1
  |
3 | packge: tar.gz
  | ^^^^^^
hint: did you mean `package`?
",
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_below_other_keys() {
        renders(
            "release: a\nsteps:\n  assets:\n    run: npm ci\n    inputs: 5 # all\n",
            "
error: expected a list of globs, found a number
 --> release.yaml:5:13
  |
5 |     inputs: 5 # all
  |             ^ in `steps.assets`
",
        );
    }

    #[test]
    fn several_errors_follow_each_other() {
        renders(
            "release: a\nupgrades: hto\nrelease: b\n",
            "
error: unknown value `hto`, expected `none` or `hot`
 --> release.yaml:2:11
  |
2 | upgrades: hto
  |           ^^^
hint: did you mean `hot`?
error: duplicate key `release`
 --> release.yaml:3:1
  |
3 | release: b
  | ^^^^^^^
hint: the first one is on line 1
",
        );
    }

    #[test]
    fn text_that_is_no_yaml() {
        renders(
            "release: a: b\n",
            "
error: invalid YAML: mapping values are not allowed in this context
 --> release.yaml:1:11
  |
1 | release: a: b
  |           ^
",
        );
    }

    #[test]
    fn a_whole_file() {
        renders(
            "",
            "
error: release.yaml: the file is empty
hint: a file of the one line `release: NAME` is enough
",
        );
    }

    #[test]
    fn wide_characters_and_control_characters_keep_the_marks_in_place() {
        renders(
            "release: a\nenv: {A: \"日本\u{7f}\", 1: x}\n",
            "
error: `1` cannot be the name of a variable
 --> release.yaml:2:17
  |
2 | env: {A: \"日本␡\", 1: x}
  |                   ^ in `env`
hint: a variable is made of letters, digits and `_`, and does not begin with a digit
",
        );
    }

    #[test]
    fn notes_and_warnings() {
        let diagnostic = Diagnostic::warning("no VM").note("looked in PATH").hint("install Erlang");
        assert_eq!(
            render(&diagnostic, false),
            "warning: no VM\n |\n = note: looked in PATH\nhint: install Erlang"
        );
    }

    #[test]
    fn colour_is_there_only_when_asked_for() {
        let diagnostic = Diagnostic::error("no").hint("yes");
        assert!(render(&diagnostic, true).contains("\u{1b}["));
        assert!(!render(&diagnostic, false).contains('\u{1b}'));
    }

    #[test]
    fn escapes_of_a_terminal_do_not_get_through() {
        let span = Span { line: 1, column: 1, end_column: 2, text: "a\u{1b}[31mb".into() };
        let diagnostic =
            Diagnostic::error("x\u{1b}[31m").in_file("f").at(span).label("l\u{1b}[1m").hint("h\u{1b}[1m");
        assert!(!render(&diagnostic, false).contains('\u{1b}'));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let span = Span { line: 1, column: 500_000, end_column: 500_001, text: "x".repeat(1_000_000) };
        assert!(render(&Diagnostic::error("no").in_file("f").at(span), false).len() < 2000);
    }
}
