//! Reading Erlang terms written as text, as `file:consult/1` does.

use thiserror::Error;

use super::lexer::{Lexer, Token};
use super::{BigInteger, Limits, Term};

/// No text that a person or a release tool writes nests deeper.
const DEPTH: usize = 128;

/// Where a text stops being terms, and why. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TextError {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// All terms of a file, each ended by a dot.
///
/// The bytes are UTF-8 unless a comment on one of the first two lines says `coding: latin-1`.
pub fn consult(bytes: &[u8]) -> Result<Vec<Term>, TextError> {
    let text = characters(bytes)?;
    let mut parser = Parser { lexer: Lexer::new(&text), ahead: None, position: (1, 1), terms: 0 };
    let mut terms = Vec::new();
    while parser.peek()? != &Token::End {
        terms.push(parser.term(0)?);
        parser.expect(".")?;
    }
    Ok(terms)
}

/// The only term of a file: of an `.app`, `.rel`, `.script` or `sys.config`.
pub fn consult_one(bytes: &[u8]) -> Result<Term, TextError> {
    let mut terms = consult(bytes)?;
    match (terms.len(), terms.pop()) {
        (1, Some(term)) => Ok(term),
        (count, _) => {
            Err(TextError { line: 1, column: 1, message: format!("{count} terms where one is expected") })
        }
    }
}

fn characters(bytes: &[u8]) -> Result<String, TextError> {
    let mut head = bytes.split(|byte| *byte == b'\n').take(2);
    let latin = head.any(|line| {
        let line = String::from_utf8_lossy(line).to_ascii_lowercase();
        line.trim_start().starts_with('%')
            && line.split_once("coding").is_some_and(|(_, rest)| {
                rest.trim_start_matches(|char: char| matches!(char, ':' | '=') || char.is_whitespace())
                    .starts_with("latin-1")
            })
    });
    if latin {
        return Ok(bytes.iter().map(|byte| char::from(*byte)).collect());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        TextError { line, column, message: "the text is not UTF-8".to_owned() }
    })
}

struct Parser {
    lexer: Lexer,
    ahead: Option<Token>,
    /// Where the last token starts.
    position: (usize, usize),
    terms: usize,
}

impl Parser {
    fn peek(&mut self) -> Result<&Token, TextError> {
        let token = self.token()?;
        Ok(self.ahead.insert(token))
    }

    fn token(&mut self) -> Result<Token, TextError> {
        if let Some(token) = self.ahead.take() {
            return Ok(token);
        }
        self.lexer.skip_blanks();
        self.position = self.lexer.position();
        self.lexer.token()
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, TextError> {
        Err(TextError { line: self.position.0, column: self.position.1, message: message.into() })
    }

    fn expect(&mut self, mark: &'static str) -> Result<(), TextError> {
        match self.token()? {
            Token::Mark(found) if found == mark => Ok(()),
            other => self.error(format!("expected \"{mark}\", found {}", other.describe())),
        }
    }

    fn eat(&mut self, mark: &'static str) -> Result<bool, TextError> {
        let found = self.peek()? == &Token::Mark(mark);
        if found {
            self.ahead = None;
        }
        Ok(found)
    }

    fn term(&mut self, depth: usize) -> Result<Term, TextError> {
        self.terms += 1;
        if depth > DEPTH || self.terms > Limits::default().terms {
            return self.error("the term is too deep or too large");
        }
        match self.token()? {
            Token::Atom(name) => Ok(Term::Atom(name)),
            Token::Number(number) => Ok(number),
            Token::Binary(text) => Ok(Term::Binary(text.into_bytes())),
            Token::String(points) => self.string(points),
            Token::Mark("-") => self.negative(),
            Token::Mark("+") => match self.token()? {
                Token::Number(number) => Ok(number),
                other => self.error(format!("expected a number, found {}", other.describe())),
            },
            Token::Mark("{") => self.sequence("}", depth).map(Term::Tuple),
            Token::Mark("[") => self.list(depth),
            Token::Mark("#{") => self.map(depth),
            Token::Mark("#") => {
                self.expect("{")?;
                self.map(depth)
            }
            Token::Mark("<<") => self.binary(),
            Token::Mark("(") => {
                let term = self.term(depth + 1)?;
                self.expect(")")?;
                Ok(term)
            }
            Token::Reserved(word) if word == "fun" => self.external_fun(),
            other => self.error(format!("expected a term, found {}", other.describe())),
        }
    }

    /// Strings that follow each other are one.
    fn string(&mut self, mut points: Vec<u32>) -> Result<Term, TextError> {
        while let Token::String(more) = self.peek()? {
            points.extend(more);
            self.ahead = None;
        }
        Ok(Term::list(points.into_iter().map(|point| Term::Integer(point.into())).collect()))
    }

    fn negative(&mut self) -> Result<Term, TextError> {
        match self.token()? {
            Token::Number(Term::Integer(value)) => Ok(Term::Integer(-value)),
            Token::Number(Term::BigInteger(value)) => Ok(BigInteger::term(true, value.magnitude().to_vec())),
            Token::Number(Term::Float(value)) => Ok(Term::Float(super::Float(-value.0))),
            other => self.error(format!("expected a number, found {}", other.describe())),
        }
    }

    fn sequence(&mut self, close: &'static str, depth: usize) -> Result<Vec<Term>, TextError> {
        let mut terms = Vec::new();
        if self.eat(close)? {
            return Ok(terms);
        }
        loop {
            terms.push(self.term(depth + 1)?);
            if !self.eat(",")? {
                self.expect(close)?;
                return Ok(terms);
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Term, TextError> {
        let mut terms = Vec::new();
        if self.eat("]")? {
            return Ok(Term::List(terms));
        }
        loop {
            terms.push(self.term(depth + 1)?);
            if self.eat("|")? {
                let tail = self.term(depth + 1)?;
                self.expect("]")?;
                return Ok(Term::list_with_tail(terms, tail));
            }
            if !self.eat(",")? {
                self.expect("]")?;
                return Ok(Term::list(terms));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Term, TextError> {
        let mut pairs = Vec::new();
        if self.eat("}")? {
            return Ok(Term::Map(pairs));
        }
        loop {
            let key = self.term(depth + 1)?;
            self.expect("=>")?;
            pairs.push((key, self.term(depth + 1)?));
            if !self.eat(",")? {
                self.expect("}")?;
                return Ok(Term::map(pairs).0);
            }
        }
    }

    fn external_fun(&mut self) -> Result<Term, TextError> {
        let module = self.name()?;
        self.expect(":")?;
        let function = self.name()?;
        self.expect("/")?;
        match self.token()? {
            Token::Number(Term::Integer(arity @ 0..=255)) => {
                Ok(Term::ExternalFun { module, function, arity: arity as u8 })
            }
            other => self.error(format!("expected an arity, found {}", other.describe())),
        }
    }

    fn name(&mut self) -> Result<String, TextError> {
        match self.token()? {
            Token::Atom(name) => Ok(name),
            other => self.error(format!("expected an atom, found {}", other.describe())),
        }
    }

    fn binary(&mut self) -> Result<Term, TextError> {
        let mut bits = Bits::default();
        if self.eat(">>")? {
            return Ok(Term::Binary(bits.bytes));
        }
        loop {
            match self.token()? {
                Token::String(points) => {
                    let kind = if self.eat("/")? { Some(self.name()?) } else { None };
                    for point in points {
                        match (kind.as_deref(), char::from_u32(point)) {
                            (None | Some("integer"), _) => bits.push(u64::from(point & 0xff), 8),
                            (Some("utf8"), Some(char)) => {
                                char.encode_utf8(&mut [0; 4])
                                    .bytes()
                                    .for_each(|byte| bits.push(byte.into(), 8));
                            }
                            _ => return self.error("only /utf8 and bytes are supported in a binary"),
                        }
                    }
                }
                token => {
                    let value = match token {
                        Token::Number(Term::Integer(value)) => value,
                        Token::Mark("-") => self.negative()?.as_integer().unwrap_or_default(),
                        other => {
                            return self
                                .error(format!("expected a byte or a string, found {}", other.describe()));
                        }
                    };
                    let size = if self.eat(":")? { self.size()? } else { 8 };
                    bits.push(value as u64, size);
                }
            }
            if !self.eat(",")? {
                self.expect(">>")?;
                let count = bits.count;
                return Ok(Term::bits(bits.bytes, count));
            }
        }
    }

    fn size(&mut self) -> Result<u32, TextError> {
        match self.token()? {
            Token::Number(Term::Integer(size @ 0..=64)) => Ok(size as u32),
            _ => self.error("the size of a part of a binary is 0 to 64 bits"),
        }
    }
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    /// Puts the low `size` bits of `value` behind what is there.
    fn push(&mut self, value: u64, size: u32) {
        for bit in (0..size).rev() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.count % 8);
            }
            self.count += 1;
        }
    }
}
