//! Web servers as remotes: nginx and Apache, as teams have them.

mod serving;
#[path = "support/web/mod.rs"]
mod web;

use relgraph_cache::Digest;
use relgraph_cache::remote::{Access, Condition, Credentials, RemoteErrorKind, RemoteSpec, Secret};
use web::apache::Apache;
use web::conform::{Conditions, conforms};
use web::nginx::Nginx;
use web::{at, blob, client, fetch, name, noise};

fn with_password(url: &str, user: &str, password: &str) -> RemoteSpec {
    let basic = Some((user.to_owned(), Secret::new(password)));
    RemoteSpec { credentials: Credentials { basic, ..Credentials::default() }, ..at(url) }
}

#[test]
fn nginx_does_what_every_remote_does() {
    let nginx = Nginx::start();
    conforms(at(&nginx.url("open")), Conditions::Ignored);
}

#[test]
fn apache_does_what_every_remote_does() {
    let apache = Apache::start();
    conforms(at(&apache.url("open")), Conditions::KeptForNew);
    conforms(with_password(&apache.url("private"), "ann", "secret"), Conditions::KeptForNew);
}

#[test]
fn our_own_server_does_what_every_remote_does() {
    let served = serving::serve(|_, _| {});
    let place = at(&format!("http://{}", served.address()));
    conforms(place.clone(), Conditions::Kept);
    assert!(client(&place, Access::Read).clock().unwrap().is_some());
}

#[test]
fn nginx_over_tls_and_http2_does_what_every_remote_does() {
    let nginx = Nginx::start();
    let authorities = Some(nginx.certificates.authority.clone());
    conforms(RemoteSpec { authorities, ..at(&nginx.tls_url("open")) }, Conditions::Ignored);
}

#[test]
fn a_password_lets_in_and_another_does_not() {
    let nginx = Nginx::start();
    let url = nginx.url("private");
    let ann = client(&with_password(&url, "ann", "secret"), Access::ReadWrite);
    ann.store(vec![blob(b"a blob".to_vec())]).unwrap();
    assert!(ann.put(&name("e"), b"entry", &[Digest::of(b"a blob")], &Condition::Always).unwrap());
    for spec in [at(&url), with_password(&url, "ann", "wrong, and not shown")] {
        let remote = client(&spec, Access::ReadWrite);
        for error in [
            remote.get(&name("e")).unwrap_err(),
            remote.put(&name("e"), b"other", &[], &Condition::Always).unwrap_err(),
            remote.store(vec![blob(noise(1, 10))]).unwrap_err(),
            remote.store(vec![blob(noise(1, 3_000_000))]).unwrap_err(),
            remote.describe().unwrap_err(),
        ] {
            assert_eq!(error.kind, RemoteErrorKind::Denied, "{error}");
            assert!(!error.message.contains("not shown"));
        }
    }
    assert_eq!(ann.get(&name("e")).unwrap().unwrap().bytes, b"entry");
}

#[test]
fn a_part_that_is_only_read_is_read() {
    let nginx = Nginx::start();
    let writer = client(&at(&nginx.url("open")), Access::ReadWrite);
    let digest = Digest::of(b"a blob");
    writer.store(vec![blob(b"a blob".to_vec())]).unwrap();
    assert!(writer.put(&name("e"), b"entry", &[digest], &Condition::Always).unwrap());
    // Whatever the user has said: the server decides.
    let reader = client(&at(&nginx.url("read")), Access::ReadWrite);
    assert_eq!(reader.get(&name("e")).unwrap().unwrap().bytes, b"entry");
    assert_eq!(fetch(&*reader, &[digest]).0[&digest].as_deref(), Some(&b"a blob"[..]));
    let kinds = [
        reader.put(&name("e"), b"other", &[], &Condition::Always).unwrap_err().kind,
        reader.store(vec![blob(noise(1, 10))]).unwrap_err().kind,
    ];
    assert_eq!(kinds, [RemoteErrorKind::Denied; 2]);
    assert_eq!(writer.get(&name("e")).unwrap().unwrap().bytes, b"entry");
}
