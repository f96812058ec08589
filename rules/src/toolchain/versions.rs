//! Versions of programs: what `.tool-versions` and `mise.toml` ask for, and where version managers install them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::mise;

/// The files in which asdf and mise are told the versions of a project's programs: where a folder has several, the first one
/// that speaks of a program counts.
const FILES: [&str; 5] =
    ["mise.toml", ".mise.toml", "mise/config.toml", ".config/mise.toml", ".tool-versions"];

/// What is wanted of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// What PATH leads to.
    System,
    /// The installation in a folder.
    Folder(PathBuf),
    /// A version, or the first parts of one; empty: the newest that is installed.
    Version(String),
}

impl Wanted {
    /// What a word means that stands in a file of `folder`.
    fn of(word: &str, folder: &Path, home: Option<&str>) -> Wanted {
        match word.split_once(':') {
            _ if word == "system" => Wanted::System,
            _ if word == "latest" => Wanted::Version(String::new()),
            Some(("path", path)) => Wanted::Folder(match (path.strip_prefix("~/"), home) {
                (Some(inside), Some(home)) => Path::new(home).join(inside),
                _ => folder.join(path),
            }),
            Some(("ref", commit)) => Wanted::Version(format!("ref-{commit}")),
            Some(("prefix", version)) => Wanted::Version(version.to_owned()),
            _ => Wanted::Version(word.to_owned()),
        }
    }
}

/// What the text of a file wants of a program that is known by one of `names`, the best first, and the line that says so,
/// counted from 1. `home`: what `~` stands for.
pub fn wanted(file: &Path, text: &str, names: &[&str], home: Option<&str>) -> Option<(usize, Vec<Wanted>)> {
    let folder = file.ancestors().nth(depth(file)).unwrap_or(Path::new(""));
    let (line, words) = if file.extension().is_some_and(|ending| ending == "toml") {
        mise::wanted(text, names)?
    } else {
        text.lines().enumerate().find_map(|(index, line)| {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let name = words.next()?;
            names.contains(&name).then(|| (index + 1, words.map(str::to_owned).collect::<Vec<_>>()))
        })?
    };
    Some((line, words.iter().map(|word| Wanted::of(word, folder, home)).collect()))
}

/// How many folders up a file lies from the one that it concerns.
fn depth(file: &Path) -> usize {
    if FILES.iter().any(|name| name.contains('/') && file.ends_with(name)) { 2 } else { 1 }
}

/// Every such file that concerns a folder, the nearest first, whether it exists or not.
pub fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    folder.ancestors().flat_map(|above| FILES.iter().map(move |file| above.join(file)))
}

/// The folders in which asdf and mise keep `PROGRAM/VERSION`.
pub fn installs(env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = |path: &str| set("HOME").map(|home| home.join(path));
    let asdf = set("ASDF_DATA_DIR").or_else(|| home(".asdf"));
    let shared = set("XDG_DATA_HOME").or_else(|| home(".local/share"));
    let mise = set("MISE_DATA_DIR").or_else(|| shared.map(|shared| shared.join("mise")));
    asdf.into_iter().chain(mise).map(|data| data.join("installs")).collect()
}

/// Variables that `installs` looks at.
pub const VARIABLES: [&str; 4] = ["ASDF_DATA_DIR", "HOME", "MISE_DATA_DIR", "XDG_DATA_HOME"];

/// Whether an installation of version `found` is one of those that `wanted` means. What is said of the Erlang that an Elixir
/// was compiled with (`1.16.0-otp-26`) is no part of its version, and counts where both say it.
pub fn fits(found: &str, wanted: &str) -> bool {
    let parts = |version: &str| match version.split_once("-otp-") {
        Some((version, otp)) => (version.to_owned(), Some(otp.to_owned())),
        None => (version.to_owned(), None),
    };
    let ((found, with), (wanted, by)) = (parts(found), parts(wanted));
    let newest = wanted.is_empty() && found.starts_with(|c: char| c.is_ascii_digit());
    let same = found == wanted || found.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with('.'));
    (newest || same) && (with.is_none() || by.is_none() || with == by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_program_and_what_to_try_in_turn() {
        let text = "# ours\nnodejs 20.1.0\nerlang  26.2.1 system # both do\nelixir path:/opt/elixir\nrebar ref:abc\n";
        let version = |text: &str| Wanted::Version(text.into());
        let wanted =
            |text: &str, names: &[&str]| wanted(Path::new("/a/.tool-versions"), text, names, Some("/home/u"));
        assert_eq!(wanted(text, &["erlang"]), Some((3, vec![version("26.2.1"), Wanted::System])));
        assert_eq!(wanted(text, &["elixir"]), Some((4, vec![Wanted::Folder("/opt/elixir".into())])));
        assert_eq!(wanted(text, &["rebar3", "rebar"]), Some((5, vec![version("ref-abc")])));
        assert_eq!(wanted(text, &["ours"]), None);
        assert_eq!(wanted("erlang", &["erlang"]), Some((1, vec![])));
        let text = "erlang path:otp\nelixir path:~/elixir latest prefix:1.16\n";
        assert_eq!(wanted(text, &["erlang"]), Some((1, vec![Wanted::Folder("/a/otp".into())])));
        let expected = vec![Wanted::Folder("/home/u/elixir".into()), version(""), version("1.16")];
        assert_eq!(wanted(text, &["elixir"]), Some((2, expected)));
    }

    #[test]
    fn mise_has_several_places_for_the_same() {
        let folder = |file: &str| {
            let text = "[tools]\nelixir = \"path:elixir\"\n";
            wanted(Path::new(file), text, &["elixir"], None).map(|(_, wanted)| wanted)
        };
        let expected = Some(vec![Wanted::Folder("/a/elixir".into())]);
        for file in ["/a/mise.toml", "/a/.mise.toml", "/a/mise/config.toml", "/a/.config/mise.toml"] {
            assert_eq!(folder(file), expected, "{file}");
        }
        let all: Vec<PathBuf> = files(Path::new("/a")).collect();
        assert_eq!(all[0], Path::new("/a/mise.toml"));
        assert_eq!(all[4..6], [PathBuf::from("/a/.tool-versions"), PathBuf::from("/mise.toml")]);
    }

    #[test]
    fn a_version_means_those_that_begin_with_it() {
        assert!(fits("26.2.1", "26"));
        assert!(fits("26.2.1", "26.2.1"));
        assert!(fits("1.16.0", "1.16.0-otp-26"));
        assert!(fits("1.16.0-otp-26", "1.16.0"));
        assert!(fits("1.16.0-otp-26", "1.16"));
        assert!(fits("1.16.0-otp-26", "1.16-otp-26"));
        assert!(fits("1.16.0-otp-26", ""));
        assert!(!fits("ref-main", ""));
        assert!(!fits("1.16.0-otp-25", "1.16.0-otp-26"));
        assert!(!fits("26.2.1", "26.2.10"));
        assert!(!fits("26.2.10", "26.2.1"));
        assert!(!fits("261", "26"));
    }
}
