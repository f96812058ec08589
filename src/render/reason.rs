//! Reasons in the user's terms: a step sees its project at a fixed place, and what others expose to it at another.

use relgraph_cache::Probe;
use relgraph_engine::Reason;
use serde_json::{Value, json};

/// The reason with paths as the user has them.
pub fn told(reason: &Reason) -> Reason {
    match reason {
        Reason::DiscoveredChanged(path) => Reason::DiscoveredChanged(place(path)),
        reason => reason.clone(),
    }
}

/// The question with paths as the user has them.
pub fn asked(probe: &Probe) -> Probe {
    match probe {
        Probe::Content(path) => Probe::Content(place(path)),
        Probe::Kind(path) => Probe::Kind(place(path)),
        Probe::Listing(path) => Probe::Listing(place(path)),
        Probe::Tree(path) => Probe::Tree(place(path)),
        Probe::Env(name) => Probe::Env(name.clone()),
    }
}

/// A reason for programs.
pub fn json(reason: &Reason) -> Value {
    let reason = told(reason);
    json!({ "kind": reason.word(), "subject": reason.subject(), "text": reason.to_string() })
}

/// `project/lib/a.ex` is the user's `lib/a.ex`; `views/jason/interface/Elixir.Jason.beam` is of the module's making.
fn place(path: &str) -> String {
    const LIST: &str = "the list of files in ";
    if let Some(folder) = path.strip_prefix(LIST) {
        return format!("{LIST}{}", place(folder));
    }
    let mut parts = path.strip_prefix("views/").unwrap_or_default().splitn(3, '/');
    if let (Some(application), Some(view), Some(module)) = (parts.next(), parts.next(), parts.next()) {
        let module = module.strip_suffix(".beam").unwrap_or(module);
        let module = module.strip_prefix("Elixir.").unwrap_or(module);
        let what = if view == "interface" { "the interface of " } else { "" };
        return format!("{what}{module} of {application}");
    }
    // With dependencies beside the project, folders keep their names below `tree`.
    if let Some(below) = path.strip_prefix("tree/") {
        return below.to_owned();
    }
    match path.strip_prefix("project") {
        Some("") => ".".to_owned(),
        Some(below) => below.strip_prefix('/').map_or(path, |below| below).to_owned(),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_user() {
        for (inside, outside) in [
            ("project/lib/a.ex", "lib/a.ex"),
            ("tree/shop/mix.exs", "shop/mix.exs"),
            ("project", "."),
            ("projects/a", "projects/a"),
            ("the list of files in project/lib", "the list of files in lib"),
            ("views/jason/interface/Elixir.Jason.beam", "the interface of Jason of jason"),
            ("views/jason/run/jason_native.beam", "jason_native of jason"),
        ] {
            assert_eq!(place(inside), outside);
        }
        let reason = Reason::DiscoveredChanged("project/lib/a.ex".into());
        assert_eq!(json(&reason)["text"], "lib/a.ex, which it read, changed");
        let declared = Reason::InputChanged("project/lib/a.ex".into());
        assert_eq!(told(&declared), declared);
    }
}
