//! The table of keys: the one source of what is checked, of the JSON Schema and of the reference page.

use super::shape::{Key, Shape, Word};
use super::text::Text;
use super::{cache, upgrades};

const TRUE_FALSE_OR_PATH: Shape = Shape::Either(&[Shape::Bool, Shape::Text(Text::Folder)]);

/// The whole file.
pub(super) const FILE: Shape = Shape::Record { keys: KEYS, what: "a map of keys" };

/// The keys of the file.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "release",
        shape: Shape::Text(Text::Release),
        required: true,
        default: "",
        meaning: "The name of the release. Where `mix.exs` has an entry of this name under `releases:`, what that \
                  entry says holds, unless another key here says otherwise. A file of this one line is complete.",
        example: "release: sequence",
        also: &["name", "release_name"],
    },
    Key {
        name: "version",
        shape: Shape::Text(Text::Version),
        required: false,
        default: "the version that the project declares",
        meaning: "The version of the release. Put it in quotes: `1.10` without them is a number.",
        example: "version: \"1.10.0\"",
        also: &["vsn"],
    },
    Key {
        name: "project",
        shape: Shape::Text(Text::Folder),
        required: false,
        default: "`.`",
        meaning: "The folder of the project, seen from the folder of this file.",
        example: "project: server",
        also: &["path", "root"],
    },
    Key {
        name: "tool",
        shape: Shape::OneOf(TOOLS),
        required: false,
        default: "the first of `mix`, `rebar3`, `erlang.mk` and `otp` that the project has the files of",
        meaning: "What the project is built with, where it has the files of several tools.",
        example: "tool: rebar3",
        also: &["build_tool", "manager"],
    },
    Key {
        name: "environment",
        shape: Shape::Text(Text::Environment),
        required: false,
        default: "`prod`",
        meaning: "What `MIX_ENV` (or the rebar3 profile) is set to. With `dev`, `runtime` and `strip` are false \
                  unless they are given.",
        example: "environment: staging",
        also: &["mix_env", "profile"],
    },
    Key {
        name: "target",
        shape: Shape::Text(Text::Target),
        required: false,
        default: "`host`",
        meaning: "What `MIX_TARGET` is set to.",
        example: "target: rpi4",
        also: &["mix_target"],
    },
    Key {
        name: "applications",
        shape: Shape::Map {
            key: Text::Application,
            value: &Shape::OneOf(START_MODES),
            what: "a map from applications to start modes",
        },
        required: false,
        default: "the project's application, `permanent`, and what it depends on",
        meaning: "Applications that belong to the release, each with the way in which it is started. Those that \
                  they depend on come by themselves.",
        example: "applications:\n  runtime_tools: permanent\n  observer_cli: load",
        also: &["apps"],
    },
    Key {
        name: "runtime",
        shape: Shape::Either(&[
            Shape::Bool,
            Shape::Text(Text::Folder),
            Shape::Record { keys: RUNTIME_KEYS, what: "a map with the keys `include` and `target`" },
        ]),
        required: false,
        default: "`true`; `false` when `environment` is `dev`",
        meaning: "Whether the Erlang runtime is part of the release: `true` for the one that builds it, `false` for \
                  none (the machine that runs the release must have it), or the folder of another Erlang \
                  installation.",
        example: "runtime: /opt/erlang-27",
        also: &["include_erts", "erts"],
    },
    Key {
        name: "toolchain",
        shape: Shape::Record {
            keys: TOOLCHAIN_KEYS,
            what: "a map with the keys `erlang`, `elixir` and `rebar3`",
        },
        required: false,
        default: "what `.tool-versions` or `mise.toml` names, as asdf and mise install it; else what PATH leads to",
        meaning: "Which Erlang, Elixir and rebar3 build the project, each by its version or by the folder that it is \
                  installed in.",
        example: "toolchain:\n  erlang: 26.2.1\n  elixir: /opt/elixir-1.16",
        also: &["tools", "tool_versions"],
    },
    Key {
        name: "strip",
        shape: Shape::Either(&[
            Shape::Bool,
            Shape::Record { keys: STRIP_KEYS, what: "a map with the keys `keep` and `compress`" },
        ]),
        required: false,
        default: "`true`; `false` when `environment` is `dev`",
        meaning: "Whether debug information and documentation are taken out of the modules.",
        example: "strip:\n  keep: [Docs]",
        also: &["strip_beams", "strip_debug_info", "debug_info"],
    },
    Key {
        name: "cookie",
        shape: Shape::Text(Text::Cookie),
        required: false,
        default: "made at first boot, readable by the owner alone",
        meaning: "The cookie of the Erlang distribution. It is written to `releases/COOKIE` of the release, readable by \
                  its owner alone, and is in no package and not in the store: where a package is unpacked, set \
                  `RELEASE_COOKIE` or write the file.",
        example: "cookie: fetched-by-the-deployment",
        also: &[],
    },
    Key {
        name: "overlays",
        shape: Shape::List { of: &Shape::Text(Text::Folder), single: false },
        required: false,
        default: "`rel/overlays`, if there is one",
        meaning: "Folders whose content is copied over the root of the release, in this order.",
        example: "overlays:\n  - rel/overlays\n  - ops/files",
        also: &["overlay"],
    },
    Key {
        name: "upgrades",
        shape: upgrades::SHAPE,
        required: false,
        default: "`none`",
        meaning: "Whether a running node is to be moved to this release without being stopped, and what is done on the way \
                  (see [hot upgrades](guides/hot-upgrades.md)).",
        example: "upgrades: hot",
        also: &["upgrade", "relup"],
    },
    Key {
        name: "package",
        shape: Shape::List { of: &Shape::OneOf(FORMATS), single: true },
        required: false,
        default: "none",
        meaning: "Files that the release is packed into, beside the folder that it is built in.",
        example: "package: tar.gz",
        also: &["packages", "tar"],
    },
    Key {
        name: "executables_for",
        shape: Shape::List { of: &Shape::OneOf(PLATFORMS), single: false },
        required: false,
        default: "what `include_executables_for` says in `mix.exs`, else `[unix, windows]`",
        meaning: "The systems that `bin/` gets start scripts for.",
        example: "executables_for: [unix, windows]",
        also: &["include_executables_for"],
    },
    Key {
        name: "steps",
        shape: Shape::Map {
            key: Text::Step,
            value: &Shape::Record { keys: STEP_KEYS, what: "a map of the keys of a step" },
            what: "a map of steps",
        },
        required: false,
        default: "none",
        meaning: "Steps of your own, by name. Each runs in a sandbox that holds its inputs and nothing else, only \
                  when one of them changed, and what it makes becomes part of the release.",
        example: "steps:\n  assets:\n    run: npm ci && npm run build\n    inputs: [assets/**, package-lock.json]\n    \
                  outputs: [priv/static]\n    network: true",
        also: &["custom_steps", "tasks"],
    },
    Key {
        name: "env",
        shape: Shape::Map {
            key: Text::MixVariable,
            value: &Shape::Written,
            what: "a map from names of variables to values",
        },
        required: false,
        default: "none",
        meaning: "Environment variables that are set for every step that runs Mix or rebar3.",
        example: "env:\n  LANG: C.UTF-8",
        also: &["environment_variables"],
    },
    Key {
        name: "pass_env",
        shape: Shape::List { of: &Shape::Text(Text::Variable), single: false },
        required: false,
        default: "none",
        meaning: "Variables of your own environment that the steps may see. Their values are part of the key: when \
                  one changes, the steps run again.",
        example: "pass_env: [GIT_COMMIT]",
        also: &["passenv"],
    },
    Key {
        name: "secrets",
        shape: Shape::Either(&[
            Shape::List { of: &Shape::Text(Text::MixVariable), single: false },
            Shape::Map {
                key: Text::MixVariable,
                value: &Shape::Record { keys: SECRET_KEYS, what: "a map with the key `key`" },
                what: "a map from names of variables to settings",
            },
        ]),
        required: false,
        default: "none",
        meaning: "Variables of your own environment with secrets that the steps need that run Mix or rebar3 (see \
                  [secrets](guides/secrets.md)). A step that reads one has a keyed hash of it in its key, what is printed \
                  shows `[secret NAME]` in its place, and a result that holds one is not kept: the step fails and says \
                  where.",
        example: "secrets: [LICENCE_KEY]",
        also: &["secret", "secret_env"],
    },
    Key {
        name: "network",
        shape: Shape::List { of: &Shape::Text(Text::Application), single: false },
        required: false,
        default: "none",
        meaning: "Applications that may use the network while they are compiled: packages that download what somebody \
                  compiled before, such as NIFs. What they download is part of neither key nor record, so leave it to \
                  packages that hold it against a checksum of their own.",
        example: "network: [explorer]",
        also: &["allow_network"],
    },
    Key {
        name: "preflight",
        shape: Shape::Either(&[
            Shape::Bool,
            Shape::Record { keys: PREFLIGHT_KEYS, what: "a map from kinds of findings to levels" },
        ]),
        required: false,
        default: "`true`: each kind has its own level",
        meaning: "What a build does about what is found in the release before it is put in its place (see \
                  [preflight](preflight.md)). `false`: nothing is looked at.",
        example: "preflight:\n  missing_calls: error\n  libraries: off",
        also: &["checks", "lint"],
    },
    Key {
        name: "sandbox",
        shape: Shape::OneOf(SANDBOXES),
        required: false,
        default: "`preferred`",
        meaning: "Whether steps are shut off from the rest of the machine.",
        example: "sandbox: required",
        also: &[],
    },
    Key {
        name: "cache",
        shape: cache::SHAPE,
        required: false,
        default: "none: results stay on this machine",
        meaning: "Where results are shared with colleagues and CI (see [remotes](remotes.md), also for what the user's own \
                  file, variables and flags say instead). Nothing here changes what is built.",
        example: "cache:\n  remotes:\n    - grpcs://cache.example.com/main",
        also: &["remote", "remotes"],
    },
];

const RUNTIME_KEYS: &[Key] = &[
    Key {
        name: "include",
        shape: TRUE_FALSE_OR_PATH,
        required: false,
        default: "as for `runtime` itself",
        meaning: "The same as `runtime` with a plain value.",
        example: "runtime:\n  include: false",
        also: &["include_erts"],
    },
    Key {
        name: "target",
        shape: Shape::Text(Text::RuntimeTarget),
        required: false,
        default: "machines like that of the runtime, with any version of the GNU C library",
        meaning: "The machines that the release is for: an architecture and a system (`x86_64-linux-gnu`, \
                  `aarch64-linux-musl`), the newest version of the GNU C library that may be asked for \
                  (`x86_64-linux-gnu-2.31`), or a distribution (`debian12`, `aarch64-ubuntu22.04`, `alpine`). Every \
                  native file of the release is held against it.",
        example: "runtime:\n  target: x86_64-linux-gnu-2.31",
        also: &["platform", "arch"],
    },
];

const LEVEL: Shape = Shape::OneOf(LEVELS);

/// The kinds of findings of the preflight.
pub(super) const PREFLIGHT_KEYS: &[Key] = &[
    Key {
        name: "modules",
        shape: LEVEL,
        required: false,
        default: "`error`",
        meaning: "Modules that the boot scripts or an application name and that are not there, or are there twice.",
        example: "preflight:\n  modules: warn",
        also: &["duplicates"],
    },
    Key {
        name: "modes",
        shape: LEVEL,
        required: false,
        default: "`error`",
        meaning: "Applications that need another one which the release does not have.",
        example: "preflight:\n  modes: warn",
        also: &["start_modes"],
    },
    Key {
        name: "orphaned",
        shape: LEVEL,
        required: false,
        default: "`error`",
        meaning: "Applications that are started and wait for one that is only loaded: the node never comes up.",
        example: "preflight:\n  orphaned: warn",
        also: &["loaded"],
    },
    Key {
        name: "missing_calls",
        shape: LEVEL,
        required: false,
        default: "`warn`",
        meaning: "Calls of the project's own applications to modules that the release does not have, or to functions \
                  that a module does not have. What dependencies call is summed up, and ends no build.",
        example: "preflight:\n  missing_calls: error",
        also: &["missing-calls", "xref", "undefined"],
    },
    Key {
        name: "nifs",
        shape: LEVEL,
        required: false,
        default: "`warn`",
        meaning: "Modules that load native code when they are loaded, in an application that has none.",
        example: "preflight:\n  nifs: error",
        also: &["on_load"],
    },
    Key {
        name: "native",
        shape: LEVEL,
        required: false,
        default: "`error`",
        meaning: "Native files that do not run on the machines that the release is for: another architecture, another \
                  C library, or a newer one.",
        example: "preflight:\n  native: warn",
        also: &["native_files"],
    },
    Key {
        name: "libraries",
        shape: LEVEL,
        required: false,
        default: "`warn`",
        meaning: "Shared libraries that native files need and that are neither in the release nor on every machine.",
        example: "preflight:\n  libraries: off",
        also: &["needed"],
    },
    Key {
        name: "config",
        shape: LEVEL,
        required: false,
        default: "`error`",
        meaning: "A `sys.config` that a node cannot read.",
        example: "preflight:\n  config: warn",
        also: &["sys_config"],
    },
];

const STRIP_KEYS: &[Key] = &[
    Key {
        name: "keep",
        shape: Shape::List { of: &Shape::Text(Text::Chunk), single: false },
        required: false,
        default: "none beyond those that run",
        meaning: "Chunks of the modules to keep nevertheless, such as `Docs` and `Dbgi`.",
        example: "strip:\n  keep: [Docs, Dbgi]",
        also: &[],
    },
    Key {
        name: "compress",
        shape: Shape::Bool,
        required: false,
        default: "`false`",
        meaning: "Whether the modules are compressed, each by itself.",
        example: "strip:\n  compress: true",
        also: &["compressed"],
    },
];

/// How one secret is used.
const SECRET_KEYS: &[Key] = &[Key {
    name: "key",
    shape: Shape::Bool,
    required: false,
    default: "`true`",
    meaning: "Whether the value is part of the key. With `false`, another value runs nothing again, and a result that is known \
              is taken where the secret is not set: for tokens that only open a door, and that change.",
    example: "secrets:\n  NPM_TOKEN: {key: false}",
    also: &["keyed"],
}];

/// The keys of one step.
pub(super) const STEP_KEYS: &[Key] = &[
    Key {
        name: "run",
        shape: Shape::List { of: &Shape::Text(Text::Script), single: true },
        required: true,
        default: "",
        meaning: "The script, run by `sh -eu` in the project's folder: one string, or a list of lines.",
        example: "run:\n  - npm ci\n  - npm run build",
        also: &["script", "command", "cmd"],
    },
    Key {
        name: "inputs",
        shape: Shape::List { of: &Shape::Text(Text::Glob), single: false },
        required: false,
        default: "none",
        meaning: "Globs, seen from the project's folder. `**` matches any number of folders. The step sees these \
                  files and no others.",
        example: "inputs: [assets/**, package.json]",
        also: &["srcs", "sources"],
    },
    Key {
        name: "outputs",
        shape: Shape::List { of: &Shape::Text(Text::Output), single: false },
        required: false,
        default: "none",
        meaning: "Files and folders that the step makes, seen from the project's folder.",
        example: "outputs: [priv/static]",
        also: &["outs"],
    },
    Key {
        name: "env",
        shape: Shape::Map {
            key: Text::Variable,
            value: &Shape::Written,
            what: "a map from names of variables to values",
        },
        required: false,
        default: "none",
        meaning: "Environment variables of this step.",
        example: "env:\n  NODE_ENV: production",
        also: &[],
    },
    Key {
        name: "secrets",
        shape: Shape::Either(&[
            Shape::List { of: &Shape::Text(Text::Variable), single: false },
            Shape::Map {
                key: Text::Variable,
                value: &Shape::Record { keys: SECRET_KEYS, what: "a map with the key `key`" },
                what: "a map from names of variables to settings",
            },
        ]),
        required: false,
        default: "none",
        meaning: "Variables of your own environment with secrets that this step gets (see \
                  [secrets](guides/secrets.md)). No other step sees them, unless it names them as well.",
        example: "secrets: [NPM_TOKEN]",
        also: &["secret", "secret_env"],
    },
    Key {
        name: "needs",
        shape: Shape::List { of: &Shape::Text(Text::NeededStep), single: false },
        required: false,
        default: "none",
        meaning: "Names of steps, yours or relgraph's, that must be done before; what they make is there when this \
                  one runs.",
        example: "needs: [compile my_app]",
        also: &["deps", "depends_on"],
    },
    Key {
        name: "before",
        shape: Shape::List { of: &Shape::Text(Text::NeededStep), single: true },
        required: false,
        default: "none",
        meaning: "Steps `compile APP` that come after this one and find its outputs among the sources of the application, \
                  in place of what lies there in the checkout. What is made in its `priv` so becomes part of the release.",
        example: "before: compile my_app",
        also: &["feeds"],
    },
    Key {
        name: "into",
        shape: Shape::Text(Text::Inside),
        required: false,
        default: "the root of the release",
        meaning: "The folder of the release that the outputs go into; `lib/APP` is the folder of that application, \
                  whatever its version. Outputs of a step that another one needs, or that comes before one, go into the \
                  release only where this is given.",
        example: "into: share",
        also: &[],
    },
    Key {
        name: "network",
        shape: Shape::Bool,
        required: false,
        default: "`false`",
        meaning: "Whether the step may use the network. What it fetches is no part of its key.",
        example: "network: true",
        also: &[],
    },
    Key {
        name: "toolchain",
        shape: Shape::Bool,
        required: false,
        default: "`false`",
        meaning: "Whether the step gets the Erlang, Elixir and rebar3 that build the project: they are in its `PATH` and \
                  part of its key, `MIX_ENV` is set, `mix.exs` and the configuration are among its inputs. After \
                  `needs: [compile APP]`, `mix` finds that application compiled, with all that it depends on, and the \
                  sources of dependencies in `deps/`.",
        example: "toolchain: true",
        also: &["tools", "elixir", "erlang", "mix"],
    },
    Key {
        name: "timeout",
        shape: Shape::Seconds,
        required: false,
        default: "none",
        meaning: "Seconds after which the step is stopped, and has failed.",
        example: "timeout: 600",
        also: &[],
    },
];

const TOOLCHAIN_KEYS: &[Key] = &[
    Key {
        name: "erlang",
        shape: Shape::Written,
        required: false,
        default: "as for `toolchain`",
        meaning: "A version of OTP, or its first parts (`26`), that PATH leads to or that asdf or mise have installed; or \
                  a folder (`code:root_dir()`), which has a `/` in it and is seen from the project's folder.",
        example: "toolchain:\n  erlang: 26.2.1",
        also: &["otp"],
    },
    Key {
        name: "elixir",
        shape: Shape::Written,
        required: false,
        default: "as for `toolchain`",
        meaning: "A version of Elixir, or the folder that holds its `bin` and `lib`.",
        example: "toolchain:\n  elixir: 1.16.0",
        also: &[],
    },
    Key {
        name: "rebar3",
        shape: Shape::Written,
        required: false,
        default: "as for `toolchain`",
        meaning: "A version of rebar3 that asdf or mise have installed, or the program itself.",
        example: "toolchain:\n  rebar3: ./rebar3",
        also: &["rebar"],
    },
];

const TOOLS: &[Word] = &[
    Word { name: "mix", meaning: "`mix.exs`" },
    Word { name: "rebar3", meaning: "`rebar.config`" },
    Word { name: "erlang.mk", meaning: "a Makefile that includes erlang.mk" },
    Word { name: "otp", meaning: "none: `src/NAME.app.src`, or such folders below `apps/` or `lib/`" },
];

const START_MODES: &[Word] = &[
    Word { name: "permanent", meaning: "started; when it ends, the node ends" },
    Word { name: "transient", meaning: "started; when it ends with an error, the node ends" },
    Word { name: "temporary", meaning: "started; the node goes on without it" },
    Word { name: "load", meaning: "loaded, not started" },
    Word { name: "none", meaning: "part of the release, neither loaded nor started" },
];

const LEVELS: &[Word] = &[
    Word { name: "error", meaning: "the build ends, and the last good release stays" },
    Word { name: "warn", meaning: "the build goes on, and says so" },
    Word { name: "off", meaning: "nothing is said" },
];

const FORMATS: &[Word] = &[Word { name: "tar.gz", meaning: "`NAME-VERSION.tar.gz`" }];

const PLATFORMS: &[Word] =
    &[Word { name: "unix", meaning: "shell scripts" }, Word { name: "windows", meaning: "batch files" }];

const SANDBOXES: &[Word] = &[
    Word { name: "preferred", meaning: "where the machine allows it" },
    Word { name: "required", meaning: "a build without one fails" },
    Word { name: "off", meaning: "never" },
];
