//! Owns releases that are upgraded while they run: two versions, and the package that leads from one to the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::node::Node;
use super::project::Project;
use super::{TestSpace, said, source};

/// What an appup says of examples/sequence. In the place of `UP` and `DOWN` come more instructions.
pub const SEQUENCE: &str = "{\"0.2.0\",
 [{\"0.1.0\",[{update,'Elixir.Sequence.Server',{advanced,[]},soft_purge,soft_purge,['Elixir.Sequence']},
   {load_module,'Elixir.Sequence',soft_purge,soft_purge,[]},
   {load_module,'Elixir.Sequence.Application',soft_purge,soft_purge,[]},
   {load_module,'Elixir.Sequence.Label.Integer',soft_purge,soft_purge,[]},
   {add_module,'Elixir.Sequence.Label.List'}UP]}],
 [{\"0.1.0\",[DOWN{delete_module,'Elixir.Sequence.Label.List'},
   {update,'Elixir.Sequence.Server',{advanced,[]},soft_purge,soft_purge,[]},
   {load_module,'Elixir.Sequence',soft_purge,soft_purge,['Elixir.Sequence.Server']},
   {load_module,'Elixir.Sequence.Application',soft_purge,soft_purge,[]},
   {load_module,'Elixir.Sequence.Label.Integer',soft_purge,soft_purge,[]}]}]}.\n";

/// The appup of examples/sequence with more instructions.
pub fn sequence_appup(up: &str, down: &str) -> String {
    SEQUENCE.replace("UP", up).replace("DOWN", down)
}

/// A release that is there, and the package of the next version.
pub struct Upgrade {
    /// The release of the old version, where it runs.
    pub release: PathBuf,
    /// The package.
    pub package: PathBuf,
}

impl Upgrade {
    /// Of two projects, and the appup of the application `app`.
    pub fn new(space: &TestSpace, old: &Project, new: &Project, name: &str, app: &str, appup: &str) -> Self {
        Upgrade::with(space, old, new, name, app, appup, None)
    }

    /// The same with the modules that upgrade a system taken from another folder.
    pub fn with(
        space: &TestSpace,
        old: &Project,
        new: &Project,
        name: &str,
        app: &str,
        appup: &str,
        beams: Option<&Path>,
    ) -> Self {
        let place = |project: &Project, at: &str| {
            let place = space.path(at);
            fs::rename(project.build().release(), &place).expect("moved");
            place
        };
        let release = place(old, "running");
        let next = place(new, "next");
        let names = beams.into_iter().flat_map(|folder| fs::read_dir(folder).expect("a folder")).flatten();
        for beam in names.filter(|entry| entry.file_name().to_string_lossy().starts_with("relgraph_upgrade"))
        {
            let version = said(
                Command::new("sh")
                    .arg("-c")
                    .arg("cut -d' ' -f2 < \"$0\"")
                    .arg(next.join("releases/start_erl.data")),
            );
            fs::copy(beam.path(), next.join("releases").join(version).join(beam.file_name()))
                .expect("copied");
        }
        let file = space.path(&format!("{app}.appup"));
        fs::write(&file, appup).expect("an appup");
        let package = space.path("package.tar.gz");
        let maker = source("tests/fixtures/upgrade/package.escript");
        said(Command::new("escript").arg(maker).args([&release, &next]).arg(name).args([&package, &file]));
        Upgrade { release, package }
    }

    /// Of examples/sequence and its next version as `edit` leaves it.
    pub fn sequence(space: &TestSpace, edit: impl Fn(&Project), appup: &str) -> Self {
        let (old, new) = (space.sequence("old"), space.example("sequence-0.2.0", "new"));
        edit(&new);
        Upgrade::new(space, &old, &new, "sequence", "sequence", appup)
    }

    /// Its node, which hands out numbers from 40 on.
    pub fn node(&self, space: &TestSpace) -> Node {
        Node::new(space, &self.release, "sequence").with("SEQUENCE_START", "40")
    }

    /// The path of the package.
    pub fn package(&self) -> &str {
        text(&self.package)
    }
}

/// A path as it is given to a command.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
