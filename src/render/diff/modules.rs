//! Rows about modules, protocols and supervisors.

use relgraph_rules::beam_file::Function;
use relgraph_rules::beam_file::supervision::ChildChange;
use relgraph_rules::compare::{
    ApplicationModules, Change, Class, CodeChange, Comparison, How, ModuleChange, ProcessKind, StructChange,
};

use super::model::{Row, short};

/// How many functions of a module are named before the list is cut.
const FUNCTIONS: usize = 3;

/// How many modules came, went or run something else, and how many differ without that.
pub fn counted(comparison: &Comparison) -> (usize, usize) {
    let (mut code, mut quiet) = (0, 0);
    for of in &comparison.modules {
        let changed = of.changed.iter().filter(|module| module.how == How::Code).count();
        code += of.added.len() + of.removed.len() + changed;
        quiet += of.changed.len() - changed;
    }
    (code, quiet)
}

/// The modules of one application.
pub fn rows(of: &ApplicationModules) -> Vec<Row> {
    let mut rows: Vec<Row> = of.added.iter().map(|name| Row::new(Change::Added, short(name))).collect();
    rows.extend(of.removed.iter().map(|name| Row::new(Change::Removed, short(name))));
    let (code, quiet): (Vec<_>, Vec<_>) = of.changed.iter().partition(|module| module.how == How::Code);
    rows.extend(code.into_iter().chain(quiet).map(row));
    rows
}

fn row(module: &ModuleChange) -> Row {
    let mut row = Row::new(Change::Changed, short(&module.module)).classed(module.class, &module.reason);
    row.quiet = match module.how {
        How::Code => None,
        How::OnlyLines => Some("module with other lines only"),
        How::OnlyDebug => Some("module with other debug data only"),
    };
    match module.how {
        How::Code => {}
        How::OnlyLines => row.told.push("only lines".to_owned()),
        How::OnlyDebug => row.told.push("only debug data".to_owned()),
    }
    let mut list = |sign: &str, names: Vec<String>| {
        let hidden = names.len().saturating_sub(FUNCTIONS);
        let more = if hidden > 0 { format!(" and {hidden} more") } else { String::new() };
        if !names.is_empty() {
            let names: Vec<String> =
                names.iter().take(FUNCTIONS).map(|name| format!("{sign}{name}")).collect();
            row.told.push(format!("{}{more}", names.join(" ")));
        }
    };
    let named = |functions: &[Function]| functions.iter().map(ToString::to_string).collect::<Vec<_>>();
    let shorts = |names: &[String]| names.iter().map(|name| short(name).to_owned()).collect::<Vec<_>>();
    list("+", named(&module.exports_added));
    list("-", named(&module.exports_removed));
    list("+@", shorts(&module.behaviours_added));
    list("-@", shorts(&module.behaviours_removed));
    if module.old_vsn != module.new_vsn {
        // A string is one, in whichever language it was written.
        let plain = |text: &String| {
            let inner = text.strip_prefix("<<").and_then(|text| text.strip_suffix(">>"));
            inner.filter(|inner| inner.starts_with('"')).unwrap_or(text).to_owned()
        };
        let vsn = |vsn: &Option<String>| vsn.as_ref().map_or_else(|| "none".to_owned(), plain);
        row.told.push(format!("vsn {} -> {}", vsn(&module.old_vsn), vsn(&module.new_vsn)));
    }
    if module.old_code_change != module.new_code_change {
        let (old, new) = (code_change(module.old_code_change), code_change(module.new_code_change));
        row.told.push(format!("code_change {old} -> {new}"));
    }
    if let Some(structure) = &module.structure {
        row.told.push(fields(structure));
    }
    row.more.extend(module.process.map(|kind| ("process", process(kind).to_owned())));
    if module.protocol {
        row.more.push(("kind", "protocol".to_owned()));
    }
    row.functions = [
        ("functions added", &module.functions_added),
        ("functions removed", &module.functions_removed),
        ("functions changed", &module.functions_changed),
        ("macros added", &module.macros_added),
        ("macros removed", &module.macros_removed),
        ("macros changed", &module.macros_changed),
    ]
    .into_iter()
    .filter(|(_, functions)| !functions.is_empty())
    .map(|(what, functions)| (what, named(functions)))
    .collect();
    row
}

fn code_change(change: CodeChange) -> &'static str {
    match change {
        CodeChange::None => "none",
        CodeChange::Trivial => "trivial",
        CodeChange::Real => "real",
    }
}

fn process(kind: ProcessKind) -> &'static str {
    match kind {
        ProcessKind::GenServer => "gen_server",
        ProcessKind::GenStatem => "gen_statem",
        ProcessKind::GenEvent => "gen_event",
        ProcessKind::GenStage => "gen_stage",
        ProcessKind::Agent => "agent",
        ProcessKind::Supervisor => "supervisor",
        ProcessKind::Special => "special process",
    }
}

fn fields(change: &StructChange) -> String {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return if change.new.is_some() { "now a struct" } else { "no struct any more" }.to_owned();
    };
    let mut told = Vec::new();
    for field in new {
        match old.iter().find(|before| before.name == field.name) {
            None => told.push(format!("+{}", field.name)),
            Some(before) if before.default != field.default => {
                told.push(format!("{}: {} -> {}", field.name, before.default, field.default));
            }
            Some(_) => {}
        }
    }
    let gone = old.iter().filter(|field| new.iter().all(|other| other.name != field.name));
    told.extend(gone.map(|field| format!("-{}", field.name)));
    format!("struct {}", told.join(" "))
}

/// Modules that are in another application than before.
pub fn moved(comparison: &Comparison) -> Vec<Row> {
    let row = |moved: &relgraph_rules::compare::MovedModule| {
        let row = Row::new(Change::Changed, short(&moved.module)).classed(moved.class, &moved.reason);
        let row = row.told(format!("{} -> {}", moved.from, moved.to));
        if moved.changed { row.told("with other code") } else { row }
    };
    comparison.moved.iter().map(row).collect()
}

/// Protocols, with the implementations that differ.
pub fn protocols(comparison: &Comparison) -> Vec<Row> {
    let row = |protocol: &relgraph_rules::compare::ProtocolChange| {
        let change = protocol.change.unwrap_or(Change::Changed);
        let mut row = Row::new(change, short(&protocol.protocol)).classed(protocol.class, &protocol.reason);
        let of = |implementation: &relgraph_rules::compare::ImplementationChange| {
            format!("{}{}", sign(implementation.change), short(&implementation.target))
        };
        let all: Vec<String> = protocol.implementations.iter().map(of).collect();
        if !all.is_empty() {
            row.told.push(format!("for {}", all.join(" ")));
        } else if protocol.consolidated && protocol.change.is_none() {
            row.told.push("consolidated anew".to_owned());
        }
        row
    };
    comparison.protocols.iter().map(row).collect()
}

/// Children of supervisors.
pub fn supervision(comparison: &Comparison) -> Vec<Row> {
    let mut rows = Vec::new();
    for module in comparison.modules.iter().flat_map(|of| &of.changed) {
        for one in &module.supervision {
            let supervisor = one.name.as_deref().map_or(short(&module.module), short);
            let row = |change, id: &str| {
                Row::new(change, format!("{supervisor}: {}", short(id))).classed(module.class, &module.reason)
            };
            for (flag, old, new) in &one.flags {
                rows.push(row(Change::Changed, flag).told(format!("{old} -> {new}")));
            }
            let id = |child: &ChildChange| {
                let named = child.id.clone().or_else(|| child.new.clone()).or_else(|| child.old.clone());
                named.unwrap_or_else(|| "a child".to_owned())
            };
            let of = |change: Change, child: &ChildChange| {
                let mut row = row(change, &id(child));
                row.more.extend(child.old.clone().map(|old| ("old", old)));
                row.more.extend(child.new.clone().map(|new| ("new", new)));
                row
            };
            rows.extend(one.added.iter().map(|child| of(Change::Added, child)));
            rows.extend(one.removed.iter().map(|child| of(Change::Removed, child)));
            let differ = |list: &[ChildChange], told: &str| -> Vec<Row> {
                list.iter().map(|child| of(Change::Changed, child).told(told)).collect()
            };
            rows.extend(differ(&one.changed, "is started differently"));
            rows.extend(differ(&one.uncertain, "may be started differently"));
            if one.reordered {
                rows.push(row(Change::Changed, "children").told("start in another order"));
            }
            if one.unreadable {
                rows.push(row(Change::Changed, "children").told("do not follow from the code alone"));
            }
        }
    }
    // What it takes is said at the module.
    rows.iter_mut().for_each(|row| row.class = Class::Hot);
    rows
}

/// What stands before something that came, went or differs.
pub fn sign(change: Change) -> &'static str {
    match change {
        Change::Added => "+",
        Change::Removed => "-",
        Change::Changed => "~",
    }
}
