//! Two versions of a supervisor.

use super::*;

fn changes(old: &str, new: &str) -> Vec<SupervisionChange> {
    let read = |text: &str| {
        let beams = erlang(&[("changing", text)]);
        read(&beams, "changing")
    };
    supervision::compare("changing", &read(old), &read(new))
}

pub fn supervisor(flags: &str, children: &str) -> String {
    format!(
        "-behaviour(supervisor).\n-export([start_link/0, init/1]).\n\
         start_link() -> supervisor:start_link({{local, ?MODULE}}, ?MODULE, []).\n\
         init([]) -> {{ok, {{{flags}, [{children}]}}}}.\n\
         c(Id, Args) -> #{{id => Id, start => {{Id, start_link, Args}}}}.\n"
    )
}

#[test]
fn changes_of_a_supervisor() {
    let flags = "#{strategy => one_for_one}";
    let old = supervisor(flags, "c(a, []), c(b, [1]), c(c, [os:type()]), c(gone, [])");
    assert_eq!(changes(&old, &old), []);
    // The same in other words.
    let tuples = supervisor("{one_for_one, 1, 5}", "c(a, []), c(b, [1]), c(c, [os:type()]), c(gone, [])");
    assert_eq!(changes(&old, &tuples), []);

    let new =
        supervisor("#{strategy => one_for_all}", "c(b, [2]), c(a, []), c(c, [os:type()]), c(new, [node()])");
    let changes_found = changes(&old, &new);
    let [change] = &changes_found[..] else { panic!("{changes_found:#?}") };
    let ids = |list: &[ChildChange]| {
        list.iter().map(|child| child.id.clone().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((change.name.as_deref(), change.function.as_str()), (Some("changing"), "init/1"));
    assert_eq!(ids(&change.added), "new");
    assert_eq!(change.added[0].new.as_deref(), Some("#{id => new,start => {new,start_link,[node()]}}"));
    assert_eq!(ids(&change.removed), "gone");
    assert_eq!(ids(&change.changed), "b");
    assert_eq!(change.changed[0].old.as_deref(), Some("#{id => b,start => {b,start_link,[1]}}"));
    assert_eq!(change.uncertain, []);
    assert!(change.reordered && !change.unreadable && !change.new && !change.gone);
    assert_eq!(change.flags, [("strategy".to_owned(), "one_for_one".to_owned(), "one_for_all".to_owned())]);
}

#[test]
fn what_is_not_known_is_not_called_equal() {
    let flags = "#{}";
    let doubtful = supervisor(flags, "c(a, [case os:type() of {unix, _} -> 1; _ -> 2 end])");
    let found = changes(&doubtful, &doubtful);
    assert_eq!(found[0].uncertain[0].new.as_deref(), Some("#{id => a,start => {a,start_link,[…]}}"));
    assert!(found[0].changed.is_empty() && found[0].added.is_empty());
    let text = supervisor(flags, "c(a, []) | case os:type() of {unix, _} -> []; _ -> [c(b, [])] end");
    let found = changes(&text, &text);
    assert!(found[0].unreadable, "{found:#?}");
    let gone = "-export([init/1]).\ninit([]) -> ok.\n";
    let found = changes(&supervisor(flags, "c(a, [])"), gone);
    assert!(found[0].gone && found[0].removed.len() == 1, "{found:#?}");
    let found = changes(gone, &supervisor(flags, "c(a, [])"));
    assert!(found[0].new && found[0].added.len() == 1, "{found:#?}");
}

/// A function among the arguments is another one when its code is, wherever it stands in the module.
#[test]
fn functions_differ_by_what_they_do() {
    let start = |number: &str| supervisor("#{}", &format!("c(a, [fun() -> {number} end])"));
    let one = start("1");
    let moved = one.replace("init([]) ->", "init([]) -> lists:foreach(fun(X) -> X ! go end, nodes()),");
    assert_eq!(changes(&one, &moved), []);
    assert_eq!(changes(&one, &start("2"))[0].changed.len(), 1);
}
