//! The graph of steps: built once, checked for cycles and unknown names, then read by dense ids.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::action::Action;

/// The code that made a step: a new version of it makes new keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What kind of step it makes: `compile`, `fetch`, ….
    pub name: &'static str,
    /// Raised when the same parts would give other bytes.
    pub version: u32,
}

/// A node of the graph, as the user sees it.
#[derive(Clone)]
pub struct Step {
    /// Unique in the graph: `compile phoenix`.
    pub name: String,
    /// The steps whose results this one reads.
    pub needs: Vec<String>,
    /// The rule that made it.
    pub rule: Rule,
    /// What it does.
    pub action: Arc<dyn Action>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// Why steps do not make a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Steps that need each other.
    #[error("steps need each other: {}", path.join(" -> "))]
    Cycle {
        /// The closed path: a, b, c, a; each needs the next.
        path: Vec<String>,
    },
    /// A step needs one that does not exist.
    #[error("step `{needed_by}` needs `{name}`, which does not exist{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownStep {
        /// The name that no step has.
        name: String,
        /// Who asked for it; the request itself when it is a target.
        needed_by: String,
        /// The name that is spelled most like it.
        nearest: Option<String>,
    },
    /// Two steps have one name.
    #[error("two steps are called `{name}`")]
    Duplicate {
        /// Their name.
        name: String,
    },
}

/// Collects steps.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    steps: Vec<Step>,
}

impl GraphBuilder {
    /// No steps yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step; the steps it needs may come later.
    pub fn add(&mut self, step: Step) -> &mut Self {
        self.steps.push(step);
        self
    }

    /// Checks the steps and fixes their order.
    pub fn build(self) -> Result<Graph, GraphError> {
        Graph::new(self.steps)
    }
}

/// Steps, each after those it needs.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// In topological order, so an id is also a rank.
    steps: Vec<Step>,
    ids: HashMap<String, usize>,
    needs: Vec<Vec<usize>>,
    dependants: Vec<Vec<usize>>,
}

impl Graph {
    fn new(steps: Vec<Step>) -> Result<Graph, GraphError> {
        let mut nodes: HashMap<&str, NodeIndex> = HashMap::with_capacity(steps.len());
        let mut graph: DiGraph<usize, ()> = DiGraph::with_capacity(steps.len(), steps.len() * 2);
        for (at, step) in steps.iter().enumerate() {
            if nodes.insert(&step.name, graph.add_node(at)).is_some() {
                return Err(GraphError::Duplicate { name: step.name.clone() });
            }
        }
        for step in &steps {
            let to = nodes[step.name.as_str()];
            // Twice the same need is one edge.
            let needs: BTreeSet<&String> = step.needs.iter().collect();
            for need in needs {
                match nodes.get(need.as_str()) {
                    Some(&from) => drop(graph.add_edge(from, to, ())),
                    None => {
                        return Err(GraphError::UnknownStep {
                            name: need.clone(),
                            needed_by: step.name.clone(),
                            nearest: nearest(need, steps.iter().map(|s| s.name.as_str())),
                        });
                    }
                }
            }
        }
        let order = toposort(&graph, None)
            .map_err(|cycle| GraphError::Cycle { path: closed_path(&graph, cycle.node_id(), &steps) })?;

        let mut rank = vec![0; steps.len()];
        for (id, node) in order.iter().enumerate() {
            rank[node.index()] = id;
        }
        let neighbours = |node: &NodeIndex, direction| {
            let mut ids: Vec<usize> =
                graph.neighbors_directed(*node, direction).map(|n| rank[n.index()]).collect();
            ids.sort_unstable();
            ids
        };
        let needs = order.iter().map(|n| neighbours(n, petgraph::Incoming)).collect();
        let dependants = order.iter().map(|n| neighbours(n, petgraph::Outgoing)).collect();
        let mut slots: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
        let steps: Vec<Step> = order.iter().filter_map(|n| slots[n.index()].take()).collect();
        let ids = steps.iter().enumerate().map(|(id, step)| (step.name.clone(), id)).collect();
        Ok(Graph { steps, ids, needs, dependants })
    }

    /// All steps, each after those it needs.
    pub fn order(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The step of that name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.ids.get(name).map(|&id| &self.steps[id])
    }

    /// The steps that this one needs directly.
    pub fn needs(&self, name: &str) -> impl Iterator<Item = &Step> {
        self.ids.get(name).into_iter().flat_map(|&id| self.needs[id].iter().map(|&n| &self.steps[n]))
    }

    /// The steps that need this one directly.
    pub fn dependants(&self, name: &str) -> impl Iterator<Item = &Step> {
        self.ids.get(name).into_iter().flat_map(|&id| self.dependants[id].iter().map(|&n| &self.steps[n]))
    }

    /// The targets and everything below them, by name; all steps when no target is given.
    pub fn below(&self, targets: Option<&[String]>) -> Result<Vec<&Step>, GraphError> {
        Ok(self
            .selection(targets)?
            .iter()
            .enumerate()
            .filter(|(_, s)| **s)
            .map(|(id, _)| &self.steps[id])
            .collect())
    }

    pub(crate) fn selection(&self, targets: Option<&[String]>) -> Result<Vec<bool>, GraphError> {
        let Some(targets) = targets else { return Ok(vec![true; self.len()]) };
        let mut selected = vec![false; self.len()];
        for target in targets {
            match self.ids.get(target) {
                Some(&id) => selected[id] = true,
                None => {
                    return Err(GraphError::UnknownStep {
                        name: target.clone(),
                        needed_by: "the request".into(),
                        nearest: nearest(target, self.steps.iter().map(|s| s.name.as_str())),
                    });
                }
            }
        }
        for id in (0..self.len()).rev() {
            if selected[id] {
                self.needs[id].iter().for_each(|&need| selected[need] = true);
            }
        }
        Ok(selected)
    }

    pub(crate) fn id(&self, name: &str) -> Option<usize> {
        self.ids.get(name).copied()
    }

    pub(crate) fn at(&self, id: usize) -> &Step {
        &self.steps[id]
    }

    pub(crate) fn needs_of(&self, id: usize) -> &[usize] {
        &self.needs[id]
    }

    pub(crate) fn dependants_of(&self, id: usize) -> &[usize] {
        &self.dependants[id]
    }
}

/// The name spelled most like `wanted`, if any is near enough to be what was meant.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = (wanted.chars().count() / 3).max(1);
    names
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name.to_owned())
}

/// A closed path through the component that holds `node`, in the direction of "needs", from its first name.
fn closed_path(graph: &DiGraph<usize, ()>, node: NodeIndex, steps: &[Step]) -> Vec<String> {
    let name = |n: NodeIndex| steps[graph[n]].name.as_str();
    let component = kosaraju_scc(graph).into_iter().find(|c| c.contains(&node)).unwrap_or_default();
    let Some(&start) = component.iter().min_by_key(|n| name(**n)) else { return Vec::new() };
    let inside: HashSet<NodeIndex> = component.iter().copied().collect();
    let mut came_from: HashMap<NodeIndex, NodeIndex> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        let mut needs: Vec<NodeIndex> =
            graph.neighbors_directed(at, petgraph::Incoming).filter(|n| inside.contains(n)).collect();
        needs.sort_by_key(|n| name(*n));
        for need in needs {
            if need == start {
                let mut path = vec![name(start).to_owned()];
                let mut back = at;
                while back != start {
                    path.push(name(back).to_owned());
                    back = came_from[&back];
                }
                path.push(name(start).to_owned());
                path.reverse();
                return path;
            }
            if let Entry::Vacant(slot) = came_from.entry(need) {
                slot.insert(at);
                queue.push_back(need);
            }
        }
    }
    Vec::new()
}
