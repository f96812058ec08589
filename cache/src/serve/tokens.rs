//! Who may do what: [`Tokens`], read from files of lines `NAME TOKEN`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::ServeError;
use super::names::Partition;

/// Who may write what with the tokens of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTokens {
    /// The file.
    pub file: PathBuf,
    /// The only partition that they write entries to; `None`: all. With a partition, entries are read from it and from the
    /// main one.
    pub partition: Option<Partition>,
}

/// What a request may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// The name of the token; what those without one are called.
    pub name: Arc<str>,
    write: bool,
    only: Option<Partition>,
}

impl Grant {
    /// Whether blobs may be stored, and entries in some partition.
    pub fn writes(&self) -> bool {
        self.write
    }

    pub fn reads_from(&self, partition: &Partition) -> bool {
        match &self.only {
            Some(only) => partition == only || partition.name().is_empty(),
            None => true,
        }
    }

    pub fn writes_to(&self, partition: &Partition) -> bool {
        self.write && self.only.as_ref().is_none_or(|only| only == partition)
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranger {
    /// It shows no token, and one is needed.
    NoToken,
    /// It shows a token that is not known, or something else.
    Unknown,
}

/// The tokens that are known, by their hashes.
#[derive(Debug, Clone)]
pub(super) struct Tokens {
    known: Vec<(blake3::Hash, Grant)>,
    /// What those may do who show none.
    anonymous: Option<Grant>,
    /// Files that others than their owner may read.
    pub exposed: Vec<PathBuf>,
}

const ANONYMOUS: &str = "anonymous";

impl Tokens {
    /// Reads all files. `anonymous_writes` counts where there is no file of tokens for writing.
    pub fn read(
        readers: &[PathBuf],
        writers: &[WriteTokens],
        anonymous_writes: bool,
    ) -> Result<Tokens, ServeError> {
        let mut known = Vec::new();
        let mut exposed = Vec::new();
        let everybody_writes = anonymous_writes && writers.is_empty();
        let files = readers.iter().map(|file| (file, everybody_writes, None));
        let files = files.chain(writers.iter().map(|one| (&one.file, true, one.partition.clone())));
        for (file, write, only) in files {
            if read_file(file, |name, token| {
                known.push((blake3::hash(token), Grant { name: name.into(), write, only: only.clone() }));
            })? {
                exposed.push(file.clone());
            }
        }
        let everybody_reads = readers.is_empty();
        let anonymous =
            everybody_reads.then(|| Grant { name: ANONYMOUS.into(), write: everybody_writes, only: None });
        Ok(Tokens { known, anonymous, exposed })
    }

    /// What whoever shows this header may do.
    pub fn grant(&self, authorization: Option<&[u8]>) -> Result<Grant, Stranger> {
        let Some(header) = authorization else { return self.anonymous.clone().ok_or(Stranger::NoToken) };
        let shown = shown_token(header).ok_or(Stranger::Unknown)?;
        let shown = blake3::hash(&shown);
        // Hashes are compared in constant time, and all of them.
        let mut found = None;
        for (hash, grant) in &self.known {
            if *hash == shown {
                found = Some(grant);
            }
        }
        found.cloned().ok_or(Stranger::Unknown)
    }
}

/// The token in a header: `Bearer TOKEN`, or `Basic` with any name and the token as the password.
fn shown_token(header: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(header).ok()?.trim();
    let (scheme, value) = text.split_once(' ')?;
    let value = value.trim_start();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(value).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Reads a file of lines `NAME TOKEN`, or `TOKEN`; empty lines and those that begin with `#` are comments. True: others than
/// its owner may read it.
fn read_file(path: &Path, mut take: impl FnMut(&str, &[u8])) -> Result<bool, ServeError> {
    let text = fs::read_to_string(path).map_err(|error| ServeError::io(path, "read", error))?;
    let mode = fs::metadata(path).map_err(|error| ServeError::io(path, "read", error))?.permissions().mode();
    let mut count = 0;
    for (line, text) in (1..).zip(text.lines()) {
        let wrong = |what| ServeError::Tokens { path: path.to_owned(), line, what };
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some(word), ..) if word.starts_with('#') => continue,
            (Some(token), None, _) => take("token", token.as_bytes()),
            (Some(name), Some(token), None) => {
                if name.chars().count() > 64 || name == ANONYMOUS {
                    return Err(wrong("this cannot be the name of a token"));
                }
                take(name, token.as_bytes());
            }
            _ => return Err(wrong("a line is `NAME TOKEN`")),
        }
        count += 1;
    }
    if count == 0 {
        return Err(ServeError::Tokens { path: path.to_owned(), line: 1, what: "there is no token in it" });
    }
    Ok(mode & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        path
    }

    fn part(name: &str) -> Partition {
        Partition::parse(name).expect("a partition")
    }

    #[test]
    fn a_token_says_what_may_be_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let readers = [file(folder.path(), "r", "# people\n\nann  s3cret\nbob s4cret\n")];
        let writers = [
            WriteTokens { file: file(folder.path(), "w", "ci writes"), partition: None },
            WriteTokens { file: file(folder.path(), "p", "prtoken\n"), partition: Some(part("pr")) },
        ];
        let tokens = Tokens::read(&readers, &writers, true).expect("read");
        assert!(tokens.exposed.is_empty());
        assert_eq!(tokens.grant(None), Err(Stranger::NoToken));
        for wrong in
            ["Bearer s3cre", "Bearer", "s3cret", "Basic czNjcmV0", "Basic !", "Digest s3cret", "\u{e4}"]
        {
            assert_eq!(tokens.grant(Some(wrong.as_bytes())), Err(Stranger::Unknown), "{wrong}");
        }
        let grant = |header: &str| tokens.grant(Some(header.as_bytes())).expect("known");
        let ann = grant("bearer s3cret");
        assert!(&*ann.name == "ann" && !ann.writes() && ann.reads_from(&part("pr")));
        assert_eq!(grant(&format!("Basic {}", STANDARD.encode("x:s3cret"))), ann);
        let ci = grant("Bearer writes");
        assert!(ci.writes_to(&part("")) && ci.writes_to(&part("pr")) && ci.reads_from(&part("x")));
        let pr = grant("Bearer prtoken");
        assert!(pr.reads_from(&part("")) && pr.reads_from(&part("pr")) && !pr.reads_from(&part("x")));
        assert!(pr.writes_to(&part("pr")) && !pr.writes_to(&part("")) && pr.writes());
    }

    #[test]
    fn without_tokens_everybody_reads_and_nobody_writes_unless_allowed() {
        let nobody = Tokens::read(&[], &[], false).expect("none").grant(None).expect("let in");
        assert!(nobody.reads_from(&part("")) && !nobody.writes());
        assert!(Tokens::read(&[], &[], true).expect("none").grant(None).expect("let in").writes());
    }

    #[test]
    fn what_is_no_file_of_tokens_is_refused_without_telling_them() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["", "# none\n", "a b c\n", "ok s3cret\nanonymous s3cret\n"] {
            let path = file(folder.path(), "t", text);
            let error = Tokens::read(&[path], &[], false).expect_err("refused");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        let path = file(folder.path(), "t", "s3cret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("its mode");
        let tokens = Tokens::read(std::slice::from_ref(&path), &[], false).expect("read");
        assert_eq!(tokens.exposed, [path]);
        assert!(!format!("{tokens:?}").contains("s3cret"));
    }
}
