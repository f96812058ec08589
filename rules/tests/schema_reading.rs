//! What good files say, and where.

use std::path::{Path, PathBuf};
use std::time::Instant;

use proptest::prelude::*;
use relgraph_cache::remote::Access;
use relgraph_rules::schema::{
    CacheSettings, Layout, ModuleWay, PackageFormat, Platform, Purge, ReleaseFile, Runtime, Sandbox,
    StartMode, Strip, UserFile,
};

const FULL: &str = r#"# everything
release: sequence
version: "1.10"
project: server
environment: staging
target: rpi4
applications:
  zebra: permanent
  runtime_tools: load
runtime: {include: /opt/erlang}
strip: {keep: [Docs], compress: true}
cookie: s3cret
overlays: [rel/overlays, ops]
upgrades: hot
package: tar.gz
executables_for: [unix, windows]
env: {PORT: 4000, DEBUG: true, NAME: x}
pass_env: [GIT_COMMIT]
sandbox: off
steps:
  assets: &defaults
    run: |
      npm ci
      npm run build
    inputs: [./assets/**, "*.json"]
    outputs: [./priv//static/]
    env: {NODE_ENV: production}
    into: ./share/
    network: true
    timeout: 600
  stamp:
    <<: *defaults
    run:
      - date > stamp
      - "true"
    needs: [assets, "compile sequence"]
"#;

fn parse(text: &str) -> ReleaseFile {
    ReleaseFile::parse(Path::new("release.yaml"), text.as_bytes())
        .unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[test]
fn one_line_is_complete() {
    let file = parse("release: sequence");
    assert_eq!(file.release, "sequence");
    assert_eq!(file.file(), Path::new("release.yaml"));
    assert!(
        file.version.is_none()
            && file.runtime.include.is_none()
            && file.strip.is_none()
            && file.package.is_none()
    );
    assert!(file.overlays.is_none() && file.executables_for.is_none() && file.sandbox.is_none());
    assert_eq!(
        (file.project_dir(), file.environment_name(), file.target_name()),
        (Path::new("."), "prod", "host")
    );
    assert_eq!((file.runtime_wanted(), file.strip_wanted()), (None, None));
}

#[test]
fn every_key_is_read() {
    let file = parse(FULL);
    assert_eq!(file.version.as_deref(), Some("1.10"));
    assert_eq!(
        (file.project_dir(), file.environment_name(), file.target_name()),
        (Path::new("server"), "staging", "rpi4")
    );
    let modes = [("zebra".to_string(), StartMode::Permanent), ("runtime_tools".to_string(), StartMode::Load)];
    assert_eq!(file.applications, modes);
    assert_eq!(file.runtime.include, Some(Runtime::At(PathBuf::from("/opt/erlang"))));
    assert_eq!(file.strip, Some(Strip::Yes { keep: vec!["Docs".into()], compress: true }));
    assert_eq!(file.cookie.as_ref().map(|cookie| cookie.expose()), Some("s3cret"));
    assert!(!format!("{file:?}").contains("s3cret"));
    assert_eq!(file.overlays, Some(vec!["rel/overlays".into(), "ops".into()]));
    assert_eq!(file.upgrades.layout, Some(Layout::Hot));
    assert_eq!(file.package, Some(vec![PackageFormat::TarGz]));
    assert_eq!(file.executables_for, Some(vec![Platform::Unix, Platform::Windows]));
    assert_eq!(file.sandbox, Some(Sandbox::Off));
    assert_eq!((file.env["PORT"].as_str(), file.env["DEBUG"].as_str()), ("4000", "true"));
    assert!(file.pass_env.contains("GIT_COMMIT"));
    let assets = &file.steps["assets"];
    assert_eq!(assets.script(), "npm ci\nnpm run build\n");
    assert_eq!((assets.inputs[0].as_str(), assets.outputs[0].as_str()), ("assets/**", "priv/static"));
    assert_eq!((assets.into.as_str(), assets.network, assets.timeout), ("share", true, Some(600)));
    let stamp = &file.steps["stamp"];
    assert_eq!(stamp.script(), "date > stamp\ntrue\n");
    assert_eq!(stamp.needs, ["assets", "compile sequence"]);
    assert_eq!(stamp.outputs, assets.outputs);
}

#[test]
fn every_value_keeps_its_place() {
    let file = parse(FULL);
    let marked = |path: &str| file.span(path).map(|span| (span.line, span.text[span.bytes()].to_string()));
    let at = |line, text: &str| Some((line, text.to_string()));
    assert_eq!(marked("release"), at(2, "sequence"));
    assert_eq!(marked("version"), at(3, "\"1.10\""));
    assert_eq!(marked("applications.runtime_tools"), at(9, "load"));
    assert_eq!(marked("runtime.include"), at(10, "/opt/erlang"));
    assert_eq!(marked("overlays[1]"), at(13, "ops"));
    assert_eq!(marked("steps.stamp.needs[1]"), at(36, "\"compile sequence\""));
    assert_eq!(marked("steps.assets.run"), at(23, "npm ci"));
    // Taken over by an alias: the place is where it is written.
    assert_eq!(marked("steps.stamp.outputs[0]"), at(26, "./priv//static/"));
    assert_eq!(marked("steps.nothing"), None);
    let key = file.key_span("applications.runtime_tools").unwrap();
    assert_eq!((key.line, key.column, &key.text[key.bytes()]), (9, 3, "runtime_tools"));
    assert!(file.key_span("overlays[1]").is_none());
}

#[test]
fn places_hold_with_wide_characters_and_other_line_ends() {
    let file = parse("\u{feff}# é\r\nrelease: a\r\nenv: {A: \"日本\", B: x}\r\n");
    let span = file.span("env.B").unwrap();
    assert_eq!((span.line, span.column, &span.text[span.bytes()]), (3, 19, "x"));
    assert_eq!(span.text, "env: {A: \"日本\", B: x}");
}

#[test]
fn dev_wants_neither_runtime_nor_stripping_unless_said() {
    let file = parse("release: a\nenvironment: dev");
    assert_eq!((file.runtime_wanted(), file.strip_wanted()), (Some(Runtime::Exclude), Some(Strip::No)));
    let file = parse("release: a\nenvironment: dev\nruntime: true\nstrip: true");
    assert_eq!(file.runtime_wanted(), Some(Runtime::Own));
    assert_eq!(file.strip_wanted(), Some(Strip::Yes { keep: vec![], compress: false }));
}

#[test]
fn a_list_or_map_whose_entries_are_commented_out_is_left_out() {
    let file = parse("release: a\noverlays:\n#  - x\nsteps:\n#  x: {run: y}\nenv: ~\napplications:\n");
    assert!(file.overlays.is_none() && file.steps.is_empty() && file.env.is_empty());
}

#[test]
fn runtime_in_all_its_forms() {
    for (text, expected) in [
        ("true", Runtime::Own),
        ("false", Runtime::Exclude),
        ("../otp", Runtime::At("../otp".into())),
        ("{include: false}", Runtime::Exclude),
        ("{include: true}", Runtime::Own),
        ("{include: otp}", Runtime::At("otp".into())),
    ] {
        assert_eq!(parse(&format!("release: a\nruntime: {text}")).runtime.include, Some(expected), "{text}");
    }
}

#[test]
fn an_error_found_later_can_point_at_the_value() {
    let file = parse(FULL);
    let diagnostic = relgraph_rules::diagnostic::Diagnostic::error("no step `assets`")
        .in_file(file.file())
        .at(file.span("steps.stamp.needs[0]"));
    assert_eq!(diagnostic.to_string(), "release.yaml:36:13: no step `assets`");
}

#[test]
fn files_at_the_limit_of_size_are_read_in_time() {
    let begun = Instant::now();
    for text in ["[", "{a: ", "- ", "a: &a\n", "\"", "? ", "*a ", "release: a\n", "x, ", "&a ", "!", "|\n"] {
        let file = text.repeat((1 << 18) / text.len());
        let _ = ReleaseFile::parse(Path::new("x"), file.as_bytes());
    }
    let long = "n".repeat(300_000);
    let many = format!("release: a\nsteps: {{{long}: {{run: [{}]}}}}", "x, ".repeat(100_000));
    assert!(ReleaseFile::parse(Path::new("x"), many.as_bytes()).is_err());
    assert!(begun.elapsed().as_secs() < 60);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = ReleaseFile::parse(Path::new("x"), &bytes);
    }

    #[test]
    fn arbitrary_yaml_like_text_is_survived(text in "([-?:,\\[\\]{}&*#|>'\"%!@`~<a-c \n\t\r.0\u{e9}]|release|: |\n  |steps:|---|\\.\\.\\.){0,60}") {
        let _ = ReleaseFile::parse(Path::new("x"), text.as_bytes());
    }

    #[test]
    fn mutated_files_are_survived_and_errors_have_places_within_the_text(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..4_usize, any::<u8>(), "[-?:,\\[\\]{}&*#|>'\" \n\t]{1,3}"), 1..6)
    ) {
        let mut bytes = FULL.as_bytes().to_vec();
        for (index, action, byte, text) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match action {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                2 => { bytes.splice(at..at, text.bytes()); }
                _ => bytes.truncate(at.max(1)),
            }
        }
        if let Err(errors) = ReleaseFile::parse(Path::new("x"), &bytes) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                if let Some(span) = &error.span {
                    prop_assert!(span.line >= 1 && span.column >= 1 && span.end_column >= span.column);
                    prop_assert!(span.end_column <= span.text.chars().count() + 1);
                    prop_assert!(span.text.get(span.bytes()).is_some());
                }
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }
    }
}

#[test]
fn upgrades_are_a_word_or_a_map() {
    let text = "release: a\nupgrades:\n  layout: hot\n  purge: brutal\n  timeout: 9\n  applications:\n    b:\n      appup: b.appup\n      \
                modules: {B.C: suspend}\n  rehearse: {run: ./x, inputs: [x], env: {A: 1}, timeout: 7}\n";
    let file = ReleaseFile::parse(Path::new("x"), text.as_bytes()).unwrap();
    let upgrades = &file.upgrades;
    assert!(upgrades.is_hot());
    assert_eq!((upgrades.purge, upgrades.timeout), (Some(Purge::Brutal), Some(9)));
    assert_eq!(upgrades.applications["b"].modules["B.C"], ModuleWay::Suspend);
    assert_eq!(upgrades.applications["b"].appup.as_deref(), Some(Path::new("b.appup")));
    assert_eq!((upgrades.rehearse.script().as_str(), upgrades.rehearse.timeout), ("./x\n", Some(7)));
    let wrong = |text: &str| {
        let errors = ReleaseFile::parse(Path::new("x"), format!("release: a\nupgrades:\n{text}").as_bytes())
            .unwrap_err();
        errors.iter().map(|error| error.diagnostic().message).collect::<Vec<_>>().join("\n")
    };
    assert!(wrong("  purge: sometimes\n").contains("sometimes"));
    assert!(
        wrong("  applications: {b: {restart: maybe}}\n").contains("true or false"),
        "{}",
        wrong("  applications: {b: {restart: maybe}}\n")
    );
    assert!(wrong("  aplications: {}\n").contains("aplications"));
}

#[test]
fn remotes_are_read_as_they_are_written() {
    let text = "release: a\ncache:\n  remotes:\n    - grpcs://h/main\n    - {url: \"https://b\", access: read-write, \
                token: \"${T}\", timeout: 9}\n  upload_wait: 3\n";
    let file = parse(text);
    let remotes = file.cache.remotes.as_deref().unwrap();
    assert_eq!(
        remotes.iter().map(|it| it.url.0.as_str()).collect::<Vec<_>>(),
        ["grpcs://h/main", "https://b"]
    );
    assert_eq!((remotes[0].access, remotes[1].access), (None, Some(Access::ReadWrite)));
    assert_eq!((remotes[1].timeout, file.cache.upload_wait), (Some(9), Some(3)));
    assert_eq!(file.cache.variables().collect::<Vec<_>>(), ["T"]);
    assert!(!file.cache.holds_secrets());
    assert_eq!(parse("release: a\ncache:\n  remotes:\n    # - file:///a\n").cache.remotes, None);
    assert_eq!(parse("release: a\ncache: {remotes: []}\n").cache.remotes, Some(vec![]));
}

#[test]
fn the_file_of_the_user_may_hold_what_release_yaml_must_not() {
    let read = |text: &str| UserFile::parse(Path::new("config.yaml"), text.as_bytes());
    let text =
        "cache:\n  remotes: [\"https://me:pw@h\"]\n  credentials:\n    - {url: \"https://a\", token: t}\n";
    let file = read(text).unwrap();
    assert!(file.cache.holds_secrets() && !format!("{file:?}").contains("pw"));
    assert_eq!(file.cache.credentials.len(), 1);
    for text in ["", "# nothing\n", "cache: {}\n"] {
        assert_eq!(read(text).unwrap().cache, CacheSettings::default());
    }
    let refused =
        |text: &str| read(text).unwrap_err().iter().map(|e| e.to_string()).collect::<Vec<_>>().join("\n");
    assert_eq!(refused("release: a\n"), "config.yaml:1:1: unknown key `release`");
    assert!(
        refused("cache: {credentials: [{url: \"https://a\", token: \"é\"}]}\n").contains("printable ASCII")
    );
}
