//! examples/front-end: JavaScript from npm packages, bundled before the application is compiled that carries it. The only
//! test that needs the npm registry; without npm or the registry it fails, and says so.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use support::node::Node;
use support::project::Project;
use support::{TestSpace, ask, said};

/// What a machine may have set for npm to get through to a registry.
const SETTINGS: [&str; 4] = ["registry", "cafile", "https-proxy", "noproxy"];

/// The step that fetches sees the settings of this machine: a step sees neither its user's home nor his variables.
fn with_settings_of_this_machine(project: &Project) {
    let npm = ask(Command::new("npm").arg("--version"));
    assert_eq!(npm.status, Some(0), "npm is needed; scripts/test.sh installs it: {}{}", npm.out, npm.err);
    let mut env = String::new();
    for name in SETTINGS {
        let value = said(Command::new("npm").args(["config", "get", name]));
        if !["", "null", "undefined"].contains(&value.as_str()) {
            env += &format!("      npm_config_{}: {value:?}\n", name.replace('-', "_"));
        }
    }
    project.edit("release.yaml", "    network: true\n", &format!("    network: true\n    env:\n{env}"));
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 "), "{path}: {answer}");
    answer
}

#[test]
fn a_front_end_of_npm_packages_is_built_and_served() {
    let space = TestSpace::new();
    let project = space.example("front-end", "front-end");
    with_settings_of_this_machine(&project);
    let built = project.ask(&["build"]);
    assert_eq!(
        built.status,
        Some(0),
        "examples/front-end does not build (is the npm registry reachable from here?)\n{}{}",
        built.out,
        built.err
    );
    let assets = project.release("shelf").join("lib/shelf-0.1.0/priv/static/assets");
    let names: BTreeSet<String> = fs::read_dir(&assets)
        .expect("the bundles")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("a name"))
        .collect();
    let script = names.iter().find(|name| name.starts_with("app-") && name.ends_with(".js"));
    let script = script.unwrap_or_else(|| panic!("no bundle: {names:?}"));
    assert_eq!(names.len(), 2, "{names:?}");
    let bundle = fs::read_to_string(assets.join(script)).expect("the bundle");
    assert!(bundle.contains("&quot;") && !bundle.contains("import "), "the package is in it: {bundle}");

    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let node = Node::new(&space, &project.release("shelf"), "shelf").with("PORT", &port.to_string());
    node.daemon("is_pid(Process.whereis(Shelf.Supervisor))");
    let page = get(port, "/");
    assert!(names.iter().all(|name| page.contains(&format!("/assets/{name}"))), "{page}");
    assert!(get(port, &format!("/assets/{script}")).ends_with(&bundle));
    node.stop();

    project.build().assert_nothing_to_do();
    project.append("assets/src/app.js", "console.log('edited');");
    let ran = project.ran();
    assert!(ran.contains("assets") && ran.contains("compile shelf") && !ran.contains("packages"), "{ran:?}");
}
