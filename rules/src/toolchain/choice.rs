//! Which Erlang, Elixir and rebar3 are meant: those that release.yaml names, else those that `.tool-versions` or `mise.toml`
//! does, else those that PATH leads to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::versions::{self, Wanted};
use super::{Elixir, Erlang, list, which};
use crate::diagnostic::Diagnostic;
use crate::schema::ReleaseFile;

/// A program that builds projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Erlang/OTP.
    Erlang,
    /// Elixir, with Mix.
    Elixir,
    /// rebar3.
    Rebar3,
}

impl Program {
    /// What release.yaml calls it.
    fn key(self) -> &'static str {
        match self {
            Program::Erlang => "erlang",
            Program::Elixir => "elixir",
            Program::Rebar3 => "rebar3",
        }
    }

    /// Its name in a sentence.
    fn title(self) -> &'static str {
        match self {
            Program::Erlang => "Erlang",
            Program::Elixir => "Elixir",
            Program::Rebar3 => "rebar3",
        }
    }

    /// What version managers call it.
    fn names(self) -> &'static [&'static str] {
        match self {
            Program::Erlang => &["erlang"],
            Program::Elixir => &["elixir"],
            Program::Rebar3 => &["rebar", "rebar3"],
        }
    }
}

/// Chooses installations for one project.
pub struct Choice<'a> {
    env: &'a BTreeMap<String, String>,
    project: &'a Path,
    file: Option<&'a ReleaseFile>,
    /// What the user should know about what was chosen.
    pub warnings: Vec<Diagnostic>,
    /// Paths that the choice depends on, besides PATH and the installations themselves.
    pub watched: Vec<PathBuf>,
    /// Variables that it depends on, besides PATH.
    pub variables: Vec<&'static str>,
}

/// An installation, and its version where that is known without starting it.
type Found<T> = (Option<String>, T);

/// A wish, and who has it.
struct Wish {
    wanted: Vec<Wanted>,
    /// The file that says so, and its line; none: release.yaml does.
    said: Option<(PathBuf, usize)>,
}

impl<'a> Choice<'a> {
    /// For the project in a folder, in an environment. `file`: what release.yaml says.
    pub fn new(
        env: &'a BTreeMap<String, String>,
        project: &'a Path,
        file: Option<&'a ReleaseFile>,
    ) -> Choice<'a> {
        Choice { env, project, file, warnings: Vec::new(), watched: Vec::new(), variables: Vec::new() }
    }

    fn path(&self) -> &'a str {
        self.env.get("PATH").map_or("", String::as_str)
    }

    /// The Erlang that is meant.
    pub fn erlang(&mut self) -> Result<Erlang, Box<Diagnostic>> {
        let (path, here) = (self.path(), self.project);
        let at = |folder: &Path| Erlang::at(folder).ok().map(|found| (found.otp(), found));
        let found = || Erlang::find(path, here).map(|found| (found.otp(), found));
        self.choose(Program::Erlang, &at, &found)
    }

    /// The Elixir that is meant.
    pub fn elixir(&mut self) -> Result<Elixir, Box<Diagnostic>> {
        let (path, here) = (self.path(), self.project);
        let at = |folder: &Path| Elixir::at(folder).map(|found| (Some(found.version.clone()), found));
        let found = || Elixir::find(path, here).map(|found| (Some(found.version.clone()), found));
        self.choose(Program::Elixir, &at, &found)
    }

    /// The rebar3 that is meant; `None`: there is none in PATH, and nobody asked for one.
    pub fn rebar3(&mut self) -> Result<Option<PathBuf>, Box<Diagnostic>> {
        let path = self.path();
        let at = |folder: &Path| {
            let inside = ["bin/rebar3", "rebar3"].map(|name| folder.join(name));
            let file = std::iter::once(folder.to_owned()).chain(inside).find(|file| file.is_file())?;
            Some((None, Some(file)))
        };
        // Which version the one in PATH has is told by starting it, for half a second: it is believed to be the one.
        let found = || Ok((None, which("rebar3", path)));
        self.choose(Program::Rebar3, &at, &found)
    }

    fn choose<T>(
        &mut self,
        program: Program,
        at: &dyn Fn(&Path) -> Option<Found<T>>,
        in_path: &dyn Fn() -> Result<Found<T>, Box<Diagnostic>>,
    ) -> Result<T, Box<Diagnostic>> {
        let Some(wish) = self.wish(program) else { return in_path().map(|(_, found)| found) };
        for wanted in &wish.wanted {
            match wanted {
                Wanted::System => return in_path().map(|(_, found)| found),
                Wanted::Folder(folder) => {
                    if let Some((_, found)) = at(folder) {
                        return Ok(found);
                    }
                }
                Wanted::Version(version) => {
                    let installed = self.installed(program, version);
                    if let Some((_, found)) = installed.iter().find_map(|folder| at(folder)) {
                        return Ok(found);
                    }
                    let here = in_path().ok().filter(|(found, _)| {
                        found.as_deref().is_none_or(|found| versions::fits(found, version))
                    });
                    if let Some((_, found)) = here {
                        return Ok(found);
                    }
                }
            }
        }
        self.refuse(program, &wish, in_path)
    }

    /// What is wanted of a program, and by whom.
    fn wish(&mut self, program: Program) -> Option<Wish> {
        if let Some(named) = self.file.and_then(|file| file.toolchain.get(program.key())) {
            self.variables.extend(versions::VARIABLES);
            let wanted = if named.contains('/') {
                Wanted::Folder(self.project.join(named))
            } else {
                Wanted::Version(named.clone())
            };
            return Some(Wish { wanted: vec![wanted], said: None });
        }
        for file in versions::files(self.project) {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            self.watched.push(file.clone());
            let home = self.env.get("HOME").map(String::as_str);
            if let Some((line, wanted)) = versions::wanted(&file, &text, program.names(), home) {
                self.variables.extend(versions::VARIABLES);
                return Some(Wish { wanted, said: Some((file, line)) });
            }
        }
        None
    }

    /// Where version managers have that version, the newest first.
    fn installed(&mut self, program: Program, version: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for installs in versions::installs(self.env) {
            for name in program.names() {
                let folder = installs.join(name);
                self.watched.push(folder.clone());
                let exact = folder.join(version);
                if !version.is_empty() && exact.is_dir() {
                    return vec![exact];
                }
                let names = list(&folder).into_iter().filter(|name| versions::fits(name, version));
                found.extend(names.map(|name| folder.join(name)));
            }
        }
        let parts = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>()
        };
        found.sort_by_key(parts);
        found.reverse();
        found
    }

    /// The versions of a program that version managers have installed.
    fn there(&self, program: Program) -> Vec<String> {
        let folders = versions::installs(self.env);
        let folders =
            folders.iter().flat_map(|installs| program.names().iter().map(|name| installs.join(name)));
        // mise has links from the first parts of a version to the whole of it.
        let real =
            |folder: &PathBuf, name: &String| !folder.join(name).is_symlink() && folder.join(name).is_dir();
        let mut found: Vec<String> = folders
            .flat_map(|folder| {
                list(&folder).into_iter().filter(|name| real(&folder, name)).collect::<Vec<_>>()
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// Nothing of what is wanted is there. What release.yaml names has to be; `.tool-versions` may speak of a machine with a
    /// version manager, which this one need not be.
    fn refuse<T>(
        &mut self,
        program: Program,
        wish: &Wish,
        in_path: &dyn Fn() -> Result<Found<T>, Box<Diagnostic>>,
    ) -> Result<T, Box<Diagnostic>> {
        let what: Vec<String> = wish
            .wanted
            .iter()
            .map(|wanted| match wanted {
                Wanted::Version(version) if version.is_empty() => "of the newest version".into(),
                Wanted::Version(version) => version.clone(),
                Wanted::Folder(folder) => format!("in {}", folder.display()),
                Wanted::System => "in PATH".into(),
            })
            .collect();
        let title = program.title();
        let what = what.join(" or ");
        let (key, manager) = (program.key(), program.names()[0]);
        let version = wish.wanted.iter().find_map(|wanted| match wanted {
            Wanted::Version(version) => Some(version.as_str()).filter(|version| !version.starts_with("ref-")),
            _ => None,
        });
        let install = match version {
            Some("") => format!("install one (`asdf install {manager} latest`, `mise install {manager}`)"),
            Some(version) => {
                format!("install it (`asdf install {manager} {version}`, `mise install {manager}@{version}`)")
            }
            None => "put it there".to_owned(),
        };
        let install = format!(
            "{install}, or name the folder that it is in: `toolchain: {{{key}: /FOLDER}}` in release.yaml"
        );
        let there = self.there(program);
        let there = match there.is_empty() {
            true => String::new(),
            false => format!("installed by version managers: {}", there.join(", ")),
        };
        let Some((file, line)) = &wish.said else {
            let key = format!("toolchain.{key}");
            let mut complaint =
                Diagnostic::error(format!("there is no {title} {what} on this machine")).hint(install);
            if let Ok((Some(version), _)) = in_path() {
                complaint = complaint.note(format!("PATH leads to {title} {version}"));
            }
            if !there.is_empty() {
                complaint = complaint.note(there);
            }
            return Err(Box::new(match self.file {
                Some(file) => complaint.in_file(file.file()).at(file.span(&key)),
                None => complaint,
            }));
        };
        let message = format!("{} asks for {title} {what}, which is not installed", file.display());
        let note = format!("line {line}");
        let note = if there.is_empty() { note } else { format!("{note}; {there}") };
        match in_path() {
            Ok((version, found)) => {
                let version = version.map(|version| format!(" {version}")).unwrap_or_default();
                let note = format!("{note}; what PATH leads to is used: {title}{version}");
                self.warnings.push(Diagnostic::warning(message).note(note).hint(install));
                Ok(found)
            }
            Err(_) => Err(Box::new(Diagnostic::error(message).note(note).hint(install))),
        }
    }
}
