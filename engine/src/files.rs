//! Files of the engine's own: written beside and renamed, never half there.

use std::io::Write;
use std::path::Path;

use crate::error::EngineError;

/// Puts `bytes` at `path`. Without fsync: such files end in a checksum, which finds the torn one.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(EngineError::io("create", folder))?;
    let mut file = tempfile::Builder::new()
        .prefix(".relgraph-")
        .tempfile_in(folder)
        .map_err(EngineError::io("create a file in", folder))?;
    file.write_all(bytes).map_err(EngineError::io("write", path))?;
    file.persist(path).map_err(|e| EngineError::io("replace", path)(e.error))?;
    Ok(())
}
