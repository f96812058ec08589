//! What to do about a VM that failed: from what it printed, and what it had looked for in vain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use relgraph_engine::StepError;

use crate::reach::{self, Reach};
use crate::toolchain::which;
use crate::vm::Facts;

/// What programs say that wanted the network.
const NETWORK: [&str; 12] = [
    "nxdomain",
    "enetunreach",
    "Could not resolve host",
    "could not resolve host",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "network is unreachable",
    "failed to lookup address",
    "spurious network error",
    "you're using offline mode",
    "--offline was specified",
];

/// The error with a hint, where there is one to give.
pub fn advise(
    error: StepError,
    printed: &str,
    facts: &Facts,
    reach: &Reach,
    env: &BTreeMap<String, String>,
) -> StepError {
    if error.hint.is_some() {
        return error;
    }
    let hint = outside(facts, printed, env)
        .or_else(|| cargo(printed))
        .or_else(|| network(printed))
        .or_else(|| program(printed, facts, env))
        .or_else(|| repository(printed))
        .or_else(|| task(printed))
        .or_else(|| variable(printed))
        .or_else(|| hidden(printed, facts, reach));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Something of this machine that is neither the project's nor the system's.
fn outside(facts: &Facts, printed: &str, env: &BTreeMap<String, String>) -> Option<String> {
    let home = env.get("HOME").map(String::as_str).unwrap_or_default();
    let mut found: BTreeSet<String> = BTreeSet::new();
    for (_, path) in &facts.reads {
        let real = match path.strip_prefix("home/") {
            Some(rest) if !home.is_empty() => format!("{home}/{rest}"),
            _ => path.clone(),
        };
        let absolute = real.starts_with('/') && real != "/" && !real.starts_with("/relgraph");
        let machine = ["/proc", "/dev", "/sys", "/run"].iter().any(|f| Path::new(&real).starts_with(f));
        if absolute
            && !machine
            && !reach::is_system(&real)
            && Path::new(&real).is_file()
            && printed.contains(path.as_str())
        {
            found.insert(real);
        }
    }
    let names = found.into_iter().collect::<Vec<_>>().join("`, `");
    (!names.is_empty()).then(|| {
        format!(
            "`{names}` is on this machine, but neither in the project nor in a path dependency: steps do not see it, \
             so that the release is the same elsewhere. Copy it into the project, or hand its content in by a variable \
             (`pass_env`)"
        )
    })
}

fn network(printed: &str) -> Option<String> {
    let wanted = NETWORK.iter().any(|words| printed.contains(words))
        || (printed.contains("econnrefused") && printed.contains("http"));
    wanted.then(|| {
        "steps have no network, so that a build can be repeated: put what is downloaded into the project or into \
         the dependency's folder beforehand, have it built from source (many packages have a variable for that: set it \
         under `env:`), fetch it in a step of your own (`steps:` with `network: true`), or let this application use the \
         network while it is compiled (`network: [APP]` in release.yaml) if it holds what comes against a checksum"
            .to_owned()
    })
}

fn cargo(printed: &str) -> Option<String> {
    let words =
        ["no matching package named", "failed to get `", "unable to update registry", "failed to download"];
    (printed.contains("cargo") || printed.contains("crate"))
        .then(|| words.iter().any(|words| printed.contains(words)))
        .filter(|wanted| *wanted)
        .map(|_| {
            "cargo needs crates that are not on this machine, and steps have no network: run `cargo fetch` in the \
             crate's folder, or keep them in the project (`cargo vendor`)"
                .to_owned()
        })
}

/// A program that is not there, or not where steps look.
fn program(printed: &str, facts: &Facts, env: &BTreeMap<String, String>) -> Option<String> {
    let said = printed.lines().find_map(|line| {
        let rest = line.strip_suffix(": not found").or_else(|| line.strip_suffix(": command not found"))?;
        rest.rsplit(": ").next().map(str::to_owned)
    });
    let make = printed.lines().find_map(|line| {
        // make: cc: No such file or directory
        let rest = line.strip_suffix(": No such file or directory")?;
        let (before, name) = rest.rsplit_once(": ")?;
        (before.contains("make") && !name.contains(['/', '.'])).then(|| name.to_owned())
    });
    let looked = || {
        // What was looked for in the last folder of PATH, and in no other way.
        let gone = facts
            .reads
            .iter()
            .filter_map(|(_, path)| path.strip_prefix("/bin/").or(path.strip_prefix("/usr/bin/")));
        let gone: Vec<&str> = gone.filter(|name| !Path::new("/usr/bin").join(name).exists()).collect();
        let enoent = printed.contains(":enoent")
            || printed.contains("could not be found")
            || printed.contains("not found");
        gone.into_iter().rev().find(|name| enoent && printed.contains(name)).map(str::to_owned)
    };
    let name = said.or(make).or_else(looked)?;
    let path = env.get("PATH").map(String::as_str).unwrap_or_default();
    Some(match which(&name, path) {
        Some(place) if !reach::is_system(&place.display().to_string()) => format!(
            "`{name}` is in {}, where steps do not look: install it for the whole system (steps see /usr, /opt and \
             /nix/store, and look for programs in /usr/local/bin, /usr/bin and /bin)",
            place.parent().unwrap_or(&place).display()
        ),
        _ => format!("the program `{name}` is missing: install it{}", package(&name)),
    })
}

fn package(name: &str) -> String {
    let package = match name {
        "make" | "cc" | "gcc" | "g++" | "c++" | "ld" => "build-essential",
        "cargo" | "rustc" => "cargo",
        "cmake" | "git" | "autoconf" | "automake" | "python3" | "npm" => name,
        "node" => "nodejs",
        _ => return String::new(),
    };
    format!(" (on Debian and Ubuntu: apt-get install {package})")
}

fn repository(printed: &str) -> Option<String> {
    printed.contains("not a git repository").then(|| {
        "the project is in no git repository here: hand the answer in by a variable (`pass_env: [GIT_COMMIT]`)".to_owned()
    })
}

fn task(printed: &str) -> Option<String> {
    let (_, rest) = printed.split_once("The task \"")?;
    let (name, rest) = rest.split_once('"')?;
    rest.trim_start().starts_with("could not be found").then(|| {
        let compiler = name.strip_prefix("compile.").map_or_else(String::new, |c| format!(" (the compiler `:{c}`)"));
        format!(
            "the task `{name}`{compiler} has to come from Mix, from mix.exs or from a dependency of this application; \
             archives in ~/.mix are not seen"
        )
    })
}

/// A variable that is not set, or that steps do not get.
fn variable(printed: &str) -> Option<String> {
    let (before, _) = printed.split_once(" because it is not set")?;
    let name = before.rsplit("environment variable ").next()?.trim_matches('"');
    let simple = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    simple.then(|| {
        format!(
            "set `{name}` for the build, or give it a value in release.yaml (`env:`); one that is set and that steps do \
             not get is let through by `pass_env: [{name}]`"
        )
    })
}

/// What is in the way of relgraph's own folders.
fn hidden(printed: &str, facts: &Facts, reach: &Reach) -> Option<String> {
    let missing = facts.reads.iter().map(|(_, path)| path).find(|path| {
        !path.starts_with('/')
            && reach.real(path).is_none()
            && reach.behind(path).is_some_and(|real| real.exists())
    })?;
    let real = reach.behind(missing)?;
    printed.contains(missing.as_str()).then(|| {
        format!(
            "{} cannot be shown to steps, because of the name of its folder: move it into the project",
            real.display()
        )
    })
}
