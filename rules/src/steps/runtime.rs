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
use super::strip::{is_copied, is_excluded, recipe_part, strip};
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
    /// How.
    pub manner: Manner,
}

/// How files of an installation are taken into a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// As Mix does it: without a runtime OTP is left out; the launcher is one that Mix writes.
    Mix,
    /// As relx does it: all programs are copied with links resolved, and `dyn_erl` is the launcher.
    Relx {
        /// Whether the applications of OTP are part of the release.
        libraries: bool,
        /// Modules that are left out, by their application.
        excluded: BTreeMap<String, Vec<String>>,
    },
}

/// An application that comes from an installation: where its files are, and where they go.
struct Shipped {
    files: Arc<Snapshot>,
    from: String,
    to: String,
    excluded: Vec<String>,
}

impl IncludeRuntime {
    fn shipped(&self, facts: &BootFacts) -> Result<Vec<Shipped>, StepError> {
        let other = match &self.runtime {
            Runtime::Other(erlang) => Some(Arc::new(Snapshot::take(&erlang.root, &|_| false, &self.stat)?)),
            _ => None,
        };
        let mut shipped = Vec::new();
        for application in &facts.applications {
            // With Mix, a release without a runtime takes OTP from the machine, and brings Elixir.
            let brought = match &self.manner {
                Manner::Mix => !matches!(self.runtime, Runtime::None),
                Manner::Relx { libraries, .. } => *libraries,
            };
            if application.otp && !brought {
                continue;
            }
            let path = &application.path;
            let (files, from) = if let Some(from) = path.strip_prefix("otp/") {
                (Arc::clone(&self.toolchain.erlang_files), from)
            } else if let (Some(from), Some(elixir)) =
                (path.strip_prefix("elixir/"), &self.toolchain.elixir_files)
            {
                (Arc::clone(elixir), from)
            } else if let (Some(from), Some(other)) = (path.strip_prefix("runtime/"), &other) {
                (Arc::clone(other), from)
            } else {
                continue;
            };
            let to = format!("lib/{}-{}", application.name, application.version);
            let excluded = match &self.manner {
                Manner::Mix => Vec::new(),
                Manner::Relx { excluded, .. } => excluded.get(&application.name).cloned().unwrap_or_default(),
            };
            shipped.push(Shipped { files, from: from.to_owned(), to, excluded });
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
            shipped.push(Shipped { files, to: from.clone(), from, excluded: Vec::new() });
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
            if !shipped.excluded.is_empty() {
                parts.list(format!("excluded modules of {}", shipped.to), &shipped.excluded);
            }
        }
        match &self.manner {
            Manner::Mix => {
                if let Some(Node::File { digest, .. }) = cx.store.lookup(&boot.output("files")?, "erl")? {
                    parts.digest("launcher", &digest);
                }
            }
            Manner::Relx { .. } => {
                parts.text("manner", "relx");
            }
        }
        recipe_part(&mut parts, self.recipe.as_ref());
        parts.list("folders", &self.copied);
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let boot = cx.need(boot::STEP)?;
        let facts = Boot::read(cx.store, boot)?;
        let launcher = match &self.manner {
            Manner::Mix => cx.store.lookup(&boot.output("files")?, "erl")?,
            Manner::Relx { .. } => None,
        };
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
        let made = made?;
        let mut tree = TreeBuilder::new();
        // Where relx has a launcher that finds its own place, it takes the place of the other.
        let dynamic =
            made.iter().find(|(path, _)| self.manner != Manner::Mix && path.ends_with("/bin/dyn_erl"));
        let launcher = launcher.or_else(|| dynamic.map(|(_, node)| node.clone()));
        for (path, node) in made {
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
            return match self.manner {
                Manner::Mix => path != "erl" && path != "erl.ini",
                // A program of more than a megabyte that only compiling OTP needs.
                Manner::Relx { .. } => path != "yielding_c_fun",
            };
        }
        // The specification comes from the step `boot`.
        let spec = path.strip_prefix("ebin/").is_some_and(|name| name.ends_with(".app"));
        is_copied(&self.copied, path) && !spec && !is_excluded(&one.excluded, path)
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
        let linked = one.to.starts_with("erts-") && self.manner == Manner::Mix;
        let node = match (entry, &self.recipe) {
            // The empty digest stands for a folder whose content is listed on its own.
            (Entry::Directory, _) => Node::Directory { digest: Digest::of(b"") },
            // What Mix copies of an application it copies with links resolved, and the runtime with links as they are.
            (Entry::Symlink(target), _) if linked => Node::Symlink { target: target.clone() },
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
