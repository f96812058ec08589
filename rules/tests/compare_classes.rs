//! What a change takes: classes, verdicts, warnings, in the layouts of several tools.

#[allow(dead_code)]
mod releases;

use std::fs;
use std::path::PathBuf;

use releases::{Application, Release, app, application, compared, release, verdict, warned};
use relgraph_rules::compare::{CONSOLIDATED, Change, Class, FileRole, RuntimePart, WarningKind};

fn demo(version: &str, number: u32) -> Application {
    app("demo", version).erl("demo", &format!("-export([f/0]).\nf() -> {number}."))
}

fn pair() -> [Release; 2] {
    [release("0.1.0").app(demo("0.1.0", 1)), release("0.2.0").app(demo("0.2.0", 2))]
}

#[test]
fn ordinary_code_is_hot_and_settings_of_the_boot_wait() {
    let [old, new] = pair();
    let plain = compared(&old, &new);
    assert_eq!((verdict(&plain).as_str(), warned(&plain).len()), ("hot", 0));
    let upgrade = &plain.sizes.upgrade;
    // The folders of `demo` and of the release; of these the arguments and the configuration are as before, and the name of the
    // version lies outside.
    assert_eq!((upgrade.package_files, upgrade.content_files), (5, 4), "{upgrade:?}");
    let size = plain.sizes.applications.iter().find(|size| size.application == "demo").unwrap().new;
    assert!(upgrade.package_bytes > size.unwrap() && upgrade.content_bytes > size.unwrap(), "{upgrade:?}");

    let new = new
        .file("releases/VSN/vm.args", "+K false\n")
        .file("releases/VSN/env.sh", "export A=1\n")
        .file("bin/demo", "#!/bin/sh\n")
        .file("releases/VSN/sys.config", "[{kernel,[{logger_level,info}]},{demo,[{a,1}]}].");
    let comparison = compared(&old, &new);
    assert_eq!(
        verdict(&comparison),
        "hot; waiting: releases/VSN/env.sh, releases/VSN/vm.args, kernel logger_level"
    );
    let of = |path: &str| comparison.files.iter().find(|file| file.path == path).unwrap();
    assert_eq!(
        (of("releases/VSN/vm.args").class, of("releases/VSN/vm.args").waits),
        (Class::RestartVm, true)
    );
    assert_eq!((of("bin/demo").class, of("bin/demo").waits), (Class::Hot, false));
    let keys: Vec<(&str, Class, bool)> =
        comparison.config.keys.iter().map(|key| (key.application.as_str(), key.class, key.waits)).collect();
    assert_eq!(keys, [("demo", Class::Hot, false), ("kernel", Class::RestartVm, true)]);
}

#[test]
fn runtime_exs_counts_at_once_only_where_the_layout_is_made_for_it() {
    let [old, new] = pair();
    let new = new.file("releases/VSN/runtime.exs", "import Config\n");
    let plain = compared(&old, &new);
    assert_eq!(verdict(&plain), "hot; waiting: runtime.exs");
    let hot = compared(&old.hot(), &new.hot());
    assert!(hot.new.hot_layout);
    assert_eq!((verdict(&hot).as_str(), hot.config.runtime_class), ("hot", Some(Class::Hot)));
}

#[test]
fn the_runtime_restarts_the_virtual_machine() {
    let [old, mut new] = pair();
    new.erts = "14.0".into();
    let comparison = compared(&old, &new);
    assert_eq!(verdict(&comparison), "restart_vm: erts, otp");
    let parts: Vec<(RuntimePart, Option<&str>)> =
        comparison.runtime.iter().map(|change| (change.part, change.new.as_deref())).collect();
    assert_eq!(parts, [(RuntimePart::Otp, Some("26")), (RuntimePart::Erts, Some("14.0"))]);

    let [old, new] = pair();
    let with =
        |release: Release, version: &str| release.app(app("elixir", version)).app(app("stdlib", version));
    let comparison = compared(&with(old, "1.14.0"), &with(new, "1.15.0"));
    assert_eq!(verdict(&comparison), "restart_vm: elixir, elixir, stdlib");
    // The same version with other files.
    let [old, new] = pair();
    let comparison = compared(&old, &new.file("erts-13.1.5/bin/beam.smp", "other"));
    assert_eq!(verdict(&comparison), "restart_vm: erts");
}

#[test]
fn what_cannot_be_reached_is_cold() {
    let [old, mut new] = pair();
    new.name = "other".into();
    assert_eq!(verdict(&compared(&old, &new)), "cold: release");

    let [old, new] = pair();
    let same = Release { version: "0.1.0".into(), ..new };
    let comparison = compared(&old, &same);
    assert_eq!(verdict(&comparison), "cold: release");
    assert_eq!(warned(&comparison), [(WarningKind::SameVersion, String::new())]);

    let [old, _] = pair();
    let stranger = release("0.2.0").app(app("stranger", "1.0"));
    assert_eq!(verdict(&compared(&old, &stranger)), "cold: release");
}

#[test]
fn an_application_that_kept_its_version_is_cold_when_it_differs() {
    let [old, new] = pair();
    let comparison = compared(&old, &new.clone().app(demo("0.1.0", 2)));
    assert_eq!(verdict(&comparison), "cold: demo");
    assert_eq!(warned(&comparison), [(WarningKind::SameVersion, "demo".to_owned())]);
    assert_eq!(application(&comparison, "demo").appup, None);
    // Lines and debug data do not matter, and neither does an appup.
    let lines =
        app("demo", "0.1.0").erl("demo", "\n\n-export([f/0]).\nf() -> 1.").file("ebin/demo.appup", "{}.");
    let comparison = compared(&old, &new.app(lines));
    assert_eq!((verdict(&comparison).as_str(), warned(&comparison).len()), ("hot", 0));
}

#[test]
fn what_counts_when_an_application_starts_restarts_it() {
    let [old, new] = pair();
    let case = |properties: &str, mode: &str| {
        let comparison = compared(&old, &new.clone().app(demo("0.2.0", 2).with(properties).mode(mode)));
        let class = application(&comparison, "demo").class;
        (class, application(&comparison, "demo").reason.clone(), comparison)
    };
    let restart = Class::RestartApplication;
    let (class, reason, comparison) = case("{mod,{demo,[]}}", "permanent");
    assert_eq!((class, reason.contains("callback module")), (restart, true), "{reason}");
    let callback = application(&comparison, "demo").callback.clone().unwrap();
    assert_eq!((callback.old, callback.new.as_deref()), (None, Some("{demo,[]}")));
    assert_eq!(verdict(&comparison), "restart_application: demo");
    // Only who puts a boot script together looks at these names.
    let (class, reason, comparison) = case("{registered,[demo_server]}", "permanent");
    assert_eq!(class, Class::Hot, "{reason}");
    assert_eq!(application(&comparison, "demo").registered_added, ["demo_server"]);
    let (class, reason, _) = case("{start_phases,[{a,[]}]}", "permanent");
    assert_eq!((class, reason.contains("phases")), (restart, true), "{reason}");
    let (class, reason, _) = case("{env,[]}", "load");
    assert_eq!((class, reason.contains("not any more")), (restart, true), "{reason}");
    let (class, reason, _) = case("{env,[]}", "transient");
    assert_eq!((class, reason.contains("its end")), (restart, true), "{reason}");
    let (class, _, comparison) = case("{applications,[kernel,stdlib]},{mod,[]}", "permanent");
    assert_eq!(
        (class, application(&comparison, "demo").needs_added.join(" ")),
        (Class::Hot, "kernel stdlib".into())
    );
}

#[test]
fn dependencies_are_warned_of_by_version_and_appup() {
    let [old, new] = pair();
    let dep =
        |version: &str| app("dep", version).erl("dep", &format!("-export([f/0]).\nf() -> {version:?}."));
    let warnings =
        |from: &str, to: Application| warned(&compared(&old.clone().app(dep(from)), &new.clone().app(to)));
    let about = |kind| (kind, "dep".to_owned());
    assert_eq!(
        warnings("1.2.0", dep("2.0.0")),
        [about(WarningKind::MajorVersion), about(WarningKind::NoAppup)]
    );
    assert_eq!(warnings("1.2.0", dep("1.3.0")), [about(WarningKind::NoAppup)]);
    let appup =
        |from: &str| dep("1.3.0").file("ebin/dep.appup", format!("{{\"1.3.0\",[{{{from},[]}}],[]}}."));
    assert_eq!(warnings("1.2.0", appup("\"1.2.0\"")), []);
    assert_eq!(warnings("1.2.0", appup("<<\"1\\\\.2(\\\\.[0-9]+)?\">>")), []);
    assert_eq!(warnings("1.2.0", appup("<<\"1\\\\.2\">>")), [about(WarningKind::NoAppup)]);
}

#[test]
fn a_module_that_moved_is_told_from_one_that_went_and_one_that_came() {
    let server = |application: Application, number: u32| {
        application.erl("moving", &format!("-export([f/0]).\nf() -> {number}."))
    };
    let old = release("0.1.0").app(server(demo("0.1.0", 1), 1)).app(app("other", "0.1.0"));
    let new = release("0.2.0").app(demo("0.2.0", 1)).app(server(app("other", "0.2.0"), 2));
    let comparison = compared(&old, &new);
    let [moved] = &comparison.moved[..] else { panic!("{:?}", comparison.moved) };
    assert_eq!(
        (moved.module.as_str(), moved.from.as_str(), moved.to.as_str(), moved.changed),
        ("moving", "demo", "other", true)
    );
    assert_eq!(warned(&comparison), [(WarningKind::MovedModule, "moving".to_owned())]);
    assert_eq!(verdict(&comparison), "hot");
}

#[test]
fn the_order_of_the_boot_is_told_when_it_differs() {
    let boot = |names: &[&str]| {
        // As term_to_binary writes it: what is looked for and what is not.
        let entries: Vec<String> = names
            .iter()
            .map(|name| format!("{{apply,{{application,start_boot,[{name},permanent]}}}}"))
            .collect();
        let text = format!("{{script,{{\"demo\",\"1\"}},[{{preLoaded,[]}},{}]}}.", entries.join(","));
        relgraph_rules::etf::encode(&relgraph_rules::etf::consult_one(text.as_bytes()).unwrap())
    };
    let with = |release: Release, order: [&str; 2]| {
        let release = release.file("releases/VSN/start.boot", boot(&["kernel", order[0], order[1]]));
        order.iter().fold(release, |release, name| {
            let version = release.version.clone();
            release.app(app(name, &version))
        })
    };
    let old = with(release("0.1.0"), ["a", "b"]);
    let comparison = compared(&old, &with(release("0.2.0"), ["b", "a"]));
    let boot = comparison.boot.unwrap();
    assert_eq!((boot.old.join(" "), boot.new.join(" ")), ("kernel a b".into(), "kernel b a".into()));
    assert_eq!((boot.moved.len(), boot.class), (1, Class::Hot));
    assert!(compared(&old, &with(release("0.2.0"), ["a", "b"])).boot.is_none());
}

/// Native files that come with OTP: what they need differs.
fn libraries() -> [Vec<u8>; 2] {
    let output = std::process::Command::new("erl")
        .args(["-noinput", "-eval", "io:put_chars(code:lib_dir()), halt()."])
        .output()
        .unwrap();
    let lib = PathBuf::from(String::from_utf8(output.stdout).unwrap());
    ["asn1rt_nif", "crypto"].map(|name| {
        let application = if name == "crypto" { "crypto-" } else { "asn1-" };
        let folder = fs::read_dir(&lib).unwrap().map(|entry| entry.unwrap().path());
        let found = folder
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(application))
            .find_map(|path| fs::read(path.join(format!("priv/lib/{name}.so"))).ok());
        found.unwrap_or_else(|| panic!("{name}.so"))
    })
}

#[test]
fn native_files_are_looked_into() {
    let [plain, crypto] = libraries();
    let [old, new] = pair();
    let with = |release: &Release, application: Application, library: &[u8]| {
        release.clone().app(application.file("priv/nif.so", library))
    };
    let old_one = with(&old, demo("0.1.0", 1), &plain);
    let comparison = compared(&old_one, &with(&new, demo("0.2.0", 2), &crypto));
    let [native] = &comparison.native[..] else { panic!("{:?}", comparison.native) };
    assert_eq!(
        (native.path.as_str(), native.application.as_deref()),
        ("lib/demo-VSN/priv/nif.so", Some("demo"))
    );
    assert_eq!((native.change, native.class), (Change::Changed, Class::RestartApplication));
    assert!(native.needed_added.iter().any(|name| name.starts_with("libcrypto.so")), "{native:?}");
    let parts = native.new.as_ref().unwrap();
    assert!(parts.shared && parts.architectures == [std::env::consts::ARCH]);
    assert_eq!(verdict(&comparison), "restart_application: lib/demo-VSN/priv/nif.so");
    assert_eq!(application(&comparison, "demo").class, Class::RestartApplication);

    // A new one has been loaded by nothing.
    let comparison = compared(&old, &with(&new, demo("0.2.0", 2), &plain));
    assert_eq!((comparison.native[0].change, verdict(&comparison).as_str()), (Change::Added, "hot"));

    // For another machine: the number of the architecture is at a fixed place.
    let mut foreign = plain.clone();
    foreign[18..20].copy_from_slice(&243_u16.to_le_bytes());
    let comparison = compared(&old_one, &with(&new, demo("0.2.0", 2), &foreign));
    assert_eq!(comparison.native[0].new.as_ref().unwrap().architectures, ["riscv64"]);
    assert_eq!(verdict(&comparison), "cold: lib/demo-VSN/priv/nif.so");
}

#[test]
fn a_module_that_loads_a_library_restarts_its_application() {
    let with = |version: &str, number: u32| {
        let text = format!(
            "-export([f/0]).\n-on_load(load/0).\nload() -> erlang:load_nif(\"x\", 0).\nf() -> {number}."
        );
        release(version).app(app("demo", version).erl("native", &text))
    };
    assert_eq!(verdict(&compared(&with("0.1.0", 1), &with("0.2.0", 2))), "restart_application: native");
}

const PROTOCOL: &str = "
defprotocol Label do
  def label(x)
end
";

/// A release with a consolidated protocol; what stands for it is an unconsolidated one.
fn consolidated(version: &str, path: &str, implementation: &str) -> Release {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{PROTOCOL}{implementation}");
    let demo = app("demo", version).ex(&text);
    release(version).app(demo.clone()).make(folder.path());
    let module = folder.path().join(format!("lib/demo-{version}/ebin/Elixir.Label.beam"));
    let mut bytes = fs::read(module).unwrap();
    // Another byte at the end is another file, and damage to nobody who reads it.
    if !implementation.is_empty() {
        bytes.truncate(bytes.len() - 4);
    }
    release(version).app(demo).file(path, bytes)
}

const LIST: &str = "defimpl Label, for: List do\n  def label(_), do: 1\nend\n";

#[test]
fn consolidated_protocols_restart_where_the_layout_is_not_made_for_upgrades() {
    let plain = "releases/VSN/consolidated/Elixir.Label.beam";
    let comparison = compared(&consolidated("0.1.0", plain, ""), &consolidated("0.2.0", plain, LIST));
    let [label] = &comparison.protocols[..] else { panic!("{:?}", comparison.protocols) };
    assert_eq!((label.consolidated, label.class), (true, Class::RestartVm));
    assert_eq!(label.implementations[0].target, "Elixir.List");
    assert!(comparison.modules.iter().any(|modules| modules.application == CONSOLIDATED));

    let hot = |version: &str, implementation: &str| {
        let path = format!("lib/demo_protocols-{version}/ebin/Elixir.Label.beam");
        consolidated(version, &path, implementation).app(app("demo_protocols", version).mode("none")).hot()
    };
    let comparison = compared(&hot("0.1.0", ""), &hot("0.2.0", LIST));
    let [label] = &comparison.protocols[..] else { panic!("{:?}", comparison.protocols) };
    assert_eq!(
        (label.consolidated, label.class, label.application.as_deref()),
        (true, Class::Hot, Some("demo"))
    );
    assert_eq!((verdict(&comparison).as_str(), comparison.moved.len()), ("hot", 0));
}

#[test]
fn releases_of_distillery_and_relx_are_understood() {
    // Distillery: protocols lie in the application, scripts beside the release's own files.
    let distillery = |version: &str, implementation: &str, hook: &str| {
        let path = format!("lib/demo-{version}/consolidated/Elixir.Label.beam");
        consolidated(version, &path, implementation)
            .file("releases/RELEASES", "[].")
            .file("releases/VSN/libexec/config.sh", hook)
            .file("releases/VSN/demo.boot", "boot")
    };
    let comparison = compared(&distillery("0.1.0", "", "one"), &distillery("0.2.0", LIST, "other"));
    assert!(!comparison.new.hot_layout);
    assert!(comparison.modules.iter().any(|modules| modules.application == CONSOLIDATED));
    assert_eq!(comparison.protocols[0].class, Class::RestartVm);
    let script = comparison.files.iter().find(|file| file.path == "releases/VSN/libexec/config.sh").unwrap();
    assert_eq!((script.role, script.class), (FileRole::Script, Class::Hot));

    // relx: the script has the version in its name, and the configuration may have variables in it.
    let relx = |version: &str, number: u32| {
        release(version)
            .app(demo(version, number))
            .file("releases/VSN/vm.args.src", "-name ${NAME}\n")
            .file(&format!("bin/demo-{version}"), "#!/bin/sh\n")
            .file("releases/RELEASES", "[].")
    };
    let (mut old, mut new) = (relx("0.1.0", 1), relx("0.2.0", 2));
    for (release, number) in [(&mut old, 1), (&mut new, 2)] {
        release.files.retain(|(path, _)| path != "releases/VSN/sys.config");
        let text = format!("[{{demo,[{{number,{number}}}]}}].");
        release.files.push(("releases/VSN/sys.config.src".into(), text.into_bytes()));
    }
    let comparison = compared(&old, &new);
    assert_eq!(verdict(&comparison), "hot");
    assert_eq!(comparison.config.keys[0].key, ["number"]);
    assert!(!comparison.files.iter().any(|file| file.path.starts_with("bin/")), "{:?}", comparison.files);
}
