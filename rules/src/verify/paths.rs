//! Paths at which modules were compiled: the same file seen from two places.

use std::collections::BTreeMap;

use super::report::{Finding, Value};

/// Where the sources of our side lay while they were compiled.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Folders, longest first.
    pub folders: Vec<String>,
    /// A folder in which each step had one of its own, two levels down: steps that were not confined.
    pub scratch: Option<String>,
}

/// One root of ours, and where theirs has what lies in it.
pub type Move = (String, String);

impl Roots {
    /// The first root in a text: where it begins and ends, and its name.
    fn find(&self, text: &str) -> Option<(usize, usize, String)> {
        let whole =
            |end: usize| text[end..].chars().next().is_none_or(|next| next == '/' || !next.is_alphanumeric());
        for folder in &self.folders {
            if let Some(at) = text.find(folder.as_str()).filter(|at| whole(at + folder.len())) {
                return Some((at, at + folder.len(), folder.clone()));
            }
        }
        let scratch = self.scratch.as_ref()?;
        let at = text.find(scratch.as_str())?;
        let rest = text.get(at + scratch.len()..)?.strip_prefix('/')?;
        // The session, the step's own folder, and what lies in it.
        let mut end = at + scratch.len() + 1;
        for part in rest.splitn(4, '/').take(3) {
            end += part.len() + 1;
        }
        let end = end.saturating_sub(1).min(text.len());
        let folder = text[at..end].rsplit('/').next()?.to_owned();
        Some((at, end, folder))
    }

    /// Where theirs has the root, if the two texts differ in nothing else.
    pub fn moved(&self, ours: &str, theirs: &str) -> Option<Move> {
        let mut pieces = Vec::new();
        let (mut rest, mut root) = (ours, None);
        while let Some((from, to, name)) = self.find(rest) {
            if root.get_or_insert(name.clone()) != &name {
                return None;
            }
            pieces.push(&rest[..from]);
            rest = &rest[to..];
        }
        let root = root?;
        let fixed: usize = pieces.iter().map(|piece| piece.len()).sum::<usize>() + rest.len();
        let length = theirs.len().checked_sub(fixed)? / pieces.len();
        let first = pieces.first()?.len();
        let place = theirs.get(first..first + length)?;
        let rebuilt: String =
            pieces.iter().flat_map(|piece| [*piece, place]).chain(std::iter::once(rest)).collect();
        let path = place.starts_with('/') && place.len() > 1 && !place.contains(['\n', '"', '\0', ':']);
        (rebuilt == theirs && path && !place.ends_with('/')).then(|| (root, place.to_owned()))
    }
}

/// For each root the place at which theirs has it by most differences.
pub fn moves(roots: &Roots, findings: &[Finding]) -> BTreeMap<String, String> {
    let mut votes: BTreeMap<Move, usize> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.explained.is_none()) {
        if let Some(found) = moved(roots, finding) {
            *votes.entry(found).or_default() += 1;
        }
    }
    let mut best: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for ((root, place), count) in votes {
        let entry = best.entry(root).or_insert((0, String::new()));
        if count > entry.0 {
            *entry = (count, place);
        }
    }
    best.into_iter().map(|(root, (_, place))| (root, place)).collect()
}

/// How what stands on the two sides of a finding differs by the place of a root alone.
pub fn moved(roots: &Roots, finding: &Finding) -> Option<Move> {
    let text = |value: &Value| match value {
        Value::Term(term) => term.as_atom().map(str::to_owned).or_else(|| term.as_text()),
        Value::Text(text) => Some(text.clone()),
    };
    roots.moved(&text(finding.ours.as_ref()?)?, &text(finding.theirs.as_ref()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_by_a_root_alone() {
        let roots = Roots { folders: vec!["/relgraph/project".into()], scratch: Some("/store/tmp".into()) };
        let place = |ours: &str, theirs: &str| roots.moved(ours, theirs).map(|(_, place)| place);
        assert_eq!(place("/relgraph/project/lib/a.ex", "/home/me/app/lib/a.ex"), Some("/home/me/app".into()));
        assert_eq!(place("a /relgraph/project/x b /relgraph/project/y", "a /p/x b /p/y"), Some("/p".into()));
        assert_eq!(place("/relgraph/project/lib/a.ex", "/home/me/app/lib/b.ex"), None);
        assert_eq!(place("/relgraph/projects/a", "/home/s/a"), None);
        assert_eq!(place("/elsewhere/lib/a.ex", "/home/me/app/lib/a.ex"), None);
        assert_eq!(place("/store/tmp/s-1/t2/project/lib/a.ex", "/p/lib/a.ex"), Some("/p".into()));
    }
}
