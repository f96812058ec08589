//! Reads tokens and certificates again: when somebody says so, and when their files change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::listen::Tls;
use super::shared::{Event, Shared};
use super::tls::TlsFiles;
use super::{ServeConfig, ServeError};

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// What changes when a file does.
pub(super) type Stamp = Option<(u64, u64, i64, i64)>;

/// The state of all files that are read again.
pub(super) fn stamps(config: &ServeConfig) -> Vec<Stamp> {
    let tls = config.tls.iter().flat_map(TlsFiles::paths);
    let files = config.readers.iter().chain(config.writers.iter().map(|one| &one.file)).chain(tls);
    let stamp = |path: &PathBuf| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
    };
    files.map(stamp).collect()
}

/// Runs as long as the server does. `known` is how the files were before they were read first.
pub(super) async fn watch(
    config: ServeConfig,
    mut known: Vec<Stamp>,
    shared: Arc<Shared>,
    tls: Tls,
    asked: Arc<Notify>,
) {
    loop {
        let was_asked = tokio::time::timeout(EVERY, asked.notified()).await.is_ok();
        let now = stamps(&config);
        if !was_asked && now == known {
            continue;
        }
        known = now;
        match read(&config, &shared, &tls) {
            Ok(()) => (shared.on_event)(Event::Reloaded),
            Err(error) => shared.warn(format!("{error}; what was read before still counts")),
        }
    }
}

fn read(config: &ServeConfig, shared: &Shared, tls: &Tls) -> Result<(), ServeError> {
    let tokens = config.tokens()?;
    let certificates = config.tls.as_ref().map(TlsFiles::read).transpose()?;
    shared.set_tokens(tokens);
    *tls.write().unwrap_or_else(PoisonError::into_inner) = certificates;
    warn_of_exposed(shared);
    Ok(())
}

/// Says which files of tokens others may read.
pub(super) fn warn_of_exposed(shared: &Shared) {
    for path in &shared.tokens().exposed {
        let path = path.display();
        shared.warn(format!(
            "others than its owner may read {path}: `chmod 600 {path}` keeps the tokens in it"
        ));
    }
}
