//! The fault table: what a mesh loses when a registry, a control plane or Chandler itself has a bad day. It must be nothing.
//!
//! Four real registries, Chandler, a real istiod and a real Envoy run side by side, and requests to every service go through
//! that Envoy all the time. Then a fault is brought about, and healed. [`ledger`] knows which endpoints must be there at every
//! moment; [`watch`] sees every state that Chandler and istiod tell, so that an endpoint that is lost for a moment is seen as
//! well. A change that somebody really makes, during the fault and after it, has to arrive.
//!
//! Each row is printed as it ends: registry, fault, endpoints lost wrongly, requests failed, time to be right again.
//! `CHANDLER_FAULTS=consul/hung,files/` runs only the rows whose names begin like that; `CHANDLER_FAULTS_CONFIG` is further
//! configuration for Chandler, such as a `guard` that guards nothing, to see what the table shows then.
//!
//! | module | what |
//! | --- | --- |
//! | `ledger` | what must be visible, and what was not (no I/O) |
//! | `watch` | the eyes: Chandler's wire, istiod, Envoy, and calls through it |
//! | `sites`, `files`, `consul`, `eureka`, `zookeeper` | the registries, who registers, and how they break |
//! | `rig` | all of it, started; a true change, seen through |
//! | `fault`, `trouble` | what can go wrong with a registry, and with the mesh around them |
//! | `killed`, `disk` | Chandler killed in whatever it does; the state on disk |
//! | `shared` | two registries that know the same hosts, and how one falls back to the other |
//! | `cases`, `table` | the rows, and how they are run |
//! | `soak` | random faults for as long as one likes |
//! | `clock` | a wall clock to step |
//! | `inside` | a network of its own for all this |
#![cfg(all(feature = "consul", feature = "eureka", feature = "zookeeper"))]
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

mod cases;
mod clock;
mod consul;
mod disk;
mod eureka;
mod fault;
mod files;
mod inside;
mod killed;
mod ledger;
mod rig;
mod shared;
mod sites;
mod soak;
mod table;
mod trouble;
mod watch;
mod zookeeper;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_any_fault() {
    needs!(Consul, Eureka, ZooKeeper, Istiod118, Envoy, Probe, Namespace);
    if !inside::relaunched("nothing_is_lost_in_any_fault").await {
        table::run().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_where_registries_share_hosts() {
    needs!(Consul, ZooKeeper, Istiod118, Envoy, Probe, Namespace);
    if !inside::relaunched("nothing_is_lost_where_registries_share_hosts").await {
        table::run_shared().await;
    }
}

/// A table in which nothing can be wrong would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guard_the_table_shows_what_is_lost() {
    needs!(Istiod118, Envoy, Probe, Namespace);
    if !inside::relaunched("without_the_guard_the_table_shows_what_is_lost").await {
        table::run_unguarded().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "ten minutes of random faults: tests/soak"]
async fn nothing_is_lost_in_random_faults() {
    needs!(Consul, Eureka, ZooKeeper, Istiod118, Envoy, Probe, Namespace);
    if !inside::relaunched("nothing_is_lost_in_random_faults").await {
        soak::run().await;
    }
}
