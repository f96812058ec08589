//! What is known of a value without running anything.

use relgraph_cache::Digest;

use crate::etf::Term;

/// What is known of a value without running anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// This term. A tuple, list or map of nothing but terms is always this.
    Term(Term),
    /// What a function of another module, or an exported one of the same, gives when it is called.
    Call {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// What it is called with.
        arguments: Vec<Value>,
    },
    /// A tuple.
    Tuple(Vec<Value>),
    /// A proper list.
    List(Vec<Value>),
    /// One or more elements in front of a tail of which it is not known that it is a list.
    Cons(Vec<Value>, Box<Value>),
    /// A map; the keys are different terms.
    Map(Vec<(Value, Value)>),
    /// An anonymous function, or one that is not exported.
    Fun(Box<Fun>),
    /// An argument of the function that is read, counted from 0.
    Argument(u32),
    /// Not known: it depends on what happens at run time, or on code that cannot be followed.
    Unknown,
}

/// A function of a module that only that module can make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fun {
    /// The module.
    pub module: String,
    /// The function that has its code.
    pub function: String,
    /// How many arguments it is called with.
    pub arity: u32,
    /// What it took along.
    pub captured: Vec<Value>,
    /// The digest of its instructions: its name changes with the other functions around it.
    pub code: Digest,
}

/// No value that matters has more parts than this, or lies deeper.
const LARGEST: usize = 8_000;
const DEEPEST: usize = 64;

impl Value {
    /// An atom.
    pub fn atom(name: &str) -> Value {
        Value::Term(Term::atom(name))
    }

    /// An integer.
    pub fn integer(value: i64) -> Value {
        Value::Term(Term::Integer(value))
    }

    /// A tuple.
    pub fn tuple(elements: Vec<Value>) -> Value {
        match terms(&elements) {
            Some(terms) => Value::Term(Term::Tuple(terms)),
            None => Value::Tuple(elements),
        }
    }

    /// A proper list.
    pub fn list(elements: Vec<Value>) -> Value {
        match terms(&elements) {
            Some(terms) => Value::Term(Term::list(terms)),
            None => Value::List(elements),
        }
    }

    /// A list of `elements` in front of `tail`.
    pub fn with_tail(mut elements: Vec<Value>, tail: Value) -> Value {
        if elements.is_empty() {
            return tail;
        }
        if let Some(more) = tail.elements() {
            elements.extend(more);
            return Value::list(elements);
        }
        match (tail, terms(&elements)) {
            (Value::Term(tail), Some(terms)) => Value::Term(Term::list_with_tail(terms, tail)),
            (Value::Cons(more, tail), _) => {
                elements.extend(more);
                Value::Cons(elements, tail)
            }
            (tail, _) => Value::Cons(elements, Box::new(tail)),
        }
    }

    /// A map; `None` when it is not sure that its keys are different.
    pub fn map(pairs: Vec<(Value, Value)>) -> Option<Value> {
        let mut sorted = std::collections::BTreeMap::new();
        for (key, value) in pairs {
            sorted.insert(key.term()?.clone(), value);
        }
        if sorted.values().all(|value| value.term().is_some()) {
            let pair = |(key, value): (Term, Value)| Some((key, value.term()?.clone()));
            let pairs = sorted.into_iter().filter_map(pair).collect();
            return Some(Value::Term(Term::map(pairs).0));
        }
        Some(Value::Map(sorted.into_iter().map(|(key, value)| (Value::Term(key), value)).collect()))
    }

    /// A call.
    pub fn call(module: &str, function: &str, arguments: Vec<Value>) -> Value {
        Value::Call { module: module.to_owned(), function: function.to_owned(), arguments }
    }

    /// The term, when it is one.
    pub fn term(&self) -> Option<&Term> {
        match self {
            Value::Term(term) => Some(term),
            _ => None,
        }
    }

    /// The name, when this is an atom.
    pub fn as_atom(&self) -> Option<&str> {
        self.term().and_then(Term::as_atom)
    }

    /// The elements, when this is a proper list.
    pub fn elements(&self) -> Option<Vec<Value>> {
        match self {
            Value::Term(term) => Some(term.elements()?.into_iter().map(Value::Term).collect()),
            Value::List(elements) => Some(elements.clone()),
            _ => None,
        }
    }

    /// The elements, when this is a tuple.
    pub fn as_tuple(&self) -> Option<Vec<Value>> {
        match self {
            Value::Term(Term::Tuple(elements)) => Some(elements.iter().cloned().map(Value::Term).collect()),
            Value::Tuple(elements) => Some(elements.clone()),
            _ => None,
        }
    }

    /// The pairs, when this is a map.
    pub fn as_map(&self) -> Option<Vec<(Value, Value)>> {
        match self {
            Value::Term(Term::Map(pairs)) => {
                let pair =
                    |(key, value): &(Term, Term)| (Value::Term(key.clone()), Value::Term(value.clone()));
                Some(pairs.iter().map(pair).collect())
            }
            Value::Map(pairs) => Some(pairs.clone()),
            _ => None,
        }
    }

    /// The module, function and arguments, when this is a call.
    pub fn as_call(&self) -> Option<(&str, &str, &[Value])> {
        match self {
            Value::Call { module, function, arguments } => Some((module, function, arguments)),
            _ => None,
        }
    }

    /// The value of the key `key`, an atom, in a map.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.as_map()?.into_iter().find(|(name, _)| name.as_atom() == Some(key)).map(|(_, value)| value)
    }

    /// The value of `key` in a property list of pairs. `Err` where the list is not known well enough to tell.
    pub(super) fn property(&self, key: &str) -> Result<Option<Value>, ()> {
        for element in self.elements().ok_or(())? {
            match element.as_tuple().as_deref() {
                Some([name, value]) => match name.term() {
                    Some(name) if name.as_atom() == Some(key) => return Ok(Some(value.clone())),
                    Some(_) => {}
                    None => return Err(()),
                },
                Some(_) => {}
                None if element.term().is_some() => {}
                None => return Err(()),
            }
        }
        Ok(None)
    }

    /// Whether something in it is not known.
    pub fn has_unknown(&self) -> bool {
        match self {
            Value::Unknown => true,
            Value::Term(_) | Value::Argument(_) => false,
            Value::Call { arguments: parts, .. } | Value::Tuple(parts) | Value::List(parts) => {
                parts.iter().any(Value::has_unknown)
            }
            Value::Fun(fun) => fun.captured.iter().any(Value::has_unknown),
            Value::Cons(parts, tail) => parts.iter().any(Value::has_unknown) || tail.has_unknown(),
            Value::Map(pairs) => pairs.iter().any(|(_, value)| value.has_unknown()),
        }
    }

    /// How many parts it has; `None` for more than any that matters.
    pub(super) fn weight(&self) -> Option<usize> {
        let mut left = LARGEST;
        weigh(self, DEEPEST, &mut left)?;
        Some(LARGEST - left)
    }
}

/// The terms, when all are.
fn terms(values: &[Value]) -> Option<Vec<Term>> {
    values.iter().map(|value| value.term().cloned()).collect()
}

fn weigh(value: &Value, depth: usize, left: &mut usize) -> Option<()> {
    *left = left.checked_sub(1)?;
    let depth = depth.checked_sub(1)?;
    let mut all = |parts: &[Value]| parts.iter().try_for_each(|part| weigh(part, depth, left));
    match value {
        Value::Term(term) => weigh_term(term, depth, left),
        Value::Call { arguments: parts, .. } | Value::Tuple(parts) | Value::List(parts) => all(parts),
        Value::Fun(fun) => all(&fun.captured),
        Value::Cons(parts, tail) => {
            all(parts)?;
            weigh(tail, depth, left)
        }
        Value::Map(pairs) => pairs.iter().try_for_each(|(key, value)| {
            weigh(key, depth, left)?;
            weigh(value, depth, left)
        }),
        Value::Argument(_) | Value::Unknown => Some(()),
    }
}

fn weigh_term(term: &Term, depth: usize, left: &mut usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let size = match term {
        Term::Binary(bytes) | Term::String(bytes) | Term::Opaque(bytes) | Term::Bits { bytes, .. } => {
            1 + bytes.len() / 32
        }
        Term::BigInteger(value) => 1 + value.magnitude().len() / 32,
        _ => 1,
    };
    *left = left.checked_sub(size)?;
    match term {
        Term::Tuple(terms) | Term::List(terms) => {
            terms.iter().try_for_each(|term| weigh_term(term, depth, left))
        }
        Term::ImproperList(terms, tail) => {
            terms.iter().try_for_each(|term| weigh_term(term, depth, left))?;
            weigh_term(tail, depth, left)
        }
        Term::Map(pairs) => pairs.iter().try_for_each(|(key, value)| {
            weigh_term(key, depth, left)?;
            weigh_term(value, depth, left)
        }),
        _ => Some(()),
    }
}
