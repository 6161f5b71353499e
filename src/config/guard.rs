//! `guard`: how much a registry may silently lose. Written for all registries, for one, or for some services of one; what is
//! not written holds as it does for the next larger part.

use serde_json::{Value, json};

use super::units;
use crate::model::limits::Limits;
use crate::yaml::fields::Fields;
use crate::yaml::{Fault, Node};

/// Reads `guard`, of all registries or of one; `default` holds where it says nothing.
pub(super) fn decode(mut f: Fields<'_, '_>, default: &Limits) -> Limits {
    let registry_shrink_limit = f.or("registryShrinkLimit", default.registry_shrink_limit, units::share);
    Limits { registry_shrink_limit, ..decode_rest(f, default) }
}

/// Reads `guard` of some services: all but the limit, which is about a registry as a whole.
pub(super) fn decode_of_services(mut f: Fields<'_, '_>, default: &Limits) -> Limits {
    if let Some(entry) = f.entry("registryShrinkLimit") {
        let words = "this limit is about a registry as a whole: write it in the `guard` of the registry";
        f.findings().push(Fault::new(entry.at, words));
    }
    decode_rest(f, default)
}

fn decode_rest(mut f: Fields<'_, '_>, default: &Limits) -> Limits {
    Limits {
        registry_shrink_limit: default.registry_shrink_limit,
        empty_service_hold: f.or("emptyServiceHold", default.empty_service_hold, Node::boolean),
        confirm_reads: f.or("confirmReads", default.confirm_reads, reads),
        removal_hold: f.or("removalHold", default.removal_hold, units::duration),
        empty_service_ttl: f.or("emptyServiceTTL", default.empty_service_ttl, units::duration),
    }
}

/// More would never come together.
fn reads(node: &Node) -> Result<u32, Fault> {
    node.integer(0, 100)
}

/// In the form in which it is written.
pub(super) fn shown(limits: &Limits) -> Value {
    let mut value = shown_of_services(limits);
    if let Some(all) = value.as_object_mut() {
        all.insert("registryShrinkLimit".into(), units::show_share(limits.registry_shrink_limit).into());
    }
    value
}

/// In the form in which it is written for some services.
pub(super) fn shown_of_services(limits: &Limits) -> Value {
    json!({
        "emptyServiceHold": limits.empty_service_hold,
        "confirmReads": limits.confirm_reads,
        "removalHold": units::show_duration(limits.removal_hold),
        "emptyServiceTTL": units::show_duration(limits.empty_service_ttl),
    })
}
