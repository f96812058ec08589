//! What makes two compiled modules the same: to those who run them, and to those who compile against them.
//!
//! The running identity leaves out lines, debug data, documentation and what the compiler notes about itself
//! (`Line`, `Dbgi`, `Docs`, `CInf`, `ExCk`, `LocT`), and the chunk `Type`: types are derived from the code and the
//! literals, and only let the machine leave out checks that the code cannot fail. Where code is equal and types
//! are not, either table is right for either code.

use std::collections::BTreeSet;

use md5::{Digest as _, Md5};
use relgraph_cache::{Digest, Hasher};

use crate::etf::{self, BigInteger, Term};

use super::{BeamError, BeamFile, tables};

/// The digest of what runs: two modules that share it behave alike.
///
/// Atoms, code, strings, imports, exports, functions (without `OldUniq`, which follows the lines), literals
/// (unpacked), attributes without an automatic `vsn`, and `Meta`.
pub fn running_digest(bytes: &[u8]) -> Result<Digest, BeamError> {
    let file = BeamFile::parse(bytes)?;
    let mut parts = Parts::new("relgraph module running v1");
    parts.list("atoms", tables::atoms(&file)?.iter().map(|atom| atom.as_bytes()));
    parts.part("Code", file.needed("Code")?);
    for id in ["StrT", "ImpT", "ExpT"] {
        parts.part(id, file.chunk(id).unwrap_or_default());
    }
    parts.part("FunT", &without_uniq(file.chunk("FunT").unwrap_or_default()));
    parts.part("LitT", &tables::literal_bytes(&file)?);
    let automatic = automatic_vsn(&file);
    for (name, value) in tables::attributes(&file)? {
        if name != "vsn" || value != automatic {
            parts.part(&format!("attribute {name}"), &etf::encode(&value));
        }
    }
    parts.part("Meta", file.chunk("Meta").unwrap_or_default());
    Ok(parts.finish())
}

/// The digest of what another module sees of this one while it is compiled, without running it: name, exports,
/// what the checker of Elixir keeps (`ExCk`), behaviours, callbacks.
///
/// Types are not in it: only tools that read the abstract code see those. A stripped module has no `ExCk`.
pub fn interface_digest(bytes: &[u8]) -> Result<Digest, BeamError> {
    let file = BeamFile::parse(bytes)?;
    let atoms = tables::atoms(&file)?;
    let mut parts = Parts::new("relgraph module interface v1");
    parts.part("module", atoms[0].as_bytes());
    let exports: BTreeSet<(String, u32)> = tables::exports(&file, &atoms)?.into_iter().collect();
    let written: Vec<String> = exports.iter().map(|(name, arity)| format!("{name}/{arity}")).collect();
    parts.list("exports", written.iter().map(String::as_bytes));
    match tables::term(&file, "ExCk") {
        Ok(Some(term)) => parts.part("checker", &etf::encode(&term)),
        Ok(None) => parts.part("checker", &[]),
        Err(_) => parts.part("checker bytes", file.chunk("ExCk").unwrap_or_default()),
    }
    for (name, value) in tables::attributes(&file)? {
        if matches!(name.as_str(), "behaviour" | "behavior" | "__protocol__" | "__impl__") {
            parts.part(&format!("attribute {name}"), &etf::encode(&value));
        }
    }
    for literal in callbacks(&file, &exports)? {
        parts.part("callbacks", &etf::encode(&literal));
    }
    Ok(parts.finish())
}

/// The lists that `behaviour_info/1` may answer with, when it is exported: all literals that are lists of names
/// and arities. That function is code; its literals are all that can be seen of it without running it.
pub(super) fn callbacks(
    file: &BeamFile<'_>,
    exports: &BTreeSet<(String, u32)>,
) -> Result<BTreeSet<Term>, BeamError> {
    if !exports.contains(&("behaviour_info".to_owned(), 1)) {
        return Ok(BTreeSet::new());
    }
    let function = |term: &Term| matches!(term.as_tuple(), Some([Term::Atom(_), Term::Integer(0..=255)]));
    let functions =
        |term: &Term| term.as_list().is_some_and(|list| !list.is_empty() && list.iter().all(function));
    Ok(tables::literals(file)?.into_iter().filter(functions).collect())
}

/// The value of an attribute `vsn` that nobody wrote: the compiler then puts in the MD5 of the module, so an
/// attribute that equals it is automatic, and any other was written by a person.
pub fn automatic_vsn(file: &BeamFile<'_>) -> Term {
    let md5 = md5(file);
    Term::list(vec![BigInteger::term(false, md5.iter().rev().copied().collect())])
}

/// The MD5 of a module, as `beam_lib:md5/1` and `Module:module_info(md5)` give it.
pub fn module_md5(bytes: &[u8]) -> Result<[u8; 16], BeamError> {
    Ok(md5(&BeamFile::parse(bytes)?))
}

fn md5(file: &BeamFile<'_>) -> [u8; 16] {
    let mut md5 = Md5::new();
    for id in ["Atom", "AtU8", "Code", "StrT", "ImpT", "ExpT", "FunT", "LitT", "Meta"] {
        match file.chunk(id) {
            Some(chunk) if id == "FunT" => md5.update(without_uniq(chunk)),
            Some(chunk) => md5.update(chunk),
            None => {}
        }
    }
    md5.finalize().into()
}

/// The table of functions with the last of the six words of every row set to zero.
fn without_uniq(chunk: &[u8]) -> Vec<u8> {
    let mut table = chunk.to_vec();
    if let Some(rows) = table.get_mut(4..) {
        rows.chunks_exact_mut(24).for_each(|row| row[20..].fill(0));
    }
    table
}

/// Named parts, each with its length in front, so that no two lists of parts give the same bytes.
struct Parts(Hasher);

impl Parts {
    fn new(what: &str) -> Parts {
        let mut parts = Parts(Hasher::new());
        parts.bytes(what.as_bytes());
        parts
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn part(&mut self, name: &str, bytes: &[u8]) {
        self.bytes(name.as_bytes());
        self.bytes(bytes);
    }

    fn list<'a>(&mut self, name: &str, items: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.bytes(name.as_bytes());
        self.0.update(&(items.len() as u64).to_le_bytes());
        items.for_each(|item| self.bytes(item));
    }

    fn finish(self) -> Digest {
        self.0.finish()
    }
}
