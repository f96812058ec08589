//! Environment files: `NAME=VALUE` lines, as Docker, systemd and shells read them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::diagnostic::{Diagnostic, Span, shown};

/// The variables of an environment file. The values are secrets: `Debug` does not show them.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// Reads the text of the file that the user named `file`: a line each, with `export` in front or not, values in quotes
    /// or not. Lines that begin with `#` or `;` are comments. A backslash in double quotes makes the next character plain,
    /// and at the end of a line without quotes joins it with the next one.
    pub fn parse(file: &Path, text: &str) -> Result<Environment, Vec<Diagnostic>> {
        let mut variables = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((number, first)) = lines.next() {
            let line = first.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let mut complain = |message: String, hint: &str| {
                // The line itself may hold a secret: only what stands before the value is shown.
                let text = first.split_once('=').map_or(first, |(name, _)| name).to_owned();
                let end_column = text.chars().count() + 1;
                let span = Span { line: number + 1, column: 1, end_column, text };
                wrong.push(Diagnostic::error(message).in_file(file).at(span).hint(hint));
            };
            let line = line.strip_prefix("export ").map_or(line, str::trim_start);
            let Some((name, value)) = line.split_once('=') else {
                complain("a line without `=`".into(), "write NAME=VALUE; a comment begins with `#`");
                continue;
            };
            let name = name.trim_end();
            let good = !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !good {
                let message = format!("`{}` cannot be the name of a variable", shown(name));
                complain(
                    message,
                    "a variable is made of letters, digits and `_`, and does not begin with a digit",
                );
                continue;
            }
            let mut value = value.trim_start().to_owned();
            let quoted = value.starts_with(['"', '\'']);
            while !quoted && value.ends_with('\\') {
                value.pop();
                match lines.next() {
                    Some((_, more)) => value.push_str(more.trim()),
                    None => break,
                }
            }
            match unquoted(&value) {
                Some(value) => drop(variables.insert(name.to_owned(), value)),
                None => complain(
                    "a value whose quotes do not end".into(),
                    "end it with the quote that it begins with",
                ),
            }
        }
        if wrong.is_empty() { Ok(Environment(variables)) } else { Err(wrong) }
    }

    /// The variables.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// A text with every value of the file replaced by the name of its variable. Values of less than four characters are no
    /// secrets, and are part of too many words.
    pub fn hide(&self, text: &str) -> String {
        let mut secrets: Vec<(&String, &String)> =
            self.0.iter().filter(|(_, value)| value.chars().count() >= 4).collect();
        secrets.sort_by_key(|(name, value)| (std::cmp::Reverse(value.len()), *name));
        let mut text = text.to_owned();
        for (name, value) in secrets {
            let written = format!("{value:?}");
            text = text
                .replace(written.trim_matches('"'), &format!("${name}"))
                .replace(value.as_str(), &format!("${name}"));
        }
        text
    }
}

fn unquoted(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.trim_end().strip_suffix('\'').map(str::to_owned);
    }
    let Some(rest) = value.strip_prefix('"') else { return Some(value.trim_end().to_owned()) };
    let mut out = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.as_str().trim().is_empty().then_some(out),
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> BTreeMap<String, String> {
        Environment::parse(Path::new("prod.env"), text).unwrap().0
    }

    #[test]
    fn lines_as_docker_systemd_and_shells_write_them() {
        let read = parse(
            "# comment\n; another\n\nA=1\nexport B = two words \nC='it \"is\" $x'\nD=\"a \\\"b\\\"\\n\\$c\"\nE=\nF=a=b#c\nG=one\\\n  two\n",
        );
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "it \"is\" $x"),
            ("D", "a \"b\"\n$c"),
            ("E", ""),
            ("F", "a=b#c"),
            ("G", "onetwo"),
        ];
        assert_eq!(read, expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn all_that_is_wrong_is_told_and_no_value_is_shown() {
        let text = "SECRET\n1A=hunter2\nB=\"open\nC=fine\n";
        let wrong = Environment::parse(Path::new("prod.env"), text).unwrap_err();
        let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "prod.env:1:1: a line without `=`",
                "prod.env:2:1: `1A` cannot be the name of a variable",
                "prod.env:3:1: a value whose quotes do not end"
            ]
        );
        assert!(!format!("{wrong:?}").contains("hunter2"));
    }

    #[test]
    fn secrets_are_hidden() {
        let file = Environment::parse(Path::new("e"), "KEY=s3cr\"et\nURL=db://s3cr\"et@host\nN=1\n").unwrap();
        assert_eq!(file.hide("bad db://s3cr\"et@host 1 s3cr\"et"), "bad $URL 1 $KEY");
        assert_eq!(file.hide("\"s3cr\\\"et\""), "\"$KEY\"");
        assert!(!format!("{file:?}").contains("s3cr"));
    }
}
