//! What a step of the user sees that is given the project's Erlang, Elixir and rebar3 (`toolchain: true`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use relgraph_cache::{Digest, Link, Probe};
use relgraph_engine::{KeyParts, Mount, StepContext, StepError};

use super::{custom, fetch};
use crate::launch;
use crate::layout::Layout;
use crate::lower::{CONFIG, DESCRIBE};
use crate::source::{Entry, Snapshot};
use crate::tool::Tool;
use crate::vm::{Common, driver};

/// The sources of a dependency that came from elsewhere.
pub enum Brought {
    /// A folder of the project.
    Folder(Arc<Snapshot>),
    /// What a step fetched.
    Fetched(String),
}

/// What a step sees besides its inputs.
pub struct Tools {
    /// What it shares with the steps that compile.
    pub common: Common,
    /// Where things lie inside the sandbox: where they lay when applications were compiled.
    pub layout: Layout,
    /// Dependencies from elsewhere, with their sources, by where these lie, seen from the project's folder.
    pub brought: BTreeMap<String, Brought>,
}

/// What `mix` reads in the place of the project's own file: that, and then that what is compiled is compiled.
const MIX_EXS: &str = r#"for beam <- Path.wildcard("@driver@/Elixir.{Hex,Relgraph.*}.beam") do
  name = Path.basename(beam, ".beam")
  :code.load_abs(~c"@driver@/" ++ String.to_charlist(name))
end

if File.regular?("mix.exs") do
  Code.compile_file("mix.exs")
  Relgraph.Release.task()
end
"#;

impl Tools {
    /// Its part of a key.
    pub(super) fn parts(&self, cx: &StepContext<'_>) -> Result<KeyParts, StepError> {
        let mut parts = self.common.parts(cx)?;
        if self.common.tool != Tool::Rebar3
            && let Some(rebar3) = &self.common.toolchain.rebar3_digest
        {
            parts.digest("rebar3", rebar3);
        }
        parts.text("folder", self.layout.project());
        for (at, brought) in &self.brought {
            let digest = match brought {
                Brought::Folder(files) => files.digest_below(""),
                Brought::Fetched(step) => cx.need(step)?.output(fetch::SOURCE)?,
            };
            parts.digest(format!("input {at}"), &digest);
        }
        Ok(parts)
    }

    /// Files of the project that Mix reads to know what it is: those that it read when it was asked.
    pub(super) fn files<'a>(
        &self,
        cx: &StepContext<'_>,
        files: &'a Snapshot,
    ) -> Result<BTreeMap<&'a str, &'a Entry>, StepError> {
        let mut found = BTreeMap::new();
        if self.common.tool != Tool::Mix {
            return Ok(found);
        }
        let project = self.layout.project();
        for step in [DESCRIBE, CONFIG] {
            for (probe, _) in &cx.need(step)?.probes {
                let Probe::Content(path) = probe else { continue };
                let name = path.strip_prefix(&project).and_then(|path| path.strip_prefix('/'));
                if let Some((path, entry @ Entry::File { .. })) = name.and_then(|name| files.named(name)) {
                    found.insert(path, entry);
                }
            }
        }
        Ok(found)
    }

    /// Puts sources of dependencies and the programs of the toolchain into the folder that a step works in.
    pub(super) fn stage(&self, cx: &StepContext<'_>, work: &Path, prefix: &str) -> Result<bool, StepError> {
        let mut same = true;
        for (at, brought) in &self.brought {
            let to = work.join(self.layout.at(at));
            match brought {
                Brought::Folder(files) => same &= files.stage_missing(&to)?,
                Brought::Fetched(step) => {
                    let over = work.join("brought");
                    cx.store.materialize(&cx.need(step)?.output(fetch::SOURCE)?, &over, Link::Copy)?;
                    custom::move_into(&over, &to)?;
                }
            }
        }
        for (name, text) in self.programs(prefix) {
            let path = work.join(BIN).join(name);
            let folder = path.parent().unwrap_or(work);
            fs::create_dir_all(folder).map_err(|e| StepError::io("create", folder, &e))?;
            fs::write(&path, text)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
                .map_err(|e| StepError::io("write", &path, &e))?;
        }
        if self.common.toolchain.elixir.is_some() {
            let path = work.join("tools/mix.exs");
            fs::write(&path, MIX_EXS.replace("@driver@", &format!("{prefix}/driver")))
                .map_err(|e| StepError::io("write", &path, &e))?;
        }
        Ok(same)
    }

    /// Scripts of an installation name its folder, which is another one here.
    fn programs(&self, prefix: &str) -> Vec<(&'static str, String)> {
        let erts = &self.common.toolchain.erlang.erts;
        let erl = format!(
            "#!/bin/sh\nexport ROOTDIR={prefix}/otp BINDIR={prefix}/otp/erts-{erts}/bin EMU=beam PROGNAME=erl\n\
             exec \"$BINDIR/erlexec\" \"$@\"\n"
        );
        let rebar3 = format!("#!/bin/sh\nexec escript {prefix}/tools/rebar3 \"$@\"\n");
        let mut programs = vec![("erl", erl)];
        programs.extend(self.common.toolchain.rebar3.iter().map(|_| ("rebar3", rebar3.clone())));
        programs
    }

    /// What is shown of the toolchain.
    pub(super) fn mounts(&self, cx: &StepContext<'_>, prefix: &str) -> Result<Vec<Mount>, StepError> {
        let mut mounts = launch::toolchain(cx, &self.common, prefix);
        mounts.push(Mount::read_only(cx.store.checkout(&driver(cx)?)?, format!("{prefix}/driver")));
        Ok(mounts)
    }

    /// Variables of the step.
    pub(super) fn env(&self, cx: &StepContext<'_>, prefix: &str) -> BTreeMap<String, String> {
        let inside = |path: &str| format!("{prefix}/{path}");
        let elixir = self.common.toolchain.elixir.iter().map(|_| inside("elixir/bin:")).collect::<String>();
        let path = format!("{}:{elixir}{}:/usr/local/bin:/usr/bin:/bin", inside(BIN), inside("otp/bin"));
        let erl = inside(&format!("{BIN}/erl"));
        let mut env: BTreeMap<String, String> = self.common.set(cx);
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        set("PATH", path);
        set("ESCRIPT_EMULATOR", erl.clone());
        set("ERLC_EMULATOR", erl);
        if self.common.toolchain.elixir.is_some() {
            set("MIX_ENV", self.common.environment.clone());
            set("MIX_TARGET", self.common.target.clone());
            set("MIX_EXS", inside("tools/mix.exs"));
            set("HEX_OFFLINE", "1".to_owned());
        }
        if self.common.toolchain.rebar3.is_some() {
            set("MIX_REBAR3", inside("tools/rebar3"));
        }
        if self.common.tool == Tool::Rebar3 {
            set("REBAR_PROFILE", self.common.environment.clone());
        }
        env
    }

    /// Where the project lies inside the sandbox.
    pub(super) fn place(&self) -> String {
        self.layout.project()
    }
}

/// Where programs lie.
const BIN: &str = "tools/bin";

/// A compiled application as it lies in the folder of a step: `mix` may write there.
pub(super) fn put(cx: &StepContext<'_>, tree: &Digest, to: &Path) -> Result<(), StepError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|e| StepError::io("create", parent, &e))?;
    }
    Ok(cx.store.materialize(tree, to, Link::Copy)?)
}
