//! A comparison as one page for a browser. The page asks nobody for anything: its style and its script are in it, and a
//! policy forbids all else. What stands in a release is text there, and nothing but text.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relgraph_rules::compare::{Change, Class, Comparison, Reason, Release};
use sha2::{Digest as _, Sha256};

use super::model::{Row, Section, View, class_word, short, verdict};
use crate::render::{count, harmless};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Lists that are longer are closed at first.
const FOLDED: usize = 40;

/// The page.
pub fn html(comparison: &Comparison) -> String {
    let view = View::of(comparison);
    let mut page = Page(String::new());
    page.head(&view.title);
    page.put("<a class=skip href=#differences>Skip to the differences</a>\n<header>\n");
    let _ = writeln!(page.0, "<h1>{}</h1>", escaped(&view.title));
    if comparison.same {
        page.put(
            "<p class=counts>Nothing differs.</p>\n</header>\n<main id=differences tabindex=-1></main>\n",
        );
    } else {
        let class = comparison.verdict.class;
        let _ = writeln!(page.0, "<p class=\"verdict {}\">{}</p>", word(class), escaped(verdict(class)));
        let _ = writeln!(page.0, "<p class=counts>{}</p>", escaped(&view.counts));
        page.search();
        page.put("</header>\n");
        page.contents(comparison, &view);
        page.put("<main id=differences tabindex=-1>\n");
        page.verdict(comparison);
        // The first of those about modules is where the contents lead.
        let mut before = "";
        for section in &view.sections {
            page.section(section, section.id != before);
            before = section.id;
        }
        page.put("<p id=none hidden>Nothing here has all of these words.</p>\n</main>\n");
    }
    page.releases(&comparison.old, &comparison.new);
    let _ = writeln!(page.0, "<script>{SCRIPT}</script>\n</body>\n</html>");
    page.0
}

struct Page(String);

impl Page {
    fn put(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn head(&mut self, title: &str) {
        let sum = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
        let (style, script) = (sum(STYLE), sum(SCRIPT));
        let policy = format!(
            "default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'; img-src data:"
        );
        let _ = writeln!(
            self.0,
            "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<meta http-equiv=Content-Security-Policy \
             content=\"{policy}\">\n<meta name=viewport content=\"width=device-width, initial-scale=1\">\n<meta \
             name=color-scheme content=\"light dark\">\n<meta name=referrer content=no-referrer>\n<link rel=icon \
             href=\"data:,\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            escaped(title)
        );
    }

    /// Without the script, there is nothing that could search.
    fn search(&mut self) {
        self.put(
            "<form role=search id=search hidden>\n<label for=q>Search modules, keys and files</label>\n<input id=q \
             type=search autocomplete=off spellcheck=false aria-describedby=found aria-keyshortcuts=/> <kbd>/</kbd>\n<output \
             id=found for=q></output>\n</form>\n",
        );
    }

    fn contents(&mut self, comparison: &Comparison, view: &View) {
        self.put("<nav aria-label=Contents>\n<ul>\n");
        if !comparison.warnings.is_empty() {
            let _ = writeln!(self.0, "<li><a href=#warnings>warnings</a> {}</li>", comparison.warnings.len());
        }
        let mut told: Vec<(&str, &str, usize)> = Vec::new();
        for section in &view.sections {
            let title = if section.of.is_some() { "modules" } else { section.title.as_str() };
            match told.iter_mut().find(|(id, ..)| *id == section.id) {
                Some((_, _, rows)) => *rows += section.rows.len(),
                None => told.push((section.id, title, section.rows.len())),
            }
        }
        for (id, title, rows) in told {
            let _ = writeln!(self.0, "<li><a href=#{id}>{}</a> {rows}</li>", escaped(title));
        }
        self.put("</ul>\n</nav>\n");
    }

    fn verdict(&mut self, comparison: &Comparison) {
        self.reasons("reasons", "what decides", &comparison.verdict.reasons);
        self.reasons(
            "waiting",
            "what waits until the virtual machine is next started",
            &comparison.verdict.waiting,
        );
        if comparison.warnings.is_empty() {
            return;
        }
        self.put("<section aria-labelledby=warnings>\n<h2 id=warnings>warnings</h2>\n<ul class=warnings>\n");
        for warning in &comparison.warnings {
            let (text, advice) = (escaped(&warning.text), escaped(&warning.advice));
            let _ = writeln!(self.0, "<li>{text} <span class=why>{advice}</span></li>");
        }
        self.put("</ul>\n</section>\n");
    }

    fn reasons(&mut self, id: &str, title: &str, reasons: &[Reason]) {
        if reasons.is_empty() {
            return;
        }
        let _ = writeln!(self.0, "<section aria-labelledby={id}>\n<h2 id={id}>{title}</h2>\n<ul>");
        for reason in reasons {
            let (item, why) = (escaped(short(&reason.item)), escaped(&reason.reason));
            let class = class_word(reason.class);
            let kind = word(reason.class);
            let _ = writeln!(
                self.0,
                "<li><code>{item}</code> <span class=\"class {kind}\">{class}</span> <span class=why>{why}</span></li>"
            );
        }
        self.put("</ul>\n</section>\n");
    }

    fn section(&mut self, section: &Section, is_first: bool) {
        let id = if is_first { format!(" id={}", section.id) } else { String::new() };
        let title = escaped(&section.title);
        let open = if section.rows.len() > FOLDED { "" } else { " open" };
        let rows = count(section.rows.len(), "row");
        let _ = writeln!(
            self.0,
            "<section class=list>\n<h2{id}>{title}</h2>\n<details{open}><summary>{rows}<span class=far> of {title}</span>\
             </summary>\n<ul>"
        );
        for row in &section.rows {
            self.row(section, row);
        }
        self.put("</ul>\n</details>\n</section>\n");
    }

    fn row(&mut self, section: &Section, row: &Row) {
        let (change, sign, spoken) = match row.change {
            Change::Added => ("added", "+", "added: "),
            Change::Removed => ("removed", "−", "removed: "),
            Change::Changed => ("changed", "~", "changed: "),
        };
        let _ = write!(
            self.0,
            "<li class={change}><span class=sign aria-hidden=true>{sign}</span><span class=far>{spoken}</span><code>{}</code>",
            escaped(&row.name)
        );
        match (section.id, &row.told[..]) {
            ("config", [old, new]) => {
                let _ = write!(
                    self.0,
                    " <code class=old>{}</code> <span aria-hidden=true>→</span><span class=far>becomes</span> <code \
                     class=new>{}</code>",
                    escaped(old),
                    escaped(new)
                );
            }
            (_, told) => {
                for told in told {
                    let _ = write!(self.0, " <span class=told>{}</span>", escaped(told));
                }
            }
        }
        if row.class > Class::Hot {
            let waits = if row.waits { ", waits" } else { "" };
            let (kind, class) = (word(row.class), class_word(row.class));
            let _ = write!(self.0, " <span class=\"class {kind}\">{class}{waits}</span>");
        }
        let is_long = !row.more.is_empty() || !row.functions.is_empty();
        if is_long || row.class > Class::Hot {
            self.put(" <details><summary>more</summary><dl>");
            if !row.reason.is_empty() {
                let _ = write!(self.0, "<dt>why</dt><dd>{}</dd>", escaped(&row.reason));
            }
            for (what, told) in &row.more {
                let _ = write!(self.0, "<dt>{what}</dt><dd><code>{}</code></dd>", escaped(told));
            }
            for (what, names) in &row.functions {
                let _ = write!(self.0, "<dt>{what}</dt><dd><code>{}</code></dd>", escaped(&names.join(" ")));
            }
            self.put("</dl></details>");
        }
        self.put("</li>\n");
    }

    fn releases(&mut self, old: &Release, new: &Release) {
        self.put("<footer>\n<h2>the releases</h2>\n<table>\n<tr><td></td><th scope=col>old</th><th scope=col>new</th></tr>\n");
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        let tree = |release: &Release| release.tree.map_or("a folder".to_owned(), |tree| tree.to_string());
        for (what, old, new) in [
            ("name", old.name.clone(), new.name.clone()),
            ("version", old.version.clone(), new.version.clone()),
            ("OTP", text(&old.otp), text(&new.otp)),
            ("ERTS", text(&old.erts), text(&new.erts)),
            ("Elixir", text(&old.elixir), text(&new.elixir)),
            ("digest", tree(old), tree(new)),
        ] {
            let (old, new) = (escaped(&old), escaped(&new));
            let _ = writeln!(self.0, "<tr><th scope=row>{what}</th><td>{old}</td><td>{new}</td></tr>");
        }
        let _ =
            writeln!(self.0, "</table>\n<p>Made by relgraph {}.</p>\n</footer>", env!("CARGO_PKG_VERSION"));
    }
}

/// The name of a class in the style.
fn word(class: Class) -> &'static str {
    match class {
        Class::Hot => "hot",
        Class::RestartApplication => "application",
        Class::RestartVm => "vm",
        Class::Cold => "cold",
    }
}

/// Text with nothing in it that means anything to a browser, in content and in quoted values.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in harmless(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Marks that turn the direction of text make it look like other text.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
