//! Where the applications of a release came from, as the lock and the description say it.

use std::fs;

use relgraph_cache::Node;

use super::{Around, Lowered, Lowering};
use crate::etf::{Term, consult};
use crate::lock::Locked;
use crate::project::{Application, ReleasedApplication};
use crate::provenance::without_credentials;
use crate::record::{Origin, RecordedApplication};

/// What a package of Hex says of itself.
const METADATA: &str = "hex_metadata.config";

impl Lowering {
    /// The applications of a release for its record.
    pub fn recorded(
        &self,
        around: &Around,
        lowered: &Lowered,
        applications: &[ReleasedApplication],
    ) -> Vec<RecordedApplication> {
        let record = |application: &ReleasedApplication| {
            let origin = self.origin(around, lowered, application);
            let licenses = match &origin {
                Some(Origin::Hex { .. }) => self.licenses(around, &application.name),
                // Both say so of all that they come with.
                Some(Origin::Otp | Origin::Elixir) => vec!["Apache-2.0".to_owned()],
                _ => Vec::new(),
            };
            RecordedApplication { origin, licenses, ..application.into() }
        };
        applications.iter().map(record).collect()
    }

    fn origin(&self, around: &Around, lowered: &Lowered, released: &ReleasedApplication) -> Option<Origin> {
        let app = &released.name;
        let described = lowered.description.as_ref().and_then(|project| project.application(app));
        let described = described.or_else(|| lowered.erlang.as_ref()?.application(app));
        if let Some(application) = described {
            return Some(self.origin_of(around, application));
        }
        let own = lowered.description.as_ref().and_then(|project| project.project.app.as_ref());
        // Protocols are consolidated here, in an application of their own where the release is laid out for upgrades.
        let protocols = || *app == format!("{}_protocols", self.file.release);
        if own == Some(app) || protocols() {
            Some(Origin::Project)
        } else if released.otp {
            Some(Origin::Otp)
        } else if released.path.starts_with("elixir/") {
            Some(Origin::Elixir)
        } else {
            None
        }
    }

    fn origin_of(&self, around: &Around, application: &Application) -> Origin {
        let app = &application.app;
        let entry = around.lock.as_ref().and_then(|lock| lock.get(app));
        let as_found = around.unnamed.contains(app) || around.edited.contains(app);
        // What lies elsewhere was put there by hand, whatever the lock says.
        let is_locked = application.dest == around.at(app) || around.fetched.contains_key(app);
        match entry.filter(|_| is_locked).map(|entry| &entry.locked) {
            Some(Locked::Hex(package)) => Origin::Hex {
                package: package.name.clone(),
                version: package.version.clone(),
                repository: package.repo.clone(),
                checksum: package.outer.clone(),
                as_found,
            },
            Some(Locked::Git(git)) => Origin::Git {
                url: without_credentials(&git.url),
                commit: git.commit.clone(),
                folder: git.subdir.clone().or(git.sparse.clone()),
                as_found,
            },
            Some(Locked::Other(kind)) => Origin::Other { source: kind.clone() },
            None if application.scm == crate::erlang::project::PROJECT || application.from_umbrella => {
                Origin::Project
            }
            None if application.fetchable && !application.dest.starts_with("_checkouts/") => {
                Origin::Other { source: application.scm.clone() }
            }
            None => Origin::Path { at: application.dest.clone() },
        }
    }

    /// The licenses that a package of Hex names.
    fn licenses(&self, around: &Around, app: &str) -> Vec<String> {
        let bytes = match around.fetched.get(app) {
            Some(fetched) => match self.store.lookup(&fetched.tree, METADATA) {
                Ok(Some(Node::File { digest, .. })) => self.store.read(&digest).ok(),
                _ => None,
            },
            None => fs::read(self.root.join(around.at(app)).join(METADATA)).ok(),
        };
        let terms = bytes.and_then(|bytes| consult(&bytes).ok()).unwrap_or_default();
        let licenses = terms.iter().find_map(|pair| match pair.as_tuple()? {
            [key, value] if key.as_text().as_deref() == Some("licenses") => value.elements(),
            _ => None,
        });
        licenses.unwrap_or_default().iter().filter_map(Term::as_text).collect()
    }
}
