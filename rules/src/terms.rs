//! Requests to the driver as Erlang text: `{key, value}.` lines that `file:consult/1` reads.

use std::fmt::Write as _;

/// A value of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An atom.
    Atom(String),
    /// An Elixir string.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    List(Vec<Value>),
    /// A tuple of two.
    Pair(Box<Value>, Box<Value>),
}

impl Value {
    /// An atom.
    pub fn atom(name: impl Into<String>) -> Value {
        Value::Atom(name.into())
    }

    /// An Elixir string.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// A list of Elixir strings.
    pub fn texts<I: IntoIterator<Item = S>, S: Into<String>>(items: I) -> Value {
        Value::List(items.into_iter().map(Value::text).collect())
    }

    /// A tuple of two.
    pub fn pair(one: Value, two: Value) -> Value {
        Value::Pair(Box::new(one), Box::new(two))
    }

    fn write(&self, out: &mut String) {
        match self {
            Value::Atom(name) => quote(name, '\'', out),
            Value::Text(text) => {
                out.push_str("<<");
                quote(text, '"', out);
                out.push_str("/utf8>>");
            }
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Value::Pair(one, two) => {
                out.push('{');
                one.write(out);
                out.push(',');
                two.write(out);
                out.push('}');
            }
        }
    }
}

fn quote(text: &str, mark: char, out: &mut String) {
    out.push(mark);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if c == mark => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(mark);
}

/// The text of a request: one `{key, value}.` per line, read as UTF-8.
pub fn request(pairs: &[(&str, Value)]) -> String {
    let mut out = String::from("%% coding: utf-8\n");
    for (key, value) in pairs {
        Value::pair(Value::atom(*key), value.clone()).write(&mut out);
        out.push_str(".\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_erlang_would_misread() {
        let text = request(&[
            ("path", Value::text("a\"b\\c\nd é")),
            ("app", Value::atom("it's")),
            ("on", Value::Bool(true)),
            ("env", Value::List(vec![Value::pair(Value::text("A"), Value::text(""))])),
        ]);
        assert_eq!(
            text,
            "%% coding: utf-8\n{'path',<<\"a\\\"b\\\\c\\x{a}d é\"/utf8>>}.\n{'app','it\\'s'}.\n{'on',true}.\n\
             {'env',[{<<\"A\"/utf8>>,<<\"\"/utf8>>}]}.\n"
        );
    }
}
