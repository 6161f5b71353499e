//! Chandler brings the services of external registries aboard an Istio mesh.

pub mod admin;
pub mod config;
pub mod convert;
pub mod delivery;
pub mod model;
pub mod pipeline;
pub mod proto;
pub mod registry;
pub mod resource;
pub mod runtime;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod yaml;
