//! The breaker, step by step.

use std::time::Duration;

use super::super::breaker::{Breaker, Direction, Outcome, Pass};
use super::super::policy::{Machine, Policy, Timing};
use super::{ms, secs};
use crate::remote::{RemoteError, RemoteErrorKind};

use Direction::{Read, Write};

fn breaker() -> Breaker {
    Breaker::new(Policy::default())
}

fn error(kind: RemoteErrorKind) -> RemoteError {
    RemoteError::new(kind, format!("{kind:?}"))
}

fn fail(breaker: &Breaker, pass: Pass, now: Duration) {
    let error = error(RemoteErrorKind::Failed);
    breaker.report(pass, now, Outcome::Failed { error: &error, cost: Duration::ZERO });
}

/// Opens it.
fn opened(now: Duration) -> Breaker {
    let breaker = breaker();
    for _ in 0..3 {
        fail(&breaker, breaker.admit(Read, now).unwrap(), now);
    }
    assert!(breaker.admit(Read, now).is_err());
    breaker
}

#[test]
fn three_failures_in_a_row_open_it() {
    let (breaker, now) = (breaker(), secs(5));
    for _ in 0..10 {
        fail(&breaker, breaker.admit(Read, now).unwrap(), now);
        fail(&breaker, breaker.admit(Write, now).unwrap(), now);
        breaker.report(breaker.admit(Read, now).unwrap(), now, Outcome::Answered);
    }
    assert_eq!(breaker.rest(now), None);
    for _ in 0..3 {
        breaker.report(breaker.admit(Read, now).unwrap(), now, Outcome::Unknown);
        fail(&breaker, breaker.admit(Read, now).unwrap(), now);
    }
    assert_eq!(breaker.rest(now), Some(secs(30)));
    assert_eq!(breaker.admit(Read, now), Err(error(RemoteErrorKind::Failed)));
    assert_eq!(breaker.admit(Write, secs(34)), Err(error(RemoteErrorKind::Failed)));
}

#[test]
fn waiting_for_a_second_opens_it() {
    let costs = |kind: RemoteErrorKind, cost: Duration| {
        let breaker = breaker();
        let error = error(kind);
        let pass = breaker.admit(Read, secs(1)).unwrap();
        breaker.report(pass, secs(1), Outcome::Failed { error: &error, cost });
        breaker.rest(secs(1)).is_some()
    };
    assert!(costs(RemoteErrorKind::Unreachable, secs(1)));
    assert!(costs(RemoteErrorKind::Timeout, secs(5)));
    assert!(!costs(RemoteErrorKind::Unreachable, ms(500)));
    // It answered, if badly.
    assert!(!costs(RemoteErrorKind::Failed, secs(5)));
    assert!(!costs(RemoteErrorKind::Broken, secs(5)));
}

#[test]
fn one_probe_closes_it() {
    let breaker = opened(secs(0));
    assert!(breaker.admit(Read, ms(29_999)).is_err());
    let probe = breaker.admit(Read, secs(30)).unwrap();
    for _ in 0..3 {
        assert!(breaker.admit(Read, secs(30)).is_err());
        assert!(breaker.admit(Write, secs(4000)).is_err());
    }
    breaker.report(probe, secs(31), Outcome::Answered);
    assert_eq!(breaker.rest(secs(31)), None);
    // All is as in the beginning: three more, and for half a minute.
    for _ in 0..3 {
        fail(&breaker, breaker.admit(Read, secs(31)).unwrap(), secs(31));
    }
    assert_eq!(breaker.rest(secs(31)), Some(secs(30)));
}

#[test]
fn each_probe_that_fails_doubles_the_pause_up_to_five_minutes() {
    let mut now = secs(0);
    let breaker = opened(now);
    for pause in [30, 60, 120, 240, 300, 300] {
        assert_eq!(breaker.rest(now), Some(secs(pause)));
        now += secs(pause);
        fail(&breaker, breaker.admit(Write, now).unwrap(), now);
    }
}

#[test]
fn a_probe_that_says_nothing_is_followed_by_another() {
    let breaker = opened(secs(0));
    let probe = breaker.admit(Read, secs(30)).unwrap();
    breaker.report(probe, secs(31), Outcome::Unknown);
    let probe = breaker.admit(Read, secs(31)).unwrap();
    assert!(breaker.admit(Read, secs(31)).is_err());
    breaker.report(probe, secs(31), Outcome::Answered);
    assert!(breaker.admit(Read, secs(31)).is_ok());
}

#[test]
fn what_began_before_changes_nothing() {
    let breaker = breaker();
    let passes: Vec<Pass> = (0..20).map(|_| breaker.admit(Read, secs(0)).unwrap()).collect();
    for pass in &passes[..3] {
        fail(&breaker, *pass, secs(1));
    }
    // Late failures make the pause no longer, late answers do not end it.
    fail(&breaker, passes[3], secs(2));
    breaker.report(passes[4], secs(3), Outcome::Answered);
    assert_eq!(breaker.rest(secs(3)), Some(secs(28)));
    let probe = breaker.admit(Read, secs(31)).unwrap();
    // Nor do they speak for the probe.
    fail(&breaker, passes[5], secs(32));
    breaker.report(passes[6], secs(32), Outcome::Answered);
    breaker.report(passes[7], secs(32), Outcome::Unknown);
    assert!(breaker.admit(Read, secs(32)).is_err());
    breaker.report(probe, secs(33), Outcome::Answered);
    // Nor do they open it again.
    for pass in &passes[8..] {
        fail(&breaker, *pass, secs(34));
    }
    assert_eq!(breaker.rest(secs(34)), None);
    // Nor does a probe speak twice.
    fail(&breaker, probe, secs(34));
    fail(&breaker, probe, secs(34));
    fail(&breaker, probe, secs(34));
    assert_eq!(breaker.rest(secs(34)), None);
}

#[test]
fn a_blob_that_arrives_closes_it_before_the_probe_is_over() {
    let breaker = opened(secs(0));
    let mut probe = breaker.admit(Read, secs(30)).unwrap();
    breaker.answers(&mut probe);
    let other = breaker.admit(Read, secs(30)).unwrap();
    assert_eq!(other, probe);
    // What comes of the rest of it counts as of any other call.
    for pass in [probe, other] {
        fail(&breaker, pass, secs(30));
    }
    assert_eq!(breaker.rest(secs(30)), None);
    fail(&breaker, other, secs(30));
    assert_eq!(breaker.rest(secs(30)), Some(secs(30)));
    let mut late = other;
    breaker.answers(&mut late);
    assert_eq!((late, breaker.rest(secs(30))), (other, Some(secs(30))));
}

#[test]
fn a_direction_is_shut_for_good() {
    let breaker = opened(secs(0));
    breaker.shut(Write, &error(RemoteErrorKind::Full));
    breaker.shut(Write, &error(RemoteErrorKind::Denied));
    assert_eq!(breaker.admit(Write, secs(30)), Err(error(RemoteErrorKind::Full)));
    let probe = breaker.admit(Read, secs(30)).unwrap();
    breaker.report(probe, secs(30), Outcome::Answered);
    assert_eq!(breaker.admit(Write, secs(1 << 40)), Err(error(RemoteErrorKind::Full)));
    breaker.shut(Read, &error(RemoteErrorKind::Denied));
    assert_eq!(breaker.admit(Read, secs(1 << 40)), Err(error(RemoteErrorKind::Denied)));
}

#[test]
fn the_machines_dice_stay_below_the_most() {
    let machine = Machine::new();
    assert!(machine.now() <= machine.now());
    assert_eq!(machine.jitter(Duration::ZERO), Duration::ZERO);
    let thrown: Vec<Duration> = (0..100).map(|_| machine.jitter(ms(100))).collect();
    assert!(thrown.iter().all(|time| *time <= ms(100)));
    assert!(thrown.iter().any(|time| *time != thrown[0]));
}
