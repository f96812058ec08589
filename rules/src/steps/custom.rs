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
use super::tools::{self, Tools};
use super::{compile, generated};
use crate::schema::CustomStep;
use crate::source::{Entry, Snapshot};

/// The rule of these steps.
pub const RULE: Rule = Rule { name: "custom", version: 1 };

/// Where the project lies inside the sandbox.
const PROJECT: &str = "project";

/// A compiled application that a step finds.
pub struct Compiled {
    /// Its name.
    pub app: String,
    /// Where it is built, seen from the project's folder.
    pub build: String,
    /// Where its sources lie, seen from the project's folder, where what compilers made among them is found.
    pub generated: Option<String>,
}

/// One step of the user.
pub struct Custom {
    /// What release.yaml says.
    pub step: CustomStep,
    /// The project's folder.
    pub files: Arc<Snapshot>,
    /// Compiled applications that it needs.
    pub applications: Vec<Compiled>,
    /// Other steps of the user that it needs: what they made lies where they made it.
    pub after: Vec<String>,
    /// The step that the assembled release comes out of, where it sees that, and where it lies below the project's folder.
    pub release: Option<(String, String)>,
    /// What builds the project, where it is wanted.
    pub tools: Option<Tools>,
}

impl Custom {
    /// The files that the globs of `inputs` name, and those that `mix` reads, sorted.
    fn inputs(&self, cx: &StepContext<'_>) -> Result<BTreeMap<&str, &Entry>, StepError> {
        let mut found = match &self.tools {
            Some(tools) => tools.files(cx, &self.files)?,
            None => BTreeMap::new(),
        };
        for pattern in &self.step.inputs {
            let mut named = BTreeMap::new();
            let pattern = pattern.trim_start_matches("./");
            if !pattern.contains(['*', '?', '[', '{', '\\']) {
                self.literal(pattern.trim_end_matches('/'), &mut named);
            } else {
                let glob = GlobBuilder::new(pattern)
                    .literal_separator(true)
                    .build()
                    .map_err(|e| StepError::input(format!("`{pattern}` is not a glob: {e}")))?
                    .compile_matcher();
                let fixed = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
                let folder = fixed.rsplit_once('/').map_or("", |(folder, _)| folder);
                named.extend(
                    self.files
                        .inside(folder)
                        .filter(|(path, entry)| **entry != Entry::Directory && glob.is_match(path)),
                );
            }
            if named.is_empty() {
                return Err(StepError::input(format!("no file matches the input `{pattern}`"))
                    .with_hint("inputs are globs seen from the project's folder: `assets/**/*.js`"));
            }
            found.extend(named);
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
        let mut parts = match &self.tools {
            Some(tools) => tools.parts(cx)?,
            None => KeyParts::new(),
        };
        parts.text("command", self.step.script());
        parts.list("outputs", &self.step.outputs);
        parts.text("network", if self.step.network { "yes" } else { "no" });
        for (name, value) in &self.step.env {
            parts.text(format!("env {name}"), value);
        }
        for (name, how) in &self.step.secrets.0 {
            let mark = if how.keyed { cx.secrets.mark(name) } else { Some("in no key".to_owned()) };
            parts.text(format!("secret {name}"), mark.as_deref().unwrap_or("not set"));
        }
        for (path, entry) in self.inputs(cx)? {
            match entry {
                Entry::File { digest, executable } => parts.digest(
                    format!("source {path}{}", if *executable { " (executable)" } else { "" }),
                    digest,
                ),
                Entry::Symlink(target) => parts.text(format!("source {path}"), target),
                Entry::Directory => &mut parts,
            };
        }
        for Compiled { app, build, generated } in &self.applications {
            let step = compile::step(app);
            let result = cx.need(&step)?;
            parts
                .digest(format!("input {step}"), &result.output("app")?)
                .text(format!("place of {app}"), build);
            if generated.is_some() {
                parts.digest(format!("generated by {step}"), &result.output(generated::OUTPUT)?);
            }
        }
        for step in &self.after {
            parts.digest(format!("input {step}"), &cx.need(step)?.output("files")?);
        }
        if let Some((step, at)) = &self.release {
            parts.digest(format!("input {step}"), &cx.need(step)?.output("release")?);
            parts.text("place of the release", at);
        }
        Ok(Declared::new(parts).given(self.step.secrets.names()))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let scratch = cx.store.scratch()?;
        let prefix = cx.sandbox.prefix(scratch.path());
        let place = self.tools.as_ref().map_or(PROJECT.to_owned(), Tools::place);
        let project = scratch.path().join(&place);
        for step in &self.after {
            let made = cx.need(step)?.output("files")?;
            let over = scratch.path().join("made");
            cx.store.materialize(&made, &over, Link::Copy)?;
            move_into(&over, &project)?;
        }
        let mut stable = true;
        if let Some(tools) = &self.tools {
            stable &= tools.stage(cx, scratch.path(), &prefix)?;
        }
        fs::create_dir_all(&project).map_err(|e| StepError::io("create", &project, &e))?;
        for (path, entry) in self.inputs(cx)? {
            let to = project.join(path);
            make_parent(&to)?;
            if to.is_symlink() {
                fs::remove_file(&to).map_err(|e| StepError::io("replace", &to, &e))?;
            }
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
        for Compiled { app, generated, .. } in &self.applications {
            let Some(at) = generated else { continue };
            let made = cx.need(&compile::step(app))?.output(generated::OUTPUT)?;
            let over = scratch.path().join("made");
            cx.store.materialize(&made, &over, Link::Copy)?;
            move_into(&over, &project.join(at))?;
        }
        for output in &self.step.outputs {
            make_parent(&project.join(output))?;
        }
        let mut mounts = Vec::new();
        for Compiled { app, build: at, .. } in &self.applications {
            let tree = cx.need(&compile::step(app))?.output("app")?;
            match &self.tools {
                Some(tools) => tools::put(cx, &tree, &scratch.path().join(tools.layout.at(at)))?,
                None => {
                    let at = format!("{prefix}/{place}/{at}");
                    mounts.push(Mount::read_only(cx.store.checkout(&tree)?, at));
                }
            }
        }
        if let Some((step, at)) = &self.release {
            let tree = cx.store.checkout(&cx.need(step)?.output("release")?)?;
            mounts.push(Mount::read_only(tree, format!("{prefix}/{place}/{at}")));
        }
        if let Some(tools) = &self.tools {
            mounts.extend(tools.mounts(cx, &prefix)?);
        }
        let spec = SandboxSpec {
            work: scratch.path().to_owned(),
            mounts,
            argv: ["sh", "-eu", "-c"].map(str::to_owned).into_iter().chain([self.step.script()]).collect(),
            env: self.environment(cx, &prefix),
            cwd: format!("{prefix}/{place}"),
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
    fn environment(&self, cx: &StepContext<'_>, prefix: &str) -> BTreeMap<String, String> {
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
        env.extend(self.tools.iter().flat_map(|tools| tools.env(cx, prefix)));
        env.extend(self.step.env.clone());
        let secrets = self.step.secrets.names();
        env.extend(secrets.filter_map(|name| Some((name.clone(), cx.secrets.expose(name)?.to_owned()))));
        env
    }

    fn collect(&self, cx: &StepContext<'_>, project: &std::path::Path) -> Result<Digest, StepError> {
        let made = |output| {
            let real = project.join(output);
            let meta = fs::symlink_metadata(&real).map_err(|_| {
                StepError::input(format!("step `{}` did not make its output `{output}`", cx.step))
                    .with_hint("outputs are paths seen from the project's folder, in which the script starts")
            })?;
            Ok::<_, StepError>((output, real, meta))
        };
        // Before any of it is stored.
        let made: Vec<(&String, _, _)> = self.step.outputs.iter().map(made).collect::<Result<_, _>>()?;
        let mut tree = TreeBuilder::new();
        for (output, real, meta) in made {
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
