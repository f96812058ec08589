//! Which paths a patch may name, and where in a release they are.

const RELEASES: &str = "releases";
/// Releases are a dozen folders deep.
const DEPTH: usize = 100;
/// What every system can name.
const LENGTH: usize = 4096;

/// Which part of a release a path belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part<'a> {
    /// In a folder that one version has for itself: `lib/APP-VSN`, `releases/VSN`, `erts-VSN`.
    Versioned(&'a str),
    /// What says which versions there are, and which is started: `releases/RELEASES`, `releases/start_erl.data`.
    Record,
    /// Where all versions look: `bin/NAME`, and what the user's own steps put elsewhere.
    Shared,
    /// Made where the release runs: its cookie, `tmp`.
    Local,
}

/// The part that a path belongs to.
pub(super) fn part(path: &str) -> Part<'_> {
    let parts: Vec<&str> = path.splitn(3, '/').collect();
    match parts[..] {
        ["tmp", ..] | [RELEASES, "COOKIE"] => Part::Local,
        // What an apply that was killed has left.
        [first, ..] if first.starts_with('.') && first.ends_with(".staging") => Part::Local,
        [RELEASES, "RELEASES" | "start_erl.data"] => Part::Record,
        ["lib" | RELEASES, folder, _] => Part::Versioned(&path[..parts[0].len() + 1 + folder.len()]),
        [erts, _, ..] if erts.starts_with("erts-") => Part::Versioned(erts),
        _ => Part::Shared,
    }
}

/// Whether a patch may name that path.
pub(super) fn is_sound(path: &str) -> bool {
    path.len() <= LENGTH
        && path.split('/').count() <= DEPTH
        && path.split('/').all(|name| !matches!(name, "" | "." | "..") && name.len() <= 255)
        && !path.contains('\0')
}

/// The path without what says the version of an application, the release or the runtime: counterparts have one.
pub(super) fn unversioned(
    path: &str,
    applications: &[(String, String)],
    version: &str,
    erts: &str,
) -> String {
    if let Some((folder, rest)) = path.strip_prefix("lib/").and_then(|path| path.split_once('/')) {
        let named = applications.iter().find(|(name, vsn)| {
            folder.strip_prefix(name.as_str()).is_some_and(|end| end.strip_prefix('-') == Some(vsn))
        });
        return named.map_or_else(|| path.to_owned(), |(name, _)| format!("lib/{name}/{rest}"));
    }
    let within = |folder: &str, vsn: &str| {
        let rest = path.strip_prefix(folder)?.strip_prefix(vsn)?.strip_prefix('/')?;
        Some(format!("{folder}VSN/{rest}"))
    };
    within("releases/", version).or_else(|| within("erts-", erts)).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_version_is_told_from_what_all_share() {
        assert_eq!(part("lib/a-1.0/ebin/a.app"), Part::Versioned("lib/a-1.0"));
        assert_eq!(part("releases/1.0/sys.config"), Part::Versioned("releases/1.0"));
        assert_eq!(part("erts-13/bin/beam.smp"), Part::Versioned("erts-13"));
        for path in ["bin/a", "lib/README", "etc/a/b", "releases", "releases/a.rel", "erts-13"] {
            assert_eq!(part(path), Part::Shared, "{path}");
        }
        assert_eq!(part("releases/RELEASES"), Part::Record);
        assert_eq!(part("releases/COOKIE"), Part::Local);
        assert_eq!(part("tmp/log/x"), Part::Local);
    }

    #[test]
    fn paths_lead_down_only() {
        for good in ["a", "a/b.c", "lib/x-1/priv/..x", "ü/é"] {
            assert!(is_sound(good), "{good}");
        }
        let long = "x".repeat(256);
        let deep = "a/".repeat(100) + "a";
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/..", ".", "a/./b", "a\0b", &long, &deep] {
            assert!(!is_sound(bad), "{bad:?}");
        }
    }

    #[test]
    fn counterparts_are_called_alike() {
        let apps = [("a".to_owned(), "1.0-rc".to_owned()), ("a-1".to_owned(), "0".to_owned())];
        let plain = |path| unversioned(path, &apps, "3.0", "13.1");
        assert_eq!(plain("lib/a-1.0-rc/ebin/x.beam"), "lib/a/ebin/x.beam");
        assert_eq!(plain("lib/a-1-0/ebin/x.beam"), "lib/a-1/ebin/x.beam");
        assert_eq!(plain("lib/a-0.9/ebin/x.beam"), "lib/a-0.9/ebin/x.beam");
        assert_eq!(plain("releases/3.0/sys.config"), "releases/VSN/sys.config");
        assert_eq!(plain("releases/2.0/sys.config"), "releases/2.0/sys.config");
        assert_eq!(plain("erts-13.1/bin/erl"), "erts-VSN/bin/erl");
    }
}
