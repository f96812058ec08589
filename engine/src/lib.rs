//! The step engine of relgraph: graph, keys, scheduling, sandbox, explanations.
//!
//! A [`Graph`] of [`Step`]s is run by an [`Engine`]: each step [declares](Action::declare) what goes into its key, is
//! looked up, and runs when no result is known. The engine knows nothing of what the steps are for.

mod action;
mod cancel;
pub mod checkout;
mod engine;
mod error;
mod execute;
pub mod explain;
mod files;
pub mod graph;
mod inspect;
pub mod key;
mod lookup;
mod observe;
mod outcome;
mod permits;
mod plan;
mod result;
pub mod runlog;
pub mod sandbox;
mod schedule;
mod secret;
pub mod state;

pub use action::{Action, Available, Declared, Ran, StepContext};
pub use cancel::Cancel;
pub use checkout::{Checkout, StepRecord};
pub use engine::Engine;
pub use error::{EngineError, StepError, StepErrorKind};
pub use execute::share_checkout;
pub use graph::{Graph, GraphBuilder, GraphError, Rule, Step};
pub use inspect::{Inspection, PartMoved, ProbeMoved};
pub use key::{ActionKey, KeyParts, PartChange, PartChangeKind, PartValue};
pub use observe::{Observer, RunReport, Silent, StepReport};
pub use outcome::{Outcome, Reason};
pub use plan::{Planned, PlannedStep};
pub use result::{Output, Producer, StepResult, result_key};
pub use runlog::{Run, RunStep};
pub use sandbox::{
    Background, Finished, Mount, SandboxError, SandboxMode, SandboxPolicy, SandboxSpec, Sandboxer, Stream,
};
pub use secret::{SHORTEST, Salt, Secret, Secrets};
pub use state::{Expect, Freshness, State};
