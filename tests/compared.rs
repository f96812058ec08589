//! `relgraph diff` of the two versions of examples/sequence, in the layout for upgrades and in that of Mix.

mod support;

use serde_json::Value;
use support::TestSpace;
use support::project::Project;

fn diff(project: &Project, old: &str, new: &str) -> Value {
    let said = project.ask(&["diff", old, new, "--format", "json"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    serde_json::from_str(&said.out).expect("a report")
}

fn find<'v>(list: &'v Value, key: &str, value: &str) -> &'v Value {
    let found = list.as_array().expect("a list").iter().find(|entry| entry[key] == value);
    found.unwrap_or_else(|| panic!("{value}: {list:#}"))
}

/// What has to be said of the code in both layouts.
fn code(diff: &Value) {
    let modules = find(&diff["modules"], "application", "sequence");
    assert_eq!(modules["added"], serde_json::json!(["Elixir.Sequence.Label.List"]));
    let server = find(&modules["changed"], "module", "Elixir.Sequence.Server");
    assert_eq!((&server["old_vsn"], &server["new_vsn"]), (&"<<\"0\">>".into(), &"<<\"1\">>".into()));
    assert_eq!((&server["old_code_change"], &server["new_code_change"]), (&"trivial".into(), &"real".into()));
    assert_eq!((&server["process"], &server["class"]), (&"gen_server".into(), &"hot".into()));
    assert_eq!(server["functions_added"], serde_json::json!(["keep/0", "recent/1"]));
    assert_eq!(server["functions_changed"], serde_json::json!(["code_change/3", "handle_call/3", "init/1"]));
    let label = find(&diff["protocols"], "protocol", "Elixir.Sequence.Label");
    assert_eq!((&label["application"], &label["consolidated"]), (&"sequence".into(), &true.into()));
    let list = find(&label["implementations"], "target", "Elixir.List");
    assert_eq!((&list["change"], &list["module"]), (&"added".into(), &"Elixir.Sequence.Label.List".into()));
    let keep = find(&diff["config"]["keys"], "application", "sequence");
    assert_eq!((&keep["key"], &keep["new"]), (&serde_json::json!(["keep"]), &"10".into()));
    assert_eq!(diff["warnings"], serde_json::json!([]));
}

#[test]
fn the_two_versions_of_the_example_differ_in_a_server_a_protocol_and_a_key() {
    let space = TestSpace::cold();
    let old = space.example("sequence", "old");
    old.build();
    let new = space.example("sequence-0.2.0", "new");
    new.build();
    let stored = diff(&new, "0.1.0", "0.2.0");
    code(&stored);
    assert_eq!(stored["verdict"], serde_json::json!({"class": "hot", "reasons": [], "waiting": []}));
    // The folders say what the store says.
    let place = |project: &Project| project.release("sequence").to_string_lossy().into_owned();
    let mut lying = diff(&new, &place(&old), &place(&new));
    for side in ["old", "new"] {
        lying[side]["tree"] = stored[side]["tree"].clone();
    }
    lying["files"].as_array_mut().unwrap().retain(|file| file["role"] != "cookie");
    for field in ["modules", "protocols", "config", "verdict", "warnings", "native", "applications"] {
        assert_eq!(lying[field], stored[field], "{field}");
    }

    // In the layout of Mix the consolidated protocol is replaced by relgraph's scripts.
    for project in [&old, &new] {
        project.edit("release.yaml", "upgrades: hot", "");
        project.build();
    }
    let plain = diff(&new, "0.1.0", "0.2.0");
    code(&plain);
    assert_eq!(plain["verdict"]["class"], "hot");

    // Those that Mix made have none.
    for (project, version) in [(&old, "0.1.0"), (&new, "0.2.0")] {
        let manifest = project.release("sequence").join(format!("releases/{version}/relgraph.json"));
        std::fs::remove_file(manifest).expect("removed");
    }
    let plain = diff(&new, &place(&old), &place(&new));
    assert_eq!(plain["verdict"]["class"], "restart_vm");
    assert_eq!(plain["verdict"]["reasons"][0]["item"], "Sequence.Label");
}
