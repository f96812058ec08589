//! What Distillery's settings are called in release.yaml, and a note for each that has no name there.

use super::distillery::{Block, Setting, Value};

/// Something that the user has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line of the file that it was read from, from 1.
    pub line: usize,
    /// What it is and what to do.
    pub message: String,
}

/// Lines of a release.yaml, and what they do not say.
#[derive(Debug, Default)]
pub(super) struct Converted {
    pub lines: Vec<String>,
    pub notes: Vec<Note>,
    copies: Vec<(String, String)>,
    folders: Vec<String>,
    stripped: bool,
}

fn settings<'a>(blocks: &'a [Block], release: bool, name: &'a str) -> impl Iterator<Item = &'a Setting> {
    blocks.iter().filter(move |b| b.release == release && b.name == name).flat_map(|b| &b.settings)
}

/// The settings of one release in one environment: those of the environment win, as with Distillery.
pub(super) fn convert(blocks: &[Block], release: &str, environment: &str, app: Option<&str>) -> Converted {
    let environments: Vec<&Setting> = settings(blocks, false, environment).collect();
    let beaten = |setting: &&Setting| {
        setting.name != "plugin" && environments.iter().any(|other| other.name == setting.name)
    };
    let own: Vec<&Setting> = settings(blocks, true, release).filter(|s| !beaten(s)).collect();
    let mut made = Converted::default();
    for setting in own.into_iter().chain(environments.iter().copied()) {
        made.add(setting, app);
    }
    if !made.stripped {
        made.lines
            .push("strip: false    # as with Distillery; without this line modules are stripped".into());
    }
    made.copied();
    for block in blocks.iter().filter(|b| !b.release && b.name != environment) {
        let names: Vec<&str> = block.settings.iter().map(|s| s.name.as_str()).collect();
        let (name, says) = (&block.name, names.join(", "));
        made.note(
            block.line,
            format!("environment `{name}` ({says}) is not part of this file: `relgraph build --environment {name}` sets MIX_ENV, and `dev` leaves out the runtime and stripping; for more, write a second file"),
        );
    }
    made.notes.sort_by_key(|note| note.line);
    made
}

impl Converted {
    fn note(&mut self, line: usize, message: impl Into<String>) {
        self.notes.push(Note { line, message: message.into() });
    }

    fn add(&mut self, setting: &Setting, app: Option<&str>) {
        let Setting { line, name, value } = setting;
        let line = *line;
        match (name.as_str(), value) {
            // Its value may be a secret however it is written: it is never repeated.
            ("cookie", _) => self.note(line, "a cookie is written there, and was not copied: set RELEASE_COOKIE where the release runs, or write it to releases/COOKIE there; relgraph keeps no secret in a release"),
            (_, Value::Computed) => self.note(line, format!("`{name}` is computed there: write its value here, where release.yaml has a key for it (`relgraph schema`)")),
            ("version", Value::Call(call, of)) if call == "current_version" => match of.first() {
                Some(Value::Atom(of)) if app != Some(of.as_str()) => {
                    self.note(line, format!("the version is that of `{of}`: add `version:` with it, or under `releases:` in mix.exs `version: {{:from_app, :{of}}}`"));
                }
                _ => {}
            },
            ("version", Value::Text(version)) => self.lines.push(format!("version: {}", quoted(version))),
            ("applications", Value::List(applications)) => self.applications(line, applications),
            ("include_erts", Value::Word(yes)) if yes == "true" => {}
            ("include_erts", Value::Word(no)) if no == "false" => self.lines.push("runtime: false".into()),
            ("include_erts", Value::Text(path)) => self.lines.push(format!("runtime: {}", quoted(path))),
            ("strip_debug_info", Value::Word(yes)) => {
                self.stripped = true;
                if yes == "false" {
                    self.lines.push("strip: false".into());
                }
            }
            ("overlays", Value::List(overlays)) => self.overlays(line, overlays),
            ("overlay_vars", _) => self.note(line, "variables of overlay templates: there are none in release.yaml; a step (`steps:`) can write such files"),
            ("vm_args", Value::Text(path)) => self.note(line, format!("`{path}` is not read: copy it to rel/vm.args.eex, which is a template in Elixir (`<%= @release.name %>`); take out -name, -sname and -setcookie, which the start script sets")),
            ("sys_config", Value::Text(path)) => self.note(line, format!("`{path}` is not read: the configuration comes from config/config.exs and config/runtime.exs")),
            ("config_providers", Value::List(_)) => self.note(line, "config providers: put what the release reads at start into config/runtime.exs, or declare `config_providers:` under `releases:` in mix.exs"),
            ("commands", Value::List(commands)) => {
                for command in commands {
                    if let Value::Pair(name, script) = command {
                        let script = if let Value::Text(path) = &**script { path.as_str() } else { "its script" };
                        self.note(line, format!("command `{name}`: put {script} at rel/overlays/bin/{name}, or use `bin/NAME eval \"…\"`"));
                    }
                }
            }
            (hook, _) if hook.ends_with("_hook") || hook.ends_with("_hooks") => self.note(line, format!("`{hook}`: the start script of the release reads rel/env.sh.eex before it does anything (RELEASE_COMMAND says what); there are no other hooks")),
            ("plugin", Value::Word(plugin)) => self.note(line, format!("plugin {plugin} is not run: what it does can be a step (`steps:`)")),
            ("dev_mode" | "quiet" | "include_system_libs", _) => {}
            ("include_src", Value::Word(no)) if no == "false" => {}
            ("erl_opts" | "run_erl_env" | "exec_opts", _) => self.note(line, format!("`{name}`: write flags of the VM to rel/vm.args.eex, and variables to rel/env.sh.eex")),
            _ => self.note(line, format!("`{name}` has no equivalent in release.yaml")),
        }
    }

    fn applications(&mut self, line: usize, applications: &[Value]) {
        let mut entries = Vec::new();
        for application in applications {
            match application {
                Value::Atom(app) => entries.push((app, "permanent")),
                Value::Pair(app, mode) => match (&**mode, app) {
                    (Value::Atom(mode), app) => entries.push((app, mode)),
                    _ => self.note(
                        line,
                        format!("how `{app}` is started is computed there: add it to `applications:`"),
                    ),
                },
                Value::Tuple(pair) => match &pair[..] {
                    [Value::Atom(app), Value::Atom(mode)] => entries.push((app, mode)),
                    _ => self.note(line, "an application is computed there: add it to `applications:`"),
                },
                _ => self.note(line, "an application is computed there: add it to `applications:`"),
            }
        }
        let known = ["permanent", "transient", "temporary", "load", "none"];
        let (good, odd): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(app, _)| is_application(app));
        for (app, _) in odd {
            self.note(line, format!("`{app}` cannot be the name of an application in release.yaml"));
        }
        if !good.is_empty() {
            self.lines.push("applications:".into());
        }
        for (app, mode) in good {
            let mode = if known.contains(&mode) { mode } else { "permanent" };
            self.lines.push(format!("  {app}: {mode}"));
        }
    }

    fn overlays(&mut self, line: usize, overlays: &[Value]) {
        for overlay in overlays {
            let texts: Option<Vec<&str>> = match overlay {
                Value::Tuple(parts) => parts
                    .iter()
                    .map(|part| match part {
                        Value::Atom(text) | Value::Text(text) => Some(text.as_str()),
                        _ => None,
                    })
                    .collect(),
                _ => None,
            };
            match texts.as_deref() {
                Some(["copy" | "link", from, to]) if plain(from) && plain(to) => {
                    self.copies.push(((*from).to_owned(), (*to).to_owned()));
                }
                Some(["mkdir", folder]) if plain(folder) => self.folders.push((*folder).to_owned()),
                Some(["template", from, to]) => {
                    self.note(line, format!("overlay template {from} → {to}: a step (`steps:`) can write it"))
                }
                Some(words) => self.note(
                    line,
                    format!(
                        "overlay {}: its path is a template; a step (`steps:`) can make it",
                        words.join(" → ")
                    ),
                ),
                None => self.note(line, "an overlay is computed there: a step (`steps:`) can make it"),
            }
        }
    }

    /// Distillery copies single files, relgraph lays folders over a release: a step makes the one from the other.
    fn copied(&mut self) {
        if self.copies.is_empty() && self.folders.is_empty() {
            return;
        }
        let mut run = Vec::new();
        let mut outputs: Vec<&str> = Vec::new();
        for folder in &self.folders {
            run.push(format!("mkdir -p {folder}"));
            outputs.push(folder);
        }
        for (from, to) in &self.copies {
            if from != to {
                let folder = to.rsplit_once('/').map_or(".", |(folder, _)| folder);
                run.push(format!("mkdir -p {folder} && cp -R {from} {to}"));
            }
            outputs.push(to);
        }
        // What lies in a folder that is an output already is no output of its own.
        let inside = |path: &&str| {
            outputs.iter().any(|other| path.strip_prefix(*other).is_some_and(|rest| rest.starts_with('/')))
        };
        let outputs: Vec<&str> = outputs.iter().copied().filter(|path| !inside(path)).collect();
        let inputs: Vec<&str> = self.copies.iter().map(|(from, _)| from.as_str()).collect();
        self.lines.extend(["steps:", "  overlays:", "    run:"].map(str::to_owned));
        if run.is_empty() {
            run.push("true".into());
        }
        self.lines.extend(run.iter().map(|line| format!("      - {line}")));
        if !inputs.is_empty() {
            self.lines.push(format!("    inputs: [{}]", inputs.join(", ")));
        }
        self.lines.push(format!("    outputs: [{}]", outputs.join(", ")));
    }
}

/// A path below the project's folder that means the same to a shell and in YAML.
fn plain(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    !path.is_empty()
        && path.chars().all(good)
        && parts.iter().all(|part| !["", ".", ".."].contains(part))
        && path.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether release.yaml takes it for the name of an application without quotes.
fn is_application(app: &str) -> bool {
    app.starts_with(|c: char| c.is_ascii_lowercase())
        && app.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !["true", "false", "null"].contains(&app)
}
