//! Steps that the user wrote: a script, the files it reads, the files it makes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use globset::GlobBuilder;
use relgraph_cache::{Digest, Link, TreeBuilder};
use relgraph_engine::{Action, Declared, KeyParts, Mount, Ran, Rule, SandboxSpec, StepContext, StepError};

use super::assemble::conflict;
use super::compile;
use crate::schema::CustomStep;
use crate::source::{Entry, Snapshot};

/// The rule of these steps.
pub const RULE: Rule = Rule { name: "custom", version: 1 };

/// Where the project lies inside the sandbox.
const PROJECT: &str = "project";

/// One step of the user.
pub struct Custom {
    /// What release.yaml says.
    pub step: CustomStep,
    /// The project's folder.
    pub files: Arc<Snapshot>,
    /// Compiled applications that it needs, and where each lies below the project's folder.
    pub applications: Vec<(String, String)>,
    /// Other steps of the user that it needs: what they made lies where they made it.
    pub after: Vec<String>,
}

impl Custom {
    /// The files that the globs of `inputs` name, sorted.
    pub fn inputs(&self) -> Result<BTreeMap<&str, &Entry>, StepError> {
        let mut found = BTreeMap::new();
        for pattern in &self.step.inputs {
            let before = found.len();
            let pattern = pattern.trim_start_matches("./");
            if !pattern.contains(['*', '?', '[', '{', '\\']) {
                self.literal(pattern.trim_end_matches('/'), &mut found);
            } else {
                let glob = GlobBuilder::new(pattern)
                    .literal_separator(true)
                    .build()
                    .map_err(|e| StepError::input(format!("`{pattern}` is not a glob: {e}")))?
                    .compile_matcher();
                let fixed = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
                let folder = fixed.rsplit_once('/').map_or("", |(folder, _)| folder);
                found.extend(
                    self.files
                        .inside(folder)
                        .filter(|(path, entry)| **entry != Entry::Directory && glob.is_match(path)),
                );
            }
            if found.len() == before {
                return Err(StepError::input(format!("no file matches the input `{pattern}`"))
                    .with_hint("inputs are globs seen from the project's folder: `assets/**/*.js`"));
            }
        }
        Ok(found)
    }

    fn literal<'a>(&'a self, path: &str, found: &mut BTreeMap<&'a str, &'a Entry>) {
        match self.files.named(path) {
            Some((_, Entry::Directory)) => {
                found.extend(self.files.inside(path).filter(|(_, entry)| **entry != Entry::Directory));
            }
            Some((path, entry)) => {
                found.insert(path, entry);
            }
            None => {}
        }
    }
}

impl Action for Custom {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = KeyParts::new();
        parts.text("command", self.step.script());
        parts.list("outputs", &self.step.outputs);
        parts.text("network", if self.step.network { "yes" } else { "no" });
        for (name, value) in &self.step.env {
            parts.text(format!("env {name}"), value);
        }
        for (path, entry) in self.inputs()? {
            match entry {
                Entry::File { digest, executable } => parts.digest(
                    format!("source {path}{}", if *executable { " (executable)" } else { "" }),
                    digest,
                ),
                Entry::Symlink(target) => parts.text(format!("source {path}"), target),
                Entry::Directory => &mut parts,
            };
        }
        for (app, at) in &self.applications {
            let step = compile::step(app);
            parts
                .digest(format!("input {step}"), &cx.need(&step)?.output("app")?)
                .text(format!("place of {app}"), at);
        }
        for step in &self.after {
            parts.digest(format!("input {step}"), &cx.need(step)?.output("files")?);
        }
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let scratch = cx.store.scratch()?;
        let prefix = cx.sandbox.prefix(scratch.path());
        let project = scratch.path().join(PROJECT);
        for step in &self.after {
            let made = cx.need(step)?.output("files")?;
            let over = scratch.path().join("made");
            cx.store.materialize(&made, &over, Link::Copy)?;
            move_into(&over, &project)?;
        }
        let mut stable = true;
        fs::create_dir_all(&project).map_err(|e| StepError::io("create", &project, &e))?;
        for (path, entry) in self.inputs()? {
            let to = project.join(path);
            make_parent(&to)?;
            let from = self.files.root().join(path);
            match entry {
                Entry::Directory => {}
                Entry::Symlink(target) => {
                    std::os::unix::fs::symlink(target, &to).map_err(|e| StepError::io("create", &to, &e))?
                }
                Entry::File { digest, executable } => {
                    let bytes = fs::read(&from).map_err(|e| StepError::io("read", &from, &e))?;
                    stable &= Digest::of(&bytes) == *digest;
                    fs::write(&to, bytes).map_err(|e| StepError::io("write", &to, &e))?;
                    let mode = if *executable { 0o755 } else { 0o644 };
                    fs::set_permissions(&to, fs::Permissions::from_mode(mode))
                        .map_err(|e| StepError::io("write", &to, &e))?;
                }
            }
        }
        for output in &self.step.outputs {
            make_parent(&project.join(output))?;
        }
        let mut mounts = Vec::new();
        for (app, at) in &self.applications {
            let tree = cx.store.checkout(&cx.need(&compile::step(app))?.output("app")?)?;
            mounts.push(Mount::read_only(tree, format!("{prefix}/{PROJECT}/{at}")));
        }
        let spec = SandboxSpec {
            work: scratch.path().to_owned(),
            mounts,
            argv: ["sh", "-eu", "-c"].map(str::to_owned).into_iter().chain([self.step.script()]).collect(),
            env: self.environment(&prefix),
            cwd: format!("{prefix}/{PROJECT}"),
            network: self.step.network,
            timeout: self.step.timeout.map(Duration::from_secs),
            ..SandboxSpec::default()
        };
        let finished =
            cx.sandbox.run(&spec, cx.cancel, &|stream, line| cx.line(stream, line))?.check("sh")?;
        let files = self.collect(cx, &project)?;
        let outputs = BTreeMap::from([("files".to_owned(), files)]);
        Ok(Ran { stable, ..super::ran(finished, outputs) })
    }
}

impl Custom {
    fn environment(&self, prefix: &str) -> BTreeMap<String, String> {
        let mut env: BTreeMap<String, String> = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("HOME", format!("{prefix}/home")),
            ("LANG", "C.UTF-8".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("TERM", "dumb".to_owned()),
            ("SOURCE_DATE_EPOCH", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        env.extend(self.step.env.clone());
        env
    }

    fn collect(&self, cx: &StepContext<'_>, project: &std::path::Path) -> Result<Digest, StepError> {
        let mut tree = TreeBuilder::new();
        for output in &self.step.outputs {
            let real = project.join(output);
            let meta = fs::symlink_metadata(&real).map_err(|_| {
                StepError::input(format!("step `{}` did not make its output `{output}`", cx.step))
                    .with_hint("outputs are paths seen from the project's folder, in which the script starts")
            })?;
            if meta.is_dir() {
                tree.graft(output, cx.store.ingest(&real, &|_| true)?).map_err(conflict)?;
            } else if meta.is_symlink() {
                let target = fs::read_link(&real).map_err(|e| StepError::io("read", &real, &e))?;
                tree.symlink(output, &target.to_string_lossy()).map_err(conflict)?;
            } else {
                let executable = meta.permissions().mode() & 0o111 != 0;
                tree.file(output, cx.store.put_file(&real)?, executable).map_err(conflict)?;
            }
        }
        Ok(tree.finish(cx.store)?)
    }
}

fn make_parent(path: &std::path::Path) -> Result<(), StepError> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(|e| StepError::io("create", parent, &e)),
        None => Ok(()),
    }
}

/// Moves what is in a folder into another, folders that both have becoming one.
pub(crate) fn move_into(from: &std::path::Path, to: &std::path::Path) -> Result<(), StepError> {
    if !to.exists() {
        make_parent(to)?;
        return fs::rename(from, to).map_err(|e| StepError::io("move", from, &e));
    }
    for entry in fs::read_dir(from).map_err(|e| StepError::io("list", from, &e))? {
        let entry = entry.map_err(|e| StepError::io("list", from, &e))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() && !source.is_symlink() && target.exists() {
            move_into(&source, &target)?;
        } else {
            fs::rename(&source, &target).map_err(|e| StepError::io("move", &source, &e))?;
        }
    }
    fs::remove_dir_all(from).map_err(|e| StepError::io("remove", from, &e))
}
