//! Comparing `sys.config` key by key, and hiding what should not be seen.

use std::collections::BTreeMap;

use crate::etf::{Term, consult_one};

use super::classes;
use super::mask::show;
use super::report::{Change, Config, ConfigChange};

/// Where the configuration lies: relx has one with variables in it.
pub(super) const SYS_CONFIG: [&str; 2] = ["releases/VSN/sys.config", "releases/VSN/sys.config.src"];
pub(super) const RUNTIME: &str = "releases/VSN/runtime.exs";

pub(super) fn is_sys_config(path: &str) -> bool {
    SYS_CONFIG.contains(&path)
}

type Keys = BTreeMap<(String, Vec<String>), Term>;

/// Compares two files. `versions` are the versions of the releases: paths that name them are taken for equal.
pub(super) fn compare(old: &[u8], new: &[u8], versions: [&str; 2]) -> Config {
    let (old, new) = match (keys(old, versions[0]), keys(new, versions[1])) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(reason), _) | (_, Err(reason)) => {
            return Config { unreadable: Some(reason), ..Config::default() };
        }
    };
    let mut all: Vec<_> = old.keys().chain(new.keys()).collect();
    all.sort();
    all.dedup();
    let mut changes = Vec::new();
    for key in all {
        let change = match (old.get(key), new.get(key)) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            (old, new) if old != new => Change::Changed,
            _ => continue,
        };
        let mut masked = false;
        let mut show = |term: Option<&Term>| term.map(|term| show(&key.1, term, &mut masked));
        let (old, new) = (show(old.get(key)), show(new.get(key)));
        let judged = classes::config_key(&key.0, &key.1[0]);
        changes.push(ConfigChange {
            application: key.0.clone(),
            key: key.1.clone(),
            change,
            old,
            new,
            masked,
            class: judged.class,
            reason: judged.reason,
            waits: judged.waits,
        });
    }
    Config { keys: changes, ..Config::default() }
}

fn keys(bytes: &[u8], version: &str) -> Result<Keys, String> {
    let mut keys = Keys::new();
    if bytes.is_empty() {
        return Ok(keys);
    }
    let term = consult_one(bytes).map_err(|error| error.to_string())?;
    let folder = format!("/releases/{version}/");
    for element in term.as_list().unwrap_or_default() {
        // Anything else is the name of another file, which only the machine that starts the release knows.
        if let Some([Term::Atom(application), settings]) = element.as_tuple() {
            for setting in settings.as_list().unwrap_or_default() {
                if let Some([key, value]) = setting.as_tuple() {
                    let value = neutral(value, &folder);
                    descend(application, vec![name(key)], value, &mut keys);
                }
            }
        }
    }
    Ok(keys)
}

fn name(key: &Term) -> String {
    key.as_atom().map_or_else(|| key.to_string(), str::to_owned)
}

/// The value with `VSN` for the version of the release, in the paths that Mix puts into it.
fn neutral(value: &Term, folder: &str) -> Term {
    match value {
        Term::Binary(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Term::Binary(text.replace(folder, "/releases/VSN/").into_bytes()),
            Err(_) => value.clone(),
        },
        Term::Tuple(elements) => {
            Term::Tuple(elements.iter().map(|element| neutral(element, folder)).collect())
        }
        Term::List(elements) => Term::list(elements.iter().map(|element| neutral(element, folder)).collect()),
        Term::Map(pairs) => {
            Term::map(pairs.iter().map(|(key, value)| (key.clone(), neutral(value, folder))).collect()).0
        }
        value => value.clone(),
    }
}

/// Goes into keyword lists and maps whose keys are atoms, as deep as they are nested.
fn descend(application: &str, path: Vec<String>, value: Term, keys: &mut Keys) {
    let Some(pairs) = pairs(&value) else {
        keys.insert((application.to_owned(), path), value);
        return;
    };
    for (key, value) in pairs {
        descend(application, [path.clone(), vec![key]].concat(), value, keys);
    }
}

fn pairs(value: &Term) -> Option<Vec<(String, Term)>> {
    let pairs: Vec<(String, Term)> = match value {
        Term::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| Some((key.as_atom()?.to_owned(), value.clone())))
            .collect::<Option<_>>()?,
        Term::List(elements) => elements
            .iter()
            .map(|element| match element.as_tuple()? {
                [Term::Atom(key), value] => Some((key.clone(), value.clone())),
                _ => None,
            })
            .collect::<Option<_>>()?,
        _ => return None,
    };
    let mut names: Vec<&String> = pairs.iter().map(|(key, _)| key).collect();
    names.sort();
    let unique = names.windows(2).all(|pair| pair[0] != pair[1]);
    (!pairs.is_empty() && unique).then_some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(old: &str, new: &str) -> Vec<String> {
        let config = compare(old.as_bytes(), new.as_bytes(), ["0.1.0", "0.2.0"]);
        assert_eq!(config.unreadable, None);
        let show = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let line = |change: ConfigChange| {
            format!(
                "{} {} {} {}",
                change.application,
                change.key.join("."),
                show(change.old),
                show(change.new)
            )
        };
        config.keys.into_iter().map(line).collect()
    }

    #[test]
    fn keys_are_compared_as_deep_as_they_are_nested() {
        let old = "[{app,[{a,1},{gone,x},{http,[{port,80},{ip,{0,0,0,0}}]},{same,#{b=>1}}]}].";
        let new = "[{app,[{http,[{ip,{0,0,0,0}},{port,81}]},{a,[1]},{same,#{b=>1}}]},{other,[{\"b\",2}]}].";
        let expected = ["app a 1 [1]", "app gone x -", "app http.port 80 81", "other \"b\" - 2"];
        assert_eq!(lines(old, new), expected);
    }

    #[test]
    fn paths_with_the_version_of_the_release_are_equal() {
        let config =
            |version: &str| format!("[{{elixir,[{{p,[{{m,<<\"/releases/{version}/runtime.exs\">>}}]}}]}}].");
        assert_eq!(lines(&config("0.1.0"), &config("0.2.0")), Vec::<String>::new());
    }

    #[test]
    fn secrets_are_masked() {
        let old = r#"[{app,[{secret_key_base,"a"},{repo,[{url,<<"ecto://u:p@h/db">>},{pool,1}]},{list,[{x,1,[{password,"q"}]}]},
            {key,<<"dGhpcyBpcyBhIHNlY3JldCBrZXk1">>},{use_token,true},{env,#{<<"API_TOKEN">> => <<"t">>}},{'Elixir.My.Module.Name',1}]}]."#;
        let mask = |name: &str| format!("app {name} [masked] -");
        let expected = [
            "app Elixir.My.Module.Name 1 -".to_owned(),
            "app env #{<<\"API_TOKEN\">> => '[masked]'} -".to_owned(),
            "app key '[masked]' -".to_owned(),
            "app list [{x,1,[{password,'[masked]'}]}] -".to_owned(),
            "app repo.pool 1 -".to_owned(),
            "app repo.url '[masked]' -".to_owned(),
            mask("secret_key_base"),
            "app use_token true -".to_owned(),
        ];
        assert_eq!(lines(old, "[]."), expected);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let config = compare(b"[{a,", b"[].", ["1", "2"]);
        assert!(config.unreadable.is_some_and(|reason| reason.starts_with("line 1")));
    }
}
