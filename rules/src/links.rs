//! Links that a compilation left in its build folder. Mix links `priv` and `include` there to the sources, so that what the
//! release gets of them was never read by anyone: all that links lead to is an input.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

use relgraph_cache::Probe;
use relgraph_engine::StepError;

/// A folder that a VM worked in: where it really is, and what the VM took for its path.
pub struct Work<'a> {
    /// Where it is.
    pub real: &'a Path,
    /// Its path inside the sandbox.
    pub prefix: &'a str,
}

impl Work<'_> {
    /// Probes for all that links in the folder `from` lead to, paths being seen from the work folder. Links by an absolute
    /// path of the sandbox are made relative, so that they lead to the same place out here.
    pub fn linked(&self, from: &str) -> Result<Vec<Probe>, StepError> {
        let mut probes = Vec::new();
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([from.to_owned()]);
        while let Some(folder) = queue.pop_front() {
            if !seen.insert(folder.clone()) {
                continue;
            }
            let Ok(names) = fs::read_dir(self.real.join(&folder)) else { continue };
            for entry in names.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let Ok(kind) = entry.file_type() else { continue };
                let path = format!("{folder}/{name}");
                if kind.is_dir() {
                    queue.push_back(path);
                } else if kind.is_symlink()
                    && let Some(target) = self.target(&path)?
                {
                    let real = self.real.join(&target);
                    probes.push(if real.is_dir() {
                        queue.push_back(target.clone());
                        Probe::Tree(target)
                    } else {
                        Probe::Content(target)
                    });
                }
            }
        }
        Ok(probes)
    }

    /// A path with the links on its way followed, as far as it is there; none where one leads out.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut path = path.to_owned();
        for _ in 0..16 {
            let link = path
                .match_indices('/')
                .map(|(end, _)| end)
                .chain([path.len()])
                .find(|end| self.real.join(&path[..*end]).is_symlink());
            let Some(end) = link else { return Some(path) };
            let text = fs::read_link(self.real.join(&path[..end])).ok()?;
            let text = text.to_str()?;
            let rest = &path[end..];
            let folder: Vec<&str> = path[..end].split('/').collect();
            let target = match text.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix('/')) {
                Some(inside) => normal(&[], inside)?,
                None if text.starts_with('/') => return None,
                None => normal(&folder[..folder.len() - 1], text)?,
            };
            path = format!("{target}{rest}");
        }
        None
    }

    /// Where a link leads, seen from the work folder; none where it leads out of it.
    fn target(&self, link: &str) -> Result<Option<String>, StepError> {
        let real = self.real.join(link);
        let text = fs::read_link(&real).map_err(|e| StepError::io("read", &real, &e))?;
        let Some(text) = text.to_str() else { return Ok(None) };
        let folder: Vec<&str> = link.split('/').collect();
        let folder = &folder[..folder.len() - 1];
        let inside = text.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix('/'));
        let Some(target) = (match inside {
            Some(rest) => normal(&[], rest),
            None if text.starts_with('/') => None,
            None => normal(folder, text),
        }) else {
            return Ok(None);
        };
        if inside.is_some() && Path::new(self.prefix) != self.real {
            let relative = format!("{}{target}", "../".repeat(folder.len()));
            fs::remove_file(&real).map_err(|e| StepError::io("replace", &real, &e))?;
            std::os::unix::fs::symlink(relative, &real).map_err(|e| StepError::io("replace", &real, &e))?;
        }
        Ok(Some(target))
    }
}

/// `path` seen from a folder, without `.` and `..`; none where it climbs out.
fn normal(folder: &[&str], path: &str) -> Option<String> {
    let mut parts = folder.to_vec();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
