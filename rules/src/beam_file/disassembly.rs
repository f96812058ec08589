//! The functions of a module, instruction by instruction, with names in the place of the numbers of its tables, so that
//! two modules can be compared whatever the order of their tables.

use std::collections::BTreeMap;

use crate::etf::{self, Term};

use super::code::{ARITIES, Cursor};
use super::operand::{Operand, Raw};
use super::{BeamError, BeamFile, tables, word};

/// The names of the instructions 1, 2, 3, …
const NAMES: &str = "label func_info int_code_end call call_last call_only call_ext call_ext_last bif0 bif1 bif2 \
allocate allocate_heap allocate_zero allocate_heap_zero test_heap init deallocate return send remove_message timeout \
loop_rec loop_rec_end wait wait_timeout m_plus m_minus m_times m_div int_div int_rem int_band int_bor int_bxor int_bsl \
int_bsr int_bnot is_lt is_ge is_eq is_ne is_eq_exact is_ne_exact is_integer is_float is_number is_atom is_pid \
is_reference is_port is_nil is_binary is_constant is_list is_nonempty_list is_tuple test_arity select_val \
select_tuple_arity jump catch catch_end move get_list get_tuple_element set_tuple_element put_string put_list put_tuple \
put badmatch if_end case_end call_fun make_fun is_function call_ext_only bs_start_match bs_get_integer bs_get_float \
bs_get_binary bs_skip_bits bs_test_tail bs_save bs_restore bs_init bs_final bs_put_integer bs_put_binary bs_put_float \
bs_put_string bs_need_buf fclearerror fcheckerror fmove fconv fadd fsub fmul fdiv fnegate make_fun2 try try_end try_case \
try_case_end raise bs_init2 bs_bits_to_bytes bs_add apply apply_last is_boolean is_function2 bs_start_match2 \
bs_get_integer2 bs_get_float2 bs_get_binary2 bs_skip_bits2 bs_test_tail2 bs_save2 bs_restore2 gc_bif1 gc_bif2 bs_final2 \
bs_bits_to_bytes2 put_literal is_bitstr bs_context_to_binary bs_test_unit bs_match_string bs_init_writable bs_append \
bs_private_append trim bs_init_bits bs_get_utf8 bs_skip_utf8 bs_get_utf16 bs_skip_utf16 bs_get_utf32 bs_skip_utf32 \
bs_utf8_size bs_put_utf8 bs_utf16_size bs_put_utf16 bs_put_utf32 on_load recv_mark recv_set gc_bif3 line put_map_assoc \
put_map_exact is_map has_map_fields get_map_elements is_tagged_tuple build_stacktrace raw_raise get_hd get_tl put_tuple2 \
bs_get_tail bs_start_match3 bs_get_position bs_set_position swap bs_start_match4 make_fun3 init_yregs recv_marker_bind \
recv_marker_clear recv_marker_reserve recv_marker_use bs_create_bin call_fun2 nif_start badrecord update_record bs_match \
executable_line debug_line";

const LABEL: u8 = 1;
const FUNC_INFO: u8 = 2;
const END: u8 = 3;
/// Instructions that only say where in the source the code comes from.
const LINES: [u8; 3] = [153, 183, 184];
const BS_PUT_STRING: u8 = 92;
const BS_MATCH_STRING: u8 = 132;
const BS_CREATE_BIN: u8 = 177;

/// Which operand of an instruction is the number of an imported function.
const IMPORTS: [(u8, usize); 9] =
    [(7, 1), (8, 1), (78, 1), (9, 0), (10, 1), (11, 1), (124, 2), (125, 2), (152, 2)];

/// Which operand of an instruction is the number of an anonymous function.
const FUNS: [(u8, usize); 2] = [(103, 0), (171, 0)];

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    /// What it works on.
    pub operands: Vec<Operand>,
}

impl Instruction {
    /// Its name in the tables of the compiler.
    pub fn name(&self) -> &'static str {
        NAMES.split(' ').nth(usize::from(self.code).saturating_sub(1)).unwrap_or("unknown")
    }

    /// Whether it only says where in the source the code comes from.
    pub fn is_line(&self) -> bool {
        LINES.contains(&self.code)
    }
}

/// Functions by name and arity, in the order of their names.
pub type Functions = BTreeMap<(String, u32), Vec<Instruction>>;

/// One row of the table of anonymous functions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fun {
    /// The function that holds its code.
    pub name: String,
    /// Its arguments, with what it took along.
    pub arity: u32,
    /// How many values it took along.
    pub free: u32,
    /// A number that follows from its source, lines included.
    pub uniq: u32,
}

/// A literal: its bytes in the external format, and the term.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Literal {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The term; a literal that cannot be read is a binary of its bytes.
    pub term: Term,
}

/// The literals in the order of the table.
pub fn literals(file: &BeamFile<'_>) -> Result<Vec<Literal>, BeamError> {
    let literal = |bytes: &[u8]| Literal {
        bytes: bytes.to_vec(),
        term: etf::decode(bytes).unwrap_or_else(|_| Term::Binary(bytes.to_vec())),
    };
    Ok(tables::literal_rows(file)?.iter().map(|row| literal(row)).collect())
}

/// The anonymous functions in the order of the table.
pub fn funs(file: &BeamFile<'_>) -> Result<Vec<Fun>, BeamError> {
    let Some(chunk) = file.chunk("FunT") else { return Ok(Vec::new()) };
    let atoms = tables::atoms(file)?;
    let damaged = || BeamError::BadChunk { id: "FunT" };
    let count = word(chunk, 0).ok_or_else(damaged)?;
    if count.checked_mul(24).is_none_or(|size| size > chunk.len() - 4) {
        return Err(damaged());
    }
    let fun = |index: usize| {
        let column = |column: usize| word(chunk, 4 + 24 * index + 4 * column).unwrap_or_default();
        Ok(Fun {
            name: tables::atom(&atoms, column(0), "FunT")?.to_owned(),
            arity: column(1) as u32,
            free: column(4) as u32,
            uniq: column(5) as u32,
        })
    };
    (0..count).map(fun).collect()
}

/// Takes the code of a module apart.
pub fn functions(file: &BeamFile<'_>) -> Result<Functions, BeamError> {
    let damaged = || BeamError::BadChunk { id: "Code" };
    let chunk = file.needed("Code")?;
    let code = word(chunk, 0).and_then(|header| chunk.get(header.checked_add(4)?..)).ok_or_else(damaged)?;
    let raw = split(code).ok_or_else(damaged)?;
    let tables = Tables::read(file)?;
    let mut entries = BTreeMap::new();
    for function in &raw {
        let (name, arity) = function.id(&tables).ok_or_else(damaged)?;
        entries.insert(function.entry, format!("{name}/{arity}"));
    }
    let mut functions = Functions::new();
    for function in &raw {
        let id = function.id(&tables).ok_or_else(damaged)?;
        let place = Place { tables: &tables, entries: &entries, first: function.first };
        let instructions = function.instructions.iter().map(|one| place.instruction(one));
        functions.insert(id, instructions.collect::<Option<_>>().ok_or_else(damaged)?);
    }
    Ok(functions)
}

type RawInstruction = (u8, Vec<Raw>);

/// A function as the file has it.
struct RawFunction {
    /// Its first label, and the one behind `func_info`, at which it is called.
    first: u64,
    entry: u64,
    name: u64,
    arity: u64,
    instructions: Vec<RawInstruction>,
}

impl RawFunction {
    fn id(&self, tables: &Tables) -> Option<(String, u32)> {
        Some((tables.atom(self.name)?.to_owned(), u32::try_from(self.arity).ok()?))
    }
}

/// The code, cut at each `func_info`, which stands behind a label that belongs to it.
fn split(code: &[u8]) -> Option<Vec<RawFunction>> {
    let mut cursor = Cursor { bytes: code };
    let mut functions: Vec<RawFunction> = Vec::new();
    let mut pending: Vec<RawInstruction> = Vec::new();
    loop {
        let opcode = cursor.byte()?;
        let arity = *ARITIES.get(usize::from(opcode).checked_sub(1)?)?;
        let operands: Vec<Raw> = (0..arity).map(|_| cursor.operand()).collect::<Option<_>>()?;
        match (opcode, &operands[..]) {
            (END, _) => {
                functions.last_mut()?.instructions.append(&mut pending);
                return Some(functions);
            }
            (FUNC_INFO, [_, Raw::Atom(name), Raw::Number(arity)]) => {
                // The label before it, and perhaps a line, are the new function's.
                let start = pending.iter().rposition(|(code, _)| *code == LABEL)?;
                let mut own = pending.split_off(start);
                if let Some(last) = functions.last_mut() {
                    last.instructions.append(&mut pending);
                }
                pending.clear();
                let [Raw::Number(first)] = own.first()?.1[..] else { return None };
                own.push((opcode, Vec::new()));
                let (name, arity) = (*name, *arity);
                functions.push(RawFunction { first, entry: 0, name, arity, instructions: own });
            }
            (FUNC_INFO, _) => return None,
            (LABEL, [Raw::Number(label)]) => {
                if let Some(last) = functions.last_mut()
                    && last.entry == 0
                    && pending.is_empty()
                {
                    last.entry = *label;
                }
                pending.push((opcode, operands));
            }
            _ => pending.push((opcode, operands)),
        }
    }
}

/// What numbers stand for.
struct Tables {
    atoms: Vec<String>,
    imports: Vec<String>,
    funs: Vec<Fun>,
    literals: Vec<Term>,
    strings: Vec<u8>,
}

impl Tables {
    fn read(file: &BeamFile<'_>) -> Result<Tables, BeamError> {
        let atoms = tables::atoms(file)?;
        let imports = tables::imports(file, &atoms)?;
        Ok(Tables {
            imports: imports
                .into_iter()
                .map(|(module, name, arity)| format!("{module}:{name}/{arity}"))
                .collect(),
            funs: funs(file)?,
            literals: literals(file)?.into_iter().map(|literal| literal.term).collect(),
            strings: file.chunk("StrT").unwrap_or_default().to_vec(),
            atoms,
        })
    }

    fn atom(&self, number: u64) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.atoms.get(index).map(String::as_str)
    }

    /// Bytes of the table of strings, as they would be written.
    fn string(&self, at: u64, length: u64) -> Option<Operand> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.strings.get(at..at.checked_add(usize::try_from(length).ok()?)?)?;
        Some(Operand::Term(Term::Binary(bytes.to_vec())))
    }
}

/// Where an instruction stands.
struct Place<'a> {
    tables: &'a Tables,
    entries: &'a BTreeMap<u64, String>,
    first: u64,
}

impl Place<'_> {
    fn instruction(&self, (code, raw): &RawInstruction) -> Option<Instruction> {
        if LINES.contains(code) {
            return Some(Instruction { code: *code, operands: Vec::new() });
        }
        let mut operands: Vec<Operand> =
            raw.iter().map(|operand| self.operand(operand)).collect::<Option<_>>()?;
        let number = |at: usize| match raw.get(at)? {
            Raw::Number(number) => Some(*number),
            Raw::Integer(Term::Integer(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        if let Some((_, at)) = IMPORTS.iter().find(|(known, _)| known == code) {
            let import = self.tables.imports.get(usize::try_from(number(*at)?).ok()?)?;
            operands[*at] = Operand::Named(import.clone());
        }
        if let Some((_, at)) = FUNS.iter().find(|(known, _)| known == code) {
            let fun = self.tables.funs.get(usize::try_from(number(*at)?).ok()?)?;
            operands[*at] = Operand::Named(format!("{}/{} with {}", fun.name, fun.arity, fun.free));
        }
        match *code {
            LABEL => operands[0] = Operand::Label(self.label(number(0)?)),
            BS_PUT_STRING => {
                operands[1] = self.tables.string(number(1)?, number(0)?)?;
            }
            BS_MATCH_STRING => {
                let bits = number(2)?;
                operands[3] = self.tables.string(number(3)?, bits.div_ceil(8))?;
            }
            BS_CREATE_BIN => self.segments(raw.last()?, operands.last_mut()?)?,
            _ => {}
        }
        Some(Instruction { code: *code, operands })
    }

    /// Six operands per segment of a binary; that of a string says where it begins and how long it is.
    fn segments(&self, raw: &Raw, operand: &mut Operand) -> Option<()> {
        let (Raw::List(raw), Operand::List(operands)) = (raw, operand) else { return None };
        for (segment, shown) in raw.chunks(6).zip(operands.chunks_mut(6)) {
            if let [Raw::Atom(kind), _, _, _, Raw::Number(at), Raw::Integer(Term::Integer(size))] = segment
                && self.tables.atom(*kind) == Some("string")
            {
                shown[4] = self.tables.string(*at, u64::try_from(*size).ok()?)?;
            }
        }
        Some(())
    }

    fn operand(&self, raw: &Raw) -> Option<Operand> {
        Some(match raw {
            Raw::Number(number) => Operand::Number(*number),
            Raw::Integer(term) => Operand::Term(term.clone()),
            Raw::Atom(0) => Operand::Term(Term::List(Vec::new())),
            Raw::Atom(number) => Operand::Term(Term::atom(self.tables.atom(*number)?)),
            Raw::Register(kind, number) => Operand::Register(*kind, *number),
            Raw::Label(0) => Operand::Label(0),
            Raw::Label(label) => match self.entries.get(label) {
                Some(function) => Operand::Named(function.clone()),
                None => Operand::Label(self.label(*label)),
            },
            Raw::Literal(number) => {
                Operand::Term(self.tables.literals.get(usize::try_from(*number).ok()?)?.clone())
            }
            Raw::List(list) => {
                Operand::List(list.iter().map(|one| self.operand(one)).collect::<Option<_>>()?)
            }
        })
    }

    /// Counted from 1, so that 0 stays what it is: none.
    fn label(&self, label: u64) -> u64 {
        label.wrapping_sub(self.first).wrapping_add(1)
    }
}
