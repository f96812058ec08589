//! Instructions of an appup (<https://www.erlang.org/doc/apps/sasl/appup.html>).

use crate::etf::Term;

use super::scope::Purge;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// The code of a module is replaced.
    Load {
        /// The module.
        module: String,
        /// Modules that are replaced before it.
        needs: Vec<String>,
    },
    /// The same, its processes being suspended meanwhile.
    Update {
        /// The module.
        module: String,
        /// Whether their states are changed: `code_change` is called.
        migrate: bool,
        /// Whether it is a supervisor, whose `init/1` is called again.
        supervisor: bool,
        /// Modules that are replaced before it.
        needs: Vec<String>,
    },
    /// A module appears.
    Add {
        /// The module.
        module: String,
        /// Modules that are replaced before it.
        needs: Vec<String>,
    },
    /// A module goes.
    Delete {
        /// The module.
        module: String,
        /// Modules that are replaced before it.
        needs: Vec<String>,
    },
    /// The children of a supervisor are started and stopped.
    Children(Term),
    /// The application is restarted.
    Restart(String),
    /// The runtime system is restarted.
    RestartEmulator,
    /// One that somebody else wrote.
    Given(Term),
}

impl Instruction {
    /// The module that it is about.
    pub fn module(&self) -> Option<&str> {
        match self {
            Instruction::Load { module, .. }
            | Instruction::Update { module, .. }
            | Instruction::Add { module, .. }
            | Instruction::Delete { module, .. } => Some(module),
            _ => None,
        }
    }

    /// As `systools` reads it.
    pub fn term(&self, purge: Purge, timeout: Option<u64>) -> Term {
        let atom = |name: &str| Term::atom(name);
        let word = Term::atom(purge.word());
        let list = |modules: &[String]| Term::list(modules.iter().map(Term::atom).collect());
        let tuple = |parts: Vec<Term>| Term::Tuple(parts);
        match self {
            Instruction::Load { module, needs } => {
                tuple(vec![atom("load_module"), atom(module), word.clone(), word, list(needs)])
            }
            Instruction::Update { module, migrate, supervisor, needs } => {
                let kind = if *supervisor { "static" } else { "dynamic" };
                let change = match migrate {
                    true => tuple(vec![atom("advanced"), Term::list(Vec::new())]),
                    false => atom("soft"),
                };
                let timeout = match timeout {
                    Some(milliseconds) => Term::Integer(i64::try_from(milliseconds).unwrap_or(i64::MAX)),
                    None => atom("default"),
                };
                let parts = vec![
                    atom("update"),
                    atom(module),
                    atom(kind),
                    timeout,
                    change,
                    word.clone(),
                    word,
                    list(needs),
                ];
                tuple(parts)
            }
            Instruction::Add { module, needs } => tuple(vec![atom("add_module"), atom(module), list(needs)]),
            Instruction::Delete { module, needs } => {
                tuple(vec![atom("delete_module"), atom(module), list(needs)])
            }
            Instruction::Children(map) => {
                let arguments = Term::list(vec![map.clone()]);
                tuple(vec![atom("apply"), tuple(vec![atom("relgraph_upgrade"), atom("children"), arguments])])
            }
            Instruction::Restart(application) => tuple(vec![atom("restart_application"), atom(application)]),
            Instruction::RestartEmulator => atom("restart_emulator"),
            Instruction::Given(term) => term.clone(),
        }
    }

    /// What it does, for people.
    pub fn text(&self) -> String {
        let after = |needs: &[String]| match needs {
            [] => String::new(),
            needs => {
                let names: Vec<&str> = needs.iter().map(|name| short(name)).collect();
                format!(", after {}", names.join(", "))
            }
        };
        match self {
            Instruction::Load { module, needs } => format!("replace {}{}", short(module), after(needs)),
            Instruction::Update { module, supervisor: true, needs, .. } => {
                format!(
                    "replace the supervisor {}, which reads its children again{}",
                    short(module),
                    after(needs)
                )
            }
            Instruction::Update { module, migrate: true, needs, .. } => {
                format!("migrate the processes of {}: code_change{}", short(module), after(needs))
            }
            Instruction::Update { module, needs, .. } => {
                format!("replace {}, its processes being suspended{}", short(module), after(needs))
            }
            Instruction::Add { module, needs } => format!("add {}{}", short(module), after(needs)),
            Instruction::Delete { module, .. } => format!("remove {}", short(module)),
            Instruction::Children(map) => children(map),
            Instruction::Restart(application) => format!("restart the application {application}"),
            Instruction::RestartEmulator => "restart the runtime system".to_owned(),
            Instruction::Given(term) => term.to_string(),
        }
    }

    /// One that somebody else wrote.
    pub fn given(term: &Term) -> Instruction {
        let module = |parts: &[Term]| parts.first().and_then(Term::as_atom).map(str::to_owned);
        match term.as_tagged("restart_application").and_then(module) {
            Some(application) => Instruction::Restart(application),
            None if matches!(term.as_atom(), Some("restart_emulator" | "restart_new_emulator")) => {
                Instruction::RestartEmulator
            }
            None => Instruction::Given(term.clone()),
        }
    }
}

/// Modules of Elixir as they are written there.
fn short(name: &str) -> &str {
    name.strip_prefix("Elixir.").unwrap_or(name)
}

fn children(map: &Term) -> String {
    let word = |term: &Term| term.as_atom().map_or_else(|| term.to_string(), |name| short(name).to_owned());
    let list = |key: &str| -> Vec<String> {
        map.get(key).and_then(Term::elements).unwrap_or_default().iter().map(word).collect()
    };
    let of = match map.get("supervisor") {
        Some(Term::Tuple(parts)) => match &parts[..] {
            [Term::Atom(kind), name] if kind == "application" => format!("the application {}", word(name)),
            [_, name] => word(name),
            _ => String::new(),
        },
        Some(name) => word(name),
        None => String::new(),
    };
    let mut parts = Vec::new();
    for (what, names) in [("stop", list("stop")), ("start", list("start"))] {
        if !names.is_empty() {
            parts.push(format!("{what} {}", names.join(", ")));
        }
    }
    match &parts[..] {
        [] => format!("the children of {of} as the version has them"),
        parts => format!("children of {of}: {}", parts.join(", ")),
    }
}
