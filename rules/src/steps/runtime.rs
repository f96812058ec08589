//! `include runtime`: the runtime system, and the applications of OTP and Elixir that a release uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use relgraph_cache::{Digest, Node, StatCache, TreeBuilder};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use super::assemble::conflict;
use super::boot::{self, Boot, Runtime};
use super::strip::{is_copied, recipe_part, strip};
use crate::project::{BootFacts, StripRecipe};
use crate::source::{Entry, Snapshot};
use crate::toolchain::Toolchain;

/// The rule of this step.
pub const RULE: Rule = Rule { name: "runtime", version: 1 };
/// The name of this step.
pub const STEP: &str = "include runtime";

/// Includes the runtime.
pub struct IncludeRuntime {
    /// What builds the project.
    pub toolchain: Arc<Toolchain>,
    /// Knows the digests of files.
    pub stat: Arc<StatCache>,
    /// The runtime.
    pub runtime: Runtime,
    /// How modules are stripped.
    pub recipe: Option<StripRecipe>,
    /// Which folders of an application go into a release.
    pub copied: Vec<String>,
}

/// An application that comes from an installation: where its files are, and where they go.
struct Shipped {
    files: Arc<Snapshot>,
    from: String,
    to: String,
}

impl IncludeRuntime {
    fn shipped(&self, facts: &BootFacts) -> Result<Vec<Shipped>, StepError> {
        let other = match &self.runtime {
            Runtime::Other(erlang) => Some(Arc::new(Snapshot::take(&erlang.root, &|_| false, &self.stat)?)),
            _ => None,
        };
        let mut shipped = Vec::new();
        for application in &facts.applications {
            // As with Mix, a release without a runtime takes OTP from the machine, and brings Elixir.
            if application.otp && matches!(self.runtime, Runtime::None) {
                continue;
            }
            let path = &application.path;
            let (files, from) = if let Some(from) = path.strip_prefix("otp/") {
                (Arc::clone(&self.toolchain.erlang_files), from)
            } else if let Some(from) = path.strip_prefix("elixir/") {
                (Arc::clone(&self.toolchain.elixir_files), from)
            } else if let (Some(from), Some(other)) = (path.strip_prefix("runtime/"), &other) {
                (Arc::clone(other), from)
            } else {
                continue;
            };
            let to = format!("lib/{}-{}", application.name, application.version);
            shipped.push(Shipped { files, from: from.to_owned(), to });
        }
        let erts = match (&self.runtime, other) {
            (Runtime::None, _) => None,
            (Runtime::Own, _) => {
                Some((Arc::clone(&self.toolchain.erlang_files), &self.toolchain.erlang.erts))
            }
            (Runtime::Other(erlang), other) => other.map(|files| (files, &erlang.erts)),
        };
        if let Some((files, version)) = erts {
            let from = format!("erts-{version}/bin");
            shipped.push(Shipped { files, to: from.clone(), from });
        }
        Ok(shipped)
    }
}

impl Action for IncludeRuntime {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let boot = cx.need(boot::STEP)?;
        let facts = Boot::read(cx.store, boot)?;
        let mut parts = KeyParts::new();
        for shipped in self.shipped(&facts)? {
            parts.digest(format!("toolchain {}", shipped.to), &shipped.files.digest_below(&shipped.from));
        }
        if let Some(Node::File { digest, .. }) = cx.store.lookup(&boot.output("files")?, "erl")? {
            parts.digest("launcher", &digest);
        }
        recipe_part(&mut parts, self.recipe.as_ref());
        parts.list("folders", &self.copied);
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let boot = cx.need(boot::STEP)?;
        let facts = Boot::read(cx.store, boot)?;
        let launcher = cx.store.lookup(&boot.output("files")?, "erl")?;
        let shipped = self.shipped(&facts)?;
        let files: Vec<(&Shipped, &str, &Entry)> = shipped
            .iter()
            .flat_map(|one| {
                let folder = format!("{}/", one.from);
                one.files
                    .entries()
                    .filter_map(move |(path, entry)| Some((one, path.strip_prefix(&folder)?, entry)))
                    .filter(|(one, path, _)| self.wanted(one, path))
                    .collect::<Vec<_>>()
            })
            .collect();
        let made: Result<Vec<(String, Node)>, StepError> =
            files.into_par_iter().map(|(one, path, entry)| self.copy(cx, one, path, entry)).collect();
        let mut tree = TreeBuilder::new();
        for (path, node) in made? {
            match node {
                Node::File { digest, executable } => tree.file(&path, digest, executable),
                Node::Symlink { target } => tree.symlink(&path, &target),
                Node::Directory { digest } if digest == Digest::of(b"") => tree.directory(&path),
                Node::Directory { digest } => tree.graft(&path, digest),
            }
            .map_err(conflict)?;
        }
        if let (Some(Node::File { digest, .. }), Some(erts)) = (launcher, shipped.last())
            && erts.to.starts_with("erts-")
        {
            tree.replace(&format!("{}/erl", erts.to), Node::File { digest, executable: true })
                .map_err(conflict)?;
        }
        Ok(Ran {
            outputs: BTreeMap::from([("runtime".to_owned(), tree.finish(cx.store)?)]),
            ..Ran::default()
        })
    }
}

impl IncludeRuntime {
    /// What of an installed application goes into a release; and of the runtime all programs but its launcher, which is
    /// written anew.
    fn wanted(&self, one: &Shipped, path: &str) -> bool {
        if one.to.starts_with("erts-") {
            return path != "erl" && path != "erl.ini";
        }
        // The specification comes from the step `boot`.
        let spec = path.strip_prefix("ebin/").is_some_and(|name| name.ends_with(".app"));
        is_copied(&self.copied, path) && !spec
    }

    fn copy(
        &self,
        cx: &StepContext<'_>,
        one: &Shipped,
        path: &str,
        entry: &Entry,
    ) -> Result<(String, Node), StepError> {
        let to = format!("{}/{path}", one.to);
        let real = one.files.root().join(&one.from).join(path);
        let erts = one.to.starts_with("erts-");
        let node = match (entry, &self.recipe) {
            // The empty digest stands for a folder whose content is listed on its own.
            (Entry::Directory, _) => Node::Directory { digest: Digest::of(b"") },
            // What Mix copies of an application it copies with links resolved, and the runtime with links as they are.
            (Entry::Symlink(target), _) if erts => Node::Symlink { target: target.clone() },
            (Entry::Symlink(_), _) => follow(cx, &real)?,
            (Entry::File { executable, .. }, Some(recipe))
                if path.starts_with("ebin/") && path.ends_with(".beam") =>
            {
                let bytes = fs::read(&real).map_err(|e| StepError::io("read", &real, &e))?;
                Node::File { digest: cx.store.put_bytes(&strip(bytes, recipe))?, executable: *executable }
            }
            (Entry::File { executable, .. }, _) => {
                Node::File { digest: cx.store.put_file(&real)?, executable: *executable }
            }
        };
        Ok((to, node))
    }
}

fn follow(cx: &StepContext<'_>, real: &Path) -> Result<Node, StepError> {
    use std::os::unix::fs::PermissionsExt;
    let meta = fs::metadata(real).map_err(|e| StepError::io("read", real, &e))?;
    if meta.is_dir() {
        return Ok(Node::Directory { digest: cx.store.ingest_dereferenced(real, &|_| true)? });
    }
    Ok(Node::File { digest: cx.store.put_file(real)?, executable: meta.permissions().mode() & 0o111 != 0 })
}

/// Names and versions of the applications that an installation has.
pub fn libraries(root: &Path) -> Result<Vec<String>, StepError> {
    let lib = root.join("lib");
    let mut names: Vec<String> = fs::read_dir(&lib)
        .map_err(|e| StepError::io("list", &lib, &e))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}
