//! Reads a release's configuration as a node does when it starts, with the variables of an environment file and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use relgraph_cache::{Digest, Link};
use relgraph_engine::{StepContext, StepError};
use serde::Serialize;

use super::config;
use super::environment::Environment;
use crate::etf::{self, Term};
use crate::launch;
use crate::project::BootFacts;
use crate::terms::{self, Value};
use crate::vm::Common;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Start {
    /// What keeps a node from starting.
    pub problems: Vec<Problem>,
    /// Variables that were asked for and are not in the file, with what is taken instead where that is said.
    pub absent: BTreeMap<String, Option<String>>,
    /// Variables of the file that nothing asked for.
    pub unused: BTreeSet<String>,
}

/// What keeps a node from starting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong, without any value of the file.
    pub message: String,
    /// Where, seen from the project's folder.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
    /// The variable that it is about.
    pub variable: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Starts a VM on the release `tree`. For work that leaves no result: what is in the environment file is nobody's business.
pub fn start(
    cx: &StepContext<'_>,
    common: &Common,
    tree: &Digest,
    facts: &BootFacts,
    environment: &Environment,
) -> Result<Start, StepError> {
    let scratch = cx.store.scratch()?;
    let work = scratch.path();
    let release = work.join("release");
    cx.store.materialize(tree, &release, Link::Copy)?;
    let prefix = cx.sandbox.prefix(work);
    let versioned = format!("releases/{}", facts.version);
    let sys_config = release.join(&versioned).join("sys.config");
    let mut start = Start::default();
    let bytes = fs::read(&sys_config).map_err(|e| StepError::io("read", &sys_config, &e))?;
    if let Some(finding) = config::check(&format!("{versioned}/sys.config"), &bytes) {
        let Some(line) = finding.line else { return Ok(start.with(finding.message, finding.hint)) };
        let mut start = start.with(finding.message, finding.hint);
        start.problems.iter_mut().for_each(|problem| problem.line = Some(line));
        return Ok(start);
    }
    let mut paths = Vec::new();
    for application in facts.applications.iter().filter(|application| !application.otp) {
        paths.push(format!("{prefix}/release/lib/{}-{}/ebin", application.name, application.version));
    }
    paths.push(format!("{prefix}/release/{versioned}/consolidated"));
    let own = facts.applications.iter().filter(|application| !is_elixir(&application.path));
    let request = [
        ("code_paths", Value::List(paths.iter().map(Value::text).collect())),
        ("sys_config", Value::text(format!("{prefix}/release/{versioned}/sys.config"))),
        ("runtime", Value::text(format!("{prefix}/release/{versioned}/runtime.exs"))),
        ("env", Value::atom(&common.environment)),
        ("target", Value::atom(&common.target)),
        ("applications", Value::List(own.map(|application| Value::atom(&application.name)).collect())),
    ];
    let path = work.join("request");
    fs::write(&path, terms::request(&request)).map_err(|e| StepError::io("write", &path, &e))?;
    let main = format!("Relgraph.Runtime.main(\"{prefix}\")");
    let mut spec = launch::evaluating(cx, common, work, main)?;
    // The variables of the file, those that a start script sets, and what the VM itself needs.
    let kept = ["ROOTDIR", "BINDIR", "EMU", "PROGNAME", "PATH", "HOME", "LANG", "LC_ALL"];
    spec.env.retain(|name, _| kept.contains(&name.as_str()));
    let root = format!("{prefix}/release");
    let set = [
        ("RELEASE_ROOT", root.clone()),
        ("RELEASE_NAME", facts.name.clone()),
        ("RELEASE_VSN", facts.version.clone()),
        ("RELEASE_SYS_CONFIG", format!("{root}/{versioned}/sys")),
        ("RELEASE_VSN_DIR", format!("{root}/{versioned}")),
        ("RELEASE_TMP", format!("{root}/tmp")),
        ("RELEASE_COMMAND", "start".to_owned()),
        ("RELEASE_MODE", "embedded".to_owned()),
        ("RELEASE_NODE", facts.name.clone()),
        ("RELEASE_COOKIE", "preflight".to_owned()),
    ];
    spec.env.extend(set.map(|(name, value)| (name.to_owned(), value)));
    let of_vm = ["ROOTDIR", "BINDIR", "EMU", "PROGNAME"];
    let given = environment.variables().iter().filter(|(name, _)| !of_vm.contains(&name.as_str()));
    spec.env.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    spec.cwd = root;
    let finished = cx.sandbox.run(&spec, cx.cancel, &|_, _| {})?;
    if !finished.status.success() {
        let said = environment.hide(&String::from_utf8_lossy(&finished.stderr));
        return Err(StepError::input("the configuration of the release could not be read")
            .with_output(b"", said.as_bytes()));
    }
    let path = work.join("response");
    let bytes = fs::read(&path).map_err(|e| StepError::io("read", &path, &e))?;
    let answer = etf::decode(&bytes)
        .map_err(|e| StepError::internal(format!("the driver's answer about the configuration: {e}")))?;
    start.read(&answer, facts, environment);
    Ok(start)
}

fn is_elixir(path: &str) -> bool {
    path.starts_with("elixir/")
}

impl Start {
    fn with(mut self, message: String, hint: Option<String>) -> Start {
        self.problems.push(Problem { message, file: None, line: None, variable: None, hint });
        self
    }

    fn read(&mut self, answer: &Term, facts: &BootFacts, environment: &Environment) {
        let list = |key: &str| -> Vec<Vec<Term>> {
            let list = answer.get(key).and_then(Term::as_list).unwrap_or_default();
            list.iter().filter_map(|entry| entry.as_tuple().map(<[Term]>::to_vec)).collect()
        };
        let text = |term: Option<&Term>| term.and_then(Term::as_text).filter(|text| !text.is_empty());
        let line = |term: Option<&Term>| {
            term.and_then(Term::as_integer).and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0)
        };
        let source = facts.runtime_config.clone();
        let at = |line: Option<u32>| if line.is_some() { source.clone() } else { None };
        let known = environment.variables();
        let mut asked = BTreeSet::new();
        for entry in list("asked") {
            let Some(name) = text(entry.first()) else { continue };
            if !known.contains_key(&name) && !name.starts_with("RELEASE_") {
                let default = text(entry.get(1)).map(|default| environment.hide(&default));
                self.absent.insert(name.clone(), default);
            }
            asked.insert(name);
        }
        for entry in list("missing") {
            let Some(name) = text(entry.first()) else { continue };
            let line = line(entry.get(1));
            self.absent.remove(&name);
            self.problems.push(Problem {
                message: format!("the variable {name} is asked for and not set"),
                file: at(line),
                line,
                hint: Some(format!("add a line `{name}=…` to the environment file, or give it a default")),
                variable: Some(name),
            });
        }
        for entry in list("errors") {
            let line = line(entry.get(1));
            let said = environment.hide(&text(entry.get(2)).unwrap_or_default());
            let provider = entry.first().and_then(Term::as_atom).filter(|name| *name != "nil");
            let what = match provider {
                Some("Elixir.Config.Reader") | None => {
                    format!("{} cannot be read", source.as_deref().unwrap_or("the configuration"))
                }
                Some(provider) => format!("the provider {} fails", super::module_name(provider)),
            };
            let message = format!("{what}: {}", said.trim().replace('\n', " "));
            self.problems.push(Problem { message, file: at(line), line, variable: None, hint: None });
        }
        for entry in list("compiled") {
            let app = entry.first().and_then(Term::as_atom).unwrap_or_default().to_owned();
            let key = text(entry.get(1)).unwrap_or_default();
            let then = match text(entry.get(2)) {
                Some(value) => format!("with {}", environment.hide(&value)),
                None => "without it".to_owned(),
            };
            let message =
                format!("{app} was compiled {then} for {key} (`compile_env`), and starts with another value");
            let hint = "configure the same value when it is built and when it starts, or read it when it runs \
                        (`Application.get_env`)";
            let start =
                Problem { message, file: None, line: None, variable: None, hint: Some(hint.to_owned()) };
            self.problems.push(start);
        }
        // What the start script reads is asked for by no configuration.
        let of_scripts =
            |name: &str| ["RELEASE_", "ERL_", "ELIXIR_"].iter().any(|prefix| name.starts_with(prefix));
        let usual = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "SHELL", "TERM"];
        let unused = known.keys().filter(|name| !asked.contains(*name) && !of_scripts(name));
        self.unused = unused.filter(|name| !usual.contains(&name.as_str())).cloned().collect();
    }
}
