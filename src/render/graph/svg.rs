//! The graph as a picture that needs nothing else: no script, no font, no other file.

use std::collections::HashSet;
use std::fmt::Write;

use super::View;
use super::layout::{HEIGHT, Layout, layout};

/// The width of a character.
const CHARACTER: f64 = 7.3;
/// Left and right of a name.
const PADDING: f64 = 12.0;
/// Between columns.
const GAP: f64 = 56.0;
/// Around the picture.
const MARGIN: f64 = 24.0;
/// Above the graph, for the title and the legend.
const HEAD: f64 = 44.0;

/// The picture.
pub fn text(view: &View) -> String {
    let layout = layout(&view.reduced());
    let columns = columns(view, &layout);
    let right = columns.last().map_or(0.0, |(x, width)| x + width);
    let title = format!("{} ({}): {} steps", view.release, view.environment, view.nodes.len());
    let (legend, legend_width) = legend(view, title.chars().count() as f64 * CHARACTER + 32.0);
    let width = (right + MARGIN).max(legend_width + 2.0 * MARGIN);
    let height = layout.height + HEAD + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n<style>\n{}</style>\n",
        escaped(&title),
        style(view)
    );
    out.push_str(
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n",
    );
    out.push_str("<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n");
    let _ = writeln!(
        out,
        "<text class=\"head\" x=\"{MARGIN}\" y=\"{}\">{}</text>",
        MARGIN + 14.0,
        escaped(&title)
    );
    out.push_str(&legend);
    edges(&mut out, &layout, &columns);
    for (at, node) in view.nodes.iter().enumerate() {
        let item = &layout.items[at];
        let (x, width) = columns[item.layer];
        let (top, middle) = (item.y - HEIGHT / 2.0 + MARGIN + HEAD, item.y + MARGIN + HEAD);
        let _ = writeln!(
            out,
            "<g class=\"step {}\"><title>{}</title><rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
             height=\"{HEIGHT}\" rx=\"6\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            class(node.class()),
            escaped(&node.title()),
            x + width / 2.0,
            middle + 4.0,
            escaped(&node.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Left edge and width of every column.
fn columns(view: &View, layout: &Layout) -> Vec<(f64, f64)> {
    let mut widest = vec![0_usize; layout.layers];
    for (item, node) in layout.items.iter().zip(&view.nodes) {
        widest[item.layer] = widest[item.layer].max(node.name.chars().count());
    }
    let mut x = MARGIN;
    let mut columns = Vec::with_capacity(widest.len());
    for characters in widest {
        let width = characters as f64 * CHARACTER + 2.0 * PADDING;
        columns.push((x, width));
        x += width + GAP;
    }
    columns
}

fn edges(out: &mut String, layout: &Layout, columns: &[(f64, f64)]) {
    // What passes a column is drawn straight through it, once.
    let mut passed = HashSet::new();
    for &(from, to) in &layout.edges {
        let (a, b) = (&layout.items[from], &layout.items[to]);
        let ((ax, width), (bx, _)) = (columns[a.layer], columns[b.layer]);
        let (ax, ay, by) = (ax + width, a.y + MARGIN + HEAD, b.y + MARGIN + HEAD);
        let bend = (bx - ax) / 2.0;
        let start = if a.step.is_none() && passed.insert(from) {
            format!("M{:.1} {ay:.1}H{ax:.1}", columns[a.layer].0)
        } else {
            format!("M{ax:.1} {ay:.1}")
        };
        let tip = if b.step.is_some() { " marker-end=\"url(#tip)\"" } else { "" };
        let _ = writeln!(
            out,
            "<path class=\"edge\" d=\"{start}C{:.1} {ay:.1} {:.1} {by:.1} {bx:.1} {by:.1}\"{tip}/>",
            ax + bend,
            bx - bend
        );
    }
}

/// The outcomes that occur, right of the title; and where that ends.
fn legend(view: &View, from: f64) -> (String, f64) {
    let (mut out, mut x) = (String::new(), MARGIN + from);
    for (name, _) in view.looks().iter().filter(|(name, _)| *name != "unknown") {
        let width = name.chars().count() as f64 * CHARACTER + 16.0;
        let _ = writeln!(
            out,
            "<g class=\"step {name}\"><rect x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"20\" rx=\"5\"/>\
             <text x=\"{:.1}\" y=\"{}\">{name}</text></g>",
            MARGIN,
            x + width / 2.0,
            MARGIN + 14.0
        );
        x += width + 8.0;
    }
    (out, x)
}

fn style(view: &View) -> String {
    let mut out = String::from(
        ".ground{fill:#ffffff}.head{font:600 13px ui-monospace,monospace;fill:#1f2328}\
         .step rect{fill:#ffffff;stroke:#6e7781;stroke-width:1.2}\
         .step text{font:12px ui-monospace,monospace;fill:#1f2328;text-anchor:middle}\
         .edge{fill:none;stroke:#8c959f;stroke-width:1.2}.tip{fill:#8c959f}\n",
    );
    let looks = view.looks();
    for (name, [fill, line, ..]) in &looks {
        let _ = writeln!(out, ".{name} rect{{fill:{fill};stroke:{line}}}");
    }
    out.push_str(
        "@media (prefers-color-scheme:dark){.ground{fill:#0d1117}.head,.step text{fill:#e6edf3}\
         .edge{stroke:#6e7681}.tip{fill:#6e7681}\n",
    );
    for (name, [_, _, fill, line]) in &looks {
        let _ = writeln!(out, ".{name} rect{{fill:{fill};stroke:{line}}}");
    }
    out.push_str("}\n");
    out
}

fn class(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            char if char.is_control() => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}
