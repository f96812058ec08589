//! The vectors in docs/formats are what this crate writes and reads, and nothing else is read.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use relgraph_cache::{Answer, Digest, FileStamp, Probe};
use relgraph_engine::*;

/// The `golden NAME` block of a document: its `key = value` lines.
fn golden(document: &str, name: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats").join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let fence = format!("```golden {name}\n");
    let start = text.find(&fence).unwrap_or_else(|| panic!("{document} has no vector {name}")) + fence.len();
    let block = &text[start..start + text[start..].find("```").unwrap()];
    let pairs = block.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn parts() -> KeyParts {
    let mut parts = KeyParts::new();
    parts
        .text("rule", "compile 3")
        .text("env MIX_ENV", "prod")
        .list("command", ["mix", "compile", "--no-deps-check"])
        .number("level", 6)
        .digest("source lib/a.ex", &Digest::of(b"abc"));
    parts
}

fn probes() -> Vec<(Probe, Answer)> {
    vec![
        (Probe::Content("lib/a.ex".into()), Answer::File { digest: Digest::of(b"abc"), executable: false }),
        (Probe::Content("config/prod.exs".into()), Answer::Absent),
        (Probe::Env("MIX_ENV".into()), Answer::Value(Digest::of(b"prod"))),
    ]
}

fn result() -> StepResult {
    let mut probes = probes();
    probes.sort();
    StepResult {
        key: parts().key(),
        result_key: result_key(&parts().key(), &probes),
        outputs: [("ebin".to_owned(), Digest::of(b"abc"))].into(),
        values: [("version".to_owned(), "1.0.0".to_owned())].into(),
        probes,
        sandbox: Some(SandboxMode::Namespaces),
        duration_ms: 1500,
        stdout: Output::Inline(b"Compiling 1 file\n".to_vec()),
        stderr: Output::Blob(Digest::of(b"abc")),
        producer: Producer { step: "compile a".into(), version: "0.1.0".into() },
    }
}

fn state() -> State {
    let stamp = FileStamp { dev: 1, ino: 2, size: 3, mtime_ns: 4, ctime_ns: 5, mode: 0o100_644 };
    let folder = FileStamp { mode: 0o040_755, ..stamp };
    State {
        identity: Digest::of(b"relgraph"),
        request: Digest::of(b"release.yaml"),
        root: "/src".into(),
        taken_ns: 1_000_000_000,
        entries: vec![
            ("config/prod.exs".into(), Expect::Absent),
            ("lib".into(), Expect::Directory(folder)),
            ("lib/a.ex".into(), Expect::Stamp(stamp)),
        ],
        env: vec![("MIX_ENV".into(), Some(Digest::of(b"prod"))), ("MIX_TARGET".into(), None)],
        summary: b"up to date".to_vec(),
    }
}

/// Run by hand with `--ignored --nocapture` to see the vectors of a new version of a format.
#[test]
#[ignore = "prints, tests nothing"]
fn print_vectors() {
    println!("parts {}\nkey {}", hex(&parts().encode()), parts().key());
    println!("empty {}", KeyParts::new().key());
    println!("result {}\nresult key {}", hex(&result().encode()), result().result_key);
    println!("bare result key {}", result_key(&parts().key(), &[]));
    println!("state {}", hex(&state().encode()));
}

#[test]
fn keys() {
    let vector = golden("key.md", "parts");
    assert_eq!(hex(&parts().encode()), vector["bytes"]);
    assert_eq!(parts().key().hex(), vector["key"]);
    assert_eq!(KeyParts::decode(&parts().encode()).unwrap(), parts());
    assert_eq!(KeyParts::new().key().hex(), golden("key.md", "empty")["key"]);
}

#[test]
fn results() {
    let vector = golden("result.md", "one");
    let result = result();
    assert_eq!(hex(&result.encode()), vector["bytes"]);
    assert_eq!(result.result_key, vector["result key"]);
    assert_eq!(StepResult::decode(&result.encode()).unwrap(), result);
    assert_eq!(result_key(&result.key, &probes()), result.result_key, "probes in any order");
    assert_eq!(result_key(&result.key, &[]), golden("result.md", "bare")["result key"]);
}

#[test]
fn states() {
    let state = state();
    assert_eq!(hex(&state.encode()), golden("state.md", "one")["bytes"]);
    assert_eq!(State::decode(&state.encode()).unwrap(), state);
}

#[test]
fn the_order_of_adding_does_not_matter_and_everything_else_does() {
    let mut other = KeyParts::new();
    other
        .digest("source lib/a.ex", &Digest::of(b"abc"))
        .number("level", 6)
        .list("command", vec!["mix".to_owned(), "compile".into(), "--no-deps-check".into()])
        .text("rule", "compile 3")
        .text("env MIX_ENV", "prod");
    assert_eq!(other.key(), parts().key());
    let mut keys = vec![parts().key()];
    let mut key_of = |change: &dyn Fn(&mut KeyParts)| {
        let mut parts = KeyParts::new();
        change(&mut parts);
        keys.push(parts.key());
    };
    key_of(&|p| _ = p.list("a", ["b", "c"]));
    key_of(&|p| _ = p.list("a", ["bc"]));
    key_of(&|p| _ = p.list("a", ["b", "", "c"]));
    key_of(&|p| _ = p.text("a", "bc"));
    key_of(&|p| _ = p.text("ab", "c"));
    key_of(&|p| _ = p.text("a", "b").text("c", ""));
    key_of(&|p| _ = p.text("a", "6"));
    key_of(&|p| _ = p.number("a", 6));
    key_of(&|p| _ = p.text("a", "6").text("a", "7"));
    key_of(&|p| _ = p.text("a", "7").text("a", "6"));
    key_of(&|p| _ = p.text("a", "6").text("a", "6"));
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn differences_are_named() {
    let mut new = KeyParts::new();
    new.text("rule", "compile 3").text("env MIX_ENV", "dev").number("level", 6).text("x", "y");
    let changes = KeyParts::diff(&parts(), &new);
    let short: Vec<_> = changes.iter().map(|c| (c.name.as_str(), c.kind)).collect();
    assert_eq!(
        short,
        [
            ("command", PartChangeKind::Removed),
            ("env MIX_ENV", PartChangeKind::Changed),
            ("source lib/a.ex", PartChangeKind::Removed),
            ("x", PartChangeKind::Added),
        ]
    );
    assert_eq!(changes[1].old.as_deref(), Some("prod"));
    assert_eq!(changes[0].old.as_deref(), Some("mix compile --no-deps-check"));
    assert!(KeyParts::diff(&parts(), &parts()).is_empty());
}

proptest! {
    /// One encoding per value: whatever is read back writes the same bytes, so a flipped bit is seen or refused.
    #[test]
    fn a_flipped_bit_never_reads_as_the_same(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = parts().encode();
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        if let Ok(read) = KeyParts::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes.clone());
            prop_assert_ne!(read.key(), parts().key());
        }
        let mut bytes = result().encode();
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        if let Ok(read) = StepResult::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
        let mut bytes = state().encode();
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        prop_assert!(State::decode(&bytes).is_err());
    }

    #[test]
    fn a_truncated_file_is_refused(at in any::<prop::sample::Index>()) {
        for bytes in [parts().encode(), result().encode(), state().encode(), Checkout::default().encode()] {
            let cut = &bytes[..at.index(bytes.len())];
            prop_assert!(KeyParts::decode(cut).is_err());
            prop_assert!(StepResult::decode(cut).is_err());
            prop_assert!(State::decode(cut).is_err());
            prop_assert!(Checkout::decode(cut).is_err());
        }
    }
}

#[test]
fn secrets() {
    let salt = Salt::of(b"a salt that a team shares");
    assert_eq!(salt.mark("NPM_TOKEN", "npm_0123456789"), golden("key.md", "secret")["value"]);
}
