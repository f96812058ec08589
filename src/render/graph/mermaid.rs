//! The graph for Markdown.

use std::fmt::Write;

use super::View;

/// The text, as a flowchart of Mermaid.
pub fn text(view: &View) -> String {
    let mut out = String::from("flowchart LR\n");
    for (at, node) in view.nodes.iter().enumerate() {
        let _ = writeln!(out, "  n{at}[\"{}\"]:::{}", escaped(&node.name), class(node.class()));
    }
    for (at, needs) in view.reduced().iter().enumerate() {
        for need in needs {
            let _ = writeln!(out, "  n{need} --> n{at}");
        }
    }
    for (name, [fill, line, ..]) in view.looks() {
        let _ = writeln!(out, "  classDef {name} fill:{fill},stroke:{line},color:#1f2328");
    }
    out
}

/// An outcome of another version has no looks.
fn class(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            char if char.is_control() => out.push(' '),
            char => out.push(char),
        }
    }
    out
}
