//! Integers that 64 bits cannot hold: kept, compared and printed, never computed with.

use std::cmp::Ordering;

use super::Term;

/// A sign and a magnitude.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BigInteger {
    negative: bool,
    /// Least significant byte first; the last byte is not zero.
    magnitude: Vec<u8>,
}

impl BigInteger {
    /// The integer as a term: [`Term::Integer`] wherever it fits.
    pub fn term(negative: bool, mut magnitude: Vec<u8>) -> Term {
        while magnitude.last() == Some(&0) {
            magnitude.pop();
        }
        if magnitude.len() <= 8 {
            let mut bytes = [0; 8];
            bytes[..magnitude.len()].copy_from_slice(&magnitude);
            let value = i128::from(u64::from_le_bytes(bytes));
            if let Ok(value) = i64::try_from(if negative { -value } else { value }) {
                return Term::Integer(value);
            }
        }
        Term::BigInteger(BigInteger { negative, magnitude })
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// The absolute value, least significant byte first, without leading zeros.
    pub fn magnitude(&self) -> &[u8] {
        &self.magnitude
    }

    /// The digits of the absolute value in base 16.
    pub fn hexadecimal(&self) -> String {
        let digits: String = self.magnitude.iter().rev().map(|byte| format!("{byte:02x}")).collect();
        digits.trim_start_matches('0').to_owned()
    }

    /// The digits of the absolute value in base 10. Takes time with the square of the length.
    pub fn decimal(&self) -> String {
        let mut rest = self.magnitude.clone();
        let mut groups = Vec::new();
        while !rest.is_empty() {
            let mut remainder = 0u64;
            for byte in rest.iter_mut().rev() {
                let value = remainder << 8 | u64::from(*byte);
                *byte = (value / 1_000_000_000) as u8;
                remainder = value % 1_000_000_000;
            }
            while rest.last() == Some(&0) {
                rest.pop();
            }
            groups.push(remainder);
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:09}"));
        }
        text
    }
}

/// Puts one more digit behind a magnitude.
pub(super) fn push_digit(magnitude: &mut Vec<u8>, base: u32, digit: u32) {
    let mut carry = digit;
    for byte in magnitude.iter_mut() {
        let value = u32::from(*byte) * base + carry;
        *byte = value as u8;
        carry = value >> 8;
    }
    if carry > 0 {
        magnitude.push(carry as u8);
    }
}

impl PartialOrd for BigInteger {
    fn partial_cmp(&self, other: &BigInteger) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BigInteger {
    fn cmp(&self, other: &BigInteger) -> Ordering {
        let size = |number: &BigInteger| {
            (number.magnitude.len(), number.magnitude.iter().rev().copied().collect::<Vec<u8>>())
        };
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => size(self).cmp(&size(other)),
            (true, true) => size(other).cmp(&size(self)),
        }
    }
}
