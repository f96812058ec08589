//! The bill of materials of a release: what both formats say alike.

mod cyclonedx;
mod license;
mod purl;
mod spdx;

use std::collections::BTreeMap;

use relgraph_cache::Digest;
use relgraph_rules::compare::{Bill, BilledApplication, BilledFile};
use relgraph_rules::fetch::PUBLIC_URL;
use relgraph_rules::record::{Origin, RecordedApplication, ReleaseRecord};
use serde_json::Value;

pub use cyclonedx::cyclonedx;
pub use spdx::spdx;

/// A release, and what is known of how it came about.
pub struct Materials {
    /// What is in it.
    pub bill: Bill,
    /// What was kept of it when it was built.
    pub record: Option<ReleaseRecord>,
    /// The moment that the bill is dated with, in milliseconds since 1970; none where nothing says one.
    pub at: Option<i64>,
}

impl Materials {
    fn name(&self) -> &str {
        self.record.as_ref().map_or(&self.bill.release.name, |record| &record.name)
    }

    fn version(&self) -> &str {
        self.record.as_ref().map_or(&self.bill.release.version, |record| &record.version)
    }

    /// What the record says, or else the release.
    fn otp(&self) -> Option<&str> {
        let recorded = self.record.as_ref().and_then(|record| record.otp.as_deref());
        recorded.or(self.bill.release.otp.as_deref())
    }

    fn erts(&self) -> Option<&str> {
        let recorded = self.record.as_ref().and_then(|record| record.erts.as_deref());
        self.bill.release.erts.as_deref().or(recorded)
    }

    /// Whether the version of OTP is that of a release of it, and not only its first number.
    fn otp_is_exact(&self) -> bool {
        self.otp().is_some_and(|version| version.contains('.'))
    }

    /// The applications, each with what was recorded of it.
    fn applications(&self) -> impl Iterator<Item = Part<'_>> {
        let recorded: BTreeMap<&str, &RecordedApplication> = self
            .record
            .iter()
            .flat_map(|record| &record.applications)
            .map(|application| (application.name.as_str(), application))
            .collect();
        let part = move |application| {
            let same = |found: &&&RecordedApplication| found.version == application_version(application);
            let recorded = recorded.get(application.name.as_str()).filter(same).copied();
            Part { application, recorded }
        };
        self.bill.applications.iter().map(part)
    }
}

fn application_version(application: &BilledApplication) -> &str {
    &application.version
}

/// An application of a release.
#[derive(Clone, Copy)]
struct Part<'a> {
    application: &'a BilledApplication,
    recorded: Option<&'a RecordedApplication>,
}

impl<'a> Part<'a> {
    fn origin(&self) -> Option<&'a Origin> {
        self.recorded.and_then(|recorded| recorded.origin.as_ref())
    }

    fn licenses(&self) -> &'a [String] {
        self.recorded.map_or(&[], |recorded| &recorded.licenses)
    }

    fn purl(&self) -> String {
        purl::of(&self.application.name, &self.application.version, self.origin())
    }

    /// Whether it is part of what the project is about, and not something that it uses.
    fn is_own(&self) -> bool {
        matches!(self.origin(), Some(Origin::Project))
    }

    /// Where its package was published, and the SHA-256 of it; none of what was built as it lay there.
    fn package(&self) -> Option<(String, Option<&'a str>)> {
        let Some(Origin::Hex { package, version, repository, checksum, as_found: false }) = self.origin()
        else {
            return None;
        };
        let folder = match repository.split_once(':') {
            Some(("hexpm", organisation)) => format!("repos/{organisation}/"),
            None if repository == "hexpm" => String::new(),
            _ => return None,
        };
        let address = format!("{PUBLIC_URL}/{folder}tarballs/{package}-{version}.tar");
        Some((address, checksum.as_deref()))
    }

    /// The name by which databases of vulnerabilities know it.
    fn cpe(&self) -> Option<String> {
        let is_elixir = matches!(self.origin(), Some(Origin::Elixir)) && self.application.name == "elixir";
        is_elixir.then(|| cpe("elixir-lang", "elixir", &self.application.version))
    }

    /// What the record says of it, in words.
    fn told(&self) -> Vec<(&'static str, String)> {
        let mut told = Vec::new();
        if let Some(mode) = &self.application.mode {
            told.push(("mode", mode.clone()));
        }
        let mut as_it_was = false;
        match self.origin() {
            None => {}
            Some(Origin::Project) => told.push(("origin", "project".to_owned())),
            Some(Origin::Path { at }) => {
                told.extend([("origin", "path".to_owned()), ("folder", at.clone())]);
            }
            Some(Origin::Hex { repository, as_found, .. }) => {
                told.extend([("origin", "hex".to_owned()), ("repository", repository.clone())]);
                as_it_was = *as_found;
            }
            Some(Origin::Git { commit, folder, as_found, .. }) => {
                told.extend([("origin", "git".to_owned()), ("commit", commit.clone())]);
                told.extend(folder.iter().map(|folder| ("folder", folder.clone())));
                as_it_was = *as_found;
            }
            Some(Origin::Other { source }) => told.push(("origin", source.clone())),
            Some(Origin::Otp) => told.push(("origin", "otp".to_owned())),
            Some(Origin::Elixir) => told.push(("origin", "elixir".to_owned())),
        }
        if as_it_was {
            told.push(("as_found", "true".to_owned()));
        }
        told
    }
}

/// What a native file is, in words.
fn native(file: &BilledFile) -> Vec<(&'static str, String)> {
    let Some(native) = &file.native else { return Vec::new() };
    let joined = |names: &std::collections::BTreeSet<String>| {
        names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let kind = if native.shared { "shared library" } else { "program" };
    let mut told = vec![
        ("native", kind.to_owned()),
        ("native:system", native.format.systems().to_owned()),
        ("native:architecture", joined(&native.architectures)),
    ];
    if !native.needed.is_empty() {
        told.push(("native:needed", joined(&native.needed)));
    }
    told.extend(native.glibc.map(|version| ("native:glibc", version.to_string())));
    told
}

fn cpe(vendor: &str, product: &str, version: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let version: String =
        version.chars().map(|c| if plain(c) { c.to_string() } else { format!("\\{c}") }).collect();
    format!("cpe:2.3:a:{vendor}:{product}:{version}:*:*:*:*:*:*:*")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An id of what a document says: a UUID of the kind whose meaning is its maker's (version 8).
fn uuid(document: &Value) -> String {
    let mut bytes = Digest::of(document.to_string().as_bytes()).hash;
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes[..16]);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}
