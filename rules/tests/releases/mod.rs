//! Small releases made of real modules, in the layouts of several tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use relgraph_cache::Store;
use relgraph_rules::compare::{ApplicationChange, Comparison, ModuleChange, Side, WarningKind, compare};

/// A release to be.
#[derive(Clone)]
pub struct Release {
    pub name: String,
    pub version: String,
    pub erts: String,
    pub applications: Vec<Application>,
    /// Paths with `VSN` in the place of the version of the release, and content.
    pub files: Vec<(String, Vec<u8>)>,
}

/// An application of it.
#[derive(Clone, Default)]
pub struct Application {
    pub name: String,
    pub version: String,
    pub mode: Option<String>,
    /// What stands in its `.app` file beside the version.
    pub properties: String,
    /// Name and text of modules of Erlang.
    pub erlang: Vec<(String, String)>,
    /// The text of modules of Elixir.
    pub elixir: String,
    pub files: Vec<(String, Vec<u8>)>,
}

pub fn release(version: &str) -> Release {
    let release = Release {
        name: "demo".into(),
        version: version.into(),
        erts: "13.1.5".into(),
        applications: vec![app("kernel", "8.5.3"), app("stdlib", "4.2")],
        files: Vec::new(),
    };
    release.file("releases/VSN/vm.args", "+K true\n").file("releases/VSN/sys.config", "[].")
}

pub fn app(name: &str, version: &str) -> Application {
    Application {
        name: name.into(),
        version: version.into(),
        mode: Some("permanent".into()),
        ..Application::default()
    }
}

impl Application {
    pub fn erl(mut self, module: &str, text: &str) -> Self {
        self.erlang.push((module.into(), format!("-module({module}).\n{text}\n")));
        self
    }

    pub fn ex(mut self, text: &str) -> Self {
        self.elixir = text.into();
        self
    }

    pub fn with(mut self, properties: &str) -> Self {
        self.properties = format!(",{properties}");
        self
    }

    pub fn mode(mut self, mode: &str) -> Self {
        self.mode = Some(mode.into());
        self
    }

    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.into(), content.into()));
        self
    }
}

impl Release {
    pub fn app(mut self, application: Application) -> Self {
        self.applications.retain(|other| other.name != application.name);
        self.applications.push(application);
        self
    }

    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.retain(|(other, _)| other != path);
        self.files.push((path.into(), content.into()));
        self
    }

    /// As `upgrades: hot` lays it out.
    pub fn hot(self) -> Self {
        self.file("releases/RELEASES", "[].")
    }

    pub fn make(&self, root: &Path) {
        let Release { name, version, erts, .. } = self;
        write(root, "releases/start_erl.data", format!("{erts} {version}").as_bytes());
        let listed: Vec<String> = self
            .applications
            .iter()
            .filter_map(|app| Some(format!("{{{},\"{}\",{}}}", app.name, app.version, app.mode.as_ref()?)))
            .collect();
        let rel =
            format!("{{release,{{\"{name}\",\"{version}\"}},{{erts,\"{erts}\"}},[{}]}}.", listed.join(","));
        write(root, &format!("releases/{version}/{name}.rel"), rel.as_bytes());
        write(root, &format!("erts-{erts}/bin/erl"), b"erl");
        for (path, content) in &self.files {
            write(root, &path.replace("VSN", version), content);
        }
        for application in &self.applications {
            application.make(root);
        }
    }
}

impl Application {
    fn make(&self, root: &Path) {
        let Application { name, version, properties, .. } = self;
        let folder = root.join(format!("lib/{name}-{version}"));
        let resource = format!("{{application,{name},[{{vsn,\"{version}\"}}{properties}]}}.");
        write(&folder, &format!("ebin/{name}.app"), resource.as_bytes());
        for (path, content) in &self.files {
            write(&folder, path, content);
        }
        let sources = tempfile::tempdir().unwrap();
        let mut erlc = Command::new("erlc");
        erlc.arg("+deterministic").arg("-o").arg(folder.join("ebin"));
        for (module, text) in &self.erlang {
            let source = sources.path().join(format!("{module}.erl"));
            fs::write(&source, text).unwrap();
            erlc.arg(source);
        }
        if !self.erlang.is_empty() {
            said(&mut erlc);
        }
        if !self.elixir.is_empty() {
            let source = sources.path().join("modules.ex");
            fs::write(&source, &self.elixir).unwrap();
            said(Command::new("elixirc").arg("-o").arg(folder.join("ebin")).arg(source));
        }
    }
}

fn said(command: &mut Command) {
    let output =
        command.env("LANG", "C.UTF-8").output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}", said.concat());
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Compares two releases, as folders and as stored trees: both have to say the same.
#[track_caller]
pub fn compared(old: &Release, new: &Release) -> Comparison {
    let space = tempfile::tempdir().unwrap();
    let folder = |name: &str, release: &Release| -> PathBuf {
        let folder = space.path().join(name);
        release.make(&folder);
        folder
    };
    compared_folders(&folder("old", old), &folder("new", new))
}

/// The same for what lies in folders.
#[track_caller]
pub fn compared_folders(old: &Path, new: &Path) -> Comparison {
    let space = tempfile::tempdir().unwrap();
    let store = Store::open(&space.path().join("store")).unwrap();
    let tree = |folder: &Path| Side::Tree { store: &store, tree: store.ingest(folder, &|_| true).unwrap() };
    let stored = compare(&tree(old), &tree(new)).unwrap();
    let lying = compare(&Side::Folder(old.to_owned()), &Side::Folder(new.to_owned())).unwrap();
    let plain = |comparison: &Comparison| {
        let mut comparison = comparison.clone();
        (comparison.old.tree, comparison.new.tree) = (None, None);
        serde_json::to_string_pretty(&comparison).unwrap()
    };
    assert_eq!(plain(&stored), plain(&lying));
    stored
}

/// What is said of a module.
#[track_caller]
pub fn module<'c>(comparison: &'c Comparison, name: &str) -> &'c ModuleChange {
    let mut all = comparison.modules.iter().flat_map(|modules| &modules.changed);
    all.find(|change| change.module == name).unwrap_or_else(|| panic!("{name}: {:#?}", comparison.modules))
}

/// What is said of an application.
#[track_caller]
pub fn application<'c>(comparison: &'c Comparison, name: &str) -> &'c ApplicationChange {
    let found = comparison.applications.changed.iter().find(|change| change.name == name);
    found.unwrap_or_else(|| panic!("{name}: {:#?}", comparison.applications))
}

/// The warnings: kind and module, or application.
pub fn warned(comparison: &Comparison) -> Vec<(WarningKind, String)> {
    let about = |warning: &relgraph_rules::compare::Warning| {
        let about = warning.module.clone().or(warning.application.clone());
        (warning.kind, about.unwrap_or_default())
    };
    comparison.warnings.iter().map(about).collect()
}

/// The verdict in one line: its class, then what decides it, then what waits.
pub fn verdict(comparison: &Comparison) -> String {
    let verdict = &comparison.verdict;
    let class = serde_json::to_value(verdict.class).unwrap();
    let items = |list: &[relgraph_rules::compare::Reason]| {
        list.iter().map(|reason| reason.item.clone()).collect::<Vec<_>>().join(", ")
    };
    let mut line = class.as_str().unwrap().to_owned();
    if !verdict.reasons.is_empty() {
        line = format!("{line}: {}", items(&verdict.reasons));
    }
    if !verdict.waiting.is_empty() {
        line = format!("{line}; waiting: {}", items(&verdict.waiting));
    }
    line
}

/// Names, one after the other.
pub fn names<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
