//! The rules for strings: names, paths, globs.

use globset::GlobBuilder;
use relgraph_cache::remote::{KeyError, PublicKey};

use super::address::RemoteAddress;
use crate::diagnostic::shown;
use crate::native::Target;

/// What a string must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Version,
    Release,
    Environment,
    Target,
    /// The machines that a release is for.
    RuntimeTarget,
    Application,
    Step,
    NeededStep,
    Variable,
    /// The top-level `env`, where the names that other keys set have no place.
    MixVariable,
    Cookie,
    /// A folder, anywhere.
    Folder,
    /// A glob inside the project.
    Glob,
    /// A path that a step makes.
    Output,
    /// A folder inside the release.
    Inside,
    Chunk,
    Script,
    /// The address of a remote, without credentials.
    Remote,
    /// The same in a file that nobody else reads: credentials may be in it.
    PrivateRemote,
    /// A part of a remote.
    Namespace,
    /// A name that somebody else gives a meaning.
    Instance,
    /// A file, anywhere.
    File,
    /// A line that stands for a public key.
    PublicKey,
    /// `${NAME}`: the variable that holds a secret.
    SecretVariable,
    /// The same, or the secret itself.
    Secret,
}

/// Why a string was refused, and what to do.
pub(super) struct Refusal {
    pub message: String,
    pub hint: Option<String>,
}

fn refuse<T>(message: String, hint: &str) -> Result<T, Refusal> {
    Err(Refusal { message, hint: (!hint.is_empty()).then(|| hint.to_string()) })
}

/// The first words of the steps that relgraph makes: `compile phoenix`, `include runtime`, `boot`.
const BUILT_IN: [&str; 11] = [
    "compile",
    "package",
    "fetch",
    "include",
    "assemble",
    "config",
    "boot",
    "describe",
    "collect",
    "scripts",
    "preflight",
];

impl Text {
    /// "a glob".
    pub fn one(self) -> &'static str {
        match self {
            Text::Version | Text::Cookie => "a string",
            Text::Release | Text::Environment | Text::Target => "a name",
            Text::RuntimeTarget => "a target",
            Text::Application => "the name of an application",
            Text::Step | Text::NeededStep => "the name of a step",
            Text::Variable | Text::MixVariable => "the name of a variable",
            Text::Folder | Text::Inside => "a folder",
            Text::Glob => "a glob",
            Text::Output => "a path",
            Text::Chunk => "the name of a chunk",
            Text::Script => "a script",
            Text::Remote | Text::PrivateRemote => "the address of a remote",
            Text::Namespace => "a namespace",
            Text::Instance => "a name",
            Text::File => "a file",
            Text::PublicKey => "a public key",
            Text::SecretVariable => "a variable as `${NAME}`",
            Text::Secret => "a secret, or a variable as `${NAME}`",
        }
    }

    /// "globs", as in "a list of globs".
    pub fn many(self) -> &'static str {
        match self {
            Text::Version | Text::Cookie => "strings",
            Text::Release | Text::Environment | Text::Target => "names",
            Text::RuntimeTarget => "targets",
            Text::Application => "names of applications",
            Text::Step | Text::NeededStep => "names of steps",
            Text::Variable | Text::MixVariable => "names of variables",
            Text::Folder | Text::Inside => "folders",
            Text::Glob => "globs",
            Text::Output => "paths",
            Text::Chunk => "names of chunks",
            Text::Script => "script lines",
            Text::Remote | Text::PrivateRemote => "addresses of remotes",
            Text::Namespace => "namespaces",
            Text::Instance => "names",
            Text::File => "files",
            Text::PublicKey => "public keys",
            Text::SecretVariable | Text::Secret => "secrets",
        }
    }

    /// The rule as a regular expression, where one can say it, for the JSON Schema.
    pub fn pattern(self) -> Option<&'static str> {
        match self {
            Text::Version => Some(r"^[^./\\:\s][^/\\:\s]*$"),
            Text::Release => Some("^[a-z][A-Za-z0-9_-]*$"),
            Text::Environment | Text::Target => Some("^[a-z][A-Za-z0-9_]*$"),
            Text::Application => Some("^[a-z][A-Za-z0-9_@]*$"),
            Text::Step => Some("^[A-Za-z0-9][A-Za-z0-9_-]*$"),
            Text::Variable | Text::MixVariable => Some("^[A-Za-z_][A-Za-z0-9_]*$"),
            Text::Cookie => Some("^[!-~]+$"),
            Text::Remote => Some("^(grpcs?|https?|s3|gs|az|file)://[^@]*$"),
            Text::PrivateRemote => Some("^(grpcs?|https?|s3|gs|az|file)://"),
            Text::Namespace => Some("^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"),
            Text::SecretVariable => Some(r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"),
            _ => None,
        }
    }

    /// Checks `text`, and brings paths to their shortest form.
    pub fn check(self, text: &str) -> Result<String, Refusal> {
        if text.contains('\0') {
            return refuse("a NUL character has no place here".into(), "");
        }
        if text.is_empty() {
            return refuse(format!("expected {}, found an empty string", self.one()), "");
        }
        match self {
            Text::Script => {}
            Text::Version => {
                let odd = |c: char| c.is_whitespace() || c.is_control() || "/\\:".contains(c);
                if text.contains(odd) || text.starts_with('.') || text.len() > 100 {
                    return refuse(
                        format!("`{}` cannot be a version", shown(text)),
                        "it becomes the name of a folder: no spaces, slashes or colons, and no dot in front",
                    );
                }
            }
            Text::Release | Text::Environment | Text::Target | Text::Application => self.name(text)?,
            Text::Step => return step(text),
            Text::NeededStep | Text::Chunk => one_line(text)?,
            Text::Variable => variable(text)?,
            Text::MixVariable => {
                variable(text)?;
                let key = match text {
                    "MIX_ENV" => "environment",
                    "MIX_TARGET" => "target",
                    _ => return Ok(text.to_string()),
                };
                return refuse(format!("`{text}` is set by the key `{key}`"), "");
            }
            Text::Cookie => {
                if !text.bytes().all(|b| b.is_ascii_graphic()) || text.len() > 255 {
                    let rule = "a cookie is up to 255 printable ASCII characters without spaces";
                    return refuse(rule.into(), "");
                }
            }
            Text::Folder => one_line(text)?,
            Text::RuntimeTarget => {
                if let Err(message) = text.parse::<Target>() {
                    return refuse(
                        message,
                        "`x86_64-linux-gnu-2.31`, `aarch64-linux-musl` and `debian12` are targets",
                    );
                }
            }
            Text::Glob => return glob(text),
            Text::Output => return output(text),
            Text::Inside => return relative(text, "a folder inside of the release"),
            Text::Remote | Text::PrivateRemote => self.remote(text)?,
            Text::Namespace => namespace(text).map_err(|message| Refusal {
                message,
                hint: Some("a namespace is made of letters, digits, `_`, `-` and `.`, in parts with `/` between them".into()),
            })?,
            Text::Instance | Text::File => one_line(text)?,
            Text::PublicKey => public_key(text)?,
            Text::SecretVariable | Text::Secret => self.secret(text)?,
        }
        Ok(text.to_string())
    }

    /// Whether what is written there is shown to nobody.
    pub fn is_secret(self) -> bool {
        matches!(self, Text::SecretVariable | Text::Secret)
    }

    fn remote(self, text: &str) -> Result<(), Refusal> {
        let address = RemoteAddress::parse(text).map_err(|message| Refusal { message, hint: None })?;
        if self == Text::Remote && address.user.is_some() {
            return refuse(
                "credentials have no place in an address that is committed".into(),
                "take them out; `token: ${NAME}` names the variable that holds a token, and \
                 `~/.config/relgraph/config.yaml` and netrc hold your own",
            );
        }
        Ok(())
    }

    fn secret(self, text: &str) -> Result<(), Refusal> {
        if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            return variable(name);
        }
        if self == Text::SecretVariable {
            return refuse(
                "a secret has no place in a file that is committed".into(),
                "write the name of the variable that holds it: `${CACHE_TOKEN}`; your own can be in \
                 `~/.config/relgraph/config.yaml`; this one should not be used any more where it was shared",
            );
        }
        // It travels in a header.
        if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return refuse("a secret is printable ASCII".into(), "");
        }
        Ok(())
    }

    fn name(self, text: &str) -> Result<(), Refusal> {
        let (also, rule): (&[u8], _) = match self {
            Text::Release => (b"_-", "letters, digits, `_` and `-`"),
            Text::Application => (b"_@", "letters, digits, `_` and `@`"),
            _ => (b"_", "letters, digits and `_`"),
        };
        let good = text.len() <= 100
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b));
        if good {
            return Ok(());
        }
        let what = match self {
            Text::Release => "release",
            Text::Environment => "environment",
            Text::Target => "target",
            _ => "application",
        };
        refuse(
            format!("`{}` cannot be the name of {} {what}", shown(text), article(what)),
            &format!("a name begins with a lower-case letter and goes on with {rule}, up to 100 characters"),
        )
    }
}

/// What is wrong with the name of a part of a remote.
pub fn namespace(text: &str) -> Result<(), String> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if text.len() <= 200 && text.split('/').all(part) {
        return Ok(());
    }
    Err(format!("`{}` cannot be a namespace", shown(text)))
}

fn public_key(text: &str) -> Result<(), Refusal> {
    let refusal = |error: KeyError| Refusal {
        message: format!("this is no public key: {error}"),
        hint: Some("`relgraph cache key show` says the public lines of your keys".into()),
    };
    PublicKey::parse(text).map(|_| ()).map_err(refusal)
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn one_line(text: &str) -> Result<(), Refusal> {
    if text.chars().any(char::is_control) {
        return refuse(format!("`{}` has a control character in it", shown(text)), "");
    }
    Ok(())
}

fn variable(text: &str) -> Result<(), Refusal> {
    let good = !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if good {
        return Ok(());
    }
    refuse(
        format!("`{}` cannot be the name of a variable", shown(text)),
        "a variable is made of letters, digits and `_`, and does not begin with a digit",
    )
}

fn step(text: &str) -> Result<String, Refusal> {
    let first = text.split(' ').next().unwrap_or_default();
    if BUILT_IN.contains(&first) {
        let message = format!("`{}` is the name of a step that relgraph makes itself", shown(text));
        return refuse(message, "choose another name");
    }
    let good = text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if good {
        return Ok(text.to_string());
    }
    refuse(
        format!("`{}` cannot be the name of a step", shown(text)),
        "a name is made of letters, digits, `_` and `-`, up to 100 characters, and does not begin with a sign",
    )
}

fn glob(text: &str) -> Result<String, Refusal> {
    one_line(text)?;
    stays_inside(text, "inputs are taken from the project alone")?;
    match GlobBuilder::new(text).literal_separator(true).build() {
        Ok(_) => Ok(text.trim_start_matches("./").to_string()),
        Err(error) => refuse(format!("`{}` is not a glob: {}", shown(text), error.kind()), ""),
    }
}

fn output(text: &str) -> Result<String, Refusal> {
    let path = relative(text, "a path below the folder that the step runs in")?;
    if path.is_empty() {
        return refuse(
            "the whole folder cannot be an output".into(),
            "name the files or folders that the step makes",
        );
    }
    if path.contains('*') {
        let message = format!("`{}` looks like a glob, but outputs are files or folders", shown(text));
        return refuse(message, "name the folder");
    }
    Ok(path)
}

fn relative(text: &str, what: &str) -> Result<String, Refusal> {
    one_line(text)?;
    stays_inside(text, &format!("write {what}"))?;
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Ok(parts.join("/"))
}

fn stays_inside(text: &str, hint: &str) -> Result<(), Refusal> {
    if text.starts_with('/') {
        return refuse(format!("`{}` is an absolute path", shown(text)), hint);
    }
    if text.split('/').any(|part| part == "..") {
        return refuse(format!("`{}` leads outside with `..`", shown(text)), hint);
    }
    Ok(())
}
