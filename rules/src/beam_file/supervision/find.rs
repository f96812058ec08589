//! Finding the supervisors of a module: the calls that start them, and `init/1`.

use std::rc::Rc;

use crate::etf::Term;

use super::super::{BeamError, Function, ModuleInfo};
use super::children;
use super::facts::join;
use super::machine::{Machine, Start};
use super::program::{Program, STARTS};
use super::value::Value;
use super::{Flags, Modules, Source, Supervision};

const STRATEGIES: [&str; 4] = ["one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one"];

pub(super) fn supervisions(bytes: &[u8], modules: Modules<'_>) -> Result<Vec<Supervision>, BeamError> {
    if !may_have_some(&super::super::info(bytes)?) {
        return Ok(Vec::new());
    }
    let program = Rc::new(Program::read(bytes)?);
    let mut found = Vec::new();
    let mut own = Vec::new();
    let mut seen = Vec::new();
    for function in entries(&program) {
        let code = &program.functions[function];
        let mut machine = Machine::new(program.clone(), modules);
        machine.read(&program, function, unknown(code.arity));
        let incomplete = machine.incomplete;
        for (site, start) in std::mem::take(&mut machine.starts) {
            match starting(&start) {
                Some(Starting::Module { module, argument, name }) if module == program.name => {
                    own.push((argument, name));
                }
                Some(Starting::Children(said, name)) if !seen.contains(&site) => {
                    seen.push(site);
                    let (children, flags) = *said;
                    let children = if incomplete { Value::Unknown } else { children };
                    let source = Source::Inline { function: format!("{}/{}", code.name, code.arity) };
                    let children = children::read(&mut machine, &children);
                    found.push(Supervision { source, name, flags, children });
                }
                _ => {}
            }
        }
    }
    found.extend(inits(&program, modules, own));
    Ok(found)
}

/// Whether a module is worth being taken apart: its tables tell at once that most are not.
fn may_have_some(info: &ModuleInfo) -> bool {
    // The functions that everybody else calls, and which have no children of their own.
    if matches!(info.name.as_str(), "supervisor" | "Elixir.Supervisor") {
        return false;
    }
    let exports = |name: &str, arity: u32| {
        info.exports.iter().any(|function| function.name == name && function.arity == arity)
    };
    let says = |name: &str| info.behaviours.contains(name);
    let another = || exports("handle_call", 3) || exports("handle_event", 2) || exports("callback_mode", 0);
    let init = exports("init", 1)
        && (says("supervisor") || says("Elixir.Supervisor") || info.behaviours.is_empty() && !another());
    let starts = |(module, function): &(String, Function)| {
        STARTS.contains(&(module.as_str(), function.name.as_str(), function.arity))
    };
    init || info.imports.iter().any(starts)
}

/// The functions to follow, those first of which more is known: `start/2` is where an application begins.
fn entries(program: &Program) -> Vec<usize> {
    let rank = |index: usize| {
        let code = &program.functions[index];
        let exported = program.exported(&code.name, code.arity).is_some();
        let itself = || {
            let names =
                code.instructions.iter().flat_map(|one| one.operands.get(..2).unwrap_or(&one.operands));
            names
                .filter_map(|operand| program.import(Some(operand)))
                .any(|(module, function, arity)| STARTS.contains(&(module, function, *arity)))
        };
        match (exported, code.name.as_str(), code.arity) {
            (true, "start", 2) => Some(0),
            (true, ..) if itself() => Some(1),
            (true, ..) => Some(2),
            // One that is only handed to other functions is never come to from the exported ones.
            (false, ..) if itself() => Some(3),
            (false, ..) => None,
        }
    };
    let marked = (0..program.functions.len()).filter(|index| program.functions[*index].starts);
    let mut entries: Vec<(u8, usize)> = marked.filter_map(|index| Some((rank(index)?, index))).collect();
    entries.sort_unstable();
    entries.into_iter().map(|(_, index)| index).collect()
}

fn unknown(arity: u32) -> Vec<Value> {
    (0..arity.min(255)).map(Value::Argument).collect()
}

enum Starting {
    Module { module: String, argument: Value, name: Option<Value> },
    Children(Box<(Value, Flags)>, Option<Value>),
}

/// What a call starts.
fn starting(start: &Start) -> Option<Starting> {
    let elixir = start.module == "Elixir.Supervisor";
    let (module, argument, name) = match &start.arguments[..] {
        [children, options] if elixir && children.as_atom().is_none() => {
            let name = options.property("name").ok().flatten();
            return Some(Starting::Children(Box::new((children.clone(), elixir_flags(options))), name));
        }
        [module, argument] => (module, argument, None),
        [module, argument, options] if elixir => (module, argument, options.property("name").ok().flatten()),
        [name, module, argument] => (module, argument, registered(name)),
        _ => return None,
    };
    // How Elixir starts a supervisor that is nothing but a list.
    if module.as_atom() == Some("Elixir.Supervisor.Default")
        && let Some([_, inner]) = argument.as_tuple().as_deref()
        && let Some([flags, children]) = inner.as_tuple().as_deref()
    {
        return Some(Starting::Children(Box::new((children.clone(), erlang_flags(flags))), name));
    }
    Some(Starting::Module { module: module.as_atom()?.to_owned(), argument: argument.clone(), name })
}

fn registered(name: &Value) -> Option<Value> {
    match name.as_tuple().as_deref() {
        Some([how, name]) if how.as_atom() == Some("local") => Some(name.clone()),
        _ => Some(name.clone()).filter(|name| *name != Value::Unknown),
    }
}

fn elixir_flags(options: &Value) -> Flags {
    let part = |key: &str, default: Option<Value>| match options.property(key) {
        Ok(Some(value)) => Some(value),
        Ok(None) => default,
        Err(()) => None,
    };
    Flags {
        strategy: part("strategy", None),
        intensity: part("max_restarts", Some(Value::integer(3))),
        period: part("max_seconds", Some(Value::integer(5))),
    }
}

fn erlang_flags(flags: &Value) -> Flags {
    if let Some([strategy, intensity, period]) = flags.as_tuple().as_deref() {
        let some = |value: &Value| Some(value.clone());
        return Flags { strategy: some(strategy), intensity: some(intensity), period: some(period) };
    }
    if flags.as_map().is_none() {
        return Flags::default();
    }
    let part = |key: &str, default: Value| Some(flags.get(key).unwrap_or(default));
    Flags {
        strategy: part("strategy", Value::atom("one_for_one")),
        intensity: part("intensity", Value::integer(1)),
        period: part("period", Value::integer(5)),
    }
}

/// What `init/1` says, for each argument that it is known to be called with.
fn inits(
    program: &Rc<Program>,
    modules: Modules<'_>,
    mut own: Vec<(Value, Option<Value>)>,
) -> Vec<Supervision> {
    let Some(init) = program.exported("init", 1) else { return Vec::new() };
    let says = |name: &str| program.behaviours.contains(name);
    let sure = says("supervisor") || says("Elixir.Supervisor") || !own.is_empty();
    // Stripping takes the names of behaviours away.
    if !sure && !program.behaviours.is_empty() {
        return Vec::new();
    }
    for (argument, name) in &mut own {
        *argument = within(argument, Value::Argument(0));
        // What the function was called with that starts the supervisor says nothing here.
        *name = name.take().filter(|name| name.term().is_some());
    }
    if own.is_empty() {
        own.push((Value::Argument(0), None));
    }
    let mut found: Vec<Supervision> = Vec::new();
    while let Some((argument, name)) = own.pop() {
        let source = Source::Init { argument: argument.clone() };
        if let Some(known) = found.iter_mut().find(|known| known.source == source) {
            known.name = known.name.take().or(name);
            continue;
        }
        let mut machine = Machine::new(program.clone(), modules);
        let values = machine.read(program, init, vec![argument]);
        let said = values.into_iter().filter(|value| !declines(value)).reduce(|one, two| join(&one, &two));
        let Some(said) = said.or(machine.incomplete.then_some(Value::Unknown)) else { continue };
        let Some((children, flags)) = outcome(&said) else {
            if sure {
                found.push(Supervision { source, name, flags: Flags::default(), children: None });
            }
            continue;
        };
        if !sure
            && !flags
                .strategy
                .as_ref()
                .and_then(Value::as_atom)
                .is_some_and(|name| STRATEGIES.contains(&name))
        {
            continue;
        }
        let children = children::read(&mut machine, &children);
        for child in children.iter().flatten() {
            own.extend(nested(&program.name, &child.spec));
        }
        found.push(Supervision { source, name, flags, children });
    }
    found.sort_by(|one, two| one.source.cmp(&two.source));
    found
}

/// Where a child of the supervisor is another supervisor with the same callback module: what that one is started with.
fn nested(module: &str, spec: &Value) -> Option<(Value, Option<Value>)> {
    let start = children::start_of(spec)?;
    if (start.0.as_str(), start.1.as_str()) != ("supervisor", "start_link") {
        return None;
    }
    let start = Start { module: start.0, arguments: start.2.elements()? };
    match starting(&start)? {
        Starting::Module { module: other, argument, name } if other == module => {
            Some((within(&argument, Value::Argument(0)), name))
        }
        _ => None,
    }
}

/// The value as far as it is constant; for the rest, how it is taken from `place`.
fn within(value: &Value, place: Value) -> Value {
    if value.term().is_some() {
        return value.clone();
    }
    match value.as_tuple() {
        Some(elements) if elements.iter().any(|element| element.term().is_some()) => {
            let part = |(index, element): (usize, &Value)| {
                let position = Value::integer(index as i64 + 1);
                within(element, Value::call("erlang", "element", vec![position, place.clone()]))
            };
            Value::tuple(elements.iter().enumerate().map(part).collect())
        }
        _ => place,
    }
}

/// Whether `init/1` does not want to run, or fails.
fn declines(value: &Value) -> bool {
    let tag = value.as_tuple().and_then(|elements| elements.first().cloned());
    value.as_atom().is_some()
        || tag.as_ref().and_then(Value::as_atom).is_some_and(|tag| matches!(tag, "error" | "stop"))
}

/// The children and the flags in what `init/1` returns.
fn outcome(value: &Value) -> Option<(Value, Flags)> {
    if let Some((module, function, [children, options])) = value.as_call()
        && matches!(
            (module, function),
            ("Elixir.Supervisor", "init") | ("Elixir.Supervisor.Spec", "supervise")
        )
    {
        return Some((children.clone(), elixir_flags(options)));
    }
    let outer = value.as_tuple()?;
    let [tag, inner] = &outer[..] else { return None };
    let inner = inner.as_tuple()?;
    let [flags, children] = &inner[..] else { return None };
    (tag.term() == Some(&Term::atom("ok"))).then(|| (children.clone(), erlang_flags(flags)))
}
