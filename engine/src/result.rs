//! Results of steps: what one made, how its record is named, and its bytes (docs/formats/result.md).

use std::collections::BTreeMap;

use relgraph_cache::codec::{CodecError, Reader, Writer};
use relgraph_cache::{Answer, Digest, Probe, Store};

use crate::error::StepError;
use crate::key::ActionKey;
use crate::sandbox::SandboxMode;

const MAGIC: &str = "relgraph result 1";
pub(crate) const RESULT_DOMAIN: &str = "relgraph result v1";

/// What a step printed: in the record itself while it is small, else a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// At most [`Output::INLINE`] bytes.
    Inline(Vec<u8>),
    /// A blob in the store.
    Blob(Digest),
}

impl Output {
    /// The most that a record holds itself.
    pub const INLINE: usize = 64 * 1024;

    /// Keeps `bytes`, in the store when they are many.
    pub fn keep(store: &Store, bytes: Vec<u8>) -> Result<Output, StepError> {
        if bytes.len() <= Self::INLINE {
            Ok(Output::Inline(bytes))
        } else {
            Ok(Output::Blob(store.put_bytes(&bytes)?))
        }
    }

    /// The bytes.
    pub fn read(&self, store: &Store) -> Result<Vec<u8>, StepError> {
        match self {
            Output::Inline(bytes) => Ok(bytes.clone()),
            Output::Blob(digest) => Ok(store.read(digest)?),
        }
    }
}

/// Who made a result: for people, never part of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producer {
    /// The name of the step.
    pub step: String,
    /// The version of relgraph.
    pub version: String,
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepResult {
    /// The key over what it declared.
    pub key: ActionKey,
    /// The key over that and what it discovered, in hexadecimal: the name of this record.
    pub result_key: String,
    /// Trees by name.
    pub outputs: BTreeMap<String, Digest>,
    /// Small facts by name.
    pub values: BTreeMap<String, String>,
    /// What it turned out to read, and what was there; sorted.
    pub probes: Vec<(Probe, Answer)>,
    /// How it was confined.
    pub sandbox: Option<SandboxMode>,
    /// How long the run took.
    pub duration_ms: u64,
    /// What it printed.
    pub stdout: Output,
    /// What it printed as errors and warnings.
    pub stderr: Output,
    /// Who made it.
    pub producer: Producer,
}

impl StepResult {
    /// An output tree by name.
    pub fn output(&self, name: &str) -> Result<Digest, StepError> {
        self.outputs.get(name).copied().ok_or_else(|| {
            StepError::internal(format!("step `{}` has no output `{name}`", self.producer.step))
        })
    }

    /// A small fact by name.
    pub fn value(&self, name: &str) -> Result<&str, StepError> {
        self.values.get(name).map(String::as_str).ok_or_else(|| {
            StepError::internal(format!("step `{}` says nothing of `{name}`", self.producer.step))
        })
    }

    /// Everything that must be in the store for this result to be of use: trees, then printed blobs.
    pub fn trees(&self) -> impl Iterator<Item = &Digest> {
        self.outputs.values()
    }

    /// What it printed, where that is a blob of its own.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        [&self.stdout, &self.stderr].into_iter().filter_map(|o| match o {
            Output::Blob(digest) => Some(digest),
            Output::Inline(_) => None,
        })
    }

    /// One digest over what others can read of it: equal digests, equal inputs for whoever needs it.
    pub fn made(&self) -> Digest {
        let mut writer = Writer::default();
        write_made(&mut writer, self);
        Digest::of(&writer.finish())
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.bytes(&self.key.0);
        write_made(&mut out, self);
        write_probes(&mut out, &self.probes);
        out.u8(self.sandbox.map_or(0, SandboxMode::tag)).u64(self.duration_ms);
        for output in [&self.stdout, &self.stderr] {
            match output {
                Output::Inline(bytes) => out.u8(1).bytes(bytes),
                Output::Blob(digest) => out.u8(2).digest(digest),
            };
        }
        out.str(&self.producer.step).str(&self.producer.version);
        out.finish()
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<StepResult, CodecError> {
        let mut reader = Reader::new(bytes, MAGIC)?;
        let hash = reader.bytes()?;
        let key = ActionKey(hash.try_into().map_err(|_| reader.invalid("the length of a key"))?);
        let outputs = read_map(&mut reader, |r| r.digest())?;
        let values = read_map(&mut reader, |r| r.str().map(str::to_owned))?;
        let probes = read_probes(&mut reader)?;
        let sandbox = match reader.u8()? {
            0 => None,
            tag => Some(SandboxMode::from_tag(tag).ok_or_else(|| reader.invalid("the sandbox"))?),
        };
        let duration_ms = reader.u64()?;
        let (stdout, stderr) = (read_output(&mut reader)?, read_output(&mut reader)?);
        let producer = Producer { step: reader.str()?.to_owned(), version: reader.str()?.to_owned() };
        reader.finish()?;
        let result_key = result_key(&key, &probes);
        Ok(StepResult {
            key,
            result_key,
            outputs,
            values,
            probes,
            sandbox,
            duration_ms,
            stdout,
            stderr,
            producer,
        })
    }
}

/// The name of a result: the action's key and what was discovered. `probes` may come in any order.
pub fn result_key(key: &ActionKey, probes: &[(Probe, Answer)]) -> String {
    let mut sorted = probes.to_vec();
    sorted.sort();
    sorted.dedup();
    let mut out = Writer::default();
    out.bytes(&key.0);
    write_probes(&mut out, &sorted);
    blake3::Hash::from_bytes(blake3::derive_key(RESULT_DOMAIN, &out.finish())).to_hex().to_string()
}

fn write_made(out: &mut Writer, result: &StepResult) {
    out.u64(result.outputs.len() as u64);
    for (name, digest) in &result.outputs {
        out.str(name).digest(digest);
    }
    out.u64(result.values.len() as u64);
    for (name, value) in &result.values {
        out.str(name).str(value);
    }
}

/// `probes` are sorted, each one once.
pub(crate) fn write_probes(out: &mut Writer, probes: &[(Probe, Answer)]) {
    out.u64(probes.len() as u64);
    for (probe, answer) in probes {
        probe.write(out);
        answer.write(out);
    }
}

pub(crate) fn read_probes(reader: &mut Reader<'_>) -> Result<Vec<(Probe, Answer)>, CodecError> {
    let mut probes: Vec<(Probe, Answer)> = Vec::new();
    for _ in 0..reader.count(10)? {
        let pair = (Probe::read(reader)?, Answer::read(reader)?);
        if probes.last().is_some_and(|last| *last >= pair) {
            return Err(reader.invalid("the order of probes"));
        }
        probes.push(pair);
    }
    Ok(probes)
}

fn read_output(reader: &mut Reader<'_>) -> Result<Output, CodecError> {
    match reader.u8()? {
        1 => Ok(Output::Inline(reader.bytes()?.to_vec())),
        2 => Ok(Output::Blob(reader.digest()?)),
        _ => Err(reader.invalid("the kind of an output")),
    }
}

pub(crate) fn read_map<T>(
    reader: &mut Reader<'_>,
    mut value: impl FnMut(&mut Reader<'_>) -> Result<T, CodecError>,
) -> Result<BTreeMap<String, T>, CodecError> {
    let mut map: BTreeMap<String, T> = BTreeMap::new();
    for _ in 0..reader.count(16)? {
        let name = reader.str()?.to_owned();
        let item = value(reader)?;
        if map.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(reader.invalid("the order of names"));
        }
        map.insert(name, item);
    }
    Ok(map)
}
