//! `releases/RELEASES`: which versions lie in a release's folder, as OTP's release handler reads it.

use crate::etf::{Term, consult_one};

const VERSION: usize = 2;
const STATUS: usize = 5;

/// What the file of the old version becomes with the new one; nothing where there is nothing to be said. A version that is
/// not started yet is `unpacked`; one that is to be started is `permanent`, and the one before it is `old`.
pub(super) fn merged(there: &[u8], new: &[u8], version: &str, activate: bool) -> Option<Vec<u8>> {
    let mut releases = releases(there)?;
    let at = |releases: &[Vec<Term>]| {
        releases.iter().position(|release| release[VERSION].as_text().as_deref() == Some(version))
    };
    let before = releases.clone();
    let place = match at(&releases) {
        Some(place) => place,
        None => {
            let own = self::releases(new)?;
            let mut own = own.get(at(&own)?)?.clone();
            own[STATUS] = Term::atom("unpacked");
            releases.insert(0, own);
            0
        }
    };
    if activate {
        for release in &mut releases {
            if release[STATUS].as_atom() == Some("permanent") {
                release[STATUS] = Term::atom("old");
            }
        }
        releases[place][STATUS] = Term::atom("permanent");
    }
    (releases != before).then(|| text(releases))
}

/// One version's entry as text, for a script to put into a file.
pub(super) fn entry(new: &[u8], version: &str) -> Option<String> {
    let own =
        releases(new)?.into_iter().find(|release| release[VERSION].as_text().as_deref() == Some(version))?;
    let mut own = own;
    own[STATUS] = Term::atom("unpacked");
    Some(Term::Tuple(own).to_string())
}

fn releases(bytes: &[u8]) -> Option<Vec<Vec<Term>>> {
    let term = consult_one(bytes).ok()?;
    let release = |term: &Term| {
        let parts = term.as_tuple()?;
        (parts.len() == STATUS + 1 && parts[0].as_atom() == Some("release")).then(|| parts.to_vec())
    };
    term.as_list()?.iter().map(release).collect()
}

fn text(releases: Vec<Vec<Term>>) -> Vec<u8> {
    let lines: Vec<String> = releases.into_iter().map(|release| Term::Tuple(release).to_string()).collect();
    format!("%% coding: utf-8\n[{}].\n", lines.join(",\n ")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"%% coding: utf-8
[{release,"a","0.1.0","13.1",
          [{kernel,"8.5","lib/kernel-8.5"}],
          permanent}]."#;
    const NEW: &str = r#"[{release,"a","0.2.0","13.2",[{kernel,"9.0","lib/kernel-9.0"}],permanent}]."#;

    fn merge(there: &str, activate: bool) -> Option<String> {
        let text = merged(there.as_bytes(), NEW.as_bytes(), "0.2.0", activate)?;
        Some(String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_version_is_unpacked_until_it_is_to_be_started() {
        let unpacked = merge(OLD, false).unwrap();
        assert_eq!(
            unpacked,
            "%% coding: utf-8\n\
             [{release,\"a\",\"0.2.0\",\"13.2\",[{kernel,\"9.0\",\"lib/kernel-9.0\"}],unpacked},\n \
             {release,\"a\",\"0.1.0\",\"13.1\",[{kernel,\"8.5\",\"lib/kernel-8.5\"}],permanent}].\n"
        );
        assert_eq!(merge(&unpacked, false), None, "said already");
        let active = merge(&unpacked, true).unwrap();
        assert!(active.contains("kernel-9.0\"}],permanent}") && active.contains("kernel-8.5\"}],old}"));
        assert_eq!(merge(OLD, true).as_deref(), Some(active.as_str()));
        assert_eq!(merge(&active, true), None);
    }

    #[test]
    fn what_is_no_such_file_stays() {
        for strange in ["", "nonsense", "[{release,\"a\"}].", "{}."] {
            assert_eq!(merge(strange, true), None, "{strange}");
        }
    }
}
