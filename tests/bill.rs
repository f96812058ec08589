//! `show --format cyclonedx` and `--format spdx`: the bill of materials of a release, of what was built here and of what lies
//! somewhere.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};
use support::files::all_files;
use support::hex::{Package, Server};
use support::project::Project;
use support::small::{Files, project};
use support::{TestSpace, said};

const FLOUR: Package = Package {
    name: "flour",
    version: "1.2.0",
    tools: &["mix"],
    needs: &[],
    files: &[
        (
            "mix.exs",
            "defmodule Flour.MixProject do\n  use Mix.Project\n  def project, do: [app: :flour, version: \"1.2.0\"]\nend\n",
        ),
        ("lib/flour.ex", "defmodule Flour do\n  def weight, do: 42\nend\n"),
    ],
    repo: "hexpm",
};

const CLOCK: Files<'_> = &[
    (
        "mix.exs",
        "defmodule Clock.MixProject do\n  use Mix.Project\n  def project, do: [app: :clock, version: \"0.3.0\"]\nend\n",
    ),
    ("lib/clock.ex", "defmodule Clock do\n  def hands, do: 2\nend\n"),
];

/// A bakery of a package, a commit and a folder, with a cookie that nobody may see.
fn bakery(space: &TestSpace) -> (Project, String) {
    let clock = project(space, "clock", "clock", CLOCK);
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=me", "-c", "user.email=me@example.org"];
        said(
            Command::new("git")
                .args(who)
                .args(args)
                .current_dir(&clock.dir)
                .env("GIT_CONFIG_GLOBAL", "/dev/null"),
        )
    };
    git(&["init", "-q"]);
    git(&["add", "mix.exs", "lib"]);
    git(&["commit", "-qm", "first"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let url = format!("file://{}", clock.dir.display());
    let mix_exs = format!(
        "defmodule Bakery.MixProject do\n  use Mix.Project\n\n  def project do\n    [app: :bakery, version: \"0.1.0\", deps: [{{:flour, \
         \"~> 1.0\"}}, {{:clock, git: \"{url}\"}}, {{:oven, path: \"oven\"}}], releases: [bakery: [cookie: \"crumbs-and-secrets\"]]]\n  \
         end\n\n  def application, do: [extra_applications: [:crypto]]\nend\n"
    );
    let files: Files<'_> = &[
        ("mix.exs", &mix_exs),
        ("lib/bakery.ex", "defmodule Bakery do\n  def bread, do: Flour.weight() * Clock.hands()\nend\n"),
        (
            "oven/mix.exs",
            "defmodule Oven.MixProject do\n  use Mix.Project\n  def project, do: [app: :oven, version: \"2.0.0\"]\nend\n",
        ),
        ("oven/lib/oven.ex", "defmodule Oven do\nend\n"),
    ];
    let bakery = project(space, "bakery", "bakery", files);
    let entry = format!("  \"clock\": {{:git, \"{url}\", \"{commit}\", []}},\n}}\n");
    bakery.write("mix.lock", &format!("%{{\n{}{entry}", FLOUR.locked()));
    (bakery, commit)
}

fn bill(project: &Project, args: &[&str]) -> Value {
    let said = project.ask(&[&["show"], args].concat());
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(!said.out.contains("crumbs-and-secrets"));
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.out))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// All files of a release by path, with their SHA-256; the cookie is left out.
fn files(release: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for at in all_files(release) {
        let path = at.strip_prefix(release).expect("it lies there").display().to_string();
        if path != "releases/COOKIE" {
            let sum = Sha256::digest(fs::read(&at).expect("a file"));
            files.insert(path, sum.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
    files
}

/// Components by their references, those in others among them.
fn components(bill: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut queue: Vec<Value> = list(&bill["components"]).clone();
    while let Some(component) = queue.pop() {
        queue.extend(component["components"].as_array().into_iter().flatten().cloned());
        let reference = text(&component["bom-ref"]).to_owned();
        assert!(found.insert(reference.clone(), component).is_none(), "{reference} is there twice");
    }
    found
}

fn told<'a>(component: &'a Value, name: &str) -> Option<&'a str> {
    let properties = component["properties"].as_array()?;
    properties.iter().find(|property| property["name"] == name)?["value"].as_str()
}

#[test]
fn a_release_that_was_built_here_says_where_everything_came_from() {
    let space = TestSpace::cold();
    let server = Server::with(&[FLOUR]);
    let (bakery, commit) = bakery(&space);
    let bakery = bakery.with("HEX_MIRROR", &server.url).with("GIT_ALLOW_PROTOCOL", "file");
    let built = bakery.build();

    let document = bill(&bakery, &["--format", "cyclonedx"]);
    assert_eq!((text(&document["bomFormat"]), text(&document["specVersion"])), ("CycloneDX", "1.5"));
    let metadata = &document["metadata"];
    assert_eq!(metadata["component"]["name"], "bakery");
    assert_eq!(told(&metadata["component"], "relgraph:tree"), Some(built.digest()));
    let parts = components(&document);
    let flour = &parts["application:flour@1.2.0"];
    assert_eq!(flour["purl"], "pkg:hex/flour@1.2.0");
    assert_eq!(flour["hashes"][0]["content"], FLOUR.outer());
    assert_eq!(flour["externalReferences"][0]["hashes"][0]["content"], FLOUR.outer());
    assert_eq!(flour["licenses"][0]["license"]["id"], "Apache-2.0");
    assert_eq!(flour["licenses"][1]["license"]["name"], "Bakers only");
    let clock = &parts["application:clock@0.3.0"];
    assert_eq!(told(clock, "relgraph:commit"), Some(commit.as_str()));
    assert!(text(&clock["purl"]).ends_with(&format!("%40{commit}")), "{clock}");
    let origins =
        [("bakery@0.1.0", "project"), ("oven@2.0.0", "path"), ("clock@0.3.0", "git"), ("flour@1.2.0", "hex")];
    for (application, origin) in origins {
        let found = told(&parts[&format!("application:{application}")], "relgraph:origin");
        assert_eq!(found, Some(origin), "{application}");
    }
    let named = |name: &str| {
        let part = parts.iter().find(|(reference, _)| reference.starts_with(name));
        part.unwrap_or_else(|| panic!("no {name}")).1
    };
    assert_eq!(told(named("application:stdlib@"), "relgraph:origin"), Some("otp"));
    assert_eq!(told(named("application:elixir@"), "relgraph:origin"), Some("elixir"));
    assert!(text(&named("application:elixir@")["cpe"]).starts_with("cpe:2.3:a:elixir-lang:elixir:"));
    assert!(text(&named("otp@")["purl"]).starts_with("pkg:github/erlang/otp@OTP-"));
    // What it needs is what its .app file says, and leads to what is there.
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entry in list(&document["dependencies"]) {
        let on: BTreeSet<&str> = list(&entry["dependsOn"]).iter().map(text).collect();
        assert!(on.iter().all(|name| parts.contains_key(*name)), "{entry}");
        needs.insert(text(&entry["ref"]), on);
    }
    let of_bakery: Vec<&str> =
        needs["application:bakery@0.1.0"].iter().filter_map(|name| name.split([':', '@']).nth(1)).collect();
    assert_eq!(of_bakery, ["clock", "crypto", "elixir", "flour", "kernel", "oven", "stdlib"]);
    assert!(needs["release:bakery@0.1.0"].contains("application:flour@1.2.0"));
    // Every file is there, with its digest.
    let listed: BTreeMap<String, String> = parts
        .iter()
        .filter(|(_, part)| part["type"] == "file")
        .map(|(_, part)| (text(&part["name"]).to_owned(), text(&part["hashes"][0]["content"]).to_owned()))
        .collect();
    assert_eq!(listed, files(&built.release()));
    let native = parts
        .values()
        .find(|part| text(&part["name"]).ends_with("/priv/lib/crypto.so"))
        .expect("it is there");
    assert_eq!(told(native, "relgraph:native"), Some("shared library"));
    assert!(told(native, "relgraph:native:needed").is_some_and(|needed| needed.contains("libcrypto")));

    // The same again, but for a time that is given.
    assert_eq!(bill(&bakery, &["--format", "cyclonedx"]), document);
    let dated = bill(&bakery.clone().with("SOURCE_DATE_EPOCH", "1700000000"), &["--format", "cyclonedx"]);
    assert_eq!(dated["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(dated["serialNumber"], document["serialNumber"]);
    assert_eq!(text(&document["serialNumber"]).len(), "urn:uuid:".len() + 36);

    as_spdx(&bakery, &built.release(), &commit);
}

fn as_spdx(bakery: &Project, release: &Path, commit: &str) {
    let document = bill(bakery, &["--format", "spdx"]);
    assert_eq!((text(&document["spdxVersion"]), text(&document["dataLicense"])), ("SPDX-2.3", "CC0-1.0"));
    let packages: BTreeMap<&str, &Value> =
        list(&document["packages"]).iter().map(|package| (text(&package["name"]), package)).collect();
    let all: Vec<&str> = ["packages", "files"]
        .iter()
        .flat_map(|kind| list(&document[*kind]))
        .map(|element| text(&element["SPDXID"]))
        .chain(["SPDXRef-DOCUMENT"])
        .collect();
    let ids: BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(ids.len(), all.len(), "an id is there twice");
    let fits = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    assert!(ids.iter().all(|id| id.strip_prefix("SPDXRef-").is_some_and(fits)));
    let mut relations = BTreeSet::new();
    for relation in list(&document["relationships"]) {
        let (from, to) = (text(&relation["spdxElementId"]), text(&relation["relatedSpdxElement"]));
        assert!(ids.contains(from) && ids.contains(to), "{relation}");
        relations.insert((from, text(&relation["relationshipType"]), to));
    }
    let id = |name: &str| text(&packages[name]["SPDXID"]);
    assert!(relations.contains(&("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Release")));
    assert!(relations.contains(&("SPDXRef-Release", "CONTAINS", id("flour"))));
    assert!(relations.contains(&(id("bakery"), "DEPENDS_ON", id("flour"))));
    assert!(!relations.contains(&(id("flour"), "DEPENDS_ON", id("bakery"))));
    let flour = packages["flour"];
    assert_eq!(flour["licenseDeclared"], "Apache-2.0 AND LicenseRef-Bakers-only");
    assert_eq!(document["hasExtractedLicensingInfos"][0]["extractedText"], "Bakers only");
    assert_eq!(packages["oven"]["licenseDeclared"], "NOASSERTION");
    assert_eq!(flour["checksums"][0]["checksumValue"], FLOUR.outer());
    let address = format!("{}/tarballs/flour-1.2.0.tar", relgraph_rules::fetch::PUBLIC_URL);
    assert_eq!(flour["downloadLocation"], address.as_str());
    // A repository on the machine itself has no address that others could use; its name says the commit.
    assert_eq!(packages["clock"]["downloadLocation"], "NOASSERTION");
    assert!(
        text(&packages["clock"]["externalRefs"][0]["referenceLocator"]).ends_with(&format!("%40{commit}"))
    );
    // The files, and the code of those of a package: that of their SHA-1, sorted.
    let listed: BTreeMap<String, String> = list(&document["files"])
        .iter()
        .map(|file| {
            let path = text(&file["fileName"]).strip_prefix("./").expect("a path").to_owned();
            (path, text(&file["checksums"][1]["checksumValue"]).to_owned())
        })
        .collect();
    assert_eq!(listed, files(release));
    let folder = release.join("lib/flour-1.2.0");
    let sum = |path| said(Command::new("sha1sum").arg(path))[..40].to_owned();
    let mut sums: Vec<String> = all_files(&folder).into_iter().map(sum).collect();
    sums.sort();
    let joined = folder.with_file_name("sums");
    fs::write(&joined, sums.concat()).expect("a file");
    let code = said(Command::new("sha1sum").arg(&joined))[..40].to_owned();
    fs::remove_file(&joined).expect("it is there");
    assert_eq!(flour["packageVerificationCode"]["packageVerificationCodeValue"], code);
    assert_eq!(list(&flour["hasFiles"]).len(), sums.len());
}

#[test]
fn a_release_of_others_is_told_by_what_lies_in_it() {
    let space = TestSpace::new();
    let sequence = space.sequence("sequence");
    let built = sequence.build();
    let release = built.release();
    let (folder, package) = (release.display().to_string(), built.package().display().to_string());
    let of_folder = bill(&sequence, &[&folder, "--format", "cyclonedx"]);
    assert_eq!(of_folder["metadata"]["timestamp"], Value::Null, "nobody says when it was built");
    assert_eq!(of_folder["metadata"]["lifecycles"][0]["phase"], "post-build");
    let parts = components(&of_folder);
    let own = &parts["application:sequence@0.1.0"];
    assert_eq!((text(&own["purl"]), told(own, "relgraph:origin")), ("pkg:otp/sequence@0.1.0", None));
    assert_eq!(own["licenses"], Value::Null);
    let otp = parts.iter().find(|(reference, _)| reference.starts_with("otp@")).expect("OTP is named").1;
    assert_eq!(otp["purl"], Value::Null, "its exact version is not known");
    let of_package = bill(&sequence, &[&package, "--format", "spdx"]);
    assert_eq!(of_package["creationInfo"]["created"], "1970-01-01T00:00:00Z");
    assert!(list(&of_package["files"]).len() > 100);
}

#[test]
fn only_commands_that_know_a_format_report_in_it() {
    let space = TestSpace::new();
    let sequence = space.sequence("sequence");
    for (args, hint) in [
        (&["plan", "--format", "html"][..], "it reports as text, json"),
        (&["show", "--format", "html"], "it reports as text, json, spdx, cyclonedx"),
        (&["--format", "spdx", "diff", "a", "b"], "it reports as text, json, markdown, html"),
    ] {
        let said = sequence.ask(args);
        assert_eq!((said.status, said.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(said.err.contains("this command does not report as `"), "{}", said.err);
        assert!(said.err.contains(hint), "{}", said.err);
    }
}
