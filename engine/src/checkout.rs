//! What the last build of a checkout was made of, step by step, so that the next can say what moved.

use std::collections::BTreeMap;
use std::path::Path;

use relgraph_cache::{Answer, Digest, Probe};

use crate::codec::{DecodeError, Reader, Writer};
use crate::error::EngineError;
use crate::files;
use crate::key::KeyParts;
use crate::outcome::Outcome;
use crate::result::{read_probes, write_probes};

const MAGIC: &[u8] = b"relgraph checkout 1\n";

/// One step as the last build left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// What went into its key.
    pub parts: KeyParts,
    /// The name of its result.
    pub result_key: String,
    /// What it was seen to read.
    pub probes: Vec<(Probe, Answer)>,
    /// Its outputs, to tell an evicted result from an unknown one.
    pub outputs: BTreeMap<String, Digest>,
    /// How long it took when it last ran.
    pub duration_ms: u64,
    /// What happened to it in the last build.
    pub outcome: Outcome,
}

/// The last build of a checkout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkout {
    /// Its steps by name.
    pub steps: BTreeMap<String, StepRecord>,
}

impl Checkout {
    /// Reads the file at `path`. No file, or any doubt about it, is an empty checkout: everything is looked up anew.
    pub fn load(path: &Path) -> Checkout {
        files::read_checked(path).and_then(|bytes| Self::decode(&bytes).ok()).unwrap_or_default()
    }

    /// Writes the file at `path` at once, or leaves it as it was.
    pub fn save(&self, path: &Path) -> Result<(), EngineError> {
        files::write_checked(path, self.encode())
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_magic(MAGIC);
        writer.len(self.steps.len());
        for (name, step) in &self.steps {
            writer.text(name);
            step.parts.write(&mut writer);
            writer.text(&step.result_key);
            write_probes(&mut writer, &step.probes);
            writer.len(step.outputs.len());
            for (output, digest) in &step.outputs {
                writer.text(output);
                writer.digest(digest);
            }
            writer.u64(step.duration_ms);
            writer.u8(step.outcome.tag());
        }
        writer.finish()
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Checkout, DecodeError> {
        let mut reader = Reader::new("checkout", bytes);
        reader.magic(MAGIC)?;
        let mut steps = BTreeMap::new();
        for _ in 0..reader.len()? {
            let name = reader.text()?;
            let parts = KeyParts::read(&mut reader)?;
            let result_key = reader.text()?;
            let probes = read_probes(&mut reader)?;
            let mut outputs = BTreeMap::new();
            for _ in 0..reader.len()? {
                outputs.insert(reader.text()?, reader.digest()?);
            }
            let duration_ms = reader.u64()?;
            let outcome =
                Outcome::from_tag(reader.u8()?).ok_or_else(|| reader.error("unknown outcome"))?;
            steps.insert(name, StepRecord { parts, result_key, probes, outputs, duration_ms, outcome });
        }
        reader.end()?;
        Ok(Checkout { steps })
    }
}
