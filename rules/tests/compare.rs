//! Comparing releases made of real modules, in the store, in folders and in archives.

#[allow(dead_code)]
mod erlang;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use relgraph_cache::Store;
use relgraph_rules::compare::{Change, CompareError, Comparison, FileRole, How, Side, compare, unpack};
use relgraph_rules::package::tar_gz;

/// A small release: `demo` with modules of one function each.
struct Demo {
    version: &'static str,
    kernel: &'static str,
    config: &'static str,
    runtime: &'static str,
    modules: &'static [(&'static str, &'static str)],
    extra: &'static [(&'static str, &'static str)],
}

const OLD: Demo = Demo {
    version: "0.1.0",
    kernel: "8.5.3",
    config: "[{demo,[{a,1},{secret_key,\"x\"},{http,[{port,80}]}]}].",
    runtime: "import Config\n",
    modules: &[
        ("same", "f() -> 1."),
        ("code", "f() -> 1."),
        ("lines", "f() -> erlang:error(1)."),
        ("docs", "f() -> 1."),
        ("gone", "f() -> 1."),
    ],
    extra: &[
        ("lib/gone-1.0/ebin/gone.app", "{application,gone,[{vsn,\"1.0\"}]}."),
        ("bin/demo", "#!/bin/sh\n"),
    ],
};

const NEW: Demo = Demo {
    version: "0.2.0",
    kernel: "8.5.3",
    config: "[{demo,[{a,2},{secret_key,\"y\"},{http,[{port,80},{ip,any}]}]}].",
    runtime: "import Config\n\n",
    modules: &[
        ("same", "f() -> 1."),
        ("code", "-export([g/0]).\n-behaviour(b).\nf() -> 2.\ng() -> 3."),
        ("lines", "\n\nf() -> erlang:error(1)."),
        ("docs", "f() -> 1.   %% nothing"),
        ("fresh", "f() -> 1."),
    ],
    extra: &[
        ("bin/demo", "#!/bin/sh\necho\n"),
        ("lib/demo-0.2.0/priv/data", "data"),
        ("releases/COOKIE", "cookie"),
    ],
};

impl Demo {
    fn make(&self, root: &Path) {
        let write = |path: String, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let version = self.version;
        write("releases/start_erl.data".to_owned(), &format!("13.1.5 {version}"));
        let gone = if self.extra[0].0.contains("gone") { ",{gone,\"1.0\",load}" } else { "" };
        let rel = format!(
            "{{release,{{\"demo\",\"{version}\"}},{{erts,\"13.1.5\"}},[{{kernel,\"{}\",permanent}},{{demo,\"{version}\"}}{gone}]}}.",
            self.kernel
        );
        write(format!("releases/{version}/demo.rel"), &rel);
        write(format!("releases/{version}/start_clean.rel"), "{release,{\"other\",\"9\"},{erts,\"1\"},[]}.");
        write(format!("releases/{version}/sys.config"), self.config);
        write(format!("releases/{version}/runtime.exs"), self.runtime);
        write("erts-13.1.5/bin/erl".to_owned(), "erl");
        write(format!("lib/kernel-{}/ebin/kernel.app", self.kernel), "{application,kernel,[]}.");
        write(
            format!("lib/demo-{version}/ebin/demo.app"),
            &format!("{{application,demo,[{{vsn,\"{version}\"}}]}}."),
        );
        for (path, text) in self.extra {
            write((*path).to_owned(), text);
        }
        let sources = tempfile::tempdir().unwrap();
        let ebin = root.join(format!("lib/demo-{version}/ebin"));
        for (name, body) in self.modules {
            let source = sources.path().join(format!("{name}.erl"));
            fs::write(&source, format!("-module({name}).\n-export([f/0]).\n{body}\n")).unwrap();
            // Debug data holds the options, so that of `docs` differs between the releases.
            let option = format!("+{{version,\"{}\"}}", if *name == "docs" { version } else { "" });
            let output = Command::new("erlc")
                .args(["+deterministic", "+debug_info", &option, "-o"])
                .arg(&ebin)
                .arg(&source)
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    OLD.make(&old);
    NEW.make(&new);
    (folder, old, new)
}

fn check(comparison: &Comparison) {
    assert!(!comparison.same);
    let release = &comparison.new;
    assert_eq!((release.name.as_str(), release.version.as_str()), ("demo", "0.2.0"));
    assert_eq!(
        (release.erts.as_deref(), release.otp.as_deref(), release.includes_erts),
        (Some("13.1.5"), Some("25"), true)
    );

    let applications = &comparison.applications;
    assert_eq!(applications.removed.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), ["gone"]);
    assert_eq!(applications.removed[0].mode.as_deref(), Some("load"));
    assert_eq!((applications.added.len(), applications.unchanged), (0, 1));
    let demo = &applications.changed[0];
    assert_eq!(
        (demo.name.as_str(), demo.old_version.as_str(), demo.new_version.as_str()),
        ("demo", "0.1.0", "0.2.0")
    );

    let [modules] = &comparison.modules[..] else { panic!("{:?}", comparison.modules) };
    assert_eq!((modules.added.join(" "), modules.removed.join(" ")), ("fresh".to_owned(), "gone".to_owned()));
    let changed: Vec<(&str, How)> =
        modules.changed.iter().map(|module| (module.module.as_str(), module.how)).collect();
    assert_eq!(changed, [("code", How::Code), ("docs", How::OnlyDebug), ("lines", How::OnlyLines)]);
    let code = &modules.changed[0];
    assert_eq!(code.exports_added.iter().map(ToString::to_string).collect::<Vec<_>>(), ["g/0"]);
    assert_eq!(code.behaviours_added, ["b"]);

    let keys: Vec<String> =
        comparison.config.keys.iter().map(|key| format!("{} {:?}", key.key.join("."), key.new)).collect();
    assert_eq!(keys, ["a Some(\"2\")", "http.ip Some(\"any\")", "secret_key Some(\"[masked]\")"]);
    assert_eq!(comparison.config.runtime, Some(Change::Changed));

    let files: Vec<(&str, FileRole, Change)> =
        comparison.files.iter().map(|file| (file.path.as_str(), file.role, file.change)).collect();
    let expected = [
        ("bin/demo", FileRole::Script, Change::Changed),
        ("lib/demo-VSN/ebin/demo.app", FileRole::Resource, Change::Changed),
        ("lib/demo-VSN/priv/data", FileRole::Application, Change::Added),
        ("releases/COOKIE", FileRole::Cookie, Change::Added),
        ("releases/VSN/demo.rel", FileRole::Boot, Change::Changed),
        ("releases/start_erl.data", FileRole::Boot, Change::Changed),
    ];
    assert_eq!(files, expected);
    let sizes = &comparison.sizes;
    assert!(sizes.new > 0 && sizes.old > 0);
    let demo = sizes.applications.iter().find(|size| size.application == "demo").unwrap();
    assert!(demo.old.unwrap() > 1000 && demo.new.unwrap() > demo.old.unwrap());
}

#[test]
fn folders_trees_and_archives_compare_alike() {
    let (folder, old, new) = folders();
    let store = Store::open(&folder.path().join("store")).unwrap();
    check(&compare(&Side::Folder(old.clone()), &Side::Folder(new.clone())).unwrap());

    let tree = store.ingest(&new, &|_| true).unwrap();
    let stored = Side::Tree { store: &store, tree };
    check(&compare(&Side::open(&store, &old).unwrap(), &stored).unwrap());

    let archive = folder.path().join("old.tar.gz");
    tar_gz(&store, &store.ingest(&old, &|_| true).unwrap(), Some("demo"), &archive).unwrap();
    let comparison = compare(&Side::open(&store, &archive).unwrap(), &stored).unwrap();
    check(&comparison);
    assert_eq!(comparison.new.tree, Some(tree));
    let json = serde_json::to_value(&comparison).unwrap();
    assert_eq!(json["schema"], "relgraph.diff/1");
    assert_eq!(json["modules"][0]["changed"][0]["exports_added"][0], "g/0");
}

#[test]
fn a_release_is_the_same_as_itself_wherever_it_lies() {
    let (folder, old, _) = folders();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let tree = store.ingest(&old, &|_| true).unwrap();
    let comparison = compare(&Side::Folder(old), &Side::Tree { store: &store, tree }).unwrap();
    assert!(comparison.same);
    assert!(
        comparison.files.is_empty() && comparison.modules.is_empty() && comparison.config.keys.is_empty()
    );
    assert_eq!(comparison.applications.unchanged, 3);
}

#[test]
fn what_is_no_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let side = Side::Folder(folder.path().to_owned());
    assert!(matches!(compare(&side, &side), Err(CompareError::NotARelease { .. })));
}

fn refused(entries: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    entries(&mut builder);
    let path = folder.path().join("a.tar.gz");
    let mut gzip =
        flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::fast());
    gzip.write_all(&builder.into_inner().unwrap()).unwrap();
    gzip.finish().unwrap();
    let reason = match unpack(&store, &path) {
        Err(CompareError::Archive { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    reason
}

fn entry(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, link: &str) {
    let mut header = tar::Header::new_gnu();
    let fields = header.as_old_mut();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &[][..]).unwrap();
}

#[test]
fn archives_that_reach_outside_are_refused() {
    use tar::EntryType::{Char, Link, Regular, Symlink};
    let one = |kind, name: &str, link: &str| refused(|builder| entry(builder, kind, name, link));
    assert!(one(Regular, "../evil", "").contains("lies outside"));
    assert!(one(Regular, "/etc/evil", "").contains("lies outside"));
    assert!(one(Regular, "a/../../evil", "").contains("lies outside"));
    assert!(one(Symlink, "link", "/etc").contains("leads out"));
    assert!(one(Symlink, "a/link", "../../etc").contains("leads out"));
    assert!(one(Link, "link", "/etc/passwd").contains("no earlier file"));
    assert!(one(Char, "device", "").contains("neither a file"));
    let through = refused(|builder| {
        entry(builder, Symlink, "link", "folder");
        entry(builder, Regular, "link/evil", "");
    });
    assert!(through.contains("link"), "{through}");
}

#[test]
fn truncated_archives_are_refused() {
    let (folder, old, _) = folders();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let archive = folder.path().join("old.tar.gz");
    tar_gz(&store, &store.ingest(&old, &|_| true).unwrap(), None, &archive).unwrap();
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    assert!(unpack(&store, &archive).is_err());
    fs::write(&archive, b"not an archive").unwrap();
    assert!(unpack(&store, &archive).is_err());
}

#[test]
fn trees_that_are_no_releases_of_erlang_are_compared_by_their_files() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("store")).unwrap();
    let tree = |text: &str| {
        let mut builder = relgraph_cache::TreeBuilder::new();
        builder.file("bin/greet", store.put_bytes(text.as_bytes()).unwrap(), true).unwrap();
        builder.file("share/doc", store.put_bytes(b"doc").unwrap(), false).unwrap();
        builder.finish(&store).unwrap()
    };
    let named = |text: &str, version: &str| Side::Named {
        store: &store,
        tree: tree(text),
        name: "greeter".into(),
        version: version.into(),
    };
    let comparison = compare(&named("one", "1.0.0"), &named("other", "1.1.0")).unwrap();
    assert_eq!((comparison.old.name.as_str(), comparison.new.version.as_str()), ("greeter", "1.1.0"));
    let files: Vec<&str> = comparison.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["bin/greet"]);
    assert!(compare(&named("one", "1.0.0"), &named("one", "1.0.0")).unwrap().same);
    let whole = relgraph_rules::compare::contents(&named("one", "1.0.0")).unwrap();
    assert_eq!((whole.files, whole.size, whole.applications.len()), (2, 6, 0));
    let plain = Side::Tree { store: &store, tree: tree("one") };
    assert!(matches!(compare(&plain, &plain), Err(CompareError::NotARelease { .. })));
}
