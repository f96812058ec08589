//! Values as people would write them. What has the name or the looks of a secret is hidden.

use crate::compare::mask;
use crate::etf::Term;

use super::facts::as_or;
use super::value::Value;

/// The language that a value is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `{Sequence.Stash, Application.fetch_env!(:sequence, :start)}`
    Elixir,
    /// `{stash,{stash,start_link,[application:get_env(sequence,start)]}}`
    Erlang,
}

impl Style {
    /// The language of a module, by its name.
    pub fn of(module: &str) -> Style {
        if module.starts_with("Elixir.") { Style::Elixir } else { Style::Erlang }
    }
}

/// What depends on the running node in a way that the code does not tell.
const UNKNOWN: &str = "…";

impl Value {
    /// The value on one line.
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        write(self, style, None, &mut out);
        out
    }
}

/// `key`: the key that the value is of.
fn write(value: &Value, style: Style, key: Option<&str>, out: &mut String) {
    match value {
        Value::Term(term) => write_term(term, style, key, out),
        Value::Tuple(elements) => {
            let key = match &elements[..] {
                [name, _] => name.as_atom(),
                _ => None,
            };
            between("{", elements, "}", style, key, out);
        }
        Value::List(elements) if style == Style::Elixir && keywords(elements).is_some() => {
            out.push('[');
            pairs(keywords(elements).unwrap_or_default(), style, out);
            out.push(']');
        }
        Value::List(elements) => between("[", elements, "]", style, None, out),
        Value::Cons(elements, tail) => {
            between("[", elements, " | ", style, None, out);
            write(tail, style, None, out);
            out.push(']');
        }
        Value::Map(entries) => map(entries.clone(), style, out),
        Value::Call { .. } => call(value, style, out),
        Value::Fun(fun) => match style {
            Style::Elixir => out.push_str(&format!("fn/{}", fun.arity)),
            Style::Erlang => out.push_str(&format!("fun/{}", fun.arity)),
        },
        Value::Argument(number) => out.push_str(&format!("argument {}", number + 1)),
        Value::Unknown => out.push_str(UNKNOWN),
    }
}

fn separator(style: Style) -> &'static str {
    if style == Style::Elixir { ", " } else { "," }
}

fn between(open: &str, parts: &[Value], close: &str, style: Style, key: Option<&str>, out: &mut String) {
    out.push_str(open);
    for (index, part) in parts.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { separator(style) });
        write(part, style, key.filter(|_| index > 0), out);
    }
    out.push_str(close);
}

fn call(value: &Value, style: Style, out: &mut String) {
    let Some((module, function, arguments)) = value.as_call() else { return };
    if style == Style::Elixir
        && let Some((value, default)) = as_or(value)
    {
        write(&value, style, None, out);
        out.push_str(" || ");
        return write(default, style, None, out);
    }
    if module == "erlang" && style == Style::Erlang {
        out.push_str(function);
    } else {
        write_term(&Term::atom(module), style, None, out);
        out.push(if style == Style::Elixir { '.' } else { ':' });
        out.push_str(function);
    }
    between("(", arguments, ")", style, None, out);
}

/// The pairs of a list that Elixir writes as `[key: value]`.
fn keywords(elements: &[Value]) -> Option<Vec<(Value, Value)>> {
    let pair = |element: &Value| {
        let [key, value] = <[Value; 2]>::try_from(element.as_tuple()?).ok()?;
        plain(key.as_atom()?).then_some((key, value))
    };
    elements.iter().map(pair).collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty())
}

/// Whether an atom needs no quotes as a key.
fn plain(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    begins
        && name
            .trim_end_matches(['?', '!'])
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || "_@".contains(one))
}

fn pairs(pairs: Vec<(Value, Value)>, style: Style, out: &mut String) {
    for (index, (key, value)) in pairs.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { separator(style) });
        out.push_str(key.as_atom().unwrap_or_default());
        out.push_str(": ");
        write(value, style, key.as_atom(), out);
    }
}

fn map(entries: Vec<(Value, Value)>, style: Style, out: &mut String) {
    if style == Style::Elixir && entries.iter().all(|(key, _)| key.as_atom().is_some_and(plain)) {
        out.push_str("%{");
        pairs(entries, style, out);
        return out.push('}');
    }
    out.push_str(if style == Style::Elixir { "%{" } else { "#{" });
    for (index, (key, value)) in entries.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { separator(style) });
        write(key, style, None, out);
        out.push_str(" => ");
        write(value, style, key.as_atom(), out);
    }
    out.push('}');
}

fn write_term(term: &Term, style: Style, key: Option<&str>, out: &mut String) {
    if mask::term(key.unwrap_or_default(), term) == mask::MASK {
        return out.push_str(mask::MASK);
    }
    match term {
        Term::Tuple(terms) => {
            let key = match &terms[..] {
                [Term::Atom(name), _] => Some(name.as_str()),
                _ => None,
            };
            between("{", &values(terms), "}", style, key, out);
        }
        Term::List(terms) => match (keywords(&values(terms)), style) {
            (Some(entries), Style::Elixir) => {
                out.push('[');
                pairs(entries, style, out);
                out.push(']');
            }
            _ => between("[", &values(terms), "]", style, None, out),
        },
        Term::Map(entries) => {
            let pair = |(key, value): &(Term, Term)| (Value::Term(key.clone()), Value::Term(value.clone()));
            map(entries.iter().map(pair).collect(), style, out);
        }
        term if style == Style::Erlang => out.push_str(&mask::term(key.unwrap_or_default(), term)),
        Term::Atom(name) => atom(name, out),
        Term::ExternalFun { module, function, arity } => {
            out.push('&');
            atom(module, out);
            out.push_str(&format!(".{function}/{arity}"));
        }
        Term::Binary(_) if term.as_text().is_some() => {
            out.push_str(&format!("{:?}", term.as_text().unwrap_or_default()));
        }
        Term::String(bytes) if bytes.iter().all(|byte| (32..127).contains(byte)) => {
            out.push_str(&format!("'{}'", term.as_text().unwrap_or_default()));
        }
        term => out.push_str(&term.to_string()),
    }
}

fn values(terms: &[Term]) -> Vec<Value> {
    terms.iter().cloned().map(Value::Term).collect()
}

/// An atom as Elixir writes it.
fn atom(name: &str, out: &mut String) {
    match name.strip_prefix("Elixir.") {
        Some(alias) if alias.starts_with(|first: char| first.is_ascii_uppercase()) => out.push_str(alias),
        _ if matches!(name, "nil" | "true" | "false") => out.push_str(name),
        _ if plain(name) => out.push_str(&format!(":{name}")),
        _ => out.push_str(&format!(":{name:?}")),
    }
}
