//! `relgraph cache key`: keys that shared results are signed with.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use relgraph_cache::remote::{KeyError, MAX_KEY_NAME, SecretKey, is_key_name};
use relgraph_rules::diagnostic::Diagnostic;

use super::context::Context;
use super::exit;
use super::stop::Stop;
use crate::render::keys::{self as view, Key};

/// Where a secret line may stand instead of in a file.
pub const VARIABLE: &str = "RELGRAPH_SIGNING_KEY";

/// Arguments of `cache key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key, and say what to do with it
    New {
        /// What it is called: letters, digits, `.`, `_` and `-` [default: your user name]
        name: Option<String>,
        /// Where its secret goes [default: $XDG_CONFIG_HOME/relgraph/keys/NAME.secret]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Say the public lines of the keys that are here
    Show {
        /// Names of keys, or files with a secret line [default: all there are]
        keys: Vec<String>,
    },
}

/// Makes a key, or shows the public lines of those that are here.
pub fn run(context: &Context, args: &KeyArgs) -> Result<ExitCode, Stop> {
    match &args.command {
        KeyCommand::New { name, out } => {
            let name = name.clone().unwrap_or_else(|| user(context));
            let key = SecretKey::generate(&name).map_err(|error| match error {
                KeyError::Name => Stop::wrong(
                    Diagnostic::error(format!("a key cannot be called `{name}`"))
                        .hint("a name has 1 to 64 letters, digits, `.`, `_` and `-`"),
                ),
                error => Stop::failed(Diagnostic::error(error.to_string())),
            })?;
            let path = match out {
                Some(path) => path.clone(),
                None => folder(context)?.join(format!("{name}.secret")),
            };
            write(&path, &key.expose())?;
            let made = Key { public: key.public(), file: Some(path), open: false };
            context.report(|| view::made_json(&made), || view::made_text(&made));
        }
        KeyCommand::Show { keys } => {
            let found = if keys.is_empty() { all(context)? } else { named(context, keys)? };
            if found.is_empty() {
                return Err(Stop::failed(
                    Diagnostic::error("there are no keys here").hint("`relgraph cache key new` makes one"),
                ));
            }
            context.report(|| view::shown_json(&found), || view::shown_text(&found));
        }
    }
    Ok(exit::DONE)
}

/// A name for a key: that of the user, where it can be one.
fn user(context: &Context) -> String {
    let of = |name: &str| context.env.get(name).filter(|user| is_key_name(user));
    of("USER").or_else(|| of("LOGNAME")).cloned().unwrap_or_else(|| "relgraph".to_owned())
}

/// Where keys are kept.
fn folder(context: &Context) -> Result<PathBuf, Stop> {
    let from =
        |name: &str| context.env.get(name).filter(|value| Path::new(value).is_absolute()).map(PathBuf::from);
    from("XDG_CONFIG_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".config")))
        .map(|dir| dir.join("relgraph/keys"))
        .ok_or_else(|| {
            Stop::wrong(
                Diagnostic::error("there is no place for keys: neither HOME nor XDG_CONFIG_HOME is set")
                    .hint("say where with --out FILE"),
            )
        })
}

/// Writes a secret where nothing is, for its owner alone.
fn write(path: &Path, line: &str) -> Result<(), Stop> {
    let failed = |what: &str, error: &io::Error| {
        Stop::failed(Diagnostic::error(format!("cannot {what} {}: {error}", path.display())))
    };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|e| failed("make a folder for", &e))?;
    }
    let mut file = match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Stop::wrong(
                Diagnostic::error(format!("{} is there already", path.display()))
                    .note(
                        "what was signed with a key that is overwritten could not be told from a stranger's",
                    )
                    .hint("give the key another name, or another place with --out FILE"),
            ));
        }
        Err(error) => return Err(failed("write", &error)),
    };
    // A secret that is half there is worse than none, and it is written once.
    file.write_all(line.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .map_err(|error| {
            let _ = fs::remove_file(path);
            failed("write", &error)
        })
}

/// All keys of the folder, by name, and the one of the environment.
fn all(context: &Context) -> Result<Vec<Key>, Stop> {
    let mut found = Vec::new();
    if let Some(line) = context.env.get(VARIABLE).filter(|line| !line.trim().is_empty()) {
        let key = SecretKey::parse(line).map_err(|error| unreadable(&format!("${VARIABLE}"), error))?;
        found.push(Key { public: key.public(), file: None, open: false });
    }
    let folder = folder(context)?;
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => {
            let message = format!("cannot read {}: {error}", folder.display());
            return Err(Stop::failed(Diagnostic::error(message)));
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "secret"))
        .collect();
    files.sort();
    for file in files {
        found.push(read(&file)?);
    }
    Ok(found)
}

/// Keys by their names, or by their files.
fn named(context: &Context, keys: &[String]) -> Result<Vec<Key>, Stop> {
    let find = |key: &String| {
        if is_key_name(key) {
            let kept = folder(context).map(|folder| folder.join(format!("{key}.secret")));
            // A file of that name may lie here as well; the folder of keys comes first.
            match kept {
                Ok(kept) if kept.exists() || !Path::new(key).exists() => return read(&kept),
                Err(stop) if !Path::new(key).exists() => return Err(stop),
                _ => {}
            }
        }
        read(Path::new(key))
    };
    keys.iter().map(find).collect()
}

/// The key of a file.
fn read(path: &Path) -> Result<Key, Stop> {
    let shown = path.display().to_string();
    let failed = |error: io::Error| Stop::wrong(Diagnostic::error(format!("cannot read {shown}: {error}")));
    let mut text = String::new();
    // A line is short; whatever is longer is something else.
    let most = 256 + MAX_KEY_NAME as u64;
    let file = fs::File::open(path).map_err(failed)?;
    let open = file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0;
    io::Read::read_to_string(&mut io::Read::take(file, most), &mut text).map_err(failed)?;
    let key = SecretKey::parse(&text).map_err(|error| unreadable(&shown, error))?;
    Ok(Key { public: key.public(), file: Some(path.to_owned()), open })
}

/// Something that holds no secret line.
fn unreadable(place: &str, error: KeyError) -> Stop {
    Stop::wrong(
        Diagnostic::error(format!("there is no secret key in {place}: {error}"))
            .hint("`relgraph cache key new` makes one"),
    )
}
