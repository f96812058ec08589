//! The same inputs make the same bytes, whatever is different around them; and nothing stays that was not asked for.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::files::{all_files, assert_same, snapshot};
use support::project::{Built, Project};
use support::{TestSpace, said};

fn with_package(project: Project) -> Project {
    project.append("release.yaml", "package: [tar.gz]");
    project
}

/// Asserts that two builds made the same: digests, files, modes, package.
fn assert_same_release(one: &Built, other: &Built) {
    assert_same(&snapshot(&one.release()), &snapshot(&other.release()), "files of the releases");
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.json["packages"][0]["digest"], other.json["packages"][0]["digest"]);
    let bytes = |built: &Built| fs::read(built.package()).expect("the package");
    assert!(bytes(one) == bytes(other), "the packages differ");
}

#[test]
fn two_cold_stores_paths_cores_and_time_zones_make_the_same_bytes() {
    let (one, other) = (TestSpace::cold(), TestSpace::cold());
    let first = with_package(one.cold_shop("a")).with("TZ", "UTC").build_with(&["-j1"]);
    assert_eq!(first.executed(), first.count("total"), "{}", first.json);
    let there = with_package(other.cold_shop("somewhere/a good deal/longer"))
        .with("TZ", "America/St_Johns")
        .with("LANG", "C");
    let second = there.build_with(&["-j2"]);
    assert_eq!(second.executed(), second.count("total"), "{}", second.json);
    assert_same_release(&first, &second);

    // With a cache, after a detour: as without one.
    there.edit(
        "vendor/money/lib/money.ex",
        "cents: left.cents + right.cents",
        "cents: right.cents + left.cents",
    );
    let detour = there.build();
    assert_ne!(detour.digest(), first.digest());
    assert!(detour.count("fresh") > 0, "{}", detour.json);
    let fresh_start = with_package(one.cold_shop("b"));
    fresh_start.edit(
        "vendor/money/lib/money.ex",
        "cents: left.cents + right.cents",
        "cents: right.cents + left.cents",
    );
    let without = Project { store: one.path("second-store"), ..fresh_start }.build();
    assert_eq!(without.executed(), without.count("total"), "{}", without.json);
    assert_same_release(&detour, &without);
}

#[test]
fn no_path_of_the_machine_is_in_the_release() {
    let space = TestSpace::cold();
    let project = with_package(space.cold_shop("a-path-to-look-for"));
    let built = project.build();
    for file in all_files(&built.release()) {
        let bytes = fs::read(&file).expect("a file");
        for needle in ["a-path-to-look-for", space.store().to_str().expect("UTF-8"), "no-home"] {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "{} names {needle}", file.display());
        }
    }
}

#[test]
fn a_folder_that_is_dated_otherwise_makes_the_same_package() {
    let space = TestSpace::cold();
    let first = space.example("sequence", "one").build();
    let other = space.example("sequence", "other");
    for file in all_files(&other.dir) {
        said(Command::new("touch").args(["-d", "2001-02-03 04:05:06"]).arg(&file));
    }
    let cold = Project { store: space.path("other-store"), ..other };
    let second = cold.build();
    assert_eq!(second.executed(), second.count("total"), "{}", second.json);
    assert_same_release(&first, &second);
}

/// The files of a release, seen from its folder.
fn names(release: &Path) -> Vec<String> {
    let short = |file: PathBuf| file.strip_prefix(release).expect("inside").display().to_string();
    all_files(release).into_iter().map(short).collect()
}

#[test]
fn nothing_stays_of_what_is_no_longer_asked_for() {
    let space = TestSpace::new();
    let project = space.shop("checkout");
    let plain = project.build();
    let (release, before) = (plain.release(), snapshot(&plain.release()));
    let scripts = |release: &Path| {
        names(release).into_iter().filter(|name| name.starts_with("bin/shop")).collect::<Vec<_>>()
    };
    assert_eq!(scripts(&release), ["bin/shop"]);

    let asked = project.read("release.yaml");
    project.append("release.yaml", "executables_for: [windows]");
    project.build();
    assert_eq!(scripts(&release), ["bin/shop.bat"]);
    project.write("release.yaml", &asked);
    assert_eq!(project.build().digest(), plain.digest());
    assert_same(&before, &snapshot(&release), "after other executables");

    project.write("rel/overlays/etc/extra/more.conf", "more\n");
    project.build();
    assert!(release.join("etc/extra/more.conf").is_file());
    fs::remove_dir_all(project.dir.join("rel/overlays/etc/extra")).expect("removed");
    assert_eq!(project.build().digest(), plain.digest());
    assert_same(&before, &snapshot(&release), "after another overlay");

    project.append("release.yaml", "applications:\n  sasl: permanent");
    project.build();
    assert!(names(&release).iter().any(|name| name.starts_with("lib/sasl-")), "sasl was asked for");
    project.write("release.yaml", &asked);
    project.build();
    assert_same(&before, &snapshot(&release), "after another application");

    // A module that is renamed, and a dependency that goes.
    project.edit("lib/shop/config_provider.ex", "Shop.ConfigProvider", "Shop.Provider");
    project.edit("mix.exs", "Shop.ConfigProvider", "Shop.Provider");
    project.build();
    let modules = names(&release);
    assert!(modules.contains(&"lib/shop-1.2.0/ebin/Elixir.Shop.Provider.beam".to_owned()));
    assert!(
        !modules.contains(&"lib/shop-1.2.0/ebin/Elixir.Shop.ConfigProvider.beam".to_owned()),
        "the old module is gone"
    );
    project.edit("mix.exs", "version: \"1.2.0\"", "version: \"1.3.0\"");
    project.build();
    let old: Vec<String> = names(&release).into_iter().filter(|name| name.contains("1.2.0")).collect();
    assert_eq!(old, Vec::<String>::new(), "nothing of the old version stays");
}

#[test]
fn the_package_is_of_the_release_beside_it() {
    let space = TestSpace::new();
    let project = space.sequence("checkout");
    let first = project.build();
    let old = fs::read(first.package()).expect("the package");
    project.edit("lib/sequence/label.ex", "number #{number}", "nr. #{number}");
    let second = project.build();
    assert_eq!(first.package(), second.package(), "the version is the same");
    let new = fs::read(second.package()).expect("the package");
    assert!(old != new, "the package is of the release beside it");
    assert_eq!(
        relgraph_cache::Digest::of(&new).to_string(),
        second.json["packages"][0]["digest"].as_str().expect("a digest")
    );
}
