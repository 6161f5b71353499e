//! Names, labels and annotations: the rules for every kind, and what makes istiod drop a resource without a word.

use crate::convert::validate::Verdict;
use crate::model::labels::Labels;

/// Annotations that Istio keeps to itself.
const RESERVED: [&str; 2] = ["internal.istio.io/parent-namespace", "internal.istio.io/parents"];
const REJECT: &str = "internal.istio.io/webhook-always-reject";
const DRY_RUN: &str = "istio.io/dry-run";
const REVISION: &str = "istio.io/rev";
const HEALTH_CHECKS: &str = "proxy.istio.io/health-checks-enabled";

/// `namespace/name`: istiod splits it and drops what has not exactly two parts.
pub(super) fn name(name: &str, verdict: &mut Verdict) {
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() != 2 || parts.iter().any(|p| p.is_empty()) {
        verdict.refuse(
            "resource-name",
            format!("{name:?} is not namespace/name with exactly one slash: istiod would drop it"),
        );
    }
}

/// A revision label decides which control plane takes the resource at all.
pub(super) fn labels(labels: &Labels, verdict: &mut Verdict) {
    if let Some(revision) = labels.get(REVISION) {
        verdict.warn("revision-label", format!("only an istiod of revision {revision:?} takes it"));
    }
}

/// What Istio refuses on every kind that we serve.
pub(super) fn annotations(annotations: &Labels, verdict: &mut Verdict) {
    if annotations.get(DRY_RUN).is_some() {
        verdict.refuse(
            "dry-run-annotation",
            format!("unsupported annotation {DRY_RUN}, please remove the annotation"),
        );
    }
    if annotations.get(REJECT).is_some() {
        verdict.refuse("always-reject-annotation", format!("{REJECT:?} annotation found, rejecting"));
    }
    for key in RESERVED {
        if annotations.get(key).is_some() {
            verdict.refuse(
                "reserved-annotation",
                format!("{key:?} annotation found, this may not be set by users"),
            );
        }
    }
}

/// Health comes from an object's status, which does not travel over this protocol.
pub(super) fn health_checks(annotations: &Labels, verdict: &mut Verdict) {
    if annotations.get(HEALTH_CHECKS) == Some("true") {
        verdict.warn(
            "health-checks-without-status",
            format!("with the annotation {HEALTH_CHECKS} the workload counts as unhealthy for ever"),
        );
    }
}
