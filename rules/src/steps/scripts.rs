//! `scripts`: `bin/NAME`, which starts and controls the release.

use std::collections::BTreeMap;

use relgraph_cache::{Digest, TreeBuilder};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use super::assemble::conflict;
use super::boot::{self, Boot};
use crate::project::BootFacts;

/// The rule of this step.
pub const RULE: Rule = Rule { name: "scripts", version: 1 };
/// The name of this step.
pub const STEP: &str = "scripts";

const UNIX: &str = include_str!("../../templates/cli.sh");
const ERLANG: &str = include_str!("../../templates/cli_erlang.sh");
const WINDOWS: &str = include_str!("../../templates/cli.bat");

/// Writes the launchers.
pub struct Scripts {
    /// `unix`, `windows`; `None`: as the step `boot` says.
    pub executables_for: Option<Vec<String>>,
    /// Whether the release has Elixir to start and to control it.
    pub elixir: bool,
}

impl Scripts {
    fn executables_for<'a>(&'a self, facts: &'a BootFacts) -> &'a [String] {
        self.executables_for.as_ref().unwrap_or(&facts.executables_for)
    }

    /// The script for Unix. What differs without Elixir stands between two marks.
    fn unix(&self) -> String {
        let mut text = String::new();
        let mut instead = ERLANG.split("#--\n");
        let mut inside = false;
        for line in UNIX.split_inclusive('\n') {
            match line.trim_end() {
                "#<elixir" => {
                    inside = true;
                    if !self.elixir {
                        text.push_str(instead.next().unwrap_or_default());
                    }
                }
                "#elixir>" => inside = false,
                _ if inside && !self.elixir => {}
                _ => text.push_str(line),
            }
        }
        text
    }
}

impl Action for Scripts {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let facts = Boot::read(cx.store, cx.need(boot::STEP)?)?;
        let mut parts = KeyParts::new();
        parts.text("release", &facts.name);
        parts.text("reboot", if facts.reboot { "yes" } else { "no" });
        parts.list("executables", self.executables_for(&facts));
        parts.digest("template unix", &Digest::of(self.unix().as_bytes()));
        parts.digest("template windows", &Digest::of(WINDOWS.as_bytes()));
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let facts = Boot::read(cx.store, cx.need(boot::STEP)?)?;
        // A release that boots a second time after reading its configuration is told its mode by Elixir. Up to 1.14 Mix
        // writes a second dash, with which the flag sets nothing and the system reboots into interactive mode.
        let mode = if facts.reboot { "-elixir config_provider_reboot_mode" } else { "-mode" };
        let mut tree = TreeBuilder::new();
        for os in self.executables_for(&facts) {
            let (template, name) = match os.as_str() {
                "windows" => (WINDOWS.to_owned(), format!("bin/{}.bat", facts.name)),
                _ => (self.unix(), format!("bin/{}", facts.name)),
            };
            let text = template.replace("@@NAME@@", &facts.name).replace("@@MODE@@", mode);
            tree.file(&name, cx.store.put_bytes(text.as_bytes())?, true).map_err(conflict)?;
        }
        Ok(Ran {
            outputs: BTreeMap::from([("scripts".to_owned(), tree.finish(cx.store)?)]),
            ..Ran::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What gawk has as keywords, and other awks as names.
    const KEYWORDS: [&str; 9] =
        ["BEGINFILE", "ENDFILE", "case", "default", "func", "include", "load", "namespace", "switch"];

    #[test]
    fn awk_programs_use_no_keyword_of_another_awk_as_a_name() {
        let mut programs = 0;
        for template in [UNIX, ERLANG] {
            for program in template.split("awk '").skip(1).filter_map(|rest| rest.split('\'').next()) {
                programs += 1;
                let words = program.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let found: Vec<&str> = words.filter(|word| KEYWORDS.contains(word)).collect();
                assert!(found.is_empty(), "{found:?} in {program}");
            }
        }
        assert!(programs > 2, "{programs}");
    }
}
