//! Projects as people write them, and what is found in them.

use super::*;
use crate::schema::ReleaseFile;

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn found(files: &[(&str, &str)]) -> (ProjectKind, String, Vec<String>) {
    let dir = project(files);
    let detected = detect(dir.path()).unwrap();
    (detected.kind, detected.release, detected.others)
}

fn refused(files: &[(&str, &str)]) -> String {
    detect(project(files).path()).unwrap_err().message
}

const APP: &str = r##"
defmodule Sequence.MixProject do
  use Mix.Project
  # app: :commented
  @moduledoc """
  app: :documented, releases: [documented: []]
  """
  def project do
    [name: "app: :quoted", sep: ?", app: :sequence, version: "0.1.0", deps: deps()]
  end
end
"##;

#[test]
fn the_application_is_the_release_when_none_is_declared() {
    assert_eq!(found(&[("mix.exs", APP)]), (ProjectKind::Mix, "sequence".into(), vec![]));
}

#[test]
fn declared_releases_come_first() {
    let inline = r#"def project, do: [app: :a, releases: [
      # old: [],
      web: [applications: [a: :permanent], steps: [:assemble, :tar]], "worker-1": [version: {:from_app, :a}]],
      deps: deps()]"#;
    let (kind, release, others) = found(&[("mix.exs", inline)]);
    assert_eq!((kind, release.as_str(), others), (ProjectKind::Mix, "web", vec!["worker-1".to_string()]));

    let function = "def project do\n [app: :a, default_release: :two, releases: releases()]\nend\n\
                    defp releases do\n [one: [x: 1], two: fn -> [] end]\nend";
    assert_eq!(found(&[("mix.exs", function)]), (ProjectKind::Mix, "two".into(), vec!["one".into()]));

    let attribute = "@releases [one: []]\ndef project, do: [app: :a, releases: @releases]";
    assert_eq!(found(&[("mix.exs", attribute)]).1, "one");

    let tuples = "def project, do: [app: :a, releases: [{:one, [a: 1]}]]";
    assert_eq!(found(&[("mix.exs", tuples)]).1, "one");
}

#[test]
fn an_umbrella_needs_a_declared_release() {
    let with = "def project, do: [apps_path: \"apps\", releases: [all: []]]";
    assert_eq!(found(&[("mix.exs", with)]), (ProjectKind::MixUmbrella, "all".into(), vec![]));
    let without = "def project, do: [apps_path: \"apps\"]";
    assert_eq!(refused(&[("mix.exs", without)]), "an umbrella project without a release");
}

#[test]
fn distillery_is_read_unless_mix_declares_releases() {
    let config = "use Distillery.Releases.Config, default_release: :b, default_environment: Mix.env()\n\
                  environment :prod do\n set include_erts: true\nend\n\
                  release :a do\n set version: \"1\"\nend\nrelease :b do\nend\n# release :c do";
    let (kind, release, others) = found(&[("mix.exs", APP), ("rel/config.exs", config)]);
    assert_eq!((kind, release.as_str(), others), (ProjectKind::Distillery, "b", vec!["a".to_string()]));
    let mix = "def project, do: [app: :a, releases: [m: []]]";
    assert_eq!(found(&[("mix.exs", mix), ("rel/config.exs", config)]).1, "m");
}

#[test]
fn rebar_releases_are_those_of_relx() {
    let config = "%% {relx, [{release, {no, \"1\"}, []}]}.\n{deps, [{release, {dep, \"1\"}}]}.\n\
                  {relx, [{release, {'my-rel', \"0.1.0\"}, [my_app, sasl]}, {release, {two, git}, [a]}, {mode, dev}]}.\n\
                  {profiles, [{prod, [{relx, [{release, {two, git}, [a]}]}]}]}.";
    assert_eq!(
        found(&[("rebar.config", config)]),
        (ProjectKind::Rebar3, "my-rel".into(), vec!["two".into()])
    );
    let none = "no release is declared, and there is no application";
    assert_eq!(refused(&[("rebar.config", "{erl_opts, []}.")]), none);
}

#[test]
fn projects_in_erlang_without_a_release_are_named_by_their_application() {
    let one = [("rebar.config", "{erl_opts, []}."), ("src/shop.app.src", "")];
    assert_eq!(found(&one), (ProjectKind::Rebar3, "shop".into(), vec![]));
    let relx = [
        one[0],
        one[1],
        ("relx.config", "{release, {store, \"1\"}, [shop]}.\n{release, {two, \"1\"}, [shop]}."),
    ];
    assert_eq!(found(&relx), (ProjectKind::Rebar3, "store".into(), vec!["two".into()]));
    let make = [("Makefile", "PROJECT = shop\nDEPS = cowboy\ninclude erlang.mk\n"), ("src/shop.erl", "")];
    assert_eq!(found(&make), (ProjectKind::ErlangMk, "shop".into(), vec![]));
    assert_eq!(found(&[("lib/a/ebin/a.app", "")]), (ProjectKind::Otp, "a".into(), vec![]));
    let dir = project(&[
        ("my-shop/rebar.config.script", "CONFIG."),
        ("my-shop/apps/a/src/a.app.src", ""),
        ("my-shop/apps/b/src/b.app.src", ""),
    ]);
    let detected = detect(&dir.path().join("my-shop")).unwrap();
    assert_eq!(detected.release, "my_shop");
    let text = render(&detected);
    assert!(text.contains("# applications: {a: permanent, sasl: load}"), "{text}");
    ReleaseFile::parse(Path::new("release.yaml"), text.as_bytes()).unwrap();
}

#[test]
fn a_folder_without_a_project_is_refused() {
    assert_eq!(refused(&[("README.md", "app: :x")]), "no Elixir or Erlang project here");
}

#[test]
fn what_is_written_reads_back_with_and_without_its_comments() {
    let detected = Detected {
        kind: ProjectKind::Mix,
        file: "mix.exs".into(),
        release: "sequence".into(),
        others: vec!["worker".into()],
        lines: vec![],
        notes: vec![],
    };
    let text = render(&detected);
    let file = ReleaseFile::parse(Path::new("release.yaml"), text.as_bytes()).unwrap();
    assert_eq!(file.release, "sequence");
    assert!(file.steps.is_empty() && file.package.is_none());
    let code = |line: &&str| !line.starts_with("# ") || !line.ends_with('.');
    let open: Vec<&str> =
        text.lines().skip(1).filter(code).map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
    let file = ReleaseFile::parse(Path::new("release.yaml"), open.join("\n").as_bytes()).unwrap();
    assert_eq!(file.steps["assets"].outputs, ["priv/static"]);
    assert!(file.upgrades.is_hot() && file.version.is_some());
}

#[test]
fn odd_names_are_quoted() {
    for (name, line) in
        [("null", "release: \"null\""), ("my-rel", "release: \"my-rel\""), ("a\nb", "release: \"a\\nb\"")]
    {
        let detected = Detected {
            kind: ProjectKind::Mix,
            file: "x".into(),
            release: name.into(),
            others: vec!["c\nd: e".into()],
            lines: vec![],
            notes: vec![],
        };
        let text = render(&detected);
        assert_eq!(text.lines().nth(1), Some(line));
        assert!(text.contains("# Also declared: c\\nd: e."));
    }
}

#[test]
fn any_text_is_survived() {
    for text in [
        "",
        "\"",
        "'''",
        "releases:",
        "releases: [",
        ":\"",
        "?",
        "?\\",
        "$",
        "\\",
        "releases: releases()",
        "é:",
    ] {
        for lang in [Lang::Elixir, Lang::Erlang] {
            let tokens = scan::tokens(text, lang);
            scan::mix_releases(&tokens);
            scan::relx_releases(&tokens);
            scan::distillery_releases(&tokens);
        }
    }
}

const DISTILLERY: &str = r#"
use Distillery.Releases.Config, default_release: :web, default_environment: Mix.env()

environment :dev do
  set dev_mode: true
  set cookie: :"dev secret"
end

environment :prod do
  set include_erts: false
  set cookie: :"top secret"
  set vm_args: "rel/vm.args"
  plugin Conform.ReleasePlugin, a: 1
end

release :web do
  set version: current_version(:sequence)
  set include_erts: true
  set applications: [
    :runtime_tools, # comment
    sequence: :permanent,
    "odd-app": :load,
    {:os_mon, :transient}
  ]
  set commands: [migrate: "rel/commands/migrate.sh"]
  set overlays: [{:copy, "rel/a.exs", "etc/a.exs"}, {:mkdir, "var/log"}, {:template, "x.eex", "etc/x"},
                 {:copy, "b", "etc/<%= release_name %>"}]
  set overlay_vars: [a: 1]
  set config_providers: [{Provider, ["${RELEASE_ROOT_DIR}/etc/a.exs"]}]
  set output_dir: System.get_env("OUT") <> "/x"
end
release :other do
  set version: "9.1"
end
"#;

#[test]
fn distillery_settings_are_taken_over_or_noted() {
    let dir = project(&[("mix.exs", APP), ("rel/config.exs", DISTILLERY)]);
    let mut detected = detect(dir.path()).unwrap();
    let text = render(&detected);
    assert!(!text.contains("secret"), "{text}");
    let file = ReleaseFile::parse(Path::new("release.yaml"), text.as_bytes()).unwrap();
    let modes: Vec<&str> = file.applications.iter().map(|(app, _)| app.as_str()).collect();
    assert_eq!(modes, ["runtime_tools", "sequence", "os_mon"]);
    assert_eq!(file.runtime.include, Some(crate::schema::Runtime::Exclude), "the environment wins");
    assert_eq!(file.strip, Some(crate::schema::Strip::No));
    assert_eq!(file.version, None, "it is the application's");
    let step = &file.steps["overlays"];
    assert_eq!(step.run, ["mkdir -p var/log", "mkdir -p etc && cp -R rel/a.exs etc/a.exs"]);
    assert_eq!(
        (&step.inputs[..], &step.outputs[..]),
        (&["rel/a.exs".into()][..], &["var/log".into(), "etc/a.exs".into()][..])
    );
    let notes: Vec<(usize, &str)> = detected
        .notes
        .iter()
        .map(|note| (note.line, note.message.split([':', ' ']).next().unwrap()))
        .collect();
    let words = [
        (4, "environment"),
        (11, "a"),
        (12, "`rel/vm.args`"),
        (13, "plugin"),
        (19, "`odd-app`"),
        (25, "command"),
        (26, "overlay"),
        (26, "overlay"),
        (28, "variables"),
        (29, "config"),
        (30, "`output_dir`"),
    ];
    assert_eq!(notes, words, "{:#?}", detected.notes);

    detected.rename("other").unwrap();
    assert_eq!((detected.release.as_str(), &detected.others[..]), ("other", &["web".to_owned()][..]));
    let file = ReleaseFile::parse(Path::new("release.yaml"), render(&detected).as_bytes()).unwrap();
    assert_eq!((file.version.as_deref(), file.applications.len()), (Some("9.1"), 0));
}

#[test]
fn any_distillery_file_is_survived() {
    for cut in 0..DISTILLERY.len() {
        if let Some(text) = DISTILLERY.get(..cut) {
            distillery::blocks(text);
        }
    }
    for text in [
        "release :a do set x: [}, 1",
        "release :a do set x: (((",
        "release :a do set x: 1 |> |> y",
        "release :a do set x: ]",
    ] {
        distillery::blocks(text);
    }
}
