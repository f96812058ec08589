//! Headers and libraries of this machine, by which native code is built: nobody sees which of them a compiler read.
//!
//! What could be read counts: headers and the compiler's own files by content, as the static libraries; shared ones by
//! their names, which bear their versions. Files are hashed once and known by their stamps then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use relgraph_cache::Probe;

use crate::reach;

/// Where headers and the descriptions of libraries are.
const HEADERS: [&str; 4] =
    ["/usr/include", "/usr/local/include", "/usr/share/pkgconfig", "/usr/local/share/pkgconfig"];

/// Where libraries are, besides the folder of the machine (`/usr/lib/x86_64-linux-gnu`).
const LIBRARIES: [&str; 4] = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"];

/// gcc's own headers, libraries and compilers, below them by machine and version.
const GCC: &str = "/usr/lib/gcc";

/// Variables that list folders of headers, and of libraries.
const HEADER_PATHS: [&str; 4] = ["CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "PKG_CONFIG_PATH"];
const LIBRARY_PATHS: [&str; 2] = ["LIBRARY_PATH", "LD_LIBRARY_PATH"];

/// Variables that hold options of compilers and linkers.
const OPTIONS: [&str; 4] = ["CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS"];

/// What stands for the headers and libraries that compilers find with these variables.
pub fn probes(env: &BTreeMap<String, String>) -> BTreeSet<Probe> {
    let mut headers: BTreeSet<PathBuf> = HEADERS.iter().map(PathBuf::from).collect();
    let mut libraries: BTreeSet<PathBuf> = LIBRARIES.iter().map(PathBuf::from).collect();
    for machine in names(Path::new(GCC)) {
        headers.extend(
            names(&Path::new(GCC).join(&machine)).map(|version| Path::new(GCC).join(&machine).join(version)),
        );
        libraries.insert(Path::new("/usr/lib").join(machine));
    }
    let listed = |variables: &[&str]| -> Vec<PathBuf> {
        let values = variables.iter().filter_map(|name| env.get(*name));
        values.flat_map(|value| value.split(':')).map(PathBuf::from).collect()
    };
    headers.extend(listed(&HEADER_PATHS));
    libraries.extend(listed(&LIBRARY_PATHS));
    for value in OPTIONS.iter().filter_map(|name| env.get(*name)) {
        let mut words = value.split_whitespace();
        while let Some(word) = words.next() {
            let named = |option: &str| word.strip_prefix(option).filter(|rest| !rest.is_empty());
            if let Some(folder) = named("-I").or_else(|| named("-isystem")) {
                headers.insert(folder.into());
            } else if let Some(folder) = named("-L") {
                libraries.insert(folder.into());
            } else if ["-I", "-isystem", "-idirafter", "-iquote"].contains(&word) {
                headers.extend(words.next().map(PathBuf::from));
            } else if word == "-L" {
                libraries.extend(words.next().map(PathBuf::from));
            }
        }
    }
    let seen = |folder: &&PathBuf| folder.to_str().is_some_and(reach::is_system);
    let mut found = BTreeSet::new();
    for folder in headers.iter().filter(seen) {
        let within = |other: &PathBuf| folder != other && folder.starts_with(other);
        if !headers.iter().any(within) {
            found.insert(Probe::Tree(folder.display().to_string()));
        }
    }
    for folder in libraries.iter().filter(seen) {
        found.insert(Probe::Listing(folder.display().to_string()));
        let described = folder.join("pkgconfig");
        if described.is_dir() {
            found.insert(Probe::Tree(described.display().to_string()));
        }
        let copied = names(folder).filter(|name| name.ends_with(".a") || name.ends_with(".o"));
        found.extend(copied.map(|name| Probe::Content(folder.join(name).display().to_string())));
    }
    found
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}
