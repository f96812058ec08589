//! One caller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::{Direction, Traffic, lock};
use super::{Answer, Notice, Scene, Twice, digests, fails, fine, ms, secs, slowly};
use crate::Digest;
use crate::remote::RemoteErrorKind::{
    Broken, Config, Denied, Failed, Full, Local, Refused, Timeout, Unreachable,
};
use crate::remote::{Body, Remote};

#[test]
fn what_may_pass_is_tried_again() {
    for kind in [Unreachable, Timeout, Failed, Broken] {
        let scene = Scene::new([fails(kind), fails(kind), fine()]);
        assert_eq!(scene.get(), Ok(()));
        assert_eq!(scene.asked(), ["get"; 3]);
        assert_eq!(scene.clock.slept(), [ms(100), ms(200)]);
        assert_eq!(scene.told(), [""; 0]);
        let traffic = scene.guarded.counters();
        let expected =
            Traffic { calls: 1, retries: 2, failures: 2, bytes_in: 5, waited: ms(300), ..Traffic::default() };
        assert_eq!(traffic, expected);
    }
}

#[test]
fn what_would_fail_again_is_not_tried_again() {
    for kind in [Denied, Full, Refused, Config, Local] {
        let scene = Scene::new([fails(kind)]);
        assert_eq!(scene.put(), Err(kind));
        assert_eq!((scene.asked().len(), scene.clock.slept().len()), (1, 0));
        assert_eq!(scene.told().len(), usize::from(Notice::covers(kind)));
        assert_eq!(scene.get(), Ok(()));
    }
}

#[test]
fn a_remote_that_nobody_can_reach_costs_one_round() {
    let scene = Scene::new(vec![fails(Unreachable); 100]);
    for _ in 0..50 {
        assert_eq!(scene.get(), Err(Unreachable));
        assert_eq!(scene.put(), Err(Unreachable));
    }
    assert_eq!(scene.asked(), ["get"; 3]);
    assert_eq!(scene.clock.slept(), [ms(100), ms(200)]);
    assert_eq!(scene.told(), ["http://cache.test is not used for 30 s: Unreachable"]);
    let traffic = scene.guarded.counters();
    assert_eq!((traffic.calls, traffic.skipped, traffic.failures), (1, 99, 3));
}

#[test]
fn a_remote_that_hangs_costs_one_deadline() {
    for (kind, deadline) in [(Unreachable, secs(1)), (Timeout, secs(5))] {
        let scene = Scene::new(vec![slowly(kind, deadline); 100]);
        for _ in 0..50 {
            assert_eq!(scene.get(), Err(kind));
        }
        assert_eq!(scene.asked(), ["get"]);
        assert_eq!(scene.guarded.counters().waited, deadline);
        assert_eq!(scene.told().len(), 1);
    }
}

#[test]
fn no_retry_begins_late() {
    // Too slow to be asked again, and alive enough to be asked for something else.
    let scene = Scene::new([slowly(Failed, ms(850)), slowly(Failed, ms(750)), slowly(Failed, ms(750))]);
    assert_eq!(scene.get(), Err(Failed));
    assert_eq!(scene.asked(), ["get"]);
    assert_eq!(scene.told(), ["http://cache.test: Failed"]);
    assert_eq!(scene.get(), Err(Failed));
    assert_eq!(scene.asked(), ["get"; 2]);
    assert_eq!(scene.told().len(), 1);
    // Nobody waits for what is written.
    let scene = Scene::new([slowly(Timeout, secs(10)), slowly(Timeout, secs(10)), fine()]);
    assert_eq!(scene.put(), Ok(()));
    assert_eq!(scene.asked(), ["put"; 3]);
    let scene = Scene::new([slowly(Timeout, secs(61)), fine()]);
    assert_eq!(scene.put(), Err(Timeout));
}

#[test]
fn it_is_asked_again_after_a_while_by_one_attempt() {
    let scene = Scene::new(vec![fails(Failed); 3]);
    assert_eq!(scene.get(), Err(Failed));
    scene.asked();
    scene.will([fails(Unreachable), fine()]);
    scene.clock.pass(secs(30));
    assert_eq!((scene.get(), scene.get()), (Err(Unreachable), Err(Unreachable)));
    assert_eq!(scene.asked(), ["get"]);
    scene.clock.pass(secs(59));
    assert_eq!(scene.get(), Err(Unreachable));
    scene.clock.pass(secs(1));
    assert_eq!((scene.get(), scene.get()), (Ok(()), Ok(())));
    assert_eq!(scene.asked(), ["get"; 2]);
    assert_eq!(scene.told().len(), 1);
}

#[test]
fn a_probe_that_panics_or_fails_on_this_machine_leaves_the_way_open() {
    let scene = Scene::new(vec![fails(Failed); 3]);
    assert_eq!(scene.get(), Err(Failed));
    scene.clock.pass(secs(30));
    scene.will([fails(Local), Answer { panics: true, ..fine() }, fine()]);
    assert_eq!(scene.get(), Err(Local));
    assert!(catch_unwind(AssertUnwindSafe(|| scene.get())).is_err());
    assert_eq!(scene.get(), Ok(()));
}

#[test]
fn denied_is_for_good_and_for_one_direction() {
    let scene = Scene::new([fails(Denied)]);
    assert_eq!((scene.put(), scene.put()), (Err(Denied), Err(Denied)));
    scene.clock.pass(secs(1 << 30));
    assert_eq!((scene.put(), scene.get()), (Err(Denied), Ok(())));
    assert_eq!(scene.asked(), ["put", "get"]);
    assert_eq!(scene.told(), ["http://cache.test does not let us write: Denied"]);
    scene.will([fails(Denied)]);
    assert_eq!((scene.get(), scene.get()), (Err(Denied), Err(Denied)));
    // Told once, as it is the same trouble.
    assert_eq!(scene.told().len(), 1);
    let scene = Scene::new([fails(Denied)]);
    assert_eq!((scene.get(), scene.put()), (Err(Denied), Ok(())));
    assert!(matches!(lock(&scene.notices)[..], [Notice::Denied { direction: Direction::Read, .. }]));
}

#[test]
fn full_is_for_good_for_what_is_written() {
    let scene = Scene::new([fails(Full)]);
    let stored = scene.guarded.store(Vec::new()).map_err(|error| error.kind);
    assert_eq!((stored, scene.put(), scene.get()), (Err(Full), Err(Full), Ok(())));
    assert_eq!(scene.asked(), ["store 0", "get"]);
    assert_eq!(scene.told(), ["http://cache.test is full: Full"]);
}

/// Fetches, and says which blobs were handed over, in order.
fn fetch(scene: &Scene, blobs: &[Digest]) -> (Vec<Digest>, bool) {
    let arrived = Mutex::new(Vec::new());
    let scratch = std::env::temp_dir();
    let fetched = scene.guarded.fetch(blobs, &scratch, &|digest, _| lock(&arrived).push(*digest));
    (arrived.into_inner().unwrap(), fetched.is_ok())
}

#[test]
fn only_what_has_not_arrived_is_fetched_again() {
    let blobs = digests(10);
    let brings = |brings: usize| Answer { brings, ..slowly(Unreachable, ms(10)) };
    let scene = Scene::new([brings(3), brings(0), brings(4), brings(0), fine()]);
    assert_eq!(fetch(&scene, &blobs), (blobs.clone(), true));
    assert_eq!(scene.asked(), ["fetch 10", "fetch 7", "fetch 7", "fetch 3", "fetch 3"]);
    let traffic = scene.guarded.counters();
    assert_eq!((traffic.calls, traffic.retries, traffic.bytes_in), (1, 4, 10));
    // What went wrong after the last of them does not matter.
    let scene = Scene::new([brings(10)]);
    assert_eq!(fetch(&scene, &blobs), (blobs.clone(), true));
    assert_eq!(scene.asked(), ["fetch 10"]);
    // Without any in between, it comes to an end, which leaves what has arrived.
    let scene = Scene::new([brings(3), brings(0), brings(0), brings(7)]);
    assert_eq!(fetch(&scene, &blobs), (blobs[..3].to_vec(), false));
    assert_eq!(scene.asked().len(), 3);
}

#[test]
fn a_long_transfer_is_not_a_long_wait() {
    let minute = Answer { before: secs(60), brings: 1, ..fails(Unreachable) };
    let blobs = digests(4);
    let scene = Scene::new([minute.clone(), minute.clone(), minute]);
    assert_eq!(fetch(&scene, &blobs), (blobs.clone(), true));
    assert_eq!(scene.asked(), ["fetch 4", "fetch 3", "fetch 2", "fetch 1"]);
    assert_eq!(scene.told(), [""; 0]);
}

#[test]
fn what_comes_twice_is_handed_over_once() {
    let folder = tempfile::tempdir().unwrap();
    let twice = Twice(folder.path().to_owned());
    let (guarded, _) = super::guard(Arc::new(twice), Arc::default());
    let arrived = Mutex::new(Vec::new());
    let blobs = digests(1);
    guarded
        .fetch(&blobs, folder.path(), &|digest, body| {
            let Some(Body::File(file)) = body else { panic!("a file") };
            lock(&arrived).push((*digest, file));
        })
        .unwrap();
    assert_eq!(lock(&arrived)[..], [(blobs[0], folder.path().join("first"))]);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["first"]);
}

#[test]
fn what_is_stored_is_sent_whole_again() {
    let scene = Scene::new([fails(Failed), fine()]);
    let blobs = digests(4).into_iter().map(|digest| (digest, Body::Bytes(vec![0].into())));
    scene.guarded.store(blobs.collect()).unwrap();
    assert_eq!(scene.asked(), ["store 4", "store 4"]);
    assert_eq!(scene.guarded.counters().bytes_out, 4);
}

#[test]
fn the_longest_wait_is_bounded() {
    let scene = Scene::new([]);
    let waits: Vec<Duration> = [1, 2, 3, 4, 100].map(|tries| scene.guarded.longest_wait(tries)).to_vec();
    assert_eq!(waits, [ms(100), ms(200), ms(400), ms(400), ms(400)]);
}

#[test]
fn whoever_asks_what_it_is_hears_what_is_wrong() {
    let scene = Scene::new(vec![fails(Unreachable); 4]);
    assert_eq!(scene.get(), Err(Unreachable));
    assert!(scene.guarded.describe().is_err());
    assert!(scene.guarded.describe().is_ok());
    assert_eq!(scene.asked(), ["get", "get", "get", "describe", "describe"]);
    assert_eq!(scene.guarded.url(), "http://cache.test");
    assert_eq!(scene.guarded.missing(&[]).unwrap_err().kind, Unreachable);
}

#[test]
fn a_notice_never_says_nothing() {
    let scenes = [Unreachable, Timeout, Failed, Broken, Denied, Full].map(|kind| {
        let scene = Scene::new(vec![fails(kind); 3]);
        let _ = (scene.get(), scene.put());
        lock(&scene.notices)[0].clone()
    });
    for notice in scenes {
        assert!(notice.to_string().starts_with("http://cache.test"), "{notice}");
        assert!(!notice.hint().is_empty());
    }
}
