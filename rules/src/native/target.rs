//! The machines that a release is for: architecture, system, C library.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{nearest, shown};

/// A version of a library in numbers: 2.31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)?;
        if self.2 > 0 { write!(f, ".{}", self.2) } else { Ok(()) }
    }
}

impl FromStr for Version {
    type Err = ();

    /// Two or three numbers with dots between them.
    fn from_str(text: &str) -> Result<Version, ()> {
        let numbers: Vec<u32> =
            text.split('.').map(|part| part.parse().map_err(drop)).collect::<Result<_, _>>()?;
        match numbers[..] {
            [major, minor] => Ok(Version(major, minor, 0)),
            [major, minor, patch] => Ok(Version(major, minor, patch)),
            _ => Err(()),
        }
    }
}

/// A C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Libc {
    /// glibc.
    Gnu,
    /// musl.
    Musl,
}

impl Libc {
    /// How a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Libc::Gnu => "the GNU C library",
            Libc::Musl => "musl",
        }
    }
}

/// The machines that a release is for. What is `None` is not known, and fits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The architecture, by the first part of a target triple: `x86_64`, `aarch64`.
    pub arch: Option<String>,
    /// The C library.
    pub libc: Option<Libc>,
    /// The newest version of the GNU C library that a file may ask for.
    pub ceiling: Option<Version>,
}

/// Distributions, and their GNU C library.
const DISTRIBUTIONS: [(&str, Version); 16] = [
    ("debian10", Version(2, 28, 0)),
    ("debian11", Version(2, 31, 0)),
    ("debian12", Version(2, 36, 0)),
    ("debian13", Version(2, 41, 0)),
    ("ubuntu18.04", Version(2, 27, 0)),
    ("ubuntu20.04", Version(2, 31, 0)),
    ("ubuntu22.04", Version(2, 35, 0)),
    ("ubuntu24.04", Version(2, 39, 0)),
    ("centos7", Version(2, 17, 0)),
    ("rhel7", Version(2, 17, 0)),
    ("rhel8", Version(2, 28, 0)),
    ("rhel9", Version(2, 34, 0)),
    ("rhel10", Version(2, 39, 0)),
    ("amazonlinux2", Version(2, 26, 0)),
    ("amazonlinux2023", Version(2, 34, 0)),
    ("sles15", Version(2, 26, 0)),
];

/// Architectures, with what else they are called.
const ARCHITECTURES: [(&str, &[&str]); 9] = [
    ("x86_64", &["amd64", "x64"]),
    ("aarch64", &["arm64"]),
    ("i686", &["i386", "i586", "x86"]),
    ("arm", &["armv6", "armv7", "armhf"]),
    ("riscv64", &["riscv64gc"]),
    ("powerpc64le", &["ppc64le", "ppc64el"]),
    ("powerpc64", &["ppc64"]),
    ("s390x", &[]),
    ("loongarch64", &[]),
];

fn architecture(word: &str) -> Option<&'static str> {
    ARCHITECTURES.iter().find(|(name, also)| *name == word || also.contains(&word)).map(|(name, _)| *name)
}

impl FromStr for Target {
    type Err = String;

    /// `[ARCH-]SYSTEM[-VERSION]`: `x86_64-linux-gnu-2.31`, `aarch64-linux-musl`, `debian12`, `aarch64-alpine`. The vendor
    /// of a target triple may be there, and means nothing.
    fn from_str(text: &str) -> Result<Target, String> {
        let refused = |why: String| format!("`{}` is no target: {why}", shown(text));
        let mut words: Vec<&str> = text.split('-').collect();
        let arch = words.first().and_then(|word| architecture(word));
        if arch.is_some() {
            words.remove(0);
        } else if words.len() > 2 && words[0] != "linux" {
            let known = ARCHITECTURES.iter().map(|(name, _)| *name);
            let why = match nearest(words[0], known.clone()) {
                Some(near) => format!("`{}` is no architecture that is known; `{near}` is", shown(words[0])),
                None => {
                    let all: Vec<&str> = known.collect();
                    format!(
                        "`{}` is no architecture that is known; those are {}",
                        shown(words[0]),
                        all.join(", ")
                    )
                }
            };
            return Err(refused(why));
        }
        words.retain(|word| !["pc", "unknown"].contains(word));
        let mut target = Target { arch: arch.map(str::to_owned), ..Target::default() };
        match words[..] {
            [] => {}
            ["alpine"] => target.libc = Some(Libc::Musl),
            ["linux", libc, ref rest @ ..] if rest.len() < 2 => {
                target.libc = Some(match libc {
                    "gnu" | "gnueabihf" | "gnueabi" => Libc::Gnu,
                    "musl" | "musleabihf" | "musleabi" => Libc::Musl,
                    other => {
                        return Err(refused(format!(
                            "its C library is `gnu` or `musl`, and not `{}`",
                            shown(other)
                        )));
                    }
                });
                if let [version] = rest {
                    if target.libc == Some(Libc::Musl) {
                        return Err(refused("musl has no versions to tell apart".into()));
                    }
                    let version = version
                        .parse()
                        .map_err(|()| refused(format!("`{}` is no version like 2.31", shown(version))))?;
                    target.ceiling = Some(version);
                }
            }
            [name] if name != "linux" => {
                let Some((_, version)) = DISTRIBUTIONS.iter().find(|(known, _)| *known == name) else {
                    let near = nearest(name, DISTRIBUTIONS.iter().map(|(known, _)| *known));
                    let more = near.map(|near| format!("; `{near}` is")).unwrap_or_default();
                    return Err(refused(format!("`{}` is no distribution that is known{more}", shown(name))));
                };
                target.libc = Some(Libc::Gnu);
                target.ceiling = Some(*version);
            }
            _ => {
                return Err(refused("write ARCHITECTURE-linux-gnu, perhaps with -VERSION".into()));
            }
        }
        Ok(target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.arch.as_deref().unwrap_or("any architecture"))?;
        match self.libc {
            Some(Libc::Gnu) => f.write_str("-linux-gnu")?,
            Some(Libc::Musl) => f.write_str("-linux-musl")?,
            None => {}
        }
        self.ceiling.map_or(Ok(()), |version| write!(f, "-{version}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn target(text: &str) -> String {
        text.parse::<Target>().unwrap().to_string()
    }

    #[test]
    fn targets_are_written_in_several_ways() {
        assert_eq!(target("x86_64-linux-gnu"), "x86_64-linux-gnu");
        assert_eq!(target("amd64-pc-linux-gnu-2.31"), "x86_64-linux-gnu-2.31");
        assert_eq!(target("arm64-unknown-linux-musl"), "aarch64-linux-musl");
        assert_eq!(target("aarch64-debian12"), "aarch64-linux-gnu-2.36");
        assert_eq!(target("ubuntu22.04"), "any architecture-linux-gnu-2.35");
        assert_eq!(target("alpine"), "any architecture-linux-musl");
        assert_eq!(target("armv7-linux-gnueabihf"), "arm-linux-gnu");
        assert_eq!(target("riscv64"), "riscv64");
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let message = text.parse::<Target>().unwrap_err();
        assert!(message.contains(why), "{message}");
    }

    #[test]
    fn what_is_no_target_is_refused_with_a_reason() {
        refused("x86-64-linux-gnu", "ARCHITECTURE-linux-gnu");
        refused("x86_63-linux-gnu", "`x86_64` is");
        refused("z80-linux-gnu", "those are x86_64");
        refused("x86_64-linux-uclibc", "`gnu` or `musl`");
        refused("x86_64-linux-gnu-new", "no version like 2.31");
        refused("x86_64-linux-musl-1.2", "no versions");
        refused("debain12", "`debian12` is");
        refused("linux", "ARCHITECTURE-linux-gnu");
        refused("x86_64-linux-gnu-2.31-more", "ARCHITECTURE-linux-gnu");
    }
}
