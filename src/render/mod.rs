//! What people see: diagnostics, progress, summaries.

pub mod diagnostic;
