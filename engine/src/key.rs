//! Keys of actions: the named parts that go into one, its hash, and the difference between two (docs/formats/key.md).

use std::collections::BTreeMap;
use std::fmt;

use relgraph_cache::Digest;
use relgraph_cache::codec::{CodecError, Reader, Writer};

const MAGIC: &str = "relgraph parts 1";
pub(crate) const KEY_DOMAIN: &str = "relgraph action v1";

/// The hash of an action's parts: two actions with one key may share a result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionKey(pub [u8; 32]);

impl ActionKey {
    /// 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl fmt::Display for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActionKey({})", self.hex())
    }
}

/// The value of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartValue {
    /// Text, as it is.
    Text(String),
    /// A number.
    Number(u64),
    /// The digest of a file or of a tree.
    Digest(Digest),
    /// Several texts whose order matters.
    List(Vec<String>),
}

impl fmt::Display for PartValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartValue::Text(text) => f.write_str(text),
            PartValue::Number(number) => write!(f, "{number}"),
            PartValue::Digest(digest) => write!(f, "{digest}"),
            PartValue::List(items) => f.write_str(&items.join(" ")),
        }
    }
}

/// What an action is made of, by name, sorted: the same parts give the same key in whatever order they came.
///
/// Names are read by people and by [`explain`](crate::explain): `command`, `env MIX_ENV`, `toolchain`,
/// `input compile phoenix`, `source lib/a.ex`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyParts {
    parts: BTreeMap<String, PartValue>,
}

/// How a part differs between two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartChangeKind {
    /// Only the new key has it.
    Added,
    /// Only the old key had it.
    Removed,
    /// Both have it, with other values.
    Changed,
}

/// One part that differs between two keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartChange {
    /// The name of the part.
    pub name: String,
    /// In what way it differs.
    pub kind: PartChangeKind,
    /// What it was.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
}

impl KeyParts {
    /// No parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text.
    pub fn text(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> &mut Self {
        self.add(name.as_ref(), PartValue::Text(value.as_ref().to_owned()))
    }

    /// Adds a number.
    pub fn number(&mut self, name: impl AsRef<str>, value: u64) -> &mut Self {
        self.add(name.as_ref(), PartValue::Number(value))
    }

    /// Adds the digest of a file or a tree.
    pub fn digest(&mut self, name: impl AsRef<str>, value: &Digest) -> &mut Self {
        self.add(name.as_ref(), PartValue::Digest(*value))
    }

    /// Adds a list of texts.
    pub fn list<I>(&mut self, name: impl AsRef<str>, values: I) -> &mut Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let values = values.into_iter().map(|v| v.as_ref().to_owned()).collect();
        self.add(name.as_ref(), PartValue::List(values))
    }

    /// A name that comes a second time is kept beside the first: a key may have too many parts, never too few.
    fn add(&mut self, name: &str, value: PartValue) -> &mut Self {
        let mut unique = name.to_owned();
        let mut count = 1;
        while self.parts.contains_key(&unique) {
            count += 1;
            unique = format!("{name} #{count}");
        }
        self.parts.insert(unique, value);
        self
    }

    /// The parts, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PartValue)> {
        self.parts.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// One part.
    pub fn get(&self, name: &str) -> Option<&PartValue> {
        self.parts.get(name)
    }

    /// How many parts there are.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The key of an action made of these parts.
    pub fn key(&self) -> ActionKey {
        ActionKey(blake3::derive_key(KEY_DOMAIN, &self.encode()))
    }

    /// The canonical bytes: what the key is the hash of, and what is stored beside a result.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(MAGIC);
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<KeyParts, CodecError> {
        let mut reader = Reader::new(bytes, MAGIC)?;
        let parts = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(parts)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u64(self.parts.len() as u64);
        for (name, value) in &self.parts {
            writer.str(name);
            match value {
                PartValue::Text(text) => writer.u8(1).str(text),
                PartValue::Number(number) => writer.u8(2).u64(*number),
                PartValue::Digest(digest) => writer.u8(3).digest(digest),
                PartValue::List(items) => {
                    writer.u8(4).u64(items.len() as u64);
                    items.iter().fold(&mut *writer, |writer, item| writer.str(item))
                }
            };
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<KeyParts, CodecError> {
        let mut parts: BTreeMap<String, PartValue> = BTreeMap::new();
        for _ in 0..reader.count(17)? {
            let name = reader.str()?.to_owned();
            let value = match reader.u8()? {
                1 => PartValue::Text(reader.str()?.to_owned()),
                2 => PartValue::Number(reader.u64()?),
                3 => PartValue::Digest(reader.digest()?),
                4 => {
                    let count = reader.count(8)?;
                    let items = (0..count).map(|_| reader.str().map(str::to_owned));
                    PartValue::List(items.collect::<Result<_, _>>()?)
                }
                _ => return Err(reader.invalid("the kind of a part")),
            };
            if parts.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(reader.invalid("the order of parts"));
            }
            parts.insert(name, value);
        }
        Ok(KeyParts { parts })
    }

    /// What differs between two keys, sorted by name.
    pub fn diff(old: &KeyParts, new: &KeyParts) -> Vec<PartChange> {
        let mut changes = Vec::new();
        for (name, value) in &old.parts {
            let now = new.parts.get(name);
            if now != Some(value) {
                changes.push(PartChange {
                    name: name.clone(),
                    kind: if now.is_some() { PartChangeKind::Changed } else { PartChangeKind::Removed },
                    old: Some(value.to_string()),
                    new: now.map(PartValue::to_string),
                });
            }
        }
        for (name, value) in new.parts.iter().filter(|(name, _)| !old.parts.contains_key(*name)) {
            changes.push(PartChange {
                name: name.clone(),
                kind: PartChangeKind::Added,
                old: None,
                new: Some(value.to_string()),
            });
        }
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        changes
    }
}
