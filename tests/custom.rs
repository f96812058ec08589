//! Steps of the user's own: a graph without any Elixir in it.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::files::snapshot;
use support::project::{Project, set};
use support::{TestSpace, said};

/// examples/custom-steps, on a machine without Erlang and Elixir.
fn greeter(space: &TestSpace) -> Project {
    space.example("custom-steps", "greeter").with("PATH", &space.path_without_erlang())
}

/// A project with these steps and nothing else.
fn project(space: &TestSpace, steps: &str) -> Project {
    let dir = space.path("own");
    fs::create_dir_all(&dir).expect("a folder");
    let project = Project::new(dir, space.store()).with("PATH", &space.path_without_erlang());
    project.write("release.yaml", &format!("release: own\nversion: \"1.0.0\"\nsteps:\n{steps}"));
    project
}

#[test]
fn a_program_is_built_without_elixir() {
    let space = TestSpace::cold();
    let project = greeter(&space);
    let built = project.build();
    assert_eq!((built.count("ran"), built.count("total")), (4, 4), "{}", built.json);
    let release = built.release();
    assert_eq!(said(Command::new(release.join("bin/greet")).arg("fr")), "Bonjour");
    let languages = fs::read_to_string(release.join("share/doc/languages.txt")).expect("the manual");
    assert_eq!(languages, "greeter greets in these languages:\nde\nen\nfr\npt\n");
    assert!(release.join("src/build/greetings.h").is_file());
    assert_eq!(snapshot(&release).len(), 8, "{:?}", snapshot(&release));
    project.build().assert_nothing_to_do();
    assert!(
        !project.dir.join("build").exists() && !project.dir.join("bin").exists(),
        "steps write in a sandbox only"
    );
}

#[test]
fn edits_run_what_depends_on_them() {
    let space = TestSpace::cold();
    let project = greeter(&space);
    let first = project.build();
    project.edit("greetings.txt", "# language: greeting", "# another comment");
    assert_eq!(project.ran(), set(&["words"]), "it made the same table");
    project.append("src/main.c", "/* a comment */");
    assert_eq!(project.ran(), set(&["program"]), "the compiler made the same program");
    assert_eq!(project.build().digest(), first.digest());
    project.append("greetings.txt", "it: Buongiorno");
    assert_eq!(project.ran(), set(&["words", "program", "manual", "assemble"]));
    let release = project.release("greeter");
    assert_eq!(said(Command::new(release.join("bin/greet")).arg("it")), "Buongiorno");
    project.edit("release.yaml", "-std=c99 -O2", "-std=c99 -O1");
    let ran = project.ran();
    assert!(ran.contains("program") && !ran.contains("words"), "{ran:?}");
    project.append("README.md", "nobody reads this");
    project.write("src/notes.txt", "no input matches this");
    assert_eq!(project.ran(), set(&[]));
    project.write("src/unused.h", "/* an input matches this */\n");
    assert_eq!(project.ran(), set(&["program"]));
    fs::remove_file(project.dir.join("src/unused.h")).expect("removed");
    assert_eq!(project.ran(), set(&[]), "that was built before");
}

#[test]
fn a_step_sees_its_inputs_and_nothing_else() {
    let space = TestSpace::cold();
    let project = project(
        &space,
        "  look:\n    run: find . -type f ! -name seen.txt | sort > seen.txt; (id -u; env) > /dev/null\n    inputs: [\"data/**\"]\n    outputs: [seen.txt]\n",
    );
    project.write("data/one/a.txt", "a");
    project.write("data/b.txt", "b");
    project.write("other.txt", "not an input");
    project.build();
    let seen = fs::read_to_string(project.release("own").join("seen.txt")).expect("what it saw");
    assert_eq!(seen, "./data/b.txt\n./data/one/a.txt\n");
    let hidden = project.clone();
    hidden.edit(
        "release.yaml",
        "find . -type f ! -name seen.txt | sort > seen.txt",
        "cat other.txt > seen.txt",
    );
    let told = hidden.refused(1);
    assert!(told.contains("step `look` failed") && told.contains("other.txt"), "{told}");
}

#[test]
fn modes_links_and_folders_arrive_where_they_belong() {
    let space = TestSpace::cold();
    let project = project(
        &space,
        "  make:\n    run:\n      - mkdir -p out/empty out/deep/er\n      - echo run > out/tool && chmod 700 out/tool\n      - echo read > out/deep/er/data && chmod 600 out/deep/er/data\n      - ln -s deep/er/data out/link\n    outputs: [out]\n    into: opt/made\npackage: [tar.gz]\n",
    );
    let built = project.build();
    let expected = [
        ("opt", "755 folder".to_owned()),
        ("opt/made", "755 folder".to_owned()),
        ("opt/made/out", "755 folder".to_owned()),
        ("opt/made/out/deep", "755 folder".to_owned()),
        ("opt/made/out/deep/er", "755 folder".to_owned()),
        ("opt/made/out/empty", "755 folder".to_owned()),
        ("opt/made/out/link", "link to deep/er/data".to_owned()),
        ("opt/made/out/tool", format!("755 {}", relgraph_cache::Digest::of(b"run\n"))),
        ("opt/made/out/deep/er/data", format!("644 {}", relgraph_cache::Digest::of(b"read\n"))),
    ];
    let expected: BTreeMap<String, String> =
        expected.into_iter().map(|(path, what)| (path.to_owned(), what)).collect();
    assert_eq!(snapshot(&built.release()), expected);
    let unpacked = space.path("unpacked");
    fs::create_dir(&unpacked).expect("a folder");
    said(Command::new("tar").arg("-xpzf").arg(built.package()).arg("-C").arg(&unpacked));
    assert_eq!(snapshot(&unpacked), expected);
    let listed = said(
        Command::new("tar")
            .args(["--full-time", "--numeric-owner", "-tvzf"])
            .arg(built.package())
            .env("TZ", "UTC"),
    );
    let mut names = Vec::new();
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1], "0/0", "the owner of {line}");
        assert!(
            words[3].starts_with("1970-01-01") || words[3].starts_with("1980-01-01"),
            "the time of {line}"
        );
        names.push(words[5].to_owned());
    }
    assert!(!names.is_empty() && names.is_sorted(), "{names:?}");
}

#[test]
fn outputs_that_were_not_made_are_an_error() {
    let space = TestSpace::cold();
    let project = project(&space, "  make:\n    run: echo one > one.txt\n    outputs: [one.txt]\n");
    let good = project.build();
    let release = snapshot(&good.release());
    project.edit("release.yaml", "outputs: [one.txt]", "outputs: [one.txt, two.txt]");
    let told = project.refused(1);
    assert!(told.contains("step `make`") && told.contains("`two.txt`"), "{told}");
    assert_eq!(snapshot(&good.release()), release, "the last good release is as it was");
    project.edit(
        "release.yaml",
        "echo one > one.txt",
        "echo one > one.txt; echo said before it failed; exit 3",
    );
    let told = project.refused(1);
    assert!(
        told.contains("step `make` failed") && told.contains("said before it failed") && told.contains('3'),
        "{told}"
    );
    assert_eq!(snapshot(&good.release()), release, "the last good release is as it was");
}

#[test]
fn a_glob_that_matches_nothing_is_an_error() {
    let space = TestSpace::cold();
    let project =
        project(&space, "  make:\n    run: cat *.txt > all\n    inputs: [\"*.txt\"]\n    outputs: [all]\n");
    let told = project.refused(1);
    assert!(told.contains("`*.txt`") && told.contains("make"), "{told}");
    project.write("a.txt", "a");
    project.build();
    project.write("b.txt", "b");
    assert_eq!(project.ran(), set(&["make", "assemble"]), "a new file that the glob matches");
    assert_eq!(fs::read_to_string(project.release("own").join("all")).expect("all"), "ab");
}

#[test]
fn variables_are_those_of_release_yaml() {
    let space = TestSpace::cold();
    let project = project(
        &space,
        "  make:\n    run: env > vars.txt\n    outputs: [vars.txt]\n    env: {GIVEN: \"yes\"}\n",
    );
    let loud = project.clone().with("E2E_SECRET", "leaked");
    let first = loud.build();
    let vars = fs::read_to_string(first.release().join("vars.txt")).expect("vars");
    assert!(vars.contains("GIVEN=yes") && !vars.contains("leaked"), "{vars}");
    assert_eq!(project.build().executed(), 0);
    let executable =
        fs::metadata(first.release().join("vars.txt")).expect("metadata").permissions().mode() & 0o111;
    assert_eq!(executable, 0);
}

#[test]
fn steps_join_the_graph_of_a_mix_release() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    project.append(
        "release.yaml",
        "steps:\n  modules:\n    run: ls _build/prod/lib/sequence/ebin > modules.txt\n    outputs: [modules.txt]\n    needs: [compile sequence]\n    into: share",
    );
    let built = project.build();
    let modules = fs::read_to_string(built.release().join("share/modules.txt")).expect("the list");
    assert!(modules.contains("Elixir.Sequence.Server.beam") && modules.contains("sequence.app"), "{modules}");
    let ran = project.ran();
    assert_eq!(ran, set(&[]));
    project.write("lib/sequence/for_custom.ex", "defmodule Sequence.ForCustom do\nend\n");
    let ran = project.ran();
    assert!(ran.contains("modules") && ran.contains("compile sequence"), "{ran:?}");
    let modules = fs::read_to_string(built.release().join("share/modules.txt")).expect("the list");
    assert!(modules.contains("Elixir.Sequence.ForCustom.beam"), "{modules}");
}
