//! The package that a running release takes: what it has not yet, and how to get there.

use std::collections::BTreeSet;

use relgraph_cache::{Digest, Node, Store, TreeBuilder};

use super::UpgradeError;
use super::released::Released;

/// Files besides those of the new release: their path in it and their content.
pub type Made = Vec<(String, Vec<u8>)>;

/// The tree of the package: applications that one of the old releases has not, the runtime system where it is another,
/// all below `releases/`, the scripts, and what was made for the way.
pub fn tree(
    store: &Store,
    olds: &[&Released<'_>],
    new: &Released<'_>,
    made: &Made,
) -> Result<Digest, UpgradeError> {
    let mut tree = TreeBuilder::new();
    let wrong = |error: relgraph_cache::TreeError| UpgradeError::Unreadable {
        release: format!("{} {}", new.name, new.version),
        reason: error.to_string(),
    };
    let top = |path: &str| -> Option<String> {
        let mut parts = path.split('/');
        match (parts.next()?, parts.next()) {
            ("lib", Some(folder)) => Some(format!("lib/{folder}")),
            (erts, _) if erts.starts_with("erts-") => Some(erts.to_owned()),
            _ => None,
        }
    };
    let folders = |release: &Released<'_>| -> BTreeSet<String> {
        release.entries().keys().filter_map(|path| top(path)).collect()
    };
    let there: Vec<BTreeSet<String>> = olds.iter().map(|old| folders(old)).collect();
    let own = format!("releases/{}/", new.version);
    for (path, node) in new.entries() {
        let wanted = match top(path) {
            Some(folder) => !there.iter().all(|folders| folders.contains(&folder)),
            None => path.starts_with(&own),
        };
        if wanted {
            match node {
                Node::Directory { .. } => tree.directory(path).map_err(wrong)?,
                node => tree.replace(path, node.clone()).map_err(wrong)?,
            }
        }
        // Scripts are put in their place when the version becomes permanent: until then the old one may be started.
        if let Some(script) = path.strip_prefix("bin/")
            && !matches!(node, Node::Directory { .. })
        {
            tree.replace(&format!("{own}bin/{script}"), node.clone()).map_err(wrong)?;
        }
    }
    // OTP unpacks a release by this file.
    if let Some(node) = new.entries().get(&new.rel_path()) {
        tree.replace(&format!("releases/{}-{}.rel", new.name, new.version), node.clone()).map_err(wrong)?;
    }
    for (path, bytes) in made {
        let node = Node::File { digest: store.put_bytes(bytes)?, executable: false };
        tree.replace(path, node).map_err(wrong)?;
    }
    Ok(tree.finish(store)?)
}
