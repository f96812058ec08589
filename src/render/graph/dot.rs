//! The graph for Graphviz.

use std::fmt::Write;

use super::View;

/// The text, in the DOT language.
pub fn text(view: &View) -> String {
    let mut out = format!("digraph {} {{\n", quoted(&view.release));
    out.push_str(
        "  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"monospace\", fontsize=11];\n",
    );
    let looks = view.looks();
    for (at, node) in view.nodes.iter().enumerate() {
        let looks = looks.iter().find(|(name, _)| *name == node.class());
        let [fill, line, ..] = looks.map_or(["#ffffff", "#000000", "", ""], |(_, looks)| *looks);
        let _ = writeln!(
            out,
            "  n{at} [label={}, tooltip={}, fillcolor=\"{fill}\", color=\"{line}\"];",
            quoted(&node.name),
            quoted(&node.title())
        );
    }
    for (at, needs) in view.reduced().iter().enumerate() {
        for need in needs {
            let _ = writeln!(out, "  n{need} -> n{at};");
        }
    }
    out.push_str("}\n");
    out
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            char if char.is_control() => out.push(' '),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}
