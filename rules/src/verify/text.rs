//! In which lines two texts differ.

use super::report::{Finding, Part};

/// More lines than these are told as a number.
const MOST: usize = 200;

/// Whether bytes are text that people write.
pub fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

/// The lines between what both texts begin with and what both end with, in pairs.
pub fn compare(path: &str, ours: &[u8], theirs: &[u8]) -> Vec<Finding> {
    let (ours, theirs) = (String::from_utf8_lossy(ours), String::from_utf8_lossy(theirs));
    let one: Vec<&str> = ours.split('\n').collect();
    let other: Vec<&str> = theirs.split('\n').collect();
    let shorter = one.len().min(other.len());
    let head = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    let tail = one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count();
    let tail = tail.min(shorter - head);
    let (one, other) = (&one[head..one.len() - tail], &other[head..other.len() - tail]);
    let mut findings = Vec::new();
    for index in 0..one.len().max(other.len()) {
        let (mine, others) = (one.get(index), other.get(index));
        if mine == others {
            continue;
        }
        if findings.len() == MOST {
            findings.push(
                Finding::new(path, Part::Line)
                    .at("and more lines")
                    .texts(Some(format!("{} lines", one.len())), Some(format!("{} lines", other.len()))),
            );
            break;
        }
        let owned = |line: Option<&&str>| line.map(|line| (*line).to_owned());
        findings.push(
            Finding::new(path, Part::Line)
                .at((head + index + 1).to_string())
                .texts(owned(mine), owned(others)),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_named_by_their_number() {
        let lines = |ours: &str, theirs: &str| -> Vec<String> {
            compare("f", ours.as_bytes(), theirs.as_bytes()).into_iter().map(|f| f.place).collect()
        };
        assert_eq!(lines("a\nb\nc\n", "a\nx\nc\n"), ["2"]);
        assert_eq!(lines("a\nb\nc\n", "a\nc\n"), ["2"]);
        assert_eq!(lines("a\n", "a"), ["2"]);
        assert_eq!(lines("a\na\n", "a\na\na\n"), ["3"]);
    }
}
