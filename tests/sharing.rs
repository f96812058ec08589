//! A colleague's first build is a download: through each kind of remote, on real servers.

mod support;

#[path = "../cache/tests/support/servers/mod.rs"]
mod servers;
#[path = "../cache/tests/support/web/mod.rs"]
mod web;

use std::fs;
use std::process::{Child, Command, Stdio};

use servers::certificates::Certificates;
use servers::{Door, buildgrid, casd, token};
use support::files::{assert_same, snapshot};
use support::{Project, RELGRAPH, TestSpace};

/// What both sides know of a remote.
#[derive(Default)]
struct Way {
    url: String,
    env: Vec<(String, String)>,
    /// The user's own file.
    config: String,
}

impl Way {
    fn to(url: impl Into<String>) -> Way {
        Way { url: url.into(), ..Way::default() }
    }

    fn with(mut self, name: &str, value: &str) -> Way {
        self.env.push((name.into(), value.into()));
        self
    }

    fn knowing(&self, mut project: Project, access: &str) -> Project {
        let home = project.dir.join("../config");
        fs::create_dir_all(home.join("relgraph")).expect("a folder");
        let file = home.join("relgraph/config.yaml");
        fs::write(&file, &self.config).expect("a file");
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
        project.env.extend(self.env.iter().cloned());
        project
            .with("XDG_CONFIG_HOME", &home.display().to_string())
            .with("RELGRAPH_REMOTE", &self.url)
            .with("RELGRAPH_REMOTE_ACCESS", access)
            .with("RELGRAPH_UPLOAD_WAIT", "10m")
    }
}

/// One writes, another reads: on another path, with an empty store. Everything comes from the remote, and nothing else differs.
fn is_shared_through(way: &Way) {
    let one = TestSpace::cold();
    let writer = way.knowing(one.example("sequence", "a/sequence"), "read-write");
    let said = writer.ask(&["build", "--format", "json"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    assert_eq!(said.err.matches("warning").count(), 0, "{}", said.err);
    let other = TestSpace::cold();
    let reader = way.knowing(other.example("sequence", "elsewhere/with a space/sequence"), "read");
    let said = reader.ask(&["build"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    assert_eq!(said.err, "", "nothing ran, and nothing is to be said");
    assert!(said.out.contains("12 steps: 12 from a remote"), "{}", said.out);
    let release = |project: &Project| {
        let mut files = snapshot(&project.release("sequence"));
        files.remove("releases/COOKIE");
        files
    };
    assert_same(&release(&writer), &release(&reader), "the release");
    let answer = Command::new(reader.release("sequence").join("bin/sequence"))
        .args(["eval", "IO.puts(40 + 2)"])
        .output()
        .expect("the release starts");
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "42");
    // Without the remote, everything that is needed is here; and by its version the release is found there.
    assert_eq!(reader.build_with(&["--no-remote"]).executed(), 0);
    let third = TestSpace::cold();
    let stranger = way.knowing(Project::new(third.path("nothing"), third.store()), "read");
    fs::create_dir_all(&stranger.dir).expect("a folder");
    let shown = stranger.ask(&["show", "sequence@0.1.0", "--format", "json"]);
    assert_eq!(shown.status, Some(0), "{}{}", shown.out, shown.err);
    let ran = stranger.ask(&["run", "--release", "sequence@0.1.0", "--", "eval", "IO.puts(6 * 7)"]);
    assert_eq!((ran.status, ran.out.trim()), (Some(0), "42"), "{}", ran.err);
    let compared = stranger.ask(&["diff", "sequence@0.1.0", "sequence@latest", "--exit-code"]);
    assert_eq!(compared.status, Some(0), "{}{}", compared.out, compared.err);
}

/// `relgraph cache serve`, ended with the test.
struct Serve {
    process: Child,
    address: String,
    _space: TestSpace,
}

impl Serve {
    fn start(more: &[&str]) -> Serve {
        let space = TestSpace::cold();
        let address = format!("127.0.0.1:{}", web::server::free_port());
        let log = fs::File::create(space.path("log")).expect("a log");
        let mut command = Command::new(RELGRAPH);
        command.args(["cache", "serve", "--listen", &address, "--dir"]).arg(space.path("serve")).args(more);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log")).stderr(log);
        let process = command.spawn().expect("the server");
        support::wait_until("the server answers", || std::net::TcpStream::connect(&address).is_ok());
        Serve { process, address, _space: space }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_folder() {
    let space = TestSpace::cold();
    fs::create_dir(space.path("remote")).expect("a folder");
    is_shared_through(&Way::to(format!("file://{}", space.path("remote").display())));
}

#[test]
fn our_own_server() {
    let server = Serve::start(&[]);
    is_shared_through(&Way::to(format!("http://{}", server.address)));
    is_shared_through(&Way::to(format!("grpc://{}", server.address)));
    // Each time, what was sent would have taken some seconds to make.
    let metrics = Command::new("curl").args(["-sSf", &format!("http://{}/metrics", server.address)]).output();
    let metrics = String::from_utf8(metrics.expect("curl").stdout).expect("text");
    let saved = metrics
        .lines()
        .find_map(|line| line.strip_prefix("relgraph_cache_saved_seconds_total")?.rsplit(' ').next());
    let saved: f64 = saved.and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("{metrics}"));
    assert!(saved > 2.0, "{metrics}");
}

#[test]
fn buildbox_casd() {
    let server = casd();
    is_shared_through(&Way::to(format!("grpc://{}", server.address)));
}

#[test]
fn buildgrid_with_certificates() {
    let certificates = Certificates::new();
    let server = buildgrid(&Door::Certificates(&certificates), true);
    let port = server.address.rsplit(':').next().expect("a port");
    let url = format!("grpcs://localhost:{port}/main");
    let (certificate, key) = certificates.client();
    let config = format!(
        "cache:\n  credentials:\n    - url: {url}\n      certificate: {}\n      key: {}\n      authorities: {}\n",
        certificate.display(),
        key.display(),
        certificates.authority().display()
    );
    is_shared_through(&Way { config, ..Way::to(url) });
}

#[test]
fn buildgrid_with_tokens() {
    let server = buildgrid(&Door::Tokens("a secret of this test"), true);
    let way = Way::to(format!("grpc://{}/main", server.address));
    is_shared_through(&way.with("RELGRAPH_REMOTE_TOKEN", &token("a secret of this test")));
}

#[test]
fn nginx() {
    let server = web::nginx::Nginx::start();
    is_shared_through(&Way::to(server.url("open")));
    let space = TestSpace::cold();
    fs::write(space.path("netrc"), "machine 127.0.0.1 login ann password secret\n").expect("a file");
    let way = Way::to(server.url("private"));
    is_shared_through(&way.with("NETRC", &space.path("netrc").display().to_string()));
}

#[test]
fn apache() {
    let server = web::apache::Apache::start();
    is_shared_through(&Way::to(server.url("open")));
}

#[test]
fn an_object_store() {
    let server = web::s3::S3::start();
    let mut way = Way::to("s3://bucket/team");
    way.env.extend(server.variables());
    is_shared_through(&way);
}

#[test]
fn several_remotes_are_asked_in_their_order_and_only_those_that_may_be_are_written() {
    let space = TestSpace::cold();
    let [first, second] = ["first", "second"].map(|name| {
        fs::create_dir(space.path(name)).expect("a folder");
        format!("file://{}", space.path(name).display())
    });
    let files = |name: &str| support::files::all_files(&space.path(name)).len();
    let example = |at: &str, space: &TestSpace| space.example("sequence", at);
    let one = TestSpace::cold();
    let writes = format!("{second};access=read-write");
    let built = example("a", &one).build_with(&["--remote", &first, "--remote", &writes]);
    assert_eq!(built.count("ran"), 12);
    assert_eq!(files("first"), 0, "it is only read");
    assert!(files("second") > 20);
    let two = TestSpace::cold();
    let built = example("b", &two).build_with(&["--remote", &first, "--remote", &second]);
    assert_eq!(built.count("hit_remote"), 12);
    // What came from one remote is written to the other, when the bytes are here.
    let three = TestSpace::cold();
    let writes = format!("{first};access=read-write");
    let project = example("c", &three);
    assert_eq!(project.build_with(&["--remote", &second]).count("hit_remote"), 12);
    fs::remove_dir_all(project.dir.join("_build")).expect("what was built");
    project.build_with(&["--remote", &writes]);
    assert!(files("first") > 20);
}

#[test]
fn a_pull_request_reads_main_and_writes_its_own() {
    let space = TestSpace::cold();
    fs::create_dir(space.path("remote")).expect("a folder");
    let way = Way::to(format!("file://{}", space.path("remote").display()));
    let pull = |number: &str, project: Project| {
        project
            .with("CI", "true")
            .with("GITHUB_ACTIONS", "true")
            .with("GITHUB_EVENT_NAME", "pull_request")
            .with("GITHUB_REF", &format!("refs/pull/{number}/merge"))
    };
    let [main, one, again, two] = [(); 4].map(|()| TestSpace::cold());
    way.knowing(main.example("sequence", "a"), "read-write").build();
    let edited = |space: &TestSpace| {
        let project = space.example("sequence", "b");
        project.append("lib/sequence.ex", "# of a pull request");
        project
    };
    let built = pull("7", way.knowing(edited(&one), "read-write")).build();
    assert!(built.count("hit_remote") > 0, "{}", built.json);
    assert!(built.executed() > 0, "{}", built.json);
    let built = pull("7", way.knowing(edited(&again), "read")).with("RELGRAPH_NAMESPACE", "pr/7").build();
    assert_eq!(built.executed(), 0, "the same pull request finds it: {}", built.json);
    let built = way.knowing(edited(&two), "read").build();
    assert!(built.executed() > 0, "main does not: {}", built.json);
}

#[test]
fn only_what_is_needed_is_brought_and_an_edit_brings_the_rest() {
    let (serve, web, grpc) = (Serve::start(&[]), web::nginx::Nginx::start(), casd());
    for url in [format!("http://{}", serve.address), web.url("open"), format!("grpc://{}", grpc.address)] {
        let way = Way::to(url);
        let [one, other] = [(); 2].map(|()| TestSpace::cold());
        way.knowing(one.example("sequence", "a"), "read-write").build();
        let reader = way.knowing(other.example("sequence", "b"), "read");
        assert_eq!(reader.build().count("hit_remote"), 12);
        // Another process needs what the first one only promised.
        reader.append("lib/sequence.ex", "# edited");
        let said = reader.ask(&["build"]);
        assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
        assert!(!said.err.contains("warning"), "{}: {}", way.url, said.err);
        assert!(said.err.contains("ran compile sequence"), "{}: {}", way.url, said.err);
        assert!(!said.err.contains("ran describe"), "{}: {}", way.url, said.err);
        let release = reader.release("sequence").join("bin/sequence");
        let answer = Command::new(release).args(["eval", "IO.puts(1)"]).output().expect("it starts");
        assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "1");
    }
}

#[test]
fn what_a_remote_lost_is_made_again_and_mended() {
    let space = TestSpace::cold();
    fs::create_dir(space.path("remote")).expect("a folder");
    let way = Way::to(format!("file://{}", space.path("remote").display()));
    let one = TestSpace::cold();
    let expected = way.knowing(one.example("sequence", "a"), "read-write").build().digest().to_owned();
    let blobs = || support::files::all_files(&space.path("remote/cas"));
    let (all, mut gone) = (blobs(), 0);
    for blob in all.iter().step_by(3) {
        fs::remove_file(blob).expect("it is there");
        gone += 1;
    }
    assert!(gone > 5);
    let other = TestSpace::cold();
    let mender = way.knowing(other.example("sequence", "b"), "read-write");
    let said = mender.ask(&["build", "--format", "json"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    assert_eq!(said.err.matches("warning").count(), 1, "{}", said.err);
    assert!(said.out.contains(&expected));
    let third = TestSpace::cold();
    let built = way.knowing(third.example("sequence", "c"), "read").build();
    assert_eq!(built.count("hit_remote"), 12, "{}", built.json);
    assert_eq!(built.digest(), expected);
}

#[test]
fn what_could_not_be_written_in_time_is_written_by_the_next_build() {
    let space = TestSpace::cold();
    fs::create_dir(space.path("remote")).expect("a folder");
    let way = Way::to(format!("file://{}", space.path("remote").display()));
    let one = TestSpace::cold();
    let writer = way.knowing(one.example("sequence", "a"), "read-write");
    let said = writer.clone().with("RELGRAPH_UPLOAD_WAIT", "0").ask(&["build"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    // Nothing is left to build, and something to write.
    let said = writer.ask(&["build"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("up to date"), "{}", said.out);
    let other = TestSpace::cold();
    let built = way.knowing(other.example("sequence", "b"), "read").build();
    assert_eq!(built.count("hit_remote"), 12, "{}", built.json);
}

#[test]
fn many_steps_ask_at_once_and_each_finds_what_it_needs() {
    let space = TestSpace::cold();
    fs::create_dir(space.path("remote")).expect("a folder");
    let way = Way::to(format!("file://{}", space.path("remote").display()));
    let dozen = |space: &TestSpace| {
        let dir = space.path("dozen");
        support::said(Command::new("sh").arg(support::source("tests/fixtures/dozen/generate.sh")).arg(&dir));
        let project = Project::new(dir, space.store());
        project.write("release.yaml", "release: dozen\n");
        project
    };
    let one = TestSpace::cold();
    let steps = way.knowing(dozen(&one), "read-write").build().count("ran");
    // What one step brings is read by others while it is being written.
    for _ in 0..4 {
        let other = TestSpace::cold();
        let built = way.knowing(dozen(&other), "read").build();
        assert_eq!(built.count("hit_remote"), steps, "{}", built.json);
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_said_beside_a_remote_too() {
    let space = TestSpace::cold();
    fs::create_dir(space.path("remote")).expect("a folder");
    let way = Way::to(format!("file://{}", space.path("remote").display()));
    for jobs in ["1", "2", "4"] {
        let one = TestSpace::cold();
        let project = way.knowing(one.example("sequence", "a"), "read-write");
        project.write("config/config.exs", "import Config\nconfig :sequence, (\n");
        let said = project.ask(&["build", "--jobs", jobs]);
        assert_eq!(said.status, Some(1), "{}{}", said.out, said.err);
        assert!(said.err.contains("config.exs"), "{}", said.err);
    }
}
