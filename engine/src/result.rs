//! Results of steps: what one made, how its record is named, and its bytes (docs/formats/result.md).

use std::collections::BTreeMap;

use relgraph_cache::{Answer, Digest, Probe, Store};

use crate::codec::{DecodeError, Reader, Writer};
use crate::error::StepError;
use crate::key::ActionKey;
use crate::sandbox::SandboxMode;

const MAGIC: &[u8] = b"relgraph result 1\n";
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
        if bytes.len() <= Self::INLINE { Ok(Output::Inline(bytes)) } else { Ok(Output::Blob(store.put_bytes(&bytes)?)) }
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
        let mut writer = Writer::with_magic(MAGIC);
        writer.raw(&self.key.0);
        write_made(&mut writer, self);
        write_probes(&mut writer, &self.probes);
        writer.u8(self.sandbox.map_or(0, SandboxMode::tag));
        writer.u64(self.duration_ms);
        for output in [&self.stdout, &self.stderr] {
            match output {
                Output::Inline(bytes) => {
                    writer.u8(0);
                    writer.bytes(bytes);
                }
                Output::Blob(digest) => {
                    writer.u8(1);
                    writer.digest(digest);
                }
            }
        }
        writer.text(&self.producer.step);
        writer.text(&self.producer.version);
        writer.finish()
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<StepResult, DecodeError> {
        let mut reader = Reader::new("result", bytes);
        reader.magic(MAGIC)?;
        let key = ActionKey(reader.hash()?);
        let outputs = read_map(&mut reader, |r| r.digest())?;
        let values = read_map(&mut reader, |r| r.text())?;
        let probes = read_probes(&mut reader)?;
        let sandbox = match reader.u8()? {
            0 => None,
            tag => Some(SandboxMode::from_tag(tag).ok_or_else(|| reader.error("unknown sandbox"))?),
        };
        let duration_ms = reader.u64()?;
        let mut output = || match reader.u8()? {
            0 => Ok(Output::Inline(reader.bytes()?.to_vec())),
            1 => Ok(Output::Blob(reader.digest()?)),
            _ => Err(reader.error("unknown kind of output")),
        };
        let (stdout, stderr) = (output()?, output()?);
        let producer = Producer { step: reader.text()?, version: reader.text()? };
        reader.end()?;
        let result_key = result_key(&key, &probes);
        Ok(StepResult { key, result_key, outputs, values, probes, sandbox, duration_ms, stdout, stderr, producer })
    }
}

/// The name of a result: the action's key and what was discovered. `probes` may come in any order.
pub fn result_key(key: &ActionKey, probes: &[(Probe, Answer)]) -> String {
    let mut writer = Writer::default();
    writer.raw(&key.0);
    write_probes(&mut writer, probes);
    blake3::Hash::from_bytes(blake3::derive_key(RESULT_DOMAIN, &writer.finish())).to_hex().to_string()
}

fn write_made(writer: &mut Writer, result: &StepResult) {
    writer.len(result.outputs.len());
    for (name, digest) in &result.outputs {
        writer.text(name);
        writer.digest(digest);
    }
    writer.len(result.values.len());
    for (name, value) in &result.values {
        writer.text(name);
        writer.text(value);
    }
}

pub(crate) fn encode_probe(probe: &(Probe, Answer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.probe(&probe.0);
    writer.answer(&probe.1);
    writer.finish()
}

pub(crate) fn write_probes(writer: &mut Writer, probes: &[(Probe, Answer)]) {
    let mut encoded: Vec<Vec<u8>> = probes.iter().map(encode_probe).collect();
    encoded.sort();
    encoded.dedup();
    writer.len(encoded.len());
    encoded.iter().for_each(|bytes| writer.raw(bytes));
}

pub(crate) fn read_probes(reader: &mut Reader<'_>) -> Result<Vec<(Probe, Answer)>, DecodeError> {
    let mut probes = Vec::new();
    let mut last = Vec::new();
    for _ in 0..reader.len()? {
        let pair = (reader.probe()?, reader.answer()?);
        let encoded = encode_probe(&pair);
        if encoded <= last {
            return Err(reader.error("discovered inputs not sorted"));
        }
        last = encoded;
        probes.push(pair);
    }
    Ok(probes)
}

fn read_map<T>(
    reader: &mut Reader<'_>,
    mut value: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<BTreeMap<String, T>, DecodeError> {
    let mut map: BTreeMap<String, T> = BTreeMap::new();
    for _ in 0..reader.len()? {
        let name = reader.text()?;
        let item = value(reader)?;
        if map.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(reader.error("names not sorted"));
        }
        map.insert(name, item);
    }
    Ok(map)
}
