//! Children that supervisors of the new release have and those of the old have not, and the other way round.
//!
//! A supervisor with a module of its own reads its specifications again when its code is changed; the release handler starts
//! and stops no child. One that a function starts with a list of children, as Elixir's applications do, has its list from
//! before: it is given the new one, computed in the running node from what the code of the new release says.

use crate::beam_file::supervision::{Child, Source, Supervision, Value, supervisions};
use crate::etf::Term;

use super::released::Released;

/// What is done about the supervisors of a module.
pub(super) struct Children {
    /// The arguments of `relgraph_upgrade:children/1` on the way there.
    pub(super) up: Vec<Term>,
    /// On the way back.
    pub(super) down: Vec<Term>,
    /// What whoever upgrades should know.
    pub(super) notes: Vec<String>,
}

/// What is done about the supervisors of the module `name` of `application`, of which `code` is the old and the new code, or
/// why nothing can be done but restarting it.
pub(super) fn children(
    (old, new): (&Released<'_>, &Released<'_>),
    application: &str,
    name: &str,
    code: (&[u8], &[u8]),
    starts_application: bool,
) -> Result<Children, String> {
    let read = |release: &Released<'_>, bytes: &[u8]| {
        supervisions(bytes, &|module| release.module(module)).unwrap_or_default()
    };
    let (before, after) = (read(old, code.0), read(new, code.1));
    let same_code = code.0 == code.1;
    let mut done = Children { up: Vec::new(), down: Vec::new(), notes: Vec::new() };
    let mut left: Vec<&Supervision> = before.iter().collect();
    for now in &after {
        let same = |one: &&Supervision| match (&one.source, &now.source) {
            (Source::Init { .. }, Source::Init { .. }) => true,
            (Source::Inline { function: one }, Source::Inline { function: other }) => one == other,
            _ => false,
        };
        match left.iter().position(same) {
            Some(at) => {
                let then = left.remove(at);
                both(application, name, (then, now), same_code, starts_application, &mut done)?;
            }
            // Whoever calls that function starts one; what runs was started by something else.
            None if !starts_application => {}
            None => return Err("starts its supervisor in another way".to_owned()),
        }
    }
    if starts_application && !left.is_empty() {
        return Err("starts its supervisor in another way".to_owned());
    }
    Ok(done)
}

fn both(
    application: &str,
    name: &str,
    (then, now): (&Supervision, &Supervision),
    same_code: bool,
    starts_application: bool,
    done: &mut Children,
) -> Result<(), String> {
    if then == now {
        if !unknown(then) {
            return Ok(());
        }
        // The same words may mean something else where not all of them could be read.
        if !same_code {
            return Err(unreadable());
        }
        let module = name.strip_prefix("Elixir.").unwrap_or(name);
        done.notes.push(format!(
            "{module} {}, so that only a rehearsal tells whether they are others now",
            unreadable()
        ));
        return Ok(());
    }
    let (Some(before), Some(after)) = (ids(then), ids(now)) else { return Err(unreadable()) };
    let only = |one: &[Term], other: &[Term]| -> Vec<Term> {
        one.iter().filter(|id| !other.contains(id)).cloned().collect()
    };
    let (started, stopped) = (only(&after, &before), only(&before, &after));
    // What another module says of a child: it may be loaded after `init/1` was called again, or that is not called at all.
    let mut again = same_code;
    for child in now.children.iter().flatten() {
        let known = then.children.iter().flatten().find(|one| one.id == child.id);
        if let (Some(known), Some(id)) = (known, &child.id)
            && (&known.spec, &known.resolved) != (&child.spec, &child.resolved)
        {
            again |= known.spec == child.spec;
            done.notes.push(format!("the child {id} is started in another way from its next start on"));
        }
    }
    match &now.source {
        Source::Init { .. } => {
            if started.is_empty() && stopped.is_empty() && !again {
                return Ok(());
            }
            let supervisor = || Term::Tuple(vec![Term::atom("module"), Term::atom(name)]);
            let keep = || Term::atom("keep");
            let list = || if again { Term::atom("again") } else { keep() };
            done.up.push(map(supervisor(), list(), keep(), &started, &stopped));
            done.down.push(map(supervisor(), list(), keep(), &stopped, &started));
        }
        Source::Inline { .. } => {
            let supervisor = match &now.name {
                Some(Value::Term(Term::Atom(name))) if now.name == then.name => Term::atom(name),
                _ if starts_application => {
                    Term::Tuple(vec![Term::atom("application"), Term::atom(application)])
                }
                _ => return Err("starts a supervisor that has no name to find it by".to_owned()),
            };
            let flags = |one: &Supervision| match then.flags == now.flags {
                true => Ok(Term::atom("keep")),
                false => expression_of_flags(one).ok_or_else(unreadable),
            };
            let list = |one: &Supervision| expression_of_children(one).ok_or_else(unreadable);
            done.up.push(map(supervisor.clone(), list(now)?, flags(now)?, &started, &stopped));
            done.down.push(map(supervisor, list(then)?, flags(then)?, &stopped, &started));
        }
    }
    Ok(())
}

fn unreadable() -> String {
    "starts children that do not follow from its code alone".to_owned()
}

/// Whether something about its children is left open.
fn unknown(supervision: &Supervision) -> bool {
    ids(supervision).is_none() || supervision.children.iter().flatten().any(|child| child.spec.has_unknown())
}

/// The identifiers of its children, where all are known.
fn ids(supervision: &Supervision) -> Option<Vec<Term>> {
    supervision.children.as_ref()?.iter().map(|child| child.id.clone()).collect()
}

fn expression_of_children(supervision: &Supervision) -> Option<Term> {
    let all = supervision.children.as_ref()?.iter().map(Child::expression).collect::<Option<Vec<Term>>>()?;
    Some(Term::Tuple(vec![Term::atom("list"), Term::list(all)]))
}

fn expression_of_flags(supervision: &Supervision) -> Option<Term> {
    let flags = &supervision.flags;
    let parts = [("strategy", &flags.strategy), ("intensity", &flags.intensity), ("period", &flags.period)];
    let pairs = parts.into_iter().map(|(name, value)| {
        let key = Term::Tuple(vec![Term::atom("term"), Term::atom(name)]);
        Some(Term::Tuple(vec![key, value.as_ref()?.expression()?]))
    });
    Some(Term::Tuple(vec![Term::atom("map"), Term::list(pairs.collect::<Option<Vec<Term>>>()?)]))
}

fn map(supervisor: Term, children: Term, flags: Term, start: &[Term], stop: &[Term]) -> Term {
    let pairs = [
        ("supervisor", supervisor),
        ("children", children),
        ("flags", flags),
        ("start", Term::list(start.to_vec())),
        ("stop", Term::list(stop.to_vec())),
    ];
    Term::map(pairs.into_iter().map(|(key, value)| (Term::atom(key), value)).collect()).0
}
