//! The step that looks at a release before it is put in its place.

use std::sync::Arc;

use super::{Lowering, names};
use crate::native::Target;
use crate::project::{Application, Description};
use crate::schema::{self, Preflight};
use crate::steps::assemble::Parts;
use crate::steps::boot;
use crate::steps::preflight;

impl Lowering {
    /// The step and what it needs; none where it is not wanted, or where nothing of Erlang is in the release and no machines
    /// are named.
    pub(super) fn preflight(
        &self,
        parts: &Parts,
        all: &[Application],
        description: Option<&Description>,
        of: &str,
    ) -> Option<(Vec<String>, preflight::Preflight)> {
        let named = self.file.runtime_target();
        let bare = matches!(parts, Parts::None);
        if self.file.preflight == Preflight::Off || (bare && named.is_none()) {
            return None;
        }
        let known = |app: &str| all.iter().find(|other| other.app == app);
        let fetched = |app: &str| known(app).is_some_and(|a| a.fetchable);
        let dest = |app: &str| known(app).map_or(".", |a| a.dest.as_str());
        let applications: Vec<(String, bool, String)> = parts
            .applications()
            .into_iter()
            .map(|app| (app.to_owned(), !fetched(app), dest(app).to_owned()))
            .collect();
        let fixed: &[&str] = if bare { &[of] } else { &[of, boot::STEP] };
        let needs = names(fixed, &preflight::needs(&applications));
        // It was read once already, as part of release.yaml.
        let target: Target = named.and_then(|text| text.parse().ok()).unwrap_or_default();
        let declared = description.and_then(|d| d.release.as_ref()).map(|release| &release.include_erts);
        let foreign = match self.file.runtime_wanted() {
            Some(wanted) => matches!(wanted, schema::Runtime::At(_)),
            None => declared.is_some_and(serde_json::Value::is_string),
        };
        let toolchain = self.common.as_ref().map(|common| Arc::clone(&common.toolchain));
        Some((needs, preflight::Preflight { applications, toolchain, target, of: of.to_owned(), foreign }))
    }
}
