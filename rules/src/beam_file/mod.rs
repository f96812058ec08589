//! Compiled modules: the container, its stripping, and the identities of what is inside.
//!
//! A `.beam` is an IFF file, `FOR1 size BEAM` and chunks of four letters, a length and bytes padded to four,
//! perhaps all of it in gzip.

mod calls;
mod code;
mod disassembly;
mod identity;
mod info;
mod links;
mod operand;
pub mod supervision;
mod tables;

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;

use thiserror::Error;

use crate::etf::{EtfError, Term};

pub use calls::{Call, calls};
pub use disassembly::{Fun, Functions, Instruction, Literal, functions, funs, literals};
pub use identity::{automatic_vsn, interface_digest, module_md5, running_digest};
pub use info::{Function, Implementation, ModuleInfo, info};
pub use links::{Links, excluded, links};
pub use operand::Operand;

/// No module is larger than this once it is unpacked.
const LARGEST: u64 = 256 << 20;

/// Why bytes are not a compiled module, or which part of one is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BeamError {
    /// The container is another one.
    #[error("not a compiled module")]
    NotABeam,
    /// The bytes end before the container or a chunk does.
    #[error("the module is cut off: {missing} bytes are missing")]
    Truncated {
        /// How many bytes are missing at the least.
        missing: usize,
    },
    /// The gzip around the module is damaged.
    #[error("the compressed module is damaged")]
    Gzip,
    /// More bytes than any module has.
    #[error("the module is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A chunk that every module has is not there.
    #[error("the module has no chunk {id}")]
    MissingChunk {
        /// The chunk.
        id: &'static str,
    },
    /// A chunk does not hold what it should.
    #[error("the chunk {id} of the module is damaged")]
    BadChunk {
        /// The chunk.
        id: &'static str,
    },
    /// A chunk holds a term that cannot be read.
    #[error("the chunk {id} of the module is damaged: {source}")]
    BadTerm {
        /// The chunk.
        id: &'static str,
        /// What is wrong with the term.
        source: EtfError,
    },
    /// A name that no chunk can have.
    #[error("{id:?} is not the name of a chunk: those have four characters")]
    BadName {
        /// The name.
        id: String,
    },
}

/// A compiled module, taken apart into chunks.
#[derive(Debug, Clone)]
pub struct BeamFile<'a> {
    bytes: Cow<'a, [u8]>,
    chunks: Vec<([u8; 4], Range<usize>)>,
}

impl<'a> BeamFile<'a> {
    /// Takes a module apart; unpacks it first when it is compressed.
    pub fn parse(bytes: &'a [u8]) -> Result<BeamFile<'a>, BeamError> {
        let bytes =
            if bytes.starts_with(&[0x1f, 0x8b]) { Cow::Owned(gunzip(bytes)?) } else { Cow::Borrowed(bytes) };
        let (Some(b"FOR1"), Some(size), Some(b"BEAM")) = (bytes.get(..4), word(&bytes, 4), bytes.get(8..12))
        else {
            return Err(BeamError::NotABeam);
        };
        let end = size.checked_add(8).ok_or(BeamError::NotABeam)?;
        if end > bytes.len() {
            return Err(BeamError::Truncated { missing: end - bytes.len() });
        }
        let mut chunks = Vec::new();
        let mut at = 12;
        while at < end {
            let (Some(id), Some(length)) = (bytes.get(at..at + 4), word(&bytes, at + 4)) else {
                return Err(BeamError::Truncated { missing: 1 });
            };
            let start = at + 8;
            let stop = start.saturating_add(length);
            if stop > end {
                return Err(BeamError::Truncated { missing: stop - end });
            }
            chunks.push(([id[0], id[1], id[2], id[3]], start..stop));
            at = stop.next_multiple_of(4);
        }
        Ok(BeamFile { bytes, chunks })
    }

    /// The chunks, in the order of the file.
    pub fn chunks(&self) -> impl Iterator<Item = ([u8; 4], &[u8])> {
        self.chunks.iter().map(|(id, range)| (*id, &self.bytes[range.clone()]))
    }

    /// The first chunk of that name.
    pub fn chunk(&self, id: &str) -> Option<&[u8]> {
        self.chunks().find(|(name, _)| name == id.as_bytes()).map(|(_, data)| data)
    }

    fn needed(&self, id: &'static str) -> Result<&[u8], BeamError> {
        self.chunk(id).ok_or(BeamError::MissingChunk { id })
    }

    /// What `beam_lib:build_module/1` makes of the chunks of the recipe that are there, in its order.
    pub fn strip(&self, recipe: &[impl AsRef<str>]) -> Result<Vec<u8>, BeamError> {
        // The runtime refuses a module without a name before it looks at what else is asked for.
        tables::atoms(self)?;
        let mut out = b"FOR1\0\0\0\0BEAM".to_vec();
        for (index, id) in recipe.iter().enumerate() {
            let id = id.as_ref();
            if id.len() != 4 {
                return Err(BeamError::BadName { id: id.to_owned() });
            }
            if recipe[..index].iter().any(|earlier| earlier.as_ref() == id) {
                continue;
            }
            if let Some(data) = self.chunk(id) {
                out.extend(id.as_bytes());
                out.extend((data.len() as u32).to_be_bytes());
                out.extend(data);
                out.resize(out.len().next_multiple_of(4), 0);
            }
        }
        let size = (out.len() - 8) as u32;
        out[4..8].copy_from_slice(&size.to_be_bytes());
        Ok(out)
    }
}

/// Strips a module: [`BeamFile::strip`] of its bytes.
pub fn strip(bytes: &[u8], recipe: &[impl AsRef<str>]) -> Result<Vec<u8>, BeamError> {
    BeamFile::parse(bytes)?.strip(recipe)
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, BeamError> {
    let mut out = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(LARGEST + 1);
    reader.read_to_end(&mut out).map_err(|_| BeamError::Gzip)?;
    if out.len() as u64 > LARGEST {
        return Err(BeamError::TooLarge { limit: LARGEST });
    }
    Ok(out)
}

/// The names of the atoms of a module, its own name first.
pub fn atoms(file: &BeamFile<'_>) -> Result<Vec<String>, BeamError> {
    tables::atoms(file)
}

/// Names and arities of the functions that a module exports.
pub fn exports(file: &BeamFile<'_>) -> Result<Vec<(String, u32)>, BeamError> {
    tables::exports(file, &tables::atoms(file)?)
}

/// Modules, names and arities of the functions that a module calls in others.
pub fn imports(file: &BeamFile<'_>) -> Result<Vec<(String, String, u32)>, BeamError> {
    tables::imports(file, &tables::atoms(file)?)
}

/// The attributes of a module, in the order of the file: a name may come more than once.
pub fn attributes(file: &BeamFile<'_>) -> Result<Vec<(String, Term)>, BeamError> {
    tables::attributes(file)
}

/// The big-endian word at `at`.
fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
}
