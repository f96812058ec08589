//! What a release.yaml is refused for: each file with all the complaints about it.

use std::path::Path;

use relgraph_rules::schema::{Problem, ReleaseFile, SchemaError};

/// One line per error, `LINE:COLUMN-END MESSAGE [LABEL] (HINT)`.
fn errors(bytes: impl AsRef<[u8]>) -> Vec<String> {
    let errors = ReleaseFile::parse(Path::new("release.yaml"), bytes.as_ref()).expect_err("refused");
    errors.iter().map(line).collect()
}

fn line(error: &SchemaError) -> String {
    let mut line = match &error.span {
        Some(span) => format!("{}:{}-{} {}", span.line, span.column, span.end_column, error.problem),
        None => error.problem.to_string(),
    };
    if let Some(label) = &error.label {
        line.push_str(&format!(" [{label}]"));
    }
    for hint in &error.hints {
        line.push_str(&format!(" ({hint})"));
    }
    line
}

#[track_caller]
fn check(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(errors(text), *expected, "for:\n{text}");
    }
}

const KEYS: &str = "the key here can be `release`, `version`, `project`, `tool`, `environment`, `target`, \
                    `applications`, `runtime`, `toolchain`, `strip`, `cookie`, `overlays`, `upgrades`, `package`, \
                    `executables_for`, `steps`, `env`, `pass_env`, `secrets`, `network`, `preflight`, `sandbox` or `cache`";

#[test]
fn files_that_hold_no_keys() {
    let one = "(a file of the one line `release: NAME` is enough)";
    let empty = format!("the file is empty {one}");
    for text in ["", "\n\n", "# only a comment\n", "---\n", "\u{feff}", "~"] {
        assert_eq!(errors(text), [empty.as_str()], "{text:?}");
    }
    check(&[
        ("- a\n", &["1:1-4 expected a map of keys, found a list"]),
        ("sequence\n", &["1:1-9 expected a map of keys, found a string"]),
        (
            "steps: {}\n",
            &["1:1-10 `release` is missing (every release has a name: add a line `release: NAME`)"],
        ),
    ]);
    assert_eq!(
        errors(b"release: a\nversion: \"\xff\""),
        ["2:11-11 the file is not UTF-8 (save it as UTF-8)"]
    );
    assert_eq!(
        errors(b"\xff\xfea\0"),
        ["1:1-1 the file is not UTF-8 (it looks like UTF-16: save it as UTF-8)"]
    );
    assert_eq!(errors(vec![b'#'; (8 << 20) + 1]), ["the file is larger than 8388608 bytes"]);
}

#[test]
fn text_that_is_no_yaml() {
    check(&[
        ("release: a: b\n", &["1:11-11 invalid YAML: mapping values are not allowed in this context"]),
        (
            "release: a\nsteps:\n\tx: 1\n",
            &["3:2-2 invalid YAML: tabs disallowed within this context (block indentation) \
               (indent with spaces: YAML takes no tabs)"],
        ),
        ("release: [a\n", &["1:12-12 invalid YAML: while parsing a flow sequence, expected ',' or ']'"]),
        ("release: a\n---\nrelease: b\n", &["2:1-4 only one document is allowed, and here begins a second"]),
        ("release: !secret a\n", &["1:10-19 tags have no meaning in this file"]),
        ("release: a\nenv: &a {X: *a}\n", &["2:13-15 an alias inside of what it names"]),
    ]);
}

#[test]
fn unknown_keys() {
    check(&[
        ("release: a\npackge: tar.gz\n", &["2:1-7 unknown key `packge` (did you mean `package`?)"]),
        (
            "release: a\ninclude_erts: false\n",
            &["2:1-13 unknown key `include_erts` (did you mean `runtime`?)"],
        ),
        ("release: a\nstrip: {kep: []}\n", &["2:9-12 unknown key `kep` [in `strip`] (did you mean `keep`?)"]),
        (
            "release: a\nsteps:\n  x: {run: y, cookie: c}\n",
            &[
                "3:15-21 unknown key `cookie` [in `steps.x`] (`cookie` belongs to the file: put it at the left margin)",
            ],
        ),
        (
            "release: a\nrun: x\n",
            &[
                "2:1-4 unknown key `run` (`run` belongs to a step: put it below `steps:` and the name of the step)",
            ],
        ),
    ]);
    assert_eq!(errors("release: a\né日: 1\n"), [format!("2:1-3 unknown key `é日` ({KEYS})")]);
    assert_eq!(errors("release: a\n<<: 1\n"), [format!("2:1-3 unknown key `<<` ({KEYS})")]);
}

#[test]
fn keys_and_entries_that_come_twice() {
    check(&[
        ("release: a\nrelease: b\n", &["2:1-8 duplicate key `release` (the first one is on line 1)"]),
        (
            "release: a\nenv: {A: x, A: y}\n",
            &["2:13-14 duplicate key `A` [in `env`] (the first one is on line 2)"],
        ),
        ("release: a\npackage: [tar.gz, tar.gz]\n", &["2:19-25 `tar.gz` is listed twice [in `package`]"]),
        ("release: a\nenv:\n  [1]: x\n", &["3:3-6 expected a key, found a list [in `env`]"]),
    ]);
}

#[test]
fn values_of_the_wrong_kind() {
    check(&[
        ("release: 12\n", &["1:10-12 expected a name, found a number (put it in quotes: `\"12\"`)"]),
        (
            "release: a\nversion: 1.10\n",
            &["2:10-14 expected a string, found a number (put it in quotes: `\"1.10\"`)"],
        ),
        (
            "release: a\nversion:\n",
            &["2:1-8 expected a string, found nothing (give it a value, or take the line out)"],
        ),
        (
            "release: a\noverlays: x/y\n",
            &["2:11-14 expected a list of folders, found a string (write a list: `[x/y]`)"],
        ),
        (
            "release: a\nruntime: [1]\n",
            &[
                "2:10-13 expected true, false, a folder or a map with the keys `include` and `target`, found a list",
            ],
        ),
        (
            "release: a\nstrip: {compress: yes}\n",
            &["2:19-22 expected true or false, found a string [in `strip`] (write `true`)"],
        ),
        (
            "release: a\napplications: [x]\n",
            &["2:15-18 expected a map from applications to start modes, found a list"],
        ),
        (
            "release: a\nenv: {A: }\n",
            &["2:7-8 expected a string, found nothing [in `env`] (give it a value, or take the line out)"],
        ),
        (
            "release: a\nsteps:\n  x:\n    run: y\n    inputs: 5\n    timeout: 10m\n",
            &[
                "5:13-14 expected a list of globs, found a number [in `steps.x`]",
                "6:14-17 expected a number of seconds, found a string [in `steps.x`] (write the number alone: `600`)",
            ],
        ),
        (
            "release: a\nsteps:\n  x:\n",
            &[
                "3:3-4 expected a map of the keys of a step, found nothing [in `steps`] (give it a value, or take the line out)",
            ],
        ),
    ]);
}

#[test]
fn words_that_are_not_among_those_allowed() {
    check(&[
        (
            "release: a\napplications:\n  sasl: permanant\n",
            &[
                "3:9-18 unknown value `permanant`, expected `permanent`, `transient`, `temporary`, `load` or `none` \
               [in `applications`] (did you mean `permanent`?)",
            ],
        ),
        ("release: a\nupgrades: cold\n", &["2:11-15 unknown value `cold`, expected `none` or `hot`"]),
        (
            "release: a\nsandbox: on\n",
            &["2:10-12 unknown value `on`, expected `preferred`, `required` or `off`"],
        ),
        ("release: a\npackage: zip\n", &["2:10-13 unknown value `zip`, expected `tar.gz`"]),
        (
            "release: a\nexecutables_for: [unix, macos]\n",
            &["2:25-30 unknown value `macos`, expected `unix` or `windows` [in `executables_for`]"],
        ),
    ]);
}

#[test]
fn names_of_steps() {
    let step = |name: &str| errors(format!("release: a\nsteps:\n  {name}: {{run: x}}\n")).join("\n");
    for name in [
        "compile phoenix",
        "package tar.gz",
        "assemble",
        "config",
        "boot",
        "describe",
        "collect",
        "include runtime",
        "scripts",
        "compile",
        "package",
        "preflight",
        "fetch",
    ] {
        let end = 3 + name.len();
        assert_eq!(
            step(name),
            format!(
                "3:3-{end} `{name}` is the name of a step that relgraph makes itself [in `steps`] (choose another name)"
            )
        );
    }
    for name in ["a b", "-a", "a/b", "a.b", "é", "\"\\e[31m\"", "\"a\\nb\""] {
        assert!(step(name).contains("cannot be the name of a step [in `steps`]"), "{name}: {}", step(name));
    }
    assert_eq!(step("\"\""), "3:3-5 expected the name of a step, found an empty string [in `steps`]");
    assert!(!step("\"\\e[31m\"").contains('\u{1b}'));
}

#[test]
fn paths_that_lead_outside() {
    let step = |key: &str| errors(format!("release: a\nsteps:\n  s:\n    run: x\n    {key}\n")).join("\n");
    let output = "(write a path below the folder that the step runs in)";
    assert_eq!(
        step("outputs: [/etc]"),
        format!("5:15-19 `/etc` is an absolute path [in `steps.s.outputs`] {output}")
    );
    assert_eq!(
        step("outputs: [a/../../b]"),
        format!("5:15-24 `a/../../b` leads outside with `..` [in `steps.s.outputs`] {output}")
    );
    assert!(step("outputs: [a/*]").contains("looks like a glob"));
    assert!(step("outputs: [./]").contains("the whole folder cannot be an output"));
    assert!(step("into: ../x").contains("leads outside"));
    assert!(step("into: /x").contains("is an absolute path"));
    assert!(step("inputs: [../x/**]").contains("leads outside"));
    assert!(step("inputs: [\"a{b\"]").contains("is not a glob"));
    assert!(step("outputs: [\"a\\0b\"]").contains("NUL"));
    assert!(step("timeout: 0").contains("`0` is not a whole number of seconds above 0"));
    assert!(step("timeout: 1.5").contains("`1.5` is not a whole number"));
}

#[test]
fn other_rules_of_texts() {
    check(&[
        (
            "release: a\nenv: {MIX_ENV: dev, 1A: x}\n",
            &[
                "2:7-14 `MIX_ENV` is set by the key `environment` [in `env`]",
                "2:21-23 `1A` cannot be the name of a variable [in `env`] \
                 (a variable is made of letters, digits and `_`, and does not begin with a digit)",
            ],
        ),
        (
            "release: a\ncookie: \"a b\"\n",
            &["2:9-14 a cookie is up to 255 printable ASCII characters without spaces"],
        ),
    ]);
    for text in ["release: Sequence", "release: \"a b\"", "release: ../a", "release: \"\"", "release: é"] {
        assert_eq!(errors(text).len(), 1, "{text}");
    }
    for text in ["a/b", "..", "a b", ""] {
        assert_eq!(errors(format!("release: a\nversion: \"{text}\"")).len(), 1, "{text}");
    }
}

#[test]
fn a_step_must_have_something_to_run() {
    check(&[
        (
            "release: a\nsteps:\n  x: {inputs: [a]}\n",
            &["3:3-4 `run` is missing [in `steps.x`] (add a line `run: …`)"],
        ),
        ("release: a\nsteps:\n  x: {run: []}\n", &["3:12-14 `run` is empty [in `steps.x`]"]),
    ]);
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_file() {
    let found = errors("packge: x\nrelease: B\nstrip: 1\nsteps: {s: {run: 1, x: 2}}\n");
    let places: Vec<&str> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["1:1-7", "2:10-11", "3:8-9", "4:18-19", "4:21-22"]);
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("release: a\nenv: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let last = format!("*l{}", i - 1);
        text.push_str(&format!("k{i}: &l{i} [{}]\n", vec![last; 10].join(", ")));
    }
    assert_eq!(
        errors(text).last().unwrap().split(' ').skip(1).collect::<Vec<_>>().join(" "),
        "the aliases unfold to too much"
    );
    assert!(errors("[".repeat(1 << 19)).len() == 1);
}

#[test]
fn a_missing_file_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let errors = ReleaseFile::read(&dir.path().join("release.yaml")).unwrap_err();
    assert_eq!(errors[0].problem, Problem::Absent);
    assert_eq!(errors[0].hints, ["`relgraph init` writes one for the project in this folder"]);
    assert!(matches!(ReleaseFile::read(dir.path()).unwrap_err()[0].problem, Problem::Unreadable(_)));
}

#[test]
fn remotes_that_cannot_be_meant() {
    let remote = |text: &str| format!("release: a\ncache:\n  remotes:\n    - {text}\n");
    let one = |text: &str, expected: &str| assert_eq!(errors(remote(text)), [expected], "{text}");
    one(
        "cache.example.com",
        "4:7-24 this is not the address of a remote: it begins with `grpc://`, `grpcs://`, `http://`, `https://`, \
         `s3://`, `gs://`, `az://` or `file://` [in `cache.remotes`]",
    );
    one("url: https://", "4:12-20 this is not an address: empty host [in `cache.remotes[0]`]");
    one("access: read", "4:7-19 `url` is missing [in `cache.remotes[0]`] (add a line `url: …`)");
    one(
        "{url: \"https://a\", acces: read}",
        "4:26-31 unknown key `acces` [in `cache.remotes[0]`] (did you mean `access`?)",
    );
    one(
        "{url: \"https://a\", namespace: a//b}",
        "4:37-41 `a//b` cannot be a namespace [in `cache.remotes[0]`] (a namespace is made of letters, digits, `_`, \
         `-` and `.`, in parts with `/` between them)",
    );
    one(
        "{url: \"https://a\", certificate: a.pem}",
        "4:26-37 there is no `key` beside it (add a line `key: …`)",
    );
    one(
        "{url: \"file:///a\", token: \"${T}\"}",
        "4:26-31 `token` has no meaning for this address (the file system says who may do what)",
    );
    one(
        "{url: \"https://a\", instance: x}",
        "4:26-34 only remotes at `grpc://` and `grpcs://` have instances (elsewhere the path of the address says the same)",
    );
    one(
        "https://a\n    - {url: \"https://A:443/\"}",
        "5:7-30 this address is listed twice (one entry says all about an address)",
    );
    check(&[
        (
            "release: a\ncache:\n  timeout: 5\n",
            &[
                "3:3-10 unknown key `timeout` [in `cache`] (`timeout` belongs to a remote: put it below `remotes:`, \
               beside its `url`)",
            ],
        ),
        (
            "release: a\ncache: https://a\n",
            &[
                "2:8-17 expected a map with the keys `remotes`, `trusted_keys`, `signing_key_file` and `upload_wait`, \
               found a string",
            ],
        ),
    ]);
}

#[test]
fn secrets_are_refused_and_not_repeated() {
    for text in [
        "    - url: https://a\n      token: abcSECRETdef\n",
        "    - url: https://a\n      user: me\n      password: \"SECRET\"\n",
        "    - https://me:SECRET@host/x\n",
        "    - {url: \"https://SECRET@host\", acces: read}\n",
        "    - {url: \"https://a\", token: SECRET, acces: read}\n",
        "    - url: https://a\n      token:\n        SECRET\n",
        "    - url: https://a\n      token: \"SECRET\n",
    ] {
        let text = format!("release: a\ncache:\n  remotes:\n{text}");
        let errors = ReleaseFile::parse(Path::new("release.yaml"), text.as_bytes()).expect_err("refused");
        assert!(!format!("{errors:?}").contains("SECRET"), "{errors:#?}");
    }
    assert_eq!(
        errors("release: a\ncache: {remotes: [{url: \"https://a\", token: x}]}\n"),
        [
            "2:45-46 a secret has no place in a file that is committed [in `cache.remotes[0]`] (write the name of the \
          variable that holds it: `${CACHE_TOKEN}`; your own can be in `~/.config/relgraph/config.yaml`; this one should \
          not be used any more where it was shared)"
        ]
    );
}
