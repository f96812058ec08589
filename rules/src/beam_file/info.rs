//! What a compiled module says about itself.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::etf::Term;

use super::{BeamError, BeamFile, code, identity, tables};

/// A function by name and arity; written `name/arity`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function {
    /// The name.
    pub name: String,
    /// How many arguments it takes.
    pub arity: u32,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.arity)
    }
}

impl Serialize for Function {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Which protocol a module implements, and for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Implementation {
    /// The protocol.
    pub protocol: String,
    /// The module of the struct, or the built-in type.
    pub target: String,
}

/// What a compiled module says about itself. Names of modules are as the machine has them (`Elixir.Enum`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleInfo {
    /// The name.
    pub name: String,
    /// The exported functions, without `module_info/0` and `module_info/1`.
    pub exports: BTreeSet<Function>,
    /// The functions it calls in other modules, with the module in front.
    pub imports: BTreeSet<(String, Function)>,
    /// The behaviours it says to have.
    pub behaviours: BTreeSet<String>,
    /// The version that somebody wrote (`-vsn(…)`, `@vsn`), as Erlang text; an automatic one is `None`.
    pub vsn: Option<String>,
    /// Whether it is an Elixir protocol.
    pub protocol: bool,
    /// The protocol that it implements.
    pub implements: Option<Implementation>,
    /// The callbacks it asks of others; more than those when it has other lists of names and arities.
    pub callbacks: BTreeSet<Function>,
    /// Whether a function of it runs when it is loaded.
    pub has_on_load: bool,
}

/// What a compiled module says about itself.
pub fn info(bytes: &[u8]) -> Result<ModuleInfo, BeamError> {
    let file = BeamFile::parse(bytes)?;
    let atoms = tables::atoms(&file)?;
    let exports: BTreeSet<(String, u32)> = tables::exports(&file, &atoms)?.into_iter().collect();
    let imports = tables::imports(&file, &atoms)?;
    let attributes = tables::attributes(&file)?;
    let all = |name: &str| {
        attributes.iter().filter(move |(key, _)| key == name).map(|(_, value)| value).collect::<Vec<_>>()
    };
    let behaviours = [all("behaviour"), all("behavior")].concat();
    let automatic = identity::automatic_vsn(&file);
    let vsn = all("vsn").into_iter().next().filter(|vsn| **vsn != automatic).map(vsn_text);
    let callbacks = identity::callbacks(&file, &exports)?;
    Ok(ModuleInfo {
        name: atoms[0].clone(),
        exports: exports
            .into_iter()
            .filter(|(name, arity)| name != "module_info" || *arity > 1)
            .map(|(name, arity)| Function { name, arity })
            .collect(),
        imports: imports
            .into_iter()
            .map(|(module, name, arity)| (module, Function { name, arity }))
            .collect(),
        behaviours: behaviours
            .into_iter()
            .filter_map(|value| value.as_list())
            .flatten()
            .filter_map(|name| name.as_atom().map(str::to_owned))
            .collect(),
        vsn,
        protocol: !all("__protocol__").is_empty(),
        implements: all("__impl__").into_iter().find_map(implementation),
        callbacks: callbacks.iter().filter_map(Term::as_list).flatten().filter_map(function).collect(),
        has_on_load: code::has_on_load(file.needed("Code")?),
    })
}

/// Attributes are lists of values; one value stands for itself.
fn vsn_text(value: &Term) -> String {
    match value {
        Term::List(values) if values.len() == 1 => values[0].to_string(),
        // A small number alone: as a list it would be a string of one control character.
        Term::String(bytes) if bytes.len() == 1 && bytes[0] < 32 => bytes[0].to_string(),
        value => value.to_string(),
    }
}

/// Elixir writes `[{protocol, P}, {for, T}]`, in some releases inside another list.
fn implementation(value: &Term) -> Option<Implementation> {
    let value = match value {
        Term::List(values) if values.first().is_some_and(|first| first.as_list().is_some()) => &values[0],
        value => value,
    };
    let name = |key: &str| value.property(key).and_then(Term::as_atom).map(str::to_owned);
    Some(Implementation { protocol: name("protocol")?, target: name("for")? })
}

fn function(term: &Term) -> Option<Function> {
    match term.as_tuple()? {
        [Term::Atom(name), Term::Integer(arity)] => {
            Some(Function { name: name.clone(), arity: u32::try_from(*arity).ok()? })
        }
        _ => None,
    }
}
