//! Reasons: what moved is named down to the path, and `plan` says it without running anything.

mod common;

use std::time::{Duration, UNIX_EPOCH};

use common::*;
use relgraph_cache::{Answer, Digest, Store, TreeBuilder};
use relgraph_engine::explain::{diff_trees, reason, reasons};
use relgraph_engine::runlog::{Run, by_prefix, newest, short_ids};
use relgraph_engine::*;

fn tree(store: &Store, files: &[(&str, &str)]) -> Digest {
    let mut tree = TreeBuilder::new();
    for (path, text) in files {
        tree.file(path, store.put_bytes(text.as_bytes()).unwrap(), false).unwrap();
    }
    tree.finish(store).unwrap()
}

fn record(parts: &KeyParts) -> StepRecord {
    StepRecord {
        parts: parts.clone(),
        result_key: String::new(),
        probes: Vec::new(),
        outputs: Default::default(),
        duration_ms: 1,
        outcome: Outcome::Ran,
    }
}

fn why(store: &Store, old: &KeyParts, new: &KeyParts) -> Vec<Reason> {
    reasons(Some(&record(old)), new, &|_| None, store)
}

#[test]
fn a_tree_is_opened_to_name_the_path() {
    let world = World::new();
    let old =
        tree(&world.store, &[("lib/a.ex", "1"), ("lib/b.ex", "1"), ("mix.exs", "1"), ("priv/x/y", "1")]);
    let new =
        tree(&world.store, &[("lib/a.ex", "2"), ("lib/c.ex", "1"), ("mix.exs", "1"), ("priv/x/y", "1")]);
    let (mut a, mut b) = (KeyParts::new(), KeyParts::new());
    a.digest("source", &old).digest("source apps/x", &old).text("command", "x");
    b.digest("source", &new).digest("source apps/x", &new).text("command", "x");
    let found = why(&world.store, &a, &b);
    let expected = [
        Reason::InputChanged("lib/a.ex".into()),
        Reason::InputRemoved("lib/b.ex".into()),
        Reason::InputAdded("lib/c.ex".into()),
        Reason::InputChanged("apps/x/lib/a.ex".into()),
    ];
    assert_eq!(found[..4], expected);
    let first = reason(Some(&record(&a)), &b, &|_| None, &world.store);
    assert_eq!(first, Some(Reason::InputChanged("lib/a.ex".into())));
    assert_eq!(diff_trees(&world.store, &old, &new, 1).len(), 1);
}

#[test]
fn a_tree_that_is_gone_is_named_as_a_whole() {
    let world = World::new();
    let new = tree(&world.store, &[("a", "1")]);
    let (mut a, mut b) = (KeyParts::new(), KeyParts::new());
    a.digest("source apps/x", &Digest::of(b"gone"));
    b.digest("source apps/x", &new);
    assert_eq!(why(&world.store, &a, &b), [Reason::InputChanged("apps/x".into())]);
}

#[test]
fn parts_are_told_by_their_names_most_telling_first() {
    let world = World::new();
    let (mut a, mut b) = (KeyParts::new(), KeyParts::new());
    a.text("rule", "x 1").text("command", "x").text("env MIX_ENV", "dev").text("input compile b", "1");
    b.text("rule", "x 2").text("command", "y").text("input compile b", "2").text("toolchain", "27");
    let expected = [
        Reason::RuleChanged,
        Reason::ToolchainChanged,
        Reason::CommandChanged,
        Reason::EnvChanged("MIX_ENV".into()),
        Reason::DependencyChanged("compile b".into()),
    ];
    assert_eq!(why(&world.store, &a, &b), expected);
    assert_eq!(reason(None, &b, &|_| None, &world.store), Some(Reason::NeverBuilt));
    assert_eq!(reason(Some(&record(&b)), &b, &|_| None, &world.store), None);
}

#[test]
fn discovered_trees_are_opened_too() {
    let world = World::new();
    let old = tree(&world.store, &[("src/a.hrl", "1")]);
    let new = tree(&world.store, &[("src/a.hrl", "2")]);
    let parts = KeyParts::new();
    let probe = relgraph_cache::Probe::Tree("include".into());
    let previous = StepRecord { probes: vec![(probe, Answer::Tree(old))], ..record(&parts) };
    let found = reason(Some(&previous), &parts, &|_| Some(Answer::Tree(new)), &world.store);
    assert_eq!(found, Some(Reason::DiscoveredChanged("include/src/a.hrl".into())));
}

#[test]
fn a_plan_says_what_would_run_and_runs_nothing() {
    let mut world = World::new();
    world.write("a", "1");
    world.write("b", "1");
    let steps = graph([
        source_step(&world.files, "a", "a", str::to_owned),
        source_step(&world.files, "b", "b", str::to_owned),
        joining_step("both", &["a", "b"]),
        joining_step("only a", &["a"]),
    ]);
    let plan = |world: &World| {
        let plan = world.engine().plan(&steps, None).unwrap();
        let mut plan: Vec<_> = plan.into_iter().map(|s| (s.name, s.planned)).collect();
        plan.sort_by(|x, y| x.0.cmp(&y.0));
        plan.into_iter().map(|(_, planned)| planned).collect::<Vec<_>>()
    };
    let run = Planned::Run;
    let first = plan(&world);
    assert_eq!(first, [run(Reason::NeverBuilt), run(Reason::NeverBuilt), Planned::MayRun, Planned::MayRun]);
    world.build(&steps);
    assert!(plan(&world).iter().all(|p| *p == Planned::Fresh));
    world.write("b", "2");
    let changed = Reason::InputChanged("b".into());
    assert_eq!(plan(&world), [Planned::Fresh, run(changed), Planned::MayRun, Planned::Fresh]);
    assert_eq!(plan(&world)[1], run(Reason::InputChanged("b".into())), "a plan changes nothing");
    world.build(&steps);
    world.write("b", "1");
    assert!(matches!(plan(&world)[1], Planned::Hit(Some(Reason::InputChanged(_)))));
}

#[test]
fn runs_are_found_again_by_the_start_of_their_ids() {
    let mut world = World::new();
    world.write("a", "1");
    let steps = graph([source_step(&world.files, "a", "a", str::to_owned)]);
    let mut ids = Vec::new();
    for n in 0..3 {
        let report = world.build(&steps);
        let run = Run::of("demo", UNIX_EPOCH + Duration::from_secs(n), &report);
        run.record(world.store.index()).unwrap();
        ids.push(run.id.clone());
    }
    let runs = newest(world.store.index(), 2);
    assert_eq!(runs.iter().map(|r| &r.id).collect::<Vec<_>>(), [&ids[2], &ids[1]]);
    assert_eq!(runs[0].steps["a"].outcome, "fresh");
    let short = short_ids(&ids);
    let first = by_prefix(world.store.index(), &short[&ids[0]]);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].id, ids[0]);
    assert_eq!(first[0].steps["a"].reason.as_deref(), Some("never_built"));
    assert_eq!(first[0].counts["ran"], 1);
    assert!(first[0].success);
    let some = ["abcd1".to_owned(), "abcd2".to_owned(), "b0000".to_owned()];
    let short = short_ids(&some);
    assert_eq!(short.values().collect::<Vec<_>>(), ["abcd1", "abcd2", "b000"]);
}
