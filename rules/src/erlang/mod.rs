//! Projects in Erlang alone: what they are, and how their applications are compiled.

mod accessed;
pub mod compile;
pub mod describe;
pub mod history;
pub mod hooks;
pub mod make;
pub mod project;
pub mod release;
pub mod relx_config;
