//! The Consul adapter against real servers, and against one that breaks every rule.

#![cfg(feature = "consul")]
// The exemption of tests in .clippy.toml does not reach their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
#[path = "../support/mod.rs"]
mod support;

mod catalogue;
mod elsewhere;
#[path = "../eureka/fake.rs"]
#[allow(dead_code, reason = "it is the other registry's as well")]
mod fake;
mod faults;
mod served;
mod trouble;

/// Waits until an agent's registrations have reached the catalogue, Consul's own among them.
async fn settled(consul: &support::Consul, names: &[&str]) {
    support::eventually("the catalogue to list what was registered", bench::SOON, async || {
        let listed = consul.services().await;
        let all = names.iter().chain(&["consul"]).all(|name| listed.iter().any(|l| l == name));
        all.then_some(())
    })
    .await;
}
