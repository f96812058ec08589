//! Appups: what an application says about coming from another version of it.

use crate::etf::Term;

use super::instruction::Instruction;
use super::scope::Rules;

/// Where an appup comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The application brings it.
    Application,
    /// The project has it: the file.
    Project(String),
    /// It follows from what changed.
    Generated,
}

/// The way of one application to a version and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appup {
    /// Where it comes from.
    pub origin: Origin,
    /// What is done on the way there.
    pub up: Vec<Instruction>,
    /// What is done on the way back.
    pub down: Vec<Instruction>,
}

impl Appup {
    /// What an appup says about the version `old`; `None`: nothing.
    pub fn given(term: &Term, origin: Origin, old: &str) -> Option<Appup> {
        let [_, ups, downs] = term.as_tuple()? else { return None };
        let side = |list: &Term| -> Option<Vec<Instruction>> {
            list.as_list()?.iter().find_map(|entry| {
                let [version, instructions] = entry.as_tuple()? else { return None };
                matches(version, old).then(|| {
                    instructions.as_list().unwrap_or_default().iter().map(Instruction::given).collect()
                })
            })
        };
        Some(Appup { origin, up: side(ups)?, down: side(downs)? })
    }

    /// The term of an appup file, for the versions that are moved from.
    pub fn file(version: &str, ways: &[(String, Appup)], rules: &Rules) -> Term {
        let string =
            |text: &str| Term::list(text.chars().map(|c| Term::Integer(i64::from(u32::from(c)))).collect());
        let side = |instructions: fn(&Appup) -> &Vec<Instruction>| {
            let entry = |(old, appup): &(String, Appup)| {
                let terms =
                    instructions(appup).iter().map(|one| one.term(rules.purge, rules.timeout)).collect();
                Term::Tuple(vec![string(old), Term::list(terms)])
            };
            Term::list(ways.iter().map(entry).collect())
        };
        Term::Tuple(vec![string(version), side(|appup| &appup.up), side(|appup| &appup.down)])
    }
}

/// A version as an appup has it: a string, or a binary that is a regular expression for all of it.
fn matches(version: &Term, old: &str) -> bool {
    match version {
        Term::Binary(bytes) => String::from_utf8(bytes.clone())
            .ok()
            .and_then(|text| regex_lite::Regex::new(&format!("^(?:{text})$")).ok())
            .is_some_and(|expression| expression.is_match(old)),
        version => version.as_text().is_some_and(|text| text == old),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etf::consult_one;

    fn read(text: &str, old: &str) -> Option<Appup> {
        Appup::given(&consult_one(text.as_bytes()).unwrap(), Origin::Application, old)
    }

    #[test]
    fn versions_are_strings_or_expressions_for_all_of_it() {
        let text = r#"{"2.0", [{"1.0", [{load_module, a}]}, {<<"1\\.1(\\.[0-9]+)*">>, [restart_new_emulator]}],
            [{"1.0", []}, {<<"1\\.1(\\.[0-9]+)*">>, []}]}."#;
        assert_eq!(read(text, "1.0").unwrap().up.len(), 1);
        assert_eq!(read(text, "1.1.3").unwrap().up, [Instruction::RestartEmulator]);
        assert_eq!(read(text, "1.10"), None);
        assert_eq!(read(text, "0.1.1"), None);
    }

    #[test]
    fn a_file_says_all_ways() {
        let load = Instruction::Load { module: "a".into(), needs: vec!["b".into()] };
        let appup = Appup { origin: Origin::Generated, up: vec![load.clone()], down: vec![load] };
        let term = Appup::file("2.0", &[("1.0".into(), appup)], &Rules::default());
        assert_eq!(
            term.to_string(),
            r#"{"2.0",[{"1.0",[{load_module,a,soft_purge,soft_purge,[b]}]}],[{"1.0",[{load_module,a,soft_purge,soft_purge,[b]}]}]}"#
        );
    }
}
