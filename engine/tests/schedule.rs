//! Order, failures, panics, stopping, and many steps.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use common::*;
use relgraph_engine::Outcome::{Failed, Fresh, Ran, Skipped};
use relgraph_engine::*;

fn failing(name: &str, needs: &[&str]) -> Step {
    step_of(name, needs, |cx| Ok(Declared::new(input_parts(cx))), |_| Err(StepError::input("no")))
}

#[test]
fn a_failure_stops_the_build_unless_told_to_go_on() {
    let steps = || {
        [
            failing("a", &[]),
            joining_step("b", &["a"]),
            joining_step("c", &["b"]),
            joining_step("x", &[]),
            joining_step("y", &["x"]),
        ]
    };
    let world = World::new();
    let mut engine = world.engine();
    engine.keep_going = true;
    let report = engine.run(&graph(steps()), None, &Silent).unwrap();
    assert_eq!(outcomes(&report), [("a", Failed), ("b", Skipped), ("c", Skipped), ("x", Ran), ("y", Ran)]);
    assert!(!report.is_success());

    let world = World::new();
    let mut engine = world.engine();
    engine.jobs = 1;
    let report = engine.run(&graph(steps()), None, &Silent).unwrap();
    assert_eq!(report.count(Failed), 1);
    assert_eq!(report.steps["b"].outcome, Skipped);
}

#[test]
fn only_the_targets_and_what_they_need() {
    let world = World::new();
    let graph = graph([joining_step("a", &[]), joining_step("b", &["a"]), failing("c", &["a"])]);
    let report = world.engine().run(&graph, Some(&["b".into()]), &Silent).unwrap();
    assert_eq!(outcomes(&report), [("a", Ran), ("b", Ran)]);
    let error = world.engine().run(&graph, Some(&["bb".into()]), &Silent).unwrap_err();
    assert!(error.to_string().contains("did you mean `b`?"), "{error}");
}

#[test]
fn a_panic_is_a_failed_step() {
    let world = World::new();
    let panics = step_of("p", &[], |_| Ok(Declared::new(KeyParts::new())), |_| panic!("the sky fell: {}", 7));
    let declares = step_of("d", &[], |_| panic!("early"), |_| unreachable!());
    let mut engine = world.engine();
    engine.keep_going = true;
    let steps = graph([panics, declares, joining_step("q", &["p"]), joining_step("r", &[])]);
    let report = engine.run(&steps, None, &Silent).unwrap();
    assert_eq!(outcomes(&report), [("d", Failed), ("p", Failed), ("q", Skipped), ("r", Ran)]);
    let error = report.steps["p"].error.as_ref().unwrap();
    assert_eq!(error.kind, StepErrorKind::Panic);
    assert!(error.message.contains("the sky fell: 7"));
    let plan = engine.plan(&steps, None).unwrap();
    let planned = &plan.iter().find(|s| s.name == "d").unwrap().planned;
    assert!(matches!(planned, Planned::Fails(message) if message.contains("early")), "{planned:?}");
}

#[test]
fn the_longest_path_goes_first() {
    let mut world = World::new();
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let noting = |name: &str, needs: &[&str], salt: u64| {
        let order = order.clone();
        step_of(
            name,
            needs,
            move |cx| {
                let mut parts = input_parts(cx);
                parts.number("salt", salt);
                Ok(Declared::new(parts))
            },
            move |cx| {
                order.lock().unwrap().push(cx.step.to_owned());
                made(cx, &format!("{}{salt}", cx.step))
            },
        )
    };
    let steps = |salt| {
        graph([
            noting("a", &[], salt),
            noting("b", &[], salt),
            noting("b2", &["b"], salt),
            noting("c", &[], salt),
        ])
    };
    world.build(&steps(1));
    world.checkout.steps.get_mut("c").unwrap().duration_ms = 5000;
    world.checkout.steps.get_mut("b2").unwrap().duration_ms = 900;
    world.checkout.steps.get_mut("a").unwrap().duration_ms = 500;
    order.lock().unwrap().clear();
    let mut engine = world.engine();
    engine.jobs = 1;
    engine.run(&steps(2), None, &Silent).unwrap();
    assert_eq!(*order.lock().unwrap(), ["c", "b", "b2", "a"]);
}

#[test]
fn no_more_than_jobs_at_once_and_all_of_them() {
    let world = World::new();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let steps = (0..12).map(|n| {
        let (now, most) = (now.clone(), most.clone());
        step_of(
            &format!("s{n}"),
            &[],
            |_| Ok(Declared::new(KeyParts::new())),
            move |cx| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // The first ones stay until as many are there as may be; a deadline, for a scheduler that starts fewer.
                let deadline = std::time::Instant::now() + 60 * SECOND;
                while most.load(Ordering::SeqCst) < 4 && std::time::Instant::now() < deadline {
                    std::thread::sleep(SECOND / 1000);
                }
                now.fetch_sub(1, Ordering::SeqCst);
                made(cx, cx.step)
            },
        )
    });
    let mut engine = world.engine();
    engine.jobs = 4;
    engine.force.extend((0..12).map(|n| format!("s{n}")));
    assert!(engine.run(&graph(steps), None, &Silent).unwrap().is_success());
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[test]
fn a_stopped_build_starts_nothing_more() {
    let world = World::new();
    let mut engine = world.engine();
    engine.jobs = 1;
    let cancel = engine.cancel.clone();
    let stops = step_of(
        "a",
        &[],
        |_| Ok(Declared::new(KeyParts::new())),
        move |_| {
            cancel.cancel();
            Err(StepError::cancelled())
        },
    );
    let report = engine
        .run(&graph([stops, joining_step("b", &[]), joining_step("c", &["a"])]), None, &Silent)
        .unwrap();
    assert!(report.cancelled && !report.is_success());
    assert_eq!(report.count(Failed), 0);
    assert_eq!(report.steps["c"].outcome, Skipped);
    assert_eq!(report.steps["a"].outcome, Skipped);
}

#[test]
fn parallel_work_inside_a_step_is_not_mixed_with_other_steps() {
    // With one job and rayon work inside each step, a worker that stole a step while it waits would run two at once.
    use rayon::prelude::*;
    let world = World::new();
    let inside = Arc::new(AtomicUsize::new(0));
    let steps = (0..20).map(|n| {
        let inside = inside.clone();
        step_of(
            &format!("s{n:02}"),
            &[],
            |_| Ok(Declared { cacheable: false, ..Declared::new(KeyParts::new()) }),
            move |cx| {
                assert_eq!(rayon::current_thread_index(), None, "not on a worker of the steps' pool");
                let others = inside.fetch_add(1, Ordering::SeqCst);
                assert!(others < 2, "{others} others");
                let sum: u64 = (0..200_000_u64).into_par_iter().map(|x| x ^ 7).sum();
                inside.fetch_sub(1, Ordering::SeqCst);
                made(cx, &sum.to_string())
            },
        )
    });
    let mut engine = world.engine();
    engine.jobs = 2;
    let report = engine.run(&graph(steps), None, &Silent).unwrap();
    assert!(report.is_success(), "{:?}", report.failed().next());
}

/// Layers of 100 steps, each step needs three of the layer before.
fn layered(count: usize) -> Graph {
    let steps = (0..count).map(|n| {
        let needs: Vec<String> = if n < 100 {
            Vec::new()
        } else {
            let base = (n / 100 - 1) * 100;
            [n % 100, (n + 1) % 100, (n + 50) % 100].iter().map(|m| format!("s{}", base + m)).collect()
        };
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        step_of(
            &format!("s{n}"),
            &needs,
            |cx| Ok(Declared::new(input_parts(cx))),
            |cx| {
                let values = [("name".to_owned(), cx.step.to_owned())].into();
                Ok(relgraph_engine::Ran { values, ..Default::default() })
            },
        )
    });
    graph(steps)
}

#[test]
fn ten_thousand_steps_are_scheduled_quickly() {
    let mut world = World::new();
    let began = Instant::now();
    let graph = layered(10_000);
    let built = began.elapsed();
    let first = world.build(&graph);
    assert_eq!(first.count(Ran), 10_000);
    let ran = began.elapsed() - built;
    let second = world.build(&graph);
    assert_eq!(second.count(Fresh), 10_000);
    let fresh = began.elapsed() - built - ran;
    println!("graph {built:?}, all run {ran:?}, all fresh {fresh:?}");
    assert!(built + fresh < SECOND * 20, "graph {built:?}, fresh {fresh:?}");
}
