//! From the list of children to what the supervisor makes of it.

use crate::etf::Term;

use super::Child;
use super::machine::Machine;
use super::value::Value;

/// Calls in calls: `child_spec/1` that calls another one.
const DEEPEST: usize = 8;

/// The children of a list; `None` when it is not known which they are.
pub(super) fn read(machine: &mut Machine<'_>, list: &Value) -> Option<Vec<Child>> {
    let elements = elements(machine, list, DEEPEST)?;
    if elements.contains(&Value::Unknown) {
        return None;
    }
    let child = |spec: Value| {
        let resolved = resolve(machine, &spec, DEEPEST);
        let id = resolved.as_ref().and_then(id).and_then(|id| id.term().cloned());
        let made = made(machine, &spec);
        Child { id, spec, resolved, made }
    };
    Some(elements.into_iter().map(child).collect())
}

/// Whether a call gives what a supervisor takes, and not what Elixir says in short.
fn made(machine: &mut Machine<'_>, spec: &Value) -> bool {
    match spec.as_call() {
        Some(("Elixir.Supervisor", "child_spec", _) | ("Elixir.Supervisor.Spec", ..)) => true,
        Some((module, function, arguments)) => {
            let given = machine.ask(module, function, arguments.to_vec());
            given.is_some_and(|given| start_of(&given).is_some())
        }
        None => false,
    }
}

fn elements(machine: &mut Machine<'_>, list: &Value, depth: usize) -> Option<Vec<Value>> {
    let depth = depth.checked_sub(1)?;
    match list {
        Value::Cons(first, tail) => {
            let mut all = first.clone();
            all.extend(elements(machine, tail, depth)?);
            Some(all)
        }
        Value::Call { module, function, arguments } => {
            let list = match (module.as_str(), function.as_str(), &arguments[..]) {
                ("erlang", "++", [one, two]) => {
                    let mut all = elements(machine, one, depth)?;
                    all.extend(elements(machine, two, depth)?);
                    return Some(all);
                }
                _ => machine.ask(module, function, arguments.clone())?,
            };
            // A function that only leads back to itself.
            if matches!(list, Value::Call { .. }) { None } else { elements(machine, &list, depth) }
        }
        list => list.elements(),
    }
}

/// The map or tuple that a supervisor is given in the end.
fn resolve(machine: &mut Machine<'_>, spec: &Value, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    if let Some(module) = spec.as_atom() {
        let spec = machine.ask(module, "child_spec", vec![Value::list(Vec::new())])?;
        return resolve(machine, &spec, depth);
    }
    if spec.as_map().is_some() {
        return Some(spec.clone());
    }
    if let Some(elements) = spec.as_tuple() {
        return match &elements[..] {
            [Value::Term(Term::Atom(module)), argument] => {
                let spec = machine.ask(module, "child_spec", vec![argument.clone()])?;
                resolve(machine, &spec, depth)
            }
            [_, _, _, _, _, _] => Some(spec.clone()),
            _ => None,
        };
    }
    let (module, function, arguments) = spec.as_call()?;
    match (module, function, arguments) {
        ("Elixir.Supervisor", "child_spec", [inner, overrides]) => {
            let mut map = resolve(machine, inner, depth)?.as_map()?;
            for pair in overrides.elements()? {
                let pair = <[Value; 2]>::try_from(pair.as_tuple()?).ok()?;
                let [key, value] = pair;
                key.term()?;
                map.retain(|(known, _)| *known != key);
                map.push((key, value));
            }
            Value::map(map)
        }
        ("Elixir.Supervisor.Spec", "worker" | "supervisor", [module, arguments, options @ ..]) => {
            old_style(function == "worker", module, arguments, options.first())
        }
        _ => {
            let spec = machine.ask(module, function, arguments.to_vec())?;
            let call = spec.as_call().map(|(module, function, _)| (module.to_owned(), function.to_owned()));
            if call == Some((module.to_owned(), function.to_owned())) {
                return None;
            }
            resolve(machine, &spec, depth)
        }
    }
}

/// `worker(Module, arguments, options)` and `supervisor(…)` of Elixir before 1.5.
fn old_style(worker: bool, module: &Value, arguments: &Value, options: Option<&Value>) -> Option<Value> {
    let option = |key: &str, default: Value| match options {
        Some(options) => Some(options.property(key).ok()?.unwrap_or(default)),
        None => Some(default),
    };
    let shutdown = if worker { Value::integer(5000) } else { Value::atom("infinity") };
    let function = option("function", Value::atom("start_link"))?;
    Some(Value::tuple(vec![
        option("id", module.clone())?,
        Value::tuple(vec![module.clone(), function, arguments.clone()]),
        option("restart", Value::atom("permanent"))?,
        option("shutdown", shutdown)?,
        Value::atom(if worker { "worker" } else { "supervisor" }),
        option("modules", Value::list(vec![module.clone()]))?,
    ]))
}

fn id(spec: &Value) -> Option<Value> {
    match spec.as_tuple() {
        Some(elements) => elements.into_iter().next(),
        None => spec.get("id"),
    }
}

/// The function that starts a child, and its list of arguments.
pub(super) fn start_of(spec: &Value) -> Option<(String, String, Value)> {
    let start = match spec.as_tuple() {
        Some(elements) => elements.get(1)?.clone(),
        None => spec.get("start")?,
    };
    match <[Value; 3]>::try_from(start.as_tuple()?).ok()? {
        [Value::Term(Term::Atom(module)), Value::Term(Term::Atom(function)), arguments] => {
            Some((module, function, arguments))
        }
        _ => None,
    }
}

impl Child {
    /// The function that starts it (module, name) and its list of arguments.
    pub fn start(&self) -> Option<(String, String, Value)> {
        start_of(self.resolved.as_ref()?)
    }

    /// A value of its map or tuple: `restart`, `shutdown`, `type` or `modules`; `None` where the map leaves it to be what it
    /// is by default.
    pub fn part(&self, key: &str) -> Option<Value> {
        let spec = self.resolved.as_ref()?;
        let Some(elements) = spec.as_tuple() else { return spec.get(key) };
        let position = ["id", "start", "restart", "shutdown", "type", "modules"];
        elements.get(position.iter().position(|known| *known == key)?).cloned()
    }
}
