//! The step engine of relgraph: graph, keys, scheduling, sandbox, explanations.
