//! What `relgraph doctor` says of remotes: whether each can be reached and used, how fast it is, and whom we trust.

use std::time::Duration;

use relgraph_cache::remote::{
    Access, Checkup, Credentials, RemoteError, RemoteErrorKind, RemoteSpec, connect,
};
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::schema::ReleaseFile;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::remotes::{Sharing, configured};
use crate::render::doctor::{Check, State};

/// Clocks that are farther apart make tokens and certificates look old, or not yet good.
const SKEW: i64 = 300;

/// Looks at every remote.
pub fn checks(context: &Context, file: Option<&ReleaseFile>, checks: &mut Vec<Check>) {
    let folder = std::env::current_dir().unwrap_or_default();
    let sharing = match configured(context, file.map(|file| (file, folder.as_path())), false) {
        Ok(sharing) => sharing,
        Err(complaints) => {
            checks.extend(complaints.iter().map(|complaint| said(complaint, State::Missing)));
            return;
        }
    };
    checks.extend(sharing.warnings.iter().map(|warning| said(warning, State::Warning)));
    if sharing.remotes.is_empty() {
        checks.push(Check {
            detail: Some("none: results stay on this machine".into()),
            hints: vec!["name some under `cache:` in release.yaml, or in RELGRAPH_REMOTE".into()],
            ..Check::new("remotes", State::Unused)
        });
        return;
    }
    let scratch = tempfile::tempdir();
    for (index, spec) in sharing.remotes.iter().enumerate() {
        // A remote with a namespace stands there twice; the second time says what is done with it.
        let next = sharing.remotes.get(index + 1);
        if next.is_some_and(|next| next.url == spec.url && next.namespace.is_some()) {
            continue;
        }
        let checkup = match (connect(spec, &context.env), &scratch) {
            (Ok(remote), Ok(scratch)) => Checkup::of(&*remote, spec.access, scratch.path()),
            (Err(error), _) => Checkup { trouble: Some(error), ..Checkup::default() },
            (_, Err(error)) => {
                let error = RemoteError::new(
                    RemoteErrorKind::Local,
                    format!("no folder for what is fetched: {error}"),
                );
                Checkup { trouble: Some(error), ..Checkup::default() }
            }
        };
        checks.push(remote(spec, &checkup, &sharing));
    }
    checks.push(trust(&sharing));
}

fn said(complaint: &Diagnostic, state: State) -> Check {
    Check {
        detail: Some(complaint.to_string()),
        hints: complaint.hints.clone(),
        ..Check::new("remotes", state)
    }
}

fn remote(spec: &RemoteSpec, found: &Checkup, sharing: &Sharing) -> Check {
    let mut check = Check::new("remote", State::Good);
    let mut facts = vec![spec.shown(), word(spec.access).to_owned()];
    facts.extend(spec.namespace.iter().map(|namespace| format!("namespace {namespace}")));
    facts.extend(found.round_trip.map(|time| format!("answers in {}", shown(time))));
    let speed = |what: &str, speed: Option<u64>| {
        speed.map(|speed| format!("{what} {:.1} MiB/s", speed as f64 / f64::from(1 << 20)))
    };
    facts.extend(speed("up", found.up));
    facts.extend(speed("down", found.down));
    check.detail = Some(facts.join(", "));
    if !found.facts.is_empty() {
        check.notes.push(found.facts.join("; "));
    }
    check
        .notes
        .extend(sharing.notes.iter().filter(|(url, _)| *url == spec.url).map(|(_, note)| note.clone()));
    let failed = |result: &Option<Result<(), RemoteError>>| result.clone().and_then(Result::err);
    let (read, write) = (failed(&found.read), failed(&found.write));
    for (what, error) in
        [("", &found.trouble), ("it cannot be read: ", &read), ("it cannot be written to: ", &write)]
    {
        if let Some(error) = error {
            check.state = if error.kind == RemoteErrorKind::Config { State::Missing } else { State::Warning };
            check.notes.push(format!("{what}{error}"));
            check.hints.push(advice(error.kind, spec, !what.contains("written")));
        }
    }
    if let Some(skew) = found.clock.filter(|skew| skew.abs() > SKEW) {
        let ahead = if skew > 0 { "ahead of" } else { "behind" };
        if check.state == State::Good {
            check.state = State::Warning;
        }
        check.notes.push(format!("its clock is {} s {ahead} this machine's", skew.abs()));
        check.hints.push(
            "set both clocks (NTP): tokens and certificates are good for a time, and only where clocks agree"
                .into(),
        );
    }
    let ok = |result: &Option<Result<(), RemoteError>>| result.as_ref().map(Result::is_ok);
    check.more = Some((
        "remote",
        json!({
            "url": spec.shown(),
            "access": word(spec.access),
            "namespace": spec.namespace,
            "facts": found.facts,
            "reached": found.trouble.is_none(),
            "readable": ok(&found.read),
            "writable": ok(&found.write),
            "round_trip_us": found.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            "up_bytes_per_second": found.up,
            "down_bytes_per_second": found.down,
            "clock_ahead_seconds": found.clock,
        }),
    ));
    check
}

fn word(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::ReadWrite => "read-write",
    }
}

fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// What to do about a trouble.
fn advice(kind: RemoteErrorKind, spec: &RemoteSpec, reading: bool) -> String {
    let folder = spec.url.starts_with("file:");
    let bucket = ["s3:", "gs:", "az:"].iter().any(|scheme| spec.url.starts_with(scheme));
    let named = spec.credentials != Credentials::default();
    match kind {
        RemoteErrorKind::Unreachable if folder => "mount the folder, or make it".into(),
        RemoteErrorKind::Unreachable => {
            "is the address right, does the server run, and does a firewall or a VPN stand between? builds go on \
             without it, and --no-remote does not even try"
                .into()
        }
        RemoteErrorKind::Timeout => {
            "it may be far away or busy: `timeout:` beside its `url` in release.yaml gives it longer".into()
        }
        RemoteErrorKind::Denied if folder => "ask whoever owns the folder for the right to read and write in it".into(),
        RemoteErrorKind::Denied if bucket => {
            "look at the variables of the cloud (AWS_ACCESS_KEY_ID and so on), and at the policy of the bucket".into()
        }
        RemoteErrorKind::Denied if !named => {
            "it wants to know who we are: put a token into RELGRAPH_REMOTE_TOKEN, or under `credentials:` in \
             ~/.config/relgraph/config.yaml"
                .into()
        }
        RemoteErrorKind::Denied if reading => {
            "it does not accept what it was shown: is the token, the password or the certificate still good?".into()
        }
        RemoteErrorKind::Denied => {
            "what it was shown gives the right to read alone: take another token, or say `access: read`".into()
        }
        RemoteErrorKind::Full => "whoever looks after it has to make room; what is there can still be read".into(),
        RemoteErrorKind::Failed => "its own log says more".into(),
        RemoteErrorKind::Refused => {
            "a limit of the server, or of a proxy in front of it, may be too small: blobs have up to some 64 MiB, and \
             nginx wants `client_max_body_size 0`"
                .into()
        }
        RemoteErrorKind::Broken => "something else may answer at this address: look at its path and its port".into(),
        RemoteErrorKind::Config => "docs/remotes.md says how remotes are written".into(),
        RemoteErrorKind::Local => "look at the disk and the rights of this machine".into(),
    }
}

/// Whom we believe.
fn trust(sharing: &Sharing) -> Check {
    let trust = &sharing.trust;
    let writes = sharing.remotes.iter().any(|spec| spec.access == Access::ReadWrite);
    let mut check = Check::new("trust", State::Good);
    let names: Vec<&str> = trust.trusted.iter().map(|key| key.name()).collect();
    let key = "`relgraph cache key new` makes a key; name its public line under `trusted_keys:` in release.yaml, and give \
               the secret one to CI as RELGRAPH_SIGNING_KEY";
    check.detail = Some(match (&names[..], &trust.signer) {
        ([], None) => {
            check.state = State::Warning;
            check.notes.push("whoever can write to a remote can change what you run".into());
            check.hints.push(key.into());
            "no keys are named: remotes are trusted as far as their transport and their tokens".into()
        }
        ([], Some(signer)) => {
            check.notes.push("no others are named under `trusted_keys:`".into());
            format!("only what {} signed is taken, which is the key of this machine", signer.name())
        }
        (names, signer) => {
            if writes && signer.is_none() {
                check.state = State::Warning;
                check.notes.push(
                    "what is stored from here is not signed, and nobody who names keys takes it".into(),
                );
                check.hints.push("put a secret key into RELGRAPH_SIGNING_KEY, or say `access: read`".into());
            }
            format!("only what {} signed is taken", names.join(" or "))
        }
    });
    check.notes.extend(sharing.notes.iter().filter(|(url, _)| url.is_empty()).map(|(_, note)| note.clone()));
    check.more = Some((
        "trust",
        json!({
            "trusted": trust.trusted.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "signs_as": trust.signer.as_ref().map(|key| key.public().to_string()),
        }),
    ));
    check
}
