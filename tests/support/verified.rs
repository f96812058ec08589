//! Owns what tests ask of a comparison: `relgraph verify --format json`, taken apart.

use std::collections::BTreeSet;

use serde_json::Value;

use super::project::Project;

/// What `verify --format json` said, which has to end with that status.
#[track_caller]
pub fn verify(project: &Project, status: i32, args: &[&str]) -> Value {
    let said = project.ask(&[&["verify", "--format", "json"], args].concat());
    let json: Value =
        serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}{}", said.out, said.err));
    assert_eq!(said.status, Some(status), "{:#?} {}", unexplained(&json), said.err);
    assert_eq!(json["schema"], "relgraph.verify/1");
    assert_eq!(json["same"], status == 0);
    json
}

/// `path: place` of the differences that nothing explains.
pub fn unexplained(json: &Value) -> Vec<String> {
    let all = json["differences"].as_array().expect("a list").iter();
    let left = all.filter(|one| one["verdict"] == "unexplained");
    left.map(|one| format!("{}: {}", text(&one["path"]), text(&one["place"]))).collect()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// The reasons that explain something, but for the order of maps where no two VMs have the same.
pub fn reasons(json: &Value) -> BTreeSet<String> {
    let all = json["reasons"].as_array().expect("a list").iter();
    let reasons = all.map(|one| text(&one["reason"]).to_owned());
    reasons.filter(|reason| reason != "map_order" || super::mix::otp() < 26).collect()
}

/// The difference at a path.
#[track_caller]
pub fn at<'a>(json: &'a Value, path: &str) -> &'a Value {
    let all = json["differences"].as_array().expect("a list");
    all.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("nothing at {path}"))
}
