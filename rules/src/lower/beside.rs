//! Which folders beside the project's belong to it: what its mix.exs names, and the umbrella that it is a part of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Lowering;
use crate::layout::normal;
use crate::project::{Project, climbs};

/// Options of a project that name a place which its umbrella shares: `deps_path: "../../deps"`.
const SHARED: [&str; 3] = ["deps_path", "config_path", "lockfile"];

impl Lowering {
    /// What an option of mix.exs seems to say: a guess that saves asking Mix twice.
    pub fn guess(&self, option: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join("mix.exs")).unwrap_or_default();
        let rest = text.split_once(&format!("{option}: \""))?.1;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    }

    /// Folders beside the project that its mix.exs seems to name.
    pub fn guess_beside(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(self.root.join("mix.exs")).unwrap_or_default();
        let quoted = text.split(" path:").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
        let named = quoted
            .filter_map(|rest| rest.split('"').next())
            .filter(|path| path.starts_with("../") && self.root.join(path).is_dir())
            .map(|path| path.trim_end_matches('/').to_owned());
        let shared: Vec<String> = SHARED.iter().filter_map(|option| self.guess(option)).collect();
        let mut beside = self.shared(shared.iter().map(String::as_str));
        beside.extend(named);
        self.outermost(beside)
    }

    /// Folders that hold what the project shares with others, as Mix says it.
    pub fn shared_by(&self, project: &Project) -> BTreeSet<String> {
        self.shared(
            [&project.deps_path, &project.config_path, &project.lockfile].map(String::as_str).into_iter(),
        )
    }

    /// All of an umbrella when the project is a part of one; else the folders that are named.
    fn shared<'a>(&self, paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
        let paths: Vec<&str> = paths.filter(|path| path.starts_with("../")).collect();
        let Some(most) = paths.iter().map(|path| climbs(path)).max() else { return BTreeSet::new() };
        let umbrella = vec![".."; most].join("/");
        if std::fs::read_to_string(self.root.join(&umbrella).join("mix.exs"))
            .is_ok_and(|text| text.contains("apps_path"))
        {
            return BTreeSet::from([umbrella]);
        }
        let folder = |path: &&str| {
            if self.root.join(path).is_dir() {
                return Some((*path).to_owned());
            }
            // Nobody wants to see all that lies beside a project.
            let parent = Path::new(path).parent()?.to_str()?;
            (!parent.ends_with("..")).then(|| parent.to_owned())
        };
        paths.iter().filter_map(folder).filter(|path| self.root.join(path).is_dir()).collect()
    }

    /// Whether a path lies in a folder, both seen from the project's, going by their names.
    pub fn inside(&self, path: &str, folder: &str) -> bool {
        let real = |path: &str| -> PathBuf { normal(&self.root.join(path)) };
        real(path).starts_with(real(folder))
    }

    /// These folders without those that lie in others of them.
    pub fn outermost(&self, folders: BTreeSet<String>) -> BTreeSet<String> {
        let inner =
            |folder: &String| folders.iter().any(|other| other != folder && self.inside(folder, other));
        folders.iter().filter(|folder| !inner(folder)).cloned().collect()
    }
}
