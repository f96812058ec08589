use relgraph_rules::beam_file::Function;
use relgraph_rules::beam_file::supervision::{ChildChange, SupervisionChange};
use relgraph_rules::compare::*;

use super::*;

fn release(version: &str, erts: &str) -> Release {
    Release { name: "demo".into(), version: version.into(), erts: Some(erts.into()), ..Release::default() }
}

fn module(name: &str, how: How) -> ModuleChange {
    ModuleChange { module: name.into(), how, ..ModuleChange::default() }
}

fn nothing() -> Comparison {
    Comparison {
        schema: SCHEMA,
        same: true,
        old: release("0.1.0", "13.1.5"),
        new: release("0.1.0", "13.1.5"),
        ..Comparison::default()
    }
}

fn key(name: &str, change: Change, old: Option<&str>, new: Option<&str>) -> ConfigChange {
    let (old, new) = (old.map(str::to_owned), new.map(str::to_owned));
    let masked = old.as_deref() == Some("[masked]");
    ConfigChange {
        application: "demo".into(),
        key: vec!["Elixir.Demo".into(), name.into()],
        change,
        old,
        new,
        masked,
        ..ConfigChange::default()
    }
}

#[test]
fn nothing_is_one_line() {
    assert_eq!(text(&nothing(), false, Open::default()), "demo 0.1.0: nothing differs\n");
}

#[test]
fn a_page_tells_what_differs() {
    let mut comparison = nothing();
    comparison.same = false;
    comparison.new = release("0.2.0", "13.1.5");
    comparison.applications.changed.push(ApplicationChange {
        name: "demo".into(),
        old_version: "0.1.0".into(),
        new_version: "0.2.0".into(),
        old_mode: Some("permanent".into()),
        new_mode: Some("load".into()),
        ..ApplicationChange::default()
    });
    let mut code = module("Elixir.Demo.Server", How::Code);
    code.exports_added = (0..5).map(|arity| Function { name: "call".into(), arity }).collect();
    code.old_vsn = Some("\"0\"".into());
    comparison.modules.push(ApplicationModules {
        application: "demo".into(),
        added: vec!["Elixir.Demo.New".into()],
        removed: Vec::new(),
        changed: vec![code, module("Elixir.Demo", How::OnlyLines), module("demo", How::OnlyDebug)],
    });
    comparison.config.keys = vec![
        key("step", Change::Changed, Some("1"), Some("2")),
        key("secret", Change::Changed, Some("[masked]"), Some("[masked]")),
        key("long", Change::Added, None, Some(&"x".repeat(100))),
    ];
    comparison.config.runtime = Some(Change::Changed);
    comparison.files.push(FileChange {
        path: "bin/de\u{1b}[2Jmo".into(),
        role: FileRole::Script,
        application: None,
        change: Change::Changed,
        old_size: Some(1200),
        new_size: Some(999),
        ..FileChange::default()
    });
    let size = ApplicationSize { application: "demo".into(), old: Some(1200), new: Some(2500) };
    comparison.sizes = Sizes { old: 1_000_000, new: 1_001_300, applications: vec![size], ..Sizes::default() };
    let expected = "\
demo 0.1.0 -> 0.2.0: 2 modules with other code, 3 config keys, same runtime
  hot: the running system takes it, and no process ends

applications
  ~ demo 0.1.0 -> 0.2.0  permanent -> load

modules of demo
  + Demo.New
  ~ Demo.Server  +call/0 +call/1 +call/2 and 2 more, vsn \"0\" -> none
  ~ Demo  only lines
  ~ demo  only debug data

config
  ~ demo Demo.step: 1 -> 2
  ~ demo Demo.secret: a secret
  + demo Demo.long: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
  ~ runtime.exs

files
  ~ bin/de\u{fffd}[2Jmo  1.2 kB -> 999 B

size
  ~ release  1.0 MB -> 1.0 MB
  ~ demo  +1.3 kB
";
    assert_eq!(text(&comparison, false, Open::default()), expected);
    let coloured = text(&comparison, true, Open::default());
    assert!(coloured.contains("\u{1b}[32m  + Demo.New\u{1b}[0m\n"), "{coloured}");
}

#[test]
fn long_lists_are_cut_with_a_count() {
    let mut comparison = nothing();
    comparison.same = false;
    let added: Vec<String> = (0..40).map(|number| format!("m{number:02}")).collect();
    let modules =
        ApplicationModules { application: "demo".into(), added, removed: Vec::new(), changed: Vec::new() };
    comparison.modules.push(modules);
    let page = text(&comparison, false, Open::default());
    assert_eq!(page.lines().count(), 2 + 2 + 12 + 1, "{page}");
    assert!(page.ends_with("  + m11\n    and 28 more\n"), "{page}");
}

#[test]
fn lists_are_opened_up_one_by_one() {
    let mut comparison = nothing();
    comparison.same = false;
    let path = |at: usize| format!("share/{at:02}");
    comparison.files = (0..20)
        .map(|at| FileChange {
            path: path(at),
            role: FileRole::Other,
            application: None,
            change: Change::Added,
            old_size: None,
            new_size: Some(1),
            ..FileChange::default()
        })
        .collect();
    let long = "x".repeat(100);
    comparison.config.keys = vec![key("a", Change::Added, None, Some(&long))];
    let closed = text(&comparison, false, Open::default());
    assert!(closed.contains("and 8 more") && !closed.contains(&path(19)) && !closed.contains(&long));
    let files = text(&comparison, false, Open { files: true, ..Open::default() });
    assert!(files.contains(&path(19)) && !files.contains("more") && !files.contains(&long));
    let config = text(&comparison, false, Open { config: true, ..Open::default() });
    assert!(!config.contains(&path(19)) && config.contains(&long));
}

#[test]
fn the_verdict_stands_on_top_with_its_reasons() {
    let mut comparison = nothing();
    comparison.same = false;
    let reason = |class, item: &str, reason: &str| Reason {
        class,
        application: None,
        item: item.into(),
        reason: reason.into(),
    };
    comparison.verdict = Verdict {
        class: Class::RestartVm,
        reasons: (0..7)
            .map(|at| reason(Class::RestartVm, &format!("erts{at}"), "it is another one"))
            .collect(),
        waiting: vec![reason(Class::RestartVm, "releases/VSN/vm.args", "it is read at boot")],
    };
    comparison.warnings.push(Warning {
        kind: WarningKind::SameVersion,
        application: Some("demo".into()),
        module: None,
        text: "demo differs".into(),
        advice: "give it another version".into(),
    });
    let mut server = module("Elixir.Demo.Server", How::Code);
    server.class = Class::RestartApplication;
    let modules = ApplicationModules {
        application: "demo".into(),
        added: (0..20).map(|at| format!("Elixir.New{at:02}")).collect(),
        removed: Vec::new(),
        changed: vec![server],
    };
    comparison.modules.push(modules);
    let page = text(&comparison, false, Open::default());
    let expected = "\
demo 0.1.0: 21 modules with other code, same runtime
\x20 restart VM: the virtual machine starts anew
\x20   erts0: it is another one
\x20   erts1: it is another one
\x20   erts2: it is another one
\x20   erts3: it is another one
\x20   erts4: it is another one
\x20   and 2 more
\x20 waits until the virtual machine is next started:
\x20   releases/VSN/vm.args: it is read at boot
\x20 warning: demo differs
\x20   give it another version

modules of demo
\x20 ~ Demo.Server  [restart application]
\x20 + New00
";
    assert!(page.starts_with(expected), "{page}");
    let shown = markdown(&comparison);
    assert!(shown.contains("**restart VM&#58; the virtual machine starts anew**"), "{shown}");
    assert!(shown.contains("- demo differs. give it another version\n"), "{shown}");
    assert!(shown.contains("<details><summary><b>modules of demo</b> (21)</summary>\n"), "{shown}");
}

#[test]
fn however_much_differs_it_is_a_screen() {
    let mut comparison = nothing();
    comparison.same = false;
    let names = |what: &str| (0..30).map(|at| format!("{what}{at:02}")).collect::<Vec<String>>();
    for application in names("app") {
        let added = names("Elixir.M");
        comparison.modules.push(ApplicationModules { application, added, ..ApplicationModules::default() });
    }
    comparison.config.keys =
        names("k").iter().map(|name| key(name, Change::Added, None, Some("1"))).collect();
    let file = |path: String| FileChange { path, change: Change::Added, ..FileChange::default() };
    comparison.files = names("share/").into_iter().map(file).collect();
    let page = text(&comparison, false, Open::default());
    assert!(page.lines().count() <= 50, "{page}");
    assert!(page.ends_with("and 720 modules of 24 applications more: --modules lists them\n"), "{page}");
    let open = text(&comparison, false, Open { modules: true, ..Open::default() });
    assert_eq!(open.matches("+ M29").count(), 30);
}

/// Something of every kind, each with a name of its own.
fn everything() -> Comparison {
    let mut comparison = nothing();
    comparison.same = false;
    let class = Class::RestartVm;
    comparison.runtime.push(RuntimeChange {
        part: RuntimePart::Elixir,
        old: Some("1.17.3".into()),
        new: Some("1.18.0".into()),
        class,
        ..RuntimeChange::default()
    });
    comparison.boot = Some(BootChange { moved: vec!["ssl".into()], ..BootChange::default() });
    comparison.applications.added.push(Application { name: "plug".into(), ..Application::default() });
    let mut supervisor = module("Elixir.Demo.Sup", How::Code);
    supervisor.structure = Some(StructChange {
        old: Some(vec![StructField { name: "gone".into(), default: "nil".into() }]),
        new: Some(vec![StructField { name: "fresh".into(), default: "[]".into() }]),
    });
    supervisor.functions_changed = vec![Function { name: "start_link".into(), arity: 1 }];
    let child = |id: &str| ChildChange { id: Some(id.into()), old: None, new: None };
    supervisor.supervision = vec![SupervisionChange {
        added: vec![child("Elixir.Demo.Cache")],
        changed: vec![child("Elixir.Demo.Pool")],
        reordered: true,
        ..SupervisionChange::default()
    }];
    let changed = vec![supervisor];
    comparison.modules.push(ApplicationModules {
        application: "demo".into(),
        changed,
        ..ApplicationModules::default()
    });
    comparison.moved.push(MovedModule {
        module: "Elixir.Demo.Moved".into(),
        from: "a".into(),
        to: "b".into(),
        ..MovedModule::default()
    });
    comparison.protocols.push(ProtocolChange {
        protocol: "Elixir.Demo.Shape".into(),
        implementations: vec![ImplementationChange {
            target: "Elixir.Circle".into(),
            module: "Elixir.Demo.Shape.Circle".into(),
            application: "demo".into(),
            change: Change::Added,
        }],
        ..ProtocolChange::default()
    });
    comparison.config.providers = Some(Providers {
        old: vec!["Elixir.One".into()],
        new: vec!["Elixir.Two".into()],
        ..Providers::default()
    });
    comparison.native.push(NativeChange {
        path: "lib/demo-VSN/priv/nif.so".into(),
        needed_added: vec!["libz.so.1".into()],
        class,
        ..NativeChange::default()
    });
    comparison
}

#[test]
fn every_view_shows_everything() {
    let comparison = everything();
    let text = text(&comparison, false, Open { modules: true, functions: true, ..Open::default() });
    let (markdown, html) = (markdown(&comparison), html(&comparison));
    for told in [
        "1.17.3",
        "boot order",
        "ssl start elsewhere",
        "plug",
        "Demo.Sup",
        "struct +fresh -gone",
        "Demo.Cache",
        "Demo.Pool",
        "start in another order",
        "Demo.Moved",
        "Demo.Shape",
        "+Circle",
        "configuration providers",
        "Two",
        "lib/demo-VSN/priv/nif.so",
        "restart VM",
    ] {
        // As the view writes it.
        let marked = told.replace('_', "&#95;");
        assert!(text.contains(told) && html.contains(told), "{told}: {text}{html}");
        assert!(markdown.contains(&marked), "{marked}: {markdown}");
    }
    for told in ["start_link/1", "+libz.so.1"] {
        assert!(text.contains(told) && html.contains(told), "{told}: {text}{html}");
    }
}
