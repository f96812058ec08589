//! In which sections two native files differ.

use std::collections::{BTreeMap, BTreeSet};

use object::read::elf::ElfFile;
use object::{Endianness, Object as _, ObjectSection as _, SectionFlags, elf};

use super::reason::Reason;
use super::report::{Finding, Part};

/// A digest of the file, which linkers write down: it differs with anything else.
const BUILD_ID: &str = ".note.gnu.build-id";

/// One section.
#[derive(PartialEq, Eq)]
struct Section<'a> {
    /// Where it is loaded.
    address: u64,
    /// Its bytes.
    data: &'a [u8],
    /// Whether it is loaded at all: what is not, only debuggers and linkers read.
    loaded: bool,
}

/// Compares two native files; none when they are not both of a kind that is known (ELF).
pub fn compare(path: &str, ours: &[u8], theirs: &[u8]) -> Option<Vec<Finding>> {
    let (one, other) = (sections(ours)?, sections(theirs)?);
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut findings = Vec::new();
    for name in names {
        let (mine, others) = (one.get(name), other.get(name));
        if mine == others {
            continue;
        }
        let size =
            |section: Option<&Section<'_>>| section.map(|section| format!("{} bytes", section.data.len()));
        let mut finding = Finding::new(path, Part::Section).at(name.clone()).texts(size(mine), size(others));
        if [mine, others].into_iter().flatten().all(|section| !section.loaded) {
            finding.explain(Reason::Debug, "the section is not loaded");
        }
        findings.push(finding);
    }
    let only_id = findings.iter().all(|finding| finding.explained.is_some() || finding.place == BUILD_ID);
    if findings.is_empty() {
        // Everything that is loaded is the same, at the same addresses: where it lies in the file is not.
        findings.push(Finding::new(path, Part::Section).at("headers"));
    }
    if only_id {
        for finding in findings.iter_mut().filter(|finding| finding.place == BUILD_ID) {
            finding.explain(Reason::Debug, "a digest of the whole file; no section that is loaded differs");
        }
    }
    Some(findings)
}

fn sections(bytes: &[u8]) -> Option<BTreeMap<String, Section<'_>>> {
    match bytes.get(4)? {
        1 => elf_sections::<elf::FileHeader32<Endianness>>(bytes),
        2 => elf_sections::<elf::FileHeader64<Endianness>>(bytes),
        _ => None,
    }
}

fn elf_sections<H: object::read::elf::FileHeader>(bytes: &[u8]) -> Option<BTreeMap<String, Section<'_>>> {
    let file = ElfFile::<H>::parse(bytes).ok()?;
    let mut sections = BTreeMap::new();
    for (index, section) in file.sections().enumerate() {
        let name = section.name().ok()?.to_owned();
        let loaded = match section.flags() {
            SectionFlags::Elf { sh_flags, .. } => sh_flags & elf::SHF_ALLOC == elf::SHF_ALLOC,
            _ => true,
        };
        let content = Section { address: section.address(), data: section.data().ok()?, loaded };
        // Names need not be unique.
        let name = if sections.contains_key(&name) { format!("{name} ({index})") } else { name };
        sections.insert(name, content);
    }
    (!sections.is_empty()).then_some(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of this machine: the one that runs this test.
    fn program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    fn section_range(bytes: &[u8], name: &str) -> std::ops::Range<usize> {
        let file = object::File::parse(bytes).unwrap();
        let (start, size) = file.section_by_name(name).unwrap().file_range().unwrap();
        start as usize..(start + size) as usize
    }

    fn changed(name: &str) -> Vec<Finding> {
        let one = program();
        let mut other = one.clone();
        let range = section_range(&one, name);
        other[range.end - 1] ^= 0xff;
        compare("bin/x", &one, &other).unwrap()
    }

    #[test]
    fn a_section_that_is_loaded_is_named_and_one_that_is_not_is_explained() {
        let code = changed(".text");
        assert_eq!((code.len(), code[0].place.as_str(), code[0].explained.is_none()), (1, ".text", true));
        let debug = changed(".symtab");
        assert_eq!((debug.len(), debug[0].explained.is_some()), (1, true));
        if object::File::parse(&*program()).unwrap().section_by_name(BUILD_ID).is_some() {
            assert!(changed(BUILD_ID)[0].explained.is_some());
        }
    }

    #[test]
    fn what_is_no_native_file_is_left_to_others() {
        let program = program();
        assert!(compare("x", b"text", b"other").is_none());
        assert!(compare("x", &program[..40], &program).is_none());
    }
}
