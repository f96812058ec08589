//! Literals of Elixir: what `inspect/1` writes of maps, tuples, lists, strings, atoms and integers, and what a person
//! might make of it by hand.

use super::span::span;
use crate::diagnostic::Diagnostic;

/// A value, and which bytes of the text it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub value: Literal,
    pub start: usize,
    pub end: usize,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    Atom(String),
    Text(String),
    Integer(String),
    List(Vec<Node>),
    Tuple(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Literal::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn atom(&self) -> Option<&str> {
        match &self.value {
            Literal::Atom(name) => Some(name),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Literal::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn tuple(&self) -> Option<&[Node]> {
        match &self.value {
            Literal::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a key of a keyword list.
    pub fn option(&self, key: &str) -> Option<&Node> {
        self.list()?.iter().find_map(|item| match item.tuple()? {
            [name, value] if name.atom() == Some(key) => Some(value),
            _ => None,
        })
    }
}

/// No lock file nests deeper.
const DEPTH: usize = 32;

/// The only value of a text.
pub(super) fn read(text: &str) -> Result<Node, Box<Diagnostic>> {
    let mut reader = Reader { text, at: 0 };
    let node = reader.value(0)?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.wrong("expected the end of the file"));
    }
    Ok(node)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Read<T> = Result<T, Box<Diagnostic>>;

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn wrong(&self, what: &str) -> Box<Diagnostic> {
        let end = self.at + self.peek().map_or(0, char::len_utf8);
        let found = match self.peek() {
            Some(c) => format!("{what}, found {c:?}"),
            None => format!("{what}, found the end of the file"),
        };
        Box::new(Diagnostic::error(found).at(span(self.text, self.at, end)))
    }

    /// Skips white space and comments.
    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn eat(&mut self, mark: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Read<Node> {
        self.blanks();
        let start = self.at;
        if depth > DEPTH {
            return Err(self.wrong("values are nested too deep"));
        }
        let value = match self.peek() {
            Some('%') => {
                self.at += 1;
                if !self.eat("{") {
                    return Err(self.wrong("expected `{`"));
                }
                self.map(depth)?
            }
            Some('{') => {
                self.at += 1;
                Literal::Tuple(self.items("}", depth)?)
            }
            Some('[') => {
                self.at += 1;
                Literal::List(self.items("]", depth)?)
            }
            Some('"') => Literal::Text(self.quoted()?),
            Some(':') => {
                self.at += 1;
                Literal::Atom(if self.peek() == Some('"') { self.quoted()? } else { self.word()? })
            }
            Some(c) if c.is_ascii_digit() || c == '-' => {
                let rest = self.rest();
                let digits = |c: char| c.is_ascii_digit() || c == '_';
                let length = 1 + rest[1..].find(|c| !digits(c)).unwrap_or(rest.len() - 1);
                let number = rest[..length].replace('_', "");
                self.at += length;
                Literal::Integer(number)
            }
            // `true`, `false`, `nil`; an alias is an atom, too.
            Some(c) if c.is_alphabetic() => Literal::Atom(self.word()?),
            _ => return Err(self.wrong("expected a value")),
        };
        Ok(Node { value, start, end: self.at })
    }

    /// The items of a list or tuple; `key: value` is a pair.
    fn items(&mut self, close: &str, depth: usize) -> Read<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            if self.eat(close) {
                return Ok(items);
            }
            self.blanks();
            let start = self.at;
            items.push(match self.key()? {
                Some(key) => {
                    let value = self.value(depth + 1)?;
                    let end = value.end;
                    Node { value: Literal::Tuple(vec![key, value]), start, end }
                }
                None => self.value(depth + 1)?,
            });
            if !self.eat(",") {
                return if self.eat(close) {
                    Ok(items)
                } else {
                    Err(self.wrong(&format!("expected `,` or `{close}`")))
                };
            }
        }
    }

    fn map(&mut self, depth: usize) -> Read<Literal> {
        let mut pairs = Vec::new();
        loop {
            if self.eat("}") {
                return Ok(Literal::Map(pairs));
            }
            let key = match self.key()? {
                Some(key) => key,
                None => {
                    let key = self.value(depth + 1)?;
                    if !self.eat("=>") {
                        return Err(self.wrong("expected `=>`"));
                    }
                    key
                }
            };
            pairs.push((key, self.value(depth + 1)?));
            if !self.eat(",") {
                return if self.eat("}") {
                    Ok(Literal::Map(pairs))
                } else {
                    Err(self.wrong("expected `,` or `}`"))
                };
            }
        }
    }

    /// `name:` or `"name":`, an atom. Nothing is taken where something else stands.
    fn key(&mut self) -> Read<Option<Node>> {
        self.blanks();
        let start = self.at;
        let name = match self.peek() {
            Some('"') => self.quoted()?,
            Some(c) if c.is_alphabetic() || c == '_' => self.word()?,
            _ => return Ok(None),
        };
        let after = &self.rest()[..self.rest().len().min(2)];
        if self.rest().starts_with(':') && after != "::" {
            let end = self.at;
            self.at += 1;
            return Ok(Some(Node { value: Literal::Atom(name), start, end }));
        }
        self.at = start;
        Ok(None)
    }

    fn word(&mut self) -> Read<String> {
        let inside = |c: char| c.is_alphanumeric() || "_@.?!".contains(c);
        let length = self.rest().find(|c| !inside(c)).unwrap_or(self.rest().len());
        if length == 0 {
            return Err(self.wrong("expected a name"));
        }
        let word = self.rest()[..length].to_owned();
        self.at += length;
        Ok(word)
    }

    fn quoted(&mut self) -> Read<String> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                self.at = start;
                return Err(self.wrong("expected a string that is closed"));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped()?),
                '#' if self.peek() == Some('{') => {
                    self.at -= 1;
                    return Err(self.wrong("expected a string without interpolation"));
                }
                c => text.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Read<char> {
        let Some(c) = self.peek() else { return Err(self.wrong("expected a string that is closed")) };
        self.at += c.len_utf8();
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            's' => ' ',
            'e' => '\u{1b}',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'd' => '\u{7f}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '0' => '\0',
            'x' | 'u' => {
                let rest = self.rest();
                let (digits, taken) = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                    Some((digits, _)) => (digits.to_owned(), digits.len() + 2),
                    None => {
                        let count = if c == 'x' { 2 } else { 4 };
                        (rest.chars().take(count).collect::<String>(), count)
                    }
                };
                let point = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                let Some(point) = point else { return Err(self.wrong("expected a character's number")) };
                self.at += taken;
                point
            }
            c => c,
        })
    }
}
