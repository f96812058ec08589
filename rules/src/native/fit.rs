//! Whether a native file runs on the machines that a release is for.

use serde::Serialize;

use super::file::{Format, NativeFile};
use super::target::{Libc, Target, Version};

/// Why a file does not run there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Misfit {
    /// It is for another system: macOS, Windows.
    System(Format),
    /// It is for another architecture.
    Architecture(String),
    /// It is for another C library.
    Libc(Libc),
    /// It asks for a newer GNU C library.
    Glibc(Version),
}

/// Why a file does not run on the machines of a target; `None`: nothing says that it does not.
pub fn fit(file: &NativeFile, target: &Target) -> Option<Misfit> {
    if file.format != Format::Elf {
        return Some(Misfit::System(file.format));
    }
    if let Some(arch) = &target.arch
        && !file.architectures.contains(arch)
    {
        return Some(Misfit::Architecture(file.architectures.iter().cloned().collect::<Vec<_>>().join(", ")));
    }
    if let (Some(wanted), Some(libc)) = (target.libc, file.libc)
        && wanted != libc
    {
        return Some(Misfit::Libc(libc));
    }
    match (target.ceiling, file.glibc) {
        (Some(ceiling), Some(version)) if version > ceiling => Some(Misfit::Glibc(version)),
        _ => None,
    }
}

impl Target {
    /// What a file of the runtime says about the machines that it is for; what is given says more.
    pub fn or_of(mut self, runtime: &NativeFile) -> Target {
        self.arch = self.arch.or_else(|| runtime.architectures.first().cloned());
        self.libc = self.libc.or(runtime.libc);
        self
    }
}

/// Whether machines of every distribution have a library: what belongs to the C library, and the libraries of the compiler.
pub(crate) fn is_everywhere(name: &str) -> bool {
    const BASE: [&str; 13] = [
        "libc.so",
        "libm.so",
        "libdl.so",
        "libpthread.so",
        "librt.so",
        "libutil.so",
        "libresolv.so",
        "libnsl.so",
        "libanl.so",
        "libcrypt.so",
        "libgcc_s.so",
        "libstdc++.so",
        "linux-vdso.so",
    ];
    let loader = name.starts_with("ld-linux") || name.starts_with("ld-musl-") || name.starts_with("ld64.so");
    loader
        || name.starts_with("libc.musl-")
        || BASE
            .iter()
            .any(|base| name == *base || name.strip_prefix(base).is_some_and(|rest| rest.starts_with('.')))
}
