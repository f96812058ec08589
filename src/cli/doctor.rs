//! `relgraph doctor`: what works on this machine, and what to do about the rest.

mod remotes;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use relgraph_cache::Store;
use relgraph_engine::{SandboxMode, SandboxPolicy, Sandboxer};
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::schema::{ReleaseFile, Sandbox};
use relgraph_rules::toolchain::Choice;

use super::context::Context;
use super::exit;
use super::sharing;
use super::stop::Stop;
use crate::render::doctor::{Check, State, json, text};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {}

/// Looks at everything that a build needs. No store is made where there is none yet, beyond its empty folders.
pub fn run(context: &Context, _: &DoctorArgs) -> Result<ExitCode, Stop> {
    let file = sharing::here();
    let wanted = Wanted::of(file.as_ref());
    let mut checks = Vec::new();
    toolchain(context, file.as_ref(), &wanted, &mut checks);
    sandbox(&wanted, &mut checks);
    store(context, &mut checks);
    remotes::checks(context, file.as_ref(), &mut checks);
    context.report(|| json(&checks), || text(&checks, context.colour_out));
    let missing = checks.iter().any(|check| check.state == State::Missing);
    Ok(if missing { exit::FAILED } else { exit::DONE })
}

/// What the release of the current folder needs; everything, when there is none.
struct Wanted {
    toolchain: bool,
    sandbox: bool,
}

impl Wanted {
    fn of(file: Option<&ReleaseFile>) -> Wanted {
        let Some(file) = file else { return Wanted { toolchain: true, sandbox: false } };
        Wanted {
            toolchain: file.steps.is_empty() || file.project_dir().join("mix.exs").is_file(),
            sandbox: file.sandbox == Some(Sandbox::Required),
        }
    }
}

fn toolchain(context: &Context, file: Option<&ReleaseFile>, wanted: &Wanted, checks: &mut Vec<Check>) {
    let absent = if wanted.toolchain { State::Missing } else { State::Unused };
    let lost = |name: &str, state: State, complaint: &Diagnostic| Check {
        detail: Some(complaint.message.clone()),
        hints: complaint.hints.clone(),
        ..Check::new(name, state)
    };
    let project = std::env::current_dir().unwrap_or_default();
    let project = file.map_or(project.clone(), |file| project.join(file.project_dir()));
    let mut choice = Choice::new(&context.env, &project, file);
    match choice.erlang() {
        Ok(erlang) => checks.push(Check {
            version: Some(match erlang.otp() {
                Some(otp) => format!("OTP {otp}, ERTS {}", erlang.erts),
                None => format!("ERTS {}", erlang.erts),
            }),
            path: Some(erlang.root.join("bin/erl")),
            ..Check::new("erl", State::Good)
        }),
        Err(complaint) => checks.push(lost("erl", absent, &complaint)),
    }
    match choice.elixir() {
        Ok(elixir) => checks.extend(["elixir", "mix"].map(|name| Check {
            version: Some(elixir.version.clone()),
            path: Some(elixir.root.join("bin").join(name)),
            ..Check::new(name, State::Good)
        })),
        // Both come together, and one complaint is enough.
        Err(complaint) => checks.push(lost("elixir", absent, &complaint)),
    }
    checks.push(match choice.rebar3() {
        Ok(Some(file)) => {
            Check { version: rebar3_version(&file), path: Some(file), ..Check::new("rebar3", State::Good) }
        }
        Ok(None) => Check {
            detail: Some("not in PATH; only dependencies that rebar3 builds need it".into()),
            hints: vec![
                "install rebar3 (on Debian and Ubuntu: apt-get install rebar3), or put it in PATH".into(),
            ],
            ..Check::new("rebar3", State::Unused)
        },
        Err(complaint) => lost("rebar3", absent, &complaint),
    });
    for warning in &choice.warnings {
        checks.push(Check {
            detail: Some(warning.message.clone()),
            hints: warning.hints.clone(),
            ..Check::new("versions", State::Warning)
        });
    }
}

/// `rebar 3.19.0 on Erlang/OTP 25 Erts 13.1.5`.
fn rebar3_version(file: &Path) -> Option<String> {
    let output = Command::new(file).arg("version").stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.split_whitespace().nth(1).filter(|_| output.status.success()).map(str::to_owned)
}

fn sandbox(wanted: &Wanted, checks: &mut Vec<Check>) {
    let sandboxer = Sandboxer::new(std::env::current_exe().unwrap_or_default(), SandboxPolicy::Preferred);
    let mode = sandboxer.mode();
    let mut notes = sandboxer.problems().to_vec();
    let mut hints = Vec::new();
    let state = match mode {
        SandboxMode::Namespaces | SandboxMode::Bwrap => State::Good,
        SandboxMode::Plain => {
            notes.push("steps see the whole machine, and releases depend on the path of the checkout".into());
            hints.push(
                "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
                 kernel.apparmor_restrict_unprivileged_userns=0), or install bubblewrap"
                    .into(),
            );
            hints
                .push("in a container: run it with --privileged or --security-opt seccomp=unconfined".into());
            if wanted.sandbox { State::Missing } else { State::Warning }
        }
    };
    let detail = match mode {
        SandboxMode::Namespaces => "namespaces",
        SandboxMode::Bwrap => "bwrap",
        SandboxMode::Plain => "steps cannot be confined here",
    };
    checks.push(Check { detail: Some(detail.to_owned()), notes, hints, ..Check::new("sandbox", state) });
}

fn store(context: &Context, checks: &mut Vec<Check>) {
    let dir = match context.cache_dir() {
        Ok(dir) => dir,
        Err(complaint) => {
            let (detail, hints) = (Some(complaint.message), complaint.hints);
            checks.push(Check { detail, hints, ..Check::new("store", State::Missing) });
            return;
        }
    };
    let opened = Store::open(&dir).and_then(|store| {
        let reflinks = store.reflinks()?;
        Ok((store, reflinks))
    });
    let (store, reflinks) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let complaint = super::context::store_trouble(&dir, &error);
            let (detail, hints) = (Some(complaint.message), complaint.hints);
            checks.push(Check { detail, hints, path: Some(dir), ..Check::new("store", State::Missing) });
            return;
        }
    };
    let mut check = Check { path: Some(store.root().to_owned()), ..Check::new("store", State::Good) };
    let file_system = file_system(store.root());
    check.detail = Some(match &file_system {
        Some(name) => format!("writable, on {name}"),
        None => "writable".to_owned(),
    });
    if let Some(name) =
        file_system.filter(|name| ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs"].contains(&&**name))
    {
        check.state = State::Warning;
        check
            .notes
            .push(format!("{name} is a network file system: slow, and its locks are not to be relied on"));
        check.hints.push("keep the store on a local disk: --cache-dir or RELGRAPH_CACHE_DIR".into());
    }
    checks.push(check);
    let detail = if reflinks {
        "releases share their bytes with the store"
    } else {
        "not on this file system: releases are copied out of the store"
    };
    let hints = if reflinks { vec![] } else { vec!["btrfs and XFS have them".to_owned()] };
    let state = if reflinks { State::Good } else { State::Unused };
    checks.push(Check { detail: Some(detail.to_owned()), hints, ..Check::new("reflinks", state) });
}

/// The kind of file system that a folder is on, where the system says so.
fn file_system(folder: &Path) -> Option<String> {
    let folder = std::fs::canonicalize(folder).ok()?;
    file_system_in(&std::fs::read_to_string("/proc/self/mountinfo").ok()?, &folder)
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG…] - TYPE …`; of two mounts at one point, the later one is on top.
fn file_system_in(mounts: &str, folder: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?.replace("\\040", " ");
        folder.starts_with(&point).then_some((PathBuf::from(point), kind.split(' ').next()?.to_owned()))
    };
    mounts.lines().filter_map(mount).max_by_key(|(point, _)| point.components().count()).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_and_latest_mount_counts() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      23 22 0:5 / /home rw - tmpfs tmpfs rw\n\
                      24 22 0:6 / /home rw shared:2 master:1 - btrfs /dev/sdb rw\n\
                      25 22 0:7 / /a\\040b rw - xfs /dev/sdc rw\n";
        let on = |path: &str| file_system_in(mounts, Path::new(path));
        assert_eq!(on("/var/x").as_deref(), Some("ext4"));
        assert_eq!(on("/home/me").as_deref(), Some("btrfs"));
        assert_eq!(on("/homely").as_deref(), Some("ext4"));
        assert_eq!(on("/a b/c").as_deref(), Some("xfs"));
        assert_eq!(file_system_in("nonsense", Path::new("/")), None);
    }
}
