//! Bytes to a [`ReleaseFile`] or a [`UserFile`], or to all that is wrong with them.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cache::{CacheSettings, USER_FILE, contradictions};
use super::check::Checker;
use super::error::{Problem, SchemaError};
use super::model::ReleaseFile;
use super::places::{Places, Source};
use super::scalar::Kind;
use super::shape::Shape;
use super::table::FILE;
use super::tree::{Place, Tree};
use crate::diagnostic::Span;

/// The largest file that is read, in bytes.
const LARGEST: usize = 8 << 20;

impl ReleaseFile {
    /// Reads the file at `path`, which errors and places will name as given.
    pub fn read(path: &Path) -> Result<ReleaseFile, Vec<SchemaError>> {
        let bytes = std::fs::read(path).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                let hints = vec!["`relgraph init` writes one for the project in this folder".to_string()];
                return vec![SchemaError { hints, ..whole(path, Problem::Absent) }];
            }
            vec![whole(path, Problem::Unreadable(error.to_string()))]
        })?;
        Self::parse(path, &bytes)
    }

    /// Reads `bytes`, which errors and places will say are of the file `path`.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<ReleaseFile, Vec<SchemaError>> {
        match document::<ReleaseFile>(path, bytes, &FILE)? {
            Some((file, places)) => {
                consistent(&file.cache, &places)?;
                Ok(ReleaseFile { places, ..file })
            }
            None => {
                let hint = "a file of the one line `release: NAME` is enough".to_string();
                Err(vec![SchemaError { hints: vec![hint], ..whole(path, Problem::Empty) }])
            }
        }
    }
}

/// The user's own file, which holds what is of no concern to others.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserFile {
    /// Where results are shared.
    #[serde(default)]
    pub cache: CacheSettings,
    #[serde(skip)]
    places: Places,
}

impl UserFile {
    /// Reads `bytes`, which errors and places will say are of the file `path`. An empty file says nothing.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<UserFile, Vec<SchemaError>> {
        let Some((file, places)) = document::<UserFile>(path, bytes, &USER_FILE)? else {
            return Ok(UserFile::default());
        };
        consistent(&file.cache, &places)?;
        Ok(UserFile { places, ..file })
    }

    /// The place of a value.
    pub fn span(&self, path: &str) -> Option<Span> {
        self.places.value(path)
    }
}

/// What a file of this shape says, or all that is wrong with it; `None` when it is empty.
fn document<T: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    shape: &'static Shape,
) -> Result<Option<(T, Places)>, Vec<SchemaError>> {
    if bytes.len() > LARGEST {
        return Err(vec![whole(path, Problem::TooLarge(LARGEST))]);
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| vec![not_utf8(path, bytes, error.valid_up_to())])?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Arc::new(Source::new(path, text));
    let tree = Tree::read(text).map_err(|(problem, at)| vec![syntax(&source, problem, at)])?;
    let Some(tree) = tree.filter(|tree| Kind::of(tree.node(tree.root)) != Kind::Null) else {
        return Ok(None);
    };
    let mut checker = Checker::new(&tree, &source);
    let value = checker.file(shape);
    let Checker { mut errors, places, .. } = checker;
    if let (Some(value), true) = (value, errors.is_empty()) {
        match serde_yaml::from_value::<T>(value) {
            Ok(file) => return Ok(Some((file, Places::new(source, places)))),
            Err(error) => errors.push(whole(path, Problem::Invalid(error.to_string()))),
        }
    }
    errors.sort_by_key(|error| error.span.as_ref().map(|span| (span.line, span.column)));
    Err(errors)
}

/// Complains of what is good by itself and wrong together.
fn consistent(settings: &CacheSettings, places: &Places) -> Result<(), Vec<SchemaError>> {
    let complaint = |(at, what, hint): (String, String, &str)| SchemaError {
        span: places.key(&at).or_else(|| places.value(&at)),
        hints: Some(hint.to_owned()).filter(|hint| !hint.is_empty()).into_iter().collect(),
        ..whole(places.file(), Problem::Invalid(what))
    };
    let mut errors: Vec<SchemaError> = contradictions(settings).into_iter().map(complaint).collect();
    errors.sort_by_key(|error| error.span.as_ref().map(|span| (span.line, span.column)));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn whole(path: &Path, problem: Problem) -> SchemaError {
    SchemaError { problem, file: path.to_path_buf(), span: None, label: None, hints: vec![] }
}

fn not_utf8(path: &Path, bytes: &[u8], valid: usize) -> SchemaError {
    let text = String::from_utf8_lossy(&bytes[..valid]);
    let source = Source::new(path, &text);
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count();
    let at = Place { line, column, end_line: line, end_column: column };
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let hint = if utf16 { "it looks like UTF-16: save it as UTF-8" } else { "save it as UTF-8" };
    SchemaError { span: Some(source.span(at)), hints: vec![hint.into()], ..whole(path, Problem::NotUtf8) }
}

fn syntax(source: &Source, problem: Problem, at: Option<Place>) -> SchemaError {
    let span = at.map(|at| source.span(at));
    let indent = span.as_ref().map_or("", |s| &s.text[..s.text.len() - s.text.trim_start().len()]);
    let hints = if indent.contains('\t') {
        vec!["indent with spaces: YAML takes no tabs".to_string()]
    } else {
        vec![]
    };
    SchemaError { span, hints, ..whole(source.file(), problem) }
}
