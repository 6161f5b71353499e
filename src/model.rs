//! What registries know: services, endpoints and whole objects, free of any registry's format and of Istio's.
//!
//! Pure data and one pure structure ([`catalog::Catalog`]): no I/O, no clock, no async. Time comes in as a [`time::Moment`].

pub mod admitted;
pub mod bounds;
pub mod catalog;
pub mod change;
pub mod endpoint;
pub mod globs;
pub mod host;
pub mod labels;
pub mod limits;
pub mod merging;
pub mod object;
pub mod service;
pub mod time;
