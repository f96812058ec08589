//! Which step runs when: one coordinator owns all state, workers only run what they are given.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::engine::Engine;
use crate::error::{EngineError, StepError, StepErrorKind};
use crate::execute::{Done, Needs, execute};
use crate::graph::{Graph, Step};
use crate::observe::{Observer, StepReport};
use crate::outcome::Outcome;
use crate::result::StepResult;

/// How many steps may ask remotes beside those that run.
const ASKING: usize = 16;

/// Runs the selected steps. `known` are results that an earlier graph of this build left; `on_done` hears of each step
/// as it ends.
pub(crate) fn schedule(
    engine: &Engine,
    graph: &Graph,
    selected: &[bool],
    known: impl Fn(&str) -> Option<Arc<StepResult>>,
    observer: &dyn Observer,
    mut on_done: impl FnMut(Done),
) -> Result<(), EngineError> {
    let jobs = engine.jobs.max(1);
    // Who asks a remote mostly waits, and keeps nobody from working.
    let threads = if engine.shared.is_some() { jobs + ASKING } else { jobs };
    engine.permits.allow(jobs);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|n| format!("relgraph-step-{n}"))
        .build()
        .map_err(|e| EngineError::Threads { jobs, message: e.to_string() })?;
    let mut queue = Queue::new(engine, graph, selected, known);
    let (sender, receiver) = mpsc::channel();

    // This thread is not one of the pool's: it only hands out and collects.
    pool.in_place_scope(|scope| {
        let mut running = 0;
        let mut failed = false;
        loop {
            let stopping = engine.cancel.is_cancelled() || (failed && !engine.keep_going);
            // Never more than there are threads: what waits, waits in the heap, where the longest path is first.
            while !stopping && running < threads {
                let Some((id, needs, path)) = queue.next() else { break };
                let sender = sender.clone();
                let step = graph.at(id);
                running += 1;
                scope.spawn(move |_| {
                    // The coordinator is gone only when the scope is left, and the scope waits for this.
                    let _ = sender.send((id, on_own_thread(engine, step, needs, path, observer)));
                });
            }
            if running == 0 {
                break;
            }
            let Ok((id, done)) = receiver.recv() else { break };
            running -= 1;
            failed |= done.report.outcome == Outcome::Failed;
            if engine.cancel.is_cancelled() || (failed && !engine.keep_going) {
                engine.permits.close();
            }
            observer.finished(
                &done.report.name,
                done.report.outcome,
                done.report.reason.as_ref(),
                done.report.duration,
            );
            queue.finish(id, done.report.result.clone());
            on_done(done);
        }
    });

    for id in queue.left() {
        let name = graph.at(id).name.clone();
        observer.finished(&name, Outcome::Skipped, None, Duration::ZERO);
        let outcome = Outcome::Skipped;
        let report =
            StepReport { name, outcome, reason: None, duration: Duration::ZERO, result: None, error: None };
        on_done(Done { report, record: None });
    }
    Ok(())
}

/// Runs a step on a plain thread that the pool's worker waits for. Work that the step gives to rayon then goes to the
/// global pool, and a worker that waits for it cannot pick up a second step on top of the first. A panic ends the thread
/// and nothing else.
fn on_own_thread(engine: &Engine, step: &Step, needs: Needs, path: u64, observer: &dyn Observer) -> Done {
    let name = &step.name;
    let ended = std::thread::scope(|scope| {
        // The system shows the first 15 bytes of a thread's name, and refuses a NUL in it.
        let builder = std::thread::Builder::new().name(name.replace('\0', " "));
        builder
            .spawn_scoped(scope, || execute(engine, step, needs, path, observer))
            .map(|thread| thread.join())
    });
    let error = match ended {
        Ok(Ok(done)) => return done,
        Ok(Err(panic)) => {
            StepError::new(StepErrorKind::Panic, format!("it panicked: {}", panic_text(&*panic)))
                .with_hint("this is a bug in relgraph: please report it")
        }
        Err(error) => StepError::new(StepErrorKind::Io, format!("cannot start a thread: {error}")),
    };
    Done::failed(name, error, None, Duration::ZERO)
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StepState {
    /// Nobody asked for it.
    Out,
    /// Waits for this many others.
    Waits(usize),
    Started,
    Done,
}

/// The state of all steps, by id.
struct Queue<'g> {
    graph: &'g Graph,
    states: Vec<StepState>,
    results: Vec<Option<Arc<StepResult>>>,
    /// Milliseconds from the start of a step to the end of everything that waits for it.
    path: Vec<u64>,
    ready: BinaryHeap<(u64, Reverse<usize>)>,
}

impl<'g> Queue<'g> {
    fn new(
        engine: &Engine,
        graph: &'g Graph,
        selected: &[bool],
        known: impl Fn(&str) -> Option<Arc<StepResult>>,
    ) -> Self {
        let mut results: Vec<Option<Arc<StepResult>>> = vec![None; graph.len()];
        for id in (0..graph.len()).filter(|&id| selected[id]) {
            results[id] = known(&graph.at(id).name);
        }
        let mut path = vec![0_u64; graph.len()];
        for id in (0..graph.len()).rev() {
            let after = graph.dependants_of(id).iter().map(|&d| path[d]).max().unwrap_or(0);
            let own = engine.previous.steps.get(&graph.at(id).name).map_or(1, |s| s.duration_ms.max(1));
            path[id] = after.saturating_add(own);
        }
        let state = |id: usize| match (selected[id], &results[id]) {
            (false, _) => StepState::Out,
            (true, Some(_)) => StepState::Done,
            (true, None) => {
                StepState::Waits(graph.needs_of(id).iter().filter(|&&need| results[need].is_none()).count())
            }
        };
        let states: Vec<StepState> = (0..graph.len()).map(state).collect();
        let ready = (0..graph.len())
            .filter(|&id| states[id] == StepState::Waits(0))
            .map(|id| (path[id], Reverse(id)))
            .collect();
        Queue { graph, states, results, path, ready }
    }

    /// The ready step with the longest path after it, what it needs, and that path.
    fn next(&mut self) -> Option<(usize, Needs, u64)> {
        let (path, Reverse(id)) = self.ready.pop()?;
        self.states[id] = StepState::Started;
        let needs = self.graph.needs_of(id).iter().filter_map(|&need| {
            self.results[need].as_ref().map(|result| (self.graph.at(need).name.clone(), result.clone()))
        });
        Some((id, needs.collect(), path))
    }

    /// A step is over. Without a result, nothing that needs it becomes ready.
    fn finish(&mut self, id: usize, result: Option<Arc<StepResult>>) {
        self.states[id] = StepState::Done;
        if result.is_some() {
            for &dependant in self.graph.dependants_of(id) {
                if let StepState::Waits(count) = &mut self.states[dependant] {
                    *count -= 1;
                    if *count == 0 {
                        self.ready.push((self.path[dependant], Reverse(dependant)));
                    }
                }
            }
        }
        self.results[id] = result;
    }

    /// The steps that were not started.
    fn left(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.states.len()).filter(|&id| matches!(self.states[id], StepState::Waits(_)))
    }
}
