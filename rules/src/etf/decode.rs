//! Reading the external term format, within limits that hold on any input.

use std::io::Read;

use thiserror::Error;

use super::{BigInteger, Float, Term};

/// What a term may cost before it is refused.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How deep terms may lie in each other.
    pub depth: usize,
    /// How many terms there may be in all.
    pub terms: usize,
    /// How many bytes a compressed term may become.
    pub inflated: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { depth: 256, terms: 4_000_000, inflated: 256 << 20 }
    }
}

/// Why bytes are not a term. Positions count from the start of the term, after inflating.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EtfError {
    /// The first byte is not that of the external term format.
    #[error("not a term in the external format")]
    NotATerm,
    /// The bytes end inside a term.
    #[error("the term is cut off at byte {at}")]
    Truncated {
        /// Where the bytes end.
        at: usize,
    },
    /// There are bytes behind the term.
    #[error("there are bytes behind the term, from byte {at}")]
    Trailing {
        /// Where they start.
        at: usize,
    },
    /// A kind of term that has no place in a file.
    #[error("unknown kind of term {tag} at byte {at}")]
    UnknownTag {
        /// The tag.
        tag: u8,
        /// Where it stands.
        at: usize,
    },
    /// A term whose content is not what its kind allows.
    #[error("bad {what} at byte {at}")]
    Bad {
        /// The kind of term.
        what: &'static str,
        /// Where it stands.
        at: usize,
    },
    /// The limit on depth.
    #[error("terms lie more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The limit on terms or on inflated bytes.
    #[error("the term is larger than {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// What it counts.
        unit: &'static str,
    },
    /// The compressed bytes cannot be inflated.
    #[error("the compressed term is damaged")]
    Inflate,
}

/// Reads one term, version byte included, that takes up all the bytes.
pub fn decode(bytes: &[u8]) -> Result<Term, EtfError> {
    decode_with(bytes, &Limits::default())
}

/// Reads one term within the given limits.
pub fn decode_with(bytes: &[u8], limits: &Limits) -> Result<Term, EtfError> {
    match bytes {
        [131, 80, a, b, c, d, packed @ ..] => {
            let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            if size > limits.inflated {
                return Err(EtfError::TooLarge { limit: limits.inflated, unit: "bytes" });
            }
            let mut inflated = Vec::new();
            let mut reader = flate2::read::ZlibDecoder::new(packed).take(size as u64 + 1);
            reader.read_to_end(&mut inflated).map_err(|_| EtfError::Inflate)?;
            if inflated.len() != size {
                return Err(EtfError::Inflate);
            }
            whole(&inflated, 0, limits)
        }
        [131, ..] => whole(bytes, 1, limits),
        _ => Err(EtfError::NotATerm),
    }
}

fn whole(bytes: &[u8], at: usize, limits: &Limits) -> Result<Term, EtfError> {
    let mut reader = Reader { bytes, at, terms: 0, limits };
    let term = reader.term(0)?;
    if reader.at < bytes.len() {
        return Err(EtfError::Trailing { at: reader.at });
    }
    Ok(term)
}

fn float(value: f64, at: usize) -> Result<Term, EtfError> {
    if value.is_finite() { Ok(Term::Float(Float(value))) } else { Err(EtfError::Bad { what: "float", at }) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    terms: usize,
    limits: &'a Limits,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], EtfError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(EtfError::Truncated { at: self.bytes.len() })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EtfError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, EtfError> {
        Ok(self.array::<1>()?[0])
    }

    fn short(&mut self) -> Result<usize, EtfError> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    /// A count of things that take `least` bytes each at the least: refused when they cannot be there.
    fn count(&mut self, least: usize) -> Result<usize, EtfError> {
        let count = u32::from_be_bytes(self.array()?) as usize;
        if count.saturating_mul(least) > self.bytes.len() - self.at {
            return Err(EtfError::Truncated { at: self.bytes.len() });
        }
        Ok(count)
    }

    fn term(&mut self, depth: usize) -> Result<Term, EtfError> {
        if depth > self.limits.depth {
            return Err(EtfError::TooDeep { limit: self.limits.depth });
        }
        self.terms += 1;
        if self.terms > self.limits.terms {
            return Err(EtfError::TooLarge { limit: self.limits.terms, unit: "terms" });
        }
        let start = self.at;
        match self.byte()? {
            104 => {
                let arity = self.byte()?.into();
                self.sequence(arity, depth).map(Term::Tuple)
            }
            105 => {
                let arity = self.count(1)?;
                self.sequence(arity, depth).map(Term::Tuple)
            }
            108 => self.list(depth),
            116 => self.map(depth, start),
            117 => self.old_fun(depth, start),
            tag => self.leaf(tag, start),
        }
    }

    /// A term with no terms in it. Apart from the others because a stack has to hold those in each other.
    #[inline(never)]
    fn leaf(&mut self, tag: u8, start: usize) -> Result<Term, EtfError> {
        match tag {
            97 => Ok(Term::Integer(self.byte()?.into())),
            98 => Ok(Term::Integer(i32::from_be_bytes(self.array()?).into())),
            110 => {
                let size = self.byte()?.into();
                self.big(size)
            }
            111 => {
                let size = self.count(1)?;
                self.big(size)
            }
            70 => float(f64::from_be_bytes(self.array()?), start),
            99 => {
                let text = self.take(31)?;
                let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
                let value = std::str::from_utf8(&text[..end]).ok().and_then(|text| text.trim().parse().ok());
                float(value.unwrap_or(f64::NAN), start)
            }
            100 | 115 | 118 | 119 => {
                self.at = start;
                self.atom().map(Term::Atom)
            }
            106 => Ok(Term::List(Vec::new())),
            107 => {
                let length = self.short()?;
                let bytes = self.take(length)?.to_vec();
                Ok(if bytes.is_empty() { Term::List(Vec::new()) } else { Term::String(bytes) })
            }
            109 => {
                let length = self.count(1)?;
                Ok(Term::Binary(self.take(length)?.to_vec()))
            }
            77 => self.bitstring(start),
            113 => self.external_fun(start),
            88..=90 | 101..=103 | 112 | 114 | 120 => {
                self.skip_opaque(tag, start)?;
                Ok(Term::Opaque(self.bytes[start..self.at].to_vec()))
            }
            tag => Err(EtfError::UnknownTag { tag, at: start }),
        }
    }

    #[inline(never)]
    fn list(&mut self, depth: usize) -> Result<Term, EtfError> {
        let length = self.count(1)?;
        let elements = self.sequence(length, depth)?;
        let tail = self.term(depth + 1)?;
        Ok(Term::list_with_tail(elements, tail))
    }

    /// A local function in its old form: its parts are terms.
    #[inline(never)]
    fn old_fun(&mut self, depth: usize, start: usize) -> Result<Term, EtfError> {
        let free = self.count(1)?;
        for _ in 0..free.saturating_add(4) {
            self.term(depth + 1)?;
        }
        Ok(Term::Opaque(self.bytes[start..self.at].to_vec()))
    }

    #[inline(never)]
    fn sequence(&mut self, count: usize, depth: usize) -> Result<Vec<Term>, EtfError> {
        let room = self.limits.terms.saturating_sub(self.terms).min(self.bytes.len() - self.at);
        let mut terms = Vec::with_capacity(count.min(room).min(4096));
        for _ in 0..count {
            terms.push(self.term(depth + 1)?);
        }
        Ok(terms)
    }

    fn big(&mut self, size: usize) -> Result<Term, EtfError> {
        let negative = self.byte()? != 0;
        Ok(BigInteger::term(negative, self.take(size)?.to_vec()))
    }

    fn atom(&mut self) -> Result<String, EtfError> {
        let at = self.at;
        let (latin, length) = match self.byte()? {
            100 => (true, self.short()?),
            115 => (true, self.byte()?.into()),
            118 => (false, self.short()?),
            119 => (false, self.byte()?.into()),
            _ => return Err(EtfError::Bad { what: "atom", at }),
        };
        let name = self.take(length)?;
        if latin {
            return Ok(name.iter().map(|byte| char::from(*byte)).collect());
        }
        match std::str::from_utf8(name) {
            Ok(name) => Ok(name.to_owned()),
            Err(_) => Err(EtfError::Bad { what: "atom", at }),
        }
    }

    fn bitstring(&mut self, at: usize) -> Result<Term, EtfError> {
        let length = self.count(1)?;
        let last = usize::from(self.byte()?);
        let bytes = self.take(length)?.to_vec();
        match (length, last) {
            (0, 0) => Ok(Term::Binary(bytes)),
            (1.., 1..=8) => Ok(Term::bits(bytes, length * 8 - (8 - last))),
            _ => Err(EtfError::Bad { what: "bitstring", at }),
        }
    }

    #[inline(never)]
    fn map(&mut self, depth: usize, at: usize) -> Result<Term, EtfError> {
        let count = self.count(2)?;
        let mut pairs = Vec::with_capacity(count.min(4096));
        for _ in 0..count {
            let key = self.term(depth + 1)?;
            pairs.push((key, self.term(depth + 1)?));
        }
        match Term::map(pairs) {
            (map, true) => Ok(map),
            (_, false) => Err(EtfError::Bad { what: "map", at }),
        }
    }

    fn external_fun(&mut self, at: usize) -> Result<Term, EtfError> {
        let module = self.atom()?;
        let function = self.atom()?;
        match (self.byte()?, self.byte()?) {
            (97, arity) => Ok(Term::ExternalFun { module, function, arity }),
            _ => Err(EtfError::Bad { what: "external function", at }),
        }
    }

    /// Steps over a process, port, reference or local function without terms in it.
    fn skip_opaque(&mut self, tag: u8, at: usize) -> Result<(), EtfError> {
        match tag {
            90 | 114 => {
                let words = self.short()?;
                self.atom()?;
                self.take(if tag == 90 { 4 } else { 1 } + 4 * words)?;
            }
            112 => {
                let size = u32::from_be_bytes(self.array()?) as usize;
                self.take(size.checked_sub(4).ok_or(EtfError::Bad { what: "function", at })?)?;
            }
            _ => {
                self.atom()?;
                self.take(match tag {
                    88 | 120 => 12,
                    103 => 9,
                    89 => 8,
                    _ => 5,
                })?;
            }
        }
        Ok(())
    }
}
