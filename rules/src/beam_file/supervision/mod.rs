//! What supervisors a module starts and with which children, read from its code without running it.
//!
//! The code is followed with values that are known in part ([`Value`]): what depends on the node that it will run in, as a
//! setting, stays a call. Nothing is needed that stripping takes away.

mod build;
mod calls;
mod change;
mod children;
mod conditions;
mod expression;
mod facts;
mod find;
mod fold;
mod kind;
mod machine;
mod program;
mod state;
mod step;
mod text;
mod value;

use crate::etf::Term;

use super::BeamError;

pub use change::{ChildChange, SupervisionChange, compare};
pub use kind::{ProcessKind, is_other_process, process_kinds};
pub use text::Style;
pub use value::{Fun, Value};

/// Gives the bytes of another module by its name (`Elixir.Enum`): what a child is can depend on it.
pub type Modules<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// A supervisor that a module starts or is the callback module of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervision {
    /// Where its children are listed.
    pub source: Source,
    /// Its registered name: an atom, `{global, …}` or `{via, …}`.
    pub name: Option<Value>,
    /// How it restarts its children; `None` for each part that is not known.
    pub flags: Flags,
    /// Its children in the order in which they start; `None`: the list cannot be read from the code.
    pub children: Option<Vec<Child>>,
}

/// Where the children of a supervisor are listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// In the module's `init/1`.
    Init {
        /// What that is called with: a value that has [`Value::Argument`] in it where this is not known.
        argument: Value,
    },
    /// In the call that starts the supervisor, which has no module of its own.
    Inline {
        /// The function of the module that was followed to that call, as `name/arity`.
        function: String,
    },
}

/// How a supervisor restarts its children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// Which of them: `one_for_one` and so on.
    pub strategy: Option<Value>,
    /// How often at the most …
    pub intensity: Option<Value>,
    /// … within so many seconds.
    pub period: Option<Value>,
}

/// A child of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its identifier among the children of the supervisor, where that follows from the code.
    pub id: Option<Term>,
    /// What the list of children says of it: a map or a tuple, or Elixir's `Module` and `{Module, argument}`.
    pub spec: Value,
    /// The map or tuple that Elixir makes of that by `child_spec/1` of the module; `None` where this cannot be read.
    pub resolved: Option<Value>,
    /// Whether a call in the place of `spec` is known to give a map or tuple already.
    made: bool,
}

/// The supervisors of a module.
pub fn supervisions(bytes: &[u8], modules: Modules<'_>) -> Result<Vec<Supervision>, BeamError> {
    find::supervisions(bytes, modules)
}
