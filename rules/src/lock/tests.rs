use super::*;

const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn mix(text: &str) -> Result<Lock, Box<Diagnostic>> {
    Lock::mix(Path::new("mix.lock"), text.as_bytes())
}

fn hex<'a>(lock: &'a Lock, app: &str) -> &'a HexPackage {
    match &lock.get(app).expect("an entry").locked {
        Locked::Hex(package) => package,
        other => panic!("{other:?}"),
    }
}

fn git<'a>(lock: &'a Lock, app: &str) -> &'a GitCommit {
    match &lock.get(app).expect("an entry").locked {
        Locked::Git(commit) => commit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lock_of_todays_hex() {
    let text = format!(
        "%{{\n  \"plug\": {{:hex, :plug, \"1.14.0\", \"{SUM}\", [:mix], [{{:mime, \"~> 1.0 or ~> 2.0\", [hex: :mime, repo: \
         \"hexpm\", optional: false]}}, {{:\"telemetry\", \"~> 0.4\", [hex: :telemetry, repo: \"hexpm\", optional: \
         true]}}], \"hexpm\", \"{SUM}\"}},\n  \"mime\": {{:hex, :mime, \"2.0.3\", \"{SUM}\", [:mix, :rebar3], [], \
         \"hexpm:acme\", nil}},\n  \"telemetry\": {{:hex, :telemetry, \"1.0.0\", \"{SUM}\"}},\n}}\n"
    );
    let lock = mix(&text).expect("a lock");
    let plug = hex(&lock, "plug");
    assert_eq!((plug.name.as_str(), plug.version.as_str(), plug.repo.as_str()), ("plug", "1.14.0", "hexpm"));
    assert_eq!((plug.inner.as_deref(), plug.outer.as_deref()), (Some(SUM), Some(SUM)));
    let children = plug.children.as_ref().expect("children");
    assert_eq!(
        children.iter().map(|c| (c.app.as_str(), c.optional)).collect::<Vec<_>>(),
        [("mime", false), ("telemetry", true)]
    );
    let mime = hex(&lock, "mime");
    assert_eq!((mime.repo.as_str(), mime.outer.as_deref()), ("hexpm:acme", None));
    assert_eq!(mime.managers.as_deref(), Some(&["mix".to_owned(), "rebar3".to_owned()][..]));
    let telemetry = hex(&lock, "telemetry");
    assert_eq!(
        (telemetry.managers.as_ref(), telemetry.children.as_ref(), telemetry.repo.as_str()),
        (None, None, "hexpm")
    );
    let span = lock.get("mime").and_then(|entry| entry.span.clone()).expect("a place");
    assert_eq!((span.line, span.column), (3, 3));
    assert_eq!(&span.text[span.bytes()], "\"mime\": {:hex, :mime, \"2.0.3\"");
    assert_eq!(lock.needed(["plug"], &|_| false), ["mime", "plug"]);
    assert_eq!(lock.needed(["plug"], &|app| app == "mime"), ["plug"]);
}

#[test]
fn git_dependencies_and_what_people_write_by_hand() {
    let text = format!(
        "# kept by hand\n%{{:one => {{:git, \"https://example.org/one.git\", \"{COMMIT}\", [tag: \"v1\", submodules: \
         true]}},\n two: {{:git, \"git@example.org:two.git\", \"{COMMIT}\", [branch: \"m\\u00e4in\", subdir: \"apps/x\"]}}, # \
         why\n \"three\" => {{:svn, \"x\"}}}}"
    );
    let lock = mix(&text).expect("a lock");
    let one = git(&lock, "one");
    assert_eq!((one.tag.as_deref(), one.submodules, one.commit.as_str()), (Some("v1"), true, COMMIT));
    let two = git(&lock, "two");
    assert_eq!((two.branch.as_deref(), two.subdir.as_deref()), (Some("mäin"), Some("apps/x")));
    assert_eq!(lock.get("three").map(|entry| entry.locked.clone()), Some(Locked::Other("svn".into())));
    assert_eq!(mix("%{}\n").expect("a lock").entries.len(), 0);
    assert_eq!(mix("").expect("a lock").entries.len(), 0);
}

#[test]
fn what_is_wrong_is_shown_with_its_place() {
    for (text, line, column, part) in [
        ("%{\n  \"a\": {:hex, :a, \"1.0\", \"12\"},\n}", 2, 26, "64 hexadecimal digits"),
        ("%{\n  \"a\": {:hex, :a, \"../1\"},\n}", 2, 19, "a name or a version"),
        ("%{\n  \"a\": {:git, \"--upload-pack=x\", \"12\"},\n}", 2, 15, "address"),
        ("%{\n  \"a\": {:git, \"x\", \"main\", []},\n}", 2, 20, "id of a commit"),
        ("%{\n  \"a\": {:hex, :a, \"1.0\"\n}", 3, 2, "found the end of the file"),
        ("%{\n  \"a\": :hex\n}", 2, 8, "a tuple"),
        ("[]", 1, 1, "a map"),
        ("%{}\n%{}", 2, 1, "end of the file"),
        ("%{\n<<<<<<< HEAD\n}", 2, 1, "conflicts"),
        ("%{\"a\": \"#{System.halt()}\"}", 1, 9, "interpolation"),
        ("%{\"a\": \"", 1, 8, "closed"),
        ("%{\"a\": {:hex, :a, \"1\", nil, [], [], \"a:../../b\"}}", 1, 37, "name of a repository"),
    ] {
        let error = mix(text).expect_err(text);
        let span = error.span.clone().expect("a place");
        assert!(error.message.contains(part), "{text}: {}", error.message);
        assert_eq!((span.line, span.column), (line, column), "{text}: {}", error.message);
        assert_eq!(error.file.as_deref(), Some(Path::new("mix.lock")));
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(mix(&deep).expect_err("too deep").message.contains("nested too deep"));
}

#[test]
fn a_rebar_lock() {
    let upper = SUM.to_ascii_uppercase();
    let text = format!(
        "{{\"1.2.0\",\n[{{<<\"cowlib\">>,{{pkg,<<\"cowlib\">>,<<\"2.12.1\">>}},1}},\n {{<<\"own\">>,\n  {{git,\"https://example.org/own.git\",\n       \
         {{ref,\"{COMMIT}\"}}}},\n  0}},\n {{<<\"part\">>,{{git_subdir,\"https://example.org/m.git\",{{ref,\"{COMMIT}\"}},\"apps/part\"}},0}}]}}.\n[\n{{pkg_hash,[\n \
         {{<<\"cowlib\">>, <<\"{upper}\">>}}]}},\n{{pkg_hash_ext,[\n {{<<\"cowlib\">>, <<\"{upper}\">>}}]}}\n].\n"
    );
    let lock = Lock::rebar(Path::new("rebar.lock"), text.as_bytes()).expect("a lock");
    let cowlib = hex(&lock, "cowlib");
    assert_eq!((cowlib.version.as_str(), cowlib.outer.as_deref()), ("2.12.1", Some(SUM)));
    assert_eq!(git(&lock, "own").url, "https://example.org/own.git");
    assert_eq!(git(&lock, "part").subdir.as_deref(), Some("apps/part"));
    assert_eq!(lock.get("own").and_then(|entry| entry.span.clone()).map(|span| span.line), Some(3));
    let old = format!("[{{<<\"a\">>,{{pkg,<<\"a\">>,<<\"1.0\">>,<<\"{upper}\">>}},0}}].");
    let lock = Lock::rebar(Path::new("rebar.lock"), old.as_bytes()).expect("an old lock");
    assert_eq!(hex(&lock, "a").inner.as_deref(), Some(SUM));
    assert_eq!(Lock::rebar(Path::new("rebar.lock"), b"[].").expect("a lock").entries.len(), 0);
    for (text, part) in [
        ("{\"2.0.0\",[]}.", "version 2.0.0"),
        ("[{<<\"a\">>,{git,\"x\",{tag,\"v\"}},0}].", "`a`"),
        ("[", "line"),
    ] {
        let error = Lock::rebar(Path::new("rebar.lock"), text.as_bytes()).expect_err(text);
        assert!(error.message.contains(part) || part == "line" && error.span.is_some(), "{}", error.message);
    }
}
