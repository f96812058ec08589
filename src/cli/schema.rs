//! `relgraph schema` and `relgraph completions`: what editors and shells want to know.

use std::process::ExitCode;

use relgraph_rules::schema::json_schema;

use super::exit;
use crate::render::{page, say};

/// Writes the JSON Schema of release.yaml.
pub fn run() -> ExitCode {
    let schema = json_schema();
    say(&serde_json::to_string_pretty(&schema).unwrap_or_else(|_| schema.to_string()));
    exit::DONE
}

/// Writes the completions for a shell.
pub fn completions(shell: clap_complete::Shell, command: &mut clap::Command) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, command, "relgraph", &mut text);
    page(&String::from_utf8_lossy(&text));
    exit::DONE
}
