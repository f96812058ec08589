//! Distillery's `rel/config.exs`: the forms in which nearly everybody writes it, read as text.
//!
//! It is Elixir, so a value may be computed; what is not written out is not guessed, but said.

use super::scan::{Lang, Token, placed};

/// A value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Atom(String),
    Text(String),
    /// `true`, `false`, a number.
    Word(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    /// `key: value` in a list.
    Pair(String, Box<Value>),
    /// `name(arguments)`.
    Call(String, Vec<Value>),
    /// Anything else.
    Computed,
}

/// `set name: value`, or `plugin Name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub line: usize,
    pub name: String,
    pub value: Value,
}

/// `release :name do … end`, or `environment :name do … end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub line: usize,
    pub release: bool,
    pub name: String,
    pub settings: Vec<Setting>,
}

/// All blocks of the file.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let tokens = placed(text, Lang::Elixir);
    let mut reader = Reader { tokens: &tokens, at: 0 };
    let mut blocks = Vec::new();
    while let Some((line, token)) = reader.next() {
        let (Token::Word(word), Some(Token::Atom(name)), Some(Token::Word(then))) =
            (token, reader.peek(0), reader.peek(1))
        else {
            continue;
        };
        if (word == "release" || word == "environment") && then == "do" {
            let (release, name) = (word == "release", name.clone());
            reader.at += 2;
            blocks.push(Block { line, release, name, settings: reader.settings() });
        }
    }
    blocks
}

struct Reader<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + ahead).map(|(_, token)| token)
    }

    fn next(&mut self) -> Option<(usize, &'a Token)> {
        let (line, token) = self.tokens.get(self.at)?;
        self.at += 1;
        Some((*line, token))
    }

    fn takes(&mut self, sign: char) -> bool {
        let there = self.peek(0) == Some(&Token::Sign(sign));
        self.at += usize::from(there);
        there
    }

    /// What stands between `do` and its `end`.
    fn settings(&mut self) -> Vec<Setting> {
        let mut settings = Vec::new();
        let mut depth = 0_usize;
        while let Some((line, token)) = self.next() {
            match token {
                Token::Word(word) if word == "end" && depth == 0 => break,
                Token::Word(word) if word == "end" => depth -= 1,
                Token::Word(word) if word == "do" || word == "fn" => depth += 1,
                Token::Word(word) if word == "set" && depth == 0 => self.pairs(&mut settings),
                Token::Word(word) if word == "plugin" && depth == 0 => {
                    let name = self.dotted();
                    settings.push(Setting { line, name: "plugin".into(), value: Value::Word(name) });
                }
                _ => {}
            }
        }
        settings
    }

    /// `a: 1, b: 2`, which may go over several lines.
    fn pairs(&mut self, settings: &mut Vec<Setting>) {
        while let Some((line, Token::Key(name))) = self.tokens.get(self.at).map(|(line, t)| (*line, t)) {
            self.at += 1;
            let value = self.whole();
            settings.push(Setting { line, name: name.clone(), value });
            if !self.takes(',') {
                break;
            }
        }
    }

    /// A value that is followed by an operator is not what is written there.
    fn whole(&mut self) -> Value {
        let value = self.value();
        let operator = |token: Option<&Token>| {
            matches!(token, Some(Token::Sign('|' | '<' | '+' | '.' | '-' | '/' | '&' | '=' | '(')))
        };
        let computed = operator(self.peek(0));
        while operator(self.peek(0)) {
            self.at += 1;
            while operator(self.peek(0)) || matches!(self.peek(0), Some(Token::Sign('>'))) {
                self.at += 1;
            }
            self.value();
        }
        if computed { Value::Computed } else { value }
    }

    fn value(&mut self) -> Value {
        let Some((_, token)) = self.next() else { return Value::Computed };
        match token {
            Token::Text(text) if text.contains("#{") => Value::Computed,
            Token::Text(text) => Value::Text(text.clone()),
            Token::Atom(name) => Value::Atom(name.clone()),
            Token::Sign('[') => Value::List(self.list(']')),
            Token::Sign('{') => Value::Tuple(self.list('}')),
            Token::Sign('(') => {
                self.list(')');
                Value::Computed
            }
            // The closing sign of what stands around it is not its own.
            Token::Sign(']' | '}' | ')' | ',') => {
                self.at -= 1;
                Value::Computed
            }
            Token::Word(word) if word.chars().all(|c| c.is_lowercase() || c == '_') => {
                if self.takes('(') {
                    Value::Call(word.clone(), self.list(')'))
                } else {
                    Value::Word(word.clone())
                }
            }
            Token::Word(word) => {
                self.at -= 1;
                let name = self.dotted();
                let number = word.chars().all(|c| c.is_ascii_digit() || c == '_');
                let called = self.takes('(') && {
                    self.list(')');
                    true
                };
                let module = name.starts_with(char::is_uppercase);
                if (number || module) && !called { Value::Word(name) } else { Value::Computed }
            }
            _ => Value::Computed,
        }
    }

    /// `Some.Module`, or the number `1.5`.
    fn dotted(&mut self) -> String {
        let mut name = String::new();
        while let Some(Token::Word(word)) = self.peek(0) {
            name.push_str(word);
            self.at += 1;
            if self.peek(0) != Some(&Token::Sign('.')) || !matches!(self.peek(1), Some(Token::Word(_))) {
                break;
            }
            name.push('.');
            self.at += 1;
        }
        name
    }

    fn list(&mut self, closing: char) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            match self.peek(0) {
                None => return values,
                Some(Token::Sign(sign)) if *sign == closing => {
                    self.at += 1;
                    return values;
                }
                Some(Token::Sign(',')) => self.at += 1,
                // Brackets that do not belong together: no more can be made of this.
                Some(Token::Sign(']' | '}' | ')')) => return values,
                Some(Token::Key(key)) => {
                    self.at += 1;
                    let value = self.whole();
                    values.push(Value::Pair(key.clone(), Box::new(value)));
                }
                Some(_) => {
                    let before = self.at;
                    values.push(self.whole());
                    self.at = self.at.max(before + 1);
                }
            }
        }
    }
}
