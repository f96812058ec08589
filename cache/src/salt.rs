//! The salt of this machine: random bytes that are made once, and that nobody else knows.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::error::{At, Result};

/// The file in the store's folder that holds it, readable by its owner only.
pub const SALT_FILE: &str = "secret-salt";

/// The salt of the store in `root`: 64 hexadecimal digits. Made when there is none; of several processes that make one at the
/// same time, one wins.
pub fn salt(root: &Path) -> Result<String> {
    let path = root.join(SALT_FILE);
    if let Some(salt) = read(&path).at(&path, "read")? {
        return Ok(salt);
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other).at(&path, "find random numbers for")?;
    let mut file = tempfile::NamedTempFile::new_in(root).at(root, "create a file in")?;
    let digits = blake3::Hash::from_bytes(random).to_hex();
    writeln!(file, "{digits}").and_then(|()| file.as_file().sync_all()).at(&path, "write")?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(digits.to_string()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            let made = read(&path).at(&path, "read")?;
            made.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)).at(&path, "read")
        }
        Err(error) => Err(error.error).at(&path, "write"),
    }
}

/// What the file holds; one that is torn is removed, and with it what only it could find again.
fn read(path: &Path) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match text
        .strip_suffix('\n')
        .filter(|digits| digits.len() == 64 && blake3::Hash::from_hex(digits).is_ok())
    {
        Some(digits) => Ok(Some(digits.to_owned())),
        None => fs::remove_file(path).map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let made = salt(root.path()).unwrap();
        assert_eq!(made.len(), 64);
        assert_eq!(salt(root.path()).unwrap(), made);
        let path = root.path().join(SALT_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(salt(tempfile::tempdir().unwrap().path()).unwrap(), made);
        fs::write(&path, "torn").unwrap();
        assert_ne!(salt(root.path()).unwrap(), made);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
