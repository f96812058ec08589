//! What `relgraph doctor` says of remotes.

use std::path::Path;

use relgraph_rules::schema::ReleaseFile;

use crate::cli::context::Context;
use crate::cli::remotes::configured;
use crate::render::doctor::{Check, State};

/// Looks at every remote.
pub fn checks(context: &Context, file: Option<&ReleaseFile>, checks: &mut Vec<Check>) {
    let folder = std::env::current_dir().unwrap_or_default();
    let release = file.map(|file| (file, folder.as_path() as &Path));
    let sharing = match configured(context, release, false) {
        Ok(sharing) => sharing,
        Err(complaints) => {
            checks.extend(complaints.into_iter().map(|complaint| Check {
                detail: Some(complaint.to_string()),
                hints: complaint.hints,
                ..Check::new("remotes", State::Missing)
            }));
            return;
        }
    };
    for warning in &sharing.warnings {
        checks.push(Check {
            detail: Some(warning.message.clone()),
            hints: warning.hints.clone(),
            ..Check::new("remotes", State::Warning)
        });
    }
    for remote in &sharing.remotes {
        let notes = sharing.notes.iter().filter(|(url, _)| *url == remote.url).map(|(_, note)| note.clone());
        checks.push(Check {
            detail: Some(remote.shown()),
            notes: notes.collect(),
            ..Check::new("remote", State::Good)
        });
    }
}
