//! The ZooKeeper registry against a real server, with another client that writes: what a registry says, and when.
#![cfg(feature = "zookeeper")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail by panicking, as it does"
)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod access;
mod application;
mod content;
mod dubbo_real;
mod old;
mod program;
mod session;
mod size;
mod world;
