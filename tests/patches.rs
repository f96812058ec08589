//! Patches: the new version lies beside the old one, both start, and what is not right is refused before anything is written.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use relgraph_cache::{Digest, codec::Writer};
use relgraph_rules::patch::{Entry, MAGIC, Patch, Source, Version};
use support::files::{differences, snapshot};
use support::node::Node;
use support::project::Project;
use support::{RELGRAPH, Said, TestSpace, ask, is_root, said, unprivileged};

type Tree = BTreeMap<String, String>;

const SERVES: &str = "is_pid(Process.whereis(Sequence.Server))";

/// examples/sequence 0.1.0 and 0.2.0, built.
struct Pair {
    space: TestSpace,
    project: Project,
    old: PathBuf,
    package: PathBuf,
    new: PathBuf,
}

impl Pair {
    fn new() -> Pair {
        let space = TestSpace::new();
        let built = space.sequence("one").build();
        let project = space.example("sequence-0.2.0", "two");
        let new = project.build().release();
        Pair { old: built.release(), package: built.package(), project, new, space }
    }

    /// The old release, unpacked somewhere.
    fn unpacked(&self, at: &str) -> PathBuf {
        let folder = self.space.path(at);
        fs::create_dir_all(&folder).expect("a folder");
        said(Command::new("tar").arg("-xzf").arg(&self.package).arg("-C").arg(&folder));
        folder
    }

    fn patch(&self, more: &[&str]) -> PathBuf {
        let file = self.space.path(if more.is_empty() { "a.patch" } else { "plain.tar.gz" });
        let words = [text(&self.package), text(&self.new), "--patch".into(), text(&file)];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = self.project.ask(&[&["diff"], &words[..], more].concat());
        assert_eq!((said.status, said.err.as_str()), (Some(0), ""), "{}", said.out);
        file
    }

    fn apply(&self, patch: &Path, to: &Path, more: &[&str]) -> Said {
        self.project.ask(&[&["apply", &text(patch), "--to", &text(to)], more].concat())
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What a version consists of, of all that lies in a folder.
fn of_version(tree: &Tree, wanted: &Tree) -> Tree {
    let record = |path: &str| ["releases/RELEASES", "releases/start_erl.data"].contains(&path);
    tree.iter()
        .filter(|(path, _)| wanted.contains_key(*path) && !record(path))
        .map(|(path, what)| (path.clone(), what.clone()))
        .collect()
}

#[track_caller]
fn assert_refused(said: &Said, parts: &[&str]) {
    assert_eq!(said.status, Some(1), "{}{}", said.out, said.err);
    for part in parts {
        assert!(said.err.contains(part), "{part:?} is not in:\n{}", said.err);
    }
}

/// Asserts that the new version lies there whole, that the old one is as it was, and that both start.
#[track_caller]
fn assert_both(pair: &Pair, folder: &Path, before: &Tree) {
    let (after, new) = (snapshot(folder), snapshot(&pair.new));
    let mut expected = of_version(&new, &new);
    // The script is the same in both.
    expected.retain(|path, _| path != "releases/COOKIE");
    assert_eq!(differences(&of_version(&after, &new), &expected), Vec::<String>::new());
    let touched: Vec<String> =
        differences(before, &after).into_iter().filter(|path| before.contains_key(path)).collect();
    assert_eq!(touched, ["releases/RELEASES"], "of the old version");
    let started = |version: Option<&str>| {
        let node = Node::new(&pair.space, folder, "sequence").with("SEQUENCE_START", "7");
        let node = match version {
            Some(version) => node.with("RELEASE_VSN", version),
            None => node,
        };
        node.daemon(SERVES);
        let answer =
            node.rpc("IO.puts(to_string(Application.spec(:sequence, :vsn)) <> \" #{Sequence.next()}\")");
        node.stop();
        // Pipes cannot be read like files.
        fs::remove_dir_all(folder.join("tmp")).expect("removed");
        answer
    };
    assert_eq!(started(None), "0.1.0 7", "what is started is as it was");
    assert_eq!(started(Some("0.2.0")), "0.2.0 7");
    fs::remove_file(folder.join("releases/COOKIE")).expect("removed");
}

const RELEASES: &str = "for {_, v, _, s} <- :release_handler.which_releases(), do: IO.puts(\"#{v} #{s}\")";

#[track_caller]
fn assert_active(pair: &Pair, folder: &Path) {
    let node = Node::new(&pair.space, folder, "sequence");
    assert_eq!(node.says(&["version"]), "sequence 0.2.0");
    node.daemon(SERVES);
    let listed = node.rpc(RELEASES);
    let mut lines: Vec<&str> = listed.lines().filter(|line| line.contains('.')).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0.1.0 old", "0.2.0 permanent"], "the release handler");
    node.stop();
}

#[test]
fn the_new_version_lies_beside_the_old_one_and_both_start() {
    let pair = Pair::new();
    let patch = pair.patch(&[]);
    let (small, package) = (fs::metadata(&patch).unwrap().len(), fs::metadata(&pair.package).unwrap().len());
    assert!(small * 50 < package, "{small} of {package}");
    let folder = pair.unpacked("place");
    let before = snapshot(&folder);
    let said = pair.apply(&patch, &folder, &[]);
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""), "{}", said.out);
    assert_both(&pair, &folder, &before);

    let once = snapshot(&folder);
    let again = pair.apply(&patch, &folder, &[]);
    assert_eq!(again.status, Some(0), "{}", again.err);
    assert!(again.out.contains("there already; nothing was done"), "{}", again.out);
    assert_eq!(differences(&once, &snapshot(&folder)), Vec::<String>::new());

    let active = pair.apply(&patch, &folder, &["--activate", "--format", "json"]);
    assert_eq!(active.status, Some(0), "{}", active.err);
    assert!(active.out.contains("\"activated\":true"), "{}", active.out);
    assert_active(&pair, &folder);
}

#[test]
fn a_script_applies_a_patch_of_plain_files_on_a_machine_without_relgraph() {
    let pair = Pair::new();
    let patch = text(&pair.patch(&["--plain"]));
    let folder = pair.unpacked("some place");
    let before = snapshot(&folder);
    let node = Node::new(&pair.space, &folder, "sequence");
    let said = node.says(&["apply", &patch]);
    assert_eq!(said, "sequence 0.2.0 lies beside 0.1.0; apply it with --activate to start it from now on");
    assert_both(&pair, &folder, &before);
    let once = snapshot(&folder);
    node.says(&["apply", &patch]);
    assert_eq!(differences(&once, &snapshot(&folder)), Vec::<String>::new());
    assert_eq!(node.says(&["apply", "--activate", &patch]), "sequence 0.2.0 is started from now on");
    assert_active(&pair, &folder);
}

#[test]
fn what_is_not_what_the_patch_is_for_is_refused_and_left_alone() {
    let pair = Pair::new();
    let (patch, plain) = (pair.patch(&[]), pair.patch(&["--plain"]));
    let folder = pair.unpacked("place");
    let node = Node::new(&pair.space, &folder, "sequence");
    let refused = |what: &str, parts: &[&str]| {
        let before = snapshot(&folder);
        assert_refused(&pair.apply(&patch, &folder, &[]), parts);
        let script = node.ask(&["apply", &text(&plain)]);
        assert_refused(&script, &["nothing was changed"]);
        assert_eq!(differences(&before, &snapshot(&folder)), Vec::<String>::new(), "{what}");
    };
    let kept = folder.join("lib/kernel-8.5.3/ebin");
    let kept = if kept.is_dir() { kept } else { some_folder(&folder.join("lib"), "kernel-").join("ebin") };
    let file = kept.join("kernel.app");
    let good = fs::read(&file).expect("a file");
    fs::write(&file, "damaged").expect("written");
    refused("another content", &["the patch is not for", "kernel.app: another content", "sequence 0.1.0"]);
    fs::remove_file(&file).expect("removed");
    refused("a file is gone", &["kernel.app: missing"]);
    let elsewhere = pair.space.path("elsewhere");
    fs::write(&elsewhere, &good).expect("written");
    symlink(&elsewhere, &file).expect("a link");
    assert_refused(&pair.apply(&patch, &folder, &[]), &["kernel.app: not a plain file"]);
    fs::remove_file(&file).expect("removed");
    fs::write(&file, &good).expect("written");

    // Something else lies where the version belongs.
    fs::create_dir(folder.join("lib/sequence-0.2.0")).expect("a folder");
    fs::write(folder.join("lib/sequence-0.2.0/x"), "").expect("written");
    refused("occupied", &["lib/sequence-0.2.0 is there already"]);
    fs::remove_dir_all(folder.join("lib/sequence-0.2.0")).expect("removed");

    assert_eq!(pair.apply(&patch, &folder, &[]).status, Some(0), "now nothing is wrong with it");
    let wrong = pair.apply(&patch, &pair.space.path("."), &[]);
    assert_eq!(wrong.status, Some(2), "{}", wrong.err);
    assert!(wrong.err.contains("is not the folder of a release"), "{}", wrong.err);
}

fn some_folder(inside: &Path, start: &str) -> PathBuf {
    let names = fs::read_dir(inside).expect("a folder").flatten().map(|entry| entry.path());
    names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(start)).min().expect(start)
}

#[test]
fn a_damaged_or_shortened_patch_is_refused_before_anything_is_written() {
    let pair = Pair::new();
    let folder = pair.unpacked("place");
    let before = snapshot(&folder);
    let node = Node::new(&pair.space, &folder, "sequence");
    let bad = pair.space.path("bad");
    for (plain, patch) in [(false, pair.patch(&[])), (true, pair.patch(&["--plain"]))] {
        let good = fs::read(&patch).expect("a patch");
        for at in [3, 20, good.len() / 4, good.len() / 2, good.len() - 100] {
            for cut in [false, true] {
                let mut bytes = good.clone();
                if cut {
                    bytes.truncate(at)
                } else {
                    bytes[at] ^= 0x10
                }
                fs::write(&bad, bytes).expect("written");
                let said =
                    if plain { node.ask(&["apply", &text(&bad)]) } else { pair.apply(&bad, &folder, &[]) };
                // In the head of a gzip file are bits that mean nothing.
                assert!(said.status == Some(1) || (plain && at < 10 && !cut), "{at} {cut}: {}", said.out);
                assert_eq!(said.status == Some(1), differences(&before, &snapshot(&folder)).is_empty());
                if said.status != Some(1) {
                    fs::remove_dir_all(&folder).expect("removed");
                    pair.unpacked("place");
                }
            }
        }
    }
}

/// A patch for the release that says what no writer of patches would.
fn hostile(path: &Path, entries: &[(&str, Entry)], payload: &[u8]) {
    let version =
        |version: &str| Version { name: "sequence".into(), version: version.into(), erts: String::new() };
    let mut all: BTreeMap<String, Entry> =
        ["releases", "releases/9", "lib", "lib/x-1"].map(|path| (path.to_owned(), Entry::Folder)).into();
    all.extend(entries.iter().map(|(path, entry)| ((*path).to_owned(), entry.clone())));
    let patch = Patch {
        old: version("0.1.0"),
        new: version("9"),
        conflicts: Vec::new(),
        entries: all,
        payload: Digest::of(payload),
    };
    let mut bytes = patch.encode().expect("a header");
    bytes.extend_from_slice(payload);
    fs::write(path, bytes).expect("written");
}

fn file(content: &[u8], from: Source) -> Entry {
    Entry::File { digest: Digest::of(content), executable: false, from, before: None }
}

#[test]
fn a_patch_that_is_not_meant_well_writes_nothing_anywhere() {
    let pair = Pair::new();
    let folder = pair.unpacked("deep/place");
    let outside = pair.space.path("deep");
    fs::write(outside.join("secret"), "secret").expect("written");
    let before = snapshot(&outside);
    let patch = pair.space.path("hostile");
    let bomb = said_bytes(Command::new("sh").args(["-c", "head -c 50000000 /dev/zero | zstd -q -c"]));
    let held = |content: &[u8], payload: &[u8]| file(content, Source::Whole { length: payload.len() as u64 });
    let link = |target: &str| Entry::Symlink { target: target.into() };
    let copy = |path: &str| file(b"secret", Source::Copy { path: path.into() });
    let abc: &[u8] = &said_bytes(Command::new("sh").args(["-c", "printf abc | zstd -q -c --stream-size=3"]));
    let cases: &[(&str, &str, Entry, &[u8])] = &[
        ("../evil", "outside", held(b"abc", abc), abc),
        ("/evil", "outside", held(b"abc", abc), abc),
        ("lib/x-1/../../../evil", "outside", held(b"abc", abc), abc),
        ("lib/none/evil", "no folder", held(b"abc", abc), abc),
        ("releases/COOKIE", "in no patch", held(b"abc", abc), abc),
        ("lib/x-1/a", "leads out", link("../../../secret"), b""),
        ("lib/x-1/a", "leads out", link("/etc/passwd"), b""),
        ("lib/x-1/a", "outside", copy("../secret"), b""),
        ("lib/x-1/a", "does not become", held(b"abd", abc), abc),
        ("lib/x-1/a", "is damaged", held(b"abc", &bomb), &bomb),
        ("lib/x-1/a", "lengths of its frames", held(b"abc", b""), abc),
        ("releases/9", "no folder releases/9", held(b"abc", abc), abc),
    ];
    for (path, told, entry, payload) in cases {
        hostile(&patch, &[(path, entry.clone())], payload);
        assert_refused(&pair.apply(&patch, &folder, &["--activate"]), &[told]);
        assert_eq!(differences(&before, &snapshot(&outside)), Vec::<String>::new(), "{path} {told}");
    }
    // A folder of the old version is not changed.
    let kept = format!("lib/{}", name(&some_folder(&folder.join("lib"), "kernel-")));
    let app = format!("{kept}/ebin/kernel.app");
    let content = fs::read(folder.join(&app)).expect("a file");
    let (ebin, more) = (format!("{kept}/ebin"), format!("{kept}/ebin/more.beam"));
    let entries = [
        (kept.as_str(), Entry::Folder),
        (&ebin, Entry::Folder),
        (&app, file(&content, Source::Kept)),
        (&more, held(b"abc", abc)),
    ];
    hostile(&patch, &entries, abc);
    assert_refused(&pair.apply(&patch, &folder, &[]), &["which the old version has"]);
    // What is not even a header.
    let mut header = Writer::new(MAGIC);
    header.u64(u64::MAX).u64(u64::MAX);
    for bytes in [header.finish(), b"relgraph patch 2\n".to_vec(), Vec::new()] {
        fs::write(&patch, bytes).expect("written");
        assert_refused(&pair.apply(&patch, &folder, &[]), &["cannot be applied"]);
    }
    assert_eq!(differences(&before, &snapshot(&outside)), Vec::<String>::new());
    // Where lib leads elsewhere, nothing is put.
    let real = pair.space.path("real");
    fs::rename(folder.join("lib"), &real).expect("moved");
    symlink(&real, folder.join("lib")).expect("a link");
    let there = snapshot(&real);
    assert_refused(&pair.apply(&pair.patch(&[]), &folder, &[]), &["is not what the patch makes"]);
    assert_eq!(differences(&there, &snapshot(&real)), Vec::<String>::new());
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn said_bytes(command: &mut Command) -> Vec<u8> {
    command.output().expect("it runs").stdout
}

#[test]
fn a_hostile_patch_of_plain_files_is_refused_by_the_script() {
    let pair = Pair::new();
    let folder = pair.unpacked("deep/place");
    let outside = pair.space.path("deep");
    let before = snapshot(&outside);
    let node = Node::new(&pair.space, &folder, "sequence");
    let good = pair.patch(&["--plain"]);
    let (work, bad) = (pair.space.path("work"), pair.space.path("bad.tar.gz"));
    // What is done to the unpacked patch, and how it is packed again.
    let pack = "tar -czf \"$OUT\" patch new";
    let cases = [
        ("echo ../evil >> patch/folders", pack),
        ("echo bin >> patch/folders", pack),
        ("echo releases/COOKIE >> patch/folders", pack),
        ("printf '../../../secret\\tlib/sequence-0.2.0/x\\n' >> patch/copies", pack),
        ("printf 'lib/sequence-0.2.0/x\\t../../../secret\\n' >> patch/links", pack),
        ("printf 'lib/sequence-0.2.0/x\\t/etc\\n' >> patch/links", pack),
        ("echo ../../../evil >> patch/directories", pack),
        ("echo /tmp >> patch/executables", pack),
        ("ln -s /etc new/evil", pack),
        ("ln patch/info new/hard", pack),
        ("echo evil > evil", "tar -czf \"$OUT\" patch new evil"),
        ("echo evil > ../evil2", "tar -czPf \"$OUT\" patch new ../evil2"),
        ("echo x >> new/lib/sequence-0.2.0/ebin/sequence.app", pack),
        ("sed -i 's/^name .*/name other/' patch/info", pack),
        ("sed -i 's/plain patch 1/plain patch 2/' patch/info", pack),
        ("rm patch/info", pack),
    ];
    for (change, pack) in cases {
        let script = format!(
            "rm -rf \"$WORK\" && mkdir \"$WORK\" && cd \"$WORK\" && tar -xzf \"$GOOD\" && {change} && {pack}"
        );
        let mut shell = Command::new("sh");
        said(shell.args(["-c", &script]).env("WORK", &work).env("GOOD", &good).env("OUT", &bad));
        assert_refused(&node.ask(&["apply", &text(&bad), "--activate"]), &["nothing was changed"]);
        assert_eq!(differences(&before, &snapshot(&outside)), Vec::<String>::new(), "{change}");
    }
}

#[test]
fn a_full_disk_and_a_folder_that_nobody_may_write_leave_the_old_version_alone() {
    let pair = Pair::new();
    let (patch, plain) = (pair.patch(&[]), pair.patch(&["--plain"]));
    let folder = pair.unpacked("place");
    let before = snapshot(&folder);
    // Files may not grow: whoever writes more is told so, or killed.
    for command in [
        format!("ulimit -f 16; exec {RELGRAPH} apply {} --to {}", text(&patch), text(&folder)),
        format!("ulimit -f 16; exec {} apply {}", text(&folder.join("bin/sequence")), text(&plain)),
    ] {
        let said = ask(Command::new("sh").args(["-c", &command]));
        assert_ne!(said.status, Some(0), "{}", said.out);
        let mut after = snapshot(&folder);
        // One that was killed leaves its work behind.
        after.retain(|path, _| !path.contains(".staging"));
        assert_eq!(differences(&before, &after), Vec::<String>::new(), "{}", said.err);
    }
    assert_eq!(pair.apply(&patch, &folder, &[]).status, Some(0));
    let node = Node::new(&pair.space, &folder, "sequence");
    node.says(&["apply", &text(&plain)]);
    let left: Vec<String> = snapshot(&folder).into_keys().filter(|path| path.contains(".staging")).collect();
    assert_eq!(left, Vec::<String>::new(), "the next one removes what a killed one left");

    let open = TestSpace::open_to_all();
    let theirs = open.path("place");
    fs::create_dir_all(&theirs).expect("a folder");
    said(Command::new("tar").arg("-xzf").arg(&pair.package).arg("-C").arg(&theirs));
    for file in [&patch, &plain] {
        fs::copy(file, open.path(&name(file))).expect("a copy");
    }
    fs::copy(RELGRAPH, open.path("relgraph")).expect("a copy");
    if !is_root() {
        said(Command::new("chmod").args(["-R", "a-w"]).arg(&theirs));
    }
    let before = snapshot(&theirs);
    let run = |program: &Path, args: &[&str]| {
        let words = unprivileged().into_iter().map(str::to_owned).chain([text(program)]);
        let words: Vec<String> = words.chain(args.iter().map(|&arg| arg.to_owned())).collect();
        ask(Command::new(&words[0]).args(&words[1..]).current_dir("/"))
    };
    let ours = run(&open.path("relgraph"), &["apply", &text(&open.path("a.patch")), "--to", &text(&theirs)]);
    assert_refused(&ours, &["cannot create a folder in"]);
    let script = run(&theirs.join("bin/sequence"), &["apply", &text(&open.path("plain.tar.gz"))]);
    assert_refused(&script, &["could not write to"]);
    assert_eq!(differences(&before, &snapshot(&theirs)), Vec::<String>::new());
}

#[test]
fn versions_that_share_a_folder_with_other_files_become_releases_of_their_own() {
    let pair = Pair::new();
    let changed = pair.space.path("changed");
    said(Command::new("cp").arg("-a").arg(&pair.new).arg(&changed));
    let kernel = some_folder(&changed.join("lib"), "kernel-");
    fs::write(kernel.join("more"), "more").expect("written");
    fs::write(changed.join("bin/sequence"), "#!/bin/sh\necho other\n").expect("written");
    let patch = text(&pair.space.path("a.patch"));
    let diff = ["diff", &text(&pair.old), &text(&changed), "--patch", &patch];
    let made = pair.project.ask(&diff);
    assert_eq!(made.status, Some(0), "{}", made.err);
    assert!(made.err.contains("both versions have lib/kernel-"), "{}", made.err);
    let plain = pair.project.ask(&[&diff[..], &["--plain"]].concat());
    assert_refused(&plain, &["cannot lie beside each other"]);

    let patch = Path::new(&patch);
    let folder = pair.unpacked("place");
    fs::write(folder.join("releases/COOKIE"), "cookie").expect("written");
    let before = snapshot(&folder);
    assert_refused(&pair.apply(patch, &folder, &[]), &["cannot lie beside each other", "--into"]);
    let own = pair.space.path("own");
    let into = pair.apply(patch, &folder, &["--into", &text(&own)]);
    assert_eq!(into.status, Some(0), "{}", into.err);
    let mut after = snapshot(&own);
    assert!(after.remove("releases/COOKIE").is_some_and(|cookie| cookie.starts_with("600 ")));
    assert_eq!(differences(&after, &snapshot(&changed)), Vec::<String>::new());
    assert_eq!(differences(&before, &snapshot(&folder)), Vec::<String>::new());
    assert_refused(&pair.apply(patch, &folder, &["--into", &text(&own)]), &["is there already"]);
}

#[test]
fn what_all_versions_share_is_replaced_when_the_new_one_is_to_be_started() {
    let pair = Pair::new();
    let changed = pair.space.path("changed");
    said(Command::new("cp").arg("-a").arg(&pair.new).arg(&changed));
    let script = fs::read_to_string(changed.join("bin/sequence")).expect("a script");
    fs::write(changed.join("bin/sequence"), format!("{script}# other\n")).expect("written");
    fs::create_dir(changed.join("etc")).expect("a folder");
    fs::write(changed.join("etc/conf"), "conf").expect("written");
    let file = text(&pair.space.path("a.patch"));
    for plain in [false, true] {
        let more: &[&str] = if plain { &["--plain"] } else { &[] };
        let words = ["diff".into(), text(&pair.old), text(&changed), "--patch".into(), file.clone()];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(pair.project.ask(&[&words[..], more].concat()).status, Some(0));
        let folder = pair.unpacked(if plain { "plain" } else { "place" });
        let node = Node::new(&pair.space, &folder, "sequence");
        let apply = |more: &[&str]| match plain {
            true => node.ask(&[&["apply", &file], more].concat()),
            false => pair.apply(Path::new(&file), &folder, more),
        };
        let bin = || fs::read_to_string(folder.join("bin/sequence")).expect("a script");
        assert_eq!(apply(&[]).status, Some(0));
        assert_eq!((bin(), folder.join("etc").exists()), (script.clone(), false));
        // What somebody has written into it is not lost.
        fs::write(folder.join("bin/sequence"), format!("{script}# mine\n")).expect("written");
        assert_refused(&apply(&["--activate"]), &["bin/sequence"]);
        fs::write(folder.join("bin/sequence"), &script).expect("written");
        let said = apply(&["--activate"]);
        assert_eq!(said.status, Some(0), "{}", said.err);
        assert_eq!(bin(), format!("{script}# other\n"));
        assert_eq!(fs::read_to_string(folder.join("etc/conf")).expect("a file"), "conf");
        assert_eq!(node.says(&["version"]), "sequence 0.2.0");
    }
}
