//! Confinement by `bwrap`: the same root as our own namespaces make, said in its arguments.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::PREFIX;
use super::namespaces::{RESOLVER, SYSTEM};
use super::spec::SandboxSpec;

/// Where it is, if it is installed.
pub(super) fn find() -> Option<PathBuf> {
    ["/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap", "/run/current-system/sw/bin/bwrap"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
}

/// Its arguments for `spec`. Not `--new-session`: the program would leave the process group by which it is ended.
pub(super) fn arguments(spec: &SandboxSpec, cwd: &str) -> Vec<OsString> {
    let mut all = Arguments::default();
    all.add(&["--unshare-ipc", "--unshare-uts", "--hostname", "relgraph", "--die-with-parent"]);
    if !spec.network {
        all.add(&["--unshare-net"]);
    }
    for path in SYSTEM {
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_symlink() => {
                if let Ok(target) = std::fs::read_link(path) {
                    all.pair("--symlink", &target, path);
                }
            }
            Ok(meta) if meta.is_dir() => all.pair("--ro-bind", Path::new(path), path),
            _ => {}
        }
    }
    if spec.network && Path::new(RESOLVER).is_dir() {
        all.pair("--ro-bind", Path::new(RESOLVER), RESOLVER);
    }
    all.add(&["--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc", "--tmpfs", "/tmp"]);
    all.pair("--bind", &spec.work, PREFIX);
    for mount in &spec.mounts {
        all.pair(if mount.writable { "--bind" } else { "--ro-bind" }, &mount.from, &mount.at);
    }
    for path in &spec.hide {
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => all.add(&["--tmpfs", path, "--remount-ro", path]),
            // Not --ro-bind, which forbids devices.
            Ok(_) => all.pair("--dev-bind", Path::new("/dev/null"), path),
            Err(_) => {}
        }
    }
    all.add(&["--remount-ro", "/", "--chdir", cwd, "--"]);
    all.0.extend(spec.argv.iter().map(OsString::from));
    all.0
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn pair(&mut self, option: &str, from: &Path, at: &str) {
        self.0.extend([OsString::from(option), from.into(), at.into()]);
    }
}
