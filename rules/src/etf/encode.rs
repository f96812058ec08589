//! Writing the external term format, as `term_to_binary/1` of OTP 26 and later does (atoms in UTF-8).
//!
//! Maps are written in our order of keys, which is not always the machine's; all other terms get the bytes
//! that the machine would write.

use super::Term;

/// The term, version byte included.
pub fn encode(term: &Term) -> Vec<u8> {
    let mut out = vec![131];
    write(term, &mut out);
    out
}

fn write(term: &Term, out: &mut Vec<u8>) {
    match term {
        Term::Integer(value) => integer(*value, out),
        Term::BigInteger(value) => big(value.is_negative(), value.magnitude(), out),
        Term::Float(value) => {
            out.push(70);
            out.extend(value.0.to_be_bytes());
        }
        Term::Atom(name) => atom(name, out),
        Term::ExternalFun { module, function, arity } => {
            out.push(113);
            atom(module, out);
            atom(function, out);
            out.extend([97, *arity]);
        }
        Term::Opaque(bytes) => out.extend(bytes),
        Term::Tuple(elements) => {
            match u8::try_from(elements.len()) {
                Ok(arity) => out.extend([104, arity]),
                Err(_) => tagged(105, elements.len(), out),
            }
            elements.iter().for_each(|element| write(element, out));
        }
        Term::Map(pairs) => {
            tagged(116, pairs.len(), out);
            for (key, value) in pairs {
                write(key, out);
                write(value, out);
            }
        }
        Term::List(elements) => {
            if !elements.is_empty() {
                tagged(108, elements.len(), out);
                elements.iter().for_each(|element| write(element, out));
            }
            out.push(106);
        }
        Term::String(bytes) => match u16::try_from(bytes.len()) {
            Ok(length) => {
                out.push(107);
                out.extend(length.to_be_bytes());
                out.extend(bytes);
            }
            Err(_) => {
                tagged(108, bytes.len(), out);
                bytes.iter().for_each(|byte| out.extend([97, *byte]));
                out.push(106);
            }
        },
        Term::ImproperList(elements, tail) => {
            tagged(108, elements.len(), out);
            elements.iter().for_each(|element| write(element, out));
            write(tail, out);
        }
        Term::Binary(bytes) => {
            tagged(109, bytes.len(), out);
            out.extend(bytes);
        }
        Term::Bits { bytes, last } => {
            tagged(77, bytes.len(), out);
            out.push(*last);
            out.extend(bytes);
        }
    }
}

fn tagged(tag: u8, count: usize, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((count as u32).to_be_bytes());
}

fn integer(value: i64, out: &mut Vec<u8>) {
    if let Ok(small) = u8::try_from(value) {
        out.extend([97, small]);
    } else if let Ok(word) = i32::try_from(value) {
        out.push(98);
        out.extend(word.to_be_bytes());
    } else {
        let magnitude = value.unsigned_abs().to_le_bytes();
        let length = 8 - value.unsigned_abs().leading_zeros() as usize / 8;
        big(value < 0, &magnitude[..length], out);
    }
}

fn big(negative: bool, magnitude: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(magnitude.len()) {
        Ok(length) => out.extend([110, length]),
        Err(_) => tagged(111, magnitude.len(), out),
    }
    out.push(negative.into());
    out.extend(magnitude);
}

fn atom(name: &str, out: &mut Vec<u8>) {
    match u8::try_from(name.len()) {
        Ok(length) => out.extend([119, length]),
        Err(_) => {
            out.push(118);
            out.extend((name.len() as u16).to_be_bytes());
        }
    }
    out.extend(name.as_bytes());
}
