//! The step engine of relgraph: graph, keys, scheduling, sandbox, explanations.
//!
//! A [`Graph`] of [`Step`]s is run by an [`Engine`]: each step [declares](Action::declare) what goes into its key, is
//! looked up, and runs when no result is known. The engine knows nothing of what the steps are for.

mod action;
mod cancel;
pub mod checkout;
mod codec;
mod engine;
mod error;
mod files;
pub mod graph;
pub mod key;
mod observe;
mod outcome;
mod result;
pub mod sandbox;
pub mod state;

pub use action::{Action, Available, Declared, Ran, StepContext};
pub use cancel::Cancel;
pub use checkout::{Checkout, StepRecord};
pub use codec::DecodeError;
pub use engine::{Engine, Planned, PlannedStep};
pub use error::{EngineError, StepError, StepErrorKind};
pub use graph::{Graph, GraphBuilder, GraphError, Rule, Step};
pub use key::{ActionKey, KeyParts, PartChange, PartChangeKind, PartValue};
pub use observe::{Observer, RunReport, Silent, StepReport};
pub use outcome::{Outcome, Reason};
pub use result::{Output, Producer, StepResult, result_key};
pub use sandbox::{
    Finished, Mount, SandboxError, SandboxMode, SandboxPolicy, SandboxSpec, Sandboxer, Stream,
};
pub use state::{Expect, Freshness, State};
