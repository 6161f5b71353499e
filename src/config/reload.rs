//! What a new configuration changes while the process runs, and what it cannot.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use super::{Config, RegistryConfig};
use crate::model::service::RegistryName;

/// What is to be done for a new configuration to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The registries of the new configuration, in its order.
    pub registries: Vec<(RegistryName, Fate)>,
    /// Those that it does not have any more, in the old order. They go only when what is new has been read.
    pub removed: Vec<RegistryName>,
    /// Whether registries that stay changed their order, and so their precedence.
    pub reordered: bool,
    /// Which other settings differ.
    pub settings: BTreeSet<Setting>,
}

/// What becomes of a registry of the new configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its name is new: to be started.
    Added,
    /// Its settings differ: to be started anew; its last state is served until it has read.
    Changed,
    /// What is taken of it, how that appears or how long it is waited for differs: to be looked at anew, not read again.
    Adjusted,
    /// Nothing differs: not to be touched.
    Kept,
}

/// Settings that take effect while the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// `tls` and `access` of `server.listeners`: for connections and streams to come.
    Listeners,
    /// `tls` and `access` of `admin`: for connections and requests to come.
    Admin,
    /// `server.limits`: for connections to come.
    Limits,
    /// `server.mcp.dial`: who is not named any more is left, who is new is dialled.
    Dial,
    /// `merge`.
    Merge,
    /// `mesh`.
    Mesh,
    /// `guard`.
    Guard,
    /// `push`.
    Push,
    /// `state.maxAge`: at the next start.
    State,
    /// `sinks`, and `outputs` of registries.
    Sinks,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registries.iter().all(|(_, fate)| *fate == Fate::Kept)
            && self.removed.is_empty()
            && !self.reordered
            && self.settings.is_empty()
    }
}

/// For the log: what changes, in words.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changes");
        }
        let named = |wanted: Fate| {
            let of = self.registries.iter().filter(move |(_, fate)| *fate == wanted);
            of.map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        let all = || self.registries.iter().map(|(name, _)| name.to_string()).collect();
        let parts = [
            ("new", named(Fate::Added)),
            ("changed", named(Fate::Changed)),
            ("adjusted", named(Fate::Adjusted)),
            ("removed", self.removed.iter().map(ToString::to_string).collect()),
            ("order", if self.reordered { all() } else { Vec::new() }),
            ("settings", self.settings.iter().map(ToString::to_string).collect()),
        ];
        let said = parts.iter().filter(|(_, names)| !names.is_empty());
        let said: Vec<String> = said.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
        f.write_str(&said.join("; "))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listeners => "server.listeners",
            Self::Admin => "admin",
            Self::Limits => "server.limits",
            Self::Dial => "server.mcp.dial",
            Self::Merge => "merge",
            Self::Mesh => "mesh",
            Self::Guard => "guard",
            Self::Push => "push",
            Self::State => "state",
            Self::Sinks => "sinks",
        })
    }
}

/// The new configuration is right, and parts of it need another process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RestartNeeded {
    /// What cannot change; one sentence each.
    pub reasons: Vec<String>,
}

impl fmt::Display for RestartNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; nothing of the new configuration holds until then", self.reasons.join("; "))
    }
}

impl Config {
    /// What it takes to get from here to `new`.
    ///
    /// # Errors
    /// `new` listens elsewhere, or on its listeners in another order: then nothing of it may take effect.
    pub fn changes(&self, new: &Self) -> Result<Plan, RestartNeeded> {
        let reasons = self.unchangeable(new);
        if !reasons.is_empty() {
            return Err(RestartNeeded { reasons });
        }
        Ok(Plan {
            registries: new.registries.iter().map(|r| (r.name.clone(), self.fate(r))).collect(),
            removed: missing(&self.registries, &new.registries),
            reordered: common(&self.registries, &new.registries) != common(&new.registries, &self.registries),
            settings: self.settings_that_differ(new),
        })
    }

    fn fate(&self, new: &RegistryConfig) -> Fate {
        match self.registries.iter().find(|r| r.name == new.name) {
            None => Fate::Added,
            Some(old) if old == new => Fate::Kept,
            Some(old) if old.kind == new.kind => Fate::Adjusted,
            Some(_) => Fate::Changed,
        }
    }

    fn settings_that_differ(&self, new: &Self) -> BTreeSet<Setting> {
        [
            (Setting::Listeners, self.server.listeners != new.server.listeners),
            (Setting::Admin, self.admin != new.admin),
            (Setting::Limits, self.server.limits != new.server.limits),
            (Setting::Dial, self.server.dial != new.server.dial),
            (Setting::Merge, self.merge != new.merge),
            (Setting::Mesh, self.mesh != new.mesh),
            (Setting::Guard, self.guard != new.guard),
            (Setting::Push, self.push != new.push),
            (Setting::State, self.state != new.state),
            (Setting::Sinks, self.sinks != new.sinks),
        ]
        .into_iter()
        .filter_map(|(setting, differs)| differs.then_some(setting))
        .collect()
    }

    fn unchangeable(&self, new: &Self) -> Vec<String> {
        let listeners = |config: &Self| config.server.listeners.iter().map(|l| l.address).collect();
        let dir =
            |config: &Self| config.state.kept().map_or("nowhere".into(), |k| k.dir.display().to_string());
        let (old_dir, new_dir) = (dir(self), dir(new));
        let state = (old_dir != new_dir).then(|| {
            format!(
                "`state.dir` cannot change while chandler runs (from {old_dir} to {new_dir}): restart chandler to keep its state \
                 there"
            )
        });
        [
            ("server.listeners", listeners(self), listeners(new)),
            ("telemetry", vec![self.telemetry.listen], vec![new.telemetry.listen]),
            ("admin", vec![self.admin.listen], vec![new.admin.listen]),
        ]
        .into_iter()
        .filter(|(_, from, to)| from != to)
        .map(|(name, from, to)| {
            let (from, to) = (joined(&from), joined(&to));
            format!("`{name}` cannot change while chandler runs (from {from} to {to}): restart chandler to listen there")
        })
        .chain(state)
        .collect()
    }
}

fn joined(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Registries of `these` that are not among `those`.
fn missing(these: &[RegistryConfig], those: &[RegistryConfig]) -> Vec<RegistryName> {
    these.iter().map(|r| r.name.clone()).filter(|n| !those.iter().any(|r| r.name == *n)).collect()
}

/// Registries of `these` that are among `those`, in the order of `these`.
fn common<'a>(these: &'a [RegistryConfig], those: &[RegistryConfig]) -> Vec<&'a RegistryName> {
    these.iter().map(|r| &r.name).filter(|n| those.iter().any(|r| r.name == **n)).collect()
}
