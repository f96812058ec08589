//! What the last build of a checkout was made of, step by step, so that the next can say what moved.

use std::collections::BTreeMap;
use std::path::Path;

use relgraph_cache::codec::{CodecError, Reader, Writer};
use relgraph_cache::{Answer, Digest, Probe};

use crate::error::EngineError;
use crate::files::write_atomically;
use crate::key::KeyParts;
use crate::outcome::Outcome;
use crate::result::{read_map, read_probes, write_probes};

const MAGIC: &str = "relgraph checkout 1";

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
        std::fs::read(path).ok().and_then(|bytes| Self::decode(&bytes).ok()).unwrap_or_default()
    }

    /// Writes the file at `path` at once, or leaves it as it was.
    pub fn save(&self, path: &Path) -> Result<(), EngineError> {
        write_atomically(path, &self.encode())
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.u64(self.steps.len() as u64);
        for (name, step) in &self.steps {
            out.str(name);
            step.parts.write(&mut out);
            out.str(&step.result_key);
            write_probes(&mut out, &step.probes);
            out.u64(step.outputs.len() as u64);
            for (output, digest) in &step.outputs {
                out.str(output).digest(digest);
            }
            out.u64(step.duration_ms).u8(step.outcome.tag());
        }
        out.finish_checked()
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Checkout, CodecError> {
        let mut reader = Reader::new_checked(bytes, MAGIC)?;
        let steps = read_map(&mut reader, |reader| {
            Ok(StepRecord {
                parts: KeyParts::read(reader)?,
                result_key: reader.str()?.to_owned(),
                probes: read_probes(reader)?,
                outputs: read_map(reader, |r| r.digest())?,
                duration_ms: reader.u64()?,
                outcome: Outcome::from_tag(reader.u8()?).ok_or_else(|| reader.invalid("an outcome"))?,
            })
        })?;
        reader.finish()?;
        Ok(Checkout { steps })
    }
}
