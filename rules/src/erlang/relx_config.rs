//! `relx.config` beside a project that rebar3 does not build (erlang.mk hands it to relx): what of it says the same as
//! release.yaml could. relx itself is a part of rebar3.

use std::path::Path;

use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, Span};
use crate::etf::{Term, consult};

/// Its name, beside the project's Makefile.
pub const FILE: &str = "relx.config";

/// What is followed of it without being a release.
const FOLLOWED: [&str; 7] =
    ["include_erts", "release", "sys_config", "sys_config_src", "system_libs", "vm_args", "vm_args_src"];
/// What makes no difference to what is built.
const IDLE: [&str; 9] = [
    "default_release",
    "dev_mode",
    "extended_start_script",
    "generate_start_script",
    "include_nodetool",
    "lib_dirs",
    "mode",
    "output_dir",
    "paths",
];

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelxConfig {
    /// Its releases, each once: the last of a name counts.
    pub releases: Vec<Declared>,
    /// The configuration of the system, seen from the project's folder.
    pub sys_config: Option<String>,
    /// Flags of the VM, seen from the project's folder.
    pub vm_args: Option<String>,
    /// `true`, `false` or a path.
    pub include_erts: Option<Json>,
    /// Keys that are not followed.
    pub other: Vec<String>,
}

/// A release that it declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its version; none where a program has to be asked for it.
    pub version: Option<String>,
    /// Its applications and their modes.
    pub applications: Vec<(String, String)>,
}

impl RelxConfig {
    /// That of a project. None where there is no such file.
    pub fn read(root: &Path) -> Result<Option<RelxConfig>, Box<Diagnostic>> {
        let Ok(bytes) = std::fs::read(root.join(FILE)) else { return Ok(None) };
        let terms = consult(&bytes).map_err(|error| {
            let text = String::from_utf8_lossy(&bytes);
            let line = text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default().to_owned();
            let place =
                Span { line: error.line, column: error.column, end_column: error.column + 1, text: line };
            Box::new(Diagnostic::error(error.message).in_file(FILE).at(place))
        })?;
        let mut config = RelxConfig::default();
        // What is said of one release alone comes later, and wins.
        for term in terms.iter().flat_map(flat) {
            config.take(&term);
        }
        Ok(Some(config))
    }

    /// The release of that name.
    pub fn release(&self, name: &str) -> Option<&Declared> {
        self.releases.iter().find(|release| release.name == name)
    }

    fn take(&mut self, term: &Term) {
        let Some([key, parts @ ..]) = term.as_tuple() else { return };
        let Some(key) = key.as_atom() else { return };
        let path = || parts.first().and_then(Term::as_text).filter(|path| !path.is_empty());
        match key {
            "release" => {
                if let Some(declared) = declared(parts) {
                    self.releases.retain(|other| other.name != declared.name);
                    self.releases.push(declared);
                }
                let own = parts.get(2).and_then(Term::elements).unwrap_or_default();
                own.iter().for_each(|term| self.take(term));
            }
            "sys_config" | "sys_config_src" => self.sys_config = path().or(self.sys_config.take()),
            "vm_args" | "vm_args_src" => self.vm_args = path().or(self.vm_args.take()),
            "include_erts" => {
                let said = match parts.first().and_then(Term::as_atom) {
                    Some("true") => Some(Json::Bool(true)),
                    Some("false") => Some(Json::Bool(false)),
                    _ => path().map(Json::String),
                };
                self.include_erts = said.or(self.include_erts.take());
            }
            _ if FOLLOWED.contains(&key) || IDLE.contains(&key) => {}
            other => self.other.push(other.to_owned()),
        }
    }
}

/// A file may have its terms in a list.
fn flat(term: &Term) -> Vec<Term> {
    match term {
        Term::List(terms) => terms.clone(),
        term => vec![term.clone()],
    }
}

fn declared(parts: &[Term]) -> Option<Declared> {
    let [named, applications, ..] = parts else { return None };
    let [name, version, ..] = named.as_tuple()? else { return None };
    let version = match version {
        Term::String(_) => version.as_text().filter(|text| !["git", "semver"].contains(&text.as_str())),
        _ => None,
    };
    let applications = applications.elements()?.iter().filter_map(application).collect();
    Some(Declared { name: name.as_atom()?.to_owned(), version, applications })
}

/// `app`, `{app, Mode}`, `{app, Version}`, `{app, Version, Mode}`, with more behind.
fn application(term: &Term) -> Option<(String, String)> {
    if let Some(name) = term.as_atom() {
        return Some((name.to_owned(), "permanent".to_owned()));
    }
    let [name, rest @ ..] = term.as_tuple()? else { return None };
    let modes = ["permanent", "transient", "temporary", "load", "none"];
    let mode = rest.iter().filter_map(Term::as_atom).find(|word| modes.contains(word));
    Some((name.as_atom()?.to_owned(), mode.unwrap_or("permanent").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<RelxConfig>, Box<Diagnostic>> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), text).expect("a file");
        RelxConfig::read(folder.path())
    }

    #[test]
    fn releases_applications_and_files_are_read() {
        let config = read(
            "{release, {shop, \"1.0\"}, [shop, {sasl, load}, {store, \"0.3\", transient}, {crypto, \"5\"}],\n\
             [{vm_args, \"ops/vm.args\"}]}.\n{release, {other, git}, [shop]}.\n{sys_config, \"ops/sys.config\"}.\n\
             {include_erts, false}.\n{extended_start_script, true}.\n{overlay, [{mkdir, \"log\"}]}.\n",
        )
        .expect("terms")
        .expect("a file");
        let shop = config.release("shop").expect("a release");
        assert_eq!(shop.version.as_deref(), Some("1.0"));
        let modes: Vec<(&str, &str)> =
            shop.applications.iter().map(|(app, mode)| (app.as_str(), mode.as_str())).collect();
        let wanted =
            [("shop", "permanent"), ("sasl", "load"), ("store", "transient"), ("crypto", "permanent")];
        assert_eq!(modes, wanted);
        assert_eq!(config.release("other").and_then(|other| other.version.as_ref()), None);
        assert_eq!(config.sys_config.as_deref(), Some("ops/sys.config"));
        assert_eq!(config.vm_args.as_deref(), Some("ops/vm.args"));
        assert_eq!(config.include_erts, Some(Json::Bool(false)));
        assert_eq!(config.other, ["overlay"]);
        let wrong = read("{release, {shop, \"1\"}\n[shop]}.\n").expect_err("no terms");
        assert!(wrong.to_string().contains("relx.config:2"), "{wrong}");
    }
}
