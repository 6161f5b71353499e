//! Chandler before a real istiod: what it publishes arrives as meant, changes arrive as cheaply as they can, and nothing
//! disappears that was not taken away.
//!
//! Every rule is tried on two ages of istiod unless it says why not.
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

/// Each of these, on both ages.
macro_rules! both_ages {
    ($($rule:ident),+ $(,)?) => {
        mod behind_istiod_1_18 {
            $(#[tokio::test]
            async fn $rule() {
                needs!(Istiod118, Probe);
                super::$rule(crate::support::Age::V1_18).await;
            })+
        }
        mod behind_the_newest_istiod {
            $(#[tokio::test]
            async fn $rule() {
                needs!(IstiodNewest, Probe);
                super::$rule(crate::support::Age::Newest).await;
            })+
        }
    };
}

mod addresses;
mod churn;
mod content;
mod refused;
mod restart;
mod scale;
mod start;
mod view;
