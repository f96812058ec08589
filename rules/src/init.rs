//! Owns `relgraph init`: what a project says about its releases, found by reading its files as text.
//!
//! No VM is started, so this works before anything is installed; what cannot be seen in the text
//! (names computed by a function) is left to the user.

mod convert;
mod distillery;
mod erlang;
mod scan;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::diagnostic::{Diagnostic, shown};
pub use convert::Note;
use scan::{Lang, Token};

/// Whose files were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectKind {
    /// `mix.exs`.
    Mix,
    /// `mix.exs` with `apps_path`.
    MixUmbrella,
    /// `mix.exs` with Distillery's `rel/config.exs`.
    Distillery,
    /// `rebar.config`.
    Rebar3,
    /// A Makefile that includes erlang.mk.
    ErlangMk,
    /// Applications as OTP lays them out, and no tool.
    Otp,
}

/// What a project says about its releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// Whose files were found.
    pub kind: ProjectKind,
    /// The file that the name was read from.
    pub file: PathBuf,
    /// The release to build.
    pub release: String,
    /// Other releases that are declared.
    pub others: Vec<String>,
    /// More lines of the release.yaml that says the same.
    pub lines: Vec<String>,
    /// What they do not say, by the line of `file`.
    pub notes: Vec<Note>,
}

/// Finds out what the project in the folder `project` releases.
pub fn detect(project: &Path) -> Result<Detected, Box<Diagnostic>> {
    let mix = project.join("mix.exs");
    let distillery = project.join("rel/config.exs");
    let rebar = project.join("rebar.config");
    if let Some(text) = read(&mix)? {
        let tokens = scan::tokens(&text, Lang::Elixir);
        let names = scan::mix_releases(&tokens);
        if names.is_empty()
            && let Some(config) = read(&distillery)?
        {
            let tokens = scan::tokens(&config, Lang::Elixir);
            let names = scan::distillery_releases(&tokens);
            if !names.is_empty() {
                let default = scan::option(&tokens, "default_release");
                let mut found = detected(ProjectKind::Distillery, distillery, names, default);
                found.say_the_same(&config, scan::option(&scan::tokens(&text, Lang::Elixir), "app"));
                return Ok(found);
            }
        }
        let umbrella = tokens.iter().any(|token| *token == Token::Key("apps_path".into()));
        let kind = if umbrella { ProjectKind::MixUmbrella } else { ProjectKind::Mix };
        if !names.is_empty() {
            let default = scan::option(&tokens, "default_release");
            return Ok(detected(kind, mix, names, default));
        }
        return match scan::option(&tokens, "app") {
            Some(app) if !umbrella => Ok(detected(kind, mix, vec![app], None)),
            _ if umbrella => Err(refusal(
                "an umbrella project without a release",
                &mix,
                "add `releases: [NAME: [applications: [APP: :permanent]]]` to `project/0`",
            )),
            _ => Err(refusal(
                "cannot see the name of the application",
                &mix,
                "write a release.yaml of the one line `release: NAME`",
            )),
        };
    }
    if let Some(text) = read(&rebar)? {
        let names = scan::relx_releases(&scan::tokens(&text, Lang::Erlang));
        if !names.is_empty() {
            return Ok(detected(ProjectKind::Rebar3, rebar, names, None));
        }
    }
    if let Some(found) = erlang::detect(project)? {
        return Ok(found);
    }
    let hint = "go to the folder that mix.exs, rebar.config or a Makefile with erlang.mk is in";
    Err(refusal("no Elixir or Erlang project here", project, hint))
}

fn refusal(message: &str, file: &Path, hint: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(message).in_file(file).hint(hint))
}

fn detected(kind: ProjectKind, file: PathBuf, names: Vec<String>, default: Option<String>) -> Detected {
    let default = default.filter(|name| names.contains(name));
    let mut others = names;
    let release = match default {
        Some(name) => {
            others.retain(|other| *other != name);
            name
        }
        None => others.remove(0),
    };
    Detected { kind, file, release, others, lines: Vec::new(), notes: Vec::new() }
}

impl Detected {
    /// Another release than the one that the project says.
    pub fn rename(&mut self, name: &str) -> Result<(), Box<Diagnostic>> {
        if self.release != name {
            self.others.retain(|other| other != name);
            self.others.insert(0, std::mem::replace(&mut self.release, name.to_owned()));
            if self.kind == ProjectKind::Distillery
                && let Some(config) = read(&self.file)?
            {
                let mix = self.file.parent().and_then(Path::parent).unwrap_or(Path::new("")).join("mix.exs");
                let app =
                    read(&mix)?.and_then(|text| scan::option(&scan::tokens(&text, Lang::Elixir), "app"));
                self.say_the_same(&config, app);
            }
        }
        Ok(())
    }

    /// Reads what Distillery's configuration says about the release, built for `prod`.
    fn say_the_same(&mut self, config: &str, app: Option<String>) {
        let blocks = distillery::blocks(config);
        let converted = convert::convert(&blocks, &self.release, "prod", app.as_deref());
        (self.lines, self.notes) = (converted.lines, converted.notes);
    }
}

fn read(path: &Path) -> Result<Option<String>, Box<Diagnostic>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Box::new(Diagnostic::error(format!("cannot be read: {error}")).in_file(path))),
    }
}

/// The text of a release.yaml for what was found.
pub fn render(detected: &Detected) -> String {
    let mut text = String::from("# What `relgraph build` makes. Every key: `relgraph schema`.\n");
    let plain = detected.release.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !["true", "false", "null"].contains(&detected.release.as_str());
    // The string form of `Value` is JSON, which YAML reads.
    let name =
        if plain { detected.release.clone() } else { Value::from(detected.release.as_str()).to_string() };
    text.push_str(&format!("release: {name}\n"));
    if !detected.others.is_empty() {
        let others: Vec<String> = detected.others.iter().map(|name| shown(name)).collect();
        text.push_str(&format!("# Also declared: {}. Each has a file of its own.\n", others.join(", ")));
    }
    for line in &detected.lines {
        text.push_str(&format!("{line}\n"));
    }
    if !detected.notes.is_empty() {
        text.push_str(&format!("\n# Not taken over from {}:\n", shown(&detected.file.to_string_lossy())));
    }
    for note in &detected.notes {
        text.push_str(&format!("# - line {}: {}\n", note.line, shown(&note.message)));
    }
    text.push_str(match detected.kind {
        ProjectKind::Rebar3 => "\n# Left out, what rebar.config says holds.\n",
        ProjectKind::ErlangMk | ProjectKind::Otp => "\n# Left out, what the applications say holds.\n",
        _ => "\n# Left out, what mix.exs says holds.\n",
    });
    text.push_str(OPTIONS);
    text
}

const OPTIONS: &str = r#"# version: "1.0.0"
# environment: prod
# runtime: true           # or false, or the folder of another Erlang
# strip: true
# package: tar.gz
# upgrades: hot           # a layout that a running node can be moved to
# overlays: [rel/overlays]
# pass_env: [GIT_COMMIT]

# Steps of your own; what they make becomes part of the release.
# steps:
#   assets:
#     run: npm ci && npm run build
#     inputs: [assets/**]
#     outputs: [priv/static]
#     network: true
"#;

#[cfg(test)]
mod tests;
