//! In what two compiled modules differ: chunk by chunk, function by function, term by term.
//!
//! What runs (`Code` with its tables) is compared with the numbers of tables resolved: two modules whose functions are
//! the same instruction by instruction behave alike, whatever the order of their atoms, imports and literals.

use std::collections::{BTreeMap, BTreeSet};

use crate::beam_file::{self, BeamError, BeamFile, Functions, Instruction, Operand};
use crate::etf::{self, Term};

use super::reason::Reason;
use super::report::{Finding, Part};
use super::terms::{self, has_map};

/// Chunks that together are what runs.
const RUNNING: [&str; 8] = ["AtU8", "Atom", "Code", "StrT", "ImpT", "ExpT", "FunT", "LitT"];
/// Chunks that hold one term each.
const TERMS: [&str; 7] = ["Attr", "CInf", "Dbgi", "Docs", "ExCk", "Abst", "Meta"];
/// Chunks that no running program depends on.
const DEBUG: [&str; 7] = ["CInf", "Dbgi", "Docs", "ExCk", "Abst", "LocT", "ExDp"];
/// So many places of a chunk that only debuggers read are told.
const SHOWN: usize = 8;

/// Compares two modules whose bytes are not the same.
pub fn compare(path: &str, ours: &[u8], theirs: &[u8]) -> Vec<Finding> {
    let mut page = Page { path, findings: Vec::new() };
    match (BeamFile::parse(ours), BeamFile::parse(theirs)) {
        (Ok(one), Ok(other)) => page.modules(&one, &other, packed(ours) != packed(theirs)),
        (one, other) => page.damaged("", one.err(), other.err()),
    }
    page.findings
}

fn packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

fn chunk(id: &str) -> Part {
    Part::Chunk(id.to_owned())
}

/// The name of a chunk as text.
fn name(id: [u8; 4]) -> String {
    String::from_utf8_lossy(&id).into_owned()
}

struct Page<'a> {
    path: &'a str,
    findings: Vec<Finding>,
}

impl Page<'_> {
    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn damaged(&mut self, id: &str, ours: Option<BeamError>, theirs: Option<BeamError>) {
        let part = if id.is_empty() { Part::Content } else { chunk(id) };
        let show = |error: Option<BeamError>| {
            Some(error.map_or_else(|| "can be read".to_owned(), |error| error.to_string()))
        };
        self.add(Finding::new(self.path, part).texts(show(ours), show(theirs)));
    }

    fn modules(&mut self, ours: &BeamFile<'_>, theirs: &BeamFile<'_>, other_packing: bool) {
        let ids = |file: &BeamFile<'_>| file.chunks().map(|(id, _)| name(id)).collect::<Vec<_>>();
        let (mine, others) = (ids(ours), ids(theirs));
        let all: BTreeSet<&String> = mine.iter().chain(&others).collect();
        let mut running = false;
        for id in all {
            match (ours.chunk(id), theirs.chunk(id)) {
                (Some(one), Some(other)) if one == other => {}
                // The tables may be missing where they would be empty.
                _ if RUNNING.contains(&id.as_str()) => running = true,
                (Some(one), Some(other)) => self.chunk(id, one, other, ours, theirs),
                (one, other) => {
                    let size = |bytes: Option<&[u8]>| bytes.map(|bytes| format!("{} bytes", bytes.len()));
                    self.add(
                        Finding::new(self.path, chunk(id)).at("the chunk").texts(size(one), size(other)),
                    );
                }
            }
        }
        if running {
            self.running(ours, theirs);
        }
        let both = |id: &&String| mine.contains(id) && others.contains(id);
        let (one, other): (Vec<_>, Vec<_>) =
            (mine.iter().filter(both).collect(), others.iter().filter(both).collect());
        if one != other {
            let text = |ids: &[&String]| Some(ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(" "));
            self.add(
                Finding::new(self.path, Part::Content).at("order of chunks").texts(text(&one), text(&other)),
            );
        }
        if other_packing {
            self.add(
                Finding::new(self.path, Part::Content)
                    .at("compression")
                    .because(Reason::Packing, "the chunks are compared unpacked"),
            );
        }
        if self.findings.is_empty() {
            // The bytes differ, and neither a chunk nor their order does: the bytes around them.
            self.add(
                Finding::new(self.path, Part::Content)
                    .at("around the chunks")
                    .because(Reason::Packing, "every chunk is the same, byte by byte"),
            );
        }
    }

    /// A chunk that is not part of what runs.
    fn chunk(&mut self, id: &str, one: &[u8], other: &[u8], ours: &BeamFile<'_>, theirs: &BeamFile<'_>) {
        match id {
            "Line" => {
                let size = |bytes: &[u8]| Some(format!("{} bytes", bytes.len()));
                self.add(
                    Finding::new(self.path, chunk(id))
                        .texts(size(one), size(other))
                        .because(Reason::Lines, "functions are compared without their lines"),
                );
            }
            "Attr" => match (beam_file::attributes(ours), beam_file::attributes(theirs)) {
                (Ok(one), Ok(other)) => self.attributes(one, other, (ours, theirs)),
                (one, other) => self.damaged(id, one.err(), other.err()),
            },
            _ if TERMS.contains(&id) => match (etf::decode(one), etf::decode(other)) {
                (Ok(one), Ok(other)) => self.terms(id, &one, &other),
                _ => self.bytes(id, one, other),
            },
            _ => self.bytes(id, one, other),
        }
    }

    fn bytes(&mut self, id: &str, one: &[u8], other: &[u8]) {
        let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
        let size = |bytes: &[u8]| Some(format!("{} bytes", bytes.len()));
        let mut finding =
            Finding::new(self.path, chunk(id)).at(format!("from byte {at}")).texts(size(one), size(other));
        if DEBUG.contains(&id) {
            finding.explain(Reason::Debug, "no running program depends on it");
        }
        // What the compiler knows of types follows from the code, and only lets the machine leave out checks.
        if id == "Type" && !self.findings.iter().any(|found| found.part == chunk("Code")) {
            finding.explain(Reason::Tables, "types follow from the code");
        }
        self.add(finding);
    }

    fn terms(&mut self, id: &str, one: &Term, other: &Term) {
        if one == other {
            let reason = if has_map(one) { Reason::MapOrder } else { Reason::Packing };
            return self.add(Finding::new(self.path, chunk(id)).because(reason, "the terms are equal"));
        }
        let (leaves, _) = terms::differences(one, other);
        let debug = DEBUG.contains(&id);
        let shown = if debug { SHOWN } else { usize::MAX };
        for leaf in leaves.iter().take(shown) {
            let mut finding =
                Finding::new(self.path, chunk(id)).at(leaf.place.clone()).terms(leaf.ours, leaf.theirs);
            finding.order = leaf.order;
            self.add(finding);
        }
    }

    /// A `vsn` that nobody wrote is a digest of the module: it follows from what else differs.
    fn attributes(
        &mut self,
        mut one: Vec<(String, Term)>,
        mut other: Vec<(String, Term)>,
        (ours, theirs): (&BeamFile<'_>, &BeamFile<'_>),
    ) {
        let before = (one.len(), other.len());
        one.retain(|(key, value)| key != "vsn" || *value != beam_file::automatic_vsn(ours));
        other.retain(|(key, value)| key != "vsn" || *value != beam_file::automatic_vsn(theirs));
        let pairs = |attributes: Vec<(String, Term)>| {
            Term::list(
                attributes
                    .into_iter()
                    .map(|(key, value)| Term::Tuple(vec![Term::Atom(key), value]))
                    .collect(),
            )
        };
        let automatic = (before.0 - one.len(), before.1 - other.len());
        let (one, other) = (pairs(one), pairs(other));
        if one == other && automatic.0 == automatic.1 {
            // Told with the chunks that it is the digest of.
            return;
        }
        if one == other {
            let text = |count: usize| Some(if count > 0 { "automatic" } else { "none" }.to_owned());
            return self.add(
                Finding::new(self.path, chunk("Attr")).at("vsn").texts(text(automatic.0), text(automatic.1)),
            );
        }
        self.terms("Attr", &one, &other);
    }

    fn running(&mut self, ours: &BeamFile<'_>, theirs: &BeamFile<'_>) {
        let before = self.findings.len();
        match (beam_file::functions(ours), beam_file::functions(theirs)) {
            (Ok(one), Ok(other)) => self.functions(&one, &other),
            (one, other) => self.damaged("Code", one.err(), other.err()),
        }
        let names = |file: &BeamFile<'_>| -> Result<BTreeSet<String>, BeamError> {
            Ok(beam_file::exports(file)?.into_iter().map(|(name, arity)| format!("{name}/{arity}")).collect())
        };
        self.sets("ExpT", names(ours), names(theirs));
        self.funs(ours, theirs);
        let code = self.findings[before..].iter().any(|finding| finding.explained.is_none());
        if !code {
            // Where the code differs, its tables do as well.
            let imports = |file: &BeamFile<'_>| -> Result<BTreeSet<String>, BeamError> {
                let all = beam_file::imports(file)?;
                Ok(all.into_iter().map(|(module, name, arity)| format!("{module}:{name}/{arity}")).collect())
            };
            self.sets("ImpT", imports(ours), imports(theirs));
            self.literals(ours, theirs);
            let atoms = |file: &BeamFile<'_>| {
                beam_file::atoms(file).map(|all| all.into_iter().collect::<BTreeSet<_>>())
            };
            self.sets("AtU8", atoms(ours), atoms(theirs));
        }
        if self.findings.len() == before {
            self.add(
                Finding::new(self.path, chunk("Code"))
                    .because(Reason::Tables, "every function is the same, instruction by instruction"),
            );
        }
    }

    /// What only one of two sets has.
    fn sets(
        &mut self,
        id: &str,
        ours: Result<BTreeSet<String>, BeamError>,
        theirs: Result<BTreeSet<String>, BeamError>,
    ) {
        let (one, other) = match (ours, theirs) {
            (Ok(one), Ok(other)) => (one, other),
            (one, other) => return self.damaged(id, one.err(), other.err()),
        };
        for name in one.difference(&other) {
            self.add(Finding::new(self.path, chunk(id)).at(name.clone()).texts(Some(name.clone()), None));
        }
        for name in other.difference(&one) {
            self.add(Finding::new(self.path, chunk(id)).at(name.clone()).texts(None, Some(name.clone())));
        }
    }

    fn functions(&mut self, ours: &Functions, theirs: &Functions) {
        let all: BTreeSet<&(String, u32)> = ours.keys().chain(theirs.keys()).collect();
        for id in all {
            let label = format!("{}/{}", id.0, id.1);
            match (ours.get(id), theirs.get(id)) {
                (Some(one), Some(other)) if one == other => {}
                (Some(one), Some(other)) => self.function(&label, one, other),
                (one, other) => {
                    let text = |code: Option<&Vec<Instruction>>| {
                        code.map(|code| format!("{} instructions", code.len()))
                    };
                    self.add(
                        Finding::new(self.path, chunk("Code"))
                            .in_function(label)
                            .at("the function")
                            .texts(text(one), text(other)),
                    );
                }
            }
        }
    }

    fn function(&mut self, label: &str, one: &[Instruction], other: &[Instruction]) {
        let same_shape = one.len() == other.len()
            && one
                .iter()
                .zip(other)
                .all(|(one, other)| one.name() == other.name() && one.operands.len() == other.operands.len());
        if same_shape {
            let mut pairs = Vec::new();
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                let at = format!("instruction {} ({})", index + 1, one.name());
                let together = one.operands.iter().zip(&other.operands);
                together.for_each(|(one, other)| operands(&at, one, other, &mut pairs));
            }
            for (at, one, other) in pairs {
                let finding = Finding::new(self.path, chunk("Code")).in_function(label);
                match (one, other) {
                    (Operand::Term(one), Operand::Term(other)) => {
                        for leaf in terms::differences(one, other).0 {
                            let place = if leaf.place.is_empty() {
                                at.clone()
                            } else {
                                format!("{at}: {}", leaf.place)
                            };
                            let mut finding = finding.clone().at(place).terms(leaf.ours, leaf.theirs);
                            finding.order = leaf.order;
                            self.add(finding);
                        }
                    }
                    (one, other) => {
                        self.add(finding.at(at).texts(Some(operand(one)), Some(operand(other))));
                    }
                }
            }
            return;
        }
        let head = one.iter().zip(other).take_while(|(one, other)| one == other).count();
        let text = |code: &[Instruction]| Some(code.get(head).map_or("(ends)".to_owned(), instruction));
        self.add(
            Finding::new(self.path, chunk("Code"))
                .in_function(label)
                .at(format!("from instruction {} ({} and {} in all)", head + 1, one.len(), other.len()))
                .texts(text(one), text(other)),
        );
    }

    fn funs(&mut self, ours: &BeamFile<'_>, theirs: &BeamFile<'_>) {
        let (mut one, mut other) = match (beam_file::funs(ours), beam_file::funs(theirs)) {
            (Ok(one), Ok(other)) => (one, other),
            (one, other) => return self.damaged("FunT", one.err(), other.err()),
        };
        let (whole, other_whole) = (one.clone(), other.clone());
        one.iter_mut().chain(&mut other).for_each(|fun| fun.uniq = 0);
        let named = |funs: &[beam_file::Fun]| -> BTreeSet<String> {
            funs.iter().map(|fun| format!("{}/{} with {}", fun.name, fun.arity, fun.free)).collect()
        };
        let (one, other) = (named(&one), named(&other));
        if one != other {
            return self.sets("FunT", Ok(one), Ok(other));
        }
        let uniq = |funs: &[beam_file::Fun]| -> BTreeMap<String, u32> {
            funs.iter().map(|fun| (format!("{}/{}", fun.name, fun.arity), fun.uniq)).collect()
        };
        if uniq(&whole) != uniq(&other_whole) {
            self.add(Finding::new(self.path, chunk("FunT")).at("uniq").because(
                Reason::Lines,
                "the number that follows from the source of an anonymous function, lines and debug data included",
            ));
        }
    }

    /// The code is the same, so what it uses of the literals is: their bytes, and those that it does not use.
    fn literals(&mut self, ours: &BeamFile<'_>, theirs: &BeamFile<'_>) {
        let (mut one, mut other) = match (beam_file::literals(ours), beam_file::literals(theirs)) {
            (Ok(one), Ok(other)) => (one, other),
            (one, other) => return self.damaged("LitT", one.err(), other.err()),
        };
        one.sort();
        other.sort();
        if one == other {
            return;
        }
        let terms = |literals: Vec<beam_file::Literal>| -> Vec<Term> {
            let mut terms: Vec<Term> = literals.into_iter().map(|literal| literal.term).collect();
            terms.sort();
            terms
        };
        let bytes: BTreeSet<Vec<u8>> = other.iter().map(|literal| literal.bytes.clone()).collect();
        let moved: Vec<Term> =
            one.iter().filter(|one| !bytes.contains(&one.bytes)).map(|one| one.term.clone()).collect();
        let (one, other) = (terms(one), terms(other));
        if one != other {
            return self.terms("LitT", &Term::List(one), &Term::List(other));
        }
        let maps = moved.iter().filter(|term| has_map(term)).count();
        let finding = Finding::new(self.path, chunk("LitT"));
        self.add(if maps == moved.len() && maps > 0 {
            finding.because(Reason::MapOrder, "the literals are equal as terms")
        } else {
            finding.because(Reason::Tables, "the literals are equal as terms, written in another way")
        });
    }
}

/// The pairs of operands in which two of one shape differ.
fn operands<'a>(
    at: &str,
    one: &'a Operand,
    other: &'a Operand,
    pairs: &mut Vec<(String, &'a Operand, &'a Operand)>,
) {
    match (one, other) {
        (one, other) if one == other => {}
        (Operand::List(ones), Operand::List(others)) if ones.len() == others.len() => {
            ones.iter().zip(others).for_each(|(one, other)| operands(at, one, other, pairs));
        }
        (one, other) => pairs.push((at.to_owned(), one, other)),
    }
}

fn instruction(instruction: &Instruction) -> String {
    let operands: Vec<String> = instruction.operands.iter().map(operand).collect();
    format!("{} {}", instruction.name(), operands.join(" "))
}

fn operand(one: &Operand) -> String {
    match one {
        Operand::Term(term) => term.to_string(),
        Operand::Register(kind, number) => format!("{kind}{number}"),
        Operand::Label(label) => format!("label {label}"),
        Operand::Number(number) => number.to_string(),
        Operand::Named(name) => name.clone(),
        Operand::List(list) => format!("({})", list.iter().map(operand).collect::<Vec<_>>().join(" ")),
    }
}
