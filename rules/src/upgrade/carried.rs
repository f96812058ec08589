//! Instructions of a relup that our own modules carry out: those come with the package, and are on no code path.

use crate::etf::{Term, consult_one};

const LOAD: &str = include_str!("carried.forms");

/// Has a node load the modules that a script calls, whoever runs the script: `bin/NAME` of relgraph has loaded them by then,
/// relx's does not, nor does somebody who asks the release handler. `version` is the one whose folder has them.
pub(super) fn with_modules(mut script: Vec<Term>, version: &str) -> Vec<Term> {
    let ours = |one: &Term| {
        let call = one.as_tagged("apply").and_then(|parts| parts.first()?.as_tuple()?.first()?.as_atom());
        call == Some("relgraph_upgrade")
    };
    if !script.iter().any(ours) {
        return script;
    }
    let version: Vec<String> = version.chars().map(|c| u32::from(c).to_string()).collect();
    let forms = LOAD.replace("VERSION", &format!("[{}]", version.join(",")));
    if let Ok(forms) = consult_one(forms.as_bytes()) {
        let arguments = Term::list(vec![forms, Term::list(Vec::new())]);
        let call = Term::Tuple(vec![Term::atom("erl_eval"), Term::atom("exprs"), arguments]);
        script.insert(0, Term::Tuple(vec![Term::atom("apply"), call]));
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_calls_our_modules_loads_them() {
        let script = |text: &str| consult_one(text.as_bytes()).unwrap().as_list().unwrap().to_vec();
        let plain = script("[point_of_no_return,{apply,{other,f,[]}}].");
        assert_eq!(with_modules(plain.clone(), "2.0"), plain);
        let ours = script("[point_of_no_return,{apply,{relgraph_upgrade,children,[x]}}].");
        let made = with_modules(ours.clone(), "2.0");
        assert_eq!(made[1..], ours);
        let text = made[0].to_string();
        assert!(text.starts_with("{apply,{erl_eval,exprs,["), "{text}");
        assert!(text.contains("{string,1,\"2.0\"}"), "{text}");
    }
}
