//! The bill of materials as CycloneDX 1.5.

use relgraph_rules::compare::BilledFile;
use relgraph_rules::record::Origin;
use serde_json::{Map, Value, json};

use super::{Materials, Part, cpe, hex, license, native, purl, uuid};
use crate::render::time;

/// The document.
pub fn cyclonedx(materials: &Materials) -> Value {
    let bill = &materials.bill;
    let mut components: Vec<Value> = materials.applications().map(application).collect();
    components.extend(runtime(materials));
    components.extend(bill.others.iter().map(file));
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": if materials.record.is_some() { "build" } else { "post-build" } }],
            "tools": { "components": [{
                "type": "application",
                "name": "relgraph",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": release(materials),
        },
        "components": components,
        "dependencies": dependencies(materials),
    });
    document["serialNumber"] = format!("urn:uuid:{}", uuid(&document)).into();
    if let Some(at) = materials.at {
        document["metadata"]["timestamp"] = time::utc(at).into();
    }
    document
}

fn release_reference(materials: &Materials) -> String {
    format!("release:{}@{}", materials.name(), materials.version())
}

fn reference(part: Part<'_>) -> String {
    format!("application:{}@{}", part.application.name, part.application.version)
}

fn properties(told: impl IntoIterator<Item = (&'static str, String)>) -> Value {
    let property = |(name, value)| json!({ "name": format!("relgraph:{name}"), "value": value });
    told.into_iter().map(property).collect()
}

fn release(materials: &Materials) -> Value {
    let mut told = Vec::new();
    if let Some(tree) = &materials.bill.release.tree {
        told.push(("tree", tree.to_string()));
    }
    if let Some(record) = &materials.record {
        told.push(("environment", record.environment.clone()));
        if let Some(commit) = &record.commit {
            told.push(("commit", commit.id.clone()));
            told.push(("dirty", commit.dirty.to_string()));
        }
    }
    let (name, version) = (materials.name(), materials.version());
    json!({
        "type": "application",
        "bom-ref": release_reference(materials),
        "name": name,
        "version": version,
        "purl": purl::of(name, version, None),
        "properties": properties(told),
    })
}

fn application(part: Part<'_>) -> Value {
    let application = part.application;
    let mut component = Map::new();
    let mut put = |key: &str, value: Value| component.insert(key.to_owned(), value);
    put("type", if part.is_own() { "application" } else { "library" }.into());
    put("bom-ref", reference(part).into());
    put("name", application.name.clone().into());
    put("version", application.version.clone().into());
    if let Some(description) = &application.description {
        put("description", description.clone().into());
    }
    let package = part.package();
    if let Some((_, Some(checksum))) = package {
        put("hashes", hashes(checksum));
    }
    let licenses: Vec<Value> = part
        .licenses()
        .iter()
        .map(|text| match license::id(text) {
            Some(id) => json!({ "license": { "id": id } }),
            None => json!({ "license": { "name": text } }),
        })
        .collect();
    if !licenses.is_empty() {
        put("licenses", licenses.into());
    }
    if let Some(cpe) = part.cpe() {
        put("cpe", cpe.into());
    }
    put("purl", part.purl().into());
    let mut references = Vec::new();
    if let Some((address, checksum)) = package {
        let mut entry = json!({ "type": "distribution", "url": address });
        if let Some(checksum) = checksum {
            entry["hashes"] = hashes(checksum);
        }
        references.push(entry);
    }
    if let Some(Origin::Git { url, .. }) = part.origin() {
        references.push(json!({ "type": "vcs", "url": url }));
    }
    if !references.is_empty() {
        put("externalReferences", references.into());
    }
    put("properties", properties(part.told()));
    if !application.files.is_empty() {
        put("components", application.files.iter().map(file).collect());
    }
    component.into()
}

fn hashes(sha256: &str) -> Value {
    json!([{ "alg": "SHA-256", "content": sha256 }])
}

fn file(file: &BilledFile) -> Value {
    let mut component = json!({
        "type": "file",
        "bom-ref": format!("file:{}", file.path),
        "name": file.path,
        "hashes": hashes(&hex(&file.sha256)),
    });
    if file.native.is_some() {
        component["properties"] = properties(native(file));
    }
    component
}

/// OTP, and the runtime system with its files.
fn runtime(materials: &Materials) -> Vec<Value> {
    let mut components = Vec::new();
    if let Some(erts) = materials.erts() {
        let included = materials.bill.release.includes_erts;
        let mut component = json!({
            "type": "platform",
            "bom-ref": format!("erts@{erts}"),
            "name": "erts",
            "version": erts,
            "licenses": [{ "license": { "id": "Apache-2.0" } }],
            "purl": purl::of("erts", erts, Some(&Origin::Otp)),
            "properties": properties([("included", included.to_string())]),
        });
        if !materials.bill.runtime.is_empty() {
            component["components"] = materials.bill.runtime.iter().map(file).collect();
        }
        components.push(component);
    }
    if let Some(otp) = materials.otp() {
        let mut component = json!({
            "type": "platform",
            "bom-ref": format!("otp@{otp}"),
            "name": "otp",
            "version": otp,
            "licenses": [{ "license": { "id": "Apache-2.0" } }],
        });
        if materials.otp_is_exact() {
            component["cpe"] = cpe("erlang", "erlang\\/otp", otp).into();
            component["purl"] = purl::of_otp(otp).into();
        }
        components.push(component);
    }
    components
}

fn dependencies(materials: &Materials) -> Vec<Value> {
    let names: std::collections::BTreeMap<&str, String> =
        materials.applications().map(|part| (part.application.name.as_str(), reference(part))).collect();
    let erts = materials.erts().map(|version| format!("erts@{version}"));
    let otp = materials.otp().map(|version| format!("otp@{version}"));
    let mut all: Vec<&String> = names.values().chain(&erts).chain(&otp).collect();
    all.sort();
    let mut dependencies = vec![json!({ "ref": release_reference(materials), "dependsOn": all })];
    for part in materials.applications() {
        let mut needs: Vec<&String> =
            part.application.needs.iter().filter_map(|name| names.get(name.as_str())).collect();
        needs.sort();
        dependencies.push(json!({ "ref": reference(part), "dependsOn": needs }));
    }
    if let Some(erts) = &erts {
        dependencies.push(json!({ "ref": erts, "dependsOn": [] }));
    }
    if let Some(otp) = &otp {
        let parts: Vec<&String> = erts.iter().collect();
        dependencies.push(json!({ "ref": otp, "dependsOn": parts }));
    }
    dependencies
}
