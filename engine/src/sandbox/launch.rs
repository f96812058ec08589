//! What the parent tells the helper process: one message on its standard input.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use relgraph_cache::codec::{CodecError, Reader, Writer};

use super::spec::{Mount, SandboxMode, SandboxSpec};

const MAGIC: &str = "relgraph sandbox 1";

/// A spec, how to confine it, and the `bwrap` to do it with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Launch {
    pub mode: SandboxMode,
    pub bwrap: PathBuf,
    pub spec: SandboxSpec,
}

impl Launch {
    pub fn encode(&self) -> Vec<u8> {
        let spec = &self.spec;
        let mut out = Writer::new(MAGIC);
        out.u8(self.mode.tag());
        path(&mut out, &self.bwrap);
        path(&mut out, &spec.work);
        out.u64(spec.mounts.len() as u64);
        for mount in &spec.mounts {
            path(&mut out, &mount.from);
            out.str(&mount.at).bool(mount.writable);
        }
        for list in [&spec.hide, &spec.argv] {
            out.u64(list.len() as u64);
            list.iter().fold(&mut out, |out, item| out.str(item));
        }
        out.u64(spec.env.len() as u64);
        spec.env.iter().fold(&mut out, |out, (name, value)| out.str(name).str(value));
        out.str(&spec.cwd).bool(spec.network);
        out.finish_checked()
    }

    pub fn decode(bytes: &[u8]) -> Result<Launch, CodecError> {
        let mut reader = Reader::new_checked(bytes, MAGIC)?;
        let mode = SandboxMode::from_tag(reader.u8()?).ok_or_else(|| reader.invalid("the way to confine"))?;
        let bwrap = read_path(&mut reader)?;
        let mut spec = SandboxSpec { work: read_path(&mut reader)?, ..SandboxSpec::default() };
        for _ in 0..reader.count(17)? {
            let from = read_path(&mut reader)?;
            spec.mounts.push(Mount { from, at: reader.str()?.to_owned(), writable: reader.bool()? });
        }
        for list in [&mut spec.hide, &mut spec.argv] {
            for _ in 0..reader.count(8)? {
                list.push(reader.str()?.to_owned());
            }
        }
        for _ in 0..reader.count(16)? {
            let name = reader.str()?.to_owned();
            spec.env.insert(name, reader.str()?.to_owned());
        }
        spec.cwd = reader.str()?.to_owned();
        spec.network = reader.bool()?;
        reader.finish()?;
        Ok(Launch { mode, bwrap, spec })
    }
}

fn path(out: &mut Writer, path: &Path) {
    out.bytes(path.as_os_str().as_bytes());
}

fn read_path(reader: &mut Reader<'_>) -> Result<PathBuf, CodecError> {
    Ok(PathBuf::from(OsStr::from_bytes(reader.bytes()?)))
}
