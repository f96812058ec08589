//! `prepare driver`: compiles the Elixir programs that carry out requests inside the VM.

use std::collections::BTreeMap;

use relgraph_cache::{Digest, Hasher};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "driver", version: 1 };

const SOURCES: &[(&str, &str)] = &[
    ("relgraph_boot.ex", include_str!("../../beam/relgraph_boot.ex")),
    ("relgraph_compile.ex", include_str!("../../beam/relgraph_compile.ex")),
    ("relgraph_config.ex", include_str!("../../beam/relgraph_config.ex")),
    ("relgraph_dependencies.ex", include_str!("../../beam/relgraph_dependencies.ex")),
    ("relgraph_describe.ex", include_str!("../../beam/relgraph_describe.ex")),
    ("relgraph_driver.ex", include_str!("../../beam/relgraph_driver.ex")),
    ("relgraph_hex.ex", include_str!("../../beam/relgraph_hex.ex")),
    ("relgraph_json.ex", include_str!("../../beam/relgraph_json.ex")),
    ("relgraph_preload.ex", include_str!("../../beam/relgraph_preload.ex")),
    ("relgraph_trace.ex", include_str!("../../beam/relgraph_trace.ex")),
];

/// Compiles the driver with the project's own Elixir.
pub struct Driver {
    /// What it shares with the others.
    pub common: Common,
}

impl Action for Driver {
    fn declare(&self, _cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut hasher = Hasher::new();
        for (name, text) in SOURCES {
            hasher.update(name.as_bytes());
            hasher.update(Digest::of(text.as_bytes()).hex().as_bytes());
        }
        let mut parts = KeyParts::new();
        parts.digest("toolchain", &self.common.toolchain.digest);
        parts.digest("sources", &hasher.finish());
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        // The user's environment is no input here.
        let common = Common { env: BTreeMap::new(), pass_env: Default::default(), ..self.common.clone() };
        let vm = Vm::new(cx, &common)?;
        let mut args = ["+elixirc", "--no-docs", "--no-debug-info", "-o"].map(str::to_owned).to_vec();
        args.push(vm.inside("ebin"));
        for (name, text) in SOURCES {
            vm.write(&format!("driver/{name}"), text.as_bytes())?;
            args.push(vm.inside(&format!("driver/{name}")));
        }
        vm.write("ebin/.keep", b"")?;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let finished = vm.elixir(&args, "elixirc")?;
        let ebin = cx.store.ingest(&vm.real("ebin"), &|path| path != ".keep")?;
        Ok(super::ran(finished, BTreeMap::from([("ebin".to_owned(), ebin)])))
    }
}
