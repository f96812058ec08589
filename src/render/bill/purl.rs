//! Package URLs: the names by which scanners know packages.

use std::fmt::Write;

use relgraph_rules::record::Origin;

const OTP: &str = "https://github.com/erlang/otp";
const ELIXIR: &str = "https://github.com/elixir-lang/elixir";

/// The package URL of an application.
pub(super) fn of(name: &str, version: &str, origin: Option<&Origin>) -> String {
    match origin {
        Some(Origin::Hex { package, version, repository, .. }) => match repository.split_once(':') {
            Some(("hexpm", organisation)) => {
                format!("pkg:hex/{}/{}@{}", lower(organisation), lower(package), encode(version, ""))
            }
            None if repository == "hexpm" => format!("pkg:hex/{}@{}", lower(package), encode(version, "")),
            // Under that name, the public repository may have something else.
            _ => otp(name, version, ""),
        },
        Some(Origin::Git { url, commit, folder, .. }) => {
            let inside =
                folder.as_ref().map(|folder| format!("#{}", encode(folder, "/"))).unwrap_or_default();
            match forge(url) {
                Some((kind, path)) => format!("pkg:{kind}/{}@{commit}{inside}", lower_path(&path)),
                None => {
                    let address = encode(&format!("git+{url}@{commit}"), ":/");
                    otp(name, version, &format!("?vcs_url={address}{inside}"))
                }
            }
        }
        Some(Origin::Otp) => otp(name, version, &format!("?repository_url={OTP}")),
        Some(Origin::Elixir) => otp(name, version, &format!("?repository_url={ELIXIR}")),
        _ => otp(name, version, ""),
    }
}

/// The package URL of OTP itself.
pub(super) fn of_otp(version: &str) -> String {
    format!("pkg:github/erlang/otp@OTP-{}", encode(version, ""))
}

fn otp(name: &str, version: &str, rest: &str) -> String {
    let version = if version.is_empty() { String::new() } else { format!("@{}", encode(version, "")) };
    format!("pkg:otp/{}{version}{rest}", lower(name))
}

fn lower(text: &str) -> String {
    encode(&text.to_lowercase(), "")
}

fn lower_path(text: &str) -> String {
    encode(&text.to_lowercase(), "/")
}

fn encode(text: &str, also: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || ".-_~".contains(c) || also.contains(c) {
            out.push(c);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The kind and the path of a repository on a well-known forge: `github`, `owner/name`.
fn forge(url: &str) -> Option<(&'static str, String)> {
    let rest = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('@').map_or(rest, |(_, rest)| rest).to_owned(),
        None => url.split_once('@')?.1.replacen(':', "/", 1),
    };
    let (host, path) = rest.split_once('/')?;
    let kind = match host {
        "github.com" => "github",
        "bitbucket.org" => "bitbucket",
        _ => return None,
    };
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (path.split('/').filter(|part| !part.is_empty()).count() == 2).then(|| (kind, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_origin_has_one() {
        let hex = |repository: &str| Origin::Hex {
            package: "Plug".into(),
            version: "1.0.0+b".into(),
            repository: repository.into(),
            checksum: None,
            as_found: false,
        };
        let git = |url: &str| Origin::Git {
            url: url.into(),
            commit: "abc".into(),
            folder: Some("apps/a".into()),
            as_found: false,
        };
        for (origin, expected) in [
            (None, "pkg:otp/a@1.0"),
            (Some(hex("hexpm")), "pkg:hex/plug@1.0.0%2Bb"),
            (Some(hex("hexpm:acme")), "pkg:hex/acme/plug@1.0.0%2Bb"),
            (Some(hex("own")), "pkg:otp/a@1.0.0%2Bb"),
            (Some(git("https://github.com/Owner/repo.git")), "pkg:github/owner/repo@abc#apps/a"),
            (Some(git("git@github.com:o/r")), "pkg:github/o/r@abc#apps/a"),
            (Some(git("ssh://git@bitbucket.org/o/r.git")), "pkg:bitbucket/o/r@abc#apps/a"),
            (
                Some(git("https://host.example/o/r")),
                "pkg:otp/a@1.0?vcs_url=git%2Bhttps://host.example/o/r%40abc#apps/a",
            ),
            (Some(Origin::Otp), "pkg:otp/a@1.0?repository_url=https://github.com/erlang/otp"),
            (Some(Origin::Elixir), "pkg:otp/a@1.0?repository_url=https://github.com/elixir-lang/elixir"),
            (Some(Origin::Path { at: "../x".into() }), "pkg:otp/a@1.0"),
        ] {
            assert_eq!(of("a", "1.0", origin.as_ref()), expected);
        }
    }
}
