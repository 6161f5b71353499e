//! A call from an application beside a real Envoy, configured by a real istiod that Chandler feeds: which cluster takes it.
//!
//! `rows` holds the README's table "how a call finds the service", a test for every row, on two ages of istiod. A claim of
//! ours about the data path is worth what these say. `consul`, `eureka` and `dubbo` do the same for the names and clients of
//! applications that were written for these registries, from a real one to the call.
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

/// Each of these, behind both ages.
macro_rules! both_ages {
    ($($rule:ident),+ $(,)?) => {
        mod behind_istiod_1_18 {
            $(#[tokio::test]
            async fn $rule() {
                needs!(Istiod118, Envoy, Probe, Namespace);
                super::$rule(crate::support::Age::V1_18).await;
            })+
        }
        mod behind_the_newest_istiod {
            $(#[tokio::test]
            async fn $rule() {
                needs!(IstiodNewest, Envoy, Probe, Namespace);
                super::$rule(crate::support::Age::Newest).await;
            })+
        }
    };
}

mod change;
#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "zookeeper")]
mod dubbo;
#[cfg(feature = "eureka")]
mod eureka;
#[cfg_attr(
    not(all(feature = "consul", feature = "eureka", feature = "zookeeper")),
    allow(dead_code, reason = "the tests of each registry use some of it")
)]
mod mesh;
mod rows;
