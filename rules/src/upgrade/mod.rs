//! From two releases to what moves a running node from one to the other: appups, the relup, and a package that the
//! release handler takes (<https://www.erlang.org/doc/apps/sasl/release_handler.html>).
//!
//! What each changed application needs is decided here ([`plan()`]); the relup itself is made by OTP's `systools`
//! ([`step`]), completed for consolidated protocols and checked against what changed ([`script`]).

mod appup;
mod carried;
mod children;
mod facts;
mod generate;
mod instruction;
mod obstacles;
mod order;
pub mod package;
mod plan;
pub mod rehearse;
mod released;
mod scope;
pub mod script;
pub mod step;
pub mod summary;
mod wanted;

pub use appup::{Appup, Origin};
pub use instruction::Instruction;
pub use plan::{ApplicationPlan, Note, Plan, Way, plan};
pub use released::{Application, Released};
pub use scope::{ApplicationRules, GivenAppup, ModuleRule, Purge, Rules};

use relgraph_cache::StoreError;
use thiserror::Error;

/// Why there is no way from one release to the other.
#[derive(Debug, Error)]
pub enum UpgradeError {
    /// A stored tree is incomplete or damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no release there, or a part of it cannot be read.
    #[error("{release}: {reason}")]
    Unreadable {
        /// The release.
        release: String,
        /// What is wrong.
        reason: String,
    },
    /// No running node can be moved: what speaks against it.
    #[error("no running node can be moved from {old} to {new}")]
    Refused {
        /// The version that runs.
        old: String,
        /// The version that is wanted.
        new: String,
        /// Everything that speaks against it, with what to do.
        reasons: Vec<Refusal>,
    },
}

/// Something that speaks against an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}
