//! A comparison for a pull request: Markdown as GitHub and GitLab know it. Nothing that stands in a release can break out of it.

use std::fmt::Write;

use relgraph_rules::compare::{Class, Comparison, Reason};

use super::model::{Row, Section, View, class_word, short, verdict};
use super::modules::sign;
use crate::render::{count, cut, harmless};

/// Lists that are longer are folded.
const FOLDED: usize = 8;
/// No table has more rows: services refuse what is longer than some ten thousand characters.
const LONGEST: usize = 100;
/// No value has more characters.
const VALUE: usize = 200;

/// The document.
pub fn markdown(comparison: &Comparison) -> String {
    let view = View::of(comparison);
    let mut out = format!("## {}\n\n", plain(&view.title));
    if comparison.same {
        out.push_str("Nothing differs.\n");
        return out;
    }
    let _ = writeln!(out, "**{}**\n\n{}\n", plain(verdict(comparison.verdict.class)), plain(&view.counts));
    reasons(&mut out, "Because of", &comparison.verdict.reasons);
    reasons(&mut out, "Waits until the virtual machine is next started", &comparison.verdict.waiting);
    if !comparison.warnings.is_empty() {
        let _ = writeln!(out, "### {}\n", count(comparison.warnings.len(), "warning"));
        for warning in comparison.warnings.iter().take(LONGEST) {
            let _ =
                writeln!(out, "- {}. {}", plain(warning.text.trim_end_matches('.')), plain(&warning.advice));
        }
        out.push('\n');
    }
    for section in &view.sections {
        table(&mut out, section);
    }
    let _ = writeln!(out, "<sub>Made by relgraph {}.</sub>", env!("CARGO_PKG_VERSION"));
    out
}

fn reasons(out: &mut String, title: &str, reasons: &[Reason]) {
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(out, "{title}:\n");
    for reason in reasons.iter().take(FOLDED) {
        let _ = writeln!(out, "- {}: {}", code(short(&reason.item)), plain(&reason.reason));
    }
    if reasons.len() > FOLDED {
        let _ = writeln!(out, "- and {} more", reasons.len() - FOLDED);
    }
    out.push('\n');
}

fn table(out: &mut String, section: &Section) {
    let (loud, quiet): (Vec<&Row>, Vec<&Row>) = section.rows.iter().partition(|row| row.quiet.is_none());
    let title = plain(&section.title);
    let folded = loud.len() > FOLDED;
    if loud.is_empty() {
        let _ = writeln!(out, "**{title}**: {}\n", told_quietly(quiet.len()));
        return;
    }
    if folded {
        let _ = writeln!(out, "<details><summary><b>{title}</b> ({})</summary>\n", loud.len());
    } else {
        let _ = writeln!(out, "### {title}\n");
    }
    out.push_str("| | | | |\n|---|---|---|---|\n");
    for row in loud.iter().take(LONGEST) {
        let told: Vec<String> = row.told.iter().map(|told| code(&cut(told, VALUE))).collect();
        let class = match row.class {
            Class::Hot => String::new(),
            class if row.waits => format!("{} (waits)", class_word(class)),
            class => class_word(class).to_owned(),
        };
        let joined = told.join(if section.id == "config" { " → " } else { ", " });
        let _ = writeln!(out, "| {} | {} | {joined} | {class} |", code(sign(row.change)), code(&row.name));
    }
    let more = loud.len().saturating_sub(LONGEST);
    if more > 0 {
        let _ = writeln!(out, "\nand {more} more");
    }
    if !quiet.is_empty() {
        let _ = writeln!(out, "\nand {}", told_quietly(quiet.len()));
    }
    out.push_str(if folded { "\n</details>\n\n" } else { "\n" });
}

/// How many differ in what is not worth a row.
fn told_quietly(number: usize) -> String {
    format!("{number} that differ with every version, or in lines and debug data only")
}

/// Text with nothing in it that means anything.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in harmless(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // As a number: a backslash would leave `@name` and `#1` what services make of them.
            '@' | '#' | '|' | '`' | '*' | '_' | '[' | ']' | '!' | '~' | '\\' | '$' | ':' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Text as code, also in a table: there a `|` ends the cell even in code.
fn code(text: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    format!("<code>{}</code>", plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        let evil = "a|b`c`</code></details>\n| x\u{1b}[2J @all #1 <img src=x> [l](http://x) :tada: $x$";
        let shown = code(evil);
        let inside = shown.strip_prefix("<code>").and_then(|rest| rest.strip_suffix("</code>")).unwrap();
        for mark in ["|", "`", "<", ">", "\n", "\u{1b}", "@", "[", "]", ":", "$"] {
            assert!(!inside.contains(mark), "{mark}: {inside}");
        }
        assert_eq!(code(" "), "");
    }
}
