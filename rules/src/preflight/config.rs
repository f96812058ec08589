//! `sys.config` can be read back, by the rules of `file:consult/1` and of the application `kernel`.

use relgraph_engine::StepError;

use super::{Finding, Kind, Release};
use crate::etf::{self, Term};

pub(super) fn look(release: &Release<'_>) -> Result<Vec<Finding>, StepError> {
    let path = format!("releases/{}/sys.config", release.version.as_deref().unwrap_or_default());
    let Some(bytes) = release.file(&path)? else { return Ok(Vec::new()) };
    // A template, which the start script fills in.
    if etf::consult(&bytes).is_err() && String::from_utf8_lossy(&bytes).contains("${") {
        return Ok(Vec::new());
    }
    Ok(check(&path, &bytes).into_iter().collect())
}

/// What is wrong with the text of a `sys.config`.
pub(super) fn check(path: &str, bytes: &[u8]) -> Option<Finding> {
    let finding = |message: String| Finding::new(Kind::Config, message).file(path);
    let terms = match etf::consult(bytes) {
        Ok(terms) => terms,
        Err(error) => {
            let line =
                String::from_utf8_lossy(bytes).lines().nth(error.line - 1).unwrap_or_default().to_owned();
            // What stands for a process or a function begins with a sign, and what follows it is what cannot be read.
            let from = line.chars().skip(error.column.saturating_sub(2)).take(2).collect::<String>();
            let hint = if from.contains(['#', '<']) {
                "processes, ports, references and functions cannot be written down: configure names, numbers and texts, \
                 and functions as `fun module:function/arity`"
            } else {
                "it is one list, `[{application, [{key, value}]}].`, with a dot at its end"
            };
            let message = format!(
                "{path} cannot be read, line {}, column {}: {}",
                error.line, error.column, error.message
            );
            let mut finding = finding(message).hint(hint);
            finding.line = u32::try_from(error.line).ok();
            return Some(finding);
        }
    };
    let [config] = &terms[..] else {
        let count = terms.len();
        let message = format!("{path} holds {count} terms, where a node reads one");
        return Some(finding(message).hint("it is one list, `[{application, [{key, value}]}].`"));
    };
    let Some(entries) = config.as_list() else {
        return Some(
            finding(format!("{path} holds no list"))
                .hint("it is one list, `[{application, [{key, value}]}].`"),
        );
    };
    let wrong = entries.iter().find(|entry| !is_entry(entry))?;
    let message =
        format!("{path} has an entry that is none: {}", crate::diagnostic::shown(&wrong.to_string()));
    Some(
        finding(message)
            .hint("an entry is `{application, [{key, value}]}`, or the name of another file in quotes"),
    )
}

fn is_entry(entry: &Term) -> bool {
    let pair = |term: &Term| matches!(term.as_tuple(), Some([Term::Atom(_), _]));
    match entry.as_tuple() {
        Some([Term::Atom(_), values]) => values.as_list().is_some_and(|values| values.iter().all(pair)),
        // The name of another file.
        _ => entry.as_text().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Option<String> {
        check("sys.config", text.as_bytes()).map(|finding| finding.message)
    }

    #[test]
    fn what_a_node_reads_is_good() {
        for text in ["[].", "[{kernel, []}, {shop, [{a, fun lists:map/2}, {b, \"x\"}]}, \"more.config\"].\n"]
        {
            assert_eq!(message(text), None);
        }
    }

    #[test]
    fn what_it_does_not_read_is_told() {
        let told =
            |text: &str, part: &str| assert!(message(text).unwrap().contains(part), "{:?}", message(text));
        told("[{shop, [{pid, <0.1.0>}]}].", "line 1");
        told("[\n{shop, [{f, #Fun<a.b.1>}]}].", "line 2");
        told("[{shop, []}", "cannot be read");
        told("[]. [].", "2 terms");
        told("{shop, []}.", "no list");
        told("[{shop, [a]}].", "{shop,[a]}");
    }
}
