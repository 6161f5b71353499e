//! Chandler before real Pilots over the legacy protocol, and before the sink that Istio itself was built with.
//!
//! Every rule is tried on 1.6.14; with `tests/run --all` on 1.5.10 and 1.7.8 as well, unless it says why not.
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

/// Each of these, before each release.
macro_rules! every_release {
    ($($rule:ident),+ $(,)?) => {
        mod before_pilot_1_5 {
            $(#[tokio::test]
            async fn $rule() {
                needs!(Pilot15);
                super::$rule(crate::support::Release::V1_5).await;
            })+
        }
        mod before_pilot_1_6 {
            $(#[tokio::test]
            async fn $rule() {
                needs!(Pilot16);
                super::$rule(crate::support::Release::V1_6).await;
            })+
        }
        mod before_pilot_1_7 {
            $(#[tokio::test]
            async fn $rule() {
                needs!(Pilot17);
                super::$rule(crate::support::Release::V1_7).await;
            })+
        }
    };
}

mod change;
mod dial;
mod judge;
mod oversize;
mod restart;
mod start;
mod view;
