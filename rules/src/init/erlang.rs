//! Projects in Erlang that do not say in rebar.config what they release.

use std::path::{Path, PathBuf};

use super::scan::{self, Lang};
use super::{Detected, ProjectKind, detected, read, refusal};
use crate::diagnostic::Diagnostic;
use crate::tool::{Tool, applications};

/// Looks at `relx.config`, else at the applications. None: there is no such project.
pub(super) fn detect(project: &Path) -> Result<Option<Detected>, Box<Diagnostic>> {
    let kinds = [
        (Tool::Rebar3, ProjectKind::Rebar3),
        (Tool::ErlangMk, ProjectKind::ErlangMk),
        (Tool::Otp, ProjectKind::Otp),
    ];
    let Some((tool, kind)) = kinds.into_iter().find(|(tool, _)| tool.is_of(project)) else { return Ok(None) };
    let relx = project.join("relx.config");
    if let Some(text) = read(&relx)? {
        let names = scan::releases(&scan::tokens(&text, Lang::Erlang));
        if !names.is_empty() {
            return Ok(Some(detected(kind, relx, names, None)));
        }
    }
    let file = match tool {
        Tool::Rebar3 if project.join("rebar.config").is_file() => project.join("rebar.config"),
        Tool::Rebar3 => project.join("rebar.config.script"),
        Tool::ErlangMk => makefile(project),
        _ => project.to_owned(),
    };
    let mut apps = names(project);
    if let Some(name) = made(&file).filter(|_| tool == Tool::ErlangMk) {
        apps.retain(|app| *app != name);
        apps.insert(0, name);
    }
    let Some(first) = apps.first() else {
        let hint = "add an application (`src/NAME.app.src` or `apps/NAME/src/NAME.app.src`)";
        return Err(refusal("no release is declared, and there is no application", &file, hint));
    };
    let name =
        folder(project).filter(|_| apps.len() > 1 && !is_the_one(project, first)).unwrap_or(first.clone());
    let mut found = detected(kind, file, vec![name], None);
    if apps.len() > 1 {
        found.lines = vec![
            format!("# All applications of the project belong to it: {}.", apps.join(", ")),
            "# What they need comes by itself. To choose, or to start one differently:".to_owned(),
            format!("# applications: {{{first}: permanent, sasl: load}}"),
        ];
    }
    Ok(Some(found))
}

/// Whether an application is the project's own folder.
fn is_the_one(project: &Path, app: &str) -> bool {
    ["src", "ebin"].iter().any(|inner| specified(&project.join(inner)).as_deref() == Some(app))
}

/// The names of the applications, that of the project's own folder first.
fn names(project: &Path) -> Vec<String> {
    let folders = applications(project);
    let named = folders.iter().filter_map(|folder| {
        ["src", "ebin"].iter().find_map(|inner| specified(&project.join(folder).join(inner)))
    });
    named.collect()
}

/// The name in that of the specification in a folder: `NAME.app.src`, `NAME.app.src.script`, `NAME.app`.
fn specified(folder: &Path) -> Option<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| {
            let ends = [".app.src.script", ".app.src", ".app"];
            ends.iter().find_map(|end| name.strip_suffix(end)).map(str::to_owned)
        })
        .collect();
    names.sort();
    names.into_iter().next()
}

fn makefile(project: &Path) -> PathBuf {
    let files = ["Makefile", "makefile", "GNUmakefile"].map(|file| project.join(file));
    files.iter().find(|file| file.is_file()).cloned().unwrap_or_else(|| project.join("Makefile"))
}

/// `PROJECT = NAME` of a Makefile.
fn made(makefile: &Path) -> Option<String> {
    let text = std::fs::read_to_string(makefile).ok()?;
    let said = text.lines().find_map(|line| line.strip_prefix("PROJECT").map(str::trim_start))?;
    let name = said.trim_start_matches([':', '?']).strip_prefix('=')?.trim();
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .then(|| name.to_owned())
}

/// The name of the project's folder, where a release can have it.
fn folder(project: &Path) -> Option<String> {
    let name = std::fs::canonicalize(project).ok()?.file_name()?.to_str()?.replace('-', "_");
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    good.then_some(name)
}
