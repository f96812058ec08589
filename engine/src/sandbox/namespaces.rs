//! Confinement by Linux namespaces: a fresh root with the system read-only, the work folder at its fixed path, and the
//! mounts. Runs in the helper process.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{getegid, geteuid, pivot_root, sethostname};

use super::PREFIX;
use super::helper::HelperError;
use super::spec::SandboxSpec;

/// Where the new root is built: any folder that is always there.
const BASE: &str = "/tmp";
/// Where the old root is while the new one is built.
const OLD: &str = "/.old-root";
/// What a program sees of the system, read-only.
pub(super) const SYSTEM: [&str; 10] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store"];
/// Where names are resolved on some systems; only with the network.
pub(super) const RESOLVER: &str = "/run/systemd/resolve";

type Result<T> = std::result::Result<T, HelperError>;

/// Puts this process into namespaces of its own, with the root that `spec` describes.
pub(super) fn enter(spec: &SandboxSpec) -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if !spec.network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    // Root may have the right to do without; root in a container may not.
    if !uid.is_root() || unshare(flags).is_err() {
        unshare(flags | CloneFlags::CLONE_NEWUSER).map_err(|e| setup("enter", "namespaces", e))?;
        write("/proc/self/setgroups", "deny")?;
        // The same ids inside as outside: what is written belongs to the user, and a program that is not root out
        // there does not take itself for root in here.
        write("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
        write("/proc/self/gid_map", &format!("{gid} {gid} 1"))?;
    }
    sethostname("relgraph").map_err(|e| setup("name", "the host", e))?;
    if !spec.network {
        loopback_up().map_err(|e| setup("raise", "the loopback interface", e))?;
    }
    mount_none("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    tmpfs(BASE, "mode=0755")?;
    let old = format!("{BASE}{OLD}");
    make_folder(Path::new(&old))?;
    pivot_root(BASE, old.as_str()).map_err(|e| setup("make the root of", BASE, e))?;
    chdir("/")?;
    build_root(spec)?;
    umount2(OLD, MntFlags::MNT_DETACH).map_err(|e| setup("unmount", OLD, e))?;
    fs::remove_dir(OLD).map_err(|e| setup("remove", OLD, e))?;
    remount_read_only("/")
}

fn build_root(spec: &SandboxSpec) -> Result<()> {
    for path in SYSTEM {
        let real = old(Path::new(path));
        match fs::symlink_metadata(&real) {
            // On most systems /bin is a symlink to usr/bin, and a program may ask.
            Ok(meta) if meta.is_symlink() => {
                let target = fs::read_link(&real).map_err(|e| setup("read the link", path, e))?;
                symlink(target, path).map_err(|e| setup("make the link", path, e))?;
            }
            Ok(meta) if meta.is_dir() => bind(Path::new(path), path, false)?,
            _ => {}
        }
    }
    if spec.network && old(Path::new(RESOLVER)).is_dir() {
        bind(Path::new(RESOLVER), RESOLVER, false)?;
    }
    bind(Path::new("/dev"), "/dev", true)?;
    if Path::new("/dev/shm").is_dir() {
        tmpfs("/dev/shm", "mode=1777")?;
    }
    bind(Path::new("/proc"), "/proc", true)?;
    make_folder(Path::new("/tmp"))?;
    tmpfs("/tmp", "mode=1777")?;
    bind(&spec.work, PREFIX, true)?;
    for mount in &spec.mounts {
        bind(&mount.from, &mount.at, mount.writable)?;
    }
    for path in &spec.hide {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                tmpfs(path, "mode=0755")?;
                remount_read_only(path)?;
            }
            Ok(_) => bind_at(Path::new("/dev/null"), path)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// Shows what the old root has at `from` (a real path, without symlinks) at `at`.
fn bind(from: &Path, at: &str, writable: bool) -> Result<()> {
    let real = old(from);
    let meta = fs::metadata(&real).map_err(|e| setup("find", from, e))?;
    let target = Path::new(at);
    if meta.is_dir() {
        make_folder(target)?;
    } else if target.symlink_metadata().is_err() {
        make_folder(target.parent().unwrap_or(Path::new("/")))?;
        fs::File::create(target).map_err(|e| setup("make the mount point", at, e))?;
    }
    bind_at(&real, at)?;
    if writable { Ok(()) } else { remount_read_only(at) }
}

fn bind_at(real: &Path, at: &str) -> Result<()> {
    // With what is mounted below: a user namespace may not take a mount apart.
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(real), at, None::<&str>, flags, None::<&str>).map_err(|e| setup("mount", at, e))
}

/// A remount must name the flags that the mount has: a user namespace may add to them, not take away.
fn remount_read_only(at: &str) -> Result<()> {
    let stat = statvfs(at).map_err(|e| setup("look at", at, e))?;
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let has = kept.into_iter().filter(|(flag, _)| stat.flags().contains(*flag)).map(|(_, flag)| flag);
    let flags = has.fold(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, |all, flag| all | flag);
    mount_none(at, flags)
}

fn mount_none(at: &str, flags: MsFlags) -> Result<()> {
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>).map_err(|e| setup("mount", at, e))
}

fn tmpfs(at: &str, options: &str) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options)).map_err(|e| setup("mount", at, e))
}

fn old(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|e| setup("make the mount point", path, e))
}

fn write(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| setup("write", path, e))
}

fn chdir(path: &str) -> Result<()> {
    std::env::set_current_dir(path).map_err(|e| setup("enter", path, e))
}

fn setup(what: &str, path: impl AsRef<Path>, error: impl std::fmt::Display) -> HelperError {
    HelperError::setup(what, path, error)
}

/// Without the network, a program can still talk to itself: Mix takes its locks on a loopback socket.
fn loopback_up() -> std::result::Result<(), Errno> {
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let route = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        Some(SockProtocol::NetlinkRoute),
    )?;
    // struct nlmsghdr { len, type, flags, seq, pid }, struct ifinfomsg { family, pad, type, index, flags, change }.
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(&32_u32.to_ne_bytes());
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&REQUEST_AND_ACK.to_ne_bytes());
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // pid; family, pad, type
    message.extend_from_slice(&1_i32.to_ne_bytes()); // the first interface of a new namespace is lo
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    use std::os::fd::AsRawFd;
    send(route.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut answer = [0_u8; 1024];
    let length = recv(route.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // struct nlmsgerr follows the header; its first field is 0 or the negative errno.
    match answer.get(16..20).filter(|_| length >= 20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes)
    {
        Some(0) => Ok(()),
        Some(error) => Err(Errno::from_raw(-error)),
        None => Err(Errno::EPROTO),
    }
}
