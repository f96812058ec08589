//! A small world for engine tests: a store in a temporary folder, a pretended disk, steps made of closures.
#![allow(dead_code)] // each test file uses its own part of it

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relgraph_cache::{Answer, Digest, Probe, Store, TreeBuilder};
use relgraph_engine::*;

pub type Files = Arc<Mutex<BTreeMap<String, String>>>;
type DeclareFn = dyn Fn(&StepContext<'_>) -> Result<Declared, StepError> + Send + Sync;
type RunFn = dyn Fn(&StepContext<'_>) -> Result<Ran, StepError> + Send + Sync;

pub struct World {
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub files: Files,
    pub checkout: Checkout,
    pub env: BTreeMap<String, String>,
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        World { dir, store, files: Files::default(), checkout: Checkout::default(), env: BTreeMap::new() }
    }

    pub fn write(&self, path: &str, text: &str) {
        self.files.lock().unwrap().insert(path.into(), text.into());
    }

    pub fn remove(&self, path: &str) {
        self.files.lock().unwrap().remove(path);
    }

    /// A store that remembers nothing of what was checked before.
    pub fn reopen(&mut self) {
        self.store = Store::open(&self.dir.path().join("store")).unwrap();
    }

    pub fn engine(&self) -> Engine {
        let sandboxer = Sandboxer::new("/nonexistent".into(), SandboxPolicy::Off);
        let mut engine = Engine::new(self.store.clone(), Arc::new(sandboxer));
        engine.previous = self.checkout.clone();
        engine.env = self.env.clone();
        engine.jobs = 3;
        engine
    }

    /// One build of everything, remembered by the checkout.
    pub fn build(&mut self, graph: &Graph) -> RunReport {
        let engine = self.engine();
        let report = engine.run(graph, None, &Silent).unwrap();
        self.checkout = engine.checkout(Some(graph));
        report
    }
}

pub struct Disk(pub Files);

impl Available for Disk {
    fn answer(&self, probe: &Probe) -> Result<Answer, StepError> {
        let files = self.0.lock().unwrap();
        match probe {
            Probe::Content(path) => Ok(files.get(path).map_or(Answer::Absent, |text| Answer::File {
                digest: Digest::of(text.as_bytes()),
                executable: false,
            })),
            Probe::Listing(folder) => {
                let names: Vec<&str> =
                    files.keys().filter_map(|f| f.strip_prefix(&format!("{folder}/"))).collect();
                Ok(Answer::Listing(Digest::of(names.join("\n").as_bytes())))
            }
            other => Err(StepError::input(format!("cannot answer {other:?}"))),
        }
    }
}

pub struct Fake {
    pub declare: Box<DeclareFn>,
    pub run: Box<RunFn>,
    pub runs: Arc<AtomicUsize>,
}

impl Action for Fake {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        (self.declare)(cx)
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        (self.run)(cx)
    }
}

pub const RULE: Rule = Rule { name: "fake", version: 1 };

pub fn step_of(
    name: &str,
    needs: &[&str],
    declare: impl Fn(&StepContext<'_>) -> Result<Declared, StepError> + Send + Sync + 'static,
    run: impl Fn(&StepContext<'_>) -> Result<Ran, StepError> + Send + Sync + 'static,
) -> Step {
    let needs = needs.iter().map(|n| (*n).to_owned()).collect();
    let action = Fake { declare: Box::new(declare), run: Box::new(run), runs: Arc::default() };
    Step { name: name.into(), needs, rule: RULE, action: Arc::new(action) }
}

/// Parts that say what every needed step made, and the name: these steps write their names.
pub fn input_parts(cx: &StepContext<'_>) -> KeyParts {
    let mut parts = KeyParts::new();
    parts.text("command", cx.step);
    for (name, result) in &cx.needs {
        parts.digest(format!("input {name}"), &result.made());
    }
    parts
}

pub fn one_file(store: &Store, name: &str, text: &str) -> Result<Digest, StepError> {
    let blob = store.put_bytes(text.as_bytes())?;
    let mut tree = TreeBuilder::new();
    tree.file(name, blob, false)?;
    Ok(tree.finish(store)?)
}

pub fn made(cx: &StepContext<'_>, text: &str) -> Result<Ran, StepError> {
    Ok(Ran { outputs: [("out".to_owned(), one_file(cx.store, "out.txt", text)?)].into(), ..Ran::default() })
}

pub fn text_of(store: &Store, result: &StepResult) -> String {
    let Some(relgraph_cache::Node::File { digest, .. }) =
        store.lookup(&result.output("out").unwrap(), "out.txt").unwrap()
    else {
        panic!("no out.txt")
    };
    String::from_utf8(store.read(&digest).unwrap()).unwrap()
}

/// Reads one declared file and writes what `work` makes of it.
pub fn source_step(
    files: &Files,
    name: &str,
    path: &str,
    work: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Step {
    let path = path.to_owned();
    let (a, b) = (files.clone(), files.clone());
    let (path_a, path_b) = (path.clone(), path);
    step_of(
        name,
        &[],
        move |_| {
            let mut parts = KeyParts::new();
            if let Some(text) = a.lock().unwrap().get(&path_a) {
                parts.digest(format!("source {path_a}"), &Digest::of(text.as_bytes()));
            }
            Ok(Declared::new(parts))
        },
        move |cx| {
            let text = b.lock().unwrap().get(&path_b).cloned().unwrap_or_default();
            made(cx, &work(&text))
        },
    )
}

/// Puts together what the steps that it needs made.
pub fn joining_step(name: &str, needs: &[&str]) -> Step {
    step_of(
        name,
        needs,
        |cx| Ok(Declared::new(input_parts(cx))),
        |cx| {
            let texts: Vec<String> = cx.needs.values().map(|r| text_of(cx.store, r)).collect();
            made(cx, &format!("{}({})", cx.step, texts.join(",")))
        },
    )
}

pub fn graph(steps: impl IntoIterator<Item = Step>) -> Graph {
    let mut builder = GraphBuilder::new();
    for step in steps {
        builder.add(step);
    }
    builder.build().unwrap()
}

pub fn outcomes(report: &RunReport) -> Vec<(&str, Outcome)> {
    report.steps.values().map(|s| (s.name.as_str(), s.outcome)).collect()
}

pub fn reason(report: &RunReport, step: &str) -> Option<Reason> {
    report.steps[step].reason.clone()
}

pub const SECOND: Duration = Duration::from_secs(1);
