use relgraph_engine::PartChange;

use super::*;

fn why(prospect: Prospect) -> Why {
    Why {
        step: "compile demo".into(),
        prospect,
        expected_ms: None,
        causes: Vec::new(),
        reasons: Vec::new(),
        parts: Vec::new(),
        probes: Vec::new(),
        last: None,
        secret: BTreeSet::from(["TOKEN".to_owned()]),
    }
}

fn part(name: &str, old: &str, new: &str) -> PartMoved {
    let (old, new) = (Some(old.to_owned()), Some(new.to_owned()));
    PartMoved {
        change: PartChange { name: name.into(), kind: PartChangeKind::Changed, old, new },
        paths: Vec::new(),
    }
}

#[test]
fn parts_are_named_with_old_and_new_and_secrets_without() {
    let mut why = why(Prospect::Run(Reason::EnvChanged("A".into())));
    why.parts = vec![part("env A", "1", "2"), part("env TOKEN", "hunter2", "hunter3")];
    let text = why.text(false);
    assert_eq!(
        text,
        "`compile demo` would run: environment variable A changed\n  env A: 1 -> 2\n  env TOKEN: another value\n"
    );
    assert!(!why.json().to_string().contains("hunter"));
}

#[test]
fn a_fresh_step_tells_its_history() {
    let mut why = why(Prospect::Fresh);
    assert!(why.text(false).ends_with("its result came from the store\n"));
    why.last = Some(LastRun {
        run: "0123456789abcdef".into(),
        started_ms: time::now_ms(),
        outcome: "ran".into(),
        reason: Some("never_built".into()),
        subject: None,
    });
    assert!(why.text(false).ends_with("  it ran last just now, in run 01234567: never built here\n"));
    assert_eq!(why.json()["last_run"]["reason"]["kind"], "never_built");
}

#[test]
fn a_step_that_depends_on_others_names_them_and_their_reasons() {
    let mut why = why(Prospect::MayRun(vec!["compile a".into()]));
    why.causes = vec![Expected {
        step: "compile a".into(),
        prospect: Prospect::Run(Reason::InputAdded("lib/a.ex".into())),
        expected_ms: None,
    }];
    assert_eq!(
        why.text(false),
        "`compile demo` may run: it needs `compile a`\n  `compile a` would run: lib/a.ex is new\n"
    );
}
