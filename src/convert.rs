//! From what registries know to what Istio receives: pure functions of a service, its mapping and what its host remembers.
//!
//! A service that cannot be converted stops nothing else: the error names it, and its last good resource stays.

pub mod admission;
#[cfg(test)]
mod fixtures;
pub mod labels;
pub mod manifest;
pub mod mapping;
pub mod memory;
pub mod naming;
pub mod object;
pub mod policy;
pub mod ports;
pub mod select;
pub mod self_service;
pub mod service_entry;
pub mod spec;
pub mod validate;
pub mod vip;
