//! Versions of programs: what `.tool-versions` asks for, and where version managers install them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file in which asdf and mise are told the versions of a project's programs.
pub const FILE: &str = ".tool-versions";

/// What is wanted of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// What PATH leads to.
    System,
    /// The installation in a folder.
    Folder(PathBuf),
    /// A version, or the first parts of one.
    Version(String),
}

impl Wanted {
    /// What a word of `.tool-versions` means.
    fn of(word: &str) -> Wanted {
        match word.split_once(':') {
            _ if word == "system" => Wanted::System,
            Some(("path", folder)) => Wanted::Folder(folder.into()),
            Some(("ref", commit)) => Wanted::Version(format!("ref-{commit}")),
            _ => Wanted::Version(word.to_owned()),
        }
    }
}

/// What the text of a `.tool-versions` wants of a program that is known by one of `names`, the best first, and the line that
/// says so, counted from 1.
pub fn wanted(text: &str, names: &[&str]) -> Option<(usize, Vec<Wanted>)> {
    text.lines().enumerate().find_map(|(index, line)| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let name = words.next()?;
        names.contains(&name).then(|| (index + 1, words.map(Wanted::of).collect()))
    })
}

/// Every `.tool-versions` that concerns a folder, the nearest first, whether it exists or not.
pub fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    folder.ancestors().map(|above| above.join(FILE))
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
/// was compiled with (`1.16.0-otp-26`) is no part of its version.
pub fn fits(found: &str, wanted: &str) -> bool {
    let wanted = wanted.split("-otp-").next().unwrap_or_default();
    found == wanted || found.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_program_and_what_to_try_in_turn() {
        let text = "# ours\nnodejs 20.1.0\nerlang  26.2.1 system # both do\nelixir path:/opt/elixir\nrebar ref:abc\n";
        let version = |text: &str| Wanted::Version(text.into());
        assert_eq!(wanted(text, &["erlang"]), Some((3, vec![version("26.2.1"), Wanted::System])));
        assert_eq!(wanted(text, &["elixir"]), Some((4, vec![Wanted::Folder("/opt/elixir".into())])));
        assert_eq!(wanted(text, &["rebar3", "rebar"]), Some((5, vec![version("ref-abc")])));
        assert_eq!(wanted(text, &["ours"]), None);
        assert_eq!(wanted("erlang", &["erlang"]), Some((1, vec![])));
    }

    #[test]
    fn a_version_means_those_that_begin_with_it() {
        assert!(fits("26.2.1", "26"));
        assert!(fits("26.2.1", "26.2.1"));
        assert!(fits("1.16.0", "1.16.0-otp-26"));
        assert!(!fits("26.2.1", "26.2.10"));
        assert!(!fits("26.2.10", "26.2.1"));
        assert!(!fits("261", "26"));
    }
}
