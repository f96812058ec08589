//! The tools whose projects can be built.

use std::path::Path;

use serde::Deserialize;

/// What a project is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// Mix: `mix.exs`.
    Mix,
    /// rebar3: `rebar.config`.
    Rebar3,
    /// erlang.mk: a Makefile that includes it.
    #[serde(rename = "erlang.mk")]
    ErlangMk,
    /// None: applications as OTP lays them out.
    Otp,
}

impl Tool {
    /// All of them, the one that is taken first where a project has the files of several.
    pub const ALL: [Tool; 4] = [Tool::Mix, Tool::Rebar3, Tool::ErlangMk, Tool::Otp];

    /// Its name in release.yaml.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Mix => "mix",
            Tool::Rebar3 => "rebar3",
            Tool::ErlangMk => "erlang.mk",
            Tool::Otp => "otp",
        }
    }

    /// The tool of the project in a folder.
    pub fn of(project: &Path) -> Option<Tool> {
        Tool::ALL.into_iter().find(|tool| tool.is_of(project))
    }

    /// Whether the project in a folder has the files of this tool.
    pub fn is_of(self, project: &Path) -> bool {
        match self {
            Tool::Mix => project.join("mix.exs").is_file(),
            Tool::Rebar3 => {
                ["rebar.config", "rebar.config.script"].iter().any(|file| project.join(file).is_file())
            }
            Tool::ErlangMk => includes_erlang_mk(project),
            Tool::Otp => !applications(project).is_empty(),
        }
    }
}

fn includes_erlang_mk(project: &Path) -> bool {
    let text = ["Makefile", "makefile", "GNUmakefile"]
        .iter()
        .find_map(|file| std::fs::read_to_string(project.join(file)).ok())
        .unwrap_or_default();
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        let includes = matches!(words.next(), Some("include" | "-include" | "sinclude"));
        includes && words.any(|word| word == "erlang.mk" || word.ends_with("/erlang.mk"))
    })
}

/// The folders of the applications of a project that has no tool, seen from the project's (`.`, `apps/NAME`).
pub fn applications(project: &Path) -> Vec<String> {
    let mut found = Vec::new();
    if is_application(project) {
        found.push(".".to_owned());
    }
    for folder in ["apps", "lib"] {
        let mut names: Vec<String> = std::fs::read_dir(project.join(folder))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_application(&project.join(folder).join(name)))
            .collect();
        names.sort();
        found.extend(names.into_iter().map(|name| format!("{folder}/{name}")));
    }
    found
}

/// Whether a folder has the specification of an application.
fn is_application(folder: &Path) -> bool {
    let has = |inner: &str, end: &[&str]| {
        let names = std::fs::read_dir(folder.join(inner)).into_iter().flatten();
        names
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .any(|name| end.iter().any(|end| name.len() > end.len() && name.ends_with(end)))
    };
    has("src", &[".app.src", ".app.src.script"]) || has("ebin", &[".app"])
}
