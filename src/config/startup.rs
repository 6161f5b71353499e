//! `startup`: how long the mesh waits for a registry that has never been read.

use serde_json::{Value, json};

use super::units;
use crate::pipeline::reading::Startup;
use crate::yaml::Node;
use crate::yaml::fields::Fields;

/// Reads `startup`.
pub(super) fn decode(mut f: Fields<'_, '_>) -> Startup {
    let default = Startup::default();
    Startup {
        optional: f.or("optional", default.optional, Node::boolean),
        wait: f.or("wait", default.wait, units::duration),
    }
}

/// In the form in which it is written.
pub(super) fn shown(startup: &Startup) -> Value {
    json!({ "optional": startup.optional, "wait": units::show_duration(startup.wait) })
}
