//! Where things lie inside the sandbox: the same for every checkout of a project.

use std::path::{Component, Path, PathBuf};

/// Paths of a project inside the sandbox, seen from its prefix.
///
/// A project lies at `project`, whatever its folder is called. One with dependencies beside it (`../shared`) lies at
/// `tree/project`, and the dependency at `tree/shared`. Only where what lies beside the project leads back to it by the
/// name of its folder (`../shop/vendor/money`) do folders keep their names, as many as the farthest source climbs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    project: String,
}

impl Layout {
    /// For the project in `root`, whose farthest source lies `climbs` folders above it. `named`: whether a text, of what
    /// lies beside the project, speaks of a folder of that name.
    pub fn new(root: &Path, climbs: usize, named: &dyn Fn(&str) -> bool) -> Self {
        if climbs == 0 {
            return Layout { project: "project".to_owned() };
        }
        let names: Vec<_> = root
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        let kept = &names[names.len().saturating_sub(climbs)..];
        if !kept.iter().any(|name| named(name)) {
            return Layout { project: format!("tree/{}project", "up/".repeat(climbs - 1)) };
        }
        Layout { project: format!("tree/{}", kept.join("/")) }
    }

    /// The project's folder.
    pub fn project(&self) -> String {
        self.project.clone()
    }

    /// A path seen from the project's folder.
    pub fn at(&self, path: &str) -> String {
        let mut parts: Vec<&str> = self.project.split('/').collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        parts.join("/")
    }

    /// The reverse: a path of the sandbox as the project's folder names it.
    pub fn name(&self, path: &str) -> String {
        let mut project = self.project.split('/').peekable();
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        while project.peek().is_some() && project.peek() == parts.peek() {
            project.next();
            parts.next();
        }
        let name: Vec<&str> = project.map(|_| "..").chain(parts).collect();
        if name.is_empty() { ".".to_owned() } else { name.join("/") }
    }
}

/// A path without `.` and `..`, links left as they are.
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_the_project_keeps_its_place() {
        let root = Path::new("/home/me/code/shop/apps/web");
        let inside = Layout::new(root, 0, &|_| true);
        assert_eq!(inside.at("."), "project");
        assert_eq!(inside.at("deps/jason"), "project/deps/jason");
        let beside = Layout::new(root, 2, &|name| name == "web");
        assert_eq!(beside.project(), "tree/apps/web");
        assert_eq!(beside.at("../shared"), "tree/apps/shared");
        assert_eq!(beside.at("../../shared/./x"), "tree/shared/x");
        assert_eq!(beside.at("../web/lib"), "tree/apps/web/lib");
        for path in ["../shared/x", "../../VERSION", "lib/a.ex", "."] {
            assert_eq!(beside.name(&beside.at(path)), path);
        }
        let unnamed = Layout::new(root, 2, &|_| false);
        assert_eq!(unnamed.project(), "tree/up/project");
        assert_eq!(unnamed.at("../../shared"), "tree/shared");
    }
}
