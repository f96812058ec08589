//! What a native file is built for and what it needs, by its headers.

use std::collections::BTreeSet;

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader as _};
use object::{Architecture, BinaryFormat, Object as _};
use serde::Serialize;

use super::target::{Libc, Version};

/// How a native file is packed, which tells the systems that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Linux and most other Unix systems.
    Elf,
    /// macOS.
    MachO,
    /// Windows.
    Pe,
}

impl Format {
    /// The systems that use it.
    pub fn systems(self) -> &'static str {
        match self {
            Format::Elf => "Linux",
            Format::MachO => "macOS",
            Format::Pe => "Windows",
        }
    }
}

/// A native file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NativeFile {
    /// How it is packed.
    pub format: Format,
    /// What it is built for, by the first part of a target triple; several in one file of macOS.
    pub architectures: BTreeSet<String>,
    /// Whether it is a shared library, and not a program.
    pub shared: bool,
    /// The C library that it was linked with, where it tells.
    pub libc: Option<Libc>,
    /// The shared libraries that it asks for by name.
    pub needed: BTreeSet<String>,
    /// The newest version of the GNU C library that a symbol of it asks for.
    pub glibc: Option<Version>,
}

/// Whether a file that begins with these bytes may be native: at least four of them are needed to tell.
pub fn looks_native(head: &[u8]) -> bool {
    const MAGICS: [&[u8]; 6] = [
        b"\x7fELF",
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
    ];
    head.starts_with(b"MZ") || MAGICS.iter().any(|magic| head.starts_with(magic))
}

impl NativeFile {
    /// Looks at a file. `None`: it is no program and no shared library. An object file or an archive of them runs nowhere
    /// by itself, and a class of Java begins as a file of macOS does.
    pub fn read(bytes: &[u8]) -> Option<NativeFile> {
        if bytes.starts_with(b"\x7fELF") {
            return match bytes.get(4)? {
                1 => read_elf::<elf::FileHeader32<object::Endianness>>(bytes),
                _ => read_elf::<elf::FileHeader64<object::Endianness>>(bytes),
            };
        }
        if bytes.starts_with(b"\xca\xfe\xba\xbe") {
            return read_fat(bytes);
        }
        read_other(bytes)
    }
}

fn read_elf<H: FileHeader<Endian = object::Endianness>>(bytes: &[u8]) -> Option<NativeFile> {
    let header = H::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let interpreter = header.program_headers(endian, bytes).ok()?.iter().find_map(|segment| {
        let name = segment.interpreter(endian, bytes).ok()??;
        Some(String::from_utf8_lossy(name).into_owned())
    });
    let kind = header.e_type(endian);
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return None;
    }
    let big = endian == object::Endianness::Big;
    let architectures = BTreeSet::from([machine(header.e_machine(endian).0, header.is_type_64(), big)]);
    let mut file = NativeFile {
        format: Format::Elf,
        architectures,
        shared: kind == elf::ET_DYN && interpreter.is_none(),
        libc: interpreter.as_deref().and_then(libc_of),
        needed: BTreeSet::new(),
        glibc: None,
    };
    // A file whose sections were taken away says no more than that.
    let Ok(sections) = header.sections(endian, bytes) else { return Some(file) };
    if let Ok(table) = sections.dynamic_table(endian, bytes) {
        let needed = table.iter().filter(|entry| entry.tag == elf::DT_NEEDED);
        let names = needed.filter_map(|entry| table.string(entry).ok());
        file.needed = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    }
    file.libc = file.libc.or_else(|| file.needed.iter().find_map(|name| libc_of(name)));
    file.glibc = newest_glibc(&sections, endian, bytes);
    Some(file)
}

fn newest_glibc<H: FileHeader<Endian = object::Endianness>>(
    sections: &object::read::elf::SectionTable<'_, H>,
    endian: object::Endianness,
    bytes: &[u8],
) -> Option<Version> {
    let (needs, link) = sections.gnu_verneed(endian, bytes).ok()??;
    let strings = sections.strings(endian, bytes, link).ok()?;
    let mut newest = None;
    for (_, versions) in needs.flatten() {
        for version in versions.flatten() {
            let name =
                String::from_utf8_lossy(version.name(endian, strings).unwrap_or_default()).into_owned();
            newest = newest.max(name.strip_prefix("GLIBC_").and_then(|number| number.parse().ok()));
        }
    }
    newest
}

/// The C library that a loader (`/lib64/ld-linux-x86-64.so.2`) or a library (`libc.so.6`) belongs to.
fn libc_of(path: &str) -> Option<Libc> {
    let name = path.rsplit('/').next().unwrap_or_default();
    if name.starts_with("ld-musl-") || name.starts_with("libc.musl-") {
        Some(Libc::Musl)
    } else if name.starts_with("ld-linux")
        || name == "ld64.so.2"
        || name == "ld64.so.1"
        || name == "libc.so.6"
    {
        Some(Libc::Gnu)
    } else {
        None
    }
}

/// The architecture by the number in the header of the file.
fn machine(number: u16, wide: bool, big: bool) -> String {
    let name = match (number, wide, big) {
        (3, _, _) => "i686",
        (62, _, _) => "x86_64",
        (40, _, _) => "arm",
        (183, _, _) => "aarch64",
        (243, true, _) => "riscv64",
        (243, false, _) => "riscv32",
        (21, _, false) => "powerpc64le",
        (21, _, true) => "powerpc64",
        (20, _, _) => "powerpc",
        (22, true, _) => "s390x",
        (258, true, _) => "loongarch64",
        (8, true, _) => "mips64",
        (8, false, _) => "mips",
        _ => return format!("machine {number}"),
    };
    name.to_owned()
}

/// Several files of macOS in one. A class of Java has the same first four bytes, and then a number that is none of these.
fn read_fat(bytes: &[u8]) -> Option<NativeFile> {
    let fat = object::read::macho::MachOFatFile32::parse(bytes).ok()?;
    let mut whole: Option<NativeFile> = None;
    for arch in fat.arches() {
        use object::read::macho::FatArch as _;
        let one = read_other(arch.data(bytes).ok()?)?;
        match &mut whole {
            None => whole = Some(one),
            Some(whole) => whole.architectures.extend(one.architectures),
        }
    }
    whole
}

fn read_other(bytes: &[u8]) -> Option<NativeFile> {
    let file = object::File::parse(bytes).ok()?;
    let format = match file.format() {
        BinaryFormat::MachO => Format::MachO,
        BinaryFormat::Pe => Format::Pe,
        _ => return None,
    };
    let architecture = match file.architecture() {
        Architecture::X86_64 => "x86_64",
        Architecture::I386 => "i686",
        Architecture::Aarch64 => "aarch64",
        Architecture::Arm => "arm",
        _ => "another architecture",
    };
    let shared = match file.kind() {
        object::ObjectKind::Executable => false,
        object::ObjectKind::Dynamic => true,
        _ => return None,
    };
    Some(NativeFile {
        format,
        architectures: BTreeSet::from([architecture.to_owned()]),
        shared,
        libc: None,
        needed: BTreeSet::new(),
        glibc: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_is_one() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(looks_native(&bytes));
        let file = NativeFile::read(&bytes).unwrap();
        assert_eq!(file.architectures, BTreeSet::from([std::env::consts::ARCH.to_owned()]));
        assert!(!file.shared);
        if cfg!(all(target_os = "linux", target_env = "gnu")) {
            assert_eq!((file.format, file.libc), (Format::Elf, Some(Libc::Gnu)));
            assert!(file.needed.contains("libc.so.6") && file.glibc > Some(Version(2, 2, 0)), "{file:?}");
        }
        for end in [0, 3, 4, 5, 16, 63, 64, 100, 1000, bytes.len() / 2] {
            // Cut off anywhere, it is said to be something or nothing.
            let _ = NativeFile::read(&bytes[..end]);
        }
    }

    #[test]
    fn other_files_are_none() {
        for bytes in [
            &b""[..],
            b"\x7fELF",
            b"MZ",
            b"#!/bin/sh\n",
            b"\xca\xfe\xba\xbe\0\0\0\x34class",
            b"\xcf\xfa\xed\xfe",
        ] {
            assert_eq!(NativeFile::read(bytes), None, "{bytes:?}");
        }
        assert!(!looks_native(b"#!/bin/sh"));
    }
}
