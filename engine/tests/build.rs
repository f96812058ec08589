//! What a second build does: fresh, hit, dup, early cutoff, eviction, reasons.

mod common;

use common::*;
use relgraph_cache::RecordKind;
use relgraph_engine::Outcome::{Dup, Failed, Fresh, HitLocal, Ran};
use relgraph_engine::*;

/// `compile` drops comments, `assemble` puts together what `compile` made.
fn small(world: &World) -> Graph {
    let compile = source_step(&world.files, "compile", "a.ex", |text| text.split('#').next().unwrap().into());
    graph([joining_step("assemble", &["compile"]), compile])
}

#[test]
fn nothing_changed_is_fresh() {
    let mut world = World::new();
    world.write("a.ex", "one");
    let graph = small(&world);
    let first = world.build(&graph);
    assert_eq!(outcomes(&first), [("assemble", Ran), ("compile", Ran)]);
    assert_eq!(reason(&first, "compile"), Some(Reason::NeverBuilt));
    assert_eq!(text_of(&world.store, first.result("assemble").unwrap()), "assemble(one)");

    let second = world.build(&graph);
    assert_eq!(outcomes(&second), [("assemble", Fresh), ("compile", Fresh)]);
    assert_eq!(reason(&second, "compile"), None);
}

#[test]
fn another_checkout_hits() {
    let mut world = World::new();
    world.write("a.ex", "one");
    let graph = small(&world);
    world.build(&graph);
    world.checkout = Checkout::default();
    let elsewhere = world.build(&graph);
    assert_eq!(outcomes(&elsewhere), [("assemble", HitLocal), ("compile", HitLocal)]);
    assert_eq!(reason(&elsewhere, "compile"), Some(Reason::NeverBuilt));
}

#[test]
fn the_wave_stops_where_the_bytes_are_the_same() {
    let mut world = World::new();
    world.write("a.ex", "one # first");
    let graph = small(&world);
    world.build(&graph);
    world.write("a.ex", "one # second");
    let report = world.build(&graph);
    assert_eq!(outcomes(&report), [("assemble", Fresh), ("compile", Dup)]);
    assert_eq!(reason(&report, "compile"), Some(Reason::InputChanged("a.ex".into())));
}

#[test]
fn a_change_reaches_what_depends_on_it_and_going_back_hits() {
    let mut world = World::new();
    world.write("a.ex", "one");
    let graph = small(&world);
    world.build(&graph);
    world.write("a.ex", "two");
    let report = world.build(&graph);
    assert_eq!(outcomes(&report), [("assemble", Ran), ("compile", Ran)]);
    assert_eq!(reason(&report, "assemble"), Some(Reason::DependencyChanged("compile".into())));
    world.write("a.ex", "one");
    let back = world.build(&graph);
    assert_eq!(outcomes(&back), [("assemble", HitLocal), ("compile", HitLocal)]);
    assert_eq!(reason(&back, "compile"), Some(Reason::InputChanged("a.ex".into())));
}

#[test]
fn an_evicted_blob_turns_a_hit_into_a_miss() {
    let mut world = World::new();
    world.write("a.ex", "one");
    let graph = small(&world);
    let first = world.build(&graph);
    let tree = first.result("compile").unwrap().output("out").unwrap();
    let Some(relgraph_cache::Node::File { digest, .. }) = world.store.lookup(&tree, "out.txt").unwrap()
    else {
        panic!()
    };
    std::fs::remove_file(world.store.blob_path(&digest, false)).unwrap();
    world.reopen();
    let report = world.build(&graph);
    assert_eq!(reason(&report, "compile"), Some(Reason::CacheEvicted));
    assert!(matches!(report.steps["compile"].outcome, Ran | Dup));
    assert_eq!(report.steps["assemble"].outcome, Fresh);
    assert!(world.store.contains(&digest), "it was made again");
}

#[test]
fn an_evicted_result_record_is_a_miss() {
    let mut world = World::new();
    world.write("a.ex", "one");
    let graph = small(&world);
    let first = world.build(&graph);
    world.store.remove_record(RecordKind::Result, &first.result("compile").unwrap().result_key).unwrap();
    let report = world.build(&graph);
    assert_eq!(reason(&report, "compile"), Some(Reason::CacheEvicted));
    assert_eq!(report.steps["compile"].outcome, Dup);
}

#[test]
fn a_garbled_record_is_a_miss() {
    let mut world = World::new();
    world.write("a.ex", "one");
    let graph = small(&world);
    let first = world.build(&graph);
    let result = first.result("compile").unwrap();
    // The record of another step, under this one's name: its checksum is right, its content is not.
    let other = first.result("assemble").unwrap().encode();
    world.store.put_record(RecordKind::Result, &result.result_key, &other).unwrap();
    world.store.put_record(RecordKind::Manifest, &first.result("assemble").unwrap().key.hex(), b"?").unwrap();
    world.reopen();
    let report = world.build(&graph);
    assert_eq!(outcomes(&report), [("assemble", Dup), ("compile", Dup)]);
}

#[test]
fn unstable_and_uncacheable_results_are_used_and_not_stored() {
    for (stable, cacheable) in [(false, true), (true, false)] {
        let mut world = World::new();
        let first = step_of(
            "first",
            &[],
            move |_| Ok(Declared { cacheable, ..Declared::new(KeyParts::new()) }),
            move |cx| Ok(relgraph_engine::Ran { stable, ..made(cx, "x")? }),
        );
        let graph = graph([first, joining_step("second", &["first"])]);
        assert_eq!(outcomes(&world.build(&graph)), [("first", Ran), ("second", Ran)]);
        let again = world.build(&graph);
        assert_eq!(outcomes(&again), [("first", Dup), ("second", Fresh)], "{stable} {cacheable}");
        let expected = if cacheable { None } else { Some(Reason::Forced) };
        if expected.is_some() {
            assert_eq!(reason(&again, "first"), expected);
        }
        assert!(world.store.list_records(RecordKind::Result).unwrap().len() == 1);
    }
}

#[test]
fn a_forced_step_runs() {
    let mut world = World::new();
    world.write("a.ex", "one");
    let graph = small(&world);
    world.build(&graph);
    let mut engine = world.engine();
    engine.force.insert("compile".into());
    let report = engine.run(&graph, None, &Silent).unwrap();
    assert_eq!(outcomes(&report), [("assemble", Fresh), ("compile", Dup)]);
    assert_eq!(reason(&report, "compile"), Some(Reason::Forced));
}

#[test]
fn an_output_that_is_not_in_the_store_is_a_failure() {
    let mut world = World::new();
    let nowhere = relgraph_cache::Digest::of(b"nowhere");
    let step = step_of(
        "broken",
        &[],
        |_| Ok(Declared::new(KeyParts::new())),
        move |_| Ok(relgraph_engine::Ran { outputs: [("out".into(), nowhere)].into(), ..Default::default() }),
    );
    let report = world.build(&graph([step]));
    assert_eq!(outcomes(&report), [("broken", Failed)]);
    assert_eq!(report.steps["broken"].error.as_ref().unwrap().kind, StepErrorKind::Internal);
    assert!(world.store.list_records(RecordKind::Result).unwrap().is_empty());
}

#[test]
fn a_new_version_of_a_rule_is_another_key() {
    let mut world = World::new();
    let step = |version| Step {
        rule: Rule { name: "fake", version },
        ..step_of("a", &[], |_| Ok(Declared::new(KeyParts::new())), |cx| made(cx, "x"))
    };
    world.build(&graph([step(1)]));
    let report = world.build(&graph([step(2)]));
    assert_eq!(reason(&report, "a"), Some(Reason::RuleChanged));
    assert_eq!(report.steps["a"].outcome, Dup);
}

#[test]
fn a_second_graph_of_one_build_takes_what_the_first_made() {
    let world = World::new();
    world.write("a.ex", "one");
    let compile = || source_step(&world.files, "compile", "a.ex", str::to_owned);
    let engine = world.engine();
    engine.run(&graph([compile()]), None, &Silent).unwrap();
    world.write("a.ex", "moved meanwhile");
    let report =
        engine.run(&graph([compile(), joining_step("assemble", &["compile"])]), None, &Silent).unwrap();
    assert_eq!(text_of(&world.store, report.result("assemble").unwrap()), "assemble(one)");
    assert_eq!(engine.report().count(Ran), 2);
    assert_eq!(engine.checkout(None).steps.len(), 2);
}

#[test]
fn large_output_goes_to_a_blob_and_is_read_back() {
    let mut world = World::new();
    let step = step_of(
        "loud",
        &[],
        |_| Ok(Declared::new(KeyParts::new())),
        |cx| {
            Ok(relgraph_engine::Ran {
                stdout: vec![b'x'; 100_000],
                stderr: b"warning".to_vec(),
                ..made(cx, "")?
            })
        },
    );
    let graph = graph([step]);
    world.build(&graph);
    let report = world.build(&graph);
    let result = report.result("loud").unwrap();
    assert!(matches!(result.stdout, Output::Blob(_)));
    assert_eq!(result.stdout.read(&world.store).unwrap().len(), 100_000);
    assert_eq!(result.stderr, Output::Inline(b"warning".to_vec()));
    std::fs::remove_file(world.store.blob_path(result.blobs().next().unwrap(), false)).unwrap();
    world.reopen();
    assert_eq!(reason(&world.build(&graph), "loud"), Some(Reason::CacheEvicted));
}
