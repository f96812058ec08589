//! Files of the engine's own: a checksum at the end, written beside and renamed, never half there.

use std::io::Write;
use std::path::Path;

use crate::error::EngineError;

/// The bytes of a checked file without their checksum; `None` when there is no file or its checksum is wrong.
pub(crate) fn read_checked(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(path).ok()?;
    let body = bytes.len().checked_sub(32)?;
    if blake3::hash(&bytes[..body]).as_bytes() != &bytes[body..] {
        return None;
    }
    bytes.truncate(body);
    Some(bytes)
}

/// Puts `bytes` and their checksum at `path`, atomically. Without fsync: a torn file is found by its checksum.
pub(crate) fn write_checked(path: &Path, mut bytes: Vec<u8>) -> Result<(), EngineError> {
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(EngineError::io("create", folder))?;
    let mut file = tempfile::Builder::new()
        .prefix(".relgraph-")
        .tempfile_in(folder)
        .map_err(EngineError::io("create a file in", folder))?;
    file.write_all(&bytes).map_err(EngineError::io("write", path))?;
    file.persist(path).map_err(|e| EngineError::io("replace", path)(e.error))?;
    Ok(())
}
