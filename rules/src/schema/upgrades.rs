//! The key `upgrades`: which layout a release has, and what is said about the way from one version to another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use super::shape::{Key, Shape, Word};
use super::text::Text;

/// Which upgrades the layout of the release is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// None: the layout of `mix release`.
    None,
    /// Of a running node.
    Hot,
}

/// What becomes of processes that run replaced code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purge {
    /// They go on.
    Soft,
    /// They are killed.
    Brutal,
}

/// What is done with a module that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModuleWay {
    /// Its code is replaced.
    Load,
    /// Its processes are suspended meanwhile.
    Suspend,
    /// Their states are changed as well.
    Migrate,
    /// The application is restarted.
    Restart,
}

/// What the file says about upgrades.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub struct Upgrades {
    /// The layout, where it is said.
    pub layout: Option<Layout>,
    /// What becomes of processes that run replaced code, where it is said.
    pub purge: Option<Purge>,
    /// Seconds that processes have to answer in.
    pub timeout: Option<u64>,
    /// By application.
    pub applications: BTreeMap<String, ApplicationWay>,
    /// How upgrades are rehearsed.
    pub rehearse: Rehearse,
}

impl Upgrades {
    /// Whether the release is laid out for hot upgrades.
    pub fn is_hot(&self) -> bool {
        self.layout == Some(Layout::Hot)
    }
}

/// What the file says about one application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationWay {
    /// The file of its appup.
    pub appup: Option<PathBuf>,
    /// Whether it is restarted, whatever changed.
    #[serde(default)]
    pub restart: bool,
    /// Modules that are treated in another way than their code suggests.
    #[serde(default)]
    pub modules: BTreeMap<String, ModuleWay>,
}

/// What the file says about rehearsals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rehearse {
    /// Lines of a script for `sh -eu` that runs beside the node.
    #[serde(default)]
    pub run: Vec<String>,
    /// Globs: what of the project the script sees.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Variables of the node and the script.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables of the user that they see.
    #[serde(default)]
    pub pass_env: BTreeSet<String>,
    /// Whether they may use the network.
    #[serde(default)]
    pub network: bool,
    /// Seconds after which the rehearsal has failed.
    pub timeout: Option<u64>,
}

impl Rehearse {
    /// The script as one text.
    pub fn script(&self) -> String {
        self.run.iter().flat_map(|line| [line.trim_end_matches('\n'), "\n"]).collect()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Layout(Layout),
    Map {
        layout: Option<Layout>,
        purge: Option<Purge>,
        timeout: Option<u64>,
        #[serde(default)]
        applications: BTreeMap<String, ApplicationWay>,
        #[serde(default)]
        rehearse: Rehearse,
    },
}

impl From<Raw> for Upgrades {
    fn from(raw: Raw) -> Self {
        match raw {
            Raw::Layout(layout) => Upgrades { layout: Some(layout), ..Upgrades::default() },
            Raw::Map { layout, purge, timeout, applications, rehearse } => {
                Upgrades { layout, purge, timeout, applications, rehearse }
            }
        }
    }
}

/// The shape of the key.
pub(super) const SHAPE: Shape = Shape::Either(&[
    Shape::OneOf(LAYOUTS),
    Shape::Record {
        keys: KEYS,
        what: "a map with the keys `layout`, `purge`, `timeout`, `applications` and `rehearse`",
    },
]);

const LAYOUTS: &[Word] = &[
    Word { name: "none", meaning: "the layout that `mix release` makes" },
    Word { name: "hot", meaning: "the layout that a running node can be moved between" },
];

const PURGES: &[Word] = &[
    Word { name: "soft", meaning: "they go on, and an upgrade that would have to end them is refused" },
    Word { name: "brutal", meaning: "they are killed" },
];

const WAYS: &[Word] = &[
    Word { name: "load", meaning: "its code is replaced" },
    Word { name: "suspend", meaning: "its processes are suspended while that happens" },
    Word { name: "migrate", meaning: "their states are changed as well: `code_change` is called" },
    Word { name: "restart", meaning: "the application is restarted" },
];

const KEYS: &[Key] = &[
    Key {
        name: "layout",
        shape: Shape::OneOf(LAYOUTS),
        required: false,
        default: "`none`",
        meaning: "The layout of the release; `upgrades: hot` is short for this key alone.",
        example: "upgrades:\n  layout: hot",
        also: &[],
    },
    Key {
        name: "purge",
        shape: Shape::OneOf(PURGES),
        required: false,
        default: "`soft`",
        meaning: "What becomes of processes that still run the code before the last when code is replaced.",
        example: "upgrades:\n  layout: hot\n  purge: brutal",
        also: &["purge_mode"],
    },
    Key {
        name: "timeout",
        shape: Shape::Seconds,
        required: false,
        default: "that of OTP: 5 seconds",
        meaning: "Seconds that a process has to answer in when it is suspended or its state is changed.",
        example: "upgrades:\n  layout: hot\n  timeout: 30",
        also: &[],
    },
    Key {
        name: "applications",
        shape: Shape::Map {
            key: Text::Application,
            value: &Shape::Record {
                keys: APPLICATION_KEYS,
                what: "a map with the keys `appup`, `restart` and `modules`",
            },
            what: "a map of applications",
        },
        required: false,
        default: "none",
        meaning: "What is done with an application when a node is moved, where the code of it does not say the right thing.",
        example: "upgrades:\n  layout: hot\n  applications:\n    my_app:\n      restart: true",
        also: &["apps", "appups"],
    },
    Key {
        name: "rehearse",
        shape: Shape::Record {
            keys: REHEARSE_KEYS,
            what: "a map with the keys `run`, `inputs`, `env`, `pass_env`, `network` and `timeout`",
        },
        required: false,
        default: "no script",
        meaning: "How `relgraph upgrade --rehearse` tries upgrades.",
        example: "upgrades:\n  layout: hot\n  rehearse:\n    run: curl -fsS http://127.0.0.1:4001/",
        also: &["rehearsal"],
    },
];

const APPLICATION_KEYS: &[Key] = &[
    Key {
        name: "appup",
        shape: Shape::Text(Text::Folder),
        required: false,
        default: "`rel/appups/APP.appup` or a file in `rel/appups/APP/`, then the application's own, then what follows from \
                  the changes",
        meaning: "The appup file of the application, seen from the project's folder.",
        example: "upgrades:\n  applications:\n    my_app:\n      appup: upgrades/my_app.appup",
        also: &["file"],
    },
    Key {
        name: "restart",
        shape: Shape::Bool,
        required: false,
        default: "`false`",
        meaning: "Whether the application is restarted, whatever changed in it.",
        example: "upgrades:\n  applications:\n    my_app:\n      restart: true",
        also: &[],
    },
    Key {
        name: "modules",
        shape: Shape::Map {
            key: Text::Chunk,
            value: &Shape::OneOf(WAYS),
            what: "a map from modules to what is done",
        },
        required: false,
        default: "what follows from the code of each",
        meaning: "What is done with a module that changed. Modules of Elixir are named as in Elixir, those of Erlang as in \
                  Erlang.",
        example: "upgrades:\n  applications:\n    my_app:\n      modules:\n        MyApp.Worker: suspend",
        also: &[],
    },
];

const REHEARSE_KEYS: &[Key] = &[
    Key {
        name: "run",
        shape: Shape::List { of: &Shape::Text(Text::Script), single: true },
        required: false,
        default: "nothing",
        meaning: "A script, run by `sh -eu` when the node is up: it should use the node as its clients do. While it runs, \
                  the node is moved to the new version and back; `RELEASE_ROOT` and `RELEASE_BIN` lead to the release. It \
                  may end by itself, and fails the rehearsal where it fails.",
        example: "upgrades:\n  rehearse:\n    run: sh clients.sh\n    inputs: [clients.sh]",
        also: &["script"],
    },
    Key {
        name: "inputs",
        shape: Shape::List { of: &Shape::Text(Text::Glob), single: false },
        required: false,
        default: "none",
        meaning: "Globs, seen from the project's folder: the files that the script sees.",
        example: "upgrades:\n  rehearse:\n    inputs: [clients/**]",
        also: &["files"],
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
        meaning: "Environment variables of the node and the script.",
        example: "upgrades:\n  rehearse:\n    env:\n      PORT: 4001",
        also: &[],
    },
    Key {
        name: "pass_env",
        shape: Shape::List { of: &Shape::Text(Text::Variable), single: false },
        required: false,
        default: "none",
        meaning: "Variables of your own environment that they see. Their values are part of the key.",
        example: "upgrades:\n  rehearse:\n    pass_env: [DATABASE_URL]",
        also: &[],
    },
    Key {
        name: "network",
        shape: Shape::Bool,
        required: false,
        default: "`false`: they reach each other, and nobody else",
        meaning: "Whether they may use the network.",
        example: "upgrades:\n  rehearse:\n    network: true",
        also: &[],
    },
    Key {
        name: "timeout",
        shape: Shape::Seconds,
        required: false,
        default: "300",
        meaning: "Seconds after which the rehearsal has failed.",
        example: "upgrades:\n  rehearse:\n    timeout: 60",
        also: &[],
    },
];
