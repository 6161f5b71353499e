//! `guard`: what is held back when a registry forgets.

use std::time::Duration;

use serde_json::{Value, json};

use super::units;
use crate::yaml::fields::Fields;

/// What is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// How long a port that followed from instances stays after the last that had it. A service without endpoints stays as
    /// long as its registry names it.
    pub empty_service_ttl: Duration,
}

impl Default for Guard {
    /// Longer than a deployment that takes all instances down at once.
    fn default() -> Self {
        Self { empty_service_ttl: Duration::from_secs(600) }
    }
}

impl Guard {
    pub(super) fn decode(mut f: Fields<'_, '_>) -> Self {
        f.later(&["registryShrinkLimit", "emptyServiceHold", "confirmReads", "removalHold"]);
        let default = Self::default();
        Self { empty_service_ttl: f.or("emptyServiceTTL", default.empty_service_ttl, units::duration) }
    }

    pub(super) fn shown(&self) -> Value {
        json!({ "emptyServiceTTL": units::show_duration(self.empty_service_ttl) })
    }
}
