//! What works on a machine, as text and as `relgraph.doctor/1`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Paint, harmless};

/// The schema of `doctor --format json`.
const SCHEMA: &str = "relgraph.doctor/1";

/// How something that was looked at is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// Not there, and not needed by everybody.
    Unused,
    /// Works, with a loss.
    Warning,
    /// Needed, and not there.
    Missing,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Good => "ok",
            State::Unused => "unused",
            State::Warning => "warning",
            State::Missing => "missing",
        }
    }
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Its version.
    pub version: Option<String>,
    /// Where it is.
    pub path: Option<PathBuf>,
    /// What there is to say of it.
    pub detail: Option<String>,
    /// Why it is not better.
    pub notes: Vec<String>,
    /// What to do.
    pub hints: Vec<String>,
    /// More of it, for programs, under a name of its own.
    pub more: Option<(&'static str, Value)>,
}

impl Check {
    /// Nothing to say yet.
    pub fn new(name: &str, state: State) -> Check {
        let name = name.to_owned();
        Check {
            name,
            state,
            version: None,
            path: None,
            detail: None,
            notes: Vec::new(),
            hints: Vec::new(),
            more: None,
        }
    }
}

/// For programs.
pub fn json(checks: &[Check]) -> Value {
    let check = |check: &Check| {
        let mut object = json!({
            "name": check.name,
            "state": check.state.word(),
            "version": check.version,
            "path": check.path,
            "detail": check.detail,
            "notes": check.notes,
            "hints": check.hints,
        });
        if let Some((name, more)) = &check.more {
            object[*name] = more.clone();
        }
        object
    };
    json!({
        "schema": SCHEMA,
        "ok": checks.iter().all(|check| check.state != State::Missing),
        "checks": checks.iter().map(check).collect::<Vec<_>>(),
    })
}

/// For people.
pub fn text(checks: &[Check], colour: bool) -> String {
    let paint = Paint(colour);
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for check in checks {
        let style = match check.state {
            State::Good => "32",
            State::Unused => "2",
            State::Warning => "33",
            State::Missing => "31",
        };
        let mut facts: Vec<String> =
            check.version.iter().chain(&check.detail).map(|fact| harmless(fact)).collect();
        facts.extend(check.path.iter().map(|path| harmless(&path.display().to_string())));
        let word = paint.with(&format!("{:>7}", check.state.word()), style);
        out.push_str(format!("{word}  {:width$}  {}", check.name, facts.join("  ")).trim_end());
        out.push('\n');
        for note in &check.notes {
            out.push_str(&format!("         note: {}\n", harmless(note)));
        }
        for hint in check.hints.iter().filter(|_| check.state != State::Good) {
            out.push_str(&format!("         hint: {}\n", harmless(hint)));
        }
    }
    let missing: Vec<&str> =
        checks.iter().filter(|c| c.state == State::Missing).map(|c| c.name.as_str()).collect();
    out.push_str(&match missing[..] {
        [] => "everything that a build needs is here\n".to_owned(),
        _ => format!("missing: {}\n", missing.join(", ")),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_what_to_do() {
        let good = Check {
            version: Some("1.14.0".into()),
            path: Some("/bin/elixir".into()),
            ..Check::new("elixir", State::Good)
        };
        let lost = Check {
            detail: Some("`erl` is not in PATH".into()),
            hints: vec!["install Erlang".into()],
            ..Check::new("erl", State::Missing)
        };
        assert_eq!(
            text(&[good.clone(), lost.clone()], false),
            "     ok  elixir  1.14.0  /bin/elixir\n\
             missing  erl     `erl` is not in PATH\n\
             \x20        hint: install Erlang\n\
             missing: erl\n"
        );
        assert_eq!(json(&[good.clone(), lost])["ok"], false);
        assert!(text(&[good], false).ends_with("everything that a build needs is here\n"));
    }
}
