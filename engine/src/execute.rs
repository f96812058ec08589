//! The life of one step: declare, look up, run when nothing is known, store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relgraph_cache::remote::{Over, Put, Shared};
use relgraph_cache::{Alternative, Digest, Probe, RecordKind, Store};

use crate::action::{Declared, Ran, StepContext};
use crate::checkout::{Checkout, StepRecord};
use crate::engine::Engine;
use crate::error::{StepError, StepErrorKind};
use crate::explain;
use crate::graph::Step;
use crate::key::{ActionKey, KeyParts};
use crate::lookup::{Answers, Lookup, Origin, add_alternative, look_up};
use crate::observe::{Observer, StepReport};
use crate::outcome::{Outcome, Reason};
use crate::result::{Output, Producer, StepResult, result_key};
use crate::sandbox::Stream;

/// The results of the steps that a step needs.
pub(crate) type Needs = BTreeMap<String, Arc<StepResult>>;

/// A step that is over, with what the next build should know of it.
pub(crate) struct Done {
    pub report: StepReport,
    pub record: Option<StepRecord>,
}

impl Done {
    pub fn failed(name: &str, error: StepError, reason: Option<Reason>, duration: Duration) -> Done {
        // A step that was interrupted did nothing wrong.
        let outcome = if error.kind == StepErrorKind::Cancelled { Outcome::Skipped } else { Outcome::Failed };
        let (name, error) = (name.to_owned(), Some(error));
        Done { report: StepReport { name, outcome, reason, duration, result: None, error }, record: None }
    }
}

/// What is known of a step before it runs.
pub(crate) struct Known<'a> {
    pub declared: Declared,
    pub key: ActionKey,
    pub answers: Answers<'a>,
    pub lookup: Lookup,
    pub previous: Option<&'a StepRecord>,
}

impl<'a> Known<'a> {
    /// Declares a step and looks it up.
    pub fn find(engine: &'a Engine, step: &Step, cx: &StepContext<'_>) -> Result<Known<'a>, StepError> {
        let mut declared = step.action.declare(cx)?;
        declared.parts.text("rule", format!("{} {}", step.rule.name, step.rule.version));
        let key = declared.parts.key();
        let answers = Answers::new(&declared, &engine.env, &engine.secrets);
        let lookup = if !declared.cacheable || engine.force.contains(&step.name) {
            Lookup::Miss(Some(Reason::Forced))
        } else {
            let confines = || engine.sandboxer.confines();
            look_up(&engine.store, engine.shared.as_deref(), &key, &answers, &confines)?
        };
        let previous = engine.previous.steps.get(&step.name);
        Ok(Known { declared, key, answers, lookup, previous })
    }

    /// Whether this checkout's last build had this very result.
    pub fn is_fresh(&self, result: &StepResult) -> bool {
        self.previous.is_some_and(|previous| previous.result_key == result.result_key)
    }

    /// Why it is not fresh.
    pub fn reason(&self, store: &Store) -> Option<Reason> {
        if let Lookup::Miss(Some(reason)) = &self.lookup {
            return Some(reason.clone());
        }
        let answer = |probe: &Probe| self.answers.answer(probe).ok();
        explain::reason(self.previous, &self.declared.parts, &answer, store)
    }
}

/// Brings one step up to date.
pub(crate) fn execute(
    engine: &Engine,
    step: &Step,
    needs: Needs,
    priority: u64,
    observer: &dyn Observer,
) -> Done {
    let began = Instant::now();
    let output = |stream: Stream, line: &str| {
        observer.output(&step.name, stream, &engine.secrets.redact_text(line));
    };
    let cx = engine.context(&step.name, needs, &output);
    let known = match Known::find(engine, step, &cx) {
        Ok(known) => known,
        Err(error) => {
            return Done::failed(&step.name, error.without(&engine.secrets), None, began.elapsed());
        }
    };
    if let Lookup::Hit(result, origin) = &known.lookup {
        let (outcome, reason) = match origin {
            _ if known.is_fresh(result) => (Outcome::Fresh, None),
            Origin::Here => (Outcome::HitLocal, known.reason(&engine.store)),
            Origin::Remote => (Outcome::HitRemote, known.reason(&engine.store)),
        };
        if *origin == Origin::Here {
            share(engine, result, Over::Keep);
        }
        return done(step, &known.declared.parts, (**result).clone(), outcome, reason, began);
    }
    // What was known and is missing now is said to be so, except where the last build had something else anyway.
    let reason = known.reason(&engine.store).unwrap_or(Reason::CacheEvicted);
    // Whoever only asks a remote does no work: steps that do wait for each other here.
    let Some(_permit) = engine.permits.take(priority) else {
        return Done::failed(&step.name, StepError::cancelled(), Some(reason), began.elapsed());
    };
    observer.started(&step.name, known.previous.map(|p| p.duration_ms));
    match run(engine, step, &cx, &known) {
        Ok((result, outcome)) => done(step, &known.declared.parts, result, outcome, Some(reason), began),
        Err(error) => Done::failed(&step.name, error.without(&engine.secrets), Some(reason), began.elapsed()),
    }
}

fn run(
    engine: &Engine,
    step: &Step,
    cx: &StepContext<'_>,
    known: &Known<'_>,
) -> Result<(StepResult, Outcome), StepError> {
    let store = &engine.store;
    let (began, mark) = (Instant::now(), Mark::now());
    if let Some(name) = engine.secrets.missing(&known.declared.secrets).next() {
        return Err(StepError::input(format!("it is given the secret {name}, which is not set here"))
            .with_hint(format!("set {name} in the environment of the build")));
    }
    let ran = step.action.run(cx)?;
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    for (name, tree) in &ran.outputs {
        if !store.complete(tree)? {
            return Err(StepError::internal(format!(
                "its output `{name}` ({tree}) is not whole in the store"
            )));
        }
    }
    if !known.declared.secrets.is_empty() {
        crate::secret::search(store, &engine.secrets, &known.declared.secrets, &ran)?;
    }
    // What the last build of this checkout made is known even when that was within this tick of the clock.
    let made_before = |tree: &Digest| {
        known.previous.is_some_and(|previous| previous.outputs.values().any(|old| old == tree))
    };
    let was_known = !ran.outputs.is_empty()
        && ran.outputs.values().all(|tree| made_before(tree) || mark.is_newer_than(store, tree));
    let outcome = if was_known { Outcome::Dup } else { Outcome::Ran };
    let stable = ran.stable && known.declared.cacheable;
    // Asked anew: what an earlier lookup was told may have moved while the step ran.
    let answers = Answers::new(&known.declared, &engine.env, &engine.secrets);
    let result = make_result(store, step, known.key, &answers, ran, duration_ms)?;
    if stable && known.answers.agree(&answers) {
        remember(store, &known.declared.parts, &result)?;
        // One that was there and could not be used is mended.
        let gone = matches!(known.lookup, Lookup::Miss(Some(Reason::CacheEvicted)));
        share(engine, &result, if gone { Over::Mend } else { Over::Keep });
    }
    Ok((result, outcome))
}

fn make_result(
    store: &Store,
    step: &Step,
    key: ActionKey,
    answers: &Answers<'_>,
    ran: Ran,
    duration_ms: u64,
) -> Result<StepResult, StepError> {
    let mut probes = ran.probes;
    probes.sort();
    probes.dedup();
    let probes = probes
        .into_iter()
        .map(|probe| answers.answer(&probe).map(|answer| (probe, answer)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(StepResult {
        key,
        result_key: result_key(&key, &probes),
        outputs: ran.outputs,
        values: ran.values,
        probes,
        sandbox: ran.sandbox,
        duration_ms,
        stdout: Output::keep(store, ran.stdout)?,
        stderr: Output::keep(store, ran.stderr)?,
        producer: Producer { step: step.name.clone(), version: env!("CARGO_PKG_VERSION").to_owned() },
    })
}

/// Result, then parts, then manifest: whoever sees a record also sees what it speaks of.
fn remember(store: &Store, parts: &KeyParts, result: &StepResult) -> Result<(), StepError> {
    let key = result.key.hex();
    store.put_record(RecordKind::Result, &result.result_key, &result.encode())?;
    store.put_record(RecordKind::Parts, &key, &parts.encode())?;
    add_alternative(store, &key, alternative(result))
}

fn alternative(result: &StepResult) -> Alternative {
    Alternative { probes: result.probes.clone(), result: result.result_key.clone() }
}

/// Gives a result to the remotes that are written to. One that was made without a sandbox may hold the path of this
/// checkout, and stays here.
fn share(engine: &Engine, result: &StepResult, over: Over) {
    if let Some(shared) = &engine.shared {
        give(shared, result, over);
    }
}

/// Gives what the last build of a checkout was made of to the remotes that are written to, as far as it is still here. Says how
/// many results that were.
pub fn share_checkout(store: &Store, shared: &Arc<Shared>, checkout: &Checkout) -> usize {
    let result = |key: &str| StepResult::decode(&store.peek_record(RecordKind::Result, key).ok()??).ok();
    let results = checkout.steps.values().filter_map(|step| result(&step.result_key));
    results.filter(|result| give(shared, result, Over::Keep)).count()
}

fn give(shared: &Arc<Shared>, result: &StepResult, over: Over) -> bool {
    if result.sandbox.is_some_and(|mode| !mode.is_confined()) {
        return false;
    }
    shared.put(&Put {
        kind: RecordKind::Result,
        key: result.result_key.clone(),
        record: result.encode(),
        trees: result.trees().copied().collect(),
        blobs: result.blobs().copied().collect(),
        manifest: Some((result.key.hex(), alternative(result))),
        over,
        took: Some(Duration::from_millis(result.duration_ms)),
    });
    true
}

fn done(
    step: &Step,
    parts: &KeyParts,
    result: StepResult,
    outcome: Outcome,
    reason: Option<Reason>,
    began: Instant,
) -> Done {
    let record = StepRecord {
        parts: parts.clone(),
        result_key: result.result_key.clone(),
        probes: result.probes.clone(),
        outputs: result.outputs.clone(),
        duration_ms: result.duration_ms,
        outcome,
    };
    let report = StepReport {
        name: step.name.clone(),
        outcome,
        reason,
        duration: began.elapsed(),
        result: Some(Arc::new(result)),
        error: None,
    };
    Done { report, record: Some(record) }
}

/// A moment by the clock that stamps inodes, to tell blobs that were there from blobs that were made since.
struct Mark(i64);

impl Mark {
    fn now() -> Mark {
        // The kernel stamps inodes with the coarse clock, which may be one tick behind the precise one.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        Mark(now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec))
    }

    fn is_newer_than(&self, store: &Store, blob: &Digest) -> bool {
        let stamp = relgraph_cache::stamp(&store.blob_path(blob, false));
        stamp.ok().flatten().is_some_and(|stamp| stamp.ctime_ns < self.0)
    }
}
