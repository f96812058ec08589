//! What a module gives to others and asks of them, and which of that is not to be looked at.

use std::collections::BTreeSet;
use std::io::Read as _;

use crate::etf::{self, Term};

use super::info::Function;
use super::{BeamError, BeamFile, LARGEST, tables};

/// What a module gives to others and asks of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// Its name.
    pub name: String,
    /// The functions that others can call.
    pub exports: BTreeSet<Function>,
    /// The functions of other modules that it calls, by module, name and arity; empty where they are not asked for.
    pub imports: Vec<(String, String, u32)>,
}

/// What a module gives to others and, with `imports`, asks of them.
pub fn links(bytes: &[u8], imports: bool) -> Result<Links, BeamError> {
    let file = BeamFile::parse(bytes)?;
    let atoms = tables::atoms(&file)?;
    Ok(Links {
        name: atoms[0].clone(),
        exports: tables::exports(&file, &atoms)?
            .into_iter()
            .map(|(name, arity)| Function { name, arity })
            .collect(),
        imports: if imports { tables::imports(&file, &atoms)? } else { Vec::new() },
    })
}

/// What a module says not to complain about: a module, or a function of it, as `Module` or `Module.function/arity`.
///
/// Elixir has `@compile {:no_warn_undefined, …}`, which is in the debug information alone; Erlang's xref has
/// `-ignore_xref(…)`.
pub fn excluded(bytes: &[u8]) -> BTreeSet<String> {
    let Ok(file) = BeamFile::parse(bytes) else { return BTreeSet::new() };
    let mut excluded = BTreeSet::new();
    for (name, value) in tables::attributes(&file).unwrap_or_default() {
        if name == "ignore_xref" {
            add(&value, &mut excluded);
        }
    }
    if let Some(options) = file.chunk("Dbgi").and_then(compile_options) {
        for option in options.as_list().unwrap_or_default() {
            if let Some([key, value]) = option.as_tuple()
                && key.as_atom() == Some(NO_WARN_UNDEFINED)
            {
                add(value, &mut excluded);
            }
        }
    }
    excluded
}

const NO_WARN_UNDEFINED: &str = "no_warn_undefined";

fn add(value: &Term, excluded: &mut BTreeSet<String>) {
    if let Some(values) = value.as_list() {
        values.iter().for_each(|value| add(value, excluded));
    } else if let Some(module) = value.as_atom() {
        excluded.insert(module.to_owned());
    } else if let Some([module, function, arity]) = value.as_tuple()
        && let (Some(module), Some(function), Some(arity)) =
            (module.as_atom(), function.as_atom(), arity.as_integer())
    {
        excluded.insert(format!("{module}.{function}/{arity}"));
    }
}

/// The compiler options in Elixir's debug information. Most modules have none of interest, and are not read as a term: the
/// name of the option is looked for in the bytes.
fn compile_options(chunk: &[u8]) -> Option<Term> {
    let mut inflated = Vec::new();
    let bytes = match chunk {
        [131, 80, _, _, _, _, packed @ ..] => {
            flate2::read::ZlibDecoder::new(packed).take(LARGEST).read_to_end(&mut inflated).ok()?;
            &inflated[..]
        }
        _ => chunk,
    };
    let wanted = NO_WARN_UNDEFINED.as_bytes();
    bytes.windows(wanted.len()).find(|window| *window == wanted)?;
    // {debug_info_v1, elixir_erl, {elixir_v1, Map, Specifications}}
    let whole = etf::decode(chunk).ok()?;
    let inner = whole.as_tagged("debug_info_v1")?.get(1)?;
    inner.as_tagged("elixir_v1")?.first()?.get("compile_opts").cloned()
}
