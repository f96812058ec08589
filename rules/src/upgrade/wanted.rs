//! What a project says about upgrades: release.yaml, and the appups that it keeps in `rel/appups`.

use std::fs;
use std::io;
use std::path::Path;

use super::scope::{ApplicationRules, GivenAppup, ModuleRule, Purge, Rules};
use crate::diagnostic::Diagnostic;
use crate::schema::{self, ModuleWay, ReleaseFile};

/// Where a project keeps appups that somebody wrote, as users of Distillery do.
const APPUPS: &str = "rel/appups";

impl Rules {
    /// What the release.yaml of a project in `root` says.
    pub fn of(file: &ReleaseFile, root: &Path) -> Result<Rules, Box<Diagnostic>> {
        let upgrades = &file.upgrades;
        let mut rules = Rules {
            purge: match upgrades.purge {
                Some(schema::Purge::Brutal) => Purge::Brutal,
                Some(schema::Purge::Soft) | None => Purge::Soft,
            },
            timeout: upgrades.timeout.map(|seconds| seconds.saturating_mul(1000)),
            ..Rules::default()
        };
        for (name, text) in kept(root).map_err(|e| unreadable(&root.join(APPUPS), &e))? {
            let known: &mut ApplicationRules = rules.applications.entry(name).or_default();
            known.appups.push(text);
        }
        for (name, way) in &upgrades.applications {
            let known = rules.applications.entry(name.clone()).or_default();
            known.restart = way.restart;
            known.modules =
                way.modules.iter().map(|(module, way)| (module_name(module), rule(*way))).collect();
            if let Some(path) = &way.appup {
                let real = root.join(path);
                let text = fs::read(&real).map_err(|error| {
                    let place = file.span(&format!("upgrades.applications.{name}.appup"));
                    let message = format!("cannot read the appup {}: {error}", path.display());
                    Box::new(Diagnostic::error(message).in_file(file.file()).at(place))
                })?;
                known.appups = vec![GivenAppup { file: path.display().to_string(), text, must: true }];
            }
        }
        Ok(rules)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(format!("cannot read {}: {error}", path.display())))
}

/// Elixir's modules as the machine has them.
fn module_name(name: &str) -> String {
    match name.chars().next() {
        Some(first) if first.is_ascii_uppercase() && !name.starts_with("Elixir.") => format!("Elixir.{name}"),
        _ => name.to_owned(),
    }
}

fn rule(way: ModuleWay) -> ModuleRule {
    match way {
        ModuleWay::Load => ModuleRule::Load,
        ModuleWay::Suspend => ModuleRule::Suspend,
        ModuleWay::Migrate => ModuleRule::Migrate,
        ModuleWay::Restart => ModuleRule::Restart,
    }
}

/// `rel/appups/APP.appup` and `rel/appups/APP/*.appup`, sorted: the application and the file.
fn kept(root: &Path) -> io::Result<Vec<(String, GivenAppup)>> {
    let mut files = Vec::new();
    for entry in listed(&root.join(APPUPS))? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(application) = name.strip_suffix(".appup") {
            files.push((application.to_owned(), format!("{APPUPS}/{name}")));
        } else if entry.path().is_dir() {
            for inner in listed(&entry.path())? {
                let file = inner.file_name().to_string_lossy().into_owned();
                if file.ends_with(".appup") {
                    files.push((name.clone(), format!("{APPUPS}/{name}/{file}")));
                }
            }
        }
    }
    files.sort();
    let read = |(application, file): (String, String)| {
        let text = fs::read(root.join(&file))?;
        Ok((application, GivenAppup { file, text, must: false }))
    };
    files.into_iter().map(read).collect()
}

fn listed(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
