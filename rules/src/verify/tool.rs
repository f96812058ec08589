//! Building the release with the project's own tool, in a scratch copy of the project.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use relgraph_cache::{Link, Probe, Store};
use relgraph_engine::{Finished, Mount, RunReport, SandboxSpec, StepContext, StepError, Stream};

use super::clock::Window;
use crate::foreign::Rust;
use crate::launch;
use crate::layout::Layout;
use crate::steps::describe::Whole;
use crate::tool::Tool;
use crate::vm::{Common, driver, rebar3};

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
    /// Whether there is a crate in it.
    crates: bool,
    /// Whether there are dependencies in it that came from elsewhere.
    pub brought: bool,
}

/// A release that the tool made.
pub struct Made {
    /// Its folder.
    pub release: PathBuf,
    /// The package that the step `:tar` made of it.
    pub package: Option<PathBuf>,
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
        let mut crates = false;
        for folder in std::iter::once(".").chain(whole.beside.iter().map(String::as_str)) {
            let from = if folder == "." { root.to_owned() } else { root.join(folder) };
            copy(&from, &work.join(whole.layout.at(folder)), &hidden)
                .map_err(|e| StepError::io("copy", &from, &e))?;
            crates |= Rust::is_wanted(&*whole.sources.whole(folder)?);
        }
        for folder in whole.installed.iter().filter(|folder| !whole.hidden.contains(*folder)) {
            let from = root.join(folder);
            copy(&from, &work.join(whole.layout.at(folder)), &hidden)
                .map_err(|e| StepError::io("copy", &from, &e))?;
        }
        for fetched in whole.fetched.values() {
            let to = work.join(whole.layout.at(&fetched.at));
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(|e| StepError::io("create", parent, &e))?;
            }
            store.materialize(&fetched.tree, &to, Link::Copy)?;
            crates |= Rust::is_wanted_by(store, &fetched.tree)?;
        }
        let home = work.join("home");
        fs::create_dir_all(&home).map_err(|e| StepError::io("create", &home, &e))?;
        let brought = !whole.installed.is_empty() || !whole.fetched.is_empty();
        Ok(Copy { work: work.to_owned(), layout: whole.layout.clone(), crates, brought })
    }

    /// Copies what steps of a build were seen to read outside of the project: files and folders beside it, a repository
    /// above it.
    pub fn add_what_was_read(&self, whole: &Whole, report: &RunReport) -> Result<(), StepError> {
        let reach = whole.reach();
        let results = report.steps.values().filter_map(|step| step.result.as_ref());
        for (probe, _) in results.flat_map(|result| &result.probes) {
            let (Probe::Content(path) | Probe::Kind(path) | Probe::Listing(path) | Probe::Tree(path)) = probe
            else {
                continue;
            };
            let (path, whole) = match path.split_once("/.git") {
                Some((above, rest)) if rest.is_empty() || rest.starts_with('/') => {
                    (format!("{above}/.git"), true)
                }
                _ => (path.clone(), matches!(probe, Probe::Tree(_))),
            };
            let to = self.work.join(&path);
            let real = if path.starts_with('/') { None } else { reach.real(&path) };
            let Some(real) = real.filter(|real| real.exists() && fs::symlink_metadata(&to).is_err()) else {
                continue;
            };
            let folder = if real.is_dir() { Some(to.as_path()) } else { to.parent() };
            folder.map_or(Ok(()), fs::create_dir_all).map_err(|e| StepError::io("create", &to, &e))?;
            if real.is_file() {
                fs::copy(&real, &to).map_err(|e| StepError::io("copy", &real, &e))?;
            } else if whole {
                copy(&real, &to, &BTreeSet::new()).map_err(|e| StepError::io("copy", &real, &e))?;
            }
        }
        Ok(())
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
        let rust = if self.crates { Rust::find(cx.env)?.map(Arc::new) } else { None };
        let common = &Common { rust, ..common.clone() };
        let (spec, made_at) = match common.tool {
            Tool::Rebar3 => self.rebar3(cx, common, name, scheduling)?,
            _ => self.mix(cx, common, name, scheduling)?,
        };
        let from = now();
        let what = command(common.tool);
        let finished = cx.sandbox.run(&spec, cx.cancel, on_line)?.check(what)?;
        let release = find(&made_at)
            .ok_or_else(|| StepError::internal(format!("{what} ended well and made no release")))?;
        let package = packed(&release).map_err(|e| StepError::io("move", &release, &e))?;
        Ok(Made { release, package, when: Window { from: from - 2, to: now() + 2 }, finished })
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
        // Where Mix has it anyway: functions among its steps are told, and the package lies beside it.
        let at = format!("_build/{}/rel/{}", common.environment, name.unwrap_or("release"));
        let at = self.layout.at(&at);
        let path = format!("{prefix}/{at}");
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
        Ok((spec, self.work.join(at)))
    }

    fn rebar3(
        &self,
        cx: &StepContext<'_>,
        common: &Common,
        name: Option<&str>,
        scheduling: Scheduling,
    ) -> Result<(SandboxSpec, PathBuf), StepError> {
        let prefix = cx.sandbox.prefix(&self.work);
        let path = format!("{prefix}/release");
        let mut args = vec!["as", &common.environment, "release", "-o", &path];
        args.extend(name.iter().flat_map(|name| ["-n", name]));
        let args = args.into_iter().map(str::to_owned);
        let mut spec = if self.brought {
            // rebar3's modules with answers for Hex: of what is there already it would ask nothing else.
            let (modules, answers) = (format!("{prefix}/rebar3"), format!("{prefix}/driver"));
            let tree = rebar3(cx)?;
            let mut flags = vec!["-pa".to_owned()];
            let names = cx.store.directory(&tree)?;
            flags.extend(names.entries.keys().map(|name| format!("{modules}/{name}/ebin")));
            flags.push(answers.clone());
            let start = ["-s", "rebar3", "main", "-extra"].map(str::to_owned);
            let mut spec = launch::vm(cx, common, &self.work, flags, start.into_iter().chain(args).collect());
            spec.mounts.push(Mount::read_only(cx.store.checkout(&tree)?, modules));
            spec.mounts.push(Mount::read_only(cx.store.checkout(&driver(cx)?)?, answers));
            spec
        } else {
            let mut spec = launch::vm(cx, common, &self.work, Vec::new(), Vec::new());
            spec.argv = std::iter::once(format!("{prefix}/tools/rebar3")).chain(args).collect();
            spec
        };
        spec.cwd = format!("{prefix}/{}", self.layout.project());
        let mut flags = ["+S", "1:1", "+SDio", "1", "+SDcpu", "1:1"].map(str::to_owned).to_vec();
        flags.extend(scheduling.flags());
        spec.env.insert("ERL_FLAGS".to_owned(), flags.join(" "));
        Ok((spec, self.work.join("release")))
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

/// The package of a release. Mix puts it into the folder that it builds in, or into that of the release where it was told to put
/// that elsewhere; there it does not belong, and is moved to beside it.
fn packed(release: &Path) -> io::Result<Option<PathBuf>> {
    let Ok(data) = fs::read_to_string(release.join("releases/start_erl.data")) else { return Ok(None) };
    let version = data.split_whitespace().nth(1).unwrap_or_default();
    let ending = format!("-{version}.tar.gz");
    for folder in [Some(release), release.parent().and_then(Path::parent)].into_iter().flatten() {
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let made = name.to_str().and_then(|name| name.strip_suffix(&ending));
            if made.is_some_and(|name| release.join(format!("releases/{version}/{name}.rel")).is_file()) {
                let beside = release.with_extension("tar.gz");
                fs::rename(folder.join(&name), &beside)?;
                return Ok(Some(beside));
            }
        }
    }
    Ok(None)
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
