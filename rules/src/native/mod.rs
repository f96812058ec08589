//! Native files: what one is built for and what it needs, and whether that fits the machines that a release is for.

mod file;
mod fit;
mod target;

pub use file::{Format, NativeFile, looks_native};
pub(crate) use fit::is_everywhere;
pub use fit::{Misfit, fit};
pub use target::{Libc, Target, Version};
