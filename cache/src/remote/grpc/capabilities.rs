//! What a server can do: [`Capabilities`], of its answer to GetCapabilities.

use bazel_remote_apis::build::bazel::remote::execution::v2::{self as api, compressor, digest_function};
use bazel_remote_apis::build::bazel::semver::SemVer;

use super::super::{RemoteError, RemoteErrorKind};
use super::names::Function;

/// The largest message that servers of gRPC take in unless they are told otherwise, less room for what is around blobs.
pub(super) const MESSAGE: u64 = (4 << 20) - (64 << 10);

/// What a blob costs in a message beside its bytes: a digest, a status, lengths.
pub(super) const AROUND_BLOB: u64 = 160;

/// What a server said, and where it said nothing, what holds for all.
#[derive(Debug, Clone)]
pub(super) struct Capabilities {
    /// How blobs are named in all that is asked.
    pub function: Function,
    /// How many bytes of blobs may be in a batch; `None`: it names no limit.
    pub batch: Option<u64>,
    /// The largest blob that it stores.
    pub largest: Option<u64>,
    /// Whether entries may be written.
    pub entries: bool,
    /// Whether it takes and gives zstd: in streams and in what is read in batches, and in batches that are stored.
    pub zstd: bool,
    pub zstd_batches: bool,
    functions: Vec<&'static str>,
    versions: Option<(SemVer, SemVer)>,
    announced: bool,
}

impl Capabilities {
    /// What is taken for granted of a server that does not say.
    pub fn unknown() -> Capabilities {
        Capabilities {
            function: Function::Sha256,
            batch: None,
            largest: None,
            entries: true,
            zstd: false,
            zstd_batches: false,
            functions: Vec::new(),
            versions: None,
            announced: false,
        }
    }

    /// Reads an answer; an error when we have no language in common.
    pub fn read(answer: api::ServerCapabilities) -> Result<Capabilities, RemoteError> {
        let versions = answer.low_api_version.zip(answer.high_api_version);
        if let Some((low, high)) = &versions
            && (low.major > 2 || high.major < 2)
        {
            let text = format!(
                "it speaks the Remote Execution API {} to {}, and version 2 is needed",
                version(low),
                version(high)
            );
            return Err(RemoteError::new(RemoteErrorKind::Refused, text));
        }
        let Some(cache) = answer.cache_capabilities else {
            let text = "it executes actions and keeps no results: it announces no cache";
            return Err(RemoteError::new(RemoteErrorKind::Refused, text));
        };
        let known = |number: &i32| digest_function::Value::try_from(*number).ok();
        let functions: Vec<_> = cache.digest_functions.iter().filter_map(known).collect();
        let function = if functions.contains(&digest_function::Value::Blake3) {
            Function::Blake3
        } else if functions.contains(&digest_function::Value::Sha256) || cache.digest_functions.is_empty() {
            Function::Sha256
        } else {
            let names: Vec<_> = functions.iter().map(|function| function.as_str_name()).collect();
            let text = format!("it names blobs by {}, and not by BLAKE3 or SHA-256", names.join(", "));
            return Err(RemoteError::new(RemoteErrorKind::Refused, text));
        };
        let limit = |number: i64| u64::try_from(number).ok().filter(|limit| *limit > 0);
        let zstd = compressor::Value::Zstd as i32;
        Ok(Capabilities {
            function,
            batch: limit(cache.max_batch_total_size_bytes),
            largest: limit(cache.max_cas_blob_size_bytes),
            entries: cache.action_cache_update_capabilities.is_none_or(|update| update.update_enabled),
            zstd: cache.supported_compressors.contains(&zstd),
            zstd_batches: cache.supported_batch_update_compressors.contains(&zstd),
            functions: functions.iter().map(|function| function.as_str_name()).collect(),
            versions,
            announced: true,
        })
    }

    /// How many bytes of blobs go into one batch.
    pub fn batch_bytes(&self) -> u64 {
        self.batch.unwrap_or(MESSAGE).min(MESSAGE)
    }

    /// For whoever asks what this server is.
    pub fn facts(&self, instance: &str) -> Vec<String> {
        let mut facts = Vec::new();
        facts.push(match &self.versions {
            Some((low, high)) => format!("Remote Execution API {} to {}", version(low), version(high)),
            None => "Remote Execution API 2, as it names no versions".to_owned(),
        });
        if !self.announced {
            facts.push("no Capabilities service: what all servers can do is taken for granted".to_owned());
        }
        facts.push(match instance {
            "" => "no instance name".to_owned(),
            instance => format!("instance `{instance}`"),
        });
        let used = match self.function {
            Function::Blake3 => "BLAKE3",
            Function::Sha256 => "SHA-256",
        };
        facts.push(match self.functions[..] {
            [] => format!("digests are {used}"),
            _ => format!("digests are {used}, of {}", self.functions.join(", ")),
        });
        facts.push(match self.batch {
            Some(limit) => format!("at most {} in a batch", size(limit)),
            None => "no limit for a batch".to_owned(),
        });
        if let Some(limit) = self.largest {
            facts.push(format!("blobs of at most {}", size(limit)));
        }
        facts.push(
            match (self.zstd, self.zstd_batches) {
                (true, true) => "zstd in streams and batches",
                (true, false) => "zstd in streams",
                (false, true) => "zstd in batches",
                (false, false) => "no zstd; what is stored is compressed by itself",
            }
            .to_owned(),
        );
        facts.push(
            if self.entries { "entries may be written" } else { "entries may not be written" }.to_owned(),
        );
        facts
    }
}

fn version(version: &SemVer) -> String {
    let SemVer { major, minor, patch, .. } = version;
    if *patch == 0 { format!("{major}.{minor}") } else { format!("{major}.{minor}.{patch}") }
}

fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(functions: &[i32]) -> api::ServerCapabilities {
        let cache = api::CacheCapabilities { digest_functions: functions.to_vec(), ..Default::default() };
        api::ServerCapabilities { cache_capabilities: Some(cache), ..Default::default() }
    }

    #[test]
    fn blake3_is_taken_where_it_is_offered() {
        let function = |functions: &[i32]| Capabilities::read(answer(functions)).map(|read| read.function);
        assert_eq!(function(&[1, 9]), Ok(Function::Blake3));
        assert_eq!(function(&[3, 1, 77]), Ok(Function::Sha256));
        assert_eq!(function(&[]), Ok(Function::Sha256));
        assert_eq!(function(&[2, 3]).unwrap_err().kind, RemoteErrorKind::Refused);
    }

    #[test]
    fn a_message_is_never_larger_than_servers_take_in() {
        let batch = |limit: i64| {
            let mut answer = answer(&[1]);
            answer.cache_capabilities.as_mut().unwrap().max_batch_total_size_bytes = limit;
            Capabilities::read(answer).unwrap().batch_bytes()
        };
        assert_eq!(batch(0), MESSAGE);
        assert_eq!(batch(65536), 65536);
        assert_eq!(batch(1 << 40), MESSAGE);
        assert_eq!(batch(-1), MESSAGE);
    }

    #[test]
    fn only_version_2_is_spoken() {
        let semver = |major, minor| SemVer { major, minor, ..SemVer::default() };
        let with = |low: SemVer, high: SemVer| {
            Capabilities::read(api::ServerCapabilities {
                low_api_version: Some(low),
                high_api_version: Some(high),
                ..answer(&[1])
            })
        };
        assert!(with(semver(2, 1), semver(2, 12)).is_ok());
        assert!(with(semver(1, 0), semver(3, 0)).is_ok());
        let error = with(semver(3, 0), semver(3, 1)).unwrap_err();
        assert!(error.message.contains("3.0 to 3.1"), "{error}");
        assert!(with(semver(1, 0), semver(1, 9)).is_err());
    }
}
