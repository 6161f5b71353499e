//! The front door: TLS handshakes of every kind, files that change, and who may come; in this process where a moment
//! matters, and with the program as its user starts it.
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

mod authority;
mod dial;
mod door;
mod istiod;
mod program;
mod streams;
