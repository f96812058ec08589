//! The files in examples/ci/ can be read, and set nothing that relgraph does not know.

use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(name: &str) -> Value {
    let text = fs::read_to_string(repository("examples/ci").join(name)).expect("a file");
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names of relgraph's variables below a value.
fn variables(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                found.extend(key.as_str().filter(|key| key.starts_with("RELGRAPH_")).map(str::to_owned));
                variables(value, found);
            }
        }
        Value::Sequence(list) => list.iter().for_each(|value| variables(value, found)),
        _ => {}
    }
}

#[test]
fn they_set_what_the_page_about_remotes_lists() {
    let page = fs::read_to_string(repository("docs/remotes.md")).expect("the page");
    for (name, least) in [("github-actions.yml", 4), ("gitlab-ci.yml", 2)] {
        let mut found = Vec::new();
        variables(&read(name), &mut found);
        assert!(found.len() >= least, "{name}: {found:?}");
        for variable in found {
            assert!(page.contains(&format!("`{variable}`")), "{name}: {variable}");
        }
    }
}

#[test]
fn they_build() {
    let github = read("github-actions.yml");
    let steps = github["jobs"]["release"]["steps"].as_sequence().expect("steps");
    let runs: Vec<&str> = steps.iter().filter_map(|step| step["run"].as_str()).collect();
    let gitlab = read("gitlab-ci.yml");
    let script = gitlab["release"]["script"].as_sequence().expect("a script");
    let script: Vec<&str> = script.iter().filter_map(Value::as_str).collect();
    for lines in [runs, script] {
        assert!(lines.contains(&"relgraph build --format json > build.json"), "{lines:?}");
    }
}
