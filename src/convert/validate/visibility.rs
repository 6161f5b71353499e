//! `exportTo`: who may see a ServiceEntry.

use std::collections::BTreeSet;

use crate::convert::validate::{Verdict, text};

/// Checks the list of a resource in `namespace`; empty is the mesh's default.
pub(super) fn check(export_to: &[String], namespace: &str, verdict: &mut Verdict) {
    let mut seen = BTreeSet::new();
    for entry in export_to {
        // `.` is the namespace itself, so that both at once are a duplicate.
        let key = if entry == "." { namespace } else { entry };
        if seen.contains(key) {
            let words = if key == entry {
                format!("duplicate entries in exportTo for entry {entry}")
            } else {
                format!("duplicate entries in exportTo: . and current namespace {namespace}")
            };
            verdict.refuse("export-to-duplicate", words);
        } else if matches!(key, "*" | "~") || text::is_label(key) {
            seen.insert(key);
        } else {
            verdict.refuse(
                "export-to-entry",
                "only .,*, or a valid DNS 1123 label is allowed as exportTo entry",
            );
        }
    }
    if seen.contains("*") && export_to.len() > 1 {
        verdict.refuse(
            "export-to-public",
            "cannot have both public (*) and non-public exportTo values for a resource",
        );
    }
    if seen.contains("~") && export_to.len() > 1 {
        verdict.refuse("export-to-nobody", "cannot export service entry to no one (~) and someone");
    }
}
