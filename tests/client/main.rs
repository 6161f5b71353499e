//! The wires as a client sees them that shares no code with us: Go, grpc-go and Istio's own generated types, which are what
//! istiod itself uses.
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

mod abuse;
mod delta;
mod sotw;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

/// The type URL that new istiods ask for.
const SERVICES: &str = "networking.istio.io/v1/ServiceEntry";
/// Nothing came for so long: longer than Chandler gathers changes.
const SILENCE: Duration = Duration::from_millis(1500);

/// Services `s0`, `s1`, …, each with one endpoint, whose port is given.
fn services(ports: &[u16]) -> String {
    let mut text = String::from("services:\n");
    for (n, port) in ports.iter().enumerate() {
        let (high, low) = (n / 250, n % 250);
        writeln!(
            text,
            "- {{name: s{n}, hosts: [s{n}.example.internal], ports: [{{number: 8080, protocol: HTTP}}], \
             endpoints: [{{address: 10.1.{high}.{low}, port: {port}}}]}}"
        )
        .expect("a string");
    }
    text
}

/// The name of the resource for `sN`.
fn name(n: usize) -> String {
    format!("chandler/s{n}.example.internal")
}

/// The names of some resources, in their order.
fn names(resources: &Value) -> Vec<String> {
    let all = resources.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
}

/// Lines that are responses.
fn responses(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["event"] == "response").collect()
}
