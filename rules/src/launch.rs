//! How a VM is started: its command line, its environment, and what it sees of the toolchain.

use std::collections::BTreeMap;
use std::path::Path;

use relgraph_engine::{Mount, SandboxMode, SandboxSpec, StepContext, StepError};

use crate::tool::Tool;
use crate::vm::{Common, driver, rebar3};

/// What a VM is started with that works in the folder `work`: `flags` go to the VM, and `start` says what it runs.
pub fn vm(
    cx: &StepContext<'_>,
    common: &Common,
    work: &Path,
    flags: Vec<String>,
    start: Vec<String>,
) -> SandboxSpec {
    let toolchain = &common.toolchain;
    let prefix = cx.sandbox.prefix(work);
    let inside = |path: &str| format!("{prefix}/{path}");
    let mut mounts = self::toolchain(cx, common, &prefix);
    mounts.extend(common.rust.iter().flat_map(|rust| rust.mounts(&prefix)));
    let bin = inside(&format!("otp/erts-{}/bin", toolchain.erlang.erts));
    // One scheduler: maps of more than 32 atoms iterate in an order that follows scheduling. Little busy waiting, for
    // other steps have a use for the core; without any, each of the thousands of file operations puts two threads to
    // sleep and wakes them.
    let flags_of_vm = "-noshell -noinput +S 1:1 +SDio 1 +SDcpu 1:1 \
                       +sbwt very_short +sbwtdcpu none +sbwtdio very_short";
    let mut argv = vec![format!("{bin}/erlexec")];
    argv.extend(flags_of_vm.split_whitespace().map(str::to_owned));
    if let Some(elixir) = &toolchain.elixir {
        // As Elixir's own script writes it. Mix, which takes off the code path what a project does not name, looks for the
        // short form of these paths, and so leaves Elixir's applications alone.
        let lib = inside("elixir/bin/../lib");
        let folders: Vec<String> = elixir.libraries.iter().map(|name| format!("{lib}/{name}/ebin")).collect();
        argv.extend(["-elixir_root".to_owned(), lib, "-pa".to_owned()]);
        argv.extend(folders);
    }
    argv.extend(flags);
    argv.extend(start);
    let env = environment(cx, common, &prefix, &bin);
    let network = common.network;
    SandboxSpec { work: work.to_owned(), mounts, argv, env, network, ..SandboxSpec::default() }
}

/// What a step sees of Erlang, Elixir and rebar3.
pub(crate) fn toolchain(cx: &StepContext<'_>, common: &Common, prefix: &str) -> Vec<Mount> {
    let toolchain = &common.toolchain;
    let mut roots = vec![(&toolchain.erlang.root, "otp")];
    roots.extend(toolchain.elixir.iter().map(|elixir| (&elixir.root, "elixir")));
    let mut mounts: Vec<Mount> =
        roots.iter().map(|(root, at)| Mount::read_only(root.as_path(), format!("{prefix}/{at}"))).collect();
    if let Some(rebar3) = &toolchain.rebar3 {
        mounts.push(Mount::read_only(rebar3, format!("{prefix}/tools/rebar3")));
    }
    // Scripts of an installation may name it by its own path.
    for (root, _) in roots {
        if cx.sandbox.mode() != SandboxMode::Plain && !root.starts_with("/usr") {
            mounts.push(Mount::read_only(root, root.to_string_lossy()));
        }
    }
    mounts
}

/// What makes a VM run Elixir's own command line.
pub fn elixir_cli(args: &[String]) -> Vec<String> {
    let fixed = ["-s", "elixir", "start_cli", "-elixir", "ansi_enabled", "false", "-extra"];
    fixed.iter().map(|&arg| arg.to_owned()).chain(args.iter().cloned()).collect()
}

/// What a VM is started with that waits for a request of the driver in the folder `work`.
pub fn waiting(cx: &StepContext<'_>, common: &Common, work: &Path) -> Result<SandboxSpec, StepError> {
    let prefix = cx.sandbox.prefix(work);
    let folder = format!("{prefix}/driver");
    let mut flags = vec!["-pa".to_owned()];
    let mut mounts = vec![Mount::read_only(cx.store.checkout(&driver(cx)?)?, folder.clone())];
    if common.tool == Tool::Rebar3 {
        let tree = rebar3(cx)?;
        let folder = format!("{prefix}/rebar3");
        let names = cx.store.directory(&tree)?;
        flags.extend(names.entries.keys().map(|name| format!("{folder}/{name}/ebin")));
        mounts.push(Mount::read_only(cx.store.checkout(&tree)?, folder));
    }
    // The last is looked into first: modules of ours take the place of some of rebar3's.
    flags.push(folder);
    let start = if common.toolchain.elixir.is_some() {
        elixir_cli(&["-e".to_owned(), format!(":relgraph_driver.main([\"{prefix}\"])")])
    } else {
        ["-run", "relgraph_driver", "main", &prefix].map(str::to_owned).into()
    };
    let mut spec = vm(cx, common, work, flags, start);
    spec.mounts.append(&mut mounts);
    Ok(spec)
}

/// What a VM is started with that runs an Elixir expression in which modules of the driver are called.
pub fn evaluating(
    cx: &StepContext<'_>,
    common: &Common,
    work: &Path,
    expression: String,
) -> Result<SandboxSpec, StepError> {
    let folder = format!("{}/driver", cx.sandbox.prefix(work));
    let flags = vec!["-pa".to_owned(), folder.clone()];
    let mut spec = vm(cx, common, work, flags, elixir_cli(&["-e".to_owned(), expression]));
    spec.mounts.push(Mount::read_only(cx.store.checkout(&driver(cx)?)?, folder));
    Ok(spec)
}

fn environment(cx: &StepContext<'_>, common: &Common, prefix: &str, bin: &str) -> BTreeMap<String, String> {
    let inside = |path: &str| format!("{prefix}/{path}");
    let mut env = visible(cx.env);
    env.retain(|name, _| !cx.secrets.contains(name));
    env.extend(common.set(cx));
    let given =
        common.secrets.iter().filter_map(|name| Some((name.clone(), cx.secrets.expose(name)?.to_owned())));
    env.extend(given);
    let home = inside("home");
    let elixir = common.toolchain.elixir.iter().map(|_| inside("elixir/bin") + ":").collect::<String>();
    let mut path = format!("{}:{elixir}/usr/local/bin:/usr/bin:/bin", inside("otp/bin"));
    if let Some((more, folder)) = common.rust.as_ref().map(|rust| rust.env(prefix)) {
        path = format!("{path}:{folder}");
        env.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    let fixed = [
        ("ROOTDIR", inside("otp")),
        ("BINDIR", bin.to_owned()),
        ("EMU", "beam".into()),
        ("PROGNAME", "erl".into()),
        ("PATH", path),
        ("HOME", home.clone()),
        ("HEX_OFFLINE", "1".into()),
        ("LANG", "C.UTF-8".into()),
        ("LC_ALL", "C.UTF-8".into()),
        ("TZ", "UTC".into()),
        ("TERM", "dumb".into()),
        ("ERL_CRASH_DUMP_SECONDS", "0".into()),
    ];
    env.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    if common.toolchain.elixir.is_some() {
        let mix = [
            ("MIX_HOME", format!("{home}/.mix")),
            ("HEX_HOME", format!("{home}/.hex")),
            ("MIX_ENV", common.environment.clone()),
            ("MIX_TARGET", common.target.clone()),
        ];
        env.extend(mix.map(|(name, value)| (name.to_owned(), value)));
    }
    env
}

/// Variables that differ between people, machines and terminals and mean nothing to a build, or that relgraph sets.
const HIDDEN: [&str; 55] = [
    "_",
    "BINDIR",
    "COLORTERM",
    "COLUMNS",
    "DISPLAY",
    "EDITOR",
    "EMU",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
    "HISTFILE",
    "HISTSIZE",
    "HOME",
    "HOSTNAME",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LANG",
    "LANGUAGE",
    "LESS",
    "LINES",
    "LOGNAME",
    "LS_COLORS",
    "MAIL",
    "MANPATH",
    "MIX_ARCHIVES",
    "MIX_BUILD_PATH",
    "MIX_BUILD_ROOT",
    "MIX_DEBUG",
    "MIX_DEPS_PATH",
    "MIX_ENV",
    "MIX_EXS",
    "MIX_HOME",
    "MIX_PATH",
    "MIX_QUIET",
    "MIX_REBAR3",
    "MIX_TARGET",
    "MIX_XDG",
    "OLDPWD",
    "PAGER",
    "PATH",
    "PROGNAME",
    "PS1",
    "PWD",
    "ROOTDIR",
    "SHELL",
    "SHLVL",
    "TEMP",
    "TERM",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "VISUAL",
    "WAYLAND_DISPLAY",
];

const HIDDEN_PREFIXES: [&str; 13] = [
    "ASDF_",
    "CARGO",
    "DBUS_",
    "ELIXIR_ERL_",
    "ERL_",
    "HEX_",
    "LC_",
    "REBAR_",
    "RELGRAPH_",
    "RUST",
    "SSH_",
    "SUDO_",
    "XDG_",
];

/// Whether a step is shown the user's own value of a variable.
pub fn is_visible(name: &str) -> bool {
    !HIDDEN.contains(&name) && !HIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn visible(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    env.iter().filter(|(name, _)| is_visible(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}
