//! A comparison of two releases for people: on a terminal, in a pull request, in a browser. All show one model.

mod html;
mod markdown;
mod model;
mod modules;
mod rows;
mod text;

pub use html::html;
pub use markdown::markdown;
pub use text::{Open, text};

#[cfg(test)]
mod tests;
