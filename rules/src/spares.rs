//! VMs that are started ahead, so that a step does not wait for one to come up.
//!
//! Where the graph is narrow a core has nothing to do, and a VM takes half a second to load Elixir, Mix and the compiler.
//! Each VM still serves one request and ends: what a module is compiled to may follow the history of the VM (maps of
//! more than 32 atoms), and a VM that waited has the same history as one that did not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use relgraph_cache::Scratch;
use relgraph_engine::{Background, SandboxSpec, StepContext};

use crate::launch;
use crate::vm::Common;

/// The FIFO in its folder at which a VM waits.
pub const GATE: &str = "go";

/// A build that needs one VM only (an edit) pays for no second one.
const WORTH_IT: usize = 2;

/// At most one VM that waits for a request.
#[derive(Debug, Default)]
pub struct Spares(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    spare: Option<Spare>,
    /// VMs asked for so far.
    taken: usize,
    /// Steps of the build that may need a VM.
    all: Option<usize>,
}

#[derive(Debug)]
struct Spare {
    spec: SandboxSpec,
    // Before its folder, so that it is told to end first.
    program: Background,
    scratch: Scratch,
}

impl Spares {
    /// How many steps of the build may need a VM, those that had one included.
    pub fn expect(&self, steps: usize) {
        self.state().all = Some(steps);
    }

    /// The VM that waits, if it was started as this step would start its own.
    pub(crate) fn take(&self, cx: &StepContext<'_>, common: &Common) -> Option<(Scratch, Background)> {
        let mut state = self.state();
        state.taken += 1;
        let spare = state.spare.take()?;
        drop(state);
        let wanted = launch::waiting(cx, common, spare.scratch.path()).ok()?;
        (wanted == spare.spec && !spare.program.is_over()).then_some((spare.scratch, spare.program))
    }

    /// Starts another VM if it will be needed. What fails here fails again, and is told, where it matters.
    pub(crate) fn refill(&self, cx: &StepContext<'_>, common: &Common) {
        let mut state = self.state();
        let needed = state.taken >= WORTH_IT && state.all.is_none_or(|all| state.taken < all);
        if state.spare.is_some() || !needed || cx.cancel.is_cancelled() {
            return;
        }
        state.spare = (|| {
            let scratch = cx.store.scratch().ok()?;
            let spec = launch::waiting(cx, common, scratch.path()).ok()?;
            let program = cx.sandbox.start(spec.clone(), &scratch.path().join(GATE)).ok()?;
            Some(Spare { spec, program, scratch })
        })();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
