//! The bill of materials as SPDX 2.3.

use std::collections::BTreeMap;

use relgraph_cache::Digest;
use relgraph_rules::compare::BilledFile;
use relgraph_rules::record::Origin;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::{Materials, Part, cpe, hex, license, native, purl, uuid};
use crate::render::time;

/// Nobody says.
const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const RELEASE: &str = "SPDXRef-Release";
const OTP: &str = "SPDXRef-OTP";
const ERTS: &str = "SPDXRef-ERTS";

/// The document.
pub fn spdx(materials: &Materials) -> Value {
    let mut others = BTreeMap::new();
    let mut packages = vec![release(materials)];
    packages.extend(materials.applications().map(|part| application(part, &mut others)));
    packages.extend(runtime(materials));
    let bill = &materials.bill;
    let all = bill.applications.iter().flat_map(|application| &application.files);
    let mut files: Vec<&BilledFile> = all.chain(&bill.runtime).chain(&bill.others).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": format!("{}-{}", materials.name(), materials.version()),
        "creationInfo": { "creators": [format!("Tool: relgraph-{}", env!("CARGO_PKG_VERSION"))] },
        "packages": packages,
        "files": files.into_iter().map(file).collect::<Vec<_>>(),
        "relationships": relationships(materials),
    });
    if !others.is_empty() {
        let license = |(name, text): (&String, &String)| json!({ "licenseId": name, "name": text, "extractedText": text });
        document["hasExtractedLicensingInfos"] = others.iter().map(license).collect();
    }
    document["documentNamespace"] = format!("https://relgraph.invalid/spdx/{}", uuid(&document)).into();
    document["creationInfo"]["created"] = time::utc(materials.at.unwrap_or(0)).into();
    document
}

/// Ids are made of letters, digits, `.` and `-`.
fn reference(name: &str) -> String {
    let plain = |c: char| match c {
        '_' => "-".to_owned(),
        c if c.is_ascii_alphanumeric() => c.to_string(),
        c => format!(".{:x}", u32::from(c)),
    };
    format!("SPDXRef-Application-{}", name.chars().map(plain).collect::<String>())
}

fn file_reference(path: &str) -> String {
    format!("SPDXRef-File-{}", &Digest::of(path.as_bytes()).hex()[..24])
}

/// A package, with the files that belong to it and the code that vouches for them.
fn package(id: &str, name: &str, version: &str, purpose: &str, files: &[BilledFile]) -> Value {
    let mut package = json!({
        "SPDXID": id,
        "name": name,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": !files.is_empty(),
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "primaryPackagePurpose": purpose,
    });
    if !version.is_empty() {
        package["versionInfo"] = version.into();
    }
    if !files.is_empty() {
        package["hasFiles"] = files.iter().map(|file| file_reference(&file.path)).collect();
        let mut sums: Vec<String> = files.iter().map(|file| hex(&file.sha1)).collect();
        sums.sort();
        let code = hex(&Sha1::digest(sums.concat().as_bytes()));
        package["packageVerificationCode"] = json!({ "packageVerificationCodeValue": code });
    }
    package
}

fn with_purl(package: &mut Value, purl: String, cpe: Option<String>) {
    let mut references = vec![json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    })];
    references.extend(cpe.map(|cpe| {
        json!({ "referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": cpe })
    }));
    package["externalRefs"] = references.into();
}

fn release(materials: &Materials) -> Value {
    let (name, version) = (materials.name(), materials.version());
    let mut package = package(RELEASE, name, version, "APPLICATION", &materials.bill.others);
    with_purl(&mut package, purl::of(name, version, None), None);
    let mut told = Vec::new();
    told.extend(materials.bill.release.tree.map(|tree| format!("tree {tree}")));
    if let Some(record) = &materials.record {
        told.push(format!("environment {}", record.environment));
        if let Some(commit) = &record.commit {
            told.push(format!("commit {}{}", commit.id, if commit.dirty { " (edited)" } else { "" }));
        }
    }
    if !told.is_empty() {
        package["comment"] = told.join("; ").into();
    }
    package
}

fn application(part: Part<'_>, others: &mut BTreeMap<String, String>) -> Value {
    let application = part.application;
    let purpose = if part.is_own() { "APPLICATION" } else { "LIBRARY" };
    let id = reference(&application.name);
    let mut package = package(&id, &application.name, &application.version, purpose, &application.files);
    with_purl(&mut package, part.purl(), part.cpe());
    package["licenseDeclared"] = license::expression(part.licenses(), others).into();
    if let Some(description) = &application.description {
        package["description"] = description.clone().into();
    }
    if let Some((address, checksum)) = part.package() {
        package["downloadLocation"] = address.into();
        if let Some(checksum) = checksum {
            package["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": checksum }]);
        }
    }
    if let Some(Origin::Git { url, commit, folder, as_found: false }) = part.origin()
        && let Some(address) = git_address(url)
    {
        let inside = folder.as_ref().map(|folder| format!("#{folder}")).unwrap_or_default();
        package["downloadLocation"] = format!("{address}@{commit}{inside}").into();
    }
    let told: Vec<String> = part.told().into_iter().map(|(what, fact)| format!("{what} {fact}")).collect();
    if !told.is_empty() {
        package["comment"] = told.join("; ").into();
    }
    package
}

/// The address of a repository as SPDX writes it, which knows none on the machine itself.
fn git_address(url: &str) -> Option<String> {
    let known = ["https://", "http://", "ssh://", "git://"];
    if known.iter().any(|scheme| url.starts_with(scheme)) {
        return Some(format!("git+{url}"));
    }
    // `git@host:path`, as ssh writes it.
    let (host, path) = url.split_once(':').filter(|(host, _)| host.contains('@') && !host.contains('/'))?;
    (!path.starts_with("//")).then(|| format!("git+ssh://{host}/{}", path.trim_start_matches('/')))
}

fn runtime(materials: &Materials) -> Vec<Value> {
    let mut packages = Vec::new();
    if let Some(erts) = materials.erts() {
        let mut package = package(ERTS, "erts", erts, "FRAMEWORK", &materials.bill.runtime);
        with_purl(&mut package, purl::of("erts", erts, Some(&Origin::Otp)), None);
        package["licenseDeclared"] = "Apache-2.0".into();
        packages.push(package);
    }
    if let Some(otp) = materials.otp() {
        let mut package = package(OTP, "otp", otp, "FRAMEWORK", &[]);
        package["licenseDeclared"] = "Apache-2.0".into();
        if materials.otp_is_exact() {
            with_purl(&mut package, purl::of_otp(otp), Some(cpe("erlang", "erlang\\/otp", otp)));
        }
        packages.push(package);
    }
    packages
}

fn file(file: &BilledFile) -> Value {
    let mut entry = json!({
        "SPDXID": file_reference(&file.path),
        "fileName": format!("./{}", file.path),
        "checksums": [
            { "algorithm": "SHA1", "checksumValue": hex(&file.sha1) },
            { "algorithm": "SHA256", "checksumValue": hex(&file.sha256) },
        ],
        "licenseConcluded": UNKNOWN,
        "copyrightText": UNKNOWN,
    });
    if file.native.is_some() {
        entry["fileTypes"] = json!(["BINARY"]);
        let told: Vec<String> =
            native(file).into_iter().map(|(what, fact)| format!("{what} {fact}")).collect();
        entry["comment"] = told.join("; ").into();
    }
    entry
}

fn relationships(materials: &Materials) -> Vec<Value> {
    let relation = |from: &str, kind: &str, to: &str| json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to });
    let mut relations = vec![relation(DOCUMENT, "DESCRIBES", RELEASE)];
    for part in materials.applications() {
        relations.push(relation(RELEASE, "CONTAINS", &reference(&part.application.name)));
    }
    if materials.erts().is_some() {
        let kind = if materials.bill.release.includes_erts { "CONTAINS" } else { "DEPENDS_ON" };
        relations.push(relation(RELEASE, kind, ERTS));
    }
    if materials.otp().is_some() {
        relations.push(relation(RELEASE, "DEPENDS_ON", OTP));
        if materials.erts().is_some() {
            relations.push(relation(ERTS, "GENERATED_FROM", OTP));
        }
    }
    for part in materials.applications() {
        let from = reference(&part.application.name);
        for need in &part.application.needs {
            relations.push(relation(&from, "DEPENDS_ON", &reference(need)));
        }
    }
    relations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_repositories_are_those_that_spdx_knows() {
        for (url, address) in [
            ("https://host/a", Some("git+https://host/a")),
            ("ssh://git@host/a", Some("git+ssh://git@host/a")),
            ("git@host:o/a.git", Some("git+ssh://git@host/o/a.git")),
            ("file:///a", None),
            ("../a", None),
            ("/a:b@c", None),
        ] {
            assert_eq!(git_address(url).as_deref(), address, "{url}");
        }
    }
}
