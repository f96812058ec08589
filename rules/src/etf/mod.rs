//! Erlang terms: the external term format of the BEAM and the text that `file:consult/1` reads.
//!
//! Both readers give the same [`Term`]. A list of one or more integers from 0 to 255 is always a
//! [`Term::String`], whichever way it was written, so that equal Erlang terms are equal here. Maps are kept
//! sorted by our own order of terms, because the order of an Erlang map depends on the machine that wrote it.

mod big;
mod decode;
mod encode;
mod float;
mod lexer;
mod text;
mod write;

pub use big::BigInteger;
pub use decode::{EtfError, Limits, decode, decode_with};
pub use encode::encode;
pub use float::Float;
pub use text::{TextError, consult, consult_one};

/// An Erlang term.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// An integer of 64 bits.
    Integer(i64),
    /// An integer that 64 bits cannot hold.
    BigInteger(BigInteger),
    /// A finite floating point number.
    Float(Float),
    /// An atom.
    Atom(String),
    /// `fun Module:Function/Arity`.
    ExternalFun {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// How many arguments it takes.
        arity: u8,
    },
    /// A process, port, reference or local function: its bytes in the external format, not looked into.
    Opaque(Vec<u8>),
    /// A tuple.
    Tuple(Vec<Term>),
    /// A map, sorted by key, each key once.
    Map(Vec<(Term, Term)>),
    /// A proper list that is not a [`Term::String`]; the empty list is here.
    List(Vec<Term>),
    /// A list of one or more integers that fit a byte.
    String(Vec<u8>),
    /// A list of one or more elements whose tail is not a list.
    ImproperList(Vec<Term>, Box<Term>),
    /// A binary.
    Binary(Vec<u8>),
    /// A bitstring that is not a whole number of bytes.
    Bits {
        /// The bytes; the unused low bits of the last one are zero.
        bytes: Vec<u8>,
        /// How many bits of the last byte count: 1 to 7.
        last: u8,
    },
}

impl Term {
    /// An atom.
    pub fn atom(name: impl Into<String>) -> Term {
        Term::Atom(name.into())
    }

    /// A proper list, in the one form that equal lists have.
    pub fn list(elements: Vec<Term>) -> Term {
        let byte = |term: &Term| match term {
            Term::Integer(value) => u8::try_from(*value).ok(),
            _ => None,
        };
        if elements.is_empty() {
            return Term::List(elements);
        }
        match elements.iter().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) => Term::String(bytes),
            None => Term::List(elements),
        }
    }

    /// A list with the tail `tail`: proper when the tail is a list itself.
    pub fn list_with_tail(mut elements: Vec<Term>, tail: Term) -> Term {
        match tail {
            tail if elements.is_empty() => tail,
            Term::List(more) => {
                elements.extend(more);
                Term::list(elements)
            }
            Term::String(bytes) => {
                elements.extend(bytes.into_iter().map(|byte| Term::Integer(byte.into())));
                Term::list(elements)
            }
            Term::ImproperList(more, tail) => {
                elements.extend(more);
                Term::ImproperList(elements, tail)
            }
            tail => Term::ImproperList(elements, Box::new(tail)),
        }
    }

    /// A map; of two pairs with one key the later is kept, and `false` says that there were such pairs.
    pub fn map(pairs: Vec<(Term, Term)>) -> (Term, bool) {
        let count = pairs.len();
        let sorted: std::collections::BTreeMap<Term, Term> = pairs.into_iter().collect();
        let unique = sorted.len() == count;
        (Term::Map(sorted.into_iter().collect()), unique)
    }

    /// A bitstring of `bits` bits: a binary when they fill their bytes.
    pub fn bits(mut bytes: Vec<u8>, bits: usize) -> Term {
        bytes.truncate(bits.div_ceil(8));
        match (bits % 8, bytes.last_mut()) {
            (0, _) | (_, None) => Term::Binary(bytes),
            (last, Some(byte)) => {
                *byte &= 0xffu8 << (8 - last);
                Term::Bits { bytes, last: last as u8 }
            }
        }
    }

    /// The name, when this is an atom.
    pub fn as_atom(&self) -> Option<&str> {
        match self {
            Term::Atom(name) => Some(name),
            _ => None,
        }
    }

    /// The value, when this is an integer of 64 bits.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Term::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements, when this is a tuple.
    pub fn as_tuple(&self) -> Option<&[Term]> {
        match self {
            Term::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    /// The elements, when this is a tuple whose first element is the atom `tag`; the tag is left out.
    pub fn as_tagged(&self, tag: &str) -> Option<&[Term]> {
        match self.as_tuple()?.split_first()? {
            (first, rest) if first.as_atom() == Some(tag) => Some(rest),
            _ => None,
        }
    }

    /// The elements, when this is a proper list.
    pub fn elements(&self) -> Option<Vec<Term>> {
        match self {
            Term::List(elements) => Some(elements.clone()),
            Term::String(bytes) => Some(bytes.iter().map(|byte| Term::Integer((*byte).into())).collect()),
            _ => None,
        }
    }

    /// The elements, when this is a proper list that is not a string: what a list of tuples or atoms is.
    pub fn as_list(&self) -> Option<&[Term]> {
        match self {
            Term::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The pairs, when this is a map.
    pub fn as_map(&self) -> Option<&[(Term, Term)]> {
        match self {
            Term::Map(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The text of a string (a list of code points) or of a binary of UTF-8.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Term::String(bytes) => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
            Term::Binary(bytes) => String::from_utf8(bytes.clone()).ok(),
            Term::List(elements) => {
                let point = |term: &Term| char::from_u32(u32::try_from(term.as_integer()?).ok()?);
                elements.iter().map(point).collect()
            }
            _ => None,
        }
    }

    /// The value of `key` in a property list: the second element of the first `{key, value}`.
    pub fn property(&self, key: &str) -> Option<&Term> {
        self.as_list()?.iter().find_map(|element| match element {
            Term::Tuple(pair) if pair.len() == 2 && pair[0].as_atom() == Some(key) => Some(&pair[1]),
            _ => None,
        })
    }

    /// The value of the key `key`, an atom, in a map.
    pub fn get(&self, key: &str) -> Option<&Term> {
        self.as_map()?.iter().find(|(name, _)| name.as_atom() == Some(key)).map(|(_, value)| value)
    }
}
