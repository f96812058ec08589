//! Which paths and variables a build depended on: what the next build looks at before it believes that nothing moved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, Probe};
use relgraph_engine::{RunReport, Secrets, StepError};

use crate::build::Ready;
use crate::lower::{Lowering, release};
use crate::reach::Reach;
use crate::source::{Entry, Snapshot};
use crate::steps::describe::Whole;

/// A folder of the system with more in it is looked at by its folders.
const LARGE: usize = 1000;

/// What stands before the name of a secret among watched variables: no variable has a `:` in its name.
pub const WATCHED: &str = "secret:";

/// What to look at.
#[derive(Debug, Default)]
pub struct Watched {
    /// Absolute paths: files, folders whose names count, places where nothing was.
    pub paths: BTreeSet<PathBuf>,
    /// Variables and the digests of their values; secrets as `secret:NAME`, with the digest of what stands for it in keys.
    pub env: BTreeMap<String, Option<Digest>>,
}

impl Watched {
    /// Collects it from what the steps of a build were seen to read and said they read.
    pub fn collect(
        lowering: &Lowering,
        ready: &Ready,
        report: &RunReport,
        env: &BTreeMap<String, String>,
        secrets: &Secrets,
    ) -> Result<Watched, StepError> {
        let mut watched = Watched::default();
        let whole = lowering.whole(&ready.around);
        for step in report.steps.values() {
            for (probe, _) in step.result.iter().flat_map(|result| &result.probes) {
                watched.probe(&whole, probe, env)?;
            }
        }
        watched.paths.extend(ready.around.looked_at.iter().cloned());
        if lowering.common.is_none() {
            watched.paths.insert(lowering.root.join("mix.exs"));
        }
        for (folder, files) in lowering.sources.seen() {
            if folder != "." && !ready.around.beside.contains(&folder) && !whole.installed.contains(&folder) {
                // An overlay: everything in it.
                watched.tree(&files, "");
            }
        }
        if ready.lowered.erlang.iter().flat_map(|project| &project.release).any(|relx| relx.history) {
            let git = release::history(&lowering.root).unwrap_or(lowering.root.join(".git"));
            watched.history(&git);
        }
        watched.globs(lowering)?;
        for name in lowering.common.iter().flat_map(|common| &common.pass_env) {
            watched.variable(name, env);
        }
        if let Some(common) = &lowering.common {
            watched.variable("PATH", env);
            watched.paths.extend(lowering.watched.iter().cloned());
            for name in &lowering.variables {
                watched.variable(name, env);
            }
            for files in common.toolchain.files() {
                watched.folders(files);
            }
            watched.paths.extend(common.toolchain.rebar3.clone());
        }
        for name in secrets.names() {
            watched.env.remove(name);
        }
        for name in crate::secrets::keyed(&lowering.file) {
            let mark = secrets.mark(&name).map(|mark| Digest::of(mark.as_bytes()));
            watched.env.insert(format!("{WATCHED}{name}"), mark);
        }
        Ok(watched)
    }

    /// What moves when there is a new commit or a new tag.
    fn history(&mut self, git: &Path) {
        self.paths.extend(["HEAD", "logs/HEAD", "packed-refs", "refs/tags"].map(|name| git.join(name)));
        let head = std::fs::read_to_string(git.join("HEAD")).unwrap_or_default();
        self.paths.extend(head.strip_prefix("ref: ").map(|branch| git.join(branch.trim())));
    }

    fn variable(&mut self, name: &str, env: &BTreeMap<String, String>) {
        self.env.insert(name.to_owned(), env.get(name).map(|value| Digest::of(value.as_bytes())));
    }

    fn probe(
        &mut self,
        whole: &Whole,
        probe: &Probe,
        env: &BTreeMap<String, String>,
    ) -> Result<(), StepError> {
        let path = match probe {
            Probe::Env(name) => {
                self.variable(name, env);
                return Ok(());
            }
            Probe::Content(path) | Probe::Kind(path) | Probe::Listing(path) | Probe::Tree(path) => path,
        };
        // What was fetched lies nowhere that the user could touch; its absence from deps/ is looked at already.
        if whole.fetched.values().any(|fetched| Path::new(path).starts_with(whole.layout.at(&fetched.at))) {
            return Ok(());
        }
        let mut owner: Option<(&str, String)> = None;
        for folder in whole.folders() {
            let at = whole.layout.at(folder);
            if Path::new(path).starts_with(&at)
                && owner.as_ref().is_none_or(|(_, other)| other.len() < at.len())
            {
                owner = Some((folder, at));
            }
        }
        let Some((folder, at)) = owner else { return self.outside(&whole.reach(), probe, path) };
        // What was fetched lies below the build folder, the rest of which is nobody's input.
        let ignored = |other: &String| other.len() > at.len() && Path::new(path).starts_with(other);
        if whole.ignored().iter().any(ignored) {
            return Ok(());
        }
        let files = whole.snapshot(folder)?;
        let rest = path[at.len()..].trim_start_matches('/');
        let found = files.get(rest).map(|(real, _)| real.to_owned());
        let Some(real) = found.or_else(|| rest.is_empty().then(String::new)) else {
            return self.outside(&whole.reach(), probe, path);
        };
        self.paths.insert(if rest.is_empty() { files.root().to_owned() } else { files.root().join(rest) });
        // What a link leads to counts as the link does.
        if real != rest {
            self.paths.insert(files.root().join(&real));
        }
        if matches!(probe, Probe::Tree(_)) {
            self.tree(&files, &real);
        }
        Ok(())
    }

    /// What is no source, and was looked at nevertheless.
    fn outside(&mut self, reach: &Reach, probe: &Probe, path: &str) -> Result<(), StepError> {
        let Some(real) = reach.real(path) else { return Ok(()) };
        if matches!(probe, Probe::Tree(_)) && real.is_dir() {
            let files = reach.tree(&real)?;
            if path.starts_with('/') && files.entries().count() > LARGE {
                self.folders(&files);
            } else {
                self.tree(&files, "");
            }
        }
        self.paths.insert(real);
        Ok(())
    }

    /// What is installed comes and goes by its names: whoever puts a newer file in its place changes the folder.
    fn folders(&mut self, files: &Snapshot) {
        self.paths.insert(files.root().to_owned());
        let folders = files.entries().filter(|(_, entry)| **entry == Entry::Directory);
        self.paths.extend(folders.map(|(path, _)| files.root().join(path)));
    }

    fn tree(&mut self, files: &Snapshot, folder: &str) {
        self.paths.insert(files.root().join(folder));
        self.paths.extend(files.inside(folder).map(|(path, _)| files.root().join(path)));
    }

    /// What the globs of the user's own steps match, and the folders in which they could match more.
    fn globs(&mut self, lowering: &Lowering) -> Result<(), StepError> {
        if lowering.file.steps.is_empty() {
            return Ok(());
        }
        let files = lowering.sources.whole(".")?;
        for step in lowering.file.steps.values() {
            for pattern in &step.inputs {
                let literal = !pattern.contains(['*', '?', '[', '{', '\\']);
                if literal && matches!(files.named(pattern), Some((_, Entry::File { .. }))) {
                    self.paths.insert(files.root().join(pattern));
                    continue;
                }
                let fixed = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
                let folder =
                    if literal { pattern } else { fixed.rsplit_once('/').map_or("", |(folder, _)| folder) };
                self.tree(&files, folder.trim_end_matches('/'));
            }
        }
        Ok(())
    }
}
