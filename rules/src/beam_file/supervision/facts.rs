//! What the branches that led somewhere say of values, and what two ways into one place leave of a value.

use crate::etf::Term;

use super::value::Value;

/// What a branch says of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// It is one of these.
    Is(Vec<Term>),
    /// It is none of these.
    IsNot(Vec<Term>),
}

/// What is known of values, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts(Vec<(Value, Fact)>);

/// More is not kept.
const MOST: usize = 32;

impl Facts {
    pub fn add(&mut self, value: &Value, fact: Fact) {
        // Of constants nothing needs to be said, and two values that are not known need not be equal.
        if value.term().is_some() || value.has_unknown() {
            return;
        }
        match self.0.iter().position(|(known, _)| known == value) {
            None if self.0.len() >= MOST => {}
            None => self.0.push((value.clone(), fact)),
            Some(at) => match (&mut self.0[at].1, fact) {
                (Fact::IsNot(terms), Fact::IsNot(more)) => terms.extend(more),
                (known @ Fact::IsNot(_), is) => *known = is,
                (Fact::Is(_), _) => {}
            },
        }
    }

    fn of(&self, value: &Value) -> Option<&Fact> {
        self.0.iter().find(|(known, _)| known == value).map(|(_, fact)| fact)
    }

    /// Whether the value is a given term, as far as that is known.
    pub fn equals(&self, value: &Value, term: &Term) -> Option<bool> {
        match self.of(value)? {
            Fact::Is(terms) if !terms.contains(term) => Some(false),
            Fact::Is(terms) if terms.len() == 1 => Some(true),
            Fact::IsNot(terms) if terms.contains(term) => Some(false),
            _ => None,
        }
    }

    /// Whether a condition on the value holds, as Elixir sees it: all but `false` and `nil` do.
    fn holds(&self, value: &Value) -> Option<bool> {
        let falsy = |term: &Term| matches!(term.as_atom(), Some("false" | "nil"));
        match self.of(value)? {
            Fact::Is(terms) if terms.iter().all(falsy) => Some(false),
            Fact::Is(terms) if !terms.iter().any(falsy) => Some(true),
            Fact::IsNot(terms) if terms.iter().filter(|term| falsy(term)).count() >= 2 => Some(true),
            _ => None,
        }
    }

    /// What holds on both ways.
    pub fn both(&self, other: &Facts) -> Facts {
        let join = |(value, fact): &(Value, Fact)| {
            let fact = match (fact, other.of(value)?) {
                (Fact::Is(one), Fact::Is(two)) => Fact::Is(
                    one.iter().chain(two.iter().filter(|term| !one.contains(term))).cloned().collect(),
                ),
                (Fact::IsNot(one), Fact::IsNot(two)) => {
                    Fact::IsNot(one.iter().filter(|term| two.contains(term)).cloned().collect())
                }
                (Fact::Is(is), Fact::IsNot(not)) | (Fact::IsNot(not), Fact::Is(is)) => {
                    Fact::IsNot(not.iter().filter(|term| !is.contains(term)).cloned().collect())
                }
            };
            match &fact {
                Fact::IsNot(terms) if terms.is_empty() => None,
                _ => Some((value.clone(), fact)),
            }
        };
        Facts(self.0.iter().filter_map(join).collect())
    }
}

/// What a value is that is `one` on one way and `two` on another.
pub(super) fn join(one: &Value, two: &Value) -> Value {
    merge(one, two, &|_, _| None)
}

/// The same, where the ways differ in what they say of values: `a || b`, and a setting with a default.
pub(super) fn join_where(one: &Value, first: &Facts, two: &Value, second: &Facts) -> Value {
    merge(one, two, &|one, two| chosen(one, first, two, second).or_else(|| chosen(two, second, one, first)))
}

fn chosen(value: &Value, here: &Facts, default: &Value, there: &Facts) -> Option<Value> {
    if here.holds(value) == Some(true) && there.holds(value) == Some(false) && !default.has_unknown() {
        return Some(or(value.clone(), default.clone()));
    }
    // case application:get_env(A, K) of {ok, V} -> V; undefined -> Default end
    if let Some(("erlang", "element", [position, setting])) = value.as_call()
        && position.term() == Some(&Term::Integer(2))
        && let Some(("application", "get_env", [application, key])) = setting.as_call()
    {
        let tag = Value::call("erlang", "element", vec![Value::integer(1), setting.clone()]);
        let ok = Term::atom("ok");
        if here.equals(&tag, &ok) == Some(true)
            && (there.equals(&tag, &ok) == Some(false)
                || there.equals(setting, &Term::atom("undefined")) == Some(true))
            && !default.has_unknown()
        {
            let arguments = vec![application.clone(), key.clone(), default.clone()];
            return Some(Value::call("application", "get_env", arguments));
        }
    }
    None
}

/// `value || default`, in the words of a function that says the same.
fn or(value: Value, default: Value) -> Value {
    let identity =
        Term::ExternalFun { module: "Elixir.Function".to_owned(), function: "identity".to_owned(), arity: 1 };
    Value::call("Elixir.Enum", "find", vec![Value::list(vec![value]), default, Value::Term(identity)])
}

/// The two sides of [`or`].
pub(super) fn as_or(value: &Value) -> Option<(Value, &Value)> {
    let ("Elixir.Enum", "find", [list, default, Value::Term(Term::ExternalFun { module, function, .. })]) =
        value.as_call()?
    else {
        return None;
    };
    match list.elements()?.as_slice() {
        [value] if module == "Elixir.Function" && function == "identity" => Some((value.clone(), default)),
        _ => None,
    }
}

type Choice<'a> = &'a dyn Fn(&Value, &Value) -> Option<Value>;

fn merge(one: &Value, two: &Value, choose: Choice<'_>) -> Value {
    if one == two {
        return one.clone();
    }
    if let Some(chosen) = choose(one, two) {
        return chosen;
    }
    let all = |one: &[Value], two: &[Value]| {
        one.iter().zip(two).map(|(one, two)| merge(one, two, choose)).collect::<Vec<_>>()
    };
    if let (Some(one), Some(two)) = (one.as_tuple(), two.as_tuple()) {
        return if one.len() == two.len() { Value::tuple(all(&one, &two)) } else { Value::Unknown };
    }
    if let (Some(one), Some(two)) = (one.elements(), two.elements()) {
        return if one.len() == two.len() { Value::list(all(&one, &two)) } else { Value::Unknown };
    }
    if let (Some(one), Some(two)) = (one.as_map(), two.as_map()) {
        if !one.iter().map(|(key, _)| key).eq(two.iter().map(|(key, _)| key)) {
            return Value::Unknown;
        }
        let pairs = one.into_iter().zip(two);
        let pairs = pairs.map(|((key, one), (_, two))| (key, merge(&one, &two, choose)));
        return Value::map(pairs.collect()).unwrap_or(Value::Unknown);
    }
    if let (Some((module, function, one)), Some((other, name, two))) = (one.as_call(), two.as_call())
        && (module, function, one.len()) == (other, name, two.len())
    {
        return Value::call(module, function, all(one, two));
    }
    Value::Unknown
}
