//! `prepare driver`: compiles the programs that carry out requests inside the VM, and takes rebar3 apart.

use std::collections::BTreeMap;

use relgraph_cache::{Digest, Hasher};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use crate::launch::elixir_cli;
use crate::tool::Tool;
use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "driver", version: 2 };

/// A program: its name and its text.
type Source = (&'static str, &'static str);

/// Both kinds of project have these.
const ERLANG: [Source; 10] = [
    ("relgraph_driver.erl", include_str!("../../beam/relgraph_driver.erl")),
    ("relgraph_escript.erl", include_str!("../../beam/relgraph_escript.erl")),
    ("relgraph_json.erl", include_str!("../../beam/relgraph_json.erl")),
    ("relgraph_preload.erl", include_str!("../../beam/relgraph_preload.erl")),
    ("relgraph_rehearse.erl", include_str!("../../beam/relgraph_rehearse.erl")),
    ("relgraph_rehearse_compare.erl", include_str!("../../beam/relgraph_rehearse_compare.erl")),
    ("relgraph_rehearse_node.erl", include_str!("../../beam/relgraph_rehearse_node.erl")),
    ("relgraph_relup.erl", include_str!("../../beam/relgraph_relup.erl")),
    ("relgraph_terms.erl", include_str!("../../beam/relgraph_terms.erl")),
    ("relgraph_trace.erl", include_str!("../../beam/relgraph_trace.erl")),
];

/// What talks to Mix.
const ELIXIR: [Source; 9] = [
    ("relgraph_boot.ex", include_str!("../../beam/relgraph_boot.ex")),
    ("relgraph_compile.ex", include_str!("../../beam/relgraph_compile.ex")),
    ("relgraph_config.ex", include_str!("../../beam/relgraph_config.ex")),
    ("relgraph_dependencies.ex", include_str!("../../beam/relgraph_dependencies.ex")),
    ("relgraph_describe.ex", include_str!("../../beam/relgraph_describe.ex")),
    ("relgraph_hex.ex", include_str!("../../beam/relgraph_hex.ex")),
    ("relgraph_mix.ex", include_str!("../../beam/relgraph_mix.ex")),
    ("relgraph_release.ex", include_str!("../../beam/relgraph_release.ex")),
    ("relgraph_runtime.ex", include_str!("../../beam/relgraph_runtime.ex")),
];

/// What makes releases without Elixir.
const RELEASE: [Source; 2] = [
    ("relgraph_otp_release.erl", include_str!("../../beam/relgraph_otp_release.erl")),
    ("relgraph_strip.erl", include_str!("../../beam/relgraph_strip.erl")),
];

/// What talks to rebar3.
const REBAR3: [Source; 9] = [
    ("r3_hex_repo.erl", include_str!("../../beam/r3_hex_repo.erl")),
    ("relgraph_rebar3.erl", include_str!("../../beam/relgraph_rebar3.erl")),
    ("relgraph_rebar3_compile.erl", include_str!("../../beam/relgraph_rebar3_compile.erl")),
    ("relgraph_rebar3_describe.erl", include_str!("../../beam/relgraph_rebar3_describe.erl")),
    ("relgraph_rebar3_hex.erl", include_str!("../../beam/relgraph_rebar3_hex.erl")),
    ("relgraph_rebar3_hooks.erl", include_str!("../../beam/relgraph_rebar3_hooks.erl")),
    ("relgraph_rebar3_source.erl", include_str!("../../beam/relgraph_rebar3_source.erl")),
    ("relgraph_recipe.erl", include_str!("../../beam/relgraph_recipe.erl")),
    ("relgraph_relx.erl", include_str!("../../beam/relgraph_relx.erl")),
];

/// What compiles applications that have no tool.
const OTP: [Source; 2] = [
    ("relgraph_otp_compile.erl", include_str!("../../beam/relgraph_otp_compile.erl")),
    ("relgraph_otp_describe.erl", include_str!("../../beam/relgraph_otp_describe.erl")),
];

/// What talks to make.
const MAKE: [Source; 3] = [
    ("relgraph_make.erl", include_str!("../../beam/relgraph_make.erl")),
    ("relgraph_make_compile.erl", include_str!("../../beam/relgraph_make_compile.erl")),
    ("relgraph_make_describe.erl", include_str!("../../beam/relgraph_make_describe.erl")),
];

/// What a release carries to be upgraded while it runs: `releases/VERSION/relgraph_upgrade*.beam`.
const UPGRADE: [Source; 14] = [
    ("relgraph_upgrade.erl", include_str!("../../beam/relgraph_upgrade.erl")),
    ("relgraph_upgrade_apply.erl", include_str!("../../beam/relgraph_upgrade_apply.erl")),
    ("relgraph_upgrade_books.erl", include_str!("../../beam/relgraph_upgrade_books.erl")),
    ("relgraph_upgrade_children.erl", include_str!("../../beam/relgraph_upgrade_children.erl")),
    ("relgraph_upgrade_client.erl", include_str!("../../beam/relgraph_upgrade_client.erl")),
    ("relgraph_upgrade_config.erl", include_str!("../../beam/relgraph_upgrade_config.erl")),
    ("relgraph_upgrade_environment.erl", include_str!("../../beam/relgraph_upgrade_environment.erl")),
    ("relgraph_upgrade_files.erl", include_str!("../../beam/relgraph_upgrade_files.erl")),
    ("relgraph_upgrade_package.erl", include_str!("../../beam/relgraph_upgrade_package.erl")),
    ("relgraph_upgrade_processes.erl", include_str!("../../beam/relgraph_upgrade_processes.erl")),
    ("relgraph_upgrade_relup.erl", include_str!("../../beam/relgraph_upgrade_relup.erl")),
    ("relgraph_upgrade_report.erl", include_str!("../../beam/relgraph_upgrade_report.erl")),
    ("relgraph_upgrade_rollback.erl", include_str!("../../beam/relgraph_upgrade_rollback.erl")),
    ("relgraph_upgrade_script.erl", include_str!("../../beam/relgraph_upgrade_script.erl")),
];

/// The output with the compiled modules that a release carries to be upgraded while it runs.
pub const UPGRADE_OUTPUT: &str = "upgrade";

/// Compiles the driver with the project's own Erlang, and Elixir where the project needs it.
pub struct Driver {
    /// What it shares with the others.
    pub common: Common,
}

impl Driver {
    /// Sources in Erlang, and in Elixir.
    fn sources(&self) -> (Vec<Source>, &'static [Source]) {
        match self.common.tool {
            Tool::Mix => (ERLANG.to_vec(), &ELIXIR),
            Tool::Rebar3 => (ERLANG.iter().chain(&RELEASE).chain(&REBAR3).copied().collect(), &[]),
            Tool::Otp => (ERLANG.iter().chain(&RELEASE).chain(&OTP).copied().collect(), &[]),
            Tool::ErlangMk => {
                let elixir: &[_] = if self.common.toolchain.elixir.is_some() { &ELIXIR } else { &[] };
                (ERLANG.iter().chain(&RELEASE).chain(&MAKE).copied().collect(), elixir)
            }
        }
    }

    /// The rebar3 whose modules are taken out of it.
    fn rebar3(&self) -> Result<Option<&Digest>, StepError> {
        if self.common.tool != Tool::Rebar3 {
            return Ok(None);
        }
        self.common.toolchain.rebar3_digest.as_ref().map(Some).ok_or_else(|| {
            StepError::input("the project is built by rebar3, which is not in PATH")
                .with_hint("install rebar3 (on Debian and Ubuntu: apt-get install rebar3), or put it in PATH")
        })
    }
}

impl Action for Driver {
    fn declare(&self, _cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut hasher = Hasher::new();
        let (erlang, elixir) = self.sources();
        for (name, text) in erlang.iter().chain(elixir).chain(&UPGRADE) {
            hasher.update(name.as_bytes());
            hasher.update(Digest::of(text.as_bytes()).hex().as_bytes());
        }
        let mut parts = KeyParts::new();
        parts.digest("toolchain", &self.common.toolchain.digest);
        parts.digest("sources", &hasher.finish());
        if let Some(rebar3) = self.rebar3()? {
            parts.digest("rebar3", rebar3);
        }
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        // The user's environment is no input here.
        let common = Common {
            env: BTreeMap::new(),
            pass_env: Default::default(),
            secrets: Default::default(),
            ..self.common.clone()
        };
        let vm = Vm::new(cx, &common)?;
        let (erlang, elixir) = self.sources();
        for (name, text) in erlang.iter().chain(elixir).chain(&UPGRADE) {
            vm.write(&format!("driver/{name}"), text.as_bytes())?;
        }
        vm.write("ebin/.keep", b"")?;
        vm.write("upgrade/.keep", b"")?;
        vm.write("rebar3/.keep", b"")?;
        let flags = vec!["-pa".to_owned(), vm.inside("ebin")];
        let mut start = vec!["-eval".to_owned(), compile(&vm, &erlang, "ebin", "report")];
        // What ships: stripped, and without a trace of where it was compiled.
        start.extend([
            "-eval".to_owned(),
            compile(&vm, &UPGRADE, "upgrade", "report, deterministic, no_debug_info"),
        ]);
        if self.rebar3()?.is_some() {
            start.extend(["-run", "relgraph_escript", "unpack"].map(str::to_owned));
            start.extend([vm.inside("tools/rebar3"), vm.inside("rebar3")]);
        }
        if elixir.is_empty() {
            start.extend(["-s", "erlang", "halt"].map(str::to_owned));
        } else {
            let mut args = ["+elixirc", "--no-docs", "--no-debug-info", "-o"].map(str::to_owned).to_vec();
            args.push(vm.inside("ebin"));
            args.extend(elixir.iter().map(|(name, _)| vm.inside(&format!("driver/{name}"))));
            start.extend(elixir_cli(&args));
        }
        let finished = vm.run(flags, start, "the driver's compilation")?;
        let kept = |path: &str| path != ".keep";
        let ebin = cx.store.ingest(&vm.real("ebin"), &kept)?;
        let rebar3 = cx.store.ingest(&vm.real("rebar3"), &kept)?;
        let upgrade = cx.store.ingest(&vm.real("upgrade"), &kept)?;
        let outputs = BTreeMap::from([
            ("ebin".to_owned(), ebin),
            ("rebar3".to_owned(), rebar3),
            (UPGRADE_OUTPUT.to_owned(), upgrade),
        ]);
        Ok(super::ran(finished, outputs))
    }
}

/// An expression that compiles sources of Erlang into a folder, or ends the VM.
fn compile(vm: &Vm<'_>, sources: &[Source], into: &str, options: &str) -> String {
    let files: Vec<String> =
        sources.iter().map(|(name, _)| format!("{:?}", vm.inside(&format!("driver/{name}")))).collect();
    let options = format!("[{options}, {{outdir, {:?}}}]", vm.inside(into));
    format!("[{{ok, _}} = compile:file(F, {options}) || F <- [{}]].", files.join(", "))
}
