//! Why a difference is none to worry about: a closed list.

use serde::Serialize;

/// Why a difference is none to worry about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// `bin/NAME` is relgraph's own.
    Launcher,
    /// The cookie is made when a release first starts, or is put in its place when it is delivered.
    Cookie,
    /// relgraph writes down what the release is.
    Record,
    /// The tool marks in the folder of an application that it is built.
    Marker,
    /// Consolidated protocols are an application, because release.yaml asks for hot upgrades.
    HotLayout,
    /// A key of release.yaml asks for something else than the project's own files.
    ReleaseYaml,
    /// The project's own tool makes it differently from one build to the next.
    Unsteady,
    /// The same map, its keys in another order.
    MapOrder,
    /// The path at which it was compiled.
    Path,
    /// The moment at which it was compiled.
    Time,
    /// The same functions, their tables in another order.
    Tables,
    /// Lines of the source.
    Lines,
    /// What only debuggers, documentation and the compiler's checks read.
    Debug,
    /// The same content, packed by another program.
    Packing,
    /// Of a mode, ours keeps whether the owner may execute, and nothing else.
    Mode,
}

impl Reason {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Reason; 15] = [
        Reason::Launcher,
        Reason::Cookie,
        Reason::Record,
        Reason::Marker,
        Reason::HotLayout,
        Reason::ReleaseYaml,
        Reason::Unsteady,
        Reason::MapOrder,
        Reason::Path,
        Reason::Time,
        Reason::Tables,
        Reason::Lines,
        Reason::Debug,
        Reason::Packing,
        Reason::Mode,
    ];

    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Launcher => "launcher",
            Reason::Cookie => "cookie",
            Reason::Record => "record",
            Reason::Marker => "marker",
            Reason::HotLayout => "hot_layout",
            Reason::ReleaseYaml => "release_yaml",
            Reason::Unsteady => "unsteady",
            Reason::MapOrder => "map_order",
            Reason::Path => "path",
            Reason::Time => "time",
            Reason::Tables => "tables",
            Reason::Lines => "lines",
            Reason::Debug => "debug",
            Reason::Packing => "packing",
            Reason::Mode => "mode",
        }
    }

    /// What it means, for people.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Launcher => "the launcher is relgraph's own",
            Reason::Cookie => {
                "the cookie is in no step: it is written on delivery, or made at the first start"
            }
            Reason::Record => "relgraph writes down what the release is",
            Reason::Marker => "make marks with an empty file that a dependency is built",
            Reason::HotLayout => {
                "release.yaml asks for hot upgrades: consolidated protocols are an application"
            }
            Reason::ReleaseYaml => "release.yaml asks for it",
            Reason::Unsteady => "the tool itself makes this differently from one build to the next",
            Reason::MapOrder => "the same map, its keys in another order",
            Reason::Path => "the path at which it was compiled",
            Reason::Time => "the moment at which it was compiled",
            Reason::Tables => "the same functions, their tables in another order",
            Reason::Lines => "only lines of the source",
            Reason::Debug => "only what debuggers, documentation and checks of the compiler read",
            Reason::Packing => "the same content, packed by another program",
            Reason::Mode => "of a mode, only whether the owner may execute is kept",
        }
    }
}
