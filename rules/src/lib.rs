//! The release rules of relgraph: release.yaml, Mix projects, runtimes, packages, comparison.
