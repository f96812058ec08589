//! Building the release with the project's own tool, in a scratch copy of the project.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use relgraph_cache::{Link, Store};
use relgraph_engine::{Finished, Mount, SandboxSpec, StepContext, StepError, Stream};

use super::clock::Window;
use crate::launch;
use crate::layout::Layout;
use crate::steps::describe::Whole;
use crate::tool::Tool;
use crate::vm::{Common, driver};

/// Folders in which tools and editors keep what they made: of no use to a build from clean.
const LEFT_OUT: [&str; 3] = ["_build", ".elixir_ls", ".relgraph"];

/// How a VM of the tool is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// As the VMs of relgraph's steps.
    AsOurs,
    /// In another way: what follows from scheduling comes out differently.
    Otherwise,
}

/// A scratch copy of a project, and of what lies beside it.
pub struct Copy {
    /// The folder that appears at the fixed path.
    pub work: PathBuf,
    /// Where things lie in it.
    pub layout: Layout,
}

/// A release that the tool made.
pub struct Made {
    /// Its folder.
    pub release: PathBuf,
    /// When it was made.
    pub when: Window,
    /// What the tool said, and how it was confined.
    pub finished: Finished,
}

impl Copy {
    /// Copies a project, with what lies beside it (`../shared`) and what was fetched, to `work`, which is made. `tool`: what
    /// builds it there.
    pub fn new(store: &Store, work: &Path, whole: &Whole, tool: Tool) -> Result<Copy, StepError> {
        let root = whole.sources.root();
        let mut hidden: BTreeSet<PathBuf> = whole.hidden.iter().map(|folder| root.join(folder)).collect();
        // This copy lies in there.
        hidden.extend(LEFT_OUT.map(|folder| root.join(folder)));
        if tool == Tool::ErlangMk {
            // Steps do not see it: make would write the commit into the specifications of dependencies.
            hidden.insert(root.join(".git"));
        }
        for folder in std::iter::once(".").chain(whole.beside.iter().map(String::as_str)) {
            let from = if folder == "." { root.to_owned() } else { root.join(folder) };
            copy(&from, &work.join(whole.layout.at(folder)), &hidden)
                .map_err(|e| StepError::io("copy", &from, &e))?;
        }
        for fetched in whole.fetched.values() {
            let to = work.join(whole.layout.at(&fetched.at));
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(|e| StepError::io("create", parent, &e))?;
            }
            store.materialize(&fetched.tree, &to, Link::Copy)?;
        }
        let home = work.join("home");
        fs::create_dir_all(&home).map_err(|e| StepError::io("create", &home, &e))?;
        Ok(Copy { work: work.to_owned(), layout: whole.layout.clone() })
    }

    /// Runs the project's own tool. `name`: of a release that the project declares; none: the one that it makes anyway.
    pub fn release(
        &self,
        cx: &StepContext<'_>,
        common: &Common,
        name: Option<&str>,
        scheduling: Scheduling,
        on_line: &dyn Fn(Stream, &str),
    ) -> Result<Made, StepError> {
        let (spec, made_at) = match common.tool {
            Tool::Rebar3 => self.rebar3(cx, common, name, scheduling),
            _ => self.mix(cx, common, name, scheduling)?,
        };
        let from = now();
        let what = command(common.tool);
        let finished = cx.sandbox.run(&spec, cx.cancel, on_line)?.check(what)?;
        let release = find(&made_at)
            .ok_or_else(|| StepError::internal(format!("{what} ended well and made no release")))?;
        Ok(Made { release, when: Window { from: from - 2, to: now() + 2 }, finished })
    }

    fn mix(
        &self,
        cx: &StepContext<'_>,
        common: &Common,
        name: Option<&str>,
        scheduling: Scheduling,
    ) -> Result<(SandboxSpec, PathBuf), StepError> {
        let prefix = cx.sandbox.prefix(&self.work);
        let folder = format!("{prefix}/driver");
        let path = format!("{prefix}/release");
        let mut args = vec!["-S", "mix", "release"];
        args.extend(name);
        args.extend(["--overwrite", "--path", &path]);
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let start = launch::elixir_cli(&args);
        let mut spec = launch::vm(cx, common, &self.work, scheduling.flags(), start);
        spec.cwd = format!("{prefix}/{}", self.layout.project());
        // Answers for Hex, of which a build from what is in deps/ needs nothing.
        spec.mounts.push(Mount::read_only(cx.store.checkout(&driver(cx)?)?, folder.clone()));
        spec.env.insert("MIX_PATH".to_owned(), folder);
        if common.toolchain.rebar3.is_some() {
            spec.env.insert("MIX_REBAR3".to_owned(), format!("{prefix}/tools/rebar3"));
        }
        Ok((spec, self.work.join("release")))
    }

    fn rebar3(
        &self,
        cx: &StepContext<'_>,
        common: &Common,
        name: Option<&str>,
        scheduling: Scheduling,
    ) -> (SandboxSpec, PathBuf) {
        let prefix = cx.sandbox.prefix(&self.work);
        let mut spec = launch::vm(cx, common, &self.work, Vec::new(), Vec::new());
        spec.cwd = format!("{prefix}/{}", self.layout.project());
        let (rebar3, path) = (format!("{prefix}/tools/rebar3"), format!("{prefix}/release"));
        let mut args = vec![rebar3.as_str(), "as", &common.environment, "release", "-o", &path];
        args.extend(name.iter().flat_map(|name| ["-n", name]));
        spec.argv = args.into_iter().map(str::to_owned).collect();
        let mut flags = ["+S", "1:1", "+SDio", "1", "+SDcpu", "1:1"].map(str::to_owned).to_vec();
        flags.extend(scheduling.flags());
        spec.env.insert("ERL_FLAGS".to_owned(), flags.join(" "));
        (spec, self.work.join("release"))
    }
}

impl Scheduling {
    /// Flags of the VM besides those of every VM; the last of a kind holds.
    pub(super) fn flags(self) -> Vec<String> {
        let flags: &[&str] = match self {
            Scheduling::AsOurs => &[],
            Scheduling::Otherwise => &["+S", "4:4", "+SDcpu", "4:4", "+SDio", "4"],
        };
        flags.iter().map(|&flag| flag.to_owned()).collect()
    }
}

/// How a tool is told to make a release, or, where it makes none, its applications.
pub fn command(tool: Tool) -> &'static str {
    match tool {
        Tool::Rebar3 => "rebar3 release",
        Tool::ErlangMk => "make",
        _ => "mix release",
    }
}

/// The release in a folder, or in the only folder in it.
fn find(folder: &Path) -> Option<PathBuf> {
    if folder.join("releases").is_dir() {
        return Some(folder.to_owned());
    }
    let mut inside = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    inside.find(|path| path.join("releases").is_dir())
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Copies a folder with its modes, times and symlinks, without the folders in `hidden`. Build tools look at times.
fn copy(from: &Path, to: &Path, hidden: &BTreeSet<PathBuf>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let names: Vec<_> = fs::read_dir(from)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    let project = names.iter().any(|name| name == "mix.exs" || name == "rebar.config");
    for name in names {
        if name.to_str().is_some_and(|name| LEFT_OUT.contains(&name)) && project {
            continue;
        }
        let (source, target) = (from.join(&name), to.join(&name));
        if hidden.contains(&source) {
            continue;
        }
        let metadata = fs::symlink_metadata(&source)?;
        if metadata.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if metadata.is_dir() {
            copy(&source, &target, hidden)?;
        } else if metadata.is_file() {
            fs::copy(&source, &target)?;
            let mode = fs::Permissions::from_mode(metadata.mode() & 0o7777 | 0o600);
            fs::set_permissions(&target, mode)?;
            fs::File::options().write(true).open(&target)?.set_modified(metadata.modified()?)?;
        }
    }
    Ok(())
}
