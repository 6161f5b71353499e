//! Chandler brings the services of external registries aboard an Istio mesh.
//!
//! One straight line from registry to wire; imports point down (`tests/layering.rs` checks it):
//!
//! | layer | modules | what |
//! | --- | --- | --- |
//! | L0 | [`model`], [`resource`], [`proto`], [`yaml`] | what registries know; what Istio receives; what people write |
//! | L1 | [`convert`], [`session`], [`pipeline`], [`store`] | decisions: pure, but for the one task that owns the catalog |
//! | L2 | [`runtime`], [`security`], [`limit`], [`telemetry`] | supervision, status, who may come, how much of it, logs |
//! | L3 | [`registry`], [`delivery`], [`sink`], [`admin`] | the world: sockets and files. Siblings never import each other |
//! | | [`config`], [`app`], [`cli`] | what the user wrote, the composition root, the commands |
//! | | `fuzz` | tests only: whatever reads bytes from outside, for the fuzzer and for the corpus that it has grown |

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod convert;
pub mod delivery;
#[cfg(all(any(test, fuzzing), feature = "files"))]
pub mod fuzz;
pub mod limit;
pub mod model;
pub mod pipeline;
pub mod proto;
pub mod registry;
pub mod resource;
pub mod runtime;
pub mod security;
pub mod session;
pub mod sink;
pub mod store;
pub mod telemetry;
pub mod yaml;
