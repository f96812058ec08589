//! Owns two versions of a small release: written, built, and made into an upgrade.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::node::Node;
use super::project::Project;
use super::{Said, TestSpace, files, said, small};

/// Versions 0.1.0 and 0.2.0 of a release, built one after the other.
pub struct Pair {
    /// The project, as it is in the new version.
    pub project: Project,
    /// The release of the old version, in a place of its own.
    pub old: PathBuf,
    /// Its name.
    pub name: String,
}

/// A mix.exs as `mix new --sup` writes it, with more properties of the project.
pub fn mix(name: &str, version: &str, more: &str) -> String {
    let module = module(name);
    format!(
        "defmodule {module}.MixProject do
  use Mix.Project

  def project do
    [app: :{name}, version: \"{version}\", start_permanent: Mix.env() == :prod{more}]
  end

  def application, do: [extra_applications: [:logger], mod: {{{module}.Application, []}}]
end
"
    )
}

/// The callback module of the application, which starts these children.
pub fn application(name: &str, children: &str) -> String {
    let module = module(name);
    format!(
        "defmodule {module}.Application do
  use Application

  def start(_type, _args) do
    children = [{children}]
    Supervisor.start_link(children, strategy: :one_for_one, name: {module}.Supervisor)
  end
end
"
    )
}

fn module(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

impl Pair {
    /// The files of the old version, and what is done to them to make the new one. mix.exs is written for both; where the
    /// files bring one, `0.1.0` in it becomes `0.2.0`.
    #[track_caller]
    pub fn new(space: &TestSpace, name: &str, old: small::Files<'_>, change: impl FnOnce(&Project)) -> Pair {
        let project = small::project(space, name, name, old);
        project.write("release.yaml", &format!("release: {name}\nupgrades: hot\n"));
        for (path, text) in old.iter().filter(|(path, _)| *path == "release.yaml") {
            project.write(path, text);
        }
        if !project.dir.join("mix.exs").exists() {
            project.write("mix.exs", &mix(name, "0.1.0", ""));
        }
        Pair::of(space, name, project, |project| {
            project.edit("mix.exs", "0.1.0", "0.2.0");
            change(project);
        })
    }

    /// Of a project that is there in the old version, and what is done to make the new one.
    #[track_caller]
    pub fn of(space: &TestSpace, name: &str, project: Project, change: impl FnOnce(&Project)) -> Pair {
        let built = project.build().release();
        let kept = space.path(&format!("{name}-old"));
        files::copy(&built, &kept);
        change(&project);
        project.build();
        Pair { project, old: kept, name: name.to_owned() }
    }

    /// Asks for the upgrade. By their folders: tests that run at the same time share the store, and may have releases of the
    /// same name and version.
    pub fn ask(&self, more: &[&str]) -> Said {
        let (old, new) =
            (self.old.display().to_string(), self.project.release(&self.name).display().to_string());
        self.project.ask(&[&["upgrade", old.as_str(), new.as_str()], more].concat())
    }

    /// Makes the upgrade, which has to work, and returns what was said about it.
    #[track_caller]
    pub fn upgrade(&self) -> Value {
        let said = self.ask(&["--format", "json"]);
        assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
        let upgrade: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}", said.out));
        // What the comparison says of it beforehand is what it turns out to be, unless release.yaml or an appup decides.
        let generated =
            |application: &Value| application["appup"] == "generated" || application["appup"].is_null();
        let applications = upgrade["ways"][0]["applications"].as_array().expect("applications");
        if applications.iter().all(generated) && !self.project.read("release.yaml").contains("applications:")
        {
            assert_eq!(self.verdict(), upgrade["ways"][0]["way"], "{upgrade}");
        }
        upgrade
    }

    /// What the comparison says that it takes.
    #[track_caller]
    pub fn verdict(&self) -> Value {
        let (old, new) =
            (self.old.display().to_string(), self.project.release(&self.name).display().to_string());
        let said = self.project.ask(&["diff", &old, &new, "--format", "json"]);
        assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
        let diff: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}", said.out));
        diff["verdict"]["class"].clone()
    }

    /// Asks for the upgrade, which has to be refused, and returns why.
    #[track_caller]
    pub fn refused(&self) -> String {
        let asked = self.ask(&[]);
        assert_eq!(asked.status, Some(1), "{}{}", asked.out, asked.err);
        assert_eq!(asked.out, "");
        assert!(!self.package().exists(), "a package was made nevertheless");
        asked.err
    }

    /// Where the package is.
    pub fn package(&self) -> PathBuf {
        self.project.dir.join(format!("_build/relgraph/prod/{}-0.2.0.upgrade.tar.gz", self.name))
    }

    /// A file of the package.
    #[track_caller]
    pub fn packed(&self, path: &str) -> String {
        said(std::process::Command::new("tar").arg("-xzOf").arg(self.package()).arg(path))
    }

    /// The old release, for being started.
    pub fn node(&self, space: &TestSpace) -> Node {
        Node::new(space, &self.old, &self.name)
    }

    /// Removes what an earlier upgrade has made.
    pub fn without_package(&self) {
        let _ = fs::remove_file(self.package());
    }
}

/// What is done with an application, as Erlang terms.
#[track_caller]
pub fn instructions(upgrade: &Value, application: &str) -> Vec<String> {
    let applications = upgrade["ways"][0]["applications"].as_array().expect("applications");
    let found = applications.iter().find(|one| one["name"] == application);
    let found = found.unwrap_or_else(|| panic!("{application} is not in {upgrade}"));
    let up = found["up"].as_array().expect("instructions");
    up.iter().map(|one| one.as_str().expect("a term").to_owned()).collect()
}
