//! `limits` of a registry: how much of it is taken at all.

use serde_json::{Value, json};

use crate::model::bounds::Bounds;
use crate::yaml::Node;
use crate::yaml::fields::Fields;

/// Nobody has more, and the sum of all must stay a number.
const MANY: usize = 1_000_000_000;

/// Reads `limits`.
pub(super) fn decode(mut f: Fields<'_, '_>) -> Bounds {
    let default = Bounds::default();
    let count = |node: &Node| node.integer(1, MANY);
    Bounds {
        services: f.or("services", default.services, count),
        endpoints: f.or("endpoints", default.endpoints, count),
    }
}

/// In the form in which it is written.
pub(super) fn shown(bounds: &Bounds) -> Value {
    json!({ "services": bounds.services, "endpoints": bounds.endpoints })
}
