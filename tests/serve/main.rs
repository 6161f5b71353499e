//! The program as its user and its service manager meet it: a process, its output, its signals, its exit codes.
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

mod commands;
mod life;
mod merge;
mod quickstart;
mod reload;
mod state;
mod telemetry;

use std::path::Path;

use crate::support::{Chandler, PATIENCE, eventually};

/// The type URL that new istiods ask for.
const SERVICES: &str = "networking.istio.io/v1/ServiceEntry";

const WEB: &str = "
services:
- name: web
  hosts: [web.example.internal]
  ports: [{number: 8080, protocol: HTTP}]
  endpoints: [{address: 10.0.0.5}, {address: 10.0.0.6}]
";

async fn web() -> Chandler {
    let mut chandler = Chandler::start("", &[("web.yaml", WEB)]).await;
    chandler.synced().await;
    chandler
}

/// One run of a subcommand that must end well; what it printed.
async fn printed(arguments: &[&str]) -> String {
    let (status, output, complaints) = Chandler::command(arguments, Path::new(".")).await;
    assert!(status.success(), "{arguments:?}: {status}\n{output}\n{complaints}");
    output
}

/// Waits until a page of the telemetry listener contains `text`.
async fn page_says(chandler: &Chandler, path: &str, text: &str) {
    let what = format!("{text:?} in {path}");
    eventually(&what, PATIENCE, async || chandler.telemetry(path).await.body.contains(text).then_some(()))
        .await;
}

/// Waits until a page of the telemetry listener contains `text` no more.
async fn page_stops_saying(chandler: &Chandler, path: &str, text: &str) {
    let what = format!("the end of {text:?} in {path}");
    eventually(&what, PATIENCE, async || (!chandler.telemetry(path).await.body.contains(text)).then_some(()))
        .await;
}
