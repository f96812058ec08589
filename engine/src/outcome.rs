//! The words for what happened to a step and why: closed lists, in plain words on the screen.

use std::fmt;

/// What happened to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Nothing to do: this checkout's last build had the same result.
    Fresh,
    /// The local store knew the result.
    HitLocal,
    /// A remote knew the result.
    HitRemote,
    /// It ran and made new bytes.
    Ran,
    /// It ran and made bytes that were known: its key says more than it should.
    Dup,
    /// It ran, or tried to, and failed.
    Failed,
    /// It was not started: something it needs failed, or the build was stopped.
    Skipped,
}

impl Outcome {
    /// All outcomes, in the order of summaries.
    pub const ALL: [Outcome; 7] = [
        Outcome::Fresh,
        Outcome::HitLocal,
        Outcome::HitRemote,
        Outcome::Ran,
        Outcome::Dup,
        Outcome::Failed,
        Outcome::Skipped,
    ];

    /// The word for it in summaries, logs and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Fresh => "fresh",
            Outcome::HitLocal => "local",
            Outcome::HitRemote => "remote",
            Outcome::Ran => "ran",
            Outcome::Dup => "dup",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
        }
    }

    /// Whether the step has a result.
    pub fn is_done(self) -> bool {
        !matches!(self, Outcome::Failed | Outcome::Skipped)
    }

    pub(crate) fn tag(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_tag(tag: u8) -> Option<Outcome> {
        Self::ALL.into_iter().find(|o| o.tag() == tag)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Why a step was not fresh.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// This checkout has no earlier result of it.
    NeverBuilt,
    /// The command moved.
    CommandChanged,
    /// A declared input has other bytes.
    InputChanged(String),
    /// There is a declared input that was not there.
    InputAdded(String),
    /// A declared input is gone.
    InputRemoved(String),
    /// A declared environment variable has another value.
    EnvChanged(String),
    /// The toolchain moved.
    ToolchainChanged,
    /// Something that it was seen to read has moved.
    DiscoveredChanged(String),
    /// An output is gone.
    OutputMissing,
    /// An output was edited.
    OutputModified,
    /// It was asked for, or runs every time.
    Forced,
    /// Its result was known and its bytes are gone.
    CacheEvicted,
    /// Its result was made without a sandbox, and one is required.
    Unsandboxed,
    /// The rule is another, or a newer version.
    RuleChanged,
    /// A step that it needs made other bytes.
    DependencyChanged(String),
}

impl Reason {
    /// The kind of reason without what it is about: for counts and JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Reason::NeverBuilt => "never_built",
            Reason::CommandChanged => "command_changed",
            Reason::InputChanged(_) => "input_changed",
            Reason::InputAdded(_) => "input_added",
            Reason::InputRemoved(_) => "input_removed",
            Reason::EnvChanged(_) => "env_changed",
            Reason::ToolchainChanged => "toolchain_changed",
            Reason::DiscoveredChanged(_) => "discovered_changed",
            Reason::OutputMissing => "output_missing",
            Reason::OutputModified => "output_modified",
            Reason::Forced => "forced",
            Reason::CacheEvicted => "cache_evicted",
            Reason::Unsandboxed => "unsandboxed",
            Reason::RuleChanged => "rule_changed",
            Reason::DependencyChanged(_) => "dependency_changed",
        }
    }

    /// The reason of that word, about that subject; `None` for words of another version.
    pub fn from_word(word: &str, subject: Option<&str>) -> Option<Reason> {
        let about = || subject.map(str::to_owned);
        Some(match word {
            "never_built" => Reason::NeverBuilt,
            "command_changed" => Reason::CommandChanged,
            "input_changed" => Reason::InputChanged(about()?),
            "input_added" => Reason::InputAdded(about()?),
            "input_removed" => Reason::InputRemoved(about()?),
            "env_changed" => Reason::EnvChanged(about()?),
            "toolchain_changed" => Reason::ToolchainChanged,
            "discovered_changed" => Reason::DiscoveredChanged(about()?),
            "output_missing" => Reason::OutputMissing,
            "output_modified" => Reason::OutputModified,
            "forced" => Reason::Forced,
            "cache_evicted" => Reason::CacheEvicted,
            "unsandboxed" => Reason::Unsandboxed,
            "rule_changed" => Reason::RuleChanged,
            "dependency_changed" => Reason::DependencyChanged(about()?),
            _ => return None,
        })
    }

    /// What the reason is about: a path, a variable, a step.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Reason::InputChanged(s)
            | Reason::InputAdded(s)
            | Reason::InputRemoved(s)
            | Reason::EnvChanged(s)
            | Reason::DiscoveredChanged(s)
            | Reason::DependencyChanged(s) => Some(s),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NeverBuilt => write!(f, "never built here"),
            Reason::CommandChanged => write!(f, "its command changed"),
            Reason::InputChanged(path) => write!(f, "{path} changed"),
            Reason::InputAdded(path) => write!(f, "{path} is new"),
            Reason::InputRemoved(path) => write!(f, "{path} is gone"),
            Reason::EnvChanged(name) => write!(f, "environment variable {name} changed"),
            Reason::ToolchainChanged => write!(f, "the toolchain changed"),
            Reason::DiscoveredChanged(probe) => write!(f, "{probe}, which it read, changed"),
            Reason::OutputMissing => write!(f, "its output is missing"),
            Reason::OutputModified => write!(f, "its output was modified"),
            Reason::Forced => write!(f, "it was asked to run"),
            Reason::CacheEvicted => write!(f, "its bytes are no longer in the store"),
            Reason::Unsandboxed => write!(f, "its result was made without a sandbox"),
            Reason::RuleChanged => write!(f, "relgraph builds it in another way now"),
            Reason::DependencyChanged(step) => write!(f, "`{step}` made something else"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_again_by_its_word_and_subject() {
        let about = || "lib/a.ex".to_owned();
        let all = [
            Reason::NeverBuilt,
            Reason::CommandChanged,
            Reason::InputChanged(about()),
            Reason::InputAdded(about()),
            Reason::InputRemoved(about()),
            Reason::EnvChanged(about()),
            Reason::ToolchainChanged,
            Reason::DiscoveredChanged(about()),
            Reason::OutputMissing,
            Reason::OutputModified,
            Reason::Forced,
            Reason::CacheEvicted,
            Reason::Unsandboxed,
            Reason::RuleChanged,
            Reason::DependencyChanged(about()),
        ];
        for reason in all {
            assert_eq!(Reason::from_word(reason.word(), reason.subject()), Some(reason));
        }
        assert_eq!(Reason::from_word("input_changed", None), None);
        assert_eq!(Reason::from_word("boredom", None), None);
    }
}
