//! `push`: how changes are gathered before they are served.

use std::time::Duration;

use serde_json::{Value, json};

use super::units::{duration, show_duration};
use crate::yaml::Fault;
use crate::yaml::fields::Fields;

/// How changes are gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// For changes of endpoints alone, which istiod can push alone.
    pub endpoint: Lane,
    /// For all else, which costs the mesh a full push.
    pub topology: Lane,
    /// The pause per stream between responses over 1 MiB.
    pub full_state_interval: Duration,
}

/// A cadence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// A change waits until nothing has followed it for this long …
    pub quiet: Duration,
    /// … but never longer than this; not less than `quiet`.
    pub max: Duration,
}

impl Lane {
    const fn millis(quiet: u64, max: u64) -> Self {
        Self { quiet: Duration::from_millis(quiet), max: Duration::from_millis(max) }
    }
}

impl Default for Push {
    /// Endpoints as fast as istiod's own debounce; the rest so rarely that a rollout is a push or two.
    fn default() -> Self {
        Self {
            endpoint: Lane::millis(100, 1000),
            topology: Lane::millis(1000, 5000),
            full_state_interval: Duration::from_millis(500),
        }
    }
}

impl Push {
    pub(super) fn decode(mut f: Fields<'_, '_>) -> Self {
        let default = Self::default();
        Self {
            endpoint: lane(&mut f, ["endpointQuiet", "endpointMax"], default.endpoint),
            topology: lane(&mut f, ["topologyQuiet", "topologyMax"], default.topology),
            full_state_interval: f.or("fullStateInterval", default.full_state_interval, duration),
        }
    }

    pub(super) fn shown(&self) -> Value {
        json!({
            "endpointQuiet": show_duration(self.endpoint.quiet),
            "endpointMax": show_duration(self.endpoint.max),
            "topologyQuiet": show_duration(self.topology.quiet),
            "topologyMax": show_duration(self.topology.max),
            "fullStateInterval": show_duration(self.full_state_interval),
        })
    }
}

fn lane(f: &mut Fields<'_, '_>, [quiet_key, max_key]: [&'static str; 2], default: Lane) -> Lane {
    let (quiet_node, max_node) = (f.take(quiet_key), f.take(max_key));
    let read = |node: Option<_>, default| match node {
        Some(node) => f.findings().note(duration(node)),
        None => Some(default),
    };
    let (Some(quiet), Some(max)) = (read(quiet_node, default.quiet), read(max_node, default.max)) else {
        return default;
    };
    if let Some(node) = max_node.or(quiet_node).filter(|_| max < quiet) {
        let (shown, by_default) = (show_duration(max), if max_node.is_none() { ", by default" } else { "" });
        let words = format!(
            "{max_key} ({shown}{by_default}) is less than {quiet_key} ({}): the most that a change waits cannot be less than the least",
            show_duration(quiet)
        );
        f.findings().push(Fault::new(node.at, words));
    }
    Lane { quiet, max }
}
