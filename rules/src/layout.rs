//! Where things lie inside the sandbox: the same for every checkout of a project.

/// Paths of a project inside the sandbox, seen from its prefix.
///
/// The project lies at `project`. Dependencies beside it (`../shared`) keep their place relative to it: with one that
/// climbs once the project lies at `up/project`, and the dependency at `up/shared`. The name of the checkout's own
/// folder appears nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    climbs: usize,
}

impl Layout {
    /// For a project whose farthest source lies `climbs` folders above it.
    pub fn new(climbs: usize) -> Self {
        Layout { climbs }
    }

    /// The project's folder.
    pub fn project(&self) -> String {
        format!("{}project", "up/".repeat(self.climbs))
    }

    /// A path seen from the project's folder.
    pub fn at(&self, path: &str) -> String {
        let project = self.project();
        let mut parts: Vec<&str> = project.split('/').collect();
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_the_project_keeps_its_place() {
        let inside = Layout::new(0);
        assert_eq!(inside.at("."), "project");
        assert_eq!(inside.at("deps/jason"), "project/deps/jason");
        let beside = Layout::new(2);
        assert_eq!(beside.project(), "up/up/project");
        assert_eq!(beside.at("../shared"), "up/up/shared");
        assert_eq!(beside.at("../../shared/./x"), "up/shared/x");
    }
}
