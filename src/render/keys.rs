//! Keys, as text and as `relgraph.cache-key/1` and `relgraph.cache-keys/1`. Never their secrets.

use std::path::PathBuf;

use relgraph_cache::remote::PublicKey;
use serde_json::{Value, json};

/// A key that is here.
pub struct Key {
    /// What others know of it.
    pub public: PublicKey,
    /// Where its secret is; `None`: in the environment.
    pub file: Option<PathBuf>,
    /// Whether others on this machine can read the file.
    pub open: bool,
}

fn fields(key: &Key) -> Value {
    json!({ "name": key.public.name(), "public": key.public.to_string(), "secret_file": key.file })
}

/// A key that was made, for programs.
pub fn made_json(key: &Key) -> Value {
    let mut out = json!({ "schema": "relgraph.cache-key/1" });
    if let (Some(out), Value::Object(fields)) = (out.as_object_mut(), fields(key)) {
        out.extend(fields);
    }
    out
}

/// A key that was made, and what to do with it.
pub fn made_text(key: &Key) -> String {
    let file = key.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    format!(
        "{}\n\n\
         whoever is to believe what it signs names this line under `trusted_keys:`\n\
         its secret is in {file}, for you alone:\n\
         to sign, name the file as `signing_key_file:`, or put its line into RELGRAPH_SIGNING_KEY as a secret of your CI\n",
        key.public
    )
}

/// The keys that are here, for programs.
pub fn shown_json(keys: &[Key]) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .map(|key| {
            let mut fields = fields(key);
            fields["readable_by_others"] = key.open.into();
            fields
        })
        .collect();
    json!({ "schema": "relgraph.cache-keys/1", "keys": keys })
}

/// The keys that are here: their public lines, and a word on those that others may read.
pub fn shown_text(keys: &[Key]) -> String {
    let mut out = String::new();
    for key in keys {
        out.push_str(&format!("{}\n", key.public));
    }
    for file in keys.iter().filter(|key| key.open).filter_map(|key| key.file.as_ref()) {
        out.push_str(&format!("warning: others can read {0}; `chmod 600 {0}`\n", file.display()));
    }
    out
}
