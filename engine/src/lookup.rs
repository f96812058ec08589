//! Looking a step up: its key, its manifest of discovered inputs, its result, and whether that is complete.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use relgraph_cache::remote::Shared;
use relgraph_cache::{Alternative, Answer, Digest, Manifest, Probe, RecordKind, Store};

use crate::action::{Available, Declared};
use crate::error::StepError;
use crate::key::ActionKey;
use crate::outcome::Reason;
use crate::result::{StepResult, result_key};
use crate::secret::Secrets;

/// Answers probes, each one once.
pub(crate) struct Answers<'a> {
    available: Option<Arc<dyn Available>>,
    env: &'a BTreeMap<String, String>,
    secrets: &'a Secrets,
    given: BTreeSet<String>,
    known: RefCell<HashMap<Probe, Answer>>,
}

impl<'a> Answers<'a> {
    pub fn new(declared: &Declared, env: &'a BTreeMap<String, String>, secrets: &'a Secrets) -> Self {
        let (available, given) = (declared.available.clone(), declared.secrets.clone());
        Answers { available, env, secrets, given, known: RefCell::default() }
    }

    pub fn answer(&self, probe: &Probe) -> Result<Answer, StepError> {
        if let Some(answer) = self.known.borrow().get(probe) {
            return Ok(answer.clone());
        }
        let answer = match (probe, &self.available) {
            (Probe::Env(name), _) => self.secrets.answer(name, &self.given).unwrap_or_else(|| {
                self.env.get(name).map_or(Answer::Absent, |value| Answer::Value(Digest::of(value.as_bytes())))
            }),
            (_, Some(available)) => available.answer(probe)?,
            (_, None) => {
                return Err(StepError::internal(format!(
                    "it discovered {probe}, and says not where such things are looked up"
                )));
            }
        };
        self.known.borrow_mut().insert(probe.clone(), answer.clone());
        Ok(answer)
    }

    /// Whether `later` was told the same wherever both have asked.
    pub fn agree(&self, later: &Answers<'_>) -> bool {
        let known = self.known.borrow();
        later
            .known
            .borrow()
            .iter()
            .all(|(probe, answer)| known.get(probe).is_none_or(|before| before == answer))
    }
}

/// What the store and the remotes know about an action.
pub(crate) enum Lookup {
    /// A complete result, and whether something of it is not here but with a remote.
    Hit(Box<StepResult>, Origin),
    /// None; with the reason when it is the store's and not the key's.
    Miss(Option<Reason>),
}

/// Where a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// All of it in the store.
    Here,
    /// With a remote, at least in part.
    Remote,
}

/// Looks up an action's result, here and then in the remotes. One that was made without a sandbox is no result where
/// `confines` says that there is one: the path it was made at may be in its bytes.
pub(crate) fn look_up(
    store: &Store,
    shared: Option<&Shared>,
    key: &ActionKey,
    answers: &Answers<'_>,
    confines: &dyn Fn() -> bool,
) -> Result<Lookup, StepError> {
    let here = look_up_here(store, shared, key, answers, confines)?;
    let (Lookup::Miss(_), Some(shared)) = (&here, shared) else { return Ok(here) };
    match look_up_there(store, shared, key, answers)? {
        Some(result) => Ok(Lookup::Hit(Box::new(result), Origin::Remote)),
        None => Ok(here),
    }
}

/// Looks up a result in the remotes. What they know is known here afterwards; its bytes come when they are needed.
fn look_up_there(
    store: &Store,
    shared: &Shared,
    key: &ActionKey,
    answers: &Answers<'_>,
) -> Result<Option<StepResult>, StepError> {
    // Most steps discover nothing, and the name of such a result is known without asking for the manifest.
    if answers.available.is_none()
        && let Some(result) = take(store, shared, key, Alternative::default(), &result_key(key, &[]))?
    {
        return Ok(Some(result));
    }
    let hex = key.hex();
    for manifest in shared.manifests(&hex) {
        // What cannot be asked does not hold.
        let Ok(Some(found)) = manifest.try_find(|probe| answers.answer(probe)) else { continue };
        // The name follows from what was asked: no other is believed.
        if found.result == result_key(key, &found.probes)
            && let Some(result) = take(store, shared, key, found.clone(), &found.result)?
        {
            return Ok(Some(result));
        }
    }
    Ok(None)
}

/// Takes a result from a remote.
fn take(
    store: &Store,
    shared: &Shared,
    key: &ActionKey,
    mut alternative: Alternative,
    name: &str,
) -> Result<Option<StepResult>, StepError> {
    let Some(found) = shared.get(RecordKind::Result, name) else { return Ok(None) };
    let Ok(result) = StepResult::decode(&found.record) else { return Ok(None) };
    let confined = result.sandbox.is_none_or(|mode| mode.is_confined());
    if result.key != *key || result.result_key != name || !confined {
        return Ok(None);
    }
    if !is_complete(store, &result)? {
        return Ok(None);
    }
    alternative.result = name.to_owned();
    store.put_record(RecordKind::Result, name, &found.record)?;
    add_alternative(store, &key.hex(), alternative)?;
    Ok(Some(result))
}

/// Adds to the manifest of an action.
pub(crate) fn add_alternative(store: &Store, key: &str, alternative: Alternative) -> Result<(), StepError> {
    let known = store.get_record(RecordKind::Manifest, key)?;
    let mut manifest = known.and_then(|bytes| Manifest::decode(&bytes).ok()).unwrap_or_default();
    if manifest.record(alternative) {
        store.put_record(RecordKind::Manifest, key, &manifest.encode())?;
    }
    Ok(())
}

fn look_up_here(
    store: &Store,
    shared: Option<&Shared>,
    key: &ActionKey,
    answers: &Answers<'_>,
    confines: &dyn Fn() -> bool,
) -> Result<Lookup, StepError> {
    let Some(name) = result_name(store, key, answers)? else { return Ok(Lookup::Miss(None)) };
    // An alternative of the manifest holds, or the key is known: what is missing from here on was once there.
    let Some(result) = read_result(store, &name)?.filter(|result| result.key == *key) else {
        return Ok(Lookup::Miss(Some(Reason::CacheEvicted)));
    };
    if result.sandbox.is_some_and(|mode| !mode.is_confined()) && confines() {
        return Ok(Lookup::Miss(Some(Reason::Unsandboxed)));
    }
    if is_whole(store, &result)? {
        return Ok(Lookup::Hit(Box::new(result), Origin::Here));
    }
    // It was found in a remote before, and not all of it was needed.
    let recalled = shared.is_some_and(|shared| shared.recall(RecordKind::Result, &name));
    if recalled && is_complete(store, &result)? {
        return Ok(Lookup::Hit(Box::new(result), Origin::Remote));
    }
    Ok(Lookup::Miss(Some(Reason::CacheEvicted)))
}

/// The name of the result whose discovered inputs all hold. What cannot be asked does not hold.
fn result_name(store: &Store, key: &ActionKey, answers: &Answers<'_>) -> Result<Option<String>, StepError> {
    let Some(bytes) = store.get_record(RecordKind::Manifest, &key.hex())? else {
        return Ok(None);
    };
    // A manifest in another version of the format is no manifest.
    let Ok(manifest) = Manifest::decode(&bytes) else { return Ok(None) };
    let found = manifest.try_find(|probe| answers.answer(probe));
    Ok(found.ok().flatten().map(|alternative| alternative.result.clone()))
}

/// The result of that name; one that does not decode or bears another's name is none.
pub(crate) fn read_result(store: &Store, name: &str) -> Result<Option<StepResult>, StepError> {
    let Some(bytes) = store.get_record(RecordKind::Result, name)? else { return Ok(None) };
    Ok(StepResult::decode(&bytes).ok().filter(|result| result_key(&result.key, &result.probes) == name))
}

/// Whether every byte of a result is in the store or promised.
fn is_complete(store: &Store, result: &StepResult) -> Result<bool, StepError> {
    if result.blobs().any(|blob| !store.available(blob)) {
        return Ok(false);
    }
    for tree in result.trees() {
        if !store.complete(tree)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether every byte of a result is in the store.
fn is_whole(store: &Store, result: &StepResult) -> Result<bool, StepError> {
    if result.blobs().any(|blob| !store.contains(blob)) {
        return Ok(false);
    }
    for tree in result.trees() {
        if !store.whole(tree)? {
            return Ok(false);
        }
    }
    Ok(true)
}
