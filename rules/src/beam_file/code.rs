//! The instructions of a module, as far as stepping over them goes.

use super::word;

/// How many arguments the instructions 1, 2, 3, … have, up to those of OTP 28.
pub(super) const ARITIES: [u8; 184] = [
    1, 3, 0, 2, 3, 2, 2, 3, 2, 4, 5, 2, 3, 2, 3, 2, 1, 1, 0, 0, 0, 0, 2, 1, 1, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 1, 2, 1, 2, 3, 3, 3, 3, 3, 2,
    1, 1, 0, 1, 1, 3, 2, 2, 2, 5, 5, 5, 4, 2, 1, 1, 2, 2, 5, 5, 5, 2, 1, 0, 1, 2, 2, 4, 4, 4, 4, 3, 1, 2, 1,
    1, 1, 2, 6, 3, 5, 1, 2, 2, 3, 5, 7, 7, 7, 5, 3, 2, 2, 5, 6, 2, 2, 2, 2, 1, 3, 4, 0, 8, 6, 2, 6, 5, 4, 5,
    4, 5, 4, 3, 3, 3, 3, 3, 0, 1, 1, 7, 1, 5, 5, 2, 3, 3, 4, 0, 0, 2, 2, 2, 3, 4, 3, 2, 2, 4, 3, 1, 2, 1, 1,
    1, 6, 3, 0, 1, 5, 3, 2, 4,
];

const ON_LOAD: u8 = 149;

/// The tag that an argument gets which is a literal.
pub(super) const LITERAL: u8 = 8;

/// Whether a function of the module runs when the module is loaded. That is in no table: it is an instruction at
/// the head of that function. The search ends at an instruction that is not known.
pub(super) fn has_on_load(chunk: &[u8]) -> bool {
    let Some(code) = word(chunk, 0).and_then(|header| chunk.get(header.checked_add(4)?..)) else {
        return false;
    };
    let mut cursor = Cursor { bytes: code };
    while let Some(opcode) = cursor.byte() {
        if opcode == ON_LOAD {
            return true;
        }
        let Some(arity) = arity(opcode) else { return false };
        for _ in 0..arity {
            if cursor.skip_argument().is_none() {
                return false;
            }
        }
    }
    false
}

/// How many arguments an instruction has; `None`: it is not known.
pub(super) fn arity(opcode: u8) -> Option<u8> {
    usize::from(opcode).checked_sub(1).and_then(|index| ARITIES.get(index)).copied()
}

/// A place in compact terms.
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    /// The tag and the value of one compact term. A value of more than eight bytes is given as zero.
    pub(super) fn value(&mut self) -> Option<(u8, u64)> {
        let first = self.byte()?;
        let tag = first & 7;
        if first & 8 == 0 {
            return Some((tag, u64::from(first >> 4)));
        }
        if first & 16 == 0 {
            return Some((tag, u64::from(first >> 5) << 8 | u64::from(self.byte()?)));
        }
        let length = match first >> 5 {
            7 => {
                // The length of the length is a compact term again, and a small one.
                let next = self.byte()?;
                if next & 8 != 0 && next & 16 != 0 {
                    return None;
                }
                let small = if next & 8 == 0 {
                    usize::from(next >> 4)
                } else {
                    usize::from(next >> 5) << 8 | usize::from(self.byte()?)
                };
                small + 9
            }
            short => usize::from(short) + 2,
        };
        let bytes = self.take(length)?;
        let value =
            if length > 8 { 0 } else { bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)) };
        Some((tag, value))
    }

    fn skip_argument(&mut self) -> Option<()> {
        self.argument(&mut |_, _| {}).map(drop)
    }

    /// The tag and the value of an argument. `also` is told of what else is in it: elements of a list, and the number of a
    /// literal, with the tag 8.
    pub(super) fn argument(&mut self, also: &mut dyn FnMut(u8, u64)) -> Option<(u8, u64)> {
        // The tag 7 stands for one of the longer kinds, which its value names.
        let (tag, kind) = self.value()?;
        if tag != 7 {
            return Some((tag, kind));
        }
        match kind {
            1 => {
                let (_, count) = self.value()?;
                for _ in 0..count {
                    // An element of a list: anything but a list.
                    match self.value()? {
                        (7, 2) => drop(self.value()?),
                        (7, 4) => also(LITERAL, self.value()?.1),
                        (7, 5) => drop((self.value()?, self.value()?)),
                        (7, _) => return None,
                        (tag, value) => also(tag, value),
                    }
                }
            }
            2 => drop(self.value()?),
            4 => {
                let (_, literal) = self.value()?;
                also(LITERAL, literal);
            }
            3 => {
                let (_, count) = self.value()?;
                (0..count).try_for_each(|_| self.value().and_then(|_| self.value()).map(drop))?;
            }
            5 => drop((self.value()?, self.value()?)),
            _ => return None,
        }
        Some((7, kind))
    }
}
