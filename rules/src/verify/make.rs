//! Building the applications of a project of erlang.mk with make, in a scratch copy of the project.
//!
//! make builds applications and no release: what it left in their folders is laid out as a release holds it
//! (`lib/NAME-VERSION`), and is stripped by OTP itself where ours is stripped.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use relgraph_engine::{Finished, SandboxSpec, StepContext, StepError, Stream};

use super::clock::Window;
use super::tool::{Copy, Made, Scheduling, now};
use crate::erlang::make::{is_made, seen};
use crate::etf;
use crate::launch;
use crate::project::{Application, StripRecipe};
use crate::vm::Common;

/// What of an application's folder a release holds.
const PARTS: [&str; 3] = ["ebin", "include", "priv"];

/// Cleans the folders that are named, each by two arguments, and builds the project with its dependencies.
const SCRIPT: &str = r#"
while [ $# -gt 0 ]; do
  make --no-print-directory -C "$1" clean SKIP_DEPS=1 "$2" || exit
  shift 2
done
exec make --no-print-directory deps app
"#;

/// Strips all modules of a release by OTP's own function, and leaves what is no module as it is. What is
/// asked for and kept anyway is there twice then, and the order follows from how it is asked: here it is that of the names.
const STRIP: &str = r#"
[Folder, Compress | Kept] = init:get_plain_arguments(),
Place = fun({Id, _}) -> length(lists:takewhile(fun(Known) -> Known =/= Id end, Kept)) end,
Packed = fun(Bytes) when Compress =:= "yes" -> zlib:gzip(Bytes); (Bytes) -> Bytes end,
Strip = fun(File) ->
    {ok, Module} = file:read_file(File),
    case beam_lib:strip_files([Module], Kept) of
        {ok, [{_, Stripped}]} ->
            {ok, _, Chunks} = beam_lib:all_chunks(Stripped),
            Ordered = [Chunk || {_, Chunk} <- lists:usort([{Place(Chunk), Chunk} || Chunk <- Chunks])],
            {ok, Bytes} = beam_lib:build_module(Ordered),
            ok = file:write_file(File, Packed(Bytes));
        {error, beam_lib, _} ->
            as_it_is
    end
end,
lists:foreach(Strip, filelib:wildcard(filename:join(Folder, "lib/*/ebin/*.beam"))),
halt().
"#;

/// What make is to build.
pub struct Wanted<'a> {
    /// Every application of the project.
    pub applications: &'a [Application],
    /// Those that our release has.
    pub released: &'a BTreeSet<&'a str>,
    /// How ours are stripped, if they are.
    pub recipe: Option<&'a StripRecipe>,
}

impl Copy {
    /// Runs make as the project is built by hand, from clean, and lays out what it made of its applications.
    pub fn applications(
        &self,
        cx: &StepContext<'_>,
        common: &Common,
        wanted: &Wanted<'_>,
        scheduling: Scheduling,
        on_line: &dyn Fn(Stream, &str),
    ) -> Result<Made, StepError> {
        let left = self.take_out(wanted.applications)?;
        let from = now();
        let finished = cx.sandbox.run(&self.make(cx, common, &left, scheduling), cx.cancel, on_line)?;
        let finished = finished.check("make")?;
        let release = self.work.join("release");
        for application in wanted.applications {
            if wanted.released.contains(application.app.as_str()) {
                self.lay_out(application, &release)?;
            }
        }
        if let Some(recipe) = wanted.recipe {
            self.strip(cx, common, recipe)?;
        }
        Ok(Made { release, package: None, when: Window { from: from - 2, to: now() + 2 }, finished })
    }

    fn folder(&self, application: &Application) -> PathBuf {
        self.work.join(self.layout.at(&application.dest))
    }

    /// Removes what an earlier make left, and says in which applications it left something.
    fn take_out<'a>(&self, applications: &'a [Application]) -> Result<Vec<&'a Application>, StepError> {
        let folders: BTreeSet<PathBuf> = applications.iter().map(|one| self.folder(one)).collect();
        let mut left = Vec::new();
        for application in applications {
            let folder = self.folder(application);
            let mut removed = false;
            remove_made(&folder, "", &folders, &mut removed)
                .map_err(|e| StepError::io("clean", &folder, &e))?;
            if removed {
                left.push(application);
            }
        }
        Ok(left)
    }

    fn make(
        &self,
        cx: &StepContext<'_>,
        common: &Common,
        left: &[&Application],
        scheduling: Scheduling,
    ) -> SandboxSpec {
        let prefix = cx.sandbox.prefix(&self.work);
        let mut spec = launch::vm(cx, common, &self.work, Vec::new(), Vec::new());
        spec.cwd = format!("{prefix}/{}", self.layout.project());
        spec.argv = ["sh", "-c", SCRIPT, "sh"].map(str::to_owned).into();
        for application in left {
            let kind = match (application.fetchable, application.from_umbrella) {
                (true, _) => "IS_DEP=1",
                (false, true) => "IS_APP=1",
                (false, false) => "V=0",
            };
            spec.argv.push(format!("{prefix}/{}", self.layout.at(&application.dest)));
            spec.argv.push(kind.to_owned());
        }
        let seen = seen(common);
        spec.env.retain(|name, _| seen.contains(name));
        if scheduling == Scheduling::Otherwise {
            spec.env.insert("ERL_FLAGS".to_owned(), scheduling.flags().join(" "));
        }
        spec
    }

    /// Copies what make made of an application to where a release has it.
    fn lay_out(&self, application: &Application, release: &Path) -> Result<(), StepError> {
        let folder = self.folder(application);
        let name = match version(&folder, &application.app) {
            Some(version) => format!("{}-{version}", application.app),
            None => application.app.clone(),
        };
        let to = release.join("lib").join(name);
        for part in PARTS {
            let from = folder.join(part);
            if from.is_dir() {
                copy_through(&from, &to.join(part), 0).map_err(|e| StepError::io("copy", &from, &e))?;
            }
        }
        Ok(())
    }

    fn strip(
        &self,
        cx: &StepContext<'_>,
        common: &Common,
        recipe: &StripRecipe,
    ) -> Result<Finished, StepError> {
        let prefix = cx.sandbox.prefix(&self.work);
        let compress = if recipe.compress { "yes" } else { "no" };
        let expression = STRIP.replace('\n', " ");
        let mut start = vec!["-eval".to_owned(), expression, "-extra".to_owned()];
        start.extend([format!("{prefix}/release"), compress.to_owned()]);
        start.extend(recipe.chunks.iter().cloned());
        let spec = launch::vm(cx, common, &self.work, Vec::new(), start);
        cx.sandbox.run(&spec, cx.cancel, &|_, _| {})?.check("beam_lib:strip_files/2")
    }
}

/// The version that the specification in `ebin` gives.
fn version(folder: &Path, app: &str) -> Option<String> {
    let bytes = fs::read(folder.join("ebin").join(format!("{app}.app"))).ok()?;
    let term = etf::consult(&bytes).ok()?.pop()?;
    term.as_tagged("application")?.get(1)?.property("vsn")?.as_text()
}

/// Removes what make made in the folder of an application, but not in those of others inside of it.
fn remove_made(
    folder: &Path,
    prefix: &str,
    others: &BTreeSet<PathBuf>,
    removed: &mut bool,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let seen_from = format!("{prefix}{name}");
        if path.symlink_metadata()?.is_dir() {
            if !others.contains(&path) {
                remove_made(&path, &format!("{seen_from}/"), others, removed)?;
            }
        } else if is_made(&seen_from) {
            fs::remove_file(&path)?;
            *removed = true;
        }
    }
    Ok(())
}

/// Real trees are a dozen folders deep; links may lead in circles.
const DEPTH: usize = 100;

/// Copies a folder with what links in it lead to, as far as that is there. A release knows who may execute, and nothing else of modes.
fn copy_through(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    if depth > DEPTH {
        return Err(io::Error::other("folders are nested too deeply"));
    }
    fs::create_dir_all(to)?;
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    mode(to, 0o755)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let Ok(metadata) = fs::metadata(&source) else { continue };
        if metadata.is_dir() {
            copy_through(&source, &target, depth + 1)?;
        } else if metadata.is_file() {
            fs::copy(&source, &target)?;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            mode(&target, if executable { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}
