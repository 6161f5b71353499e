//! Chandler brings the services of external registries aboard an Istio mesh.

pub mod proto;
pub mod yaml;
