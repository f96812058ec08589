//! Constructive traces: which discovered inputs led to which result, [`Manifest`].
//!
//! A step's declared inputs name a manifest; each of its alternatives lists what a run turned out to look at, with the
//! answers it got, and the result it made. An alternative holds when every probe would get the same answer now.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Reader, Writer};
use crate::{Answer, Probe};

/// How many alternatives a manifest keeps; the oldest goes first.
pub const MAX_ALTERNATIVES: usize = 32;
/// How many probes an alternative may have; one with more is not kept.
pub const MAX_PROBES: usize = 10_000;

const MAGIC: &str = "relgraph manifest 1";

/// One set of discovered inputs with the result it led to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// What was asked and answered, sorted.
    pub probes: Vec<(Probe, Answer)>,
    /// The key of the result record, in hexadecimal.
    pub result: String,
}

/// The alternatives of one action, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// At most [`MAX_ALTERNATIVES`].
    pub alternatives: Vec<Alternative>,
}

/// A probe whose answer moved: the probe, what was expected, what was found.
pub type Mismatch = (Probe, Answer, Answer);

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a manifest: {source}")]
pub struct ManifestError {
    #[from]
    source: CodecError,
}

impl Manifest {
    /// Puts an alternative first. One with the same probes and answers is replaced, the oldest beyond
    /// [`MAX_ALTERNATIVES`] are dropped. False: it has more than [`MAX_PROBES`] or contradicts itself, and is not kept.
    pub fn record(&mut self, mut alternative: Alternative) -> bool {
        alternative.probes.sort();
        alternative.probes.dedup();
        let contradicts = alternative.probes.windows(2).any(|pair| pair[0].0 == pair[1].0);
        if contradicts || alternative.probes.len() > MAX_PROBES {
            return false;
        }
        self.alternatives.retain(|held| held.probes != alternative.probes);
        self.alternatives.insert(0, alternative);
        self.alternatives.truncate(MAX_ALTERNATIVES);
        true
    }

    /// The newest alternative of which every probe is answered as it was. Each probe is asked at most once.
    pub fn find(&self, mut answer: impl FnMut(&Probe) -> Answer) -> Option<&Alternative> {
        match self.try_find(|probe| Ok::<_, Infallible>(answer(probe))) {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }

    /// As [`Manifest::find`], when answering may fail.
    pub fn try_find<E>(
        &self,
        mut answer: impl FnMut(&Probe) -> Result<Answer, E>,
    ) -> Result<Option<&Alternative>, E> {
        let mut answers = BTreeMap::new();
        for alternative in &self.alternatives {
            if mismatch(alternative, &mut answers, &mut answer)?.is_none() {
                return Ok(Some(alternative));
            }
        }
        Ok(None)
    }

    /// The first probe of the newest alternative that does not hold.
    pub fn first_mismatch(&self, mut answer: impl FnMut(&Probe) -> Answer) -> Option<Mismatch> {
        match self.try_first_mismatch(|probe| Ok::<_, Infallible>(answer(probe))) {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }

    /// As [`Manifest::first_mismatch`], when answering may fail.
    pub fn try_first_mismatch<E>(
        &self,
        mut answer: impl FnMut(&Probe) -> Result<Answer, E>,
    ) -> Result<Option<Mismatch>, E> {
        let Some(newest) = self.alternatives.first() else { return Ok(None) };
        mismatch(newest, &mut BTreeMap::new(), &mut answer)
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.u64(self.alternatives.len() as u64);
        for alternative in &self.alternatives {
            out.str(&alternative.result).u64(alternative.probes.len() as u64);
            for (probe, answer) in &alternative.probes {
                probe.write(&mut out);
                answer.write(&mut out);
            }
        }
        out.finish()
    }

    /// Reads what [`Manifest::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let mut reader = Reader::new(bytes, MAGIC)?;
        let count = reader.count(16)?;
        if count > MAX_ALTERNATIVES {
            return Err(reader.invalid("the number of alternatives").into());
        }
        let mut alternatives = Vec::with_capacity(count);
        for _ in 0..count {
            let result = reader.str()?.to_owned();
            let probes = reader.count(10)?;
            if probes > MAX_PROBES {
                return Err(reader.invalid("the number of probes").into());
            }
            let mut list: Vec<(Probe, Answer)> = Vec::with_capacity(probes);
            for _ in 0..probes {
                let pair = (Probe::read(&mut reader)?, Answer::read(&mut reader)?);
                if list.last().is_some_and(|last| last.0 >= pair.0) {
                    return Err(reader.invalid("the order of probes").into());
                }
                list.push(pair);
            }
            alternatives.push(Alternative { probes: list, result });
        }
        reader.finish()?;
        Ok(Manifest { alternatives })
    }
}

fn mismatch<'a, E>(
    alternative: &'a Alternative,
    answers: &mut BTreeMap<&'a Probe, Answer>,
    answer: &mut impl FnMut(&Probe) -> Result<Answer, E>,
) -> Result<Option<Mismatch>, E> {
    for (probe, expected) in &alternative.probes {
        let found = match answers.get(probe) {
            Some(found) => found,
            None => {
                let found = answer(probe)?;
                answers.entry(probe).or_insert(found)
            }
        };
        if found != expected {
            return Ok(Some((probe.clone(), expected.clone(), found.clone())));
        }
    }
    Ok(None)
}
