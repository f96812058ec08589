//! Looking for secrets in what a step made: contents, names, links, and what is compressed inside of files.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use rayon::prelude::*;
use relgraph_cache::{Digest, Node, Store};

use super::{Secrets, Spellings};
use crate::action::Ran;
use crate::error::StepError;

/// How much of a file or of what is packed in it is looked at in one piece.
const WINDOW: usize = 32 << 20;
/// How deep what is packed is unpacked: a module in an archive in a package.
const DEPTH: usize = 3;
/// The most that is unpacked of one file: archives without end are no place to look for anything.
const MOST: u64 = 4 << 30;
/// How many places are named.
const SHOWN: usize = 5;

/// Where a secret was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    secret: String,
    place: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in {}", self.secret, self.place)
    }
}

/// A blob with a secret in it.
struct Found {
    place: Place,
    /// What must not stay in the store, where it is a blob.
    blob: Option<Digest>,
}

/// Fails where what a step made holds one of these secrets, and takes the blobs with it out of the store.
pub(crate) fn search(
    store: &Store,
    secrets: &Secrets,
    names: &BTreeSet<String>,
    ran: &Ran,
) -> Result<(), StepError> {
    let Some(spellings) = &secrets.spellings else { return Ok(()) };
    let look = Look { spellings, names };
    let mut found = Vec::new();
    for (name, value) in &ran.values {
        found.extend(look.text(value).map(|secret| of(secret, format!("the value `{name}`"), None)));
    }
    for probe in &ran.probes {
        let text = crate::explain::probe_text(probe);
        found.extend(
            look.text(&text).map(|secret| of(secret, "the path of a file that it read".into(), None)),
        );
    }
    for (output, tree) in &ran.outputs {
        look.tree(store, output, tree, &mut found)?;
    }
    if found.is_empty() {
        return Ok(());
    }
    for blob in found.iter().filter_map(|found| found.blob.as_ref()) {
        store.remove_blob(blob);
    }
    let mut places: Vec<Place> = found.into_iter().map(|found| found.place).collect();
    places.sort();
    places.dedup();
    Err(complaint(&places))
}

fn of(secret: &str, place: String, blob: Option<Digest>) -> Found {
    Found { place: Place { secret: secret.to_owned(), place }, blob }
}

fn complaint(places: &[Place]) -> StepError {
    let mut shown: Vec<String> = places.iter().take(SHOWN).map(|place| format!("secret {place}")).collect();
    if places.len() > SHOWN {
        shown.push(format!("and in {} more places", places.len() - SHOWN));
    }
    let name = places.first().map_or("", |place| &place.secret);
    StepError::input(format!("what it made holds a secret, so nothing of it is kept: {}", shown.join("; ")))
        .with_hint(format!(
            "read {name} when the release starts (config/runtime.exs), or do not write it down; what everybody may see who \
             has the release is no secret: `pass_env: [{name}]` or `env:` is for that"
        ))
}

struct Look<'a> {
    spellings: &'a Spellings,
    names: &'a BTreeSet<String>,
}

impl<'a> Look<'a> {
    /// The first secret in some bytes, and where it begins.
    fn first(&self, bytes: &[u8]) -> Option<(&'a str, usize)> {
        self.spellings.finder.find_iter(bytes).find_map(|found| {
            let (name, part) = self.spellings.of.get(found.pattern().as_usize())?;
            (!part && self.names.contains(name)).then_some((name.as_str(), found.start()))
        })
    }

    fn text(&self, text: &str) -> Option<&'a str> {
        self.first(text.as_bytes()).map(|(name, _)| name)
    }

    fn tree(
        &self,
        store: &Store,
        output: &str,
        tree: &Digest,
        found: &mut Vec<Found>,
    ) -> Result<(), StepError> {
        let mut files: Vec<(String, Digest)> = Vec::new();
        let mut folders = vec![(String::new(), *tree)];
        let mut seen = BTreeSet::new();
        while let Some((at, digest)) = folders.pop() {
            for (name, node) in &store.directory(&digest)?.entries {
                let path = if at.is_empty() { name.clone() } else { format!("{at}/{name}") };
                if let Some(secret) = self.text(name) {
                    // The path is not shown: it says the secret.
                    let place = format!("the name of a file in `{output}`");
                    found.push(of(secret, place, Some(digest)));
                }
                match node {
                    Node::Directory { digest } => folders.push((path, *digest)),
                    Node::File { digest, .. } => {
                        if seen.insert(*digest) {
                            files.push((path, *digest));
                        }
                    }
                    Node::Symlink { target } => {
                        if let Some(secret) = self.text(target) {
                            let place = format!("where the link {path} leads");
                            found.push(of(secret, place, Some(digest)));
                        }
                    }
                }
            }
        }
        let looked: Result<Vec<Option<Found>>, StepError> = files
            .par_iter()
            .map(|(path, digest)| {
                let real = store.blob_path(digest, false);
                let file = File::open(&real).map_err(|e| StepError::io("read", &real, &e))?;
                let hit = self.reader(file, 0, &mut 0).map_err(|e| StepError::io("read", &real, &e))?;
                Ok(hit.map(|(secret, place)| of(secret, format!("{path}, {place}"), Some(*digest))))
            })
            .collect();
        found.extend(looked?.into_iter().flatten());
        Ok(())
    }

    /// Looks at all that can be read, in pieces that overlap. `unpacked` counts what was unpacked so far.
    fn reader(
        &self,
        mut reader: impl Read,
        depth: usize,
        unpacked: &mut u64,
    ) -> std::io::Result<Option<(&'a str, String)>> {
        let mut window = Vec::new();
        let (mut before, mut lines) = (0, 0);
        loop {
            let kept = window.len();
            let read = reader.by_ref().take((WINDOW - kept) as u64).read_to_end(&mut window);
            // What is packed and torn is looked at as far as it goes.
            let more = match read {
                Ok(count) => count > 0,
                Err(error) if depth == 0 => return Err(error),
                Err(_) => false,
            };
            if depth > 0 {
                *unpacked += (window.len() - kept) as u64;
            }
            if let Some((secret, at)) = self.first(&window) {
                let line = lines + window[..at].iter().filter(|&&b| b == b'\n').count() + 1;
                let place = match depth {
                    0 if !window.contains(&0) => format!("line {line}"),
                    0 => format!("at byte {}", before + at),
                    _ => "compressed".to_owned(),
                };
                return Ok(Some((secret, place)));
            }
            if depth < DEPTH
                && let Some(found) = self.packed(&window, depth, unpacked)
            {
                return Ok(Some(found));
            }
            if !more || *unpacked > MOST {
                return Ok(None);
            }
            let gone = window.len().saturating_sub(self.spellings.longest);
            lines += window[..gone].iter().filter(|&&b| b == b'\n').count();
            before += gone;
            window.drain(..gone);
        }
    }

    /// Looks into what is compressed: literals and debug information of modules, archives, packages.
    fn packed(&self, bytes: &[u8], depth: usize, unpacked: &mut u64) -> Option<(&'a str, String)> {
        let mut from = 0;
        while let Some(found) = beginnings().find(bytes.get(from..)?) {
            let at = from + found.start();
            from = at + 1;
            let rest = &bytes[at..];
            let mut consumed = 0;
            let hit = match found.pattern().as_usize() {
                GZIP => self.reader(MultiGzDecoder::new(rest), depth + 1, unpacked),
                ZIP => match zipped(rest) {
                    Some(packed) => self.reader(DeflateDecoder::new(packed), depth + 1, unpacked),
                    None => continue,
                },
                _ => {
                    let mut inflate = ZlibDecoder::new(rest);
                    let hit = self.reader(&mut inflate, depth + 1, unpacked);
                    consumed = usize::try_from(inflate.total_in()).unwrap_or(0);
                    // What only looked like the beginning of something says nothing of what follows.
                    if inflate.total_out() < 64 {
                        consumed = 0;
                    }
                    hit
                }
            };
            if let Ok(Some((secret, _))) = hit {
                return Some((secret, format!("compressed, at byte {at}")));
            }
            if *unpacked > MOST {
                return None;
            }
            from = from.max(at + consumed.min(rest.len()));
        }
        None
    }
}

const GZIP: usize = 0;
const ZIP: usize = 1;

/// What compressed data begins with: gzip, an entry of a zip archive, zlib in its four usual ways.
fn beginnings() -> &'static AhoCorasick {
    static BEGINNINGS: OnceLock<AhoCorasick> = OnceLock::new();
    BEGINNINGS.get_or_init(|| {
        let patterns: [&[u8]; 6] =
            [b"\x1f\x8b\x08", b"PK\x03\x04", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"];
        // Six short constants make an automaton.
        AhoCorasick::new(patterns).expect("an automaton")
    })
}

/// The compressed bytes of an entry of a zip archive, and what follows.
fn zipped(entry: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(usize::from(u16::from_le_bytes(entry.get(at..at + 2)?.try_into().ok()?)));
    (word(8)? == 8).then_some(())?;
    entry.get(30 + word(26)? + word(28)?..)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::tests::secrets;
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    const VALUE: &str = "s3cr3t-value";

    fn find(bytes: &[u8]) -> Option<String> {
        let secrets = secrets(&[("T", VALUE)]);
        let names = BTreeSet::from(["T".to_owned()]);
        let look = Look { spellings: secrets.spellings.as_ref().unwrap(), names: &names };
        look.reader(bytes, 0, &mut 0).unwrap().map(|(name, place)| format!("{name}: {place}"))
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn noise(count: usize) -> Vec<u8> {
        let mut state = 1u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn places_are_told_by_line_or_by_byte() {
        assert_eq!(find(format!("a\nb\nx={VALUE}\n").as_bytes()), Some("T: line 3".into()));
        assert_eq!(find(format!("\0{VALUE}").as_bytes()), Some("T: at byte 1".into()));
        assert_eq!(find(b"nothing of that kind"), None);
    }

    #[test]
    fn what_is_compressed_is_looked_into() {
        let secret = format!("some text before, {VALUE}, and some behind").repeat(3);
        let module = [b"FOR1....LitT".to_vec(), zlib(secret.as_bytes()), noise(50_000)].concat();
        assert!(find(&module).unwrap().contains("compressed, at byte 12"));
        assert!(find(&gzip(&module)).is_some());
        assert!(find(&gzip(&[noise(100_000), module.clone()].concat())).is_some());
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
        deflated.write_all(secret.as_bytes()).unwrap();
        let mut entry = b"PK\x03\x04\x14\0\0\0\x08\0".to_vec();
        entry.extend([0; 16]);
        entry.extend([3, 0, 0, 0]);
        entry.extend(b"a.x");
        entry.extend(deflated.finish().unwrap());
        assert!(find(&entry).is_some());
        // Behind something that only looks like it.
        assert!(find(&[b"\x78\x9c\x78\x9c".to_vec(), noise(1000), module].concat()).is_some());
        assert_eq!(find(&[noise(200_000), gzip(&noise(100_000))].concat()), None);
    }

    #[test]
    fn pieces_overlap() {
        let at = WINDOW - 5;
        let mut bytes = vec![b'a'; at];
        bytes.extend_from_slice(VALUE.as_bytes());
        bytes.extend(vec![b'b'; 100]);
        assert_eq!(find(&bytes), Some("T: line 1".into()));
        let packed = gzip(&bytes);
        assert!(find(&packed).is_some());
    }
}
