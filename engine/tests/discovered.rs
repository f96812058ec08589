//! Inputs that a step was seen to read: several alternatives, absence, listings, the environment.

mod common;

use common::*;
use relgraph_cache::Probe;
use relgraph_engine::Outcome::{Failed, Fresh, HitLocal, Ran};
use relgraph_engine::*;

/// Reads `main`, and `extra` only when `main` says so; notes what it read.
fn reading_step(world: &World) -> Step {
    let (a, b) = (world.files.clone(), world.files.clone());
    step_of(
        "read",
        &[],
        move |_| Ok(Declared::discovering(KeyParts::new(), std::sync::Arc::new(Disk(a.clone())))),
        move |cx| {
            let files = b.lock().unwrap();
            let mut probes = vec![Probe::Content("main".into())];
            let mut text = files.get("main").cloned().unwrap_or_else(|| "nothing".into());
            if text == "extra" {
                probes.push(Probe::Content("extra".into()));
                probes.push(Probe::Env("LEVEL".into()));
                text = format!(
                    "{}/{}",
                    files.get("extra").map_or("-", |s| s),
                    cx.env.get("LEVEL").map_or("-", |s| s)
                );
            }
            Ok(relgraph_engine::Ran { probes, ..made(cx, &text)? })
        },
    )
}

fn text(world: &World, report: &RunReport) -> String {
    text_of(&world.store, report.result("read").unwrap())
}

#[test]
fn only_what_was_read_matters() {
    let mut world = World::new();
    world.write("main", "plain");
    let graph = graph([reading_step(&world)]);
    world.build(&graph);
    world.write("extra", "not read");
    assert_eq!(outcomes(&world.build(&graph)), [("read", Fresh)]);
    world.write("main", "other");
    let report = world.build(&graph);
    assert_eq!(outcomes(&report), [("read", Ran)]);
    assert_eq!(reason(&report, "read"), Some(Reason::DiscoveredChanged("main".into())));
}

#[test]
fn every_alternative_is_remembered() {
    let mut world = World::new();
    let graph = graph([reading_step(&world)]);
    let states = [
        ("plain", None, None),
        ("extra", Some("x"), None),
        ("extra", None, None),
        ("extra", None, Some("9")),
    ];
    let set = |world: &mut World, (main, extra, level): (&str, Option<&str>, Option<&str>)| {
        world.write("main", main);
        match extra {
            Some(extra) => world.write("extra", extra),
            None => world.remove("extra"),
        }
        world.env.clear();
        world.env.extend(level.map(|l| ("LEVEL".to_owned(), l.to_owned())));
    };
    let mut texts = Vec::new();
    for state in states {
        set(&mut world, state);
        let report = world.build(&graph);
        assert_eq!(outcomes(&report), [("read", Ran)], "{state:?}");
        texts.push(text(&world, &report));
    }
    assert_eq!(texts, ["plain", "x/-", "-/-", "-/9"]);
    for (state, expected) in states.into_iter().zip(&texts) {
        set(&mut world, state);
        let report = world.build(&graph);
        assert_eq!(outcomes(&report), [("read", HitLocal)], "{state:?}");
        assert_eq!(text(&world, &report), *expected);
    }
    // The last state again, with another level.
    world.env.insert("LEVEL".into(), "10".into());
    assert_eq!(reason(&world.build(&graph), "read"), Some(Reason::EnvChanged("LEVEL".into())));
}

#[test]
fn a_file_that_appears_where_one_was_looked_for_is_noticed() {
    let mut world = World::new();
    world.remove("main");
    let graph = graph([reading_step(&world)]);
    let report = world.build(&graph);
    assert_eq!(text(&world, &report), "nothing");
    assert_eq!(outcomes(&world.build(&graph)), [("read", Fresh)]);
    world.write("main", "there");
    let report = world.build(&graph);
    assert_eq!(text(&world, &report), "there");
}

#[test]
fn a_secret_in_the_environment_is_not_written_down() {
    let mut world = World::new();
    world.write("main", "extra");
    world.env.insert("LEVEL".into(), "s3cr3t-value".into());
    // The output of this step holds the value on purpose; its records must not.
    let report = world.build(&graph([reading_step(&world)]));
    let result = report.result("read").unwrap();
    let bytes = [result.encode(), world.checkout.encode()].concat();
    assert!(!bytes.windows(12).any(|w| w == b"s3cr3t-value"));
}

#[test]
fn what_cannot_be_asked_again_fails_and_stores_nothing() {
    let mut world = World::new();
    let files = world.files.clone();
    let step = step_of(
        "odd",
        &[],
        move |_| Ok(Declared::discovering(KeyParts::new(), std::sync::Arc::new(Disk(files.clone())))),
        |cx| Ok(relgraph_engine::Ran { probes: vec![Probe::Kind("x".into())], ..made(cx, "x")? }),
    );
    let report = world.build(&graph([step]));
    assert_eq!(outcomes(&report), [("odd", Failed)]);
    assert!(world.store.list_records(relgraph_cache::RecordKind::Result).unwrap().is_empty());
}
