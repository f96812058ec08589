//! Calls: of functions of the module, of other modules, and of values that are functions.

use std::rc::Rc;

use crate::etf::Term;

use super::super::operand::Operand;
use super::facts::join;
use super::fold;
use super::machine::{Exhausted, Frame, Machine, Site, Start, joined};
use super::program::{Program, STARTS};
use super::value::{Fun, Value};

/// Modules whose functions only compute.
const PURE: [&str; 8] = [
    "Elixir.Access",
    "Elixir.Enum",
    "Elixir.Keyword",
    "Elixir.List",
    "Elixir.Map",
    "lists",
    "maps",
    "proplists",
];

impl Machine<'_> {
    /// A call of a function of the same module; `None`: it does not return.
    pub fn local(
        &mut self,
        program: &Rc<Program>,
        function: usize,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, Exhausted> {
        let code = &program.functions[function];
        let value = self.bounded(program, function, arguments.clone())?;
        // What cannot be read can still be asked for, if it is there for others.
        Ok(value.map(|value| {
            match value.has_unknown() && program.exported(&code.name, code.arity).is_some() {
                true => Value::call(&program.name, &code.name, arguments),
                false => value,
            }
        }))
    }

    /// Follows a call. Of the work that is left, those from the function that is read get a part only, so that one that is
    /// of no interest does not use up all of it.
    fn bounded(
        &mut self,
        program: &Rc<Program>,
        function: usize,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, Exhausted> {
        let depth = self.stack.len();
        if depth != 1 {
            return Ok(joined(self.follow(program, function, arguments)?));
        }
        let kept = self.left / 2;
        self.left -= kept;
        let values = self.follow(program, function, arguments);
        self.left += kept;
        match values {
            Ok(values) => Ok(joined(values)),
            Err(Exhausted) => {
                self.stack.truncate(depth);
                self.incomplete |= program.functions[function].starts;
                Ok(Some(Value::Unknown))
            }
        }
    }

    /// A call of a function by its module; `None`: it does not return.
    pub fn external(
        &mut self,
        frame: &Frame,
        at: usize,
        (module, function): (&str, &str),
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, Exhausted> {
        let arity = arguments.len() as u32;
        if frame.program.name == self.watched && STARTS.contains(&(module, function, arity)) {
            self.started((frame.function, at), module, &arguments);
        }
        if fold::raises(module, function) {
            return Ok(None);
        }
        if let Some(value) = fold::fold(module, function, &arguments) {
            return self.kept(value).map(Some);
        }
        if module == frame.program.name {
            return match frame.program.exported(function, arity) {
                Some(index) => self.local(&frame.program.clone(), index, arguments),
                None => Ok(None),
            };
        }
        if PURE.contains(&module)
            && let Some(program) = self.program(module)
            && let Some(index) = program.exported(function, arity)
            && let Some(value) = self.bounded(&program, index, arguments.clone())?
            && !value.has_unknown()
            // Its own words for the same are no better.
            && value.as_call().is_none_or(|(other, ..)| other != module)
        {
            return Ok(Some(value));
        }
        self.kept(Value::call(module, function, arguments)).map(Some)
    }

    /// A call of a value that is a function.
    pub fn apply(
        &mut self,
        frame: &Frame,
        at: usize,
        called: &Value,
        mut arguments: Vec<Value>,
    ) -> Result<Option<Value>, Exhausted> {
        match called {
            Value::Fun(fun) if fun.arity as usize == arguments.len() => {
                arguments.extend(fun.captured.iter().cloned());
                let Some(program) = self.program(&fun.module) else { return Ok(Some(Value::Unknown)) };
                match program.find(&fun.function, arguments.len() as u32) {
                    Some(index) => self.bounded(&program, index, arguments),
                    None => Ok(Some(Value::Unknown)),
                }
            }
            Value::Term(Term::ExternalFun { module, function, arity })
                if usize::from(*arity) == arguments.len() =>
            {
                self.external(frame, at, (module, function), arguments)
            }
            _ => Ok(Some(Value::Unknown)),
        }
    }

    fn started(&mut self, site: Site, module: &str, arguments: &[Value]) {
        let start = Start { module: module.to_owned(), arguments: arguments.to_vec() };
        let known = self.starts.entry(site).or_insert_with(|| start.clone());
        for (known, argument) in known.arguments.iter_mut().zip(arguments) {
            *known = join(known, argument);
        }
    }

    /// The function that an instruction makes of one in the module and of what it takes along.
    pub fn fun(
        &mut self,
        program: &Program,
        operand: &Operand,
        captured: Vec<Value>,
    ) -> Result<Value, Exhausted> {
        let Some((function, free)) = program.fun(Some(operand)) else { return Ok(Value::Unknown) };
        let code = &program.functions[function];
        self.spend(code.instructions.len())?;
        self.kept(Value::Fun(Box::new(Fun {
            module: program.name.clone(),
            function: code.name.clone(),
            arity: code.arity - free,
            captured,
            code: code.digest(),
        })))
    }
}
