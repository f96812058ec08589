//! What a user may say about upgrades, beside which layout a release has.

use std::collections::BTreeMap;

/// What happens to processes that run the code before the last, and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purge {
    /// They go on: an upgrade that would have to end them is refused.
    #[default]
    Soft,
    /// They are killed.
    Brutal,
}

impl Purge {
    /// The word of the appup.
    pub fn word(self) -> &'static str {
        match self {
            Purge::Soft => "soft_purge",
            Purge::Brutal => "brutal_purge",
        }
    }
}

/// What is to be done with a module that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleRule {
    /// Its code is replaced.
    Load,
    /// Its processes are suspended while that happens.
    Suspend,
    /// Their states are changed as well: `code_change` is called.
    Migrate,
    /// The application is restarted.
    Restart,
}

/// An appup that somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenAppup {
    /// Its file, as the user knows it.
    pub file: String,
    /// Its text.
    pub text: Vec<u8>,
    /// Whether it has to know the two versions.
    pub must: bool,
}

/// What is said about one application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationRules {
    /// Appups that somebody wrote: the first that knows the two versions goes before everything else.
    pub appups: Vec<GivenAppup>,
    /// It is restarted, whatever changed in it.
    pub restart: bool,
    /// Modules that are treated in another way than the code of them suggests.
    pub modules: BTreeMap<String, ModuleRule>,
}

/// What the user says about the way from one version to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// What happens to processes that run replaced code.
    pub purge: Purge,
    /// How long processes have to answer when they are suspended or migrated, in milliseconds; the usual: OTP's.
    pub timeout: Option<u64>,
    /// By application.
    pub applications: BTreeMap<String, ApplicationRules>,
}
