//! What kind of value a node is, by the core schema of YAML 1.2.

use super::tree::Node;

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number,
    Text,
    List,
    Map,
}

impl Kind {
    pub fn of(node: &Node) -> Kind {
        match node {
            Node::List(_) => Kind::List,
            Node::Map(_) => Kind::Map,
            Node::Scalar { bare: false, .. } => Kind::Text,
            Node::Scalar { text, bare: true } => match text.as_str() {
                "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
                "true" | "True" | "TRUE" => Kind::Bool(true),
                "false" | "False" | "FALSE" => Kind::Bool(false),
                text if is_number(text) => Kind::Number,
                _ => Kind::Text,
            },
        }
    }

    /// "a number", as in "found a number".
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Null => "nothing",
            Kind::Bool(true) => "`true`",
            Kind::Bool(false) => "`false`",
            Kind::Number => "a number",
            Kind::Text => "a string",
            Kind::List => "a list",
            Kind::Map => "a map",
        }
    }
}

fn is_number(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(text, ".nan" | ".NaN" | ".NAN") || matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    // What Rust reads beyond this, `infinity` and `nan`, begins with a letter.
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_scalars_have_the_kinds_of_the_core_schema() {
        let kind = |text: &str| Kind::of(&Node::Scalar { text: text.into(), bare: true });
        for text in ["0", "-1", "+12", "0x1F", "0o17", "1.5", ".5", "1.", "1e3", "-.inf", ".nan"] {
            assert_eq!(kind(text), Kind::Number, "{text}");
        }
        for text in ["yes", "off", "1.2.3", "0x", "0b1", "1_000", "infinity", "nan", "-", "+.", "12:30", "1e"]
        {
            assert_eq!(kind(text), Kind::Text, "{text}");
        }
        assert_eq!(kind("~"), Kind::Null);
        assert_eq!(kind("True"), Kind::Bool(true));
        assert_eq!(Kind::of(&Node::Scalar { text: "true".into(), bare: false }), Kind::Text);
    }
}
