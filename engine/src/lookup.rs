//! Looking a step up: its key, its manifest of discovered inputs, its result, and whether that is complete.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use relgraph_cache::{Answer, Digest, Manifest, Probe, RecordKind, Store};

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

/// What the store knows about an action.
pub(crate) enum Lookup {
    /// A complete result.
    Hit(Box<StepResult>),
    /// None; with the reason when it is the store's and not the key's.
    Miss(Option<Reason>),
}

/// Looks up an action's result. One that was made without a sandbox is no result where `confines` says that there is
/// one: the path it was made at may be in its bytes.
pub(crate) fn look_up(
    store: &Store,
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
    if !is_complete(store, &result)? {
        return Ok(Lookup::Miss(Some(Reason::CacheEvicted)));
    }
    Ok(Lookup::Hit(Box::new(result)))
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

/// Whether every byte of a result is in the store.
pub(crate) fn is_complete(store: &Store, result: &StepResult) -> Result<bool, StepError> {
    if result.blobs().any(|blob| !store.contains(blob)) {
        return Ok(false);
    }
    for tree in result.trees() {
        if !store.complete(tree)? {
            return Ok(false);
        }
    }
    Ok(true)
}
