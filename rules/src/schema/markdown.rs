//! The table as the reference page docs/release-yaml.md.

use std::fmt::Write;

use super::shape::{Key, Shape, Word};
use super::table::KEYS;

const HEAD: &str = "\
# release.yaml

<!-- Made from the table of keys in rules/src/schema/table.rs; a test there says how to make it again. -->

What `relgraph build` builds. A file of one line is complete:

```yaml
release: sequence
```

A key that is left out leaves the matter to the project: what the release of that name says in `mix.exs` holds, and then
the default given here. Unknown keys are refused. `relgraph schema` prints the same as a JSON Schema, which editors
complete from.

";

/// The text of docs/release-yaml.md.
pub fn reference_markdown() -> String {
    let mut page = String::from(HEAD);
    for key in KEYS {
        section(&mut page, key, "", 2);
    }
    while page.ends_with("\n\n") {
        page.pop();
    }
    page
}

fn section(page: &mut String, key: &Key, parent: &str, level: usize) {
    let name = format!("{parent}{}", key.name);
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{} `{name}`\n", "#".repeat(level));
    let default = if key.required { "required".to_string() } else { format!("default: {}", key.default) };
    let _ = writeln!(page, "*{}*; {default}\n", key.shape.describe());
    let _ = writeln!(page, "{}\n", wrap(key.meaning));
    if let Some(words) = words(&key.shape) {
        for word in words {
            let _ = writeln!(page, "- `{}`: {}", word.name, word.meaning);
        }
        page.push('\n');
    }
    let _ = writeln!(page, "```yaml\n{}\n```\n", key.example);
    for inner in records(&key.shape) {
        let below = match key.shape {
            Shape::Map { .. } => format!("{name}.NAME."),
            Shape::List { .. } => format!("{name}[]."),
            Shape::Either(shapes) if shapes.iter().any(|shape| matches!(shape, Shape::Map { .. })) => {
                format!("{name}.NAME.")
            }
            _ => format!("{name}."),
        };
        section(page, inner, &below, level + 1);
    }
}

fn words(shape: &Shape) -> Option<&'static [Word]> {
    match shape {
        Shape::OneOf(words) => Some(words),
        Shape::List { of, .. } => words(of),
        Shape::Map { value, .. } => words(value),
        _ => None,
    }
}

fn records(shape: &Shape) -> &'static [Key] {
    match shape {
        Shape::Record { keys, .. } => keys,
        Shape::Map { value, .. } => records(value),
        Shape::List { of, .. } => records(of),
        Shape::Either(shapes) => shapes.iter().map(records).find(|keys| !keys.is_empty()).unwrap_or(&[]),
        _ => &[],
    }
}

fn wrap(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        if width > 0 && width + 1 + word.len() > 118 {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += word.len();
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ReleaseFile;
    use super::super::table::STEP_KEYS;
    use super::*;

    #[test]
    fn every_example_is_a_good_file_and_shows_its_key() {
        let parse = |text: &str| ReleaseFile::parse(Path::new("x"), text.as_bytes());
        for key in KEYS {
            let head = if key.required { "" } else { "release: a\n" };
            let file = parse(&format!("{head}{}\n", key.example)).unwrap_or_else(|e| panic!("{e:#?}"));
            assert!(file.span(key.name).is_some(), "{}", key.name);
            for inner in records(&key.shape).iter().filter(|_| !["steps", "secrets"].contains(&key.name)) {
                let file = parse(&format!("{head}{}\n", inner.example)).unwrap_or_else(|e| panic!("{e:#?}"));
                assert!(file.span(&format!("{}.{}", key.name, inner.name)).is_some(), "{}", inner.name);
                let of_entries =
                    records(&inner.shape).iter().filter(|_| matches!(inner.shape, Shape::List { .. }));
                for innermost in of_entries {
                    let file = parse(&format!("{head}{}\n", innermost.example));
                    let path = format!("{}.{}[0].{}", key.name, inner.name, innermost.name);
                    assert!(file.is_ok_and(|file| file.span(&path).is_some()), "{path}");
                }
            }
        }
        for key in STEP_KEYS {
            let run = if key.name == "run" { "" } else { "\nrun: x" };
            let step = format!("\n{}{run}", key.example).replace('\n', "\n    ");
            let file =
                parse(&format!("release: a\nsteps:\n  s:{step}\n")).unwrap_or_else(|e| panic!("{e:#?}"));
            assert!(file.span(&format!("steps.s.{}", key.name)).is_some(), "{}", key.name);
        }
    }

    /// `RELGRAPH_WRITE_DOCS=1 cargo test -p relgraph-rules reference_page` writes the page anew.
    #[test]
    fn the_reference_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/release-yaml.md");
        let made = reference_markdown();
        if std::env::var_os("RELGRAPH_WRITE_DOCS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap() == made,
            "docs/release-yaml.md is not what the table says: run this test with RELGRAPH_WRITE_DOCS=1"
        );
    }
}
