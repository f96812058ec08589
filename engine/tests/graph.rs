//! Building graphs: order, cycles with their path, names that do not exist.

mod common;

use common::*;
use relgraph_engine::*;

fn build(edges: &[(&str, &[&str])]) -> Result<Graph, GraphError> {
    let mut builder = GraphBuilder::new();
    for (name, needs) in edges {
        builder.add(joining_step(name, needs));
    }
    builder.build()
}

#[test]
fn steps_come_after_what_they_need() {
    let graph = build(&[("c", &["b", "a"]), ("b", &["a", "a"]), ("a", &[])]).unwrap();
    let order: Vec<&str> = graph.order().map(|s| s.name.as_str()).collect();
    assert_eq!(order, ["a", "b", "c"]);
    let names = |steps: Vec<&Step>| steps.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(graph.needs("c").collect()), ["a", "b"]);
    assert_eq!(names(graph.dependants("a").collect()), ["b", "c"]);
    assert_eq!(names(graph.below(Some(&["b".into()])).unwrap()), ["a", "b"]);
    assert!(graph.step("d").is_none());
}

#[test]
fn a_cycle_is_shown_as_a_closed_path() {
    let steps: [(&str, &[&str]); 5] =
        [("start", &["b"]), ("c", &["a"]), ("b", &["c"]), ("a", &["b"]), ("end", &[])];
    let Err(GraphError::Cycle { path }) = build(&steps) else { panic!("no cycle") };
    assert_eq!(path, ["a", "b", "c", "a"]);
    let Err(GraphError::Cycle { path }) = build(&[("a", &["a"])]) else { panic!("no cycle") };
    assert_eq!(path, ["a", "a"]);
}

#[test]
fn a_long_cycle_does_not_exhaust_the_stack() {
    let mut builder = GraphBuilder::new();
    for n in 0..50_000 {
        builder.add(joining_step(&format!("s{n}"), &[&format!("s{}", (n + 1) % 50_000)]));
    }
    let Err(GraphError::Cycle { path }) = builder.build() else { panic!("no cycle") };
    assert_eq!(path.len(), 50_001);
}

#[test]
fn unknown_names_are_said_with_the_nearest() {
    let error = build(&[("compile phoenix", &[]), ("app", &["compile pheonix"])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "step `app` needs `compile pheonix`, which does not exist; did you mean `compile phoenix`?"
    );
    let error = build(&[("app", &["something else"])]).unwrap_err();
    assert_eq!(error.to_string(), "step `app` needs `something else`, which does not exist");
    let error = build(&[("app", &[]), ("app", &[])]).unwrap_err();
    assert_eq!(error, GraphError::Duplicate { name: "app".into() });
}
