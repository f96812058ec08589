//! Tarballs of Hex packages: checked against the lock, then unpacked as Hex unpacks them.
//!
//! A tarball holds `VERSION`, `CHECKSUM`, `metadata.config` and `contents.tar.gz`. The outer checksum is that of the
//! whole file, the inner one that of version, metadata and contents in a row.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use relgraph_cache::{Digest, Node, Store};
use relgraph_engine::{StepError, StepErrorKind};
use sha2::{Digest as _, Sha256};

use super::Whose;
use crate::archive::{self, ArchiveError, Most};
use crate::etf::{self, Term};
use crate::lock::HexPackage;
use crate::tool::Tool;

/// Bytes of the largest tarball that is downloaded: Hex itself takes a sixteenth of it.
pub(super) const LARGEST: u64 = 256 << 20;
/// What may be in one.
const MOST: Most = Most { entries: 200_000, bytes: 2 << 30 };
/// The version of the format.
const VERSION: &[u8] = b"3";

/// Whether a file that Hex has kept is the one that the lock means.
pub(super) fn is_whole(path: &Path, package: &HexPackage) -> bool {
    match &package.outer {
        Some(outer) => sum_of_file(path).is_ok_and(|sum| sum == *outer),
        None => Parts::read(path).is_ok_and(|parts| Some(parts.inner()) == package.inner),
    }
}

/// Checks a tarball against the lock and puts its contents into the store, with what Hex writes beside them.
pub(super) fn unpack(
    store: &Store,
    whose: &Whose,
    path: &Path,
    package: &HexPackage,
) -> Result<Digest, StepError> {
    let HexPackage { name, version, .. } = package;
    if let Some(outer) = &package.outer {
        agree(whose, package, outer, &sum_of_file(path).map_err(|e| StepError::io("read", path, &e))?)?;
    }
    let refused = |reason: String| {
        let message = format!("the package {name} {version} cannot be unpacked: {reason}");
        StepError::new(StepErrorKind::Exit, message)
            .with_hint("the server may not be a Hex repository, or was interrupted")
    };
    let parts = Parts::read(path).map_err(refused)?;
    if let Some(inner) = &package.inner {
        agree(whose, package, inner, &parts.inner())?;
    }
    if parts.version != VERSION {
        let found = String::from_utf8_lossy(&parts.version).into_owned();
        return Err(refused(format!("its format is of version {found:?}, and only 3 is known")));
    }
    let tar = MultiGzDecoder::new(&parts.contents[..]).take(2 * MOST.bytes);
    let mut tree = archive::unpack(store, tar, MOST).map_err(|error| match error {
        ArchiveError::Refused(reason) => refused(reason),
        ArchiveError::Io(error) => refused(error.to_string()),
        ArchiveError::Store(error) => error.into(),
    })?;
    let written: [(&str, &[u8]); 3] = [
        ("hex_metadata.config", &parts.metadata),
        (".hex", &encode(package, &managers(&parts.metadata))),
        // Mix's mark that a dependency was fetched.
        (".fetch", b""),
    ];
    for (file, bytes) in written {
        tree.replace(file, Node::File { digest: store.put_bytes(bytes)?, executable: false })?;
    }
    Ok(tree.finish(store)?)
}

fn agree(whose: &Whose, package: &HexPackage, locked: &str, found: &str) -> Result<(), StepError> {
    if locked == found {
        return Ok(());
    }
    let HexPackage { name, version, .. } = package;
    let message = format!(
        "the package {name} {version} is not the one that was locked: its checksum is {found}, the lock says {locked}"
    );
    let trusting = match whose.tool {
        Tool::Rebar3 => "`rebar3 unlock` and `rebar3 lock` trust",
        _ => "`mix deps.unlock` and `mix deps.get` trust",
    };
    let hint = format!(
        "the server or the lock is wrong: compare with another server (HEX_MIRROR), and with what version control \
         says of the lock; {trusting} the server"
    );
    Err(StepError::new(StepErrorKind::Exit, message).with_hint(hint))
}

fn sum_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The four files of a tarball.
struct Parts {
    version: Vec<u8>,
    metadata: Vec<u8>,
    contents: Vec<u8>,
}

impl Parts {
    fn read(path: &Path) -> Result<Parts, String> {
        let said = |error: io::Error| error.to_string();
        let file = BufReader::new(File::open(path).map_err(said)?).take(LARGEST);
        let mut archive = tar::Archive::new(file);
        let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for entry in archive.entries().map_err(said)? {
            let mut entry = entry.map_err(said)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.size() > LARGEST {
                return Err(format!("{name} is too large"));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(said)?;
            found.insert(name, bytes);
        }
        let mut take = |name: &str| found.remove(name).ok_or_else(|| format!("it has no {name}"));
        take("CHECKSUM")?;
        Ok(Parts {
            version: take("VERSION")?,
            metadata: take("metadata.config")?,
            contents: take("contents.tar.gz")?,
        })
    }

    fn inner(&self) -> String {
        let mut hasher = Sha256::new();
        for part in [&self.version, &self.metadata, &self.contents] {
            hasher.update(part);
        }
        hex(&hasher.finalize())
    }
}

/// The build tools of a package: those that it names, or what its files are for.
fn managers(metadata: &[u8]) -> Vec<String> {
    let terms = Term::list(etf::consult(metadata).unwrap_or_default());
    let field = |name: &str| {
        let found = terms.as_list()?.iter().find_map(|pair| match pair.as_tuple()? {
            [key, value] if key.as_text().as_deref() == Some(name) => Some(value.clone()),
            _ => None,
        });
        found?.elements()
    };
    let mut tools: Vec<String> = match field("build_tools") {
        Some(tools) => tools.iter().filter_map(Term::as_text).collect(),
        None => {
            let files: Vec<String> =
                field("files").unwrap_or_default().iter().filter_map(Term::as_text).collect();
            let by = [
                ("mix.exs", "mix"),
                ("rebar.config", "rebar"),
                ("rebar", "rebar"),
                ("Makefile", "make"),
                ("Makefile.win", "make"),
            ];
            by.iter()
                .filter(|(file, _)| files.iter().any(|f| f == file))
                .map(|(_, t)| (*t).to_owned())
                .collect()
        }
    };
    tools.sort();
    tools.dedup();
    tools
}

/// The file `.hex`, by which Hex knows what lies in a folder.
fn encode(package: &HexPackage, managers: &[String]) -> Vec<u8> {
    let text = |text: &str| Term::Binary(text.as_bytes().to_vec());
    let sum = |sum: &Option<String>| sum.as_deref().map_or(Term::atom("nil"), text);
    let pairs = vec![
        (Term::atom("name"), text(&package.name)),
        (Term::atom("version"), text(&package.version)),
        (Term::atom("inner_checksum"), sum(&package.inner)),
        (Term::atom("outer_checksum"), sum(&package.outer)),
        (Term::atom("repo"), text(&package.repo)),
        (Term::atom("managers"), Term::list(managers.iter().map(Term::atom).collect())),
    ];
    let head = Term::Tuple(vec![Term::atom("hex"), Term::Integer(2), Term::Integer(0)]);
    etf::encode(&Term::Tuple(vec![head, Term::map(pairs).0]))
}

/// What a file `.hex` says lies beside it. Compared as Hex does.
#[derive(Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    inner: Option<String>,
    outer: Option<String>,
    repo: Option<String>,
}

impl Manifest {
    /// Whether that is what the lock names.
    pub fn is(&self, package: &HexPackage) -> bool {
        let outer = match (&self.outer, &package.outer) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        let repo = self.repo.as_deref().unwrap_or(crate::lock::PUBLIC);
        let named =
            (&self.name, &self.version, repo) == (&package.name, &package.version, package.repo.as_str());
        named && outer && (self.inner == package.inner || package.inner.is_none())
    }
}

/// Reads a file `.hex`: a term, or the line of text that Hex wrote before its version 0.20.
pub fn manifest(bytes: &[u8]) -> Option<Manifest> {
    let Ok(term) = etf::decode(bytes) else { return old(std::str::from_utf8(bytes).ok()?) };
    let [head, fields] = term.as_tuple()? else { return None };
    head.as_tagged("hex").filter(|version| matches!(version.first(), Some(Term::Integer(1 | 2))))?;
    let text = |key: &str| fields.get(key).and_then(Term::as_text);
    Some(Manifest {
        name: text("name")?,
        version: text("version")?,
        inner: text("inner_checksum").map(|sum| sum.to_ascii_lowercase()),
        outer: text("outer_checksum").map(|sum| sum.to_ascii_lowercase()),
        repo: text("repo"),
    })
}

fn old(text: &str) -> Option<Manifest> {
    let mut parts = text.lines().next()?.trim().split(',').map(str::to_owned);
    let (name, version) = (parts.next()?, parts.next()?);
    let inner = parts.next().map(|sum| sum.to_ascii_lowercase());
    Some(Manifest { name, version, inner, outer: None, repo: parts.next().filter(|repo| !repo.is_empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> HexPackage {
        HexPackage {
            name: "a".into(),
            version: "1.0.0".into(),
            inner: Some("12".into()),
            outer: Some("34".into()),
            managers: None,
            children: None,
            repo: "hexpm".into(),
        }
    }

    #[test]
    fn a_manifest_is_what_the_lock_names_or_not() {
        let own = manifest(&encode(&package(), &["mix".to_owned()])).expect("a manifest");
        assert!(own.is(&package()));
        for other in [
            HexPackage { version: "1.0.1".into(), ..package() },
            HexPackage { outer: Some("35".into()), ..package() },
            HexPackage { inner: Some("13".into()), ..package() },
            HexPackage { repo: "hexpm:acme".into(), ..package() },
        ] {
            assert!(!own.is(&other), "{other:?}");
        }
        assert!(own.is(&HexPackage { outer: None, ..package() }));
        let old = manifest(b"a,1.0.0,12,hexpm\nmix,rebar3").expect("an old manifest");
        assert!(old.is(&package()));
        assert_eq!(manifest(b"\x83\x64\x00\x01x"), None);
    }

    #[test]
    fn build_tools_are_named_or_follow_from_the_files() {
        assert_eq!(
            managers(b"{<<\"build_tools\">>,[<<\"rebar3\">>,<<\"mix\">>,<<\"mix\">>]}."),
            ["mix", "rebar3"]
        );
        assert_eq!(
            managers(b"{<<\"files\">>,[<<\"Makefile\">>,<<\"rebar.config\">>,<<\"src/mix.exs\">>]}."),
            ["make", "rebar"]
        );
        assert!(managers(b"{").is_empty());
    }
}
