//! The secrets that a release.yaml names, and their values on this machine.

use std::collections::{BTreeMap, BTreeSet};

use relgraph_engine::{SHORTEST, Secret};

use crate::diagnostic::Diagnostic;
use crate::schema::{ReleaseFile, SecretNames};

/// One place where a release.yaml names a secret.
struct Named<'a> {
    name: &'a str,
    keyed: bool,
    /// Who gets it, in words.
    whose: String,
    /// The key that holds it: `secrets`, `steps.assets.secrets`.
    key: String,
}

fn named(file: &ReleaseFile) -> Vec<Named<'_>> {
    fn of<'a>(secrets: &'a SecretNames, whose: &str, key: &str, all: &mut Vec<Named<'a>>) {
        all.extend(secrets.0.iter().map(|(name, how)| Named {
            name,
            keyed: how.keyed,
            whose: whose.to_owned(),
            key: key.to_owned(),
        }));
    }
    let mut all = Vec::new();
    of(&file.secrets, "the steps that run Mix or rebar3", "secrets", &mut all);
    for (name, step) in &file.steps {
        of(&step.secrets, &format!("step `{name}`"), &format!("steps.{name}.secrets"), &mut all);
    }
    all
}

/// The secrets whose values are part of some key.
pub fn keyed(file: &ReleaseFile) -> BTreeSet<String> {
    named(file).into_iter().filter(|named| named.keyed).map(|named| named.name.to_owned()).collect()
}

/// The secrets of a release.yaml with their values in the environment `env`, or all that is wrong with them.
pub fn find(file: &ReleaseFile, env: &BTreeMap<String, String>) -> Result<Vec<Secret>, Vec<Diagnostic>> {
    let (mut secrets, mut errors) = (BTreeMap::new(), Vec::new());
    for named in named(file) {
        let name = named.name;
        let value = env.get(name).filter(|value| !value.trim().is_empty());
        if let Some(complaint) = complaint(file, &named, value.map(String::as_str)) {
            errors.push(complaint.in_file(file.file()).at(place(file, &named)));
            continue;
        }
        // Steps that run Mix ask for it as for any variable; a step of the user has its own setting in its parts.
        let keyed = file.secrets.0.get(name).is_none_or(|how| how.keyed);
        secrets.insert(name.to_owned(), Secret { name: name.to_owned(), value: value.cloned(), keyed });
    }
    if errors.is_empty() { Ok(secrets.into_values().collect()) } else { Err(errors) }
}

/// Those that have a usable value in the environment `env`, for work that can do without them.
pub fn present(file: &ReleaseFile, env: &BTreeMap<String, String>) -> Vec<Secret> {
    let of = |named: Named<'_>| {
        let value = env.get(named.name).filter(|value| value.trim().len() >= SHORTEST)?;
        Some((named.name.to_owned(), value.clone()))
    };
    let found: BTreeMap<String, String> = named(file).into_iter().filter_map(of).collect();
    found.into_iter().map(|(name, value)| Secret { name, value: Some(value), keyed: true }).collect()
}

fn complaint(file: &ReleaseFile, named: &Named<'_>, value: Option<&str>) -> Option<Diagnostic> {
    let Named { name, keyed, whose, key } = named;
    let settings = key.strip_suffix("secrets").unwrap_or_default();
    let step = settings.strip_prefix("steps.").and_then(|rest| file.steps.get(rest.trim_end_matches('.')));
    let set = match step {
        Some(step) => step.env.contains_key(*name),
        None => file.env.contains_key(*name),
    };
    if set || file.pass_env.contains(*name) {
        let message = format!("{name} is a secret and a variable like others");
        let hint = "take it out of `env:` and `pass_env:`, which keep nothing secret";
        return Some(Diagnostic::error(message).hint(hint));
    }
    match value {
        None if *keyed => Some(
            Diagnostic::error(format!("the secret {name} is not set, and goes to {whose}"))
                .hint(format!("set {name} in the environment of the build; in CI, from its store of secrets"))
                .hint(format!(
                    "`secrets: {{{name}: {{key: false}}}}` lets who does not have it take results that others made"
                )),
        ),
        Some(value) if value.trim().len() < SHORTEST => Some(
            Diagnostic::error(format!("the secret {name} has fewer than {SHORTEST} bytes"))
                .note("so short a text is found by chance everywhere: it could be neither cut out nor looked for")
                .hint("use a longer one; what is no secret belongs under `pass_env:`"),
        ),
        _ => None,
    }
}

/// Where it is named: in a map by its key, in a list by its entry.
fn place(file: &ReleaseFile, named: &Named<'_>) -> Option<crate::diagnostic::Span> {
    let Named { name, key, .. } = named;
    let listed = || {
        (0..)
            .map_while(|at| file.span(&format!("{key}[{at}]")))
            .find(|span| span.text[span.bytes()].contains(name))
    };
    file.key_span(&format!("{key}.{name}")).or_else(listed).or_else(|| file.span(key))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn found(text: &str, env: &[(&str, &str)]) -> Result<Vec<Secret>, String> {
        let text = format!("release: a\n{text}");
        let file = ReleaseFile::parse(Path::new("release.yaml"), text.as_bytes()).expect("a good file");
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        find(&file, &env).map_err(|errors| {
            let line = |error: &Diagnostic| {
                format!("{}: {}", error.span.as_ref().map_or(0, |span| span.line), error.message)
            };
            errors.iter().map(line).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn a_secret_that_is_part_of_a_key_must_be_set() {
        let steps = "steps:\n  s:\n    run: x\n    secrets:\n      - ONE\n      - TWO\n";
        let error = found(steps, &[("ONE", "long enough"), ("TWO", " ")]).expect_err("it is not set");
        assert_eq!(error, "7: the secret TWO is not set, and goes to step `s`");
        let secrets = found(steps, &[("ONE", "long enough"), ("TWO", "as long as that")]).expect("secrets");
        assert_eq!(secrets.len(), 2);
        let error = found("secrets: [T]\n", &[]).expect_err("it is not set");
        assert_eq!(error, "2: the secret T is not set, and goes to the steps that run Mix or rebar3");
        let secrets = found("secrets:\n  T: {key: false}\n", &[]).expect("it is in no key");
        assert!(secrets[0].value.is_none() && !secrets[0].keyed);
    }

    #[test]
    fn what_cannot_be_kept_secret_is_refused() {
        let error = found("secrets: {T: {key: false}}\n", &[("T", "short")]).expect_err("it is short");
        assert_eq!(error, "2: the secret T has fewer than 8 bytes");
        let error = found("pass_env: [T]\nsecrets: [T]\n", &[("T", "long enough")]).expect_err("it is both");
        assert_eq!(error, "3: T is a secret and a variable like others");
        let step = "steps:\n  s: {run: x, env: {T: a}, secrets: [T]}\n";
        assert!(found(step, &[("T", "long enough")]).is_err());
        // What one step is given openly may be another's secret: it is not shown in either.
        let two = "steps:\n  s: {run: x, env: {T: a}}\n  t: {run: x, secrets: [T]}\n";
        assert!(found(two, &[("T", "long enough")]).is_ok());
    }
}
