//! What becomes of a host that several registries know: rules by host, the first that matches holds.
//!
//! A rule names the registries that it is about, in an order of its own. Their claims come first, in that order; those of
//! registries that it does not name come after them, as they always do. Without a rule the order of the configuration
//! decides, and one service is served.

use crate::model::globs::Globs;
use crate::model::host::Host;
use crate::model::service::RegistryName;

/// How the services of several registries share a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Mode {
    /// The first is served, the others are not.
    #[default]
    Precedence,
    /// The first decides how the service appears; the endpoints of all are served.
    Union,
    /// The first decides how the service appears; the endpoints of the first that has any are served.
    Failover,
}

impl Mode {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Precedence => "precedence",
            Self::Union => "union",
            Self::Failover => "failover",
        }
    }
}

/// What holds for some hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// For which hosts.
    pub hosts: Globs,
    /// Of which registries, in order of precedence; empty: of all, in the order of the configuration.
    pub registries: Vec<RegistryName>,
    /// How they share them.
    pub mode: Mode,
}

impl Rule {
    /// The place of `registry` in this rule; `None`: the rule is not about it. With all registries the place is the same
    /// for each, so that their order in the configuration decides.
    #[must_use]
    pub fn place(&self, registry: &RegistryName) -> Option<usize> {
        match self.registries.is_empty() {
            true => Some(0),
            false => self.registries.iter().position(|r| r == registry),
        }
    }
}

/// All rules, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merging(pub Vec<Rule>);

impl Merging {
    /// The rule that holds for `host`.
    #[must_use]
    pub fn rule(&self, host: &Host) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.hosts.is_match(host.as_str()))
    }
}
