//! The configuration of two releases: `sys.config`, `runtime.exs`, providers.

use crate::etf::{Term, consult_one};

use super::CompareError;
use super::classes;
use super::config::{self, RUNTIME, SYS_CONFIG};
use super::pair::{Pair, is_ours};
use super::release::Opened;
use super::report::{Config, ConfigChange, Providers};

pub(super) fn config(pair: &Pair<'_>) -> Result<Config, CompareError> {
    let mut config = Config::default();
    let evaluated = classes::providers(pair.new.release.hot_layout || is_ours(&pair.new));
    if SYS_CONFIG.iter().any(|path| pair.at(path).is_some()) {
        let (old, new) = (sys_config(&pair.old)?, sys_config(&pair.new)?);
        config = config::compare(&old, &new, [&pair.old.release.version, &pair.new.release.version]);
        let of_providers =
            |key: &&mut ConfigChange| key.application == "elixir" && key.key[0] == "config_provider_init";
        for key in config.keys.iter_mut().filter(of_providers) {
            (key.class, key.reason, key.waits) = (evaluated.class, evaluated.reason.clone(), evaluated.waits);
        }
        let (old, new) = (providers(&old), providers(&new));
        if old != new {
            config.providers =
                Some(Providers { old, new, class: evaluated.class, reason: evaluated.reason.clone() });
        }
    }
    config.runtime = pair.change(RUNTIME);
    if config.runtime.is_some() {
        config.runtime_class = Some(evaluated.class);
        config.runtime_reason = Some(evaluated.reason);
    }
    Ok(config)
}

/// The bytes of the configuration, whichever way it is called.
fn sys_config(side: &Opened<'_>) -> Result<Vec<u8>, CompareError> {
    for path in SYS_CONFIG {
        if let Some(bytes) = side.text(path)? {
            return Ok(bytes);
        }
    }
    Ok(Vec::new())
}

/// The modules of the providers that Elixir's part of the configuration names.
fn providers(bytes: &[u8]) -> Vec<String> {
    let list = consult_one(bytes).ok().and_then(|config| {
        let init = config.property("elixir")?.property("config_provider_init")?;
        Some(init.get("providers")?.as_list()?.to_vec())
    });
    let module = |provider: &Term| provider.as_tuple()?.first()?.as_atom().map(str::to_owned);
    list.unwrap_or_default().iter().filter_map(module).collect()
}
