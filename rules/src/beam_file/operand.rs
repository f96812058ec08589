//! The operands of instructions.

use crate::etf::{BigInteger, Term};

use super::code::Cursor;

/// What an instruction works on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operand {
    /// An integer, an atom, the empty list or a literal.
    Term(Term),
    /// A register: `x`, `y` or `f`, and its number.
    Register(char, u64),
    /// A place in the same function, counted from its first one; 0 for none.
    Label(u64),
    /// A number that is part of the instruction.
    Number(u64),
    /// A function, or bytes of the table of strings, as text.
    Named(String),
    /// Several of them.
    List(Vec<Operand>),
}

/// An operand as the file has it, with numbers of tables in it.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    Number(u64),
    Integer(Term),
    Atom(u64),
    Register(char, u64),
    Label(u64),
    Literal(u64),
    List(Vec<Raw>),
}

/// Lists of instructions do not lie in each other; anything deeper is damage.
const DEPTH: usize = 4;

impl Cursor<'_> {
    /// The next operand; none where the bytes make no sense.
    pub(super) fn operand(&mut self) -> Option<Raw> {
        self.operand_at(0)
    }

    fn operand_at(&mut self, depth: usize) -> Option<Raw> {
        if depth > DEPTH {
            return None;
        }
        let before = self.bytes;
        let (tag, value) = self.value()?;
        Some(match tag {
            0 => Raw::Number(value),
            1 => Raw::Integer(integer(&before[..before.len() - self.bytes.len()], value)),
            2 => Raw::Atom(value),
            3 => Raw::Register('x', value),
            4 => Raw::Register('y', value),
            5 => Raw::Label(value),
            6 => Raw::Number(value),
            _ => match value {
                1 => {
                    let (_, count) = self.value()?;
                    // Each takes a byte at the least.
                    if count > self.bytes.len() as u64 {
                        return None;
                    }
                    Raw::List((0..count).map(|_| self.operand_at(depth + 1)).collect::<Option<_>>()?)
                }
                2 => Raw::Register('f', self.value()?.1),
                3 => {
                    let (_, count) = self.value()?;
                    if count > self.bytes.len() as u64 {
                        return None;
                    }
                    let pair = |_| {
                        let (kind, number) = (self.value()?.1, self.value()?.1);
                        Some(Raw::List(vec![Raw::Number(kind), Raw::Number(number)]))
                    };
                    Raw::List((0..count).map(pair).collect::<Option<_>>()?)
                }
                4 => Raw::Literal(self.value()?.1),
                5 => {
                    // Behind it stands the number of its type, from which nothing follows for what the code does.
                    let register = self.operand_at(depth + 1)?;
                    self.value()?;
                    register
                }
                _ => return None,
            },
        })
    }
}

/// The integer of a compact term that is all of `bytes`. Short forms are not negative; long ones are two's complement.
fn integer(bytes: &[u8], value: u64) -> Term {
    let first = bytes.first().copied().unwrap_or_default();
    if first & 8 == 0 || first & 16 == 0 {
        return Term::Integer(i64::try_from(value).unwrap_or_default());
    }
    // Of the longest form, the length stands in between.
    let length = match first >> 5 {
        7 => match bytes.get(1) {
            Some(next) if next & 8 == 0 => usize::from(next >> 4) + 9,
            Some(next) => (usize::from(next >> 5) << 8 | usize::from(bytes.get(2).copied().unwrap_or(0))) + 9,
            None => 0,
        },
        short => usize::from(short) + 2,
    };
    let digits = &bytes[bytes.len().saturating_sub(length)..];
    let negative = digits.first().is_some_and(|byte| byte & 0x80 != 0);
    if digits.len() <= 8 {
        let start = if negative { -1_i64 } else { 0 };
        return Term::Integer(digits.iter().fold(start, |value, byte| value << 8 | i64::from(*byte)));
    }
    let mut magnitude: Vec<u8> = digits.iter().rev().copied().collect();
    if negative {
        let mut carry = true;
        for byte in &mut magnitude {
            let (inverted, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (inverted, over);
        }
    }
    BigInteger::term(negative, magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(bytes: &[u8], text: &str) {
        match (Cursor { bytes }).operand() {
            Some(Raw::Integer(term)) => assert_eq!(term.to_string(), text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn integers_of_every_length() {
        // As beam_asm:encode/2 writes them.
        reads(&[0x11], "1");
        reads(&[0x29, 0x05], "261");
        reads(&[0x19, 0xff, 0xff], "-1");
        reads(&[0x19, 0x7f, 0xff], "32767");
        reads(&[0xd9, 0x80, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808");
        reads(&[0xf9, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0, 0], "18446744073709551616");
        reads(&[0xf9, 0x00, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], "-18446744073709551616");
    }

    #[test]
    fn damage_is_no_operand() {
        for bytes in [&[][..], &[0x19], &[0x17], &[0x17, 0x50], &[0xff, 0xff], &[0x67, 0x00]] {
            assert!((Cursor { bytes }).operand().is_none(), "{bytes:?}");
        }
    }
}
