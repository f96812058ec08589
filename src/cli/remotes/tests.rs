use super::*;

const KEY: &str = "relgraph-key-1:ci:8CQcK0AOJWY0+MlrDt7KBpegkxIMHMSfGFAxXHb4F10";

/// A user's home, and what is asked from there.
struct Case {
    home: PathBuf,
    env: BTreeMap<String, String>,
    flags: RemoteArgs,
    release: String,
    offline: bool,
}

impl Case {
    fn new(release: &str) -> Case {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("relgraph-sharing-{}-{count}", std::process::id()));
        std::fs::create_dir_all(home.join(".config/relgraph")).unwrap();
        let env = [("HOME".to_owned(), home.display().to_string())].into();
        let flags = RemoteArgs::default();
        Case { home, env, flags, release: format!("release: a\n{release}"), offline: false }
    }

    fn env(mut self, name: &str, value: &str) -> Case {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, url: &str) -> Case {
        self.flags.remotes.push(url.to_owned());
        self
    }

    fn file(self, name: &str, text: &str) -> Case {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.home.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn user(self, text: &str) -> Case {
        self.file(".config/relgraph/config.yaml", text)
    }

    fn sharing(&self) -> Result<Sharing, Vec<Diagnostic>> {
        let file = ReleaseFile::parse(Path::new("release.yaml"), self.release.as_bytes())
            .unwrap_or_else(|errors| panic!("{errors:#?}"));
        resolve(&Sources {
            release: Some((&file, Path::new("/checkout"))),
            env: &self.env,
            flags: &self.flags,
            offline: self.offline,
        })
    }

    #[track_caller]
    fn good(&self) -> Sharing {
        self.sharing().unwrap_or_else(|errors| panic!("{errors:#?}"))
    }

    /// One line for each remote: its address, access, namespace and what is shown to it.
    #[track_caller]
    fn is(&self, expected: &[&str]) {
        let lines: Vec<String> = self.good().remotes.iter().map(line).collect();
        assert_eq!(lines, expected);
    }

    #[track_caller]
    fn refused(&self) -> String {
        self.sharing().unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn line(spec: &RemoteSpec) -> String {
    let mut line = spec.url.clone();
    if spec.access == Access::ReadWrite {
        line.push_str(" rw");
    }
    for part in
        [&spec.namespace, &Some(spec.instance.clone()).filter(|it| !it.is_empty())].into_iter().flatten()
    {
        line.push_str(&format!(" {part}"));
    }
    if let Some(token) = &spec.credentials.token {
        line.push_str(&format!(" token={}", token.expose()));
    }
    if let Some((user, password)) = &spec.credentials.basic {
        line.push_str(&format!(" {user}:{}", password.expose()));
    }
    line
}

#[test]
fn nothing_is_shared_unless_somebody_says_so() {
    Case::new("").is(&[]);
    let sharing = Case::new("").good();
    assert_eq!(sharing.upload_wait, Duration::from_secs(10));
    assert_eq!(Case::new("").env("CI", "true").good().upload_wait, Duration::from_secs(300));
    assert!(!sharing.trust.is_asked_for());
}

#[test]
fn a_list_takes_the_place_of_those_before() {
    let case = Case::new("cache: {remotes: [\"https://a\", \"s3://b/c\"]}\n");
    case.is(&["https://a", "s3://b/c"]);
    let case = case.user("cache: {remotes: [\"https://u\"]}\n");
    case.is(&["https://u"]);
    let case = case.env("RELGRAPH_REMOTE", " https://e1\nfile:///srv ");
    case.is(&["https://e1", "file:///srv"]);
    let mut case = case.flag("grpcs://f/main");
    case.is(&["grpcs://f/main"]);
    case.flags.remotes.clear();
    case.flags.no_remote = true;
    case.is(&[]);
    case.flags.no_remote = false;
    case.offline = true;
    case.is(&[]);
    Case::new("cache: {remotes: [\"https://a\"]}\n").env("RELGRAPH_REMOTE", "none").is(&[]);
    Case::new("cache: {remotes: [\"https://a\"]}\n").env("RELGRAPH_REMOTE", "").is(&["https://a"]);
    Case::new("cache: {remotes: [\"https://a\"]}\n").user("cache: {remotes: []}\n").is(&[]);
}

#[test]
fn what_is_said_of_one_address_comes_together() {
    let release = "cache:\n  remotes:\n    - url: https://a/x\n      access: read-write\n      timeout: 20\n";
    let case = Case::new(release).user("cache:\n  remotes:\n    - url: https://a/x/\n      token: mine\n");
    case.is(&["https://a/x rw token=mine"]);
    assert_eq!(case.good().remotes[0].limits.call, Duration::from_secs(20));
    case.flag("https://a/x;access=read").is(&["https://a/x token=mine"]);
}

#[test]
fn credentials_go_to_their_address_and_nowhere_else() {
    let user = "cache:\n  credentials:\n    - url: https://a\n      token: outer\n    - url: https://a/x\n      \
                user: me\n      password: inner\n";
    let case =
        Case::new("cache: {remotes: [\"https://a/x/y\", \"https://a/xy\", \"https://b\", \"http://a\"]}\n")
            .user(user);
    case.is(&["https://a/x/y me:inner", "https://a/xy token=outer", "https://b", "http://a"]);
    case.flag("https://a/z").flag("https://u:p@a/x").is(&["https://a/z token=outer", "https://a/x u:p"]);
}

#[test]
fn the_token_of_the_environment_is_for_the_host_of_the_first_remote() {
    let case =
        Case::new("cache: {remotes: [\"file:///srv\", \"https://a/x\", \"https://b\", \"https://a/y\"]}\n")
            .env("RELGRAPH_REMOTE_TOKEN", "t");
    case.is(&["file:///srv", "https://a/x token=t", "https://b", "https://a/y token=t"]);
    case.flag("https://b").is(&["https://b token=t"]);
    let own = Case::new("").env("RELGRAPH_REMOTE_TOKEN", "t").flag("https://me:pw@b");
    own.is(&["https://b me:pw"]);
    assert!(own.good().warnings[0].message.contains("there are credentials in the address of https://b"));
    assert!(!format!("{:?}", own.good()).contains("pw"));
}

#[test]
fn a_remote_whose_secret_is_not_there_is_only_read() {
    let release =
        "cache:\n  remotes:\n    - url: https://a\n      access: read-write\n      token: ${CACHE_TOKEN}\n";
    let case = Case::new(release);
    case.is(&["https://a"]);
    assert!(case.good().notes[0].1.contains("`CACHE_TOKEN` is not set"));
    case.env("CACHE_TOKEN", "").is(&["https://a"]);
    Case::new(release).env("CACHE_TOKEN", "t").is(&["https://a rw token=t"]);
    Case::new(release)
        .user("cache: {credentials: [{url: \"https://a\", token: u}]}\n")
        .is(&["https://a rw token=u"]);
    let file = "cache:\n  remotes:\n    - url: https://a\n      access: read-write\n      token_file: ~/t\n";
    Case::new(file).is(&["https://a"]);
    Case::new(file).file("t", "\nabc\n").is(&["https://a rw token=abc"]);
    let refused = Case::new(file).file("t", "abc\ndef\n").refused();
    assert!(refused.contains("expected one line") && !refused.contains("abc"), "{refused}");
}

#[test]
fn a_pull_request_reads_the_main_part_and_writes_its_own() {
    let release = "cache:\n  remotes:\n    - url: file:///srv\n      access: read-write\n    - https://b\n";
    let case = Case::new(release).env("CI_MERGE_REQUEST_IID", "17");
    case.is(&["file:///srv", "file:///srv rw pr/17", "https://b"]);
    let case = case.env("RELGRAPH_NAMESPACE", "main");
    case.is(&["file:///srv rw", "https://b"]);
    let mut case = case.env("RELGRAPH_NAMESPACE", "nightly");
    case.is(&["file:///srv", "file:///srv rw nightly", "https://b", "https://b nightly"]);
    case.flags.namespace = Some("auto".into());
    case.is(&["file:///srv", "file:///srv rw pr/17", "https://b"]);
    let case = Case::new(release).env("GITHUB_EVENT_NAME", "pull_request_target");
    case.is(&["file:///srv", "https://b"]);
    assert!(case.good().warnings[0].message.contains("number of the pull request is not known"));
}

#[test]
fn what_is_said_of_all_remotes_gives_way_to_what_is_said_of_one_beside_it() {
    let release = "cache:\n  remotes:\n    - url: file:///a\n      access: read\n    - file:///b\n";
    let mut case = Case::new(release).env("RELGRAPH_REMOTE_ACCESS", "read-write");
    case.is(&["file:///a rw", "file:///b rw"]);
    case.flags.remote_access = Some(Access::Read);
    case.is(&["file:///a", "file:///b"]);
    Case::new("")
        .env("RELGRAPH_REMOTE", "file:///a;access=read file:///b;namespace=x")
        .env("RELGRAPH_REMOTE_ACCESS", "read-write")
        .is(&["file:///a", "file:///b", "file:///b rw x"]);
}

#[test]
fn keys_come_from_the_last_who_names_any() {
    let case =
        Case::new(&format!("cache: {{trusted_keys: [\"{KEY}\"], signing_key_file: key, upload_wait: 7}}\n"));
    let sharing = case.good();
    assert_eq!(sharing.trust.trusted, [KEY.parse().unwrap()]);
    assert!(sharing.trust.signer.is_none() && sharing.notes[0].1.contains("/checkout/key"));
    assert_eq!(sharing.upload_wait, Duration::from_secs(7));
    let key = relgraph_cache::remote::SecretKey::generate("me").unwrap();
    let case = case
        .user("cache: {trusted_keys: []}\n")
        .env("RELGRAPH_SIGNING_KEY", &key.expose())
        .env("RELGRAPH_UPLOAD_WAIT", "2m");
    let sharing = case.good();
    assert!(sharing.trust.trusted.is_empty());
    assert_eq!(sharing.trust.signer.map(|it| it.public()), Some(key.public()));
    assert_eq!(sharing.upload_wait, Duration::from_secs(120));
    let refused = Case::new("").env("RELGRAPH_SIGNING_KEY_FILE", "/nowhere/key").refused();
    assert!(refused.contains("/nowhere/key"), "{refused}");
}

#[test]
fn the_instance_is_part_of_the_address() {
    Case::new("cache: {remotes: [\"grpcs://h:9/a/b\", {url: \"grpc://g\", instance: c}]}\n")
        .is(&["grpcs://h:9/a/b", "grpc://g/c c"]);
}

#[test]
fn a_file_with_secrets_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let open = |text: &str| {
        let case = Case::new("").user(text);
        let file = case.home.join(".config/relgraph/config.yaml");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
        case.good().warnings.len()
    };
    assert_eq!(open("cache: {credentials: [{url: \"https://a\", token: t}]}\n"), 1);
    assert_eq!(open("cache: {remotes: [\"https://a:b@c\"]}\n"), 1);
    assert_eq!(open("cache: {credentials: [{url: \"https://a\", token: \"${T}\"}]}\n"), 0);
    assert_eq!(open("cache: {remotes: [\"https://a\"]}\n"), 0);
}

#[test]
fn what_is_wrong_is_said_with_its_name_and_without_its_secrets() {
    for (name, value, part) in [
        (
            "RELGRAPH_REMOTE",
            "ftp://me:secret@h",
            "`RELGRAPH_REMOTE`: `ftp://` is not how a remote is addressed",
        ),
        ("RELGRAPH_REMOTE", "https://a;acces=read", "`acces` cannot stand behind an address"),
        ("RELGRAPH_REMOTE", "https://a;access=rw", "expected `read` or `read-write`"),
        ("RELGRAPH_REMOTE", "https://a;instance=x", "only remotes at `grpc://`"),
        ("RELGRAPH_REMOTE_ACCESS", "rw", "`RELGRAPH_REMOTE_ACCESS`: `rw` is no access"),
        ("RELGRAPH_NAMESPACE", "../x", "`RELGRAPH_NAMESPACE`: `../x` cannot be a namespace"),
        ("RELGRAPH_TRUSTED_KEYS", "secret", "a line is no public key"),
        ("RELGRAPH_SIGNING_KEY", "relgraph-secret-1:ci:secret", "is no key to sign with"),
        ("RELGRAPH_UPLOAD_WAIT", "soon", "`RELGRAPH_UPLOAD_WAIT`: a span of time"),
    ] {
        let refused = Case::new("").env(name, value).refused();
        assert!(refused.contains(part) && !refused.contains("secret"), "{refused}");
    }
    let refused = Case::new("").user("cache:\n  remote: x\n").refused();
    assert!(refused.contains("config.yaml:2:3: unknown key `remote`"), "{refused}");
}

#[test]
fn steps_do_not_see_the_secrets_of_remotes() {
    let text = "release: a\ncache:\n  remotes:\n    - url: https://a\n      token: ${T}\n";
    let file = ReleaseFile::parse(Path::new("x"), text.as_bytes()).unwrap();
    let env = [("T".to_owned(), "t".to_owned()), ("U".to_owned(), "u".to_owned())].into();
    assert_eq!(without_secrets(&env, &file).into_keys().collect::<Vec<_>>(), ["U"]);
}

#[test]
fn what_is_said_of_all_remotes_holds_for_those_that_a_flag_names() {
    let case = Case::new("").env("RELGRAPH_REMOTE_ACCESS", "read-write").env("RELGRAPH_NAMESPACE", "nightly");
    let sharing = case.flag("https://cache.example.com/x").good();
    let last = sharing.remotes.last().unwrap();
    assert_eq!((last.access, last.namespace.as_deref()), (Access::ReadWrite, Some("nightly")));
    let sharing = Case::new("")
        .env("RELGRAPH_REMOTE_ACCESS", "read-write")
        .flag("https://cache.example.com/x;access=read")
        .good();
    assert_eq!(sharing.remotes[0].access, Access::Read);
}
