//! The salt of keyed hashes of secrets: a team's own, or this machine's.

use std::collections::BTreeMap;

use relgraph_cache::SALT_FILE;
use relgraph_engine::{Salt, State};
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::watch::WATCHED;

use super::context::{Context, store_trouble};

/// Where a team's salt stands.
const VARIABLE: &str = "RELGRAPH_SECRET_SALT";
/// A shorter one could be guessed, and with it what it protects.
const SHORTEST: usize = 16;

/// The salt that a team shares, where it is set.
fn shared(context: &Context) -> Option<&str> {
    context.env.get(VARIABLE).map(|salt| salt.trim()).filter(|salt| !salt.is_empty())
}

/// The salt, which is made where there is none.
pub fn made(context: &Context) -> Result<Salt, Vec<Diagnostic>> {
    if let Some(salt) = shared(context) {
        if salt.len() < SHORTEST {
            let complaint = Diagnostic::error(format!("{VARIABLE} has fewer than {SHORTEST} bytes"));
            return Err(vec![
                complaint
                    .note("whoever guesses it can guess secrets by what stands for them in keys")
                    .hint("`openssl rand -hex 32` makes a good one"),
            ]);
        }
        return Ok(Salt::of(salt.as_bytes()));
    }
    let root = context.cache_dir().map_err(|complaint| vec![*complaint])?;
    relgraph_cache::salt(&root)
        .map(|salt| Salt::of(salt.as_bytes()))
        .map_err(|error| vec![store_trouble(&root, &error).hint(format!("or give a salt in {VARIABLE}"))])
}

/// The environment, and what stands for the secrets of `state` in keys. Nothing is made: without a salt, all have moved.
pub fn watched(context: &Context, state: &State) -> BTreeMap<String, String> {
    let mut env = context.env.clone();
    let names: Vec<&str> = state.env.iter().filter_map(|(name, _)| name.strip_prefix(WATCHED)).collect();
    if names.is_empty() {
        return env;
    }
    let of_machine = || {
        let text = std::fs::read_to_string(context.cache_dir().ok()?.join(SALT_FILE)).ok()?;
        Some(Salt::of(text.trim_end().as_bytes()))
    };
    let Some(salt) = shared(context).map(|salt| Salt::of(salt.as_bytes())).or_else(of_machine) else {
        return env;
    };
    for name in names {
        if let Some(value) = context.env.get(name) {
            env.insert(format!("{WATCHED}{name}"), salt.mark(name, value));
        }
    }
    env
}
