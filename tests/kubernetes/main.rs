//! The Kubernetes sink against the real API server and a real etcd, and in part against a stub that is held to them.

#![cfg(feature = "kubernetes")]
// The exemption of tests in .clippy.toml does not reach their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod cluster;
mod clusters;
mod faults;
mod forms;
mod held;
mod many;
mod mesh;
mod parallel;
mod refused;
mod stub;
mod webhook;
mod written;
