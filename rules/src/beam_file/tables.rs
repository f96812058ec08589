//! The tables of a module: atoms, exports, imports, literals, attributes.

use std::borrow::Cow;
use std::io::Read;

use crate::etf::{self, Term};

use super::code::Cursor;
use super::{BeamError, BeamFile, LARGEST, word};

/// The atoms; the first one is the name of the module.
pub(super) fn atoms(file: &BeamFile<'_>) -> Result<Vec<String>, BeamError> {
    match (file.chunk("AtU8"), file.chunk("Atom")) {
        (Some(chunk), _) => atom_table(chunk, true).ok_or(BeamError::BadChunk { id: "AtU8" }),
        (None, Some(chunk)) => atom_table(chunk, false).ok_or(BeamError::BadChunk { id: "Atom" }),
        (None, None) => Err(BeamError::MissingChunk { id: "AtU8" }),
    }
}

fn atom_table(chunk: &[u8], unicode: bool) -> Option<Vec<String>> {
    let count = word(chunk, 0)? as u32 as i32;
    let mut cursor = Cursor { bytes: chunk.get(4..)? };
    let mut atoms = Vec::new();
    for _ in 0..count.unsigned_abs() {
        // Since OTP 28 the count is negative and the lengths are compact terms, for atoms of more than 255 bytes.
        let length =
            if count < 0 { usize::try_from(cursor.value()?.1).ok()? } else { cursor.take(1)?[0].into() };
        let bytes = cursor.take(length)?;
        atoms.push(if unicode {
            std::str::from_utf8(bytes).ok()?.to_owned()
        } else {
            bytes.iter().map(|byte| char::from(*byte)).collect()
        });
    }
    (!atoms.is_empty()).then_some(atoms)
}

/// Rows of three words.
fn rows<'a>(chunk: &'a [u8], id: &'static str) -> Result<impl Iterator<Item = [usize; 3]> + 'a, BeamError> {
    let count = word(chunk, 0).ok_or(BeamError::BadChunk { id })?;
    if count.checked_mul(12).is_none_or(|size| size > chunk.len() - 4) {
        return Err(BeamError::BadChunk { id });
    }
    let row = |index: usize| {
        let column = |column: usize| word(chunk, 4 + 12 * index + 4 * column).unwrap_or_default();
        [column(0), column(1), column(2)]
    };
    Ok((0..count).map(row))
}

pub(super) fn atom<'a>(atoms: &'a [String], index: usize, id: &'static str) -> Result<&'a str, BeamError> {
    let atom = index.checked_sub(1).and_then(|index| atoms.get(index));
    atom.map(String::as_str).ok_or(BeamError::BadChunk { id })
}

/// Names and arities of the exported functions.
pub(super) fn exports(file: &BeamFile<'_>, atoms: &[String]) -> Result<Vec<(String, u32)>, BeamError> {
    let rows = rows(file.needed("ExpT")?, "ExpT")?;
    rows.map(|[name, arity, _]| Ok((atom(atoms, name, "ExpT")?.to_owned(), arity as u32))).collect()
}

/// Modules, names and arities of the functions that are called from outside the module.
pub(super) fn imports(
    file: &BeamFile<'_>,
    atoms: &[String],
) -> Result<Vec<(String, String, u32)>, BeamError> {
    let rows = rows(file.needed("ImpT")?, "ImpT")?;
    let import = |[module, name, arity]: [usize; 3]| {
        Ok((atom(atoms, module, "ImpT")?.to_owned(), atom(atoms, name, "ImpT")?.to_owned(), arity as u32))
    };
    rows.map(import).collect()
}

/// The chunk of literals, unpacked and without the word in front; empty when there is none.
pub(super) fn literal_bytes<'a>(file: &'a BeamFile<'_>) -> Result<Cow<'a, [u8]>, BeamError> {
    let Some(chunk) = file.chunk("LitT") else { return Ok(Cow::Borrowed(&[])) };
    let damaged = BeamError::BadChunk { id: "LitT" };
    let (Some(size), Some(packed)) = (word(chunk, 0), chunk.get(4..)) else { return Err(damaged) };
    // Since OTP 28: not compressed.
    if size == 0 {
        return Ok(Cow::Borrowed(packed));
    }
    if size as u64 > LARGEST {
        return Err(BeamError::TooLarge { limit: LARGEST });
    }
    let mut out = Vec::new();
    let mut reader = flate2::read::ZlibDecoder::new(packed).take(size as u64 + 1);
    if reader.read_to_end(&mut out).is_err() || out.len() != size {
        return Err(damaged);
    }
    Ok(Cow::Owned(out))
}

/// The literals, each by itself: those that cannot be read as terms are left out.
pub(super) fn literals(file: &BeamFile<'_>) -> Result<Vec<Term>, BeamError> {
    Ok(literal_rows(file)?.iter().filter_map(|row| etf::decode(row).ok()).collect())
}

/// The literals in the external term format, in the order of the table.
pub(super) fn literal_rows(file: &BeamFile<'_>) -> Result<Vec<Vec<u8>>, BeamError> {
    let bytes = literal_bytes(file)?;
    let count = word(&bytes, 0).unwrap_or_default();
    let mut at = 4;
    let mut rows = Vec::new();
    for _ in 0..count {
        let row = word(&bytes, at).and_then(|length| bytes.get(at + 4..(at + 4).checked_add(length)?));
        let Some(row) = row else { return Err(BeamError::BadChunk { id: "LitT" }) };
        rows.push(row.to_vec());
        at += 4 + row.len();
    }
    Ok(rows)
}

/// The term of a chunk.
pub(super) fn term(file: &BeamFile<'_>, id: &'static str) -> Result<Option<Term>, BeamError> {
    let Some(chunk) = file.chunk(id) else { return Ok(None) };
    etf::decode(chunk).map(Some).map_err(|source| BeamError::BadTerm { id, source })
}

/// The attributes, in the order of the file: a name may come more than once.
pub(super) fn attributes(file: &BeamFile<'_>) -> Result<Vec<(String, Term)>, BeamError> {
    let Some(Term::List(attributes)) = term(file, "Attr")? else { return Ok(Vec::new()) };
    let pair = |attribute: Term| match attribute {
        Term::Tuple(mut pair) if pair.len() == 2 => {
            let (value, name) = (pair.pop()?, pair.pop()?);
            Some((name.as_atom()?.to_owned(), value))
        }
        _ => None,
    };
    attributes
        .into_iter()
        .map(|attribute| pair(attribute).ok_or(BeamError::BadChunk { id: "Attr" }))
        .collect()
}
