//! The tools that a `mise.toml` asks for: as much of TOML as its section `[tools]` needs.

/// What is asked for of a program that is known by one of `names`, and the line that says so, counted from 1. Versions with
/// templates in them (`{{…}}`) cannot be known here and are left out; none are left: nothing is asked for.
pub fn wanted(text: &str, names: &[&str]) -> Option<(usize, Vec<String>)> {
    let mut section: Vec<String> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = without_comment(line).trim().to_owned();
        if let Some(header) = line.strip_prefix('[') {
            // `[[tasks]]` is no section of tools.
            section = header.strip_suffix(']').map(keys).unwrap_or_default();
            continue;
        }
        let Some((key, value)) = assignment(&line) else { continue };
        let mut value = value.to_owned();
        while value.starts_with('[') && !closed(&value) {
            let Some((_, more)) = lines.next() else { break };
            value.push(' ');
            value.push_str(without_comment(more).trim());
        }
        let mut path = section.clone();
        path.extend(keys(key));
        let versions = match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["tools", name] if is_one(name, names) => versions(&value),
            ["tools", name, "version"] if is_one(name, names) => versions(&value),
            _ => continue,
        };
        if !versions.is_empty() {
            return Some((index + 1, versions));
        }
    }
    None
}

/// Whether a tool is one of those, whatever installs it: `core:erlang`, `asdf:mise-plugins/mise-elixir` is none.
fn is_one(name: &str, names: &[&str]) -> bool {
    names.contains(&name.rsplit(':').next().unwrap_or(name))
}

/// The versions in a value: one, a list of them, or a table with the key `version`.
fn versions(value: &str) -> Vec<String> {
    let all = match value.strip_prefix('{') {
        Some(table) => {
            let rest = table.split("version").nth(1).unwrap_or_default().trim_start();
            strings(rest.strip_prefix('=').unwrap_or_default()).into_iter().take(1).collect()
        }
        None if value.starts_with('[') && value.contains('{') => {
            value.split('{').skip(1).flat_map(|table| versions(&format!("{{{table}"))).collect()
        }
        None => strings(value),
    };
    all.into_iter().filter(|version| !version.contains("{{") && !version.is_empty()).collect()
}

/// The texts in quotes.
fn strings(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some(at) = rest.find(['"', '\'']) {
        let quote = &rest[at..=at];
        let Some(end) = rest[at + 1..].find(quote) else { break };
        found.push(rest[at + 1..at + 1 + end].to_owned());
        rest = &rest[at + end + 2..];
    }
    found
}

/// The parts of `a."b.c".d`.
fn keys(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut quoted = None;
    for c in text.chars() {
        match (c, quoted) {
            ('"' | '\'', None) => quoted = Some(c),
            (_, Some(quote)) if c == quote => quoted = None,
            ('.', None) => found.push(String::new()),
            (_, None) if c.is_whitespace() => {}
            _ => found.last_mut().into_iter().for_each(|last| last.push(c)),
        }
    }
    found
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim()))
}

/// Whether a list ends on what has been read.
fn closed(value: &str) -> bool {
    let mut depth = 0i32;
    let mut quoted = None;
    for c in value.chars() {
        match (c, quoted) {
            ('"' | '\'', None) => quoted = Some(c),
            (_, Some(quote)) if c == quote => quoted = None,
            ('[', None) => depth += 1,
            (']', None) => depth -= 1,
            _ => {}
        }
    }
    depth <= 0
}

fn without_comment(line: &str) -> &str {
    let mut quoted = None;
    for (at, c) in line.char_indices() {
        match (c, quoted) {
            ('#', None) => return &line[..at],
            ('"' | '\'', None) => quoted = Some(c),
            (_, Some(quote)) if c == quote => quoted = None,
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elixir(text: &str) -> Option<(usize, Vec<String>)> {
        wanted(text, &["elixir"])
    }

    fn of(line: usize, versions: &[&str]) -> Option<(usize, Vec<String>)> {
        Some((line, versions.iter().map(|&version| version.to_owned()).collect()))
    }

    #[test]
    fn tools_are_read_as_mise_writes_them() {
        let text = "# ours\nmin_version = '2024.1'\n[env]\nelixir = \"no\"\n\n[tools] # of all\nnode = \"20\"\n\
                    erlang = '27.1' # newest\nelixir = \"1.17.3-otp-27\"\n\n[tasks.elixir]\nrun = \"mix\"\n";
        assert_eq!(elixir(text), of(9, &["1.17.3-otp-27"]));
        assert_eq!(wanted(text, &["erlang"]), of(8, &["27.1"]));
        assert_eq!(wanted(text, &["rebar"]), None);
    }

    #[test]
    fn in_every_form_that_toml_has_for_it() {
        assert_eq!(elixir("[tools]\nelixir = [\"1.17\", '1.16']\n"), of(2, &["1.17", "1.16"]));
        assert_eq!(
            elixir("[tools]\nelixir = [\n  \"1.17\", # a\n  \"1.16\",\n]\n"),
            of(2, &["1.17", "1.16"])
        );
        assert_eq!(elixir("[tools]\nelixir = { version = \"1.17\", os = [\"linux\"] }\n"), of(2, &["1.17"]));
        assert_eq!(
            elixir("[tools]\nelixir = [{ version = '1.17' }, { version = '1.16' }]\n"),
            of(2, &["1.17", "1.16"])
        );
        assert_eq!(elixir("[tools.elixir]\nversion = \"1.17\"\n"), of(2, &["1.17"]));
        assert_eq!(elixir("tools.elixir = \"1.17\"\n"), of(1, &["1.17"]));
        assert_eq!(elixir("[ tools ]\n\"core:elixir\" = \"1.17\"\n"), of(2, &["1.17"]));
    }

    #[test]
    fn what_is_not_known_or_damaged_asks_for_nothing() {
        for text in [
            "[tools]\nelixir = \"{{env.ELIXIR}}\"\n",
            "[tools]\nelixir\n",
            "[tools]\nelixir = [\n",
            "[tools]\nelixir = \"1.17\n",
            "[[tools]]\nelixir = \"1.17\"\n",
            "elixir = \"1.17\"\n",
            "[",
        ] {
            assert_eq!(elixir(text), None, "{text}");
        }
    }
}
