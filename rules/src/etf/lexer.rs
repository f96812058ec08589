//! The tokens of Erlang terms written as text.

use super::big::push_digit;
use super::text::TextError;
use super::{BigInteger, Float, Term};

/// Words that are no atoms unless quoted.
pub(super) const RESERVED: [&str; 29] = [
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond",
    "div", "else", "end", "fun", "if", "let", "maybe", "not", "of", "or", "orelse", "receive", "rem", "try",
    "when", "xor",
];

/// Digits beyond this many make a number that no configuration holds; reading takes the square of the length.
const LONGEST_NUMBER: usize = 20_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Atom(String),
    /// A word that an Erlang program would use in another way than as a term.
    Reserved(String),
    Number(Term),
    /// Code points.
    String(Vec<u32>),
    /// `~"…"` and `~b"…"`: a binary of UTF-8.
    Binary(String),
    Mark(&'static str),
    End,
}

impl Token {
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Atom(name) => format!("atom {}", Term::atom(name.as_str())),
            Token::Reserved(name) => format!("the reserved word {name}"),
            Token::Number(number) => format!("{number}"),
            Token::String(_) => "a string".to_owned(),
            Token::Binary(_) => "a binary".to_owned(),
            Token::Mark(mark) => format!("\"{mark}\""),
            Token::End => "the end of the file".to_owned(),
        }
    }
}

pub(super) struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    column: usize,
}

impl Lexer {
    pub(super) fn new(text: &str) -> Lexer {
        Lexer { chars: text.chars().collect(), at: 0, line: 1, column: 1 }
    }

    pub(super) fn position(&self) -> (usize, usize) {
        (self.line, self.column)
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, TextError> {
        Err(TextError { line: self.line, column: self.column, message: message.into() })
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek(0)?;
        self.at += 1;
        if char == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(char)
    }

    fn eat(&mut self, text: &str) -> bool {
        let matches = text.chars().enumerate().all(|(index, char)| self.peek(index) == Some(char));
        if matches {
            text.chars().for_each(|_| {
                self.next();
            });
        }
        matches
    }

    pub(super) fn skip_blanks(&mut self) {
        while let Some(char) = self.peek(0) {
            if char == '%' {
                while self.peek(0).is_some_and(|char| char != '\n') {
                    self.next();
                }
            } else if char.is_whitespace() || char.is_control() {
                self.next();
            } else {
                break;
            }
        }
    }

    /// The next token; blanks in front of it are skipped.
    pub(super) fn token(&mut self) -> Result<Token, TextError> {
        self.skip_blanks();
        let Some(first) = self.peek(0) else { return Ok(Token::End) };
        if first.is_ascii_digit() {
            return self.number().map(Token::Number);
        }
        if first.is_lowercase() {
            return Ok(self.word());
        }
        match first {
            '\'' => {
                let points = self.quoted('\'')?;
                match points.into_iter().map(char::from_u32).collect() {
                    Some(name) => Ok(Token::Atom(name)),
                    None => self.error("an atom holds a character that is not Unicode"),
                }
            }
            '"' => {
                if self.eat("\"\"\"") {
                    return self.error("strings in triple quotes are not supported");
                }
                self.quoted('"').map(Token::String)
            }
            '$' => {
                self.next();
                match self.character()? {
                    Some(point) => Ok(Token::Number(Term::Integer(point.into()))),
                    None => self.error("a character is missing behind $"),
                }
            }
            '~' => self.sigil(),
            char if char.is_uppercase() || char == '_' => self.error("a variable is not a term"),
            char => {
                let marks = [
                    "<<", ">>", "=>", "#{", "{", "}", "[", "]", "(", ")", ",", "|", ".", ":", "/", "-", "+",
                    "#",
                ];
                match marks.into_iter().find(|mark| self.eat(mark)) {
                    Some(mark) => Ok(Token::Mark(mark)),
                    None => self.error(format!("the character {char:?} starts no term")),
                }
            }
        }
    }

    fn word(&mut self) -> Token {
        let mut name = String::new();
        while let Some(char) = self.peek(0).filter(|char| char.is_alphanumeric() || matches!(char, '_' | '@'))
        {
            name.push(char);
            self.next();
        }
        // `else`, `let` and `maybe` are reserved in some releases only: always accepted, always written quoted.
        let reserved =
            RESERVED.contains(&name.as_str()) && !matches!(name.as_str(), "else" | "let" | "maybe" | "cond");
        if reserved { Token::Reserved(name) } else { Token::Atom(name) }
    }

    fn sigil(&mut self) -> Result<Token, TextError> {
        self.next();
        let string = self.eat("s");
        let _ = string || self.eat("b");
        if self.peek(0) != Some('"') {
            return self.error("only the sigils ~\"…\", ~b\"…\" and ~s\"…\" are supported");
        }
        let points = self.quoted('"')?;
        if string {
            return Ok(Token::String(points));
        }
        match points.into_iter().map(char::from_u32).collect() {
            Some(text) => Ok(Token::Binary(text)),
            None => self.error("a binary holds a character that is not Unicode"),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Vec<u32>, TextError> {
        let (line, column) = self.position();
        self.next();
        let mut points = Vec::new();
        loop {
            match self.peek(0) {
                None => {
                    let message = format!("the closing {quote} is missing");
                    return Err(TextError { line, column, message });
                }
                Some(char) if char == quote => {
                    self.next();
                    return Ok(points);
                }
                Some(_) => points.extend(self.character()?),
            }
        }
    }

    /// One character, perhaps written with a backslash. A backslash at the end of a line is nothing.
    fn character(&mut self) -> Result<Option<u32>, TextError> {
        let Some(first) = self.next() else { return Ok(None) };
        if first != '\\' {
            return Ok(Some(first.into()));
        }
        let Some(escape) = self.next() else { return self.error("an escape is cut off") };
        Ok(Some(match escape {
            'b' => 8,
            'd' => 127,
            'e' => 27,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            's' => 32,
            't' => 9,
            'v' => 11,
            '^' => match self.next() {
                Some(char @ '@'..='_') => u32::from(char) - 64,
                Some(char @ 'a'..='z') => u32::from(char) - 96,
                Some('?') => 127,
                _ => return self.error("no control character follows \\^"),
            },
            'x' => self.hexadecimal()?,
            '0'..='7' => {
                let mut point = escape.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.peek(0).and_then(|char| char.to_digit(8)) else { break };
                    point = point * 8 + digit;
                    self.next();
                }
                point
            }
            '\n' => return Ok(None),
            char => char.into(),
        }))
    }

    fn hexadecimal(&mut self) -> Result<u32, TextError> {
        let braces = self.eat("{");
        let mut digits = String::new();
        while let Some(char) = self.peek(0).filter(char::is_ascii_hexdigit) {
            if !braces && digits.len() == 2 {
                break;
            }
            digits.push(char);
            self.next();
        }
        if braces && !self.eat("}") {
            return self.error("the closing } of \\x{…} is missing");
        }
        match u32::from_str_radix(&digits, 16) {
            Ok(point) if point <= 0x10_ffff && (braces || digits.len() == 2) => Ok(point),
            _ => self.error("\\x names no character"),
        }
    }

    fn digits(&mut self, base: u32) -> Result<String, TextError> {
        let mut digits = String::new();
        while let Some(char) = self.peek(0) {
            if char.is_digit(base) {
                digits.push(char);
            } else if !(char == '_'
                && !digits.is_empty()
                && self.peek(1).is_some_and(|next| next.is_digit(base)))
            {
                break;
            }
            self.next();
        }
        if digits.len() > LONGEST_NUMBER {
            return self.error(format!("a number of more than {LONGEST_NUMBER} digits"));
        }
        Ok(digits)
    }

    fn number(&mut self) -> Result<Term, TextError> {
        let whole = self.digits(10)?;
        if self.peek(0) == Some('#') && self.peek(1).is_some_and(|char| char.is_ascii_alphanumeric()) {
            let base = whole.parse().ok().filter(|base| (2..=36).contains(base));
            let Some(base) = base else { return self.error("the base of a number is 2 to 36") };
            self.next();
            let digits = self.digits(base)?;
            if digits.is_empty() {
                return self.error("the digits of the number are missing");
            }
            return Ok(integer(&digits, base));
        }
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|char| char.is_ascii_digit()) {
            self.next();
            let mut text = format!("{whole}.{}", self.digits(10)?);
            if matches!(self.peek(0), Some('e' | 'E')) {
                self.next();
                text.push('e');
                if let Some(sign @ ('-' | '+')) = self.peek(0) {
                    text.push(sign);
                    self.next();
                }
                text.push_str(&self.digits(10)?);
            }
            return match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Term::Float(Float(value))),
                _ => self.error("a floating point number out of range"),
            };
        }
        Ok(integer(&whole, 10))
    }
}

fn integer(digits: &str, base: u32) -> Term {
    if let Ok(value) = i64::from_str_radix(digits, base) {
        return Term::Integer(value);
    }
    let mut magnitude = Vec::new();
    for digit in digits.chars().filter_map(|char| char.to_digit(base)) {
        push_digit(&mut magnitude, base, digit);
    }
    BigInteger::term(false, magnitude)
}
