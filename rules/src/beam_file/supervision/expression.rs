//! Values as terms that a running node can compute them from.
//!
//! `{term, T}`, `{tuple, [Expr]}`, `{list, [Expr]}`, `{map, [{Expr, Expr}]}`, `{call, Module, Function, [Expr]}` and
//! `{function, Module, Function, Arity}`.

use crate::etf::Term;

use super::Child;
use super::fold;
use super::value::Value;

fn tagged(tag: &str, mut parts: Vec<Term>) -> Term {
    parts.insert(0, Term::atom(tag));
    Term::Tuple(parts)
}

impl Value {
    /// The expression that gives this value in a running node; `None` when something in it is not known, or could not be
    /// had once more: a local function, the process that it was computed in, a process that it started.
    pub fn expression(&self) -> Option<Term> {
        let all = |values: &[Value]| {
            values.iter().map(Value::expression).collect::<Option<Vec<Term>>>().map(Term::list)
        };
        Some(match self {
            Value::Term(Term::Opaque(_)) => return None,
            Value::Term(Term::ExternalFun { module, function, arity }) => tagged(
                "function",
                vec![Term::atom(module), Term::atom(function), Term::Integer((*arity).into())],
            ),
            Value::Term(term) => tagged("term", vec![term.clone()]),
            Value::Call { module, function, arguments } => {
                if !fold::repeatable(module, function) {
                    return None;
                }
                tagged("call", vec![Term::atom(module), Term::atom(function), all(arguments)?])
            }
            Value::Tuple(elements) => tagged("tuple", vec![all(elements)?]),
            Value::List(elements) => tagged("list", vec![all(elements)?]),
            Value::Cons(elements, tail) => {
                let parts = vec![tagged("list", vec![all(elements)?]), tail.expression()?];
                tagged("call", vec![Term::atom("erlang"), Term::atom("++"), Term::list(parts)])
            }
            Value::Map(pairs) => {
                let pair = |(key, value): &(Value, Value)| {
                    Some(Term::Tuple(vec![key.expression()?, value.expression()?]))
                };
                tagged("map", vec![Term::list(pairs.iter().map(pair).collect::<Option<_>>()?)])
            }
            Value::Fun(_) | Value::Argument(_) | Value::Unknown => return None,
        })
    }
}

impl Child {
    /// The expression that gives the child specification in a running node, as `supervisor:start_child/2` takes it: what
    /// Elixir says in short is made into it there, by the `child_spec/1` that the node has.
    pub fn expression(&self) -> Option<Term> {
        let empty = || Value::list(Vec::new());
        let call = |module: &str, argument: Value| Value::call(module, "child_spec", vec![argument]);
        let made = match self.spec.as_tuple().as_deref() {
            Some([Value::Term(Term::Atom(module)), argument]) => call(module, argument.clone()),
            Some(_) => self.spec.clone(),
            None => match &self.spec {
                Value::Term(Term::Atom(module)) => call(module, empty()),
                Value::Call { module, .. } if !self.made && module.starts_with("Elixir.") => {
                    Value::call("Elixir.Supervisor", "child_spec", vec![self.spec.clone(), empty()])
                }
                spec => spec.clone(),
            },
        };
        made.expression()
    }
}
