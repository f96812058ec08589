//! Cutting secrets out of a stream that arrives in pieces.

use super::{Secrets, Spellings};

/// One stream. What may be the beginning of a value is held back until more is known.
#[derive(Default)]
pub(crate) struct Redaction {
    held: Vec<u8>,
}

impl Redaction {
    /// Takes a piece, and gives what can be passed on.
    pub fn push(&mut self, secrets: &Secrets, piece: &[u8]) -> Vec<u8> {
        let Some(spellings) = &secrets.spellings else { return piece.to_vec() };
        self.held.extend_from_slice(piece);
        let held = std::mem::take(&mut self.held);
        let safe = spellings.beginning(&held).unwrap_or(held.len());
        let mut out = Vec::with_capacity(held.len());
        let mut from = 0;
        for found in spellings.finder.find_iter(&held).take_while(|found| found.start() < safe) {
            out.extend_from_slice(&held[from..found.start()]);
            out.extend_from_slice(spellings.cover(found.pattern().as_usize()).as_bytes());
            from = found.end();
        }
        let safe = safe.max(from);
        out.extend_from_slice(&held[from..safe]);
        self.held = held[safe..].to_vec();
        out
    }

    /// Gives what was held back: nothing comes any more.
    pub fn finish(self, secrets: &Secrets) -> Vec<u8> {
        secrets.redact(&self.held).into_owned()
    }
}

impl Spellings {
    /// Where the longest end of `bytes` begins that a longer spelling may begin with.
    fn beginning(&self, bytes: &[u8]) -> Option<usize> {
        let first = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        (first..bytes.len()).find(|&at| {
            let end = &bytes[at..];
            self.patterns.iter().any(|pattern| pattern.len() > end.len() && pattern.starts_with(end))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::secrets;
    use super::*;
    use proptest::prelude::*;

    fn through(secrets: &Secrets, pieces: &[&[u8]]) -> String {
        let mut redaction = Redaction::default();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(redaction.push(secrets, piece));
        }
        out.extend(redaction.finish(secrets));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_in_two_pieces_is_found() {
        let secrets = secrets(&[("T", "s3cr3t-value")]);
        for at in 0.."a s3cr3t-value b".len() {
            let (one, two) = "a s3cr3t-value b".split_at(at);
            assert_eq!(through(&secrets, &[one.as_bytes(), two.as_bytes()]), "a [secret T] b", "{at}");
        }
        // What only begins like one is passed on.
        assert_eq!(through(&secrets, &[b"a s3cr3t-", b"nothing"]), "a s3cr3t-nothing");
        assert_eq!(through(&secrets, &[b"a s3cr3t-"]), "a s3cr3t-");
    }

    #[test]
    fn lines_are_not_held_back_longer_than_needed() {
        let secrets = secrets(&[("T", "s3cr3t-value")]);
        let mut redaction = Redaction::default();
        assert_eq!(redaction.push(&secrets, b"a line\n"), b"a line\n");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[ab\\-sv]{0,40}", cuts in prop::collection::vec(0usize..60, 0..6)) {
            let secrets = secrets(&[("T", "abababab"), ("U", "ababababab-s")]);
            let text = format!("{text}abababab{text}ababababab-s");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let out = through(&secrets, &pieces);
            prop_assert!(!out.contains("abababab"), "{out}");
            prop_assert_eq!(out, secrets.redact_text(&text).into_owned());
        }
    }
}
