//! The Eureka registry: `faults` against a server that fails as told, `real` against real ones.

#![cfg(feature = "eureka")]
// The exemption of tests in .clippy.toml does not reach their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod bench;
mod fake;
mod faults;
mod real;
mod served;
